//! What reads of the message log answer with.
//! Types alone; the reads are the trait's.

use std::sync::Arc;

use crate::conversation::{Conversation, Member, Summary};
use crate::entry::{Entry, Seq};
use crate::ids::{ConversationId, UserId};

/// What the journey must know to judge a command of `user` in a conversation.
#[derive(Debug, Clone)]
pub struct Standing {
    pub conversation: Arc<Conversation>,
    /// The user's row; `None` for a stranger to the conversation.
    pub member: Option<Member>,
    pub head: Seq,
    /// Direct: messages of the user since the other one last wrote, those in flight included, at most 255.
    pub unanswered: u8,
    /// Direct: the other one has written.
    pub answered: bool,
    /// The lowest seq still kept.
    pub floor: Seq,
}

/// What of a user in a conversation is submitted and not settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Sends that are to be entries, at most 255.
    pub messages: u8,
    /// Those, and what is held or dropped, edited ….
    pub any: bool,
}

/// A stretch of a log.
#[derive(Debug, Clone)]
pub struct Page {
    /// Ascending.
    pub entries: Vec<Arc<Entry>>,
    pub head: Seq,
    /// The lowest seq still kept and visible to the reader; 1 in a whole log.
    pub floor: Seq,
}

/// Which stretch: `after` and `before` are exclusive.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    pub after: Option<Seq>,
    pub before: Option<Seq>,
    pub limit: usize,
}

/// How far the members are with one entry; its author is among both counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readers {
    pub received: u64,
    pub read: u64,
    /// Those who read it, by rising id.
    pub users: Vec<UserId>,
    pub more: bool,
}

/// How much of a conversation is kept.
#[derive(Debug, Clone)]
pub struct Extent {
    pub conversation: Arc<Conversation>,
    /// The lowest seq still kept; head + 1 when nothing is.
    pub floor: Seq,
    pub head: Seq,
}

/// What changed since a token.
#[derive(Debug, Clone)]
pub struct Changes {
    pub changed: Vec<Summary>,
    pub gone: Vec<ConversationId>,
    pub since: String,
    pub more: bool,
    /// The token is of no use: start again from the list.
    pub reset: bool,
}
