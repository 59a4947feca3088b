//! What is changed and read of groups through the message log's seam: their changes, which commit together with the
//! `system` entries that tell of them, members, join requests.
//!
//! Types only; what may be changed by whom is decided before a change comes here.

use std::sync::Arc;

use super::{DecisionRecord, PluginWrite};
use crate::conversation::group::{GroupEdit, JoinPolicy, MemberEdit, Past, Retention};
use crate::conversation::{Conversation, Member};
use crate::entry::{Entry, Seq};
use crate::ids::{ConversationId, EntryId, JoinRequestId, UserId};

/// Join requests that may wait in one group (I5).
pub const WAITING_MOST: u32 = 1_000;

/// A change of a group. Everything in one is one atomic write.
///
/// Whatever the plugins said, the log keeps to this against its newest state: the author is a member (but to create,
/// join or ask), a group has one owner, who neither leaves nor is muted, and no more members than it may have.
#[derive(Debug, Clone)]
pub struct GroupChange {
    pub conversation: ConversationId,
    pub author: UserId,
    pub act: GroupAct,
    pub record: DecisionRecord,
    /// Writes of plugins that commit with the change.
    pub effects: Vec<PluginWrite>,
}

/// What is changed.
#[derive(Debug, Clone)]
pub enum GroupAct {
    Create(Box<NewGroup>),
    /// Those who are members already stay as they are.
    Add {
        users: Vec<UserId>,
        /// Members the group may have.
        most: u64,
    },
    /// The author becomes a member.
    Join {
        most: u64,
    },
    /// The author waits for an answer; asking again changes nothing.
    Ask {
        text: Option<String>,
    },
    Answer {
        request: JoinRequestId,
        accept: bool,
        most: u64,
    },
    /// Takes a member out; the author itself leaves.
    Remove {
        user: UserId,
    },
    Member {
        user: UserId,
        edit: MemberEdit,
    },
    Settings(Box<GroupEdit>),
    Dissolve,
}

/// A group to be made; its author owns it.
#[derive(Debug, Clone)]
pub struct NewGroup {
    pub title: String,
    pub avatar: Option<String>,
    pub join: JoinPolicy,
    pub history: Past,
    pub slow_mode_s: Option<u32>,
    pub retention: Option<Retention>,
    /// Besides the author.
    pub users: Vec<UserId>,
}

/// A settled change of a group.
#[derive(Debug, Clone)]
pub struct GroupDone {
    /// As it is from now on.
    pub conversation: Arc<Conversation>,
    /// What tells of it, in order; nothing when nothing changed.
    pub entries: Vec<Arc<Entry>>,
    pub joined: Vec<UserId>,
    pub left: Vec<UserId>,
    /// Members whose own row changed.
    pub touched: Vec<UserId>,
    /// What every member's summary shows of the conversation changed.
    pub shown: bool,
    /// The request that waits.
    pub request: Option<JoinRequestId>,
}

/// Somebody's wish to become a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    pub id: JoinRequestId,
    pub user: UserId,
    pub text: Option<String>,
}

impl JoinRequest {
    /// When it was made, milliseconds since 1970 UTC.
    pub fn at_ms(&self) -> u64 {
        EntryId(self.id.0).at_ms()
    }
}

/// A member with its row.
pub type MemberRow = (UserId, Member);

/// Present members for delivery, and since when each is one.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    /// Ascending.
    pub users: Arc<[UserId]>,
    /// By the same places: entries before this seq are not for the member.
    pub since: Arc<[Seq]>,
}

impl Roster {
    /// Whether the member at a place gets an entry.
    pub fn gets(&self, place: usize, seq: Seq) -> bool {
        self.since.get(place).is_some_and(|since| *since <= seq)
    }
}
