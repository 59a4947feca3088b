//! What nodes of one store share about generations of plugins, beside the generations themselves (`accounts.rs`): which
//! one is in force, and provisions, which one node makes and the others only take. No node needs it that is alone.

use async_trait::async_trait;

use super::StoreError;

/// How generations stand in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// The newest that is kept; 0 where there is none.
    pub newest: u64,
    /// The one every node is to judge by; 0 before the first.
    pub in_force: u64,
}

/// What every node reads and any node may write.
#[async_trait]
pub trait SharedGenerations: Send + Sync + 'static {
    /// What was put in force before this was asked is seen.
    async fn standing(&self) -> Result<Standing, StoreError>;

    /// Puts a generation in force, unless a newer one is. The one that is then.
    async fn put_in_force(&self, number: u64) -> Result<u64, StoreError>;

    /// Keeps bytes under a name that says what they are, so that whoever wrote them first wrote the same.
    async fn put_provision(&self, name: &str, bytes: &[u8], at_ms: u64) -> Result<(), StoreError>;
    async fn has_provision(&self, name: &str) -> Result<bool, StoreError>;
    async fn provision(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Removes all but these, as far as they were put before a time.
    async fn keep_provisions(&self, names: &[String], before_ms: u64) -> Result<(), StoreError>;
}
