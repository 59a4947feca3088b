//! What the index keeps of a message, as requests that bring it about: the rule's tokens as terms of their own, and
//! numbers to filter and order by. Nothing is analysed by the server, and no text is stored: a hit is read from the log.

use serde_json::{Value, json};

use crate::ids::{ConversationId, EntryId};
use crate::search::{Document, IndexChange, terms};

/// Of the index: what is kept of a message, and how. Another one's index is made anew.
pub const FORMAT: u64 = 1;
/// The one document that is no message: how far the index has come.
pub const NOTE: &str = "note";
/// How long a copy of the index may be away and still catch up by changes; what was removed stays on the disk as long.
pub const LEASE: &str = "1h";
/// As for large indexes of chat, whatever this one holds: the same for the same message at all times, and whole, so
/// that sums of it are exact.
const RANK: &str = "return Math.floor(7000 * query.boost * doc.freq * 2.2 \
     / (doc.freq + 0.3 + 0.9 * doc.length / 20));";

/// The body that creates the index, reached by an alias alone: what is written to an index that is gone must fail, and
/// not make one with the server's own idea of a message.
pub fn creation(alias: &str) -> Value {
    let numbers = json!({"type": "long"});
    let names = json!({"type": "keyword"});
    let mut aliases = serde_json::Map::new();
    aliases.insert(alias.to_owned(), json!({}));
    json!({
        "settings": {
            // A copy where there is a second server.
            "auto_expand_replicas": "0-1",
            // Found when a commit says so.
            "refresh_interval": "-1",
            // A request that is late must not undo a removal.
            "gc_deletes": "1h",
            "merge": {"policy": {"expunge_deletes_allowed": 0}},
            "soft_deletes": {"retention_lease": {"period": LEASE}},
            "similarity": {"kith": {"type": "scripted", "script": {"source": RANK}}},
        },
        "mappings": {
            "_meta": {"kith": FORMAT},
            "_source": {"includes": ["note.*"]},
            "dynamic": "strict",
            "properties": {
                "tokens": {
                    "type": "keyword",
                    "doc_values": false,
                    // How often, and never where.
                    "index_options": "freqs",
                    "norms": true,
                    "similarity": "kith",
                },
                "id": numbers,
                "seq": numbers,
                "room": names,
                "from": {"type": "keyword", "doc_values": false},
                "note": {"type": "object", "enabled": false},
            },
        },
        "aliases": aliases,
    })
}

/// Ids and seqs are below 2^63 for two centuries more.
pub fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Changes in the form the server takes many of at once.
#[derive(Default)]
pub struct Bulk {
    pub lines: String,
}

impl Bulk {
    /// A change of one message; nothing that was sent earlier undoes it.
    pub fn change(&mut self, version: u64, change: &IndexChange) {
        match change {
            IndexChange::Add(document) | IndexChange::Replace(document) => {
                self.action("index", document.id, version);
                self.document(document);
            }
            IndexChange::Remove { id, .. } => self.action("delete", *id, version),
            IndexChange::RemoveBelow { .. } | IndexChange::RemoveConversation(_) => {}
        }
    }

    fn document(&mut self, document: &Document) {
        let mut tokens = Vec::new();
        for text in &document.texts {
            terms::tokens(text, |token, _| tokens.push(token.to_owned()));
        }
        self.line(&json!({
            "tokens": tokens,
            "id": long(document.id.0),
            "seq": long(document.seq),
            "room": document.conversation.to_string(),
            "from": document.from.to_string(),
        }));
    }

    fn action(&mut self, action: &str, id: EntryId, version: u64) {
        let mut line = serde_json::Map::new();
        let what = json!({"_id": id.to_string(), "version": version, "version_type": "external"});
        line.insert(action.to_owned(), what);
        self.line(&Value::Object(line));
    }

    fn line(&mut self, line: &Value) {
        self.lines.push_str(&line.to_string());
        self.lines.push('\n');
    }
}

/// What a change that removes more than one message removes, as a query.
pub fn stretch(change: &IndexChange) -> Option<Value> {
    let room = |conversation: &ConversationId| json!({"term": {"room": conversation.to_string()}});
    match change {
        IndexChange::RemoveConversation(conversation) => Some(room(conversation)),
        IndexChange::RemoveBelow {
            conversation,
            below,
        } => {
            let older = json!({"range": {"seq": {"lt": long(*below)}}});
            Some(json!({"bool": {"filter": [room(conversation), older]}}))
        }
        _ => None,
    }
}

/// What any of the queries matches.
pub fn any(mut queries: Vec<Value>) -> Value {
    if queries.len() == 1 {
        return queries.remove(0);
    }
    json!({"bool": {"should": queries, "minimum_should_match": 1}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    #[test]
    fn no_text_is_sent_and_tokens_are_the_rules() {
        let mut bulk = Bulk::default();
        let document = Document {
            id: EntryId(7),
            conversation: ConversationId(10),
            seq: 3,
            from: UserId(5),
            texts: vec!["Ab 中文".into(), "x".into()],
        };
        bulk.change(9, &IndexChange::Add(document));
        let removal = IndexChange::Remove {
            id: EntryId(8),
            conversation: ConversationId(10),
            seq: 4,
        };
        bulk.change(10, &removal);
        let lines: Vec<Value> = bulk
            .lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["index"]["version"], 9);
        assert_eq!(lines[1]["tokens"], json!(["ab", "中", "中文", "文", "x"]));
        assert_eq!(lines[1]["room"], "0000000000000000000000000000000a");
        assert_eq!(lines[2]["delete"]["_id"], "8");
    }
}
