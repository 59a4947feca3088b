//! A client as the protocol describes it: it keeps what it is told, fetches what it missed, and asks for nothing
//! else. Checks while it listens that entries come in order, none is left out, and receipts never go back.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::known::Known;
use crate::support::{TestServer, TestSocket};

pub struct Device {
    /// The user's.
    pub number: usize,
    pub user: String,
    name: &'static str,
    pub token: String,
    socket: Option<TestSocket>,
    since: Value,
    pub known: BTreeMap<String, Known>,
    /// A conversation that is always there.
    pub anchor: String,
    is_caught_up: bool,
    /// Requests on their way.
    asked: BTreeMap<u32, (Asked, String, Value)>,
    replies: BTreeMap<u32, Value>,
}

/// What a request is to the device that sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nobody was answered it before.
    New,
    /// Perhaps it was stored before, and the answer lost.
    Perhaps,
    /// It was answered before, perhaps to another device: nothing new comes of it.
    Again,
}

impl Device {
    pub fn new(number: usize, user: String, name: &'static str, token: String) -> Self {
        Self {
            number,
            user,
            name,
            token,
            socket: None,
            since: Value::Null,
            known: BTreeMap::new(),
            anchor: String::new(),
            is_caught_up: false,
            asked: BTreeMap::new(),
            replies: BTreeMap::new(),
        }
    }

    pub fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    pub fn disconnect(&mut self) {
        self.socket = None;
        self.asked.clear();
        self.replies.clear();
    }

    /// Says hello and catches up: `sync`, then `history after` for each changed conversation.
    pub async fn connect(&mut self, server: &TestServer) {
        let mut socket = server.connect(Some("kith.v1.json")).await;
        let hello = socket.hello(&self.token, self.name).await;
        self.socket = Some(socket);
        self.known.values_mut().for_each(Known::begin);
        self.is_caught_up = false;
        if self.since.is_null() {
            self.since = hello["ok"]["since"].clone();
        }
        loop {
            // What it says is done where it stands in the stream: see `done`.
            let answer = self.ask("sync", json!({"since": self.since})).await;
            self.since = answer["since"].clone();
            if answer["more"] == false {
                break;
            }
        }
        self.is_caught_up = true;
        self.fill().await;
        self.known.values_mut().for_each(Known::caught_up);
    }

    /// Hears everything; what is missing then was from before, and is fetched.
    pub async fn rest(&mut self) {
        self.hear_all().await;
        for (id, known) in &self.known {
            known.is_complete(id);
        }
        self.fill().await;
    }

    /// Fetches what is missing.
    async fn fill(&mut self) {
        let ids: Vec<String> = self.known.keys().cloned().collect();
        for id in ids {
            while let Some(after) = self.known.get(&id).and_then(Known::gap) {
                let fields = json!({"conversation": id, "after": after, "limit": 30});
                let asked = self.start(Asked::New, "history", &fields).await;
                let reply = self.reply(asked).await;
                if !reply["ok"].is_object() {
                    // No member any more: `gone` has come, or is about to.
                    assert_eq!(reply["err"]["code"], "not_member", "{fields}: {reply}");
                    break;
                }
                if let Some(known) = self.known.get_mut(&id) {
                    known.page(after, &reply["ok"]);
                }
            }
        }
    }

    /// Everything that was told before now is heard: the answer comes behind it.
    async fn hear_all(&mut self) {
        let fields = json!({"conversation": self.anchor, "seq": 0});
        self.ask("received", fields).await;
    }

    pub async fn start(&mut self, asked: Asked, op: &str, fields: &Value) -> u32 {
        let socket = self.socket.as_mut().expect("connected");
        let id = socket.start(op, fields.clone()).await;
        self.asked
            .insert(id, (asked, op.to_owned(), fields.clone()));
        id
    }

    pub async fn ask(&mut self, op: &str, fields: Value) -> Value {
        let id = self.start(Asked::New, op, &fields).await;
        let reply = self.reply(id).await;
        assert!(reply["ok"].is_object(), "{op} {fields}: {reply}");
        reply["ok"].clone()
    }

    pub async fn reply(&mut self, id: u32) -> Value {
        loop {
            if let Some(reply) = self.replies.remove(&id) {
                return reply;
            }
            let frame = self.socket.as_mut().expect("connected").frame().await;
            self.hear(frame.expect("a frame before the end"));
        }
    }

    fn hear(&mut self, frame: Value) {
        if let Some(id) = frame["re"].as_u64() {
            let id = id as u32;
            let asked = self.asked.remove(&id).expect("an answer to what was asked");
            if frame["ok"].is_object() {
                self.done(asked.0, &asked.1, &asked.2, &frame["ok"]);
            }
            self.replies.insert(id, frame);
            return;
        }
        let conversation = &frame["conversation"];
        match frame["ev"].as_str().expect("an event") {
            "entry" => {
                let entry = &frame["entry"];
                let id = text(&entry["conversation"]);
                let is_given = self.known.contains_key(&id) || entry["seq"] == 1;
                let known = self.known.entry(id).or_default();
                known.is_ungiven |= self.is_caught_up && !is_given;
                known.entry(entry.clone(), &self.user);
            }
            "conversation" => self.summary(conversation),
            "gone" => {
                self.known.remove(&text(conversation));
            }
            "receipt" => {
                let user = text(&frame["user"]);
                assert_ne!(user, self.user, "a receipt is a peer's: {frame}");
                // One may be told of a group's receipts before the group itself.
                if let Some(known) = self.known.get_mut(&text(conversation)) {
                    known.receipt(&user, &frame);
                }
            }
            "typing" => assert!(frame["on"].is_boolean() && frame["user"] != self.user.as_str()),
            other => panic!("an event that nothing here makes: {other}"),
        }
    }

    fn summary(&mut self, summary: &Value) {
        let known = self.known.entry(text(&summary["id"])).or_default();
        known.summary(summary);
    }

    /// What a device knows from the answer to its own request.
    fn done(&mut self, asked: Asked, op: &str, fields: &Value, ok: &Value) {
        match op {
            _ if asked == Asked::Again => {}
            "send" | "edit" | "recall" | "react" => self.own_entry(asked, op, fields, ok),
            "received" | "read" => {
                let known = self.known.entry(text(&fields["conversation"])).or_default();
                let seq = json!(fields["seq"].as_u64().expect("a seq").min(known.head()));
                known.raise("received", &seq);
                if op == "read" {
                    known.raise("read", &seq);
                }
            }
            "prefs" => self.summary(ok),
            "draft" => {
                let known = self.known.entry(text(&fields["conversation"])).or_default();
                let draft = Some(fields["text"].clone()).filter(|draft| draft != "");
                known.state.insert("draft", draft.unwrap_or_default());
            }
            "sync" => {
                assert!(ok["reset"].is_null(), "{ok}");
                for gone in ok["gone"].as_array().expect("gone") {
                    self.known.remove(&text(gone));
                }
                let changed = ok["changed"].as_array().expect("changed");
                changed.iter().for_each(|summary| self.summary(summary));
            }
            _ => {}
        }
    }

    fn own_entry(&mut self, asked: Asked, op: &str, fields: &Value, ok: &Value) {
        let id = text(&ok["conversation"]);
        if !self.known.contains_key(&id) {
            // Only a message to a user makes a conversation; another one was stored before its sender went.
            let opens = fields["to"]["user"].is_string();
            assert!(
                opens || asked == Asked::Perhaps,
                "{op} {fields} in an unknown: {ok}"
            );
            if !opens {
                return;
            }
        }
        let known = self.known.entry(id).or_default();
        let seq = ok["seq"].as_u64().expect("a seq");
        // A recall or a reaction that was there already is answered as the first: its place was the first one's.
        let may_be_old = asked == Asked::Perhaps || op == "recall" || op == "react";
        let is_old = seq <= known.pushed || seq < known.floor || known.entries.contains_key(&seq);
        assert!(may_be_old || !is_old, "{op} {fields} has an old seq: {ok}");
        let entry = made(op, fields, ok, &self.user);
        if is_old {
            return;
        }
        match asked {
            // Where it stands in the stream only the first answer tells.
            Asked::Perhaps => known.learn(entry, &self.user),
            _ => known.entry(entry, &self.user),
        }
    }
}

/// The entry an ack stands for.
fn made(op: &str, fields: &Value, ok: &Value, user: &str) -> Value {
    let mut entry = json!({
        "conversation": ok["conversation"], "seq": ok["seq"], "id": ok["id"], "at": ok["at"], "from": user,
    });
    let more = match op {
        "send" => {
            let mut more = json!({"kind": "message", "client_id": fields["client_id"], "content": fields["content"]});
            if fields["reply_to"].is_u64() {
                more["reply_to"] = fields["reply_to"].clone();
            }
            more
        }
        "edit" => json!({"kind": "edit", "target": fields["seq"], "content": fields["content"]}),
        "recall" => json!({"kind": "recall", "target": fields["seq"], "by": user}),
        _ => {
            json!({"kind": "react", "target": fields["seq"], "emoji": fields["emoji"], "on": fields["on"]})
        }
    };
    for (name, value) in more.as_object().expect("fields") {
        entry[name] = value.clone();
    }
    entry
}

fn text(id: &Value) -> String {
    id.as_str().expect("an id").to_owned()
}
