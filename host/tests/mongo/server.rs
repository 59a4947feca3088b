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
    process: Option<Mutex<Child>>,
    _folder: Option<TempDir>,
}

/// The one that runs, for as long as somebody holds it.
pub async fn shared() -> Arc<MongoServer> {
    static RUNNING: tokio::sync::Mutex<Weak<MongoServer>> =
        tokio::sync::Mutex::const_new(Weak::new());
    let mut running = RUNNING.lock().await;
    if let Some(server) = running.upgrade() {
        return server;
    }
    let server = Arc::new(start().await);
    *running = Arc::downgrade(&server);
    server
}

impl MongoServer {
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

impl Drop for MongoServer {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            let mut child = process.lock();
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn start() -> MongoServer {
    let named = std::env::var("KITH_TEST_MONGODB").unwrap_or_default();
    if named.starts_with("mongodb") {
        return MongoServer {
            url: named,
            process: None,
            _folder: None,
        };
    }
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let said = folder.path().join("said");
    let output = File::create(&said).expect("a file for what it says");
    let mut command = match real(&named) {
        Some(mongod) => {
            let data = folder.path().join("data");
            std::fs::create_dir(&data).expect("a folder for its data");
            let mut command = Command::new(mongod);
            command.args(["--bind_ip", "127.0.0.1", "--port", &port.to_string()]);
            command.arg("--dbpath").arg(data);
            command
        }
        None => stand_in(&folder.path().join("data"), port),
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("the same file"))
        .stderr(output)
        .spawn()
        .expect("the server starts: `cargo verify` gets it");
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = child.try_wait().is_ok_and(|status| status.is_some());
        if ended || began.elapsed() > STARTS {
            let said = std::fs::read_to_string(&said).unwrap_or_default();
            panic!("the server did not start: {said}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    MongoServer {
        url: format!("mongodb://127.0.0.1:{port}/?directConnection=true"),
        process: Some(Mutex::new(child)),
        _folder: Some(folder),
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A real server's program, where there is one.
fn real(named: &str) -> Option<PathBuf> {
    if !named.is_empty() {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("mongod"))
        .find(|mongod| mongod.is_file())
}

fn stand_in(data: &Path, port: u16) -> Command {
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
    command
}
