//! Plugins' own keys and values, as a seam: reads here, writes as a `Change` of the log's engine, so that they commit
//! with what they belong to. A value has a version and may have an end; a namespace has a quota. A plugin has one namespace,
//! and another while its state is made anew for a version.

use async_trait::async_trait;

use super::StoreError;
use super::feed::FeedPosition;

/// A value as committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvItem {
    pub value: Vec<u8>,
    /// Rises with every write of any key.
    pub version: u64,
    /// Gone at this time, milliseconds since 1970 UTC; 0 for never.
    pub expires_at: u64,
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

/// Writes in one namespace, all of them or none.
#[derive(Debug, Clone)]
pub struct KvChange {
    pub namespace: String,
    pub writes: Vec<KvWrite>,
    /// Bytes of keys and values it may have then; beyond, the change settles as `Full`.
    pub quota: u64,
    /// A consumer's place in the feed that moves on with them.
    pub cursor: Option<Advance>,
}

/// A consumer's place that moves on with what the consumer writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    pub consumer: String,
    /// Where it stands: otherwise nothing of the change is done, and it settles as `Changed`.
    pub from: Option<FeedPosition>,
    pub to: FeedPosition,
}

/// Values are the same on every node that has the log open; what `kv_refused` counts is a node's own. What `kv_changed` tells may
/// be told again.
#[async_trait]
pub trait PluginKv: Send + Sync + 'static {
    /// A value; what has ended is not there.
    async fn kv(&self, namespace: &str, key: &str) -> Result<Option<KvItem>, StoreError>;

    /// Keys that begin with `prefix`, after one, in order.
    async fn kv_keys(
        &self,
        namespace: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError>;

    /// Keys after one with what they hold, in order: at most `limit` of them, and none more once they hold `bytes`.
    async fn kv_page(
        &self,
        namespace: &str,
        after: &str,
        (limit, bytes): (usize, usize),
    ) -> Result<Vec<(String, KvItem)>, StoreError>;

    /// Bytes of keys and values, of ended ones too.
    async fn kv_used(&self, namespace: &str) -> Result<u64, StoreError>;

    /// Effects of entries that were not kept because the namespace was full, since the start.
    fn kv_refused(&self, namespace: &str) -> u64;

    /// Every namespace that holds, or has held, anything.
    async fn kv_namespaces(&self) -> Result<Vec<String>, StoreError>;

    /// From now on the keys that are written are noted.
    fn kv_watch(&self, namespace: &str);

    /// The keys committed since it is watched, or since the last call; deleted ones too.
    async fn kv_changed(&self, namespace: &str) -> Result<Vec<String>, StoreError>;

    /// What some keys hold, in their order, read at once.
    async fn kv_of(
        &self,
        namespace: &str,
        keys: &[String],
    ) -> Result<Vec<Option<KvItem>>, StoreError>;

    fn kv_unwatch(&self, namespace: &str);
}
