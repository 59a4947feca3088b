//! Trying versions: shadows and canaries as clients and administrators see them, what is given up by itself, and every
//! step in the audit log. `rollout/` has what each is about; here is what they share.

mod canary;
mod events;
mod given_up;
mod shadow;
mod terminal;

use std::time::{Duration, Instant};

use kith::config::Config;
use serde_json::{Value, json};

use crate::support::{PATIENCE, TestServer, TestSocket, TestUser};
use crate::swap;

/// A server with some wayward versions, the first of which serves.
async fn server(kinds: &'static [&'static str], change: impl FnOnce(&mut Config)) -> TestServer {
    let server = TestServer::with(|config| {
        // What takes long here is stopped by nobody.
        config.plugins.hard_stop_ms = 2000;
        config.plugins.watch_s = 60;
        change(config);
    })
    .await;
    swap::push(&server, kinds).await;
    swap::activate(&server, kinds[0]).await;
    server
}

/// What an administrator does to the wayward plugin; the answer when it was done.
async fn done(server: &TestServer, verb: &str, body: Value) -> Value {
    let path = format!("/plugins/wayward/{verb}");
    let (status, done) = server.admin("POST", &path, Some(body)).await;
    assert_eq!(status, 200, "{verb}: {done}");
    done
}

async fn canary(server: &TestServer, kind: &str, percent: u8) -> Value {
    let version = format!("1.0.0-{kind}");
    let body = json!({"version": version, "percent": percent});
    done(server, "canary", body).await
}

async fn shadow(server: &TestServer, kind: &str) -> Value {
    let body = json!({"version": format!("1.0.0-{kind}")});
    done(server, "shadow", body).await
}

async fn report(server: &TestServer) -> Value {
    let path = "/plugins/wayward/rollout";
    let (status, report) = server.admin("GET", path, None).await;
    assert_eq!(status, 200, "{report}");
    report
}

/// The states of the wayward versions, as `kind state`.
async fn states(server: &TestServer) -> Vec<String> {
    let (_, list) = server.admin("GET", "/plugins", None).await;
    let rows = list["plugins"].as_array().expect("plugins").iter();
    let own = rows.filter(|row| row["name"] == "wayward");
    own.map(|row| {
        let version = row["version"].as_str().expect("a version");
        let kind = version.trim_start_matches("1.0.0-");
        let percent = row["percent"].as_u64();
        let percent = percent.map(|percent| format!(" {percent}"));
        let state = row["state"].as_str().expect("a state");
        format!("{kind} {state}{}", percent.unwrap_or_default())
    })
    .collect()
}

/// The audit log's lines about plugins, oldest first.
pub async fn audit(server: &TestServer) -> Vec<Value> {
    let path = "/audit?prefix=plugin.&after=0&limit=200";
    let (status, page) = server.admin("GET", path, None).await;
    assert_eq!(status, 200, "{page}");
    page["lines"].as_array().expect("lines").clone()
}

/// Waits for a line with this action.
pub async fn told(server: &TestServer, action: &str) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let lines = audit(server).await;
        if let Some(line) = lines.iter().find(|line| line["action"] == action) {
            return line.clone();
        }
        assert!(Instant::now() < until, "no {action} in {lines:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Two who talk, and where: the greeting is its first entry.
struct Talk {
    ann: TestUser,
    bob: TestUser,
    from: TestSocket,
    conversation: String,
    sent: u64,
}

impl Talk {
    async fn begin(server: &TestServer) -> Self {
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let mut answer = server.session(&bob).await;
        let said = answer.send_text(&ann.id, "hello", "hello").await;
        let conversation = said["ok"]["conversation"].as_str().expect("a conversation");
        Self {
            conversation: conversation.to_owned(),
            from: server.session(&ann).await,
            ann,
            bob,
            sent: 0,
        }
    }

    /// Sends a text under a client id of its own; the reply.
    async fn say(&mut self, text: &str) -> Value {
        self.sent += 1;
        let client_id = format!("n{}", self.sent);
        self.from.send_text(&self.bob.id, &client_id, text).await
    }

    /// Sends a text until a version is given up; how often.
    async fn say_until_told(&mut self, server: &TestServer, text: &str, action: &str) -> u64 {
        let (until, before) = (Instant::now() + PATIENCE, self.sent);
        loop {
            self.say(text).await;
            let lines = audit(server).await;
            if lines.iter().any(|line| line["action"] == action) {
                return self.sent - before;
            }
            assert!(Instant::now() < until, "no {action} in {lines:#?}");
        }
    }
}

/// The versions and outcomes of the wayward plugin's part in an entry.
async fn judged(server: &TestServer, conversation: &str, seq: u64) -> Vec<(String, String)> {
    let path = format!("/conversations/{conversation}/entries/{seq}");
    let (status, record) = server.admin("GET", &path, None).await;
    assert_eq!(status, 200, "{record}");
    let hooks = record["decision"]["hooks"]
        .as_array()
        .expect("hooks")
        .iter();
    let own = hooks.filter(|hook| hook["plugin"] == "wayward");
    let text = |hook: &Value, field: &str| hook[field].as_str().expect("a text").to_owned();
    own.map(|hook| (text(hook, "version"), text(hook, "outcome")))
        .collect()
}
