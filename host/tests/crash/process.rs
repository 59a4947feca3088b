//! A server as a process of its own, so that it can be killed: the built program on a folder
//! that stays between its lives.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::support::{BOOTSTRAP, PATIENCE, TestSocket, TestUser, connect_to};

/// How a server is started, again and again.
pub struct Launch {
    pub search: &'static str,
    /// Components loaded at the first start.
    pub plugins: PathBuf,
    pub environment: Vec<(&'static str, String)>,
    /// Until it serves.
    pub patience: Duration,
}

impl Launch {
    pub fn searching(search: &'static str) -> Self {
        Self {
            search,
            plugins: "none".into(),
            environment: Vec::new(),
            patience: PATIENCE,
        }
    }
}

pub struct ServerProcess {
    folder: TempDir,
    launch: Launch,
    child: Option<Child>,
    address: SocketAddr,
    admin: SocketAddr,
    http: reqwest::Client,
}

/// The built program: set by `cargo verify`, else beside the test's profile.
pub fn program() -> PathBuf {
    let set = std::env::var_os("KITH_BIN").map(PathBuf::from);
    set.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_kith")))
}

impl ServerProcess {
    /// Without search, whose own syncs and files would stand beside the log's.
    pub async fn start() -> Self {
        Self::with(Launch::searching("none")).await
    }

    /// With the index that is on by default.
    pub async fn searching() -> Self {
        Self::with(Launch::searching("embedded")).await
    }

    /// With an index on a server.
    pub async fn searching_at(url: &str, prefix: &str) -> Self {
        Self::with(Launch {
            environment: vec![
                ("KITH_SEARCH__URL", url.to_owned()),
                ("KITH_SEARCH__PREFIX", prefix.to_owned()),
            ],
            ..Launch::searching("elasticsearch")
        })
        .await
    }

    pub async fn with(launch: Launch) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let (child, address, admin) = spawn(&folder, &launch).await;
        Self {
            folder,
            launch,
            child: Some(child),
            address,
            admin,
            http: reqwest::Client::new(),
        }
    }

    /// Where clients connect, in this life.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child
            .as_ref()
            .and_then(Child::id)
            .expect("a running server")
    }

    /// SIGKILL, and the process is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.start_kill().expect("kills");
            // Reaped by the runtime; the restart waits for the store's lock.
            tokio::spawn(async move { child.wait().await });
        }
    }

    /// SIGTERM; returns once the server has drained.
    pub async fn stop(&mut self) {
        self.begin_stop().await;
    }

    /// SIGTERM; what is returned ends once the server has drained.
    pub fn begin_stop(&mut self) -> impl Future<Output = ()> + use<> {
        let mut child = self.child.take().expect("a running server");
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told");
        async move { assert!(child.wait().await.expect("its end").success()) }
    }

    pub async fn restart(&mut self) {
        let (child, address, admin) = spawn(&self.folder, &self.launch).await;
        (self.child, self.address, self.admin) = (Some(child), address, admin);
    }

    /// The message log's newest journal.
    pub fn journal(&self) -> PathBuf {
        let log = self.folder.path().join("data/log");
        let files = std::fs::read_dir(log)
            .expect("the log's folder")
            .flatten()
            .map(|entry| entry.path());
        let mut journals: Vec<_> = files
            .filter(|file| file.extension().is_some_and(|e| e == "jnl"))
            .collect();
        journals.sort();
        journals.pop().expect("a journal")
    }

    /// What `GET /metrics` says: each sample's value by its name and labels.
    pub async fn metrics(&self) -> HashMap<String, f64> {
        let url = format!("http://{}/metrics", self.admin);
        let answer = self.http.get(url).send().await.expect("an answer");
        samples(&answer.text().await.expect("a text"))
    }

    /// Where everything is kept.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// As `get`, for a user.
    pub async fn get_as(&self, user: &TestUser, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let request = self.http.get(url).bearer_auth(&user.token);
        let response = request.send().await.expect("an answer");
        (
            response.status().as_u16(),
            response.json().await.expect("JSON"),
        )
    }

    /// The status and body of a user's request.
    pub async fn post_as(&self, user: &TestUser, path: &str, body: Value) -> (u16, Value) {
        let begun = self.begin_post_as(user, path, body).await;
        begun.expect("ends").expect("an answer")
    }

    /// As `post_as`, a change.
    pub async fn patch_as(&self, user: &TestUser, path: &str, body: Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let request = self.http.patch(url).bearer_auth(&user.token).json(&body);
        let response = request.send().await.expect("an answer");
        (
            response.status().as_u16(),
            response.json().await.expect("JSON"),
        )
    }

    /// A user's request that may outlive the server.
    pub fn begin_post_as(
        &self,
        user: &TestUser,
        path: &str,
        body: Value,
    ) -> JoinHandle<reqwest::Result<(u16, Value)>> {
        let url = format!("http://{}{path}", self.address);
        let request = self.http.post(url).bearer_auth(&user.token).json(&body);
        tokio::spawn(async move {
            let response = request.send().await?;
            Ok((response.status().as_u16(), response.json().await?))
        })
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = self
            .http
            .get(format!("http://{}{path}", self.address))
            .send()
            .await
            .expect("an answer");
        (
            response.status().as_u16(),
            response.json().await.expect("JSON"),
        )
    }

    pub async fn post(&self, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.http.post(url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        (
            response.status().as_u16(),
            response.json().await.expect("JSON"),
        )
    }

    /// A command of the program with this server's settings and data; what it printed and said, and its status.
    pub async fn run(&self, command: &[&str]) -> (Option<i32>, String, String) {
        let settings = self.launch.environment.iter();
        let run = Command::new(program())
            .args(command)
            .arg("--data")
            .arg(self.folder.path().join("data"))
            .env("KITH_SEARCH__ENGINE", self.launch.search)
            .envs(settings.map(|(name, value)| (*name, value)))
            .output();
        let output = run.await.expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, said) = (text(&output.stdout), text(&output.stderr));
        (output.status.code(), printed, said)
    }

    /// What an administrator reads.
    pub async fn administration(&self, path: &str) -> Value {
        let url = format!("http://{}/admin/v1{path}", self.admin);
        let request = self.http.get(url).bearer_auth(BOOTSTRAP);
        let response = request.send().await.expect("an answer");
        response.json().await.expect("JSON")
    }

    /// An administrator's call.
    pub async fn administer(&self, path: &str, body: impl Into<reqwest::Body>) -> Value {
        self.administer_by(reqwest::Method::POST, path, body).await
    }

    pub async fn administer_by(
        &self,
        method: reqwest::Method,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> Value {
        let url = format!("http://{}/admin/v1{path}", self.admin);
        let request = self.http.request(method, url);
        let request = request.bearer_auth(BOOTSTRAP).body(body);
        let request = request.header("content-type", "application/json");
        let response = request.send().await.expect("an answer");
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        response.json().await.expect("JSON")
    }

    /// As `administer`, that may outlive the server; the status.
    pub fn begin_administer(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> JoinHandle<reqwest::Result<u16>> {
        let url = format!("http://{}/admin/v1{path}", self.admin);
        let request = self.http.post(url).bearer_auth(BOOTSTRAP).body(body);
        let request = request.header("content-type", "application/json");
        tokio::spawn(async move { Ok(request.send().await?.status().as_u16()) })
    }

    /// What an administrator reads.
    pub async fn ask(&self, path: &str) -> Value {
        let url = format!("http://{}/admin/v1{path}", self.admin);
        let response = self.http.get(url).bearer_auth(BOOTSTRAP).send().await;
        let response = response.expect("an answer");
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        response.json().await.expect("JSON")
    }

    pub async fn user(&self, name: &str) -> TestUser {
        let body = json!({"username": name, "password": "password-1"});
        let url = |path: &str| format!("http://{}{path}", self.address);
        let made = self
            .http
            .post(url("/v1/users"))
            .json(&body)
            .send()
            .await
            .expect("an answer");
        let user: Value = made.json().await.expect("JSON");
        let form = [
            ("grant_type", "password"),
            ("username", name),
            ("password", "password-1"),
            ("device_id", "phone"),
            ("device_kind", "web"),
        ];
        let signed = self
            .http
            .post(url("/v1/oauth/token"))
            .form(&form)
            .send()
            .await
            .expect("an answer");
        let tokens: Value = signed.json().await.expect("JSON");
        TestUser {
            id: user["id"].as_str().expect("an id").to_owned(),
            username: name.to_owned(),
            token: tokens["access_token"].as_str().expect("a token").to_owned(),
            tokens,
        }
    }

    pub async fn session(&self, user: &TestUser) -> TestSocket {
        let mut socket = connect_to(self.address, None).await;
        let reply = socket.hello(&user.token, "phone").await;
        assert!(reply["ok"].is_object(), "{reply}");
        socket
    }
}

/// Samples of Prometheus' text, by name and labels.
pub fn samples(text: &str) -> HashMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    lines.filter_map(sample).collect()
}

async fn spawn(folder: &TempDir, launch: &Launch) -> (Child, SocketAddr, SocketAddr) {
    let started = async {
        loop {
            if let Some(started) = try_spawn(folder, launch).await {
                return started;
            }
        }
    };
    tokio::time::timeout(launch.patience, started)
        .await
        .expect("the server in time")
}

/// `None` while the process that was killed still holds the store.
async fn try_spawn(folder: &TempDir, launch: &Launch) -> Option<(Child, SocketAddr, SocketAddr)> {
    let mut child = Command::new(program())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(folder.path().join("data"))
        .arg("--plugins")
        .arg(&launch.plugins)
        .env("KITH_AUTH__ARGON2_MEMORY_KIB", "8")
        .env("KITH_AUTH__ARGON2_PASSES", "1")
        .env("KITH_BOOTSTRAP_TOKEN", BOOTSTRAP)
        .env("KITH_LIMITS__RATE", "false")
        .env("KITH_SEARCH__ENGINE", launch.search)
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts: is it built?");
    let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
    while let Some(line) = lines.next_line().await.expect("a line") {
        let told = |what: &str| -> Option<SocketAddr> {
            let (_, rest) = line.split_once(what)?;
            rest.split(' ').next()?.parse().ok()
        };
        if let (Some(address), Some(admin)) =
            (told("clients http://"), told("administration http://"))
        {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Some((child, address, admin));
        }
        assert!(
            line.contains("another process") || !line.starts_with("kith:"),
            "{line}"
        );
    }
    None
}
