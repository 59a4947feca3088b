//! What the host does for the embedded log beside using it.
//! How content leaves the disk is in `scrub`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::EmbeddedLog;
use super::tables::unavailable;
use crate::ids::EntryId;
use crate::store::StoreError;
use crate::store::housekeeping::Housekeeping;
use crate::store::judged::BesideLimits;
use crate::store::log::key;

#[async_trait]
impl Housekeeping for EmbeddedLog {
    fn flushes(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.shared.flushes), read(&self.shared.changes))
    }

    fn behind_ms(&self, stamp: u64) -> u64 {
        // The numbers of commits are the stamps of their last entries.
        let newest = EntryId(*self.shared.commits.borrow()).at_ms();
        newest.saturating_sub(EntryId(stamp).at_ms())
    }

    fn keep_beside(&self, limits: BesideLimits) {
        self.shared.beside.lock().limits = limits;
    }

    async fn forget_beside(&self) -> Result<(), StoreError> {
        let now = self.shared.clock.now_ms();
        loop {
            let old = self.shared.beside.lock().pop(now);
            let Some(old) = old else { return Ok(()) };
            let rows = &self.tables().rows;
            rows.remove(key::beside(old)).map_err(unavailable)?;
        }
    }

    fn scrub_when_due(&self, wait: Duration) -> Result<bool, StoreError> {
        self.scrub_after(wait)
    }
}
