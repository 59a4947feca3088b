//! The feed: commits of all lanes in places without gaps. A node takes the place after the newest document for all it has to
//! tell, the `_id` settles races between nodes, and a unique index sees that each commit is told once, whoever tells it. No
//! place is ever filled later than one after it, so a cursor skips nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mongodb::bson::{Bson, Document, doc};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::docs::{self, damaged, get_int, get_text, int};
use super::schema::{ENTRIES, FEED, META};
use super::{MongoLog, Shared};
use crate::entry::Seq;
use crate::ids::ConversationId;
use crate::store::StoreError;
use crate::store::feed::{Feed, FeedItem, FeedPage, FeedPosition};
use crate::store::log::feed::Told;
use crate::store::mongo::{Mongo, Update};

/// Runs that may wait to be told (I5).
const WAITING: usize = 1_024;
/// Items of one document.
const ITEMS_MOST: usize = 512;
/// After so long the feed is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// Places whose time is remembered.
const MARKS_MOST: usize = 4_096;
/// Documents looked at for one page.
const PAGE_DOCUMENTS: usize = 256;
/// Tells apart a place in the feed and a sync token of the same database.
pub const FEED_TOKENS: u64 = 1 << 63;

/// A commit that is projected, as the feed is told of it.
pub struct Commit {
    id: String,
    lane: String,
    items: Vec<Bson>,
}

impl Commit {
    pub fn of(document: &Document) -> Self {
        let text = |field| get_text(document, field).unwrap_or_default().to_owned();
        Self {
            id: text("_id"),
            lane: text("c"),
            items: document.get_array("f").cloned().unwrap_or_default(),
        }
    }
}

/// What the telling task takes in.
pub enum Tell {
    Commits(Vec<Commit>),
    /// Answered when everything before it was told.
    Flush(oneshot::Sender<()>),
}

/// Takes in what is to be told.
pub struct Teller {
    sender: mpsc::Sender<Tell>,
    /// The newest place this node knows of.
    newest: AtomicU64,
    commits: watch::Sender<u64>,
    /// When places came to be known here, the newest of them.
    marks: Mutex<VecDeque<(u64, Instant)>>,
}

impl Teller {
    pub async fn begin(mongo: &Mongo) -> Result<(Self, mpsc::Receiver<Tell>), StoreError> {
        let newest = newest(mongo).await?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let teller = Self {
            sender,
            newest: AtomicU64::new(newest),
            commits: watch::Sender::new(newest),
            marks: Mutex::default(),
        };
        Ok((teller, receiver))
    }

    /// Has commits told, in this order. Waits while too much waits already.
    pub async fn tell(&self, commits: Vec<Commit>) {
        // Once the log has ended, another node tells them.
        let _ = self.sender.send(Tell::Commits(commits)).await;
    }

    /// Waits until what was taken in before is told.
    pub async fn flush(&self) {
        let (sender, told) = oneshot::channel();
        if self.sender.send(Tell::Flush(sender)).await.is_ok() {
            let _ = told.await;
        }
    }

    /// How much earlier than the newest place the first one behind another was told.
    pub fn behind_ms(&self, place: u64) -> u64 {
        let marks = self.marks.lock();
        let first = marks.iter().find(|(mark, _)| *mark > place);
        let (Some((_, first)), Some((_, last))) = (first, marks.back()) else {
            return 0;
        };
        let behind = last.saturating_duration_since(*first).as_millis();
        u64::try_from(behind).unwrap_or(u64::MAX)
    }

    fn mark(&self, newest: u64) {
        let mut marks = self.marks.lock();
        if marks.back().is_none_or(|(last, _)| *last < newest) {
            marks.push_back((newest, Instant::now()));
        }
        if marks.len() > MARKS_MOST {
            marks.pop_front();
        }
    }

    fn saw(&self, newest: u64) {
        self.mark(newest);
        self.newest.fetch_max(newest, Ordering::AcqRel);
        self.commits.send_if_modified(|known| {
            let newer = newest > *known;
            *known = newest.max(*known);
            newer
        });
    }

    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }
}

async fn newest(mongo: &Mongo) -> Result<u64, StoreError> {
    let asked = (doc! {"_id": -1}, 1, doc! {"last": 1});
    let found = mongo.find_fields(FEED, doc! {}, asked).await?;
    Ok(found
        .first()
        .and_then(|last| get_int(last, "last"))
        .unwrap_or(0))
}

/// Tells what is taken in, as much at once as there is, until the log ends.
pub async fn tell(shared: Arc<Shared>, mut taken: mpsc::Receiver<Tell>) {
    let mut runs = Vec::new();
    while taken.recv_many(&mut runs, WAITING).await > 0 {
        let (mut commits, mut flushed) = (Vec::new(), Vec::new());
        for tell in runs.drain(..) {
            match tell {
                Tell::Commits(more) => commits.extend(more),
                Tell::Flush(done) => flushed.push(done),
            }
        }
        // Nothing later is told before them. Once the log is closed, another node comes to them.
        while let Err(error) = shared.tell_now(&commits).await {
            tracing::warn!(%error, "commits are not in the feed yet");
            if shared.lanes.is_closed() {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}

impl Shared {
    async fn tell_now(&self, commits: &[Commit]) -> Result<(), StoreError> {
        let mut items: Vec<Bson> = Vec::new();
        for commit in commits {
            items.extend(commit.items.iter().cloned());
        }
        let mut head = self.teller.newest();
        while !items.is_empty() {
            let count = items.len().min(ITEMS_MOST);
            let last = head + count as u64;
            let document = doc! {
                "_id": int(head + 1),
                "last": int(last),
                "items": items[..count].to_vec(),
            };
            let written = self.mongo.insert(FEED, &[document], true).await;
            if written.is_ok_and(|written| written.duplicates.is_empty()) {
                head = last;
                items.drain(..count);
                self.teller.saw(head);
                continue;
            }
            // Another node was here, some of it was told already, or nobody knows.
            let told = self.told_already(&items).await?;
            items.retain(|item| !told.contains(place_of(item).unwrap_or_default()));
            head = newest(&self.mongo).await?;
            self.teller.saw(head);
        }
        let close = commits.iter().map(|commit| {
            let filter = doc! {"_id": &commit.id, "c": &commit.lane};
            let fields = doc! {"open": "", "w": "", "f": "", "u": "", "ns": "", "h": "", "m": ""};
            Update::one(filter, doc! {"$unset": fields}).into_document()
        });
        let close: Vec<Document> = close.collect();
        if !close.is_empty() {
            self.mongo.update(ENTRIES, close).await?;
        }
        Ok(())
    }

    async fn told_already(&self, items: &[Bson]) -> Result<BTreeSet<String>, StoreError> {
        let places: Vec<&str> = items.iter().filter_map(place_of).collect();
        let asked = (doc! {"_id": 1}, 0, doc! {"items.i": 1});
        let filter = doc! {"items.i": {"$in": places}};
        let found = self.mongo.find_fields(FEED, filter, asked).await?;
        let items = found
            .iter()
            .filter_map(|document| document.get_array("items").ok());
        Ok(items
            .flatten()
            .filter_map(place_of)
            .map(str::to_owned)
            .collect())
    }

    /// Looks whether other nodes have told something.
    pub async fn look_for_news(&self) -> Result<(), StoreError> {
        let newest = newest(&self.mongo).await?;
        self.teller.saw(newest);
        Ok(())
    }
}

fn place_of(item: &Bson) -> Option<&str> {
    get_text(item.as_document()?, "i")
}

/// An item with its place.
#[derive(Debug, Clone, Copy)]
pub struct Placed {
    pub place: u64,
    pub told: Told,
    pub conversation: ConversationId,
    pub seq: Seq,
}

pub fn placed(document: &Document) -> Result<Vec<Placed>, StoreError> {
    let read = || {
        let first = get_int(document, "_id")?;
        let items = document.get_array("items").ok()?;
        let places = items.iter().zip(first..);
        places
            .map(|(item, place)| {
                let item = item.as_document()?;
                Some(Placed {
                    place,
                    told: Told::from_stored(u8::try_from(get_int(item, "k")?).ok()?)?,
                    conversation: get_text(item, "c")?.parse().ok()?,
                    seq: get_int(item, "q")?,
                })
            })
            .collect::<Option<Vec<_>>>()
    };
    read().ok_or_else(|| damaged("a stretch of the feed"))
}

impl Shared {
    /// Items behind a place, at most `limit`, and whether there are more.
    async fn items_after(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<Placed>, bool), StoreError> {
        let filter = doc! {"last": {"$gt": int(after)}};
        let documents = limit.clamp(1, PAGE_DOCUMENTS) + 1;
        let found = self
            .mongo
            .find(FEED, filter, doc! {"_id": 1}, documents)
            .await?;
        let full = found.len() == documents;
        let (mut items, mut next) = (Vec::new(), after + 1);
        for document in &found {
            for item in placed(document)? {
                if item.place == next {
                    items.push(item);
                    next += 1;
                }
            }
        }
        let more = full || items.len() > limit;
        items.truncate(limit);
        Ok((items, more))
    }

    /// Items before a place, newest first, at most `limit`, and whether there are earlier ones.
    pub async fn items_before(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<(Vec<Placed>, bool), StoreError> {
        let filter = doc! {"_id": {"$lt": Bson::Int64(i64::try_from(before).unwrap_or(i64::MAX))}};
        let documents = limit.clamp(1, PAGE_DOCUMENTS) + 1;
        let found = self
            .mongo
            .find(FEED, filter, doc! {"_id": -1}, documents)
            .await?;
        let full = found.len() == documents;
        let mut items = Vec::new();
        for document in &found {
            let of_document = placed(document)?;
            let earlier = of_document.into_iter().rev();
            items.extend(earlier.filter(|item| item.place < before));
        }
        let more = full || items.len() > limit;
        items.truncate(limit);
        Ok((items, more))
    }

    /// Entries that are still kept, of many conversations at once, as documents by their place.
    pub async fn entries_at(
        &self,
        items: &[Placed],
    ) -> Result<BTreeMap<(ConversationId, Seq), Document>, StoreError> {
        let mut of_lane: BTreeMap<ConversationId, Vec<Bson>> = BTreeMap::new();
        for item in items.iter().filter(|item| item.told == Told::Entry) {
            let seqs = of_lane.entry(item.conversation).or_default();
            seqs.push(int(item.seq));
        }
        if of_lane.is_empty() {
            return Ok(BTreeMap::new());
        }
        let lanes: Vec<Document> = of_lane
            .into_iter()
            .map(|(id, seqs)| doc! {"c": docs::lane_of(id), "seq": {"$in": seqs}})
            .collect();
        let filter = doc! {"$or": lanes, "row": {"$exists": true}};
        let found = self.mongo.find(ENTRIES, filter, doc! {}, 0).await?;
        let mut entries = BTreeMap::new();
        for document in found {
            let seq = get_int(&document, "seq").ok_or_else(|| damaged("an entry"))?;
            entries.insert((docs::conversation_of(&document)?, seq), document);
        }
        Ok(entries)
    }

    async fn feed_page(&self, after: FeedPosition, limit: usize) -> Result<FeedPage, StoreError> {
        let mut page = FeedPage {
            items: Vec::new(),
            places: Vec::new(),
            next: after.clone(),
            more: false,
            reset: false,
        };
        let Some(place) = self.stamp_of(&after).await? else {
            page.reset = true;
            page.next = FeedPosition::default();
            return Ok(page);
        };
        let (items, more) = self.items_after(place, limit).await?;
        page.more = more;
        if let Some(last) = items.last() {
            page.next = self.feed_place(last.place);
        }
        let entries = self.entries_at(&items).await?;
        for item in items {
            let conversation = item.conversation;
            let told = match item.told {
                Told::Entry => match entries.get(&(conversation, item.seq)) {
                    Some(document) => FeedItem::Entry(docs::entry_of(document)?.entry),
                    None => continue,
                },
                Told::Erased => FeedItem::Erased {
                    conversation,
                    below: item.seq,
                },
                Told::Gone => FeedItem::Gone { conversation },
            };
            page.items.push(told);
            page.places.push(item.place);
        }
        Ok(page)
    }

    fn feed_place(&self, stamp: u64) -> FeedPosition {
        FeedPosition(docs::token(self.instance | FEED_TOKENS, stamp))
    }

    /// The place in a position; one this node has not heard of yet is looked for.
    async fn stamp_of(&self, at: &FeedPosition) -> Result<Option<u64>, StoreError> {
        let known = self.known_stamp(at);
        if known.is_none() && docs::read_token(&at.0).is_some() {
            self.look_for_news().await?;
            return Ok(self.known_stamp(at));
        }
        Ok(known)
    }

    fn known_stamp(&self, at: &FeedPosition) -> Option<u64> {
        if at.0.is_empty() {
            return Some(0);
        }
        let (instance, stamp) = docs::read_token(&at.0)?;
        let own = instance == self.instance | FEED_TOKENS;
        (own && stamp <= self.teller.newest()).then_some(stamp)
    }
}

#[async_trait]
impl Feed for MongoLog {
    async fn feed(&self, after: &FeedPosition, limit: usize) -> Result<FeedPage, StoreError> {
        let after = after.clone();
        self.on(move |shared| async move { shared.feed_page(after, limit).await })
            .await
    }

    fn place(&self, stamp: u64) -> FeedPosition {
        self.shared.feed_place(stamp)
    }

    fn stamp(&self, at: &FeedPosition) -> Option<u64> {
        self.shared.known_stamp(at)
    }

    async fn feed_before(&self, at: &FeedPosition, items: u64) -> Result<FeedPosition, StoreError> {
        // Places have no gaps: counting is enough.
        let stamp = self.shared.known_stamp(at).unwrap_or_default();
        Ok(match stamp.saturating_sub(items) {
            0 => FeedPosition::default(),
            stamp => self.shared.feed_place(stamp),
        })
    }

    fn feed_end(&self) -> FeedPosition {
        self.shared.feed_place(self.shared.teller.newest())
    }

    async fn feed_length(&self) -> Result<u64, StoreError> {
        Ok(self.shared.teller.newest())
    }

    async fn cursor(&self, consumer: &str) -> Result<Option<FeedPosition>, StoreError> {
        let id = cursor_id(consumer);
        self.on(move |shared| async move {
            let found = shared.mongo.find_one(META, doc! {"_id": id}).await?;
            let at = found.and_then(|found| get_text(&found, "at").map(str::to_owned));
            Ok(at.map(FeedPosition))
        })
        .await
    }

    async fn move_cursor(
        &self,
        consumer: &str,
        from: Option<&FeedPosition>,
        to: &FeedPosition,
    ) -> Result<bool, StoreError> {
        let (id, to) = (cursor_id(consumer), to.0.clone());
        let from = from.map(|from| from.0.clone());
        self.on(move |shared| async move {
            let Some(from) = from else {
                let first = doc! {"_id": id, "at": to};
                return Ok(shared.mongo.insert(META, &[first], true).await?.count == 1);
            };
            let stands = doc! {"_id": id, "at": from};
            let update = Update::one(stands, doc! {"$set": {"at": to}});
            let moved = shared
                .mongo
                .update(META, vec![update.into_document()])
                .await?;
            Ok(moved.count == 1)
        })
        .await
    }

    fn commits(&self) -> watch::Receiver<u64> {
        self.shared.teller.commits.subscribe()
    }
}

/// Where a consumer's place is kept.
pub fn cursor_id(consumer: &str) -> String {
    format!("cursor:{consumer}")
}
