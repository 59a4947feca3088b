//! What was judged, read from the embedded log: the feed backwards, entries with their records and what is kept beside
//! them.

use std::sync::atomic::Ordering;

use async_trait::async_trait;

use super::tables::{Tables, damaged, unavailable};
use super::{EmbeddedLog, feed};
use crate::entry::Seq;
use crate::ids::ConversationId;
use crate::store::StoreError;
use crate::store::judged::{Judged, JudgedEntry, JudgedPage};
use crate::store::log::rows::EntryRow;
use crate::store::log::{self, key};

#[async_trait]
impl Judged for EmbeddedLog {
    async fn judged_before(&self, stamp: u64, limit: usize) -> Result<JudgedPage, StoreError> {
        let settled = self.shared.settled.load(Ordering::Acquire);
        let before = stamp.min(settled.saturating_add(1));
        let mut page = JudgedPage {
            entries: Vec::new(),
            next: None,
        };
        let range = self.tables().feed.range(..log::feed::key(before, 0));
        for (read, guard) in range.rev().enumerate() {
            let (found, value) = guard.into_inner().map_err(unavailable)?;
            let (stamp, entry) =
                feed::entry_at(&found, &value).ok_or_else(|| damaged("a row of the feed"))?;
            page.next = Some(stamp);
            if let Some((conversation, seq)) = entry
                && let Some(row) = self.tables().entry(conversation, seq)?
            {
                page.entries.push(judged(self.tables(), row)?);
            }
            if read + 1 == limit {
                return Ok(page);
            }
        }
        page.next = None;
        Ok(page)
    }

    async fn judged_between(
        &self,
        conversation: ConversationId,
        (first, last): (Seq, Seq),
    ) -> Result<Vec<JudgedEntry>, StoreError> {
        let mut entries = Vec::new();
        let range = key::entry(conversation, first)..=key::entry(conversation, last);
        for guard in self.tables().entries.range(range) {
            let (found, bytes) = guard.into_inner().map_err(unavailable)?;
            let seq = key::seq_of(&found).ok_or_else(|| damaged("an entry's key"))?;
            let row = EntryRow::decode(conversation, seq, &bytes)?;
            entries.push(judged(self.tables(), row)?);
        }
        Ok(entries)
    }
}

fn judged(tables: &Tables, row: EntryRow) -> Result<JudgedEntry, StoreError> {
    let mut record = row.record;
    if record.circumstances.is_some_and(|asked| asked.beside) {
        record.beside = tables.beside(row.entry.id)?.map(Box::new);
    }
    Ok(JudgedEntry {
        entry: row.entry,
        record,
        edits: row.edits,
        recalled_by: row.recalled_by,
    })
}
