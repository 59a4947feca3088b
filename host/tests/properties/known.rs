//! What a device knows of one conversation: entries as they came or were fetched, and what only a summary, a receipt
//! or one's own request tells. Receipts never go back here, nor does a log.

use std::collections::BTreeMap;

use serde_json::Value;

#[derive(Debug, Default)]
pub struct Known {
    pub entries: BTreeMap<u64, Value>,
    /// Fields of a summary, as they stand now.
    pub state: BTreeMap<&'static str, Value>,
    /// The lowest seq still kept, as history told.
    pub floor: u64,
    /// The newest entry this session was given; 0 for none.
    pub pushed: u64,
    /// Up to where this session was when it had caught up.
    caught_up: u64,
    /// An entry came before the conversation: right only for one that is gone again.
    pub is_ungiven: bool,
    /// An entry did not come before the next one: likewise, whoever goes is told no more.
    left_out: Option<u64>,
    /// Summaries that came, to be counted again when all entries are known; the newest stays.
    pub told: Vec<Value>,
    /// The newest head a summary told.
    told_head: u64,
    /// What receipts told of each other member.
    others: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

/// Fields of a summary that move forward only.
pub const RECEIPTS: [&str; 4] = ["received", "read", "peer_received", "peer_read"];
/// Fields of a summary that the newest word sets.
pub const SET: [&str; 7] = [
    "kind", "title", "role", "pinned", "muted", "hidden", "draft",
];

impl Known {
    pub fn is_direct(&self) -> bool {
        // Who opened a conversation is told by the ack alone.
        self.state.get("kind").is_none_or(|kind| kind == "direct")
    }

    /// The newest entry this device has.
    pub fn head(&self) -> u64 {
        self.entries.keys().next_back().copied().unwrap_or(0)
    }

    /// The entry before the first one missing, if one is.
    pub fn gap(&self) -> Option<u64> {
        let head = self.head().max(self.told_head);
        let missing = (self.floor.max(1)..=head).find(|seq| !self.entries.contains_key(seq));
        missing.map(|seq| seq - 1)
    }

    /// A session begins.
    pub fn begin(&mut self) {
        (self.pushed, self.caught_up) = (0, 0);
    }

    pub fn caught_up(&mut self) {
        self.caught_up = self.head();
    }

    /// Whether a session was given everything since it had caught up.
    pub fn is_complete(&self, id: &str) {
        assert!(!self.is_ungiven, "{id} was never given");
        assert_eq!(
            self.left_out, None,
            "of {id}, though it was told of later ones"
        );
        if let Some(after) = self.gap() {
            let from = self.pushed.max(self.caught_up);
            assert!(after < from, "{id} goes on after {after}: nobody said");
        }
    }

    /// A page of history after a seq.
    pub fn page(&mut self, after: u64, page: &Value) {
        let floor = page["floor"].as_u64().expect("a floor");
        let mut next = floor.max(after + 1);
        // Whoever came again may see less of the past, or more.
        self.floor = floor;
        self.entries = self.entries.split_off(&self.floor);
        for entry in page["entries"].as_array().expect("entries") {
            assert_eq!(entry["seq"], next, "a page is dense: {page}");
            self.entries.entry(next).or_insert_with(|| entry.clone());
            next += 1;
        }
        let told = page["head"].as_u64().expect("a head");
        assert!(
            next > after + 1 || self.floor > after + 1 || told <= after,
            "history leaves out what is after {after}: {page}"
        );
    }

    pub fn summary(&mut self, summary: &Value) {
        assert!(!self.is_ungiven, "came after its first entry: {summary}");
        for field in RECEIPTS {
            match summary[field].as_u64() {
                Some(_) => self.forward(field, &summary[field]),
                None => assert!(field.starts_with("peer"), "no {field}: {summary}"),
            }
        }
        for field in SET {
            self.state.insert(field, summary[field].clone());
        }
        assert_eq!(
            self.is_direct(),
            summary["peer"].is_object() && summary["peer_read"].is_u64(),
            "a peer is there in direct conversations: {summary}"
        );
        let head = summary["head"].as_u64().expect("a head");
        self.told_head = self.told_head.max(head);
        self.told.push(summary.clone());
    }

    /// An entry at its place in the stream.
    pub fn entry(&mut self, entry: Value, user: &str) {
        let seq = entry["seq"].as_u64().expect("a seq");
        assert!(seq > self.pushed, "out of order, or twice: {entry}");
        let before = self.pushed.max(self.caught_up);
        if before > 0 {
            let passed = (before + 1..seq).find(|seq| !self.entries.contains_key(seq));
            self.left_out = self.left_out.or(passed);
        }
        self.pushed = seq;
        self.learn(entry, user);
    }

    /// What an entry says to `user`, whose device this is.
    pub fn learn(&mut self, entry: Value, user: &str) {
        let own = entry["from"] == user;
        match entry["kind"].as_str() {
            Some("message") => {
                let (received, read) = match own {
                    true => ("received", "read"),
                    false => ("peer_received", "peer_read"),
                };
                if own || self.is_direct() {
                    self.raise(received, &entry["seq"]);
                    self.raise(read, &entry["seq"]);
                }
                self.state.insert("hidden", false.into());
            }
            Some("system") => self.system(&entry, user),
            _ => {}
        }
        let seq = entry["seq"].as_u64().expect("a seq");
        if seq >= self.floor {
            self.entries.entry(seq).or_insert(entry);
        }
    }

    fn system(&mut self, entry: &Value, user: &str) {
        let args = &entry["args"];
        match entry["code"].as_str().expect("a code") {
            "title_changed" => {
                self.state.insert("title", args["title"].clone());
            }
            "role_changed" if args["user"] == user => {
                self.state.insert("role", args["role"].clone());
            }
            _ => {}
        }
    }

    /// A peer's receipt: never one from before.
    pub fn receipt(&mut self, user: &str, receipt: &Value) {
        let told = self.others.entry(user.to_owned()).or_default();
        for field in ["received", "read"] {
            let seq = receipt[field].as_u64().expect("a seq");
            let before = told.insert(field, seq).unwrap_or(0);
            assert!(seq >= before, "{field} of {user} goes back: {receipt}");
        }
        if self.is_direct() {
            // A summary may have told of a later one already.
            self.raise("peer_received", &receipt["received"]);
            self.raise("peer_read", &receipt["read"]);
        }
    }

    pub fn now(&self, field: &'static str) -> u64 {
        self.state.get(field).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A receipt the host tells: never one from before.
    fn forward(&mut self, field: &'static str, told: &Value) {
        assert!(told.as_u64() >= Some(self.now(field)), "{field}: {told}");
        self.state.insert(field, told.clone());
    }

    pub fn raise(&mut self, field: &'static str, seq: &Value) {
        if seq.as_u64() > Some(self.now(field)) {
            self.state.insert(field, seq.clone());
        }
    }

    /// The entries with what later ones did to them.
    pub fn views(&self, floor: u64) -> BTreeMap<u64, Value> {
        let mut views = self.entries.clone().split_off(&floor);
        let later: Vec<Value> = views.values().cloned().collect();
        for entry in later {
            let Some(target) = entry["target"].as_u64() else {
                continue;
            };
            if entry["kind"] == "edit" {
                if let Some(message) = views.get_mut(&target) {
                    message["edited"] = true.into();
                    if entry["content"].is_object() {
                        message["content"] = entry["content"].clone();
                    }
                }
            } else if entry["kind"] == "recall" {
                for (seq, other) in &mut views {
                    let message = *seq == target;
                    if message || other["kind"] == "edit" && other["target"] == target {
                        other.as_object_mut().expect("an entry").remove("content");
                    }
                    if message {
                        other["recalled"] = true.into();
                    }
                }
            }
        }
        views
    }

    /// What `user` has to read: others' messages in a stretch.
    pub fn unread_in<'a>(
        views: &'a BTreeMap<u64, Value>,
        user: &'a str,
        (read, head): (u64, u64),
    ) -> impl Iterator<Item = &'a Value> {
        let above = views
            .range(read + 1..)
            .take_while(move |(seq, _)| **seq <= head);
        let messages = above.filter(|(_, entry)| entry["kind"] == "message");
        messages
            .map(|(_, entry)| entry)
            .filter(move |entry| entry["from"] != user)
    }
}
