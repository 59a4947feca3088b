//! The `kith serve` process under `cargo dev`: start, readiness, a clean end.
//! It stands in a process group of its own, so that Ctrl-C reaches us alone and the server is drained, not cut off.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child;

/// First start compiles every plugin for this machine.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// The server promises to drain in 10 s.
const STOPPED_WITHIN: Duration = Duration::from_secs(11);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the server is started with.
pub struct Start<'a> {
    pub kith: PathBuf,
    pub plugins: PathBuf,
    pub data: PathBuf,
    pub listen: &'a str,
    pub admin_listen: &'a str,
    pub token: &'a str,
    /// More of its environment.
    pub settings: Vec<(&'static str, String)>,
    /// Set when the person gave up waiting.
    pub stop: &'a AtomicBool,
}

/// A running server; dropping it stops the process.
pub struct Server {
    process: Child,
    over: bool,
}

/// Says which address is taken before minutes go into a build.
pub fn check_free(address: &str) -> Result<()> {
    TcpListener::bind(address).map(drop).with_context(|| {
        format!(
            "cannot listen on {address}; stop what does, or choose others: \
             `cargo dev --listen ADDRESS --admin-listen ADDRESS`, with `--nodes` also `--ports FIRST`"
        )
    })
}

impl Server {
    /// Starts the program and returns when `/readyz` of the administrators' listener says so.
    pub fn start(start: &Start<'_>) -> Result<Self> {
        let process = child::command(&start.kith)
            .arg("serve")
            .args(["--listen", start.listen])
            .args(["--admin-listen", start.admin_listen])
            .arg("--data")
            .arg(&start.data)
            .arg("--plugins")
            .arg(&start.plugins)
            .env("KITH_BOOTSTRAP_TOKEN", start.token)
            .envs(start.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", start.kith.display()))?;
        let mut server = Self {
            process,
            over: false,
        };
        let deadline = Instant::now() + READY_WITHIN;
        while !ready(start.admin_listen) {
            if let Some(status) = server.ended()? {
                bail!("the server ended with {status} before it was ready");
            }
            if start.stop.load(Ordering::Relaxed) {
                bail!("stopped before the server was ready");
            }
            if Instant::now() > deadline {
                bail!(
                    "the server is not ready after {} s: http://{}/readyz",
                    READY_WITHIN.as_secs(),
                    start.admin_listen
                );
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(server)
    }

    /// The process's number.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    /// How the process ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self
            .process
            .try_wait()
            .context("cannot look after the server's process")?;
        self.over |= status.is_some();
        Ok(status)
    }

    /// Asks the server to drain and waits for it; a server that does not end in time is killed, which is an error.
    pub fn stop(&mut self) -> Result<()> {
        if self.over {
            return Ok(());
        }
        println!("\nstopping the server …");
        // The standard library can only kill; the shell's builtin sends the gentle signal, and is everywhere.
        let gentle = format!("kill -TERM {}", self.process.id());
        child::command("sh")
            .args(["-c", &gentle])
            .status()
            .context("cannot signal the server")?;
        let deadline = Instant::now() + STOPPED_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the server ended with {status}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        self.kill();
        bail!(
            "the server did not drain within {} s and was killed",
            STOPPED_WITHIN.as_secs()
        )
    }

    fn kill(&mut self) {
        // Both fail only when the process is already gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.over = true;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only a failure on the way here leaves it running, and that is what will be reported.
        let _ = self.stop();
    }
}

/// True when the listener answers `/readyz` with 200.
fn ready(address: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let asked = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(asked.as_bytes())?;
        let mut start = [0_u8; 12];
        stream.read_exact(&mut start)?;
        Ok(start.starts_with(b"HTTP/1.") && start.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(with: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        std::thread::spawn(move || {
            if let Ok((mut stream, _)) = listener.accept() {
                // All of it: what is closed over unread bytes is reset, and its answer may be lost.
                let mut asked = Vec::new();
                let mut part = [0_u8; 512];
                while !asked.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut part) {
                        Ok(length @ 1..) => asked.extend_from_slice(&part[..length]),
                        _ => break,
                    }
                }
                let _ = stream.write_all(with.as_bytes());
            }
        });
        address
    }

    #[test]
    fn only_a_200_is_ready() {
        assert!(ready(&answering("HTTP/1.1 200 OK\r\n\r\n{}")));
        assert!(!ready(&answering(
            "HTTP/1.1 503 Service Unavailable\r\n\r\n"
        )));
        assert!(!ready("127.0.0.1:1"));
    }

    #[test]
    fn a_taken_address_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("it is bound").to_string();
        let error = check_free(&address).expect_err("it is taken").to_string();
        assert!(error.contains(&address), "{error}");
    }

    #[test]
    fn stopping_drains_with_the_gentle_signal() {
        let process = child::command("sh")
            .args(["-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"])
            .process_group(0)
            .spawn()
            .expect("a shell");
        let mut server = Server {
            process,
            over: false,
        };
        // The trap may not stand yet; either way the process must be gone and reaped.
        let _ = server.stop();
        assert!(server.over);
    }
}
