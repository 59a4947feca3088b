//! The one task that keeps an index up to date: follows the feed, turns what was committed into changes of the index,
//! commits them with the place it has come to. It waits for commits, gathers for a moment, and never asks the log for
//! more than a page at a time, so that the message path does not notice it.

use std::sync::Arc;
use std::time::Duration;

use super::serving::{Phase, Serving};
use super::{Document, IndexChange, SearchError};
use crate::clock::Clock;
use crate::content::Content;
use crate::entry::{Body, Entry};
use crate::store::feed::{Feed, FeedItem, FeedPosition};
use crate::store::{MessageLog, StoreError};

/// Items of the feed that are read at once.
const PAGE: usize = 500;
/// Items, and bytes of texts, after which an index that is far behind commits: no more waits in its memory (I5).
const COMMIT_ITEMS: usize = 20_000;
const COMMIT_BYTES: usize = 16 * 1024 * 1024;
/// How long what was committed is gathered before it is looked at: the most commits of an index a second.
const GATHER: Duration = Duration::from_millis(300);
/// After a round of so many items the next one gathers longer: fewer, larger commits of an index under load.
const BUSY_ITEMS: u64 = 2_000;
const GATHER_BUSY: Duration = Duration::from_secs(1);
/// An index that never catches up still shows what it has this often.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// After trouble, and the longest after trouble that comes again at once: of an index that is made anew each time, and
/// of one that is only away.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_secs(60);
const AGAIN_AWAY: Duration = Duration::from_secs(4);
/// How often an index is asked whether it is there while nothing is committed.
const CHECK: Duration = Duration::from_secs(2);
/// What was removed is erased from the disk after this long, and so within a day.
const PURGE_AFTER_MS: u64 = 12 * 60 * 60 * 1000;
const PURGE_LOOK: Duration = Duration::from_secs(10 * 60);

/// Keeps one index up to date.
pub struct Indexer {
    pub log: Arc<dyn MessageLog>,
    pub feed: Arc<dyn Feed>,
    pub serving: Arc<Serving>,
    pub clock: Arc<dyn Clock>,
}

/// Why an index could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far a rebuild is: items read of the feed, and about how many there are.
pub type Progress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

impl Indexer {
    /// Runs for ever; opens again after trouble, and begins anew after damage.
    pub async fn run(self) {
        let mut wait = AGAIN;
        loop {
            let began = tokio::time::Instant::now();
            let trouble = tokio::select! {
                trouble = self.follow() => trouble,
                () = self.serving.damage.notified() => {
                    IndexError::Search(SearchError::Damaged("met by a search".to_owned()))
                }
            };
            let damaged = matches!(&trouble, IndexError::Search(SearchError::Damaged(_)));
            if damaged {
                tracing::warn!(%trouble, "the index is made anew");
                self.serving.enter(Phase::Behind);
                if let Err(error) = self.serving.engine.clear().await {
                    tracing::error!(%error, "the index cannot be made anew");
                    self.serving.enter(Phase::Down);
                }
            } else {
                tracing::warn!(%trouble, "the index is opened again in a moment");
                self.serving.enter(Phase::Down);
            }
            wait = match began.elapsed() > AGAIN_MOST {
                true => AGAIN,
                false => (wait * 2).min(if damaged { AGAIN_MOST } else { AGAIN_AWAY }),
            };
            tokio::time::sleep(wait / 2).await;
        }
    }

    /// Follows until there is trouble.
    async fn follow(&self) -> IndexError {
        let engine = &self.serving.engine;
        let mut commits = self.feed.commits();
        let mut position = match engine.open().await {
            Ok(position) => position.unwrap_or_default(),
            Err(error) => return error.into(),
        };
        if self.serving.phase() == Phase::Down {
            self.serving.enter(Phase::Behind);
        }
        let mut looked = tokio::time::Instant::now();
        loop {
            let reaches = *commits.borrow_and_update();
            let mut read = 0;
            position = match self.catch_up(position, &mut |items, _| read = items).await {
                Ok(position) => position,
                Err(trouble) => return trouble,
            };
            self.serving.enter(Phase::Ready);
            self.serving.reached.send_replace(reaches);
            loop {
                if looked.elapsed() >= PURGE_LOOK {
                    looked = tokio::time::Instant::now();
                    if let Err(error) = self.purge_in_time().await {
                        return error.into();
                    }
                }
                match tokio::time::timeout(CHECK, commits.changed()).await {
                    Ok(Ok(())) => break,
                    // The log is closed; this task ends with it.
                    Ok(Err(_)) => tokio::time::sleep(CHECK).await,
                    Err(_) => {}
                }
                if let Err(error) = engine.check().await {
                    return error.into();
                }
            }
            let busy = read >= BUSY_ITEMS;
            tokio::time::sleep(if busy { GATHER_BUSY } else { GATHER }).await;
        }
    }

    /// Follows the feed to its end; the place it has come to.
    async fn catch_up(
        &self,
        from: FeedPosition,
        progress: Progress<'_>,
    ) -> Result<FeedPosition, IndexError> {
        let engine = &self.serving.engine;
        let total = self.feed.feed_length().await?;
        let (mut position, mut items, mut since) = (from, 0, 0);
        let (mut bytes, mut unsaid) = (0, false);
        let mut committed = tokio::time::Instant::now();
        loop {
            let page = self.feed.feed(&position, PAGE).await?;
            if page.reset {
                tracing::warn!(
                    "the index was made of another log, or of a later one: it is made anew"
                );
                self.serving.enter(Phase::Behind);
                engine.clear().await?;
                (position, since) = (page.next, 0);
                continue;
            }
            unsaid |= page.next != position;
            let changes = self.changes(&page.items).await?;
            since += page.items.len();
            items += page.items.len() as u64;
            bytes += changes.iter().map(IndexChange::bytes).sum::<usize>();
            if !changes.is_empty() {
                engine.apply(changes).await?;
            }
            position = page.next;
            let often = since >= COMMIT_ITEMS
                || bytes >= COMMIT_BYTES
                || self.serving.phase() == Phase::Ready && committed.elapsed() >= COMMIT_EVERY;
            if unsaid && (often || !page.more) {
                engine.commit(&position, self.clock.now_ms()).await?;
                (since, bytes, unsaid) = (0, 0, false);
                committed = tokio::time::Instant::now();
            }
            progress(items, total.max(items));
            if !page.more {
                return Ok(position);
            }
        }
    }

    async fn purge_in_time(&self) -> Result<(), SearchError> {
        let due = |at| self.clock.now_ms().saturating_sub(at) >= PURGE_AFTER_MS;
        if self.serving.engine.removed_at().is_some_and(due) {
            self.serving.engine.purge().await?;
        }
        Ok(())
    }

    /// Makes the index anew from the whole log; how many items the feed had.
    pub async fn rebuild(&self, progress: Progress<'_>) -> Result<u64, IndexError> {
        self.serving.engine.open().await?;
        self.serving.engine.clear().await?;
        let mut read = 0;
        let mut count = |items, total| {
            read = items;
            progress(items, total);
        };
        self.catch_up(FeedPosition::default(), &mut count).await?;
        Ok(read)
    }

    /// Brings the index up to date once and erases from the disk what was removed.
    pub async fn purge(&self) -> Result<(), IndexError> {
        let position = self.serving.engine.open().await?;
        self.catch_up(position.unwrap_or_default(), &mut |_, _| {})
            .await?;
        self.serving.engine.purge().await?;
        Ok(())
    }

    async fn changes(&self, items: &[FeedItem]) -> Result<Vec<IndexChange>, StoreError> {
        let mut changes = Vec::with_capacity(items.len());
        for item in items {
            match item {
                FeedItem::Entry(entry) => changes.extend(self.change(entry).await?),
                FeedItem::Erased {
                    conversation,
                    below,
                } => changes.push(IndexChange::RemoveBelow {
                    conversation: *conversation,
                    below: *below,
                }),
                FeedItem::Gone { conversation } => {
                    changes.push(IndexChange::RemoveConversation(*conversation));
                }
            }
        }
        Ok(changes)
    }

    async fn change(&self, entry: &Entry) -> Result<Option<IndexChange>, StoreError> {
        let target = match &entry.body {
            Body::Message(_) => return Ok(document(entry).map(IndexChange::Add)),
            Body::Recall { target, .. } | Body::Edit { target, .. } => *target,
            // Nobody is a member of a dissolved group.
            Body::System { code, .. } if code == "dissolved" => {
                return Ok(Some(IndexChange::RemoveConversation(entry.conversation)));
            }
            Body::React { .. } | Body::System { .. } => return Ok(None),
        };
        let found = self.log.entry(entry.conversation, target).await?;
        Ok(found.map(|(target, _)| match document(&target) {
            Some(document) => IndexChange::Replace(document),
            None => IndexChange::Remove {
                id: target.id,
                conversation: target.conversation,
                seq: target.seq,
            },
        }))
    }
}

/// What an index gets of an entry; `None` when there is nothing in it to search.
fn document(entry: &Entry) -> Option<Document> {
    let content = Content::from_stored(entry.message()?.content.as_deref()?.get())?;
    let texts: Vec<String> = content
        .searchable()
        .map(|(_, text)| text.to_owned())
        .collect();
    (!texts.is_empty()).then_some(Document {
        id: entry.id,
        conversation: entry.conversation,
        seq: entry.seq,
        from: entry.from,
        texts,
    })
}
