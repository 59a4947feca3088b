//! The rows beside entries in the embedded log: which there are when it is opened, and reading one.
//! Which are to go is in `housekeeping` and the batch.

use super::tables::{Tables, damaged, unavailable};
use crate::entry::Beside;
use crate::ids::EntryId;
use crate::store::StoreError;
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
