//! Messages that are kept back: what is stored of one, and why.
//! Types alone; what becomes of them is the journey's.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{Opening, PluginWrite, ResendKey};
use crate::entry::{DecisionRecord, Seq};
use crate::ids::{ConversationId, HoldId, UserId};

/// A message kept back.
#[derive(Debug, Clone)]
pub struct Hold {
    pub conversation: ConversationId,
    /// As in `Append`: made when the message is released.
    pub opening: Option<Opening>,
    pub author: UserId,
    /// `None` for an edit without a client id.
    pub key: Option<ResendKey>,
    /// As it is to be stored when it is released: replaced and masked. `null` once the message that this edits was
    /// recalled.
    pub content: Box<RawValue>,
    /// As it was sent, when that differs and it is to be judged again.
    pub sent: Option<Box<RawValue>>,
    /// As in `Append`, for its release.
    pub replaced: bool,
    pub audience: Option<Arc<[UserId]>>,
    pub effects: Vec<PluginWrite>,
    pub reply_to: Option<Seq>,
    /// The edited entry, when it is an edit that is held.
    pub edits: Option<Seq>,
    /// The hold this takes the place of, when it was judged again and is still held; not stored.
    pub again: Option<HoldId>,
    /// Which plugin held it and why, for the administrator.
    pub by: String,
    pub reason: String,
    pub cause: HoldCause,
    pub record: DecisionRecord,
}

/// Why a message is held: on a plugin's verdict it waits for an administrator, else for the plugin's recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum HoldCause {
    Verdict = 0,
    Failed = 1,
    Absent = 2,
}

/// A held message as it is stored.
#[derive(Debug, Clone)]
pub struct HeldMessage {
    pub id: HoldId,
    /// When it was held, milliseconds since 1970 UTC.
    pub at: u64,
    pub hold: Hold,
    /// The reason once it is refused; refused ones stay listed for their sender for a while.
    pub refused: Option<String>,
    /// When it was refused; 0 while it waits.
    pub refused_at: u64,
}
