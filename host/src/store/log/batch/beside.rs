//! Rows beside entries in a batch: written with the entry, gone with a recall, an edit or the entry, or when there are
//! too many.

use super::Batch;
use crate::entry::{Beside, DecisionRecord};
use crate::ids::EntryId;
use crate::store::log::{beside, key};

impl Batch<'_> {
    /// Puts what a record has beside it into a row of the entry.
    pub(super) fn without_beside(
        &mut self,
        id: EntryId,
        mut record: DecisionRecord,
    ) -> DecisionRecord {
        if let Some(beside) = record.beside.take() {
            self.put_beside(id, &beside);
        }
        record
    }

    fn put_beside(&mut self, id: EntryId, kept: &Beside) {
        let Some(row) = beside::encode(kept) else {
            return;
        };
        let gone = self.engine.keep_beside(id, row.len(), self.now);
        if !gone.contains(&id) {
            self.put_row(key::beside(id), row);
        }
        for old in gone {
            self.remove_row(key::beside(old).to_vec());
        }
    }

    pub(super) fn remove_beside(&mut self, id: EntryId) {
        if self.engine.has_beside(id) {
            self.remove_row(key::beside(id).to_vec());
        }
    }
}
