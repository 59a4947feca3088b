//! What the client knows: the conversations it follows and how far it has shown each. No I/O; summaries and entries
//! go in, and it says what is new, what is known and where something is missing.

use std::collections::HashMap;

use serde_json::Value;

/// A conversation and how far it was shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Conversation {
    pub id: String,
    pub title: String,
    /// The other user of a direct one.
    pub peer: Option<String>,
    /// Everything up to this seq was shown, or was there before this client looked.
    pub shown: u64,
    pub head: u64,
    pub unread: u64,
    pub last: Option<Value>,
    /// The newest message of one's own that was shown.
    pub mine: u64,
    /// How far the peer was told to have read.
    pub peer_read: u64,
}

/// What an entry is to somebody who has shown everything up to a seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Known,
    Next,
    /// Entries before it are missing: ask for the log after this seq.
    Gap(u64),
}

#[derive(Debug, Default)]
pub(super) struct State {
    conversations: HashMap<String, Conversation>,
    names: HashMap<String, String>,
}

impl State {
    /// Takes a summary in; tells whether the conversation was not known before.
    pub(super) fn summary(&mut self, summary: &Value) -> bool {
        let Some(id) = summary["id"].as_str() else {
            return false;
        };
        let new = !self.conversations.contains_key(id);
        let peer = &summary["peer"];
        if let (Some(user), Some(name)) = (peer["id"].as_str(), peer["username"].as_str()) {
            self.names.insert(user.to_owned(), name.to_owned());
        }
        let known = self.conversations.entry(id.to_owned()).or_default();
        known.id = id.to_owned();
        known.peer = peer["id"].as_str().map(str::to_owned);
        let name = peer["username"].as_str().or(summary["title"].as_str());
        known.title = match (summary["kind"].as_str(), name) {
            (Some("self"), _) => "notices".to_owned(),
            (_, Some(name)) => name.to_owned(),
            _ => id.to_owned(),
        };
        known.head = known.head.max(summary["head"].as_u64().unwrap_or_default());
        known.unread = summary["unread"].as_u64().unwrap_or_default();
        known.peer_read = known
            .peer_read
            .max(summary["peer_read"].as_u64().unwrap_or_default());
        if !summary["last"].is_null() {
            known.last = Some(summary["last"].clone());
        }
        new
    }

    /// A conversation that was only heard of by its id.
    pub(super) fn heard_of(&mut self, id: &str, title: &str, peer: Option<&str>) {
        if !self.conversations.contains_key(id) {
            let conversation = Conversation {
                id: id.to_owned(),
                title: title.to_owned(),
                peer: peer.map(str::to_owned),
                ..Conversation::default()
            };
            self.conversations.insert(id.to_owned(), conversation);
        }
    }

    pub(super) fn gone(&mut self, id: &str) -> Option<Conversation> {
        self.conversations.remove(id)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Conversation> {
        self.conversations.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Conversation> {
        self.conversations.get_mut(id)
    }

    /// The direct conversation with a user.
    pub(super) fn with(&self, user: &str) -> Option<&Conversation> {
        self.conversations
            .values()
            .find(|known| known.peer.as_deref() == Some(user))
    }

    /// Newest first.
    pub(super) fn listed(&self) -> Vec<&Conversation> {
        let mut listed: Vec<_> = self.conversations.values().collect();
        let at = |known: &Conversation| known.last.as_ref().and_then(|last| last["at"].as_u64());
        listed.sort_by_key(|known| (std::cmp::Reverse(at(known)), known.id.clone()));
        listed
    }

    /// Those whose log goes on behind what was shown.
    pub(super) fn behind(&self) -> Vec<String> {
        let behind = self.conversations.values();
        behind
            .filter(|known| known.shown < known.head)
            .map(|known| known.id.clone())
            .collect()
    }

    pub(super) fn name(&self, user: &str) -> Option<&str> {
        self.names.get(user).map(String::as_str)
    }

    pub(super) fn learn_name(&mut self, user: &str, name: &str) {
        self.names.insert(user.to_owned(), name.to_owned());
    }
}

impl Conversation {
    /// Where an entry stands; one that is next is taken as shown.
    pub(super) fn meet(&mut self, seq: u64) -> Place {
        self.head = self.head.max(seq);
        if seq <= self.shown {
            Place::Known
        } else if seq == self.shown + 1 {
            self.shown = seq;
            Place::Next
        } else {
            Place::Gap(self.shown)
        }
    }

    /// What was there before need not be shown.
    pub(super) fn skip_to(&mut self, seq: u64) {
        self.shown = self.shown.max(seq);
        self.head = self.head.max(seq);
    }

    /// The peer has read up to here; true when that says something new about one's own newest message.
    pub(super) fn read_by_peer(&mut self, read: u64) -> bool {
        let news = self.mine > 0 && read >= self.mine && self.peer_read < self.mine;
        self.peer_read = self.peer_read.max(read);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_is_shown_twice_and_a_jump_is_a_gap() {
        let mut log = Conversation::default();
        log.skip_to(3);
        assert_eq!(log.meet(3), Place::Known);
        assert_eq!(log.meet(4), Place::Next);
        assert_eq!(log.meet(7), Place::Gap(4));
        assert_eq!([log.meet(5), log.meet(6), log.meet(7)], [Place::Next; 3]);
        assert_eq!(log.meet(5), Place::Known);
    }

    #[test]
    fn a_receipt_is_news_once_and_only_for_the_newest_of_ones_own() {
        let mut log = Conversation {
            mine: 5,
            ..Conversation::default()
        };
        assert!(!log.read_by_peer(4));
        assert!(log.read_by_peer(6));
        assert!(!log.read_by_peer(7));
        log.mine = 9;
        assert!(log.read_by_peer(9));
    }

    #[test]
    fn a_summary_names_the_conversation_and_says_where_it_goes_on() {
        let mut state = State::default();
        let peer = json!({"id": "7", "username": "bob"});
        let summary = json!({"id": "c", "kind": "direct", "peer": peer, "head": 4, "unread": 2});
        assert!(state.summary(&summary));
        assert!(!state.summary(&summary));
        assert_eq!(
            state.with("7").map(|known| known.title.as_str()),
            Some("bob")
        );
        assert_eq!(
            (state.name("7"), state.behind()),
            (Some("bob"), vec!["c".to_owned()])
        );
        state.get_mut("c").expect("known").skip_to(4);
        assert!(state.behind().is_empty());
    }
}
