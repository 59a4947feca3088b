//! Two people who talk, and the requests about what they said.
//! Holds no assertions of its own.

use serde_json::{Value, json};

use crate::support::{TestServer, TestSocket, TestUser};

/// Ann has written one message, `first`, to Bob; both are here.
pub struct Talk {
    pub server: TestServer,
    pub ann: TestUser,
    pub bob: TestUser,
    pub from: TestSocket,
    pub to: TestSocket,
    pub conversation: String,
}

impl Talk {
    pub async fn on(server: TestServer) -> Self {
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let (mut from, to) = (server.session(&ann).await, server.session(&bob).await);
        let ack = from.send_text(&bob.id, "first", "first").await;
        let conversation = ack["ok"]["conversation"]
            .as_str()
            .expect("an id")
            .to_owned();
        Self {
            server,
            ann,
            bob,
            from,
            to,
            conversation,
        }
    }

    pub async fn bare() -> Self {
        Self::on(TestServer::bare().await).await
    }

    pub fn at(&self, seq: u64) -> Value {
        json!({"conversation": self.conversation, "seq": seq})
    }

    pub fn edit(&self, seq: u64, content: Value) -> Value {
        json!({"conversation": self.conversation, "seq": seq, "content": content})
    }

    pub fn reaction(&self, seq: u64, emoji: &str, on: bool) -> Value {
        json!({"conversation": self.conversation, "seq": seq, "emoji": emoji, "on": on})
    }

    /// The next event of a kind of entry at Bob's.
    pub async fn entry(&mut self, kind: &str) -> Value {
        loop {
            let entry = self.to.event("entry").await["entry"].clone();
            if entry["kind"] == kind {
                return entry;
            }
        }
    }

    pub async fn history(&mut self) -> Vec<Value> {
        let fields = json!({"conversation": self.conversation});
        let page = self.to.request("history", fields).await;
        page["ok"]["entries"].as_array().expect("entries").clone()
    }

    pub async fn summary(&mut self) -> Value {
        self.to.request("conversations", json!({})).await["ok"]["conversations"][0].clone()
    }
}
