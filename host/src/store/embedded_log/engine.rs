//! The embedded engine below a batch: reads from the tables, one write batch of fjall's for all that is written, and what
//! follows once it is on disk.

use std::ops::Range;
use std::sync::Arc;

use fjall::{OwnedWriteBatch, PersistMode};
use parking_lot::MutexGuard;

use super::committer::Shared;
use super::tables::unavailable;
use crate::conversation::Member;
use crate::entry::Seq;
use crate::ids::{ConversationId, EntryId, HoldId, JoinRequestId, UserId};
use crate::store::groups::JoinRequest;
use crate::store::log::answers::AnswerRow;
use crate::store::log::batch::Finished;
use crate::store::log::engine::{Engine, Table};
use crate::store::log::heads::State;
use crate::store::log::key;
use crate::store::log::kv_row::KvRow;
use crate::store::log::rows::{EntryRow, Header};
use crate::store::{HeldMessage, StoreError};

/// The row that says since when erased content waits to leave the disk.
pub const ERASED: &str = "erased";
/// Rows of a message: the entry, its feed's row, the first answer, its author's.
const ROWS: usize = 4;

pub struct Fjall<'a> {
    shared: &'a Shared,
    writes: OwnedWriteBatch,
}

impl<'a> Fjall<'a> {
    /// For a batch that about `changes` will be applied to.
    pub fn new(shared: &'a Shared, changes: usize) -> Self {
        let database = shared.tables.database.clone();
        Self {
            shared,
            writes: OwnedWriteBatch::with_capacity(database, 1 + changes * ROWS),
        }
    }

    /// Writes and syncs everything, then lets readers see it; the newest stamp.
    pub fn commit(
        mut self,
        finished: Finished,
        now: u64,
        mode: PersistMode,
    ) -> Result<u64, StoreError> {
        if self.writes.is_empty() {
            return Ok(finished.stamp);
        }
        let stamp = finished.stamp.to_be_bytes();
        self.put(Table::Rows, &key::meta("stamp"), &stamp);
        // Held until it is written: a scrub that begins now counts it in.
        let _erasing = finished.erased.then(|| self.note_erasure(now));
        self.writes
            .durability(Some(mode))
            .commit()
            .map_err(unavailable)?;
        self.shared.kv_notes.committed(finished.kv.keys());
        for (id, state) in finished.states {
            self.shared.heads.put(id, state);
        }
        self.shared.rosters.apply(finished.moves);
        let (news, before) = (finished.news, finished.before);
        self.shared.tail.extend(news, before, finished.stamp);
        Ok(finished.stamp)
    }

    fn note_erasure(&mut self, now: u64) -> MutexGuard<'a, u64> {
        let mut since = self.shared.erased_since.lock();
        if *since == 0 {
            *since = now.max(1);
            let row = since.to_be_bytes();
            self.put(Table::Rows, &key::meta(ERASED), &row);
        }
        since
    }
}

impl Engine for Fjall<'_> {
    fn last_stamp(&self) -> u64 {
        self.shared.ids.last()
    }

    fn next_stamp(&mut self, now: u64) -> u64 {
        self.shared.ids.next(now)
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let tables = &self.shared.tables;
        self.writes.insert(tables.of(table), key, value);
    }

    fn remove(&mut self, table: Table, key: &[u8]) {
        let tables = &self.shared.tables;
        self.writes.remove(tables.of(table), key);
    }

    fn state(&mut self, id: ConversationId) -> Result<Option<Arc<State>>, StoreError> {
        self.shared.heads.get(id, || self.shared.tables.state(id))
    }

    fn entry(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<EntryRow>, StoreError> {
        self.shared.tables.entry(conversation, seq)
    }

    fn header(&self, conversation: ConversationId, seq: Seq) -> Result<Option<Header>, StoreError> {
        self.shared.tables.header(conversation, seq)
    }

    fn member(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Member>, StoreError> {
        self.shared.tables.member(conversation, user)
    }

    fn answer_at(&self, key: &[u8]) -> Result<Option<AnswerRow>, StoreError> {
        self.shared.tables.answer_at(key)
    }

    fn held(&self, hold: HoldId) -> Result<Option<HeldMessage>, StoreError> {
        self.shared.tables.held(hold)
    }

    fn join_request(
        &self,
        conversation: ConversationId,
        id: JoinRequestId,
    ) -> Result<Option<JoinRequest>, StoreError> {
        self.shared.tables.join_request(conversation, id)
    }

    fn request_of(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<JoinRequestId>, StoreError> {
        self.shared.tables.request_of(conversation, user)
    }

    fn join_requests(&self, conversation: ConversationId) -> Result<Vec<JoinRequest>, StoreError> {
        let tables = &self.shared.tables;
        tables.join_requests(conversation, None, usize::MAX)
    }

    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.shared.tables.row(key)
    }

    fn keys(&self, range: Range<Vec<u8>>) -> Result<Vec<Vec<u8>>, StoreError> {
        let rows = self.shared.tables.rows.range(range);
        rows.map(|guard| guard.key().map(|key| key.to_vec()).map_err(unavailable))
            .collect()
    }

    fn kv(&self, namespace: &str, name: &str) -> Result<Option<KvRow>, StoreError> {
        self.shared.tables.kv(namespace, name)
    }

    fn recount(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn kv_used(&self, namespace: &str) -> Result<u64, StoreError> {
        self.shared.tables.kv_used(namespace)
    }

    fn kv_rows(
        &self,
        namespace: &str,
        more: &mut dyn FnMut(String, KvRow) -> bool,
    ) -> Result<(), StoreError> {
        self.shared.tables.kv_rows(namespace, ("", ""), more)
    }

    fn refuse(&self, namespace: &str) -> u64 {
        self.shared.kv_notes.refuse(namespace)
    }

    fn keep_beside(&mut self, id: EntryId, bytes: usize, now: u64) -> Vec<EntryId> {
        let mut rows = self.shared.beside.lock();
        rows.add(id.0, bytes);
        std::iter::from_fn(|| rows.pop(now)).collect()
    }

    fn has_beside(&mut self, id: EntryId) -> bool {
        self.shared.beside.lock().remove(id.0)
    }
}
