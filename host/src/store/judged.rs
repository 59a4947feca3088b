//! What was judged, as a seam: entries with the records of their judgements and what their hooks were shown and read,
//! newest first, for asking the same again. What a recall or retention took is not there.

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;
use crate::entry::{DecisionRecord, Entry, Seq};
use crate::ids::ConversationId;

const DAY_MS: u64 = 86_400_000;

/// How much of what hooks read beside the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BesideLimits {
    /// Of so many entries, the newest.
    pub count: usize,
    pub bytes: u64,
    pub for_ms: u64,
}

impl Default for BesideLimits {
    fn default() -> Self {
        Self {
            count: 10_000,
            bytes: 64 * 1024 * 1024,
            for_ms: 7 * DAY_MS,
        }
    }
}

/// An entry as it stands, with how it was judged.
#[derive(Debug, Clone)]
pub struct JudgedEntry {
    pub entry: Arc<Entry>,
    /// With what is kept beside it.
    pub record: DecisionRecord,
    /// Of a message its edits, oldest first.
    pub edits: Vec<Seq>,
    /// Of a recalled message the recall; 0 otherwise.
    pub recalled_by: Seq,
}

/// A stretch of what was committed, newest first.
#[derive(Debug)]
pub struct JudgedPage {
    pub entries: Vec<JudgedEntry>,
    /// Where to go on; `None` at the beginning of everything.
    pub next: Option<u64>,
}

#[async_trait]
pub trait Judged: Send + Sync + 'static {
    /// Entries committed before a stamp (`u64::MAX`: all), looking at most at `limit` commits.
    async fn judged_before(&self, stamp: u64, limit: usize) -> Result<JudgedPage, StoreError>;

    /// Those entries of a stretch of a log that are still kept, in order.
    async fn judged_between(
        &self,
        conversation: ConversationId,
        stretch: (Seq, Seq),
    ) -> Result<Vec<JudgedEntry>, StoreError>;
}
