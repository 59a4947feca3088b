//! Plugins' values of one moment, for hooks on a message's path: what was written after the moment is read as it was before.
//! Whoever reads waits in its own thread; the reading is done in the log's.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{MongoLog, Shared, waits};
use crate::ids::EntryId;
use crate::store::StoreError;
use crate::store::values::{PluginValues, ValuesAt};

struct Moment {
    shared: Arc<Shared>,
    handle: Handle,
    /// What has a higher stamp was written later.
    stamp: u64,
    /// When it was: what had ended then is not there.
    now: u64,
}

impl PluginValues for MongoLog {
    fn values(&self) -> Result<Box<dyn ValuesAt>, StoreError> {
        let now = self.shared.clock.now_ms();
        // From here on this node gives out higher ones; other nodes' clocks say what was before.
        self.shared.ids.raise(EntryId::first_at(now).0);
        Ok(Box::new(Moment {
            shared: self.shared.clone(),
            handle: self.handle.clone(),
            stamp: self.shared.ids.last(),
            now,
        }))
    }
}

impl ValuesAt for Moment {
    fn value(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (shared, stamp) = (self.shared.clone(), self.stamp);
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        let row = waits(&self.handle, async move {
            shared.kv_row_at(&namespace, &key, stamp).await
        })?;
        Ok(row
            .filter(|row| !row.has_ended(self.now))
            .map(|row| row.value))
    }
}
