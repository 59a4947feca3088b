//! Servers that nodes share under `cargo dev --nodes N`: Redis, MongoDB or what stands in for it, Elasticsearch, and nginx as
//! the door. Each stands in a process group of its own, so that Ctrl-C reaches us alone, and ends with us.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child;
use crate::machine::servers::{self, Mongodb};

/// Elasticsearch takes the longest.
const READY_WITHIN: Duration = Duration::from_secs(120);
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running server that is none of Kith's; dropping it stops the process.
pub struct Companion {
    name: &'static str,
    process: Child,
    /// Where it listens.
    address: String,
    /// What it says.
    said: PathBuf,
    over: bool,
}

impl Companion {
    fn start(
        name: &'static str,
        folder: &Path,
        address: String,
        command: &mut Command,
    ) -> Result<Self> {
        let said = folder.join("said");
        let output =
            File::create(&said).with_context(|| format!("cannot write {}", said.display()))?;
        println!("      {name}: {address}");
        let process = command
            // Some end when it closes, which it does with us.
            .stdin(Stdio::piped())
            .stdout(output.try_clone().context("cannot share a file")?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name,
            process,
            address,
            said,
            over: false,
        })
    }

    /// Waits until it takes connections.
    pub fn ready(mut self, stop: &AtomicBool) -> Result<Self> {
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect(&self.address).is_err() {
            if let Some(status) = self.ended()? {
                let said = fs::read_to_string(&self.said).unwrap_or_default();
                bail!("{} ended with {status}: {}", self.name, said.trim());
            }
            if stop.load(Ordering::Relaxed) {
                bail!("stopped before {} was ready", self.name);
            }
            if Instant::now() > deadline {
                let (name, said) = (self.name, self.said.display());
                bail!("{name} is not ready in time; what it says is in {said}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(self)
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How the process ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self
            .process
            .try_wait()
            .with_context(|| format!("cannot look after {}", self.name))?;
        self.over |= status.is_some();
        Ok(status)
    }

    /// Asks it to end, waits, and kills what does not.
    pub fn stop(&mut self) {
        if self.over {
            return;
        }
        let gentle = format!("kill -TERM {}", self.process.id());
        let _ = child::command("sh").args(["-c", &gentle]).status();
        let deadline = Instant::now() + STOPPED_WITHIN;
        while Instant::now() < deadline {
            if !matches!(self.ended(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        // Both fail only when the process is already gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.over = true;
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What such servers are started from.
pub struct Programs {
    mongodb: Mongodb,
    /// Of Elasticsearch: its recipe and its jars.
    search: (PathBuf, PathBuf),
}

impl Programs {
    /// Those that `machine::servers` got.
    pub fn of(root: &Path) -> Result<Self> {
        Ok(Self {
            mongodb: servers::program_of_mongodb()?,
            search: servers::elasticsearch(root)?,
        })
    }

    pub fn redis(&self, folder: &Path, port: u16) -> Result<Companion> {
        // It holds who is where, and forgets it with its end.
        let mut command = child::command("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(folder);
        Companion::start("Redis", folder, format!("127.0.0.1:{port}"), &mut command)
    }

    pub fn mongodb(&self, folder: &Path, port: u16) -> Result<Companion> {
        let data = folder.join("data");
        let (name, mut command) = match &self.mongodb {
            Mongodb::Real(mongod) => {
                fs::create_dir_all(&data)
                    .with_context(|| format!("cannot make {}", data.display()))?;
                let mut command = child::command(mongod);
                command.args(["--bind_ip", "127.0.0.1", "--port", &port.to_string()]);
                command.arg("--dbpath").arg(&data);
                ("MongoDB", command)
            }
            Mongodb::StandIn(programs) => {
                // By its interpreter: the script names the folder it was installed in first.
                let mut command = child::command(programs.join("bin/python3"));
                command.arg(programs.join("bin/secantusd-py"));
                command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
                command.args(["--log-level", "WARNING", "--sync-on-commit"]);
                command.arg("--storage-path").arg(&data);
                ("what stands in for MongoDB", command)
            }
        };
        Companion::start(name, folder, format!("127.0.0.1:{port}"), &mut command)
    }

    pub fn search(&self, folder: &Path, (port, inside): (u16, u16)) -> Result<Companion> {
        let (recipe, jars) = &self.search;
        let mut command = child::command("java");
        command
            .args(["-Xms256m", "-Xmx256m", "-XX:+UseSerialGC"])
            .args(["-XX:TieredStopAtLevel=1", "-Djava.security.manager=allow"])
            .arg("-cp")
            .arg(jars.join("*"))
            .arg(recipe.join("Elasticsearch.java"))
            .arg(folder.join("data"))
            .args([port.to_string(), inside.to_string()]);
        let address = format!("127.0.0.1:{port}");
        Companion::start("Elasticsearch", folder, address, &mut command)
    }

    /// One address for clients, whichever node takes them.
    pub fn door(&self, folder: &Path, listen: &str, nodes: &[String]) -> Result<Companion> {
        let file = folder.join("nginx.conf");
        fs::write(&file, door(folder, listen, nodes))
            .with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = child::command("nginx");
        command.arg("-e").arg(folder.join("errors"));
        command.arg("-p").arg(folder).arg("-c").arg(&file);
        Companion::start("the door (nginx)", folder, listen.to_owned(), &mut command)
    }
}

fn door(folder: &Path, listen: &str, nodes: &[String]) -> String {
    let folder = folder.display();
    let servers: String = nodes
        .iter()
        .map(|node| format!("        server {node} max_fails=1 fail_timeout=1s;\n"))
        .collect();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {folder}/{kind};\n"))
        .collect();
    format!(
        "\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
{temporary}    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream nodes {{
        least_conn;
{servers}    }}
    server {{
        listen {listen};
        client_max_body_size 64m;
        location / {{
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 120s;
            proxy_buffering off;
        }}
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_knows_every_node() {
        let nodes = ["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()];
        let text = door(Path::new("/somewhere"), "127.0.0.1:3", &nodes);
        for node in &nodes {
            assert!(text.contains(&format!("server {node} ")), "{text}");
        }
        assert!(text.contains("listen 127.0.0.1:3;"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }

    #[test]
    fn a_helper_that_ends_at_once_says_why() {
        let folder = std::env::temp_dir().join(format!("xtask-companion-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let mut command = child::command("sh");
        command.args(["-c", "echo no such thing >&2; exit 3"]);
        let started = Companion::start("it", &folder, "127.0.0.1:1".to_owned(), &mut command);
        let error = started
            .expect("starts")
            .ready(&AtomicBool::new(false))
            .err()
            .expect("it is over")
            .to_string();
        assert!(error.contains("no such thing"), "{error}");
        fs::remove_dir_all(&folder).expect("it can be removed");
    }
}
