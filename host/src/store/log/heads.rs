//! What is known of a conversation in memory: its head, and of direct conversations both members. Bounded; made
//! again from the newest row. The committer writes it after a commit, readers share it.

use std::sync::Arc;

use super::ages::Ages;
use super::floor::Floor;
use super::rows::Header;
use crate::conversation::{Conversation, Member};
use crate::entry::{Entry, Seq};
use crate::ids::{ConversationId, UserId};
use crate::store::StoreError;

/// A conversation as it stands after the last settled change.
#[derive(Debug, Clone)]
pub struct State {
    pub conversation: Arc<Conversation>,
    /// The stamp of the conversation row's last change.
    pub changed: u64,
    pub head: Seq,
    /// The id of the newest entry; 0 in an empty log.
    pub head_id: u64,
    /// The generation of the newest judged entry.
    pub generation: u64,
    pub header: Header,
    pub floor: Floor,
    pub last_message: Option<Arc<Entry>>,
    /// Direct and own: every member, in the order of `conversation.users`. Groups: empty.
    pub members: Vec<Member>,
}

impl State {
    /// The place of a user among a direct or own conversation's.
    pub fn index_of(&self, user: UserId) -> Option<usize> {
        self.conversation.index_of(user)
    }

    pub fn member(&self, user: UserId) -> Option<&Member> {
        self.members.get(self.index_of(user)?)
    }

    /// Messages of a user since the other one wrote.
    pub fn unanswered(&self, user: UserId) -> u8 {
        if self.header.streak_author == user.0 {
            self.header.streak
        } else {
            0
        }
    }

    /// The other user of a direct conversation has written.
    pub fn answered(&self, user: UserId) -> bool {
        self.index_of(user)
            .is_some_and(|at| self.header.written & (1 << (1 - (at & 1))) != 0)
    }
}

/// The states in memory.
pub struct Heads(Ages<Arc<State>>);

impl Heads {
    /// `most` is how many states are kept in all.
    pub fn new(most: usize) -> Self {
        Self(Ages::new(most, |_| 1))
    }

    /// A state; `None` when there is no such conversation.
    pub fn get(
        &self,
        id: ConversationId,
        load: impl FnOnce() -> Result<Option<State>, StoreError>,
    ) -> Result<Option<Arc<State>>, StoreError> {
        self.0.get(id, || Ok(load()?.map(Arc::new)))
    }

    /// What a conversation is from now on.
    pub fn put(&self, id: ConversationId, state: State) {
        self.0.put(id, Arc::new(state));
    }
}
