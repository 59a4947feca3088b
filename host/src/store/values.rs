//! What plugins have written, as a hook on a message's path reads it: one moment, without waiting for commits.
//! The traits alone.

use super::StoreError;

/// Where plugins' values are kept.
pub trait PluginValues: Send + Sync + 'static {
    /// What is committed at this moment. To be dropped soon: it keeps what is overwritten meanwhile.
    fn values(&self) -> Result<Box<dyn ValuesAt>, StoreError>;
}

/// The values of one moment.
pub trait ValuesAt: Send {
    fn value(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
}
