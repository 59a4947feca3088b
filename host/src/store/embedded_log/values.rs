//! Plugins' values of one moment, for hooks on a message's path.
//! A read here waits for no commit.

use fjall::{Keyspace, Readable, Snapshot};

use super::tables::unavailable;
use super::{EmbeddedLog, key};
use crate::store::StoreError;
use crate::store::values::{PluginValues, ValuesAt};

struct Moment {
    snapshot: Snapshot,
    rows: Keyspace,
}

impl PluginValues for EmbeddedLog {
    fn values(&self) -> Result<Box<dyn ValuesAt>, StoreError> {
        let tables = self.tables();
        Ok(Box::new(Moment {
            snapshot: tables.database.snapshot(),
            rows: tables.rows.clone(),
        }))
    }
}

impl ValuesAt for Moment {
    fn value(&self, plugin: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.snapshot.get(&self.rows, key::kv(plugin, name));
        Ok(found.map_err(unavailable)?.map(|value| value.to_vec()))
    }
}
