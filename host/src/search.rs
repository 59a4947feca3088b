//! The search seam: an index of messages, as a trait. Engines live below; whoever searches sees only this.
//!
//! An index is derived from the message log, behind it by up to two seconds, and never the truth: a candidate is read
//! from the log again before anybody sees it, so what was recalled or hidden cannot be found however late an index is.

pub mod elastic;
pub mod embedded;
pub mod fold;
pub mod indexer;
pub mod serving;
pub mod terms;

use async_trait::async_trait;

use crate::entry::Seq;
use crate::ids::{ConversationId, EntryId, UserId};
use crate::store::feed::FeedPosition;
use terms::Term;

/// Why an engine did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SearchError {
    /// Trying again later may work.
    #[error("search is unavailable: {0}")]
    Unavailable(String),
    /// The index is not what the engine wrote: it must be made anew.
    #[error("the index is damaged: {0}")]
    Damaged(String),
}

/// A message as an index gets it. Its time stands in its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub id: EntryId,
    pub conversation: ConversationId,
    pub seq: Seq,
    pub from: UserId,
    /// As they were written; an engine keeps what `terms::tokens` makes of them.
    pub texts: Vec<String>,
}

/// A change of an index. Changes take effect in the order they are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexChange {
    /// A message the index has not been given before.
    Add(Document),
    /// What is known of a message, whatever was before.
    Replace(Document),
    /// One message, told by its id and by its place: an engine takes what it finds it by.
    Remove {
        id: EntryId,
        conversation: ConversationId,
        seq: Seq,
    },
    /// Everything of a conversation below a seq.
    RemoveBelow {
        conversation: ConversationId,
        below: Seq,
    },
    RemoveConversation(ConversationId),
}

impl IndexChange {
    /// Of the texts in it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Add(document) | Self::Replace(document) => {
                document.texts.iter().map(String::len).sum()
            }
            _ => 0,
        }
    }
}

/// What comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Newest,
    /// By how much of a message is what was asked for; an engine's own measure, but the same for the same message at
    /// all times, so that pages neither repeat nor skip.
    Best,
}

/// A place in an order: higher first by rank, then by id. In `Newest` every rank is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub rank: u32,
    pub id: EntryId,
}

/// A conversation that may be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub conversation: ConversationId,
    /// The first seq that may be seen, as far as it is known.
    pub from: Seq,
}

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Query {
    /// All of them must occur; none asks for nothing.
    pub terms: Vec<Term>,
    /// Only in these.
    pub rooms: Vec<Room>,
    pub from: Option<UserId>,
    /// Not before, milliseconds since 1970 UTC.
    pub after_ms: Option<u64>,
    /// Not after.
    pub before_ms: Option<u64>,
    pub order: Order,
    /// Only what comes after this place of the order.
    pub below: Option<Mark>,
    pub limit: usize,
}

/// A message that may be a hit, and its place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub conversation: ConversationId,
    pub seq: Seq,
    pub mark: Mark,
}

/// A search engine. One conformance suite (`host/tests/search/conformance.rs`), every engine.
///
/// The rule of what matches is `terms::find`, the same on every engine: texts are folded by `fold::fold` (width, case,
/// composition; nothing is stemmed); letters and digits make words, which match whole; characters of scripts without
/// blanks between words (Chinese above all) match as a run, wherever it stands. A word may stand in any of a message's
/// texts, a run never reaches over a gap or from one text into the next. An engine keeps the tokens of `terms::tokens`
/// and asks for all of a run's `terms::run_tokens`; or it does otherwise and gives every match, for what it gives too
/// much is left out by whoever asked. Too much only costs time; a match that is missing is a defect.
#[async_trait]
pub trait Search: Send + Sync + 'static {
    /// Opens the index, looks whether it is whole, and says how far it has followed the feed. `None`: it is empty, and
    /// an index that could not be used was taken away. Nothing else works before.
    async fn open(&self) -> Result<Option<FeedPosition>, SearchError>;

    /// Opens the index to be asked alone, where another node writes it; how far it has come.
    async fn look(&self) -> Result<Option<FeedPosition>, SearchError> {
        let why = "this index is one process's alone";
        Err(SearchError::Unavailable(why.to_owned()))
    }

    /// Takes everything out and begins again.
    async fn clear(&self) -> Result<(), SearchError>;

    /// Takes changes; they can be found after the next commit. After an error they are lost, with all since the last
    /// commit: open again.
    async fn apply(&self, changes: Vec<IndexChange>) -> Result<(), SearchError>;

    /// Makes what was applied durable together with the position, and lets it be found.
    async fn commit(&self, at: &FeedPosition, now_ms: u64) -> Result<(), SearchError>;

    /// The best matches after a place, best first.
    async fn find(&self, query: Query) -> Result<Vec<Candidate>, SearchError>;

    /// When the oldest of what was removed and is not yet erased from the disk was committed, milliseconds.
    fn removed_at(&self) -> Option<u64>;

    /// Erases what was removed from the disk.
    async fn purge(&self) -> Result<(), SearchError>;

    /// Whether the index could be asked now: a server may be gone without anybody having asked it. `Damaged` when the
    /// index is gone.
    async fn check(&self) -> Result<(), SearchError> {
        Ok(())
    }

    /// Lets go of what the index holds open. Nothing works afterwards but `open`.
    async fn close(&self);
}
