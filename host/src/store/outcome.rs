//! What comes of a change: how it settles, what a client id is answered with again, why it was not committed.
//! Types alone.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::HeldMessage;
use super::groups::GroupDone;
use crate::conversation::{Conversation, Member};
use crate::entry::{Entry, Seq};
use crate::ids::{EntryId, HoldId};

/// What came of a change.
#[derive(Debug, Clone)]
pub enum Outcome {
    Committed(Committed),
    /// The same (author, conversation, client id) was answered before: the first answer again.
    Resent(FirstAnswer),
    Held {
        hold: HoldId,
        at: u64,
    },
    Dropped,
    Command {
        reply: Option<Box<RawValue>>,
    },
    Refused(Arc<HeldMessage>),
    /// The member's row after a receipt or prefs; `moved` is false when nothing changed.
    Member {
        member: Member,
        moved: bool,
        head: Seq,
    },
    Group(Box<GroupDone>),
    /// What is the lowest seq still kept after an erasure; `done` when nothing is left to erase of what was asked.
    Erased {
        conversation: Arc<Conversation>,
        floor: Seq,
        done: bool,
    },
    /// The version of each write.
    Kv(Vec<u64>),
    /// Whether keys are left.
    KvDropped {
        more: bool,
    },
    /// A change with nothing to tell.
    Done,
}

/// An entry that is durable.
#[derive(Debug, Clone)]
pub struct Committed {
    pub entry: Arc<Entry>,
    /// The ack carries the content: a plugin changed it.
    pub replaced: bool,
    pub conversation: Arc<Conversation>,
    /// The conversation was made by this entry.
    pub opened: bool,
    /// The hold this released.
    pub released: Option<HoldId>,
}

/// What a client id was answered with before.
#[derive(Debug, Clone)]
pub enum FirstAnswer {
    Committed {
        seq: Seq,
        id: EntryId,
        replaced: Option<Box<RawValue>>,
    },
    Held {
        hold: HoldId,
    },
    /// A held message that was refused.
    Refused {
        by: String,
        reason: String,
    },
    Dropped,
    Command {
        reply: Option<Box<RawValue>>,
    },
}

impl FirstAnswer {
    /// The fingerprint differs from the first one's: another message under a used client id.
    pub const CONFLICT: &'static str = "this client_id was used for another content";
}

/// Why a change was not committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    #[error("{}", FirstAnswer::CONFLICT)]
    Conflict,
    /// The judgement is of an older generation than one already in the log: judge again.
    #[error("judged by an older generation than the log's newest entry")]
    Stale,
    /// The author is not a member (any more), the target or the hold is gone.
    #[error("{0}")]
    Gone(&'static str),
    /// A value has not the version that was expected.
    #[error("it was changed meanwhile")]
    Changed,
    /// It may not be, whoever asks.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A bound of what one conversation holds is reached.
    #[error("{0}")]
    Full(&'static str),
    /// Slow mode: the author's next message may come after this.
    #[error("slow mode")]
    TooSoon { wait_ms: u64 },
    /// Nothing was stored.
    #[error("the store is unavailable")]
    Unavailable,
    /// It is not known whether it was stored.
    #[error("the store did not answer in time")]
    Timeout,
}
