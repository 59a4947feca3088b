//! Plugins' values of one moment, for hooks on a message's path.
//! A read here waits for no commit.

use fjall::{Keyspace, Readable, Snapshot};

use super::EmbeddedLog;
use super::tables::unavailable;
use crate::store::StoreError;
use crate::store::log::key;
use crate::store::log::kv_row::KvRow;
use crate::store::values::{PluginValues, ValuesAt};

struct Moment {
    snapshot: Snapshot,
    rows: Keyspace,
    /// When it was: what had ended then is not there.
    now: u64,
}

impl PluginValues for EmbeddedLog {
    fn values(&self) -> Result<Box<dyn ValuesAt>, StoreError> {
        let tables = self.tables();
        Ok(Box::new(Moment {
            snapshot: tables.database.snapshot(),
            rows: tables.rows.clone(),
            now: self.shared.clock.now_ms(),
        }))
    }
}

impl ValuesAt for Moment {
    fn value(&self, namespace: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.snapshot.get(&self.rows, key::kv(namespace, name));
        let row = found.map_err(unavailable)?;
        let row = row.map(|bytes| KvRow::decode(&bytes)).transpose()?;
        Ok(row
            .filter(|row| !row.has_ended(self.now))
            .map(|row| row.value))
    }
}
