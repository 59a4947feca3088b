//! An entry: one item of a conversation's log, as it is kept and as clients see it.
//!
//! Types and their wire form only: no I/O, no clock.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::conversation::Role;
use crate::ids::{ConversationId, EntryId, UserId};

/// An entry's place in its log: 1, 2, 3 …, dense.
pub type Seq = u64;

/// One committed item of a log.
#[derive(Debug, Clone)]
pub struct Entry {
    pub conversation: ConversationId,
    pub seq: Seq,
    pub id: EntryId,
    /// When it was committed, milliseconds since 1970 UTC.
    pub at: u64,
    pub from: UserId,
    pub body: Body,
    /// Who sees it besides its author; `None` is every member. Others see a `void` entry at its place.
    pub audience: Option<Arc<[UserId]>>,
    /// Of an entry that a plugin made.
    pub made: Option<Box<Made>>,
}

/// Where an entry of a plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub plugin: String,
    /// How many entries of plugins it follows from, itself included.
    pub depth: u8,
    /// The reply its text was written in, as `stream` events told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
}

/// What an entry is.
#[derive(Debug, Clone)]
pub enum Body {
    Message(Message),
    Recall {
        target: Seq,
        by: UserId,
    },
    /// `content` is `None` once the edited message was recalled.
    Edit {
        target: Seq,
        content: Option<Box<RawValue>>,
    },
    React {
        target: Seq,
        emoji: String,
        on: bool,
    },
    System {
        code: String,
        args: Box<RawValue>,
    },
}

/// A message as it stands now: edited and recalled state included.
#[derive(Debug, Clone)]
pub struct Message {
    pub client_id: String,
    /// Compact JSON of the content; `None` once recalled.
    pub content: Option<Box<RawValue>>,
    pub reply_to: Option<Seq>,
    pub edited: bool,
    pub recalled: bool,
}

impl Entry {
    /// Whether this member gets the entry or a `void` in its place.
    pub fn is_for(&self, user: UserId) -> bool {
        self.from == user
            || self
                .audience
                .as_ref()
                .is_none_or(|audience| audience.contains(&user))
    }

    pub fn message(&self) -> Option<&Message> {
        match &self.body {
            Body::Message(message) => Some(message),
            _ => None,
        }
    }

    /// The entry as `viewer` gets it, ready to serialise.
    pub fn view(&self, viewer: Viewer) -> EntryView<'_> {
        EntryView {
            entry: self,
            viewer,
        }
    }
}

/// Who looks at an entry: decides whether the content is there and whether the `client_id` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// The author's own devices.
    Author,
    /// A member the entry is for.
    Member,
    /// A member the entry is not for: sees `void`.
    LeftOut,
}

impl Viewer {
    pub fn of(entry: &Entry, user: UserId) -> Self {
        if entry.from == user {
            Self::Author
        } else if entry.is_for(user) {
            Self::Member
        } else {
            Self::LeftOut
        }
    }
}

/// Serialises as the protocol's entry object.
#[derive(Debug, Clone, Copy)]
pub struct EntryView<'a> {
    entry: &'a Entry,
    viewer: Viewer,
}

impl Serialize for EntryView<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let entry = self.entry;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("conversation", &entry.conversation)?;
        map.serialize_entry("seq", &entry.seq)?;
        map.serialize_entry("id", &entry.id)?;
        map.serialize_entry("at", &entry.at)?;
        map.serialize_entry("from", &entry.from)?;
        if self.viewer == Viewer::LeftOut {
            map.serialize_entry("kind", "void")?;
            return map.end();
        }
        match &entry.body {
            Body::Message(message) => {
                map.serialize_entry("kind", "message")?;
                if self.viewer == Viewer::Author {
                    map.serialize_entry("client_id", &message.client_id)?;
                }
                if let Some(content) = &message.content {
                    map.serialize_entry("content", content)?;
                }
                if let Some(reply_to) = message.reply_to {
                    map.serialize_entry("reply_to", &reply_to)?;
                }
                if message.edited {
                    map.serialize_entry("edited", &true)?;
                }
                if message.recalled {
                    map.serialize_entry("recalled", &true)?;
                }
                if let Some(stream) = entry.made.as_ref().and_then(|made| made.stream.as_ref()) {
                    map.serialize_entry("stream", stream)?;
                }
            }
            Body::Recall { target, by } => {
                map.serialize_entry("kind", "recall")?;
                map.serialize_entry("target", target)?;
                map.serialize_entry("by", by)?;
            }
            Body::Edit { target, content } => {
                map.serialize_entry("kind", "edit")?;
                map.serialize_entry("target", target)?;
                if let Some(content) = content {
                    map.serialize_entry("content", content)?;
                }
            }
            Body::React { target, emoji, on } => {
                map.serialize_entry("kind", "react")?;
                map.serialize_entry("target", target)?;
                map.serialize_entry("emoji", emoji)?;
                map.serialize_entry("on", on)?;
            }
            Body::System { code, args } => {
                map.serialize_entry("kind", "system")?;
                map.serialize_entry("code", code)?;
                map.serialize_entry("args", args)?;
            }
        }
        map.end()
    }
}

/// How a stored thing was judged: which generation, and what each hook did. Kept with the entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The deciding one; 0 when no plugin was asked (entries the host makes itself).
    pub generation: u64,
    pub hooks: Vec<HookTrace>,
    /// Judgements before the deciding one, oldest first: of messages that were held. Nearly always empty.
    pub earlier: Vec<Judgement>,
    /// For how long its sender may recall it, where a strategy said so when it was sent.
    pub recall_window_ms: Option<u64>,
    /// Of an entry that a plugin made. Once committed it stands in the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Box<Made>>,
    /// Of what a member asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circumstances: Option<Circumstances>,
    /// Once committed it stands in a row of its own, for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Box<Beside>>,
}

/// What hooks were told of whoever asked, beyond what stands in the log: with it they can be asked the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circumstances {
    /// When they were asked, milliseconds since 1970 UTC; an entry's own time is that of its commit.
    pub at_ms: u64,
    pub role: Role,
    pub blocked: bool,
    pub blocking: bool,
    pub friends: bool,
    pub muted: bool,
    pub answered: bool,
    pub unanswered: u8,
    /// The first and the last of the newest entries that were looked at; 0 where none were.
    pub recent: (Seq, Seq),
    /// There was something to be kept beside the record.
    pub beside: bool,
}

/// What hooks were shown and read that the log does not hold. Goes with a recall, an edit or the entry, and by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// The content as it was sent, compact JSON, where a hook changed it.
    pub sent: Option<String>,
    pub reads: Vec<HookRead>,
}

/// A value of its own plugin that a hook read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRead {
    /// The binding's place in the generation's list.
    pub binding: u16,
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// A judgement that did not decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    pub generation: u64,
    pub hooks: Vec<HookTrace>,
}

impl DecisionRecord {
    /// The same, without what its hooks were asked with and what they said beyond their outcomes.
    pub fn without_asked(mut self) -> Self {
        (self.circumstances, self.beside) = (None, None);
        let earlier = self
            .earlier
            .iter_mut()
            .flat_map(|earlier| &mut earlier.hooks);
        for hook in self.hooks.iter_mut().chain(earlier) {
            hook.decision = 0;
        }
        self
    }

    /// This judgement, then a later and deciding one. What that was asked with is its own.
    pub fn followed_by(&self, generation: u64, hooks: Vec<HookTrace>) -> Self {
        let mut earlier = self.earlier.clone();
        earlier.push(Judgement {
            generation: self.generation,
            hooks: self.hooks.clone(),
        });
        Self {
            generation,
            hooks,
            earlier,
            recall_window_ms: self.recall_window_ms,
            made: self.made.clone(),
            circumstances: None,
            beside: None,
        }
    }
}

/// One hook's part in a decision. The binding's name, version and digest stand in the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookTrace {
    /// The binding's place in the generation's list.
    pub binding: u16,
    pub outcome: HookOutcome,
    pub duration_us: u32,
    /// A fingerprint of everything it decided; 0 where it lets all pass as it is.
    #[serde(default)]
    pub decision: u32,
}

impl HookTrace {
    /// It put another content in place of what it was shown.
    pub fn replaced(&self) -> bool {
        self.outcome == HookOutcome::Replaced
    }

    /// A hook that failed or is absent has answered nothing.
    pub fn answered(&self) -> bool {
        !matches!(self.outcome, HookOutcome::Failed | HookOutcome::Absent)
    }
}

/// What a hook did. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum HookOutcome {
    Passed = 0,
    Replaced = 1,
    Rejected = 2,
    Held = 3,
    Dropped = 4,
    Failed = 5,
    Absent = 6,
}

impl HookOutcome {
    /// Reads the stored number back.
    pub fn from_stored(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Passed,
            1 => Self::Replaced,
            2 => Self::Rejected,
            3 => Self::Held,
            4 => Self::Dropped,
            5 => Self::Failed,
            6 => Self::Absent,
            _ => return None,
        })
    }
}
