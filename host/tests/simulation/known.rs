//! What a client knows of its conversations, kept as the protocol tells it to: entries in their order without a gap, what a
//! recall takes back, receipts that move forward. Talks to nobody.

use std::collections::BTreeMap;

use kith::entry::Seq;
use kith::ids::{ConversationId, UserId};
use serde_json::{Value, json};

/// One conversation.
#[derive(Debug, Default)]
pub struct Conversation {
    /// From 1 on, without a gap.
    pub entries: Vec<Value>,
    /// How far each member is: received and read.
    pub receipts: BTreeMap<UserId, (Seq, Seq)>,
    /// The newest entry that was heard of.
    heard: Seq,
    /// There is more to read.
    pub is_behind: bool,
    /// It is being read.
    pub reading: bool,
}

#[derive(Debug, Default)]
pub struct Known {
    pub conversations: BTreeMap<ConversationId, Conversation>,
}

pub fn id_of(value: &Value) -> Option<ConversationId> {
    value.as_str()?.parse().ok()
}

impl Conversation {
    pub fn head(&self) -> Seq {
        self.entries.len() as Seq
    }

    /// An entry arrives: it is the next one, is known, or shows a gap.
    pub fn arrives(&mut self, entry: &Value, checks_gaps: bool) {
        let seq = entry["seq"].as_u64().unwrap_or_default();
        self.heard = self.heard.max(seq);
        if seq > self.head() + 1 {
            if checks_gaps {
                self.is_behind = true;
                return;
            }
            // Whoever does not look takes what comes.
            let missing = seq - self.head() - 1;
            self.entries.extend((0..missing).map(|_| Value::Null));
        }
        if seq == self.head() + 1 {
            self.append(entry.clone());
        }
    }

    fn append(&mut self, entry: Value) {
        let from = entry["from"].as_str().and_then(|from| from.parse().ok());
        let seq = entry["seq"].as_u64().unwrap_or_default();
        match entry["kind"].as_str() {
            Some("message") => self.receipt(from, seq, seq),
            Some("recall") => {
                let target = entry["target"].as_u64().unwrap_or_default() as usize;
                if let Some(message) = target
                    .checked_sub(1)
                    .and_then(|at| self.entries.get_mut(at))
                    .and_then(Value::as_object_mut)
                {
                    message.remove("content");
                    message.insert("recalled".to_owned(), json!(true));
                }
            }
            _ => {}
        }
        self.entries.push(entry);
    }

    pub fn receipt(&mut self, user: Option<UserId>, received: Seq, read: Seq) {
        if let Some(user) = user {
            let known = self.receipts.entry(user).or_default();
            *known = (known.0.max(received).max(read), known.1.max(read));
        }
    }

    /// Others' messages that are not read.
    pub fn unread(&self, user: UserId) -> u64 {
        let read = self.receipts.get(&user).map_or(0, |receipts| receipts.1);
        let own = json!(user);
        let counts = |entry: &&Value| {
            entry["kind"] == "message"
                && entry["from"] != own
                && entry["seq"].as_u64().is_some_and(|seq| seq > read)
        };
        self.entries.iter().filter(counts).count() as u64
    }
}

impl Known {
    pub fn of(&mut self, id: ConversationId) -> &mut Conversation {
        self.conversations.entry(id).or_default()
    }

    /// A summary says how far the log is, and how far its user and the peer are. An event's head is no reason to read: its
    /// entries are pushed.
    pub fn summary(&mut self, user: UserId, summary: &Value, reads: bool) {
        let Some(id) = id_of(&summary["id"]) else {
            return;
        };
        let number = |field: &str| summary[field].as_u64().unwrap_or_default();
        let conversation = self.of(id);
        conversation.receipt(Some(user), number("received"), number("read"));
        let peer = summary["peer"]["id"].as_str();
        let peer = peer.and_then(|peer| peer.parse().ok());
        conversation.receipt(peer, number("peer_received"), number("peer_read"));
        if reads && number("head") > conversation.head() {
            conversation.is_behind = true;
        }
    }

    /// A stretch of a log, after what is known.
    pub fn page(&mut self, id: ConversationId, page: &Value) {
        let conversation = self.of(id);
        for entry in page["entries"].as_array().into_iter().flatten() {
            if entry["seq"].as_u64() == Some(conversation.head() + 1) {
                conversation.append(entry.clone());
            }
        }
        let head = page["head"].as_u64().unwrap_or_default();
        conversation.is_behind = conversation.head() < head.max(conversation.heard);
    }
}
