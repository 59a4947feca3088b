//! A client as the protocol describes it: it keeps what it is told, fetches what it missed, and asks for nothing
//! else. Checks while it listens that entries come in order and receipts never go back.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::seeded::Seeded;
use crate::support::{TestServer, TestSocket};

/// What a device knows of one conversation.
#[derive(Debug, Default)]
pub struct Known {
    /// As they came, or were fetched.
    pub entries: BTreeMap<u64, Value>,
    /// What only a summary, a receipt or one's own request tells.
    pub state: BTreeMap<&'static str, Value>,
    /// The newest entry this session was given.
    newest: u64,
}

/// Fields of a summary that do not follow from the entries.
const STATE: [&str; 8] = [
    "received",
    "read",
    "peer_received",
    "peer_read",
    "pinned",
    "muted",
    "hidden",
    "draft",
];

pub struct Device {
    pub number: usize,
    pub user: String,
    name: &'static str,
    pub token: String,
    socket: Option<TestSocket>,
    since: Value,
    pub known: BTreeMap<String, Known>,
    /// Requests on their way.
    asked: BTreeMap<u32, (String, Value)>,
    replies: BTreeMap<u32, Value>,
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
        self.known.values_mut().for_each(|known| known.newest = 0);
        if self.since.is_null() {
            self.since = hello["ok"]["since"].clone();
        }
        loop {
            let answer = self.ask("sync", json!({"since": self.since})).await;
            assert!(answer["reset"].is_null() && answer["gone"] == json!([]));
            let changed = answer["changed"].as_array().expect("changed");
            changed.iter().for_each(|summary| self.summary(summary));
            for summary in changed {
                self.fetch(
                    summary["id"].as_str().expect("an id"),
                    summary["head"].as_u64(),
                )
                .await;
            }
            self.since = answer["since"].clone();
            if answer["more"] == false {
                return;
            }
        }
    }

    async fn fetch(&mut self, id: &str, head: Option<u64>) {
        let head = head.expect("a head");
        loop {
            let known = &self.known[id].entries;
            let after = (0..)
                .find(|seq| !known.contains_key(&(seq + 1)))
                .unwrap_or(0);
            if after >= head {
                return;
            }
            let fields = json!({"conversation": id, "after": after, "limit": 200});
            let page = self.ask("history", fields).await;
            let known = self.known.get_mut(id).expect("known");
            for entry in page["entries"].as_array().expect("entries") {
                let seq = entry["seq"].as_u64().expect("a seq");
                known.entries.entry(seq).or_insert_with(|| entry.clone());
            }
        }
    }

    /// Everything that was told before now is heard: the answer comes behind it.
    pub async fn hear_all(&mut self) {
        if let Some(id) = self.known.keys().next().cloned() {
            self.ask("received", json!({"conversation": id, "seq": 0}))
                .await;
        }
    }

    pub fn some_conversation(&self, random: &mut Seeded) -> Option<(String, u64)> {
        let count = self.known.len() as u64;
        let at = (count > 0).then(|| random.below(count) as usize)?;
        let (id, known) = self.known.iter().nth(at)?;
        Some((id.clone(), known.head()))
    }

    pub async fn start(&mut self, op: &str, fields: &Value) -> u32 {
        let id = self.again(op, fields).await;
        self.asked.insert(id, (op.to_owned(), fields.clone()));
        id
    }

    /// A request that was answered before, perhaps to another device: nothing new comes of it.
    pub async fn again(&mut self, op: &str, fields: &Value) -> u32 {
        let socket = self.socket.as_mut().expect("connected");
        let id = socket.start(op, fields.clone()).await;
        self.asked.insert(id, ("again".to_owned(), Value::Null));
        id
    }

    async fn ask(&mut self, op: &str, fields: Value) -> Value {
        let id = self.start(op, &fields).await;
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
            let (op, fields) = self.asked.remove(&id).expect("an answer to what was asked");
            if frame["ok"].is_object() {
                self.done(&op, &fields, &frame["ok"]);
            }
            self.replies.insert(id, frame);
            return;
        }
        match frame["ev"].as_str().expect("an event") {
            "entry" => self.entry(frame["entry"].clone()),
            "conversation" => self.summary(&frame["conversation"]),
            "receipt" => {
                let known = self.known.entry(text(&frame["conversation"])).or_default();
                known.forward("told_received", &frame["received"]);
                known.forward("told_read", &frame["read"]);
                // A summary may have told of a later one already.
                known.raise("peer_received", &frame["received"]);
                known.raise("peer_read", &frame["read"]);
            }
            other => panic!("an event that nothing here makes: {other}"),
        }
    }

    /// What a device knows from the answer to its own request.
    fn done(&mut self, op: &str, fields: &Value, ok: &Value) {
        match op {
            "send" | "edit" | "recall" | "react" => self.own_entry(op, fields, ok),
            "received" | "read" => {
                let known = self.known.entry(text(&fields["conversation"])).or_default();
                let seq = json!(fields["seq"].as_u64().expect("a seq").min(known.head()));
                for field in ["received", "read"] {
                    if field == "received" || op == "read" {
                        known.raise(field, &seq);
                    }
                }
            }
            "prefs" => self.summary(ok),
            "draft" => {
                let known = self.known.entry(text(&fields["conversation"])).or_default();
                let draft = Some(fields["text"].clone()).filter(|draft| draft != "");
                known.state.insert("draft", draft.unwrap_or_default());
            }
            _ => {}
        }
    }

    fn own_entry(&mut self, op: &str, fields: &Value, ok: &Value) {
        let mut entry = json!({"conversation": ok["conversation"], "seq": ok["seq"], "id": ok["id"], "at": ok["at"], "from": self.user});
        let more = match op {
            "send" => {
                let mut more = json!({"kind": "message", "client_id": fields["client_id"], "content": fields["content"]});
                if fields["reply_to"].is_u64() {
                    more["reply_to"] = fields["reply_to"].clone();
                }
                more
            }
            "edit" => {
                json!({"kind": "edit", "target": fields["seq"], "content": fields["content"]})
            }
            "recall" => json!({"kind": "recall", "target": fields["seq"], "by": self.user}),
            _ => {
                json!({"kind": "react", "target": fields["seq"], "emoji": fields["emoji"], "on": fields["on"]})
            }
        };
        for (name, value) in more.as_object().expect("fields") {
            entry[name] = value.clone();
        }
        let known = self.known.entry(text(&ok["conversation"])).or_default();
        // A recall or a reaction that was there already is answered as the first: its place was the first one's.
        let seq = ok["seq"].as_u64().expect("a seq");
        if seq > known.newest && !known.entries.contains_key(&seq) {
            self.entry(entry);
        }
    }

    fn entry(&mut self, entry: Value) {
        let own = entry["from"] == self.user.as_str();
        let known = self.known.entry(text(&entry["conversation"])).or_default();
        let seq = entry["seq"].as_u64().expect("a seq");
        assert!(seq > known.newest, "out of order, or twice: {entry}");
        known.newest = seq;
        if entry["kind"] == "message" {
            let (received, read) = match own {
                true => ("received", "read"),
                false => ("peer_received", "peer_read"),
            };
            known.raise(received, &entry["seq"]);
            known.raise(read, &entry["seq"]);
            known.state.insert("hidden", false.into());
        }
        known.entries.entry(seq).or_insert(entry);
    }

    fn summary(&mut self, summary: &Value) {
        let known = self.known.entry(text(&summary["id"])).or_default();
        for field in STATE {
            match field {
                "received" | "read" | "peer_received" | "peer_read" => {
                    known.forward(field, &summary[field])
                }
                _ => {
                    known.state.insert(field, summary[field].clone());
                }
            }
        }
    }
}

impl Known {
    pub fn head(&self) -> u64 {
        self.entries.keys().next_back().copied().unwrap_or(0)
    }

    fn now(&self, field: &'static str) -> u64 {
        self.state.get(field).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A receipt the host tells: never one from before.
    fn forward(&mut self, field: &'static str, told: &Value) {
        let seq = told.as_u64().expect("a seq");
        assert!(seq >= self.now(field), "{field} goes back to {seq}");
        self.state.insert(field, told.clone());
    }

    fn raise(&mut self, field: &'static str, seq: &Value) {
        if seq.as_u64() > Some(self.now(field)) {
            self.state.insert(field, seq.clone());
        }
    }
}

fn text(id: &Value) -> String {
    id.as_str().expect("an id").to_owned()
}
