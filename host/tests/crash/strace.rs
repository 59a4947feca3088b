//! System calls of a running server, recorded or made to fail. Needs `strace`
//! (Debian's package of that name).

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::support::PATIENCE;

/// One line of a trace.
pub struct Call {
    pub name: String,
    pub text: String,
    /// The call has returned (and did not fail).
    pub done: bool,
}

/// An attached tracer.
pub struct Trace {
    child: Child,
    /// Reads while the tracer writes: a full pipe would stop it, and with it the server.
    recorded: JoinHandle<Vec<Call>>,
}

impl Trace {
    /// Attaches to every thread of a process; returns once it has.
    pub async fn attach(pid: u32, arguments: &[&str]) -> Self {
        let mut child = Command::new("strace")
            .arg("-f")
            .args(arguments)
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("strace runs: apt-get install strace");
        let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        let attached = async {
            while let Some(line) = lines.next_line().await.expect("a line") {
                if line.contains("attached") {
                    return;
                }
                assert!(!line.contains("ptrace(PTRACE_SEIZE"), "{line}");
            }
            panic!("strace ended before it attached");
        };
        tokio::time::timeout(PATIENCE, attached)
            .await
            .expect("attached in time");
        let recorded = tokio::spawn(async move {
            let mut calls = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                calls.extend(read(&line));
            }
            calls
        });
        Self { child, recorded }
    }

    /// Ends the tracer of a process that was killed while a call of it was delayed: it would wait for it for ever.
    pub async fn abandon(mut self) {
        let _ = self.child.kill().await;
        self.recorded.abort();
    }

    /// Detaches; what was recorded, in order.
    pub async fn finish(mut self) -> Vec<Call> {
        let pid = self.child.id().expect("a running tracer").to_string();
        let told = Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .await
            .expect("kill runs");
        assert!(told.success());
        let _ = self.child.wait().await;
        self.recorded.await.expect("the recording ends")
    }
}

/// `[pid 7] write(5, "…", 3) = 3`, or one of the two halves of a call that others ran beside.
fn read(line: &str) -> Option<Call> {
    let rest = line
        .split_once("] ")
        .map_or(line, |(_, rest)| rest)
        .trim_start();
    let (name, done) = match rest.strip_prefix("<... ") {
        Some(resumed) => (resumed.split(' ').next()?, true),
        None => (rest.split('(').next()?, !rest.contains("<unfinished")),
    };
    let known = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    known.then(|| Call {
        name: name.to_owned(),
        text: rest.to_owned(),
        done: done && !rest.contains("= -1"),
    })
}
