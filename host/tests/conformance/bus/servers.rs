//! Redis for tests: one server, a master watched by Sentinels, a Cluster with a replica each. Processes of their own on
//! free loopback ports in a temporary folder; each ends with its owner, and with this process at the latest.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tempfile::TempDir;

/// A server starts at once; on a busy machine it may take its time.
const STARTS: Duration = Duration::from_secs(60);
/// The name Sentinels have for the master.
const SERVICE: &str = "main";
/// Runs what it is given until its own input ends, then kills it.
const WATCHED: &str = r#""$@" & ran=$!; cat > /dev/null; kill -9 $ran; wait $ran"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Single,
    Sentinel,
    Cluster,
}

/// One process, running unless it was killed.
struct Server {
    port: u16,
    arguments: Vec<String>,
    process: Mutex<Option<Child>>,
}

/// Everything one bus runs on.
pub struct Servers {
    pub kind: Kind,
    data: Vec<Server>,
    sentinels: Vec<Server>,
    /// Taken away with them.
    _folder: TempDir,
}

impl Server {
    fn start(&self) {
        let child = Command::new("sh")
            .args(["-c", WATCHED, "sh"])
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process starts");
        *self.process.lock() = Some(child);
        until(&format!("the server on {} answers", self.port), || {
            cli(self.port, &["PING"]).contains("PONG")
        });
    }

    /// SIGKILL, and the process is gone.
    fn kill(&self) {
        if let Some(mut child) = self.process.lock().take() {
            drop(child.stdin.take());
            child.wait().expect("its end");
        }
    }

    fn runs(&self) -> bool {
        self.process.lock().is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for what another process does and tells nobody.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < STARTS, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the server on a port answers.
fn cli(port: u16, command: &[&str]) -> String {
    let port = port.to_string();
    let run = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &port])
        .args(command)
        .output()
        .expect("`redis-cli` runs: `cargo verify` gets it");
    String::from_utf8_lossy(&run.stdout).into_owned()
}

/// Ports nobody listens on.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("listens"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

fn data_server(folder: &Path, port: u16, more: &[String]) -> Server {
    let own = folder.join(port.to_string());
    fs::create_dir_all(&own).expect("a folder");
    let mut arguments: Vec<String> = [
        "redis-server",
        "--port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        &own.display().to_string(),
    ]
    .map(str::to_owned)
    .into();
    arguments.extend_from_slice(more);
    Server {
        port,
        arguments,
        process: Mutex::default(),
    }
}

fn sentinel(folder: &Path, port: u16, master: u16) -> Server {
    let own = folder.join(port.to_string());
    fs::create_dir_all(&own).expect("a folder");
    let file = own.join("sentinel.conf");
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {SERVICE} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 4000\n\
         sentinel parallel-syncs {SERVICE} 2\n",
        own.display()
    );
    fs::write(&file, text).expect("written");
    Server {
        port,
        arguments: vec!["redis-sentinel".to_owned(), file.display().to_string()],
        process: Mutex::default(),
    }
}

impl Servers {
    /// Starts everything; returns once it serves.
    pub async fn start(kind: Kind) -> Self {
        let started = tokio::task::spawn_blocking(move || match kind {
            Kind::Single => Self::single(),
            Kind::Sentinel => Self::watched(),
            Kind::Cluster => Self::cluster(),
        });
        started.await.expect("started")
    }

    fn single() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [port] = free_ports();
        let server = data_server(folder.path(), port, &[]);
        server.start();
        Self {
            kind: Kind::Single,
            data: vec![server],
            sentinels: Vec::new(),
            _folder: folder,
        }
    }

    fn watched() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [master, one, two, first, second, third] = free_ports();
        let replica = ["--replicaof".to_owned(), format!("127.0.0.1 {master}")];
        let data = vec![
            data_server(folder.path(), master, &[]),
            data_server(folder.path(), one, &replica),
            data_server(folder.path(), two, &replica),
        ];
        data.iter().for_each(Server::start);
        until("both replicas follow", || {
            cli(master, &["INFO", "replication"])
                .matches("state=online")
                .count()
                == 2
        });
        let sentinels = [first, second, third].map(|port| sentinel(folder.path(), port, master));
        sentinels.iter().for_each(Server::start);
        for sentinel in &sentinels {
            until("the Sentinels know each other and the replicas", || {
                let told = cli(sentinel.port, &["INFO", "sentinel"]);
                told.contains("slaves=2,sentinels=3")
            });
        }
        Self {
            kind: Kind::Sentinel,
            data,
            sentinels: sentinels.into(),
            _folder: folder,
        }
    }

    fn cluster() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ports: [u16; 12] = free_ports();
        let server = |pair: &[u16]| {
            let more = [
                "--cluster-enabled",
                "yes",
                "--cluster-config-file",
                "nodes.conf",
                "--cluster-node-timeout",
                "1000",
                "--cluster-port",
                &pair[1].to_string(),
            ];
            data_server(folder.path(), pair[0], &more.map(str::to_owned))
        };
        let data: Vec<Server> = ports.chunks(2).map(server).collect();
        data.iter().for_each(Server::start);
        let named = ports
            .chunks(2)
            .map(|pair| format!("127.0.0.1:{}@{}", pair[0], pair[1]));
        let mut create = vec!["--cluster".to_owned(), "create".to_owned()];
        create.extend(named);
        create.extend(["--cluster-replicas", "1", "--cluster-yes"].map(str::to_owned));
        let run = Command::new("redis-cli").args(&create).output();
        let run = run.expect("`redis-cli` runs");
        let told = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(run.status.success(), "no cluster: {told}");
        let servers = Self {
            kind: Kind::Cluster,
            data,
            sentinels: Vec::new(),
            _folder: folder,
        };
        servers.wait_for_cluster(3);
        servers
    }

    /// Every server that runs says that all slots are served, and knows of so many replicas that follow.
    fn wait_for_cluster(&self, replicas: usize) {
        for server in self.data.iter().filter(|server| server.runs()) {
            until("the Cluster serves", || {
                let told = cli(server.port, &["CLUSTER", "INFO"]);
                let known = cli(server.port, &["CLUSTER", "NODES"]);
                let following = known.lines().filter(|line| {
                    line.contains("slave") && !line.contains("fail") && line.contains(" connected")
                });
                told.contains("cluster_state:ok") && following.count() >= replicas
            });
        }
        for server in self.data.iter().filter(|server| server.runs()) {
            let told = cli(server.port, &["INFO", "replication"]);
            if told.contains("role:slave") {
                until("a replica has all its master has", || {
                    cli(server.port, &["INFO", "replication"]).contains("master_link_status:up")
                });
            }
        }
    }

    pub fn url(&self) -> String {
        let hosts = |servers: &[Server]| {
            let each: Vec<String> = servers
                .iter()
                .map(|server| format!("127.0.0.1:{}", server.port))
                .collect();
            each.join(",")
        };
        match self.kind {
            Kind::Single => format!("redis://{}", hosts(&self.data)),
            Kind::Sentinel => format!("redis+sentinel://{}/{SERVICE}", hosts(&self.sentinels)),
            Kind::Cluster => format!("redis+cluster://{}", hosts(&self.data)),
        }
    }

    /// The servers that take writes now.
    fn masters(&self) -> Vec<&Server> {
        let running = self.data.iter().filter(|server| server.runs());
        running
            .filter(|server| cli(server.port, &["ROLE"]).starts_with("master"))
            .collect()
    }

    /// Every connection of clients is cut, at the servers.
    pub fn cut(&self) {
        for server in self.data.iter().filter(|server| server.runs()) {
            cli(server.port, &["CLIENT", "KILL", "TYPE", "pubsub"]);
            cli(server.port, &["CLIENT", "KILL", "TYPE", "normal"]);
        }
    }

    /// Everything that is kept is gone, and no connection with it.
    pub fn forget(&self) {
        for server in self.masters() {
            cli(server.port, &["FLUSHALL"]);
        }
    }

    /// How many masters there are to be killed one after the other.
    pub fn killable(&self) -> usize {
        match self.kind {
            Kind::Single | Kind::Sentinel => 1,
            Kind::Cluster => 3,
        }
    }

    /// SIGKILL for a master that was one from the beginning; whether another can take its place.
    pub fn kill_master(&self) -> bool {
        let masters = self.masters();
        let master = masters.first().expect("a master runs");
        master.kill();
        self.kind != Kind::Single
    }

    /// The killed servers run again, without what they had; returns once they follow, where there is a master to follow.
    pub fn restart(&self) {
        for server in self.data.iter().filter(|server| !server.runs()) {
            server.start();
        }
        if self.kind == Kind::Cluster {
            self.wait_for_cluster(3);
        }
    }
}
