//! A `kith chat` that a test types into and reads from.
//! It waits for lines; it never looks at the server.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::crash::process::program;
use crate::support::{PATIENCE, TestServer};

pub struct Chat {
    name: &'static str,
    /// Killed with the test.
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    /// Everything that was typed.
    pub typed: Vec<String>,
    /// Lines nobody has asked for yet.
    unseen: Vec<String>,
}

impl Chat {
    /// Registers a user and signs in.
    pub async fn begin(server: &TestServer, name: &'static str) -> Self {
        Self::begin_with(server, name, &[]).await
    }

    /// As `begin`, to talk with others at once.
    pub async fn begin_with(server: &TestServer, name: &'static str, peer: &[&str]) -> Self {
        let mut command = Command::new(program());
        let url = server.url("");
        command.args(["chat", "--server", &url, "--user", name, "--register"]);
        command.args(["--password-env", "PASSWORD_OF_THE_TEST"]);
        command.args(peer);
        command.env("PASSWORD_OF_THE_TEST", "password-1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("starts");
        let output = BufReader::new(child.stdout.take().expect("an output"));
        let mut chat = Self {
            name,
            input: child.stdin.take(),
            child,
            output: output.lines(),
            typed: Vec::new(),
            unseen: Vec::new(),
        };
        chat.sees(&format!("* you are {name} on ")).await;
        chat
    }

    pub async fn types(&mut self, line: &str) {
        self.typed.push(line.to_owned());
        let input = self.input.as_mut().expect("a keyboard");
        let typed = input.write_all(format!("{line}\n").as_bytes()).await;
        typed.unwrap_or_else(|error| panic!("{} cannot type {line}: {error}", self.name));
    }

    /// Waits for a line that contains this; it is not seen a second time.
    pub async fn sees(&mut self, part: &str) -> String {
        let mut looked_at = 0;
        loop {
            let lines = self.unseen[looked_at..].iter();
            if let Some(index) = lines
                .map(String::as_str)
                .position(|line| line.contains(part))
            {
                return self.unseen.remove(looked_at + index);
            }
            looked_at = self.unseen.len();
            let line = self.next(&format!("to see {part:?}")).await;
            self.unseen.push(line);
        }
    }

    /// Of the lines up to the one seen last, none contains this.
    pub fn sees_no(&self, part: &str) {
        let line = self.unseen.iter().find(|line| line.contains(part));
        assert_eq!(line, None, "{}", self.name);
    }

    /// The names of all commands, as the help shows them.
    pub async fn help(&mut self) -> Vec<String> {
        self.unseen.clear();
        self.types(":help").await;
        self.sees("makes one word of several").await;
        let usages = self
            .unseen
            .iter()
            .filter_map(|line| line.strip_prefix("  :"));
        let names = usages.filter(|usage| usage.starts_with(|c: char| c.is_ascii_lowercase()));
        names
            .map(|usage| {
                let name = usage.split_inclusive(' ').take_while(|word| {
                    word.trim_end().bytes().all(|b| b.is_ascii_lowercase()) && word.len() > 1
                });
                // Behind the column's gap stands what the command is about.
                let usage: String = name.collect();
                format!(":{}", usage.split("  ").next().unwrap_or_default().trim())
            })
            .collect()
    }

    /// Waits for the program's end, which must be a good one.
    pub async fn ends(&mut self) {
        self.input = None;
        let end = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = end.expect("ends in time").expect("its end");
        assert!(status.success(), "{}: {status}", self.name);
    }

    async fn next(&mut self, why: &str) -> String {
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await;
        match line {
            Ok(Ok(Some(line))) => line,
            other => panic!(
                "{} waits {why}: {other:?}; typed {:?}; unseen:\n{}",
                self.name,
                self.typed.last(),
                self.unseen.join("\n")
            ),
        }
    }
}
