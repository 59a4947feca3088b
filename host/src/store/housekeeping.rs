//! What the host does for a message log beside using it, as a seam: counts for the metrics, bounds of what is kept beside
//! entries, taking erased content off the disk.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use super::judged::BesideLimits;

#[async_trait]
pub trait Housekeeping: Send + Sync + 'static {
    /// Groups of changes that were committed together by this node, and the changes in them.
    fn flushes(&self) -> (u64, u64);

    /// Round trips to a server that keeps the log: those that read, and those that wrote; none where no server does.
    fn round_trips(&self) -> Option<(u64, u64)> {
        None
    }

    /// How much earlier than the newest commit a place of the feed is, milliseconds.
    fn behind_ms(&self, stamp: u64) -> u64;

    /// From now on what hooks read is kept within these bounds.
    fn keep_beside(&self, limits: BesideLimits);

    /// Lets go of what was kept for long enough. What a crash leaves goes the next time.
    async fn forget_beside(&self) -> Result<(), StoreError>;

    /// Takes erased content off the disk when some was erased `wait` ago or longer; whether there was. Blocks for as long as
    /// that takes, never the log. Where a server keeps the disk this is the server's own business.
    fn scrub_when_due(&self, wait: Duration) -> Result<bool, StoreError>;
}
