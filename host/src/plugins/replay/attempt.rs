//! What somebody asked for, as its hooks were asked about it: from an entry, a held message, or kept in memory where
//! nothing was stored.

use super::asked::Asked;
use crate::conversation::Kind;
use crate::entry::{DecisionRecord, Seq};
use crate::ids::{ConversationId, HoldId, UserId};

/// Something a member asked for.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub operation: String,
    pub conversation: ConversationId,
    pub author: UserId,
    pub kind: Kind,
    pub peer: Option<UserId>,
    /// The content as it was sent, JSON; `None` for what carries none.
    pub sent: Option<String>,
    /// As hooks left it, where one changed it and that is known.
    pub kept: Option<String>,
    /// Of what carries no content.
    pub text: String,
    /// Of what is about an entry: who wrote that, and its age in milliseconds.
    pub target: Option<(UserId, u64)>,
    /// 0 for none.
    pub reply_to: Seq,
    /// With its circumstances.
    pub record: DecisionRecord,
}

impl Attempt {
    pub fn at_ms(&self) -> u64 {
        self.record.circumstances.map_or(0, |asked| asked.at_ms)
    }
}

/// An occasion that rules were asked about or told of.
#[derive(Debug, Clone)]
pub struct Occurred {
    pub asked: Asked,
    pub at_ms: u64,
    pub record: DecisionRecord,
}

/// Where what was asked for is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Entry(Seq),
    Held(HoldId),
    /// It was refused, dropped, or answered.
    Nowhere,
}

/// A stored command.
#[derive(Debug, Clone)]
pub struct Case {
    pub place: Place,
    pub attempt: Attempt,
}
