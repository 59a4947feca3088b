//! What the tests of behaviour share: a server of their own on free ports, and a client written from the protocol
//! alone. Nothing here looks inside the host.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kith::app::{App, Launch};
use kith::clock::ManualClock;
use kith::config::{Config, SearchEngine};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// The administrator's token of every test server.
pub const BOOTSTRAP: &str = "bootstrap-of-the-tests";
/// Longest wait for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The folder with the built plugins.
pub fn plugins_folder() -> PathBuf {
    let set = std::env::var_os("KITH_PLUGINS_DIR").map(PathBuf::from);
    let folder = set.unwrap_or_else(|| {
        let test = std::env::current_exe().expect("the test's own path");
        test.ancestors()
            .nth(2)
            .expect("the profile's folder")
            .join("plugins")
    });
    assert!(
        folder.join("word-filter.wasm").is_file(),
        "the plugins are not built: run `cargo xtask build`"
    );
    folder
}

/// A server in this process.
pub struct TestServer {
    pub app: Option<App>,
    pub http: reqwest::Client,
    /// Taken away with the server.
    _data: TempDir,
    config: Config,
    /// In place of the machine's.
    clock: Option<Arc<ManualClock>>,
}

/// The settings of test servers: cheap passwords, no rates, free ports, no plugins, no search; activations are watched
/// where a test asks for it.
pub fn settings(data: &TempDir) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".into();
    config.server.admin_listen = "127.0.0.1:0".into();
    config.server.data = data.path().join("data").display().to_string();
    config.server.plugins = data.path().join("none").display().to_string();
    config.auth.argon2_memory_kib = 8;
    config.auth.argon2_passes = 1;
    config.limits.rate = false;
    config.plugins.watch_s = 0;
    config.search.engine = SearchEngine::None;
    config
}

impl TestServer {
    /// Without plugins.
    pub async fn bare() -> Self {
        Self::with(|_| {}).await
    }

    /// With the first-party plugins.
    pub async fn with_plugins() -> Self {
        Self::with(|config| config.server.plugins = plugins_folder().display().to_string()).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::by(None, change).await
    }

    /// On a clock that the test moves.
    pub async fn by(clock: Option<Arc<ManualClock>>, change: impl FnOnce(&mut Config)) -> Self {
        Self::prepared(clock, change, async |_| {}).await
    }

    /// With something done to the data before the first start.
    pub async fn prepared(
        clock: Option<Arc<ManualClock>>,
        change: impl FnOnce(&mut Config),
        prepare: impl AsyncFnOnce(&Config),
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let data = tempfile::tempdir().expect("a folder");
        let mut config = settings(&data);
        change(&mut config);
        prepare(&config).await;
        let app = start(&config, clock.clone()).await;
        Self {
            app: Some(app),
            http: reqwest::Client::new(),
            _data: data,
            config,
            clock,
        }
    }

    /// Drains, then starts again on the same data.
    pub async fn restart(&mut self) {
        self.restart_after(|| {}).await;
    }

    /// As `restart`, with something done to the data in between.
    pub async fn restart_after(&mut self, between: impl FnOnce()) {
        self.stop().await;
        between();
        self.start().await;
    }

    /// As `restart`, with other settings.
    pub async fn restart_with(&mut self, change: impl FnOnce(&mut Config)) {
        self.stop().await;
        change(&mut self.config);
        self.start().await;
    }

    /// Drains; the data stays.
    pub async fn stop(&mut self) {
        self.app.take().expect("a running server").drain().await;
    }

    /// Starts again after a stop.
    pub async fn start(&mut self) {
        let launch = || Launch {
            bootstrap_token: Some(BOOTSTRAP.into()),
            clock: self.clock.clone(),
        };
        self.app = Some(released(async || App::start(&self.config, launch()).await).await);
    }

    /// `kith admin compact`, after a stop.
    pub async fn compact(&self) {
        released(async || kith::app::upkeep::compact(&self.config).await).await;
    }

    /// `kith admin export`, after a stop.
    pub async fn export(&self, file: &std::path::Path) {
        let exported = async || {
            let wish = (file, true);
            kith::app::moving::export(&self.config, wish, |_| true).await
        };
        released(exported).await;
    }

    /// A server that begins with what is in a file.
    pub async fn moved_from(file: &std::path::Path, change: impl FnOnce(&mut Config)) -> Self {
        Self::prepared(None, change, async |config| {
            let contents = kith::moving::import::check(file, |_| {}).expect("a whole file");
            let file = (file, contents);
            let imported = kith::app::moving::import(config, file, true, |_| true).await;
            imported.expect("imported");
        })
        .await
    }

    pub fn app(&self) -> &App {
        self.app.as_ref().expect("a running server")
    }

    /// Where everything is kept.
    pub fn data(&self) -> PathBuf {
        PathBuf::from(&self.config.server.data)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app().address)
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}/admin/v1{path}", self.app().admin_address)
    }

    /// A REST call; the status and the body's JSON (`null` for none).
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, self.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    /// A call of the administration.
    pub async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let mut request = self
            .http
            .request(method, self.admin_url(path))
            .bearer_auth(BOOTSTRAP);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    /// Pushes a component file; the status and the answer.
    pub async fn push(&self, component: Vec<u8>) -> (u16, Value) {
        let request = self
            .http
            .post(self.admin_url("/plugins"))
            .bearer_auth(BOOTSTRAP)
            .body(component);
        answer(request.header("content-type", "application/wasm")).await
    }

    pub async fn token_call(&self, form: &[(&str, &str)]) -> (u16, Value) {
        answer(self.http.post(self.url("/v1/oauth/token")).form(form)).await
    }

    /// Registers a user with a name of its own and signs a device in.
    pub async fn user(&self, name: &str) -> TestUser {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let username = format!("{name}{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let body = json!({"username": username, "password": "password-1", "display_name": name});
        let (status, user) = self.call("POST", "/v1/users", None, Some(body)).await;
        assert_eq!(status, 201, "{user}");
        let id = user["id"].as_str().expect("an id").to_owned();
        let tokens = self.sign_in(&username, "phone").await;
        TestUser {
            id,
            username,
            token: tokens["access_token"].as_str().expect("a token").to_owned(),
            tokens,
        }
    }

    /// Signs a device in.
    pub async fn sign_in(&self, username: &str, device: &str) -> Value {
        let form = [
            ("grant_type", "password"),
            ("username", username),
            ("password", "password-1"),
            ("device_id", device),
            ("device_kind", "web"),
        ];
        let (status, tokens) = self.token_call(&form).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    /// A bare connection, before `hello`.
    pub async fn connect(&self, subprotocol: Option<&str>) -> TestSocket {
        connect_to(self.app().address, subprotocol).await
    }

    /// A session of a user's first device.
    pub async fn session(&self, user: &TestUser) -> TestSocket {
        self.session_of(&user.token, "phone").await
    }

    pub async fn session_of(&self, token: &str, device: &str) -> TestSocket {
        let mut socket = self.connect(Some("kith.v1.json")).await;
        let reply = socket.hello(token, device).await;
        assert!(reply["ok"].is_object(), "{reply}");
        socket
    }
}

/// A bare connection to a server, before `hello`.
pub async fn connect_to(address: std::net::SocketAddr, subprotocol: Option<&str>) -> TestSocket {
    let connected = try_connect_to(address, subprotocol).await;
    connected.expect("connects")
}

/// As `connect_to`, to a server that may be gone.
pub async fn try_connect_to(
    address: std::net::SocketAddr,
    subprotocol: Option<&str>,
) -> Result<TestSocket, Error> {
    let url = format!("ws://{address}/v1/ws");
    let mut request = url.into_client_request().expect("a request");
    if let Some(subprotocol) = subprotocol {
        let value = subprotocol.parse().expect("a header");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", value);
    }
    let (socket, _) = tokio_tungstenite::connect_async(request).await?;
    Ok(TestSocket {
        socket,
        next: 0,
        events: Vec::new(),
    })
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(app) = self.app.take() {
            // Nothing may be left that still waits for an answer; the drain itself needs the runtime.
            app.registry.end_all(kith::session::Bye::Draining);
        }
    }
}

/// Does what needs the store to itself. It is let go of with the last connection's task: until then the answer is
/// that another uses it.
async fn released<T>(attempt: impl AsyncFn() -> anyhow::Result<T>) -> T {
    let attempts = async {
        loop {
            match attempt().await {
                Ok(done) => return done,
                Err(error) if error.to_string().contains("another process") => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error:#}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, attempts)
        .await
        .expect("the store in time")
}

async fn start(config: &Config, clock: Option<Arc<ManualClock>>) -> App {
    let launch = Launch {
        bootstrap_token: Some(BOOTSTRAP.into()),
        clock,
    };
    App::start(config, launch).await.expect("the server starts")
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let bytes = response.bytes().await.expect("a body");
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).expect("JSON")
    };
    (status, body)
}

/// A registered user with one device, `phone`.
pub struct TestUser {
    pub id: String,
    pub username: String,
    pub token: String,
    pub tokens: Value,
}

/// A WebSocket of the protocol.
pub struct TestSocket {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u32,
    /// Events that came while a reply was waited for.
    events: Vec<Value>,
}

/// What came instead of a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The close frame's code.
    Closed(u16),
    Lost,
}

impl TestSocket {
    pub async fn hello(&mut self, token: &str, device: &str) -> Value {
        let device = json!({"id": device, "kind": "web", "name": "test"});
        self.request("hello", json!({"token": token, "device": device}))
            .await
    }

    /// Sends a request; its id.
    pub async fn start(&mut self, op: &str, fields: Value) -> u32 {
        self.try_start(op, fields).await.expect("sends")
    }

    /// As `start`, to a server that may be gone.
    pub async fn try_start(&mut self, op: &str, fields: Value) -> Result<u32, Error> {
        self.next += 1;
        let mut frame = fields;
        frame["id"] = self.next.into();
        frame["op"] = op.into();
        self.socket.send(Message::text(frame.to_string())).await?;
        Ok(self.next)
    }

    pub async fn raw(&mut self, message: Message) {
        self.socket.send(message).await.expect("sends");
    }

    /// Sends a request and waits for its reply.
    pub async fn request(&mut self, op: &str, fields: Value) -> Value {
        let id = self.start(op, fields).await;
        self.reply(id).await
    }

    /// The reply to a request; events before it are kept.
    pub async fn reply(&mut self, id: u32) -> Value {
        loop {
            let frame = self.frame().await.expect("the reply before the end");
            if frame["re"] == id {
                return frame;
            }
            self.events.push(frame);
        }
    }

    /// Sends a text to a user; the reply.
    pub async fn send_text(&mut self, to: &str, client_id: &str, text: &str) -> Value {
        let content = json!({"type": "text", "text": text});
        self.request(
            "send",
            json!({"to": {"user": to}, "client_id": client_id, "content": content}),
        )
        .await
    }

    /// The next event of a kind; others before it are left out.
    pub async fn event(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.any_event().await;
            if frame["ev"] == kind {
                return frame;
            }
        }
    }

    /// The next event, of whatever kind.
    pub async fn any_event(&mut self) -> Value {
        match self.events.is_empty() {
            true => self.frame().await.expect("an event before the end"),
            false => self.events.remove(0),
        }
    }

    /// The next frame, or how the connection ended.
    pub async fn frame(&mut self) -> Result<Value, Ended> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("a frame in time");
            match message {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Binary(bytes))) => {
                    return Ok(rmp_serde::from_slice(&bytes).expect("MessagePack"));
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err(Ended::Closed(frame.code.into()));
                }
                Some(Ok(Message::Close(None)) | Err(Error::ConnectionClosed)) | None => {
                    return Err(Ended::Lost);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) => return Err(Ended::Lost),
            }
        }
    }

    /// Reads to the end: the last `bye` and the close code.
    pub async fn end(&mut self) -> (Option<String>, Ended) {
        let mut bye = None;
        loop {
            match self.frame().await {
                Ok(frame) if frame["ev"] == "bye" => {
                    bye = frame["reason"].as_str().map(str::to_owned)
                }
                Ok(_) => {}
                Err(ended) => return (bye, ended),
            }
        }
    }
}
