//! Real search servers for tests: Elasticsearch and OpenSearch, from the jars that `cargo verify` keeps in the user's
//! cache. One of each runs while tests use it, shared by all of them; it ends with the last of them, and with this
//! process at the latest.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use kith::clock::{Clock, SystemClock};
use kith::config::{Config, SearchEngine};
use kith::search::elastic::{ASK, ElasticSearch, ElasticSettings};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A server starts in some ten seconds; on a busy machine in more.
const STARTS: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Elasticsearch,
    OpenSearch,
}

pub const BOTH: [Kind; 2] = [Kind::Elasticsearch, Kind::OpenSearch];

impl Kind {
    /// Folder of its recipe, name of its program.
    fn recipe(self) -> (&'static str, &'static str) {
        match self {
            Self::Elasticsearch => ("elasticsearch", "Elasticsearch.java"),
            Self::OpenSearch => ("opensearch", "OpenSearch.java"),
        }
    }
}

/// A server, running unless somebody killed it.
pub struct SearchServer {
    kind: Kind,
    folder: TempDir,
    port: u16,
    process: Mutex<Option<Child>>,
}

/// The use of a server: together with others, or alone.
pub struct Lease<G> {
    pub server: Arc<SearchServer>,
    _held: G,
}

static HELD: [RwLock<()>; 2] = [RwLock::const_new(()), RwLock::const_new(())];
static RUNNING: [tokio::sync::Mutex<Weak<SearchServer>>; 2] = [
    tokio::sync::Mutex::const_new(Weak::new()),
    tokio::sync::Mutex::const_new(Weak::new()),
];

/// A server that others use too: it stays.
pub async fn shared(kind: Kind) -> Lease<RwLockReadGuard<'static, ()>> {
    let held = HELD[kind as usize].read().await;
    Lease {
        server: running(kind).await,
        _held: held,
    }
}

/// A server that nobody else uses meanwhile: it may be killed, and runs again at the end.
pub async fn alone(kind: Kind) -> Lease<RwLockWriteGuard<'static, ()>> {
    let held = HELD[kind as usize].write().await;
    Lease {
        server: running(kind).await,
        _held: held,
    }
}

async fn running(kind: Kind) -> Arc<SearchServer> {
    let mut running = RUNNING[kind as usize].lock().await;
    if let Some(server) = running.upgrade() {
        return server;
    }
    let server = Arc::new(SearchServer {
        kind,
        folder: tempfile::tempdir().expect("a folder"),
        port: free_port(),
        process: Mutex::new(None),
    });
    server.start().await;
    *running = Arc::downgrade(&server);
    server
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// The jars of a recipe: named as in `host/xtask/src/machine/servers.rs`, which gets them.
fn jars(recipe: &Path, name: &str) -> PathBuf {
    let pom = std::fs::read_to_string(recipe.join("pom.xml")).expect("the recipe");
    let version = pom.rsplit_once("<version>").expect("a version").1;
    let version = version.split_once("</version>").expect("its end").0;
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("a home folder");
        Path::new(&home).join(".cache")
    });
    let jars = cache.join(format!("kith/servers/{name}-{version}"));
    assert!(
        jars.is_dir(),
        "the search server of the tests is not there ({}): `cargo verify` gets it first of all, with Java 17 and Maven",
        jars.display()
    );
    jars
}

impl SearchServer {
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs again after `kill`, with what it had kept; returns once it answers.
    pub async fn start(&self) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (name, program) = self.kind.recipe();
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/search/servers")
            .join(name);
        let said = self.folder.path().join("said");
        let output = File::create(&said).expect("a file for what it says");
        let child = Command::new("java")
            .args([
                "-Xms256m",
                "-Xmx256m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
            ])
            .args(["-Djava.security.manager=allow", "-cp"])
            .arg(jars(&recipe, name).join("*"))
            .arg(recipe.join(program))
            .arg(self.folder.path().join("data"))
            .args([self.port.to_string(), free_port().to_string()])
            // It ends with this.
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("the same file"))
            .stderr(output)
            .spawn()
            .expect("`java` starts: `cargo verify` says how to get it");
        *self.process.lock() = Some(child);
        let (http, began) = (reqwest::Client::new(), Instant::now());
        let health = format!("{}/_cluster/health?wait_for_status=yellow", self.url());
        loop {
            let answer = http.get(&health).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let ended = self.process.lock().as_mut().map(Child::try_wait);
            let ended = ended.is_none_or(|ended| ended.is_ok_and(|status| status.is_some()));
            if ended || began.elapsed() > STARTS {
                let said = std::fs::read_to_string(&said).unwrap_or_default();
                panic!("{:?} did not start: {said}", self.kind);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// SIGKILL, and the process is gone.
    pub fn kill(&self) {
        if let Some(mut child) = self.process.lock().take() {
            child.kill().expect("kills");
            child.wait().expect("its end");
        }
    }

    /// Where it keeps everything.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// An index of its own.
    pub fn engine(&self, prefix: &str) -> ElasticSearch {
        engine_at(&self.url(), prefix, ASK)
    }

    /// Has a server of Kith search here, in an index of its own.
    pub fn used_by(&self, config: &mut Config) {
        config.search.engine = SearchEngine::Elasticsearch;
        config.search.url = self.url();
        config.search.prefix = fresh_prefix();
    }
}

/// What nobody else's index begins with.
pub fn fresh_prefix() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub fn engine_at(url: &str, prefix: &str, ask: Duration) -> ElasticSearch {
    let settings = ElasticSettings {
        url: url.to_owned(),
        user: String::new(),
        password: String::new(),
        prefix: prefix.to_owned(),
        ask,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    ElasticSearch::new(&settings, clock).expect("good settings")
}

impl Drop for SearchServer {
    fn drop(&mut self) {
        self.kill();
    }
}
