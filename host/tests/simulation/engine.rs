//! The simulated store below a batch: reads of what is confirmed, and a list of what the batch writes. The batch itself is
//! the host's.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use kith::conversation::Member;
use kith::entry::Seq;
use kith::ids::{ConversationId, EntryId, HoldId, IdSource, JoinRequestId, UserId};
use kith::store::groups::JoinRequest;
use kith::store::log::answers::AnswerRow;
use kith::store::log::engine::{Engine, Table};
use kith::store::log::heads::State;
use kith::store::log::kv_row::KvRow;
use kith::store::log::rows::{EntryRow, Header};
use kith::store::log::{held, key};
use kith::store::{HeldMessage, StoreError};

use super::tables::{Put, Tables};

/// What a batch has written since this was last emptied.
pub type Puts = Rc<RefCell<Vec<Put>>>;

pub struct Reads<'a> {
    pub tables: &'a Tables,
    pub ids: &'a IdSource,
    /// The lane's conversation, as its node knows it.
    pub state: Option<Arc<State>>,
    /// First answers are looked up, as they should be.
    pub looks_up: bool,
    pub puts: Puts,
}

type Read<T> = Result<T, StoreError>;

impl Reads<'_> {
    fn write(&self, table: Table, key: &[u8], value: Option<Vec<u8>>) {
        self.puts.borrow_mut().push(Put {
            table,
            key: key.to_vec(),
            value,
        });
    }
}

impl Engine for Reads<'_> {
    fn last_stamp(&self) -> u64 {
        self.ids.last()
    }

    fn next_stamp(&mut self, now: u64) -> u64 {
        self.ids.next(now)
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.write(table, key, Some(value.to_vec()));
    }

    fn remove(&mut self, table: Table, key: &[u8]) {
        self.write(table, key, None);
    }

    fn state(&mut self, id: ConversationId) -> Read<Option<Arc<State>>> {
        let known = self.state.as_ref();
        Ok(known.filter(|state| state.conversation.id == id).cloned())
    }

    fn entry(&self, conversation: ConversationId, seq: Seq) -> Read<Option<EntryRow>> {
        self.tables.entry(conversation, seq)
    }

    fn header(&self, conversation: ConversationId, seq: Seq) -> Read<Option<Header>> {
        Ok(self.entry(conversation, seq)?.map(|row| row.header))
    }

    fn member(&self, conversation: ConversationId, user: UserId) -> Read<Option<Member>> {
        self.tables.member(conversation, user)
    }

    fn answer_at(&self, key: &[u8]) -> Read<Option<AnswerRow>> {
        if !self.looks_up {
            return Ok(None);
        }
        self.tables.answer(key)
    }

    fn held(&self, hold: HoldId) -> Read<Option<HeldMessage>> {
        let row = self.tables.rows.get(&key::held(hold));
        row.map(|bytes| held::decode(hold, bytes)).transpose()
    }

    fn join_request(&self, _: ConversationId, _: JoinRequestId) -> Read<Option<JoinRequest>> {
        Ok(None)
    }

    fn request_of(&self, _: ConversationId, _: UserId) -> Read<Option<JoinRequestId>> {
        Ok(None)
    }

    fn join_requests(&self, _: ConversationId) -> Read<Vec<JoinRequest>> {
        Ok(Vec::new())
    }

    fn row(&self, key: &[u8]) -> Read<Option<Vec<u8>>> {
        Ok(self.tables.rows.get(key).cloned())
    }

    fn keys(&self, range: Range<Vec<u8>>) -> Read<Vec<Vec<u8>>> {
        Ok(self.tables.keys(range))
    }

    fn kv(&self, _: &str, _: &str) -> Read<Option<KvRow>> {
        Ok(None)
    }

    fn recount(&self, _: &str) -> Read<()> {
        Ok(())
    }

    fn kv_used(&self, _: &str) -> Read<u64> {
        Ok(0)
    }

    fn kv_rows(&self, _: &str, _: &mut dyn FnMut(String, KvRow) -> bool) -> Read<()> {
        Ok(())
    }

    fn refuse(&self, _: &str) -> u64 {
        0
    }

    fn keep_beside(&mut self, _: EntryId, _: usize, _: u64) -> Vec<EntryId> {
        Vec::new()
    }

    fn has_beside(&mut self, _: EntryId) -> bool {
        false
    }
}
