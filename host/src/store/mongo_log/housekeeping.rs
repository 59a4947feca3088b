//! What the host does for the log in MongoDB beside using it. Erased content is gone from its documents at once; how long the
//! server's own files and replication log hold it is the server's to know.

use std::time::Duration;

use async_trait::async_trait;

use super::MongoLog;
use crate::store::StoreError;
use crate::store::housekeeping::Housekeeping;
use crate::store::judged::BesideLimits;

#[async_trait]
impl Housekeeping for MongoLog {
    fn flushes(&self) -> (u64, u64) {
        let counted = self.counted();
        (counted.runs, counted.changes)
    }

    fn round_trips(&self) -> Option<(u64, u64)> {
        let counted = self.counted();
        Some((counted.reads, counted.writes))
    }

    fn behind_ms(&self, stamp: u64) -> u64 {
        self.shared.teller.behind_ms(stamp)
    }

    fn keep_beside(&self, limits: BesideLimits) {
        *self.shared.beside.lock() = limits;
    }

    async fn forget_beside(&self) -> Result<(), StoreError> {
        // Every node does the same.
        let limits = *self.shared.beside.lock();
        self.on(move |shared| async move { shared.forget_beside(limits).await })
            .await
    }

    fn scrub_when_due(&self, _: Duration) -> Result<bool, StoreError> {
        Ok(false)
    }
}
