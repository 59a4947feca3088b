//! The feed seam: everything that was committed, of all conversations, in the order it was committed. What follows a
//! commit without standing in the sender's way (search, and whatever observes or responds) reads it with a cursor.
//!
//! An item says what changed, not what it was before: contents are as they stand when the item is read, so that what
//! was recalled is nowhere in the feed either.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::StoreError;
use crate::entry::{Entry, Seq};
use crate::ids::ConversationId;

/// A place in the feed, between two items. Only the log that gave it can read it; the default is the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedPosition(pub String);

/// One thing that was committed.
#[derive(Debug, Clone)]
pub enum FeedItem {
    /// A new entry. A recall or an edit has changed its target by the time it is read.
    Entry(Arc<Entry>),
    /// Everything of a conversation below this seq is no longer kept.
    Erased {
        conversation: ConversationId,
        below: Seq,
    },
    /// A conversation with everything in it is no longer kept.
    Gone { conversation: ConversationId },
}

/// A stretch of the feed.
#[derive(Debug, Clone)]
pub struct FeedPage {
    /// In the order of their commit. Entries that are no longer kept are left out.
    pub items: Vec<FeedItem>,
    /// Of each item, its stamp: `place` makes a position behind it of one.
    pub places: Vec<u64>,
    /// Where to go on.
    pub next: FeedPosition,
    /// There is more to read now.
    pub more: bool,
    /// The position is not one of this feed, or from its future: whatever was derived with it must be made anew, from
    /// `next`, which is the beginning.
    pub reset: bool,
}

/// The feed of a message log. Reading it takes nothing away; a consumer sees each item at least once.
///
/// Of several nodes' log it is one feed, with the same positions and cursors everywhere. What another node commits is in it,
/// and told by `commits`, a little later; nothing ever comes before a position that was given out. Of one conversation it has
/// the order of the log; what erases may stand behind what others committed meanwhile.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// What was committed after a position, at most `limit` items.
    async fn feed(&self, after: &FeedPosition, limit: usize) -> Result<FeedPage, StoreError>;

    /// The position behind an item of a page.
    fn place(&self, stamp: u64) -> FeedPosition;

    /// The stamp behind which a position is; none where it is not one of this feed.
    fn stamp(&self, at: &FeedPosition) -> Option<u64>;

    /// The position so many items before another one, or the beginning.
    async fn feed_before(&self, at: &FeedPosition, items: u64) -> Result<FeedPosition, StoreError>;

    /// The position behind everything that was committed.
    fn feed_end(&self) -> FeedPosition;

    /// About how many items there are in all: for showing progress.
    async fn feed_length(&self) -> Result<u64, StoreError>;

    /// Where a consumer stands; `None` for one that never said.
    async fn cursor(&self, consumer: &str) -> Result<Option<FeedPosition>, StoreError>;

    /// Notes where a consumer stands, if it still stands at `from`; false where it does not, and nothing was noted: somebody
    /// else does its work, or has done it. It is on stable storage with the next commit: after a crash a consumer may find
    /// an older place of its own, never a later one.
    async fn move_cursor(
        &self,
        consumer: &str,
        from: Option<&FeedPosition>,
        to: &FeedPosition,
    ) -> Result<bool, StoreError>;

    /// Changes with every group of commits, to a higher number: what was committed before it was seen is in the feed.
    fn commits(&self) -> watch::Receiver<u64>;
}
