//! Plugins' own keys and values, as a seam: reads here, writes as a `Change` of the log's engine, so that they commit
//! with what they belong to. A value has a version and may have an end; a plugin has a quota.

use async_trait::async_trait;

use super::StoreError;
use super::feed::FeedPosition;

/// A value as committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvItem {
    pub value: Vec<u8>,
    /// Rises with every write of any key.
    pub version: u64,
}

/// A write that is not an effect of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvWrite {
    pub key: String,
    /// `None` deletes.
    pub value: Option<Vec<u8>>,
    /// Only where the key has this version; 0 where there is no such key. Otherwise nothing of the change is done, and
    /// it settles as `Changed`.
    pub expected: Option<u64>,
    /// Gone at this time, milliseconds since 1970 UTC; 0 for never.
    pub expires_at: u64,
}

/// Writes of one plugin, all of them or none.
#[derive(Debug, Clone)]
pub struct KvChange {
    pub plugin: String,
    pub writes: Vec<KvWrite>,
    /// Bytes of keys and values it may have then; beyond, the change settles as `Full`.
    pub quota: u64,
    /// A consumer's place in the feed that moves on with them.
    pub cursor: Option<(String, FeedPosition)>,
}

#[async_trait]
pub trait PluginKv: Send + Sync + 'static {
    /// A plugin's value; what has ended is not there.
    async fn kv(&self, plugin: &str, key: &str) -> Result<Option<KvItem>, StoreError>;

    /// Keys of a plugin that begin with `prefix`, after one, in order.
    async fn kv_keys(
        &self,
        plugin: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError>;
}
