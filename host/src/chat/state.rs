//! What the client knows: the conversations it follows and how far it has shown each. No I/O; summaries and entries
//! go in, and it says what is new, what is known and where something is missing.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::render;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Direct,
    Group,
    /// One's own log of notices.
    Own,
}

/// A conversation and how far it was shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Conversation {
    pub id: String,
    pub kind: Kind,
    pub title: String,
    /// The other user of a direct one.
    pub peer: Option<String>,
    /// Everything up to this seq was shown, or was there before this client looked.
    pub shown: u64,
    pub head: u64,
    pub unread: u64,
    /// How many of the unread mention one.
    pub mentions: u64,
    /// Everything up to this seq is in those counts.
    counted: u64,
    pub pinned: bool,
    /// Nothing of it is shown while it is not open, but what mentions one.
    pub muted: bool,
    pub hidden: bool,
    pub draft: Option<String>,
    /// Users who were said to type and have not stopped.
    pub typing: HashSet<String>,
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

/// What goes by a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    One(String),
    Several(Vec<String>),
    None,
}

/// A user's name, and the one they are shown with where that is another.
#[derive(Debug)]
struct Person {
    username: String,
    shown_as: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    conversations: HashMap<String, Conversation>,
    people: HashMap<String, Person>,
}

impl State {
    /// Takes a summary in; tells whether the conversation was not known before.
    pub(super) fn summary(&mut self, summary: &Value) -> bool {
        let Some(id) = summary["id"].as_str() else {
            return false;
        };
        let new = !self.conversations.contains_key(id);
        let peer = &summary["peer"];
        self.learn(peer);
        let known = self.conversations.entry(id.to_owned()).or_default();
        known.id = id.to_owned();
        known.peer = peer["id"].as_str().map(str::to_owned);
        let name = peer["username"].as_str().or(summary["title"].as_str());
        (known.kind, known.title) = match (summary["kind"].as_str(), name) {
            (Some("self"), _) => (Kind::Own, "notices".to_owned()),
            (Some("group"), name) => (Kind::Group, render::label(name.unwrap_or(id))),
            (_, name) => (Kind::Direct, render::label(name.unwrap_or(id))),
        };
        for (field, mark) in [
            ("pinned", &mut known.pinned),
            ("muted", &mut known.muted),
            ("hidden", &mut known.hidden),
        ] {
            *mark = summary[field] == true;
        }
        let draft = summary["draft"].as_str().filter(|text| !text.is_empty());
        known.draft = draft.map(str::to_owned);
        known.counted = summary["head"].as_u64().unwrap_or_default();
        known.head = known.head.max(known.counted);
        known.unread = summary["unread"].as_u64().unwrap_or_default();
        known.mentions = summary["mentions"].as_u64().unwrap_or_default();
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

    /// What goes by an id, a user's name or a title. A title never stands before the user of that name.
    pub(super) fn named(&self, name: &str) -> Named {
        if self.conversations.contains_key(name) {
            return Named::One(name.to_owned());
        }
        let called = |known: &&Conversation| known.title == name;
        let mut titled: Vec<&Conversation> = self.conversations.values().filter(called).collect();
        if let Some(other) = titled.iter().find(|known| known.kind != Kind::Group) {
            return Named::One(other.id.clone());
        }
        titled.sort_by(|a, b| a.id.cmp(&b.id));
        match titled.as_slice() {
            [] => Named::None,
            [one] => Named::One(one.id.clone()),
            several => Named::Several(several.iter().map(|known| known.id.clone()).collect()),
        }
    }

    /// Pinned first, then newest.
    pub(super) fn listed(&self) -> Vec<&Conversation> {
        let mut listed: Vec<_> = self.conversations.values().collect();
        let at = |known: &Conversation| known.last.as_ref().and_then(|last| last["at"].as_u64());
        listed.sort_by_key(|known| (!known.pinned, Reverse(at(known)), known.id.clone()));
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
        self.people.get(user).map(|person| person.username.as_str())
    }

    /// The name a user is shown with, where it is another than the user name.
    pub(super) fn shown_as(&self, user: &str) -> Option<&str> {
        self.people.get(user)?.shown_as.as_deref()
    }

    /// A user seen before, by the user name.
    pub(super) fn user_named(&self, name: &str) -> Option<String> {
        let mut people = self.people.iter();
        let found = people.find(|(_, person)| person.username == name);
        found.map(|(user, _)| user.clone())
    }

    /// Takes a profile in.
    pub(super) fn learn(&mut self, profile: &Value) {
        let (Some(user), Some(name)) = (profile["id"].as_str(), profile["username"].as_str())
        else {
            return;
        };
        let shown_as = profile["display_name"].as_str().map(render::label);
        let person = Person {
            username: render::label(name),
            shown_as: shown_as.filter(|shown| !shown.is_empty() && shown != name),
        };
        self.people.insert(user.to_owned(), person);
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

    /// A message was shown: the list and its counts go on.
    pub(super) fn said(&mut self, entry: &Value, me: &str, open: bool) {
        let mine = entry["from"] == me;
        self.last = Some(entry.clone());
        self.hidden = false;
        if let Some(from) = entry["from"].as_str() {
            self.typing.remove(from);
        }
        let seq = entry["seq"].as_u64().unwrap_or_default();
        match (mine, open) {
            (true, _) => self.mine = seq,
            (false, true) => (self.unread, self.mentions) = (0, 0),
            (false, false) if seq > self.counted => {
                self.unread += 1;
                self.mentions += u64::from(mentions(entry, me));
            }
            (false, false) => {}
        }
        self.counted = self.counted.max(seq);
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

/// Whether a message names a user, or everyone.
pub(super) fn mentions(entry: &Value, user: &str) -> bool {
    let named = entry["content"]["mentions"].as_array();
    let mut named = named.into_iter().flatten();
    named.any(|whom| whom == user || whom == "all")
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

    #[test]
    fn a_title_never_stands_before_the_user_of_that_name() {
        let mut state = State::default();
        let group = |id: &str, title: &str| json!({"id": id, "kind": "group", "title": title});
        state.summary(&group("1", "bob"));
        assert_eq!(state.named("bob"), Named::One("1".into()));
        let peer = json!({"id": "7", "username": "bob", "display_name": "鲍勃"});
        state.summary(&json!({"id": "2", "kind": "direct", "peer": peer}));
        assert_eq!(state.named("bob"), Named::One("2".into()));
        assert_eq!(state.named("1"), Named::One("1".into()));
        state.summary(&group("3", "我们"));
        assert_eq!(state.named("我们"), Named::One("3".into()));
        state.summary(&group("4", "我们"));
        assert_eq!(
            state.named("我们"),
            Named::Several(vec!["3".into(), "4".into()])
        );
        assert_eq!(state.named("carol"), Named::None);
        assert_eq!(
            (state.shown_as("7"), state.user_named("bob")),
            (Some("鲍勃"), Some("7".into()))
        );
    }

    #[test]
    fn pinned_ones_stand_first_and_a_summary_says_everything_anew() {
        let mut state = State::default();
        let summary = |id: &str, at: u64, pinned: bool| {
            let last = json!({"at": at, "content": {"type": "text", "text": "x"}});
            json!({"id": id, "kind": "group", "title": id, "last": last, "pinned": pinned, "draft": "d"})
        };
        for one in [
            summary("a", 1, true),
            summary("b", 3, false),
            summary("c", 2, false),
        ] {
            state.summary(&one);
        }
        let ids: Vec<&str> = state
            .listed()
            .iter()
            .map(|known| known.id.as_str())
            .collect();
        assert_eq!(ids, ["a", "b", "c"]);
        state.summary(&json!({"id": "a", "kind": "group", "title": "a", "muted": true}));
        let a = state.get("a").expect("known");
        assert_eq!((a.pinned, a.muted, &a.draft), (false, true, &None));
    }

    #[test]
    fn what_is_said_counts_as_unread_while_it_is_not_open() {
        let mut log = Conversation {
            hidden: true,
            ..Conversation::default()
        };
        let said = |seq: u64, from: &str, whom: Value| json!({"seq": seq, "from": from, "content": {"type": "text", "mentions": whom}});
        log.said(&said(1, "7", json!(["8"])), "1", false);
        log.said(&said(2, "7", json!(["all"])), "1", false);
        log.said(&said(3, "7", json!(["1"])), "1", false);
        assert_eq!((log.unread, log.mentions, log.hidden), (3, 2, false));
        log.said(&said(4, "1", json!(null)), "1", false);
        assert_eq!((log.mine, log.unread), (4, 3));
        let mut missed = Conversation {
            unread: 2,
            counted: 6,
            ..Conversation::default()
        };
        for seq in 5..=7 {
            missed.said(&said(seq, "7", json!(null)), "1", false);
        }
        assert_eq!(missed.unread, 3, "a summary counted two of them");
        log.said(&said(5, "7", json!(null)), "1", true);
        assert_eq!((log.unread, log.mentions), (0, 0));
    }
}
