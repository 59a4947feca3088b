//! What a batch asks of the engine below it: rows as they were committed, stamps, and a place for what it writes. Reads wait;
//! whoever runs a batch does so where waiting is allowed.

use std::ops::Range;
use std::sync::Arc;

use super::answers::AnswerRow;
use super::heads::State;
use super::kv_row::KvRow;
use super::rows::{EntryRow, Header};
use crate::conversation::Member;
use crate::entry::Seq;
use crate::ids::{ConversationId, EntryId, HoldId, JoinRequestId, UserId};
use crate::store::groups::JoinRequest;
use crate::store::{HeldMessage, StoreError};

/// Where a row belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Entries,
    Answers,
    /// All others; the first byte of the key says which.
    Rows,
    /// What was committed, by stamp.
    Feed,
}

type Read<T> = Result<T, StoreError>;

pub trait Engine {
    fn last_stamp(&self) -> u64;
    /// Higher than every one before it.
    fn next_stamp(&mut self, now: u64) -> u64;

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]);
    fn remove(&mut self, table: Table, key: &[u8]);

    fn state(&mut self, id: ConversationId) -> Read<Option<Arc<State>>>;
    fn entry(&self, conversation: ConversationId, seq: Seq) -> Read<Option<EntryRow>>;
    fn header(&self, conversation: ConversationId, seq: Seq) -> Read<Option<Header>>;
    /// The row of whoever is or was a member of a group.
    fn member(&self, conversation: ConversationId, user: UserId) -> Read<Option<Member>>;
    /// By its key.
    fn answer_at(&self, key: &[u8]) -> Read<Option<AnswerRow>>;
    fn held(&self, hold: HoldId) -> Read<Option<HeldMessage>>;
    fn join_request(
        &self,
        conversation: ConversationId,
        id: JoinRequestId,
    ) -> Read<Option<JoinRequest>>;
    fn request_of(&self, conversation: ConversationId, user: UserId)
    -> Read<Option<JoinRequestId>>;
    /// All that wait.
    fn join_requests(&self, conversation: ConversationId) -> Read<Vec<JoinRequest>>;
    fn row(&self, key: &[u8]) -> Read<Option<Vec<u8>>>;
    /// Keys of rows.
    fn keys(&self, range: Range<Vec<u8>>) -> Read<Vec<Vec<u8>>>;

    /// These values are asked for next: where each is a round trip, all are read in one.
    fn expect_kv(&self, _namespace: &str, _names: &[&str]) -> Read<()> {
        Ok(())
    }
    /// A plugin's value, ended or not.
    fn kv(&self, namespace: &str, name: &str) -> Read<Option<KvRow>>;
    /// The next answer of `kv_used` is not from what was counted a while ago.
    fn recount(&self, namespace: &str) -> Read<()>;
    /// Bytes a namespace has, ended ones included.
    fn kv_used(&self, namespace: &str) -> Read<u64>;
    /// Rows of a namespace in order, while `more` says so.
    fn kv_rows(&self, namespace: &str, more: &mut dyn FnMut(String, KvRow) -> bool) -> Read<()>;
    /// Effects of an entry were not kept; how often that has happened.
    fn refuse(&self, namespace: &str) -> u64;

    /// A row beside an entry is written; whose rows are to go for it, its own among them where it is not to be kept.
    fn keep_beside(&mut self, id: EntryId, bytes: usize, now: u64) -> Vec<EntryId>;
    /// Whether an entry has such a row; from now on it has none.
    fn has_beside(&mut self, id: EntryId) -> bool;
}
