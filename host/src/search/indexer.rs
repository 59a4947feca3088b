//! The one task that keeps an index up to date: follows the feed, turns what was committed into changes of the index,
//! commits them with the place it has come to. It waits for commits, gathers for a moment, and never asks the log for
//! more than a page at a time, so that the message path does not notice it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

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
const COMMIT_ITEMS: usize = 50_000;
const COMMIT_BYTES: usize = 16 * 1024 * 1024;
/// How long what was committed is gathered before it is looked at, so that it is still in memory then.
const GATHER: Duration = Duration::from_millis(300);
/// After a round of so many items the index does not commit at once: fewer, larger commits of it under load.
const BUSY_ITEMS: u64 = 700;
/// Under load, or when it never catches up, an index still shows what it has this often.
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
    /// Whether this node writes the index. Of several nodes one does; should two believe it for a moment, the index is the
    /// later one's.
    pub turn: watch::Receiver<bool>,
}

/// Of a node that is alone.
pub fn always() -> watch::Receiver<bool> {
    watch::Sender::new(true).subscribe()
}

/// What was applied to the index and not committed.
struct Pending {
    any: bool,
    items: usize,
    bytes: usize,
    /// When it was committed last.
    since: tokio::time::Instant,
}

impl Default for Pending {
    fn default() -> Self {
        Self {
            any: false,
            items: 0,
            bytes: 0,
            since: tokio::time::Instant::now(),
        }
    }
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
        let mut turn = self.turn.clone();
        loop {
            if !*turn.borrow_and_update() {
                self.stand_by(&mut turn).await;
            }
            let began = tokio::time::Instant::now();
            let trouble = tokio::select! {
                trouble = self.follow() => trouble,
                () = is(&mut turn, false) => continue,
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

    /// Lets the index be asked while another node writes it, until it is this one's turn.
    async fn stand_by(&self, turn: &mut watch::Receiver<bool>) {
        loop {
            match self.is_followed().await {
                Ok(true) => self.serving.enter(Phase::Ready),
                Ok(false) => self.serving.enter(Phase::Behind),
                Err(_) => self.serving.enter(Phase::Down),
            }
            tokio::select! {
                () = is(turn, true) => return,
                () = self.serving.damage.notified() => {}
                () = tokio::time::sleep(CHECK) => {}
            }
        }
    }

    /// Whether what another node writes has been brought up to date; afterwards it is, however far behind it falls.
    async fn is_followed(&self) -> Result<bool, IndexError> {
        let position = self.serving.engine.look().await?;
        self.serving.engine.check().await?;
        let position = position.unwrap_or_default();
        let reaches = *self.feed.commits().borrow();
        let page = self.feed.feed(&position, PAGE).await?;
        if page.items.is_empty() && !page.reset {
            self.serving.reached.send_replace(reaches);
        } else if let Some(stamp) = page.places.first() {
            // Everything before it is in the index.
            self.serving.reached.send_replace(stamp.saturating_sub(1));
        }
        Ok(self.serving.phase() == Phase::Ready || !page.more && !page.reset)
    }

    /// Follows until there is trouble.
    async fn follow(&self) -> IndexError {
        let engine = &self.serving.engine;
        let mut commits = self.feed.commits();
        let mut position = match engine.open().await {
            Ok(position) => position.unwrap_or_default(),
            Err(error) => return error.into(),
        };
        let mut pending = Pending::default();
        if self.serving.phase() == Phase::Down {
            self.serving.enter(Phase::Behind);
        }
        let mut looked = tokio::time::Instant::now();
        loop {
            let reaches = *commits.borrow_and_update();
            let mut read = 0;
            let mut count = |items, _| read = items;
            position = match self.read_on(position, &mut pending, &mut count).await {
                Ok(position) => position,
                Err(trouble) => return trouble,
            };
            let due = read < BUSY_ITEMS || pending.since.elapsed() >= COMMIT_EVERY;
            if pending.any
                && due
                && let Err(error) = self.commit(&position, &mut pending).await
            {
                return error.into();
            }
            if pending.any {
                tokio::time::sleep(GATHER).await;
                continue;
            }
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
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Follows the feed to its end and commits; the place it has come to.
    async fn catch_up(
        &self,
        from: FeedPosition,
        progress: Progress<'_>,
    ) -> Result<FeedPosition, IndexError> {
        let mut pending = Pending::default();
        let position = self.read_on(from, &mut pending, progress).await?;
        if pending.any {
            self.commit(&position, &mut pending).await?;
        }
        Ok(position)
    }

    async fn commit(
        &self,
        position: &FeedPosition,
        pending: &mut Pending,
    ) -> Result<(), SearchError> {
        let now = self.clock.now_ms();
        self.serving.engine.commit(position, now).await?;
        *pending = Pending::default();
        Ok(())
    }

    /// Follows the feed to its end, and commits where more waits than may; the place it has come to.
    async fn read_on(
        &self,
        from: FeedPosition,
        pending: &mut Pending,
        progress: Progress<'_>,
    ) -> Result<FeedPosition, IndexError> {
        let engine = &self.serving.engine;
        let total = self.feed.feed_length().await?;
        let (mut position, mut items) = (from, 0);
        loop {
            let page = self.feed.feed(&position, PAGE).await?;
            if page.reset {
                tracing::warn!(
                    "the index was made of another log, or of a later one: it is made anew"
                );
                self.serving.enter(Phase::Behind);
                engine.clear().await?;
                position = page.next;
                *pending = Pending::default();
                continue;
            }
            pending.any |= page.next != position;
            let changes = self.changes(&page.items).await?;
            pending.items += page.items.len();
            items += page.items.len() as u64;
            pending.bytes += changes.iter().map(IndexChange::bytes).sum::<usize>();
            if !changes.is_empty() {
                engine.apply(changes).await?;
            }
            position = page.next;
            let often = pending.items >= COMMIT_ITEMS
                || pending.bytes >= COMMIT_BYTES
                || self.serving.phase() == Phase::Ready && pending.since.elapsed() >= COMMIT_EVERY;
            if pending.any && often {
                self.commit(&position, pending).await?;
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

/// Returns once it is so; never where nobody says any more.
async fn is(turn: &mut watch::Receiver<bool>, wanted: bool) {
    if turn.wait_for(|turn| *turn == wanted).await.is_err() {
        std::future::pending().await
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
