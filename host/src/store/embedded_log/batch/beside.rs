//! Rows beside entries in a batch: written with the entry, gone with a recall, an edit or the entry, or when there are
//! too many.

use super::Batch;
use crate::entry::{Beside, DecisionRecord};
use crate::ids::EntryId;
use crate::store::embedded_log::{beside, key};

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
        let mut gone = Vec::new();
        {
            let mut rows = self.shared.beside.lock();
            rows.add(id.0, row.len());
            while let Some(old) = rows.pop(self.now) {
                gone.push(old);
            }
        }
        if !gone.contains(&id) {
            self.put_row(key::beside(id), row);
        }
        for old in gone {
            self.remove_row(key::beside(old).to_vec());
        }
    }

    pub(super) fn remove_beside(&mut self, id: EntryId) {
        if self.shared.beside.lock().remove(id.0) {
            self.remove_row(key::beside(id).to_vec());
        }
    }
}
