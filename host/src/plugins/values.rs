//! What plugins have written, handed to their runtime: the store's seam on one side, the runtime's on the other.
//! No decisions.

use std::sync::Arc;

use kith_runtime::{Values, ValuesSnapshot};

use crate::store::values::{PluginValues, ValuesAt};

/// The store's values as the runtime reads them.
pub struct StoredValues(pub Arc<dyn PluginValues>);

struct Moment(Box<dyn ValuesAt>);

impl Values for StoredValues {
    fn snapshot(&self) -> Result<Box<dyn ValuesSnapshot>, String> {
        let values = self.0.values().map_err(|error| error.to_string())?;
        Ok(Box::new(Moment(values)))
    }
}

impl ValuesSnapshot for Moment {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, String> {
        self.0
            .value(namespace, key)
            .map_err(|error| error.to_string())
    }
}
