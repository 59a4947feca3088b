//! Reading the log through: documents page by page, in the order of an index, as the rows they stand for. What was committed
//! behind the stamp is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use mongodb::bson::{Bson, DateTime, Document, doc};
use tokio::runtime::Handle;

use super::super::Shared;
use super::super::docs::{
    self, conversation_of, damaged, get_blob, get_int, get_text, int, lane_of, row_key,
};
use super::super::schema::{CONVERSATIONS, ENTRIES, FEED, KV, MEMBERS, ROWS};
use super::told::Told;
use crate::ids::{ConversationId, EntryId, UserId};
use crate::store::StoreError;
use crate::store::log::answers::{AnswerRow, StoredAnswer};
use crate::store::log::floor::Floor;
use crate::store::log::key;
use crate::store::log::kv_row::KvRow;
use crate::store::portable::{LogReader, Part, Record, Stretch};

/// Documents of one page.
const PAGE: usize = 500;

/// A log that is read through.
pub struct Reading {
    shared: Arc<Shared>,
    handle: Handle,
    stamp: u64,
    about: u64,
    told: Told,
}

type Read = Result<Stretch<Record>, StoreError>;

/// Where a page begins, as it is written into a place.
fn place(parts: &[&str]) -> Option<Vec<u8>> {
    Some(parts.join("\0").into_bytes())
}

fn split(from: &[u8]) -> Result<(String, String), StoreError> {
    let text = std::str::from_utf8(from).map_err(|_| damaged("a place"))?;
    let (first, second) = text.split_once('\0').unwrap_or((text, ""));
    Ok((first.to_owned(), second.to_owned()))
}

impl Reading {
    pub async fn begin(shared: Arc<Shared>, handle: Handle) -> Result<Self, StoreError> {
        let stamp = shared.still().await?;
        let told = Told::begin(&shared).await?;
        let mut about = 0;
        for table in [ENTRIES, CONVERSATIONS, MEMBERS, ROWS, KV] {
            let collection = shared.mongo.collection(table);
            let counted = async { collection.estimated_document_count().await };
            about += shared.mongo.read(counted).await?;
        }
        about += told.newest();
        Ok(Self {
            shared,
            handle,
            stamp,
            about,
            told,
        })
    }
}

/// One page of a part.
async fn page(
    (shared, stamp): (&Shared, u64),
    told: &mut Told,
    (part, from): (Part, &[u8]),
) -> Read {
    let scan = Scan { shared, stamp };
    match part {
        Part::Entries => scan.entries(from).await,
        Part::Answers => scan.answers(from).await,
        Part::Floors => scan.conversations(from, true).await,
        Part::Conversations => scan.conversations(from, false).await,
        Part::Members => scan.members(from).await,
        Part::Rows => scan.rows(from).await,
        Part::Values => scan.values(from).await,
        Part::Feed => told.page(shared, stamp, from).await,
        Part::Cursors => Ok(Stretch::last(told.cursors(stamp))),
    }
}

#[async_trait]
impl LogReader for Reading {
    fn stamp(&self) -> u64 {
        self.stamp
    }

    fn about(&self) -> u64 {
        self.about
    }

    fn go_back(&mut self, stamp: u64) -> bool {
        let is_earlier = stamp <= self.stamp;
        if is_earlier {
            self.stamp = stamp;
        }
        is_earlier
    }

    async fn stretch(&mut self, part: Part, from: &[u8], _: usize) -> Read {
        let (shared, stamp, from) = (self.shared.clone(), self.stamp, from.to_vec());
        let mut told = self.told.clone();
        // Its connections live there.
        let read = self.handle.spawn(async move {
            let read = page((&shared, stamp), &mut told, (part, &from)).await;
            (read, told)
        });
        let (read, told) = read.await.map_err(super::super::ended)?;
        self.told = told;
        read
    }
}

pub struct Scan<'a> {
    pub shared: &'a Shared,
    pub stamp: u64,
}

impl Scan<'_> {
    /// Documents of `ENTRIES` that have a field, by lane and that field: those of one lane from a value on, then others.
    async fn by_lane(
        &self,
        (lane, from): (&str, Bson),
        field: &str,
        more: &Document,
    ) -> Result<Vec<Document>, StoreError> {
        let mongo = &self.shared.mongo;
        let order = doc! {"c": 1, field: 1};
        let mut found = Vec::new();
        if !lane.is_empty() {
            let mut filter = doc! {"c": lane, field: {"$gt": from}};
            filter.extend(more.clone());
            found = mongo.find(ENTRIES, filter, order.clone(), PAGE).await?;
        }
        if found.len() < PAGE {
            let mut filter = doc! {"c": {"$gt": lane}, field: {"$exists": true}};
            filter.extend(more.clone());
            let left = PAGE - found.len();
            found.extend(mongo.find(ENTRIES, filter, order, left).await?);
        }
        Ok(found)
    }

    async fn entries(&self, from: &[u8]) -> Read {
        let (lane, seq) = split(from)?;
        let seq = Bson::Int64(seq.parse().unwrap_or_default());
        let cut = EntryId(self.stamp).at_ms();
        let until = DateTime::from_millis(cut as i64);
        let kept = doc! {"row": {"$exists": true}, "at": {"$lte": until}};
        let found = self.by_lane((&lane, seq), "seq", &kept).await?;
        let next = found.last().filter(|_| found.len() == PAGE);
        let next = next.and_then(|last| {
            let seq = get_int(last, "seq")?.to_string();
            place(&[get_text(last, "c")?, &seq])
        });
        let mut records = Vec::new();
        for document in &found {
            let read = || {
                let seq = get_int(document, "seq")?;
                Some((seq, get_blob(document, "row")?.to_vec()))
            };
            let (seq, value) = read().ok_or_else(|| damaged("an entry"))?;
            let key = key::entry(conversation_of(document)?, seq).to_vec();
            records.push(Record { key, value });
        }
        Ok(Stretch { records, next })
    }

    async fn answers(&self, from: &[u8]) -> Read {
        let (lane, name) = split(from)?;
        let kept = doc! {"a": {"$exists": true}};
        let found = self
            .by_lane((&lane, Bson::String(name)), "k", &kept)
            .await?;
        let next = found.last().filter(|_| found.len() == PAGE);
        let next = next.and_then(|last| place(&[get_text(last, "c")?, get_text(last, "k")?]));
        let mut records = Vec::new();
        for document in &found {
            let value = get_blob(document, "a").ok_or_else(|| damaged("a first answer"))?;
            if given_at(&AnswerRow::decode(value)?) > self.stamp {
                continue;
            }
            let name = get_text(document, "k").and_then(|name| name.split_once(':'));
            let name = name.and_then(|(author, id)| Some((UserId(author.parse().ok()?), id)));
            let (author, client_id) = name.ok_or_else(|| damaged("a first answer's key"))?;
            records.push(Record {
                key: key::answer(conversation_of(document)?, author, client_id),
                value: value.to_vec(),
            });
        }
        Ok(Stretch { records, next })
    }

    /// A page of a collection by its `_id`, and where the next one begins.
    pub async fn by_id(
        &self,
        table: &str,
        from: &[u8],
        more: Document,
    ) -> Result<(Vec<Document>, Option<Vec<u8>>), StoreError> {
        let from = std::str::from_utf8(from).map_err(|_| damaged("a place"))?;
        let mut filter = doc! {"_id": {"$gt": from}};
        filter.extend(more);
        let found = self
            .shared
            .mongo
            .find(table, filter, doc! {"_id": 1}, PAGE)
            .await?;
        let last = found.last().filter(|_| found.len() == PAGE);
        let next = last.and_then(|last| Some(get_text(last, "_id")?.as_bytes().to_vec()));
        Ok((found, next))
    }

    async fn conversations(&self, from: &[u8], floors: bool) -> Read {
        let (found, next) = self.by_id(CONVERSATIONS, from, doc! {}).await?;
        let mut records = Vec::new();
        for document in &found {
            let state = docs::stored(document)?.state;
            let id = state.conversation.id;
            if floors {
                if state.floor != Floor::default() {
                    let (key, value) = (key::floor(id), state.floor.encode());
                    records.push(Record { key, value });
                }
                continue;
            }
            let is_new = state.head_id > self.stamp && state.floor == Floor::default();
            if is_new && self.head(id).await?.is_none() {
                continue;
            }
            let row = rmp_serde::to_vec_named(&(&*state.conversation, state.changed));
            let value = row.map_err(|_| damaged("a conversation"))?;
            let key = key::conversation(id);
            records.push(Record { key, value });
        }
        Ok(Stretch { records, next })
    }

    async fn members(&self, from: &[u8]) -> Read {
        let (found, next) = self.by_id(MEMBERS, from, doc! {}).await?;
        let lanes: BTreeSet<ConversationId> = found
            .iter()
            .map(conversation_of)
            .collect::<Result<_, _>>()?;
        let heads = self.moved_on(&lanes).await?;
        let mut records = Vec::new();
        for document in &found {
            let (id, user) = (conversation_of(document)?, docs::user_of(document)?);
            let member = docs::member(document)?;
            let Some(member) = super::members::as_of(member, heads.get(&id), self.stamp) else {
                continue;
            };
            let mut value = Vec::new();
            let written = rmp_serde::encode::write(&mut value, &member);
            written.map_err(|_| damaged("a member"))?;
            let key = key::member(id, user).to_vec();
            records.push(Record { key, value });
        }
        Ok(Stretch { records, next })
    }

    async fn rows(&self, from: &[u8]) -> Read {
        let kept = doc! {"v": {"$ne": null}, "s": {"$lte": int(self.stamp)}};
        let (found, next) = self.by_id(ROWS, from, kept).await?;
        let record = |document: &Document| {
            Some(Record {
                key: row_key(get_text(document, "_id")?)?,
                value: get_blob(document, "v")?.to_vec(),
            })
        };
        let records: Option<Vec<Record>> = found.iter().map(record).collect();
        let records = records.ok_or_else(|| damaged("a row"))?;
        Ok(Stretch { records, next })
    }

    async fn values(&self, from: &[u8]) -> Read {
        let (found, next) = self.by_id(KV, from, doc! {}).await?;
        let mut records = Vec::new();
        for document in &found {
            let names = (get_text(document, "ns"), get_text(document, "key"));
            let (Some(namespace), Some(name)) = names else {
                return Err(damaged("a plugin's value"));
            };
            let older = document.get_array("old").map(Vec::as_slice);
            let older = older
                .unwrap_or_default()
                .iter()
                .filter_map(Bson::as_document);
            let mut versions = std::iter::once(document).chain(older);
            let is_in = |row: &&Document| get_int(row, "s").is_some_and(|s| s <= self.stamp);
            let Some(version) = versions.find(is_in) else {
                continue;
            };
            let Some(value) = get_blob(version, "v") else {
                continue;
            };
            let row = KvRow {
                version: get_int(version, "s").unwrap_or_default(),
                expires_at: get_int(version, "e").unwrap_or_default(),
                value: value.to_vec(),
            };
            let key = key::kv(namespace, name);
            let value = row.encode();
            records.push(Record { key, value });
        }
        Ok(Stretch { records, next })
    }

    /// The newest entry of a conversation up to the stamp.
    pub async fn head(&self, id: ConversationId) -> Result<Option<Document>, StoreError> {
        let until = DateTime::from_millis(EntryId(self.stamp).at_ms() as i64);
        let filter = doc! {
            "c": lane_of(id),
            "seq": {"$gt": 0_i64},
            "row": {"$exists": true},
            "at": {"$lte": until},
        };
        let mongo = &self.shared.mongo;
        let found = mongo.find(ENTRIES, filter, doc! {"seq": -1}, 1).await?;
        Ok(found.into_iter().next())
    }

    /// Of some conversations those that went on behind the stamp, with what was their head.
    async fn moved_on(
        &self,
        lanes: &BTreeSet<ConversationId>,
    ) -> Result<BTreeMap<ConversationId, super::members::Head>, StoreError> {
        let names: Vec<String> = lanes.iter().map(|id| lane_of(*id)).collect();
        let filter = doc! {"_id": {"$in": names}, "head_id": {"$gt": int(self.stamp)}};
        let found = self
            .shared
            .mongo
            .find(CONVERSATIONS, filter, doc! {}, 0)
            .await?;
        let mut heads = BTreeMap::new();
        for document in &found {
            let state = docs::stored(document)?.state;
            let id = state.conversation.id;
            let head = match self.head(id).await? {
                Some(entry) => {
                    let row = docs::entry_of(&entry)?;
                    (row.entry.seq, row.header.ordinal)
                }
                None => (state.floor.seq - 1, state.floor.header.ordinal),
            };
            heads.insert(id, head);
        }
        Ok(heads)
    }
}

/// The stamp at which an answer was given.
fn given_at(row: &AnswerRow) -> u64 {
    match &row.answer {
        StoredAnswer::Committed { id, .. } => id.0,
        StoredAnswer::Held(hold) => hold.0,
        StoredAnswer::Dropped { id }
        | StoredAnswer::Refused { id, .. }
        | StoredAnswer::Command { id, .. } => *id,
    }
}

/// How many documents the feed has, and which: by the places after one.
pub async fn feed_after(shared: &Shared, after: u64) -> Result<Vec<Document>, StoreError> {
    let filter = doc! {"last": {"$gt": int(after)}};
    shared.mongo.find(FEED, filter, doc! {"_id": 1}, 16).await
}
