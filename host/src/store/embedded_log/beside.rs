//! The rows beside entries in the embedded log: which there are, reading one, and letting go of the old.

use super::EmbeddedLog;
use super::tables::{Tables, damaged, unavailable};
use crate::entry::Beside;
use crate::ids::EntryId;
use crate::store::StoreError;
use crate::store::judged::BesideLimits;
use crate::store::log::beside::{Rows, decode};
use crate::store::log::key;
use crate::store::log::rows::Reader;

/// Which rows there are.
pub fn load(tables: &Tables) -> Result<Rows, StoreError> {
    let mut known = Rows::default();
    for guard in tables.rows.prefix([key::BESIDE]) {
        let (found, bytes) = guard.into_inner().map_err(unavailable)?;
        let id = Reader(found.get(1..).unwrap_or_default()).u64();
        let id = id.ok_or_else(|| damaged("a key of what hooks read"))?;
        known.add(id, bytes.len());
    }
    Ok(known)
}

impl Tables {
    pub fn beside(&self, id: EntryId) -> Result<Option<Beside>, StoreError> {
        let row = self.row(&key::beside(id))?;
        row.map(|bytes| decode(&bytes).ok_or_else(|| damaged("what hooks read")))
            .transpose()
    }
}

impl EmbeddedLog {
    /// From now on what hooks read is kept within these bounds.
    pub fn keep_beside(&self, limits: BesideLimits) {
        self.shared.beside.lock().limits = limits;
    }

    /// Lets go of what was kept for long enough. What a crash leaves goes the next time.
    pub fn forget_beside(&self) -> Result<(), StoreError> {
        let now = self.shared.clock.now_ms();
        loop {
            let old = self.shared.beside.lock().pop(now);
            let Some(old) = old else { return Ok(()) };
            let rows = &self.tables().rows;
            rows.remove(key::beside(old)).map_err(unavailable)?;
        }
    }
}
