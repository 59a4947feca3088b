//! The protocol's operations by name, for callers who need not build the fields by hand.
//! Each gives the `ok` object as it came.

use serde_json::{Value, json};

use super::super::{Device, WireError};
use super::{Connection, hello_fields};

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum To {
    Conversation(String),
    /// Opens the direct conversation.
    User(String),
}

impl To {
    pub fn user(id: impl Into<String>) -> Self {
        Self::User(id.into())
    }

    pub fn conversation(id: impl Into<String>) -> Self {
        Self::Conversation(id.into())
    }

    /// As it stands in a request.
    pub fn json(&self) -> Value {
        match self {
            Self::Conversation(id) => json!({"conversation": id}),
            Self::User(id) => json!({"user": id}),
        }
    }
}

/// The content of a text message.
pub fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

impl Connection {
    pub async fn hello(&self, token: &str, device: &Device) -> Result<Value, WireError> {
        self.request("hello", hello_fields(token, device)).await
    }

    pub async fn send(&self, to: &To, client_id: &str, content: Value) -> Result<Value, WireError> {
        let fields = json!({"to": to.json(), "client_id": client_id, "content": content});
        self.request("send", fields).await
    }

    pub async fn send_text(
        &self,
        to: &To,
        client_id: &str,
        words: &str,
    ) -> Result<Value, WireError> {
        self.send(to, client_id, text(words)).await
    }

    pub async fn received(&self, conversation: &str, seq: u64) -> Result<Value, WireError> {
        self.request(
            "received",
            json!({"conversation": conversation, "seq": seq}),
        )
        .await
    }

    pub async fn read(&self, conversation: &str, seq: u64) -> Result<Value, WireError> {
        self.request("read", json!({"conversation": conversation, "seq": seq}))
            .await
    }

    pub async fn recall(&self, conversation: &str, seq: u64) -> Result<Value, WireError> {
        self.request("recall", json!({"conversation": conversation, "seq": seq}))
            .await
    }

    /// A page of a log; with neither bound the newest one.
    pub async fn history(
        &self,
        conversation: &str,
        after: Option<u64>,
        before: Option<u64>,
        limit: Option<u64>,
    ) -> Result<Value, WireError> {
        let fields =
            json!({"conversation": conversation, "after": after, "before": before, "limit": limit});
        self.request("history", fields).await
    }

    pub async fn conversations(
        &self,
        cursor: Option<&str>,
        limit: Option<u64>,
    ) -> Result<Value, WireError> {
        self.request("conversations", json!({"cursor": cursor, "limit": limit}))
            .await
    }

    pub async fn sync(&self, since: &str) -> Result<Value, WireError> {
        self.request("sync", json!({"since": since})).await
    }

    /// The server's time, milliseconds since 1970 UTC.
    pub async fn ping(&self) -> Result<u64, WireError> {
        let ok = self.request("ping", json!({})).await?;
        ok["now"]
            .as_u64()
            .ok_or_else(|| WireError::Unintelligible("a ping's answer without `now`".to_owned()))
    }
}
