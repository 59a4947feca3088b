//! A server for tests that speaks MongoDB's protocol: what `KITH_TEST_MONGODB` names (a `mongodb://` URL, or the path of a
//! `mongod`), a `mongod` on the PATH, or else the stand-in that `cargo verify` keeps in the user's cache. One runs while
//! tests use it, shared by all of them, each in a database of its own; it ends with the last of them.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use kith::store::mongo::MongoSettings;
use parking_lot::Mutex;
use tempfile::TempDir;

/// Named as in `host/xtask/src/machine/servers.rs`, which gets it.
const STAND_IN: &str = "secantusdb-0.7.0b3";
const STARTS: Duration = Duration::from_secs(60);

/// A server that was started here, or is somebody else's.
pub struct MongoServer {
    url: String,
    started: Option<Started>,
}

/// How it was started, and where it keeps everything.
struct Started {
    folder: TempDir,
    port: u16,
    /// Nothing is answered before it is on the disk.
    durable: bool,
    process: Mutex<Option<Child>>,
}

/// The one that runs, for as long as somebody holds it.
pub async fn shared() -> Arc<MongoServer> {
    static RUNNING: tokio::sync::Mutex<Weak<MongoServer>> =
        tokio::sync::Mutex::const_new(Weak::new());
    let mut running = RUNNING.lock().await;
    if let Some(server) = running.upgrade() {
        return server;
    }
    let named = named();
    let server = match named.starts_with("mongodb") {
        true => MongoServer {
            url: named,
            started: None,
        },
        false => alone(false).await,
    };
    let server = Arc::new(server);
    *running = Arc::downgrade(&server);
    server
}

/// One of a test's own, which keeps what it has answered whatever happens: it may be killed, and runs again.
pub async fn durable() -> MongoServer {
    alone(true).await
}

async fn alone(durable: bool) -> MongoServer {
    let started = Started {
        folder: tempfile::tempdir().expect("a folder"),
        port: free_port(),
        durable,
        process: Mutex::new(None),
    };
    started.start().await;
    MongoServer {
        url: format!(
            "mongodb://127.0.0.1:{}/?directConnection=true",
            started.port
        ),
        started: Some(started),
    }
}

impl MongoServer {
    /// Its host and port.
    pub fn address(&self) -> String {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', '?']).next().unwrap_or_default().to_owned()
    }

    /// A database that nobody else uses.
    pub fn database(&self) -> MongoSettings {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kith_{}_{count}", std::process::id());
        MongoSettings {
            wait: Duration::from_secs(20),
            ..MongoSettings::new(&self.url, &name)
        }
    }
}

impl MongoServer {
    /// A database that nobody else uses, as the configuration names one.
    pub fn url_of_database(&self) -> String {
        let (server, asked) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let server = server.trim_end_matches('/');
        format!("{server}/{}?{asked}", self.database().database)
    }

    /// SIGKILL, and it runs again with what it had kept.
    pub async fn kill_and_start(&self) {
        let started = self.started.as_ref().expect("a server of one's own");
        started.kill();
        started.start().await;
    }
}

impl Started {
    async fn start(&self) {
        let said = self.folder.path().join("said");
        let output = File::create(&said).expect("a file for what it says");
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("the same file"))
            .stderr(output)
            .spawn()
            .expect("the server starts: `cargo verify` gets it");
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = child.try_wait().is_ok_and(|status| status.is_some());
            if ended || began.elapsed() > STARTS {
                let said = std::fs::read_to_string(&said).unwrap_or_default();
                panic!("the server did not start: {said}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        *self.process.lock() = Some(child);
    }

    fn command(&self) -> Command {
        let data = self.folder.path().join("data");
        let Some(mongod) = real(&named()) else {
            return stand_in(&data, self.port, self.durable);
        };
        std::fs::create_dir_all(&data).expect("a folder for its data");
        let mut command = Command::new(mongod);
        command.args(["--bind_ip", "127.0.0.1", "--port", &self.port.to_string()]);
        command.arg("--dbpath").arg(data);
        command
    }

    fn kill(&self) {
        if let Some(mut child) = self.process.lock().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
    }
}

fn named() -> String {
    std::env::var("KITH_TEST_MONGODB").unwrap_or_default()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A real server's program, where there is one.
fn real(named: &str) -> Option<PathBuf> {
    if !named.is_empty() && !named.starts_with("mongodb") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("mongod"))
        .find(|mongod| mongod.is_file())
}

fn stand_in(data: &Path, port: u16, durable: bool) -> Command {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("a home folder");
        Path::new(&home).join(".cache")
    });
    let programs = cache.join(format!("kith/servers/{STAND_IN}/bin"));
    assert!(
        programs.is_dir(),
        "the stand-in for MongoDB is not there ({}): `cargo verify` gets it first of all",
        programs.display()
    );
    // By its interpreter: the script names the folder it was installed in first.
    let mut command = Command::new(programs.join("python3"));
    command.arg(programs.join("secantusd-py"));
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--log-level", "WARNING", "--storage-path"]);
    command.arg(data);
    if durable {
        command.arg("--sync-on-commit");
    }
    command
}
