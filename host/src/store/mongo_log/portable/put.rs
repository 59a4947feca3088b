//! Rows from elsewhere as documents: entries and first answers each one of their own, conversations as their newest entry
//! leaves them, with a first commit from which their lanes go on. All of it by `_id`, so that a second time changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;
use mongodb::bson::{Bson, DateTime, Document, doc};

use super::super::Shared;
use super::super::docs::{
    self, answer_key_of, blob, damaged, get_blob, get_text, int, lane_of, row_id,
};
use super::super::feed::{FEED_TOKENS, cursor_id};
use super::super::lanes::lane_of_namespace;
use super::super::schema::{CONVERSATIONS, ENTRIES, FEED, KV, MEMBERS, META, ROWS};
use crate::conversation::{Conversation, Member};
use crate::entry::Seq;
use crate::ids::{ConversationId, UserId};
use crate::store::StoreError;
use crate::store::log::feed;
use crate::store::log::floor::Floor;
use crate::store::log::heads::State;
use crate::store::log::key;
use crate::store::log::kv_row::{KvRow, bytes};
use crate::store::log::rows::EntryRow;
use crate::store::mongo::Update;
use crate::store::portable::{Part, Place, Record, read_feed_key};

/// Conversations whose newest entries are asked for at once.
const AT_ONCE: usize = 16;
/// Items of one document of the feed.
const ITEMS_MOST: usize = 512;
/// What says which commits were moved in.
const MOVED: &str = "moved";

type Done = Result<(), StoreError>;

pub async fn take(shared: &Shared, part: Part, records: Vec<Record>, stamp: u64) -> Done {
    let put = Put { shared, stamp };
    match part {
        Part::Entries => put.all(ENTRIES, &records, |record| put.entry(record)).await,
        Part::Answers => {
            put.all(ENTRIES, &records, |record| put.answer(record))
                .await
        }
        Part::Floors => put.all(CONVERSATIONS, &records, floor).await,
        Part::Conversations => put.conversations(records).await,
        Part::Members => {
            put.all(MEMBERS, &records, |record| put.member(record))
                .await
        }
        Part::Rows => put.all(ROWS, &records, |record| put.row(record)).await,
        Part::Values => put.values(&records).await,
        Part::Feed => put.feed(&records).await,
        Part::Cursors => put.all(META, &records, |record| put.cursor(record)).await,
    }
}

fn id_in(key: &[u8], at: usize) -> Option<ConversationId> {
    let id = key.get(at..at + 16)?.try_into().ok()?;
    Some(ConversationId(u128::from_be_bytes(id)))
}

/// Sets fields of a document, which is made where it is missing.
fn set(filter: Document, fields: Document) -> Document {
    Update::upsert(filter, doc! {"$set": fields}).into_document()
}

fn floor(record: &Record) -> Option<Document> {
    let id = id_in(&record.key, 1)?;
    let fields = doc! {"floor": blob(&record.value)};
    Some(set(doc! {"_id": lane_of(id)}, fields))
}

struct Put<'a> {
    shared: &'a Shared,
    stamp: u64,
}

impl Put<'_> {
    async fn all(
        &self,
        table: &str,
        records: &[Record],
        document: impl Fn(&Record) -> Option<Document>,
    ) -> Done {
        let updates: Option<Vec<Document>> = records.iter().map(document).collect();
        let updates = updates.ok_or_else(|| damaged("a record that is moved"))?;
        self.update(table, updates).await
    }

    async fn update(&self, table: &str, updates: Vec<Document>) -> Done {
        if updates.is_empty() {
            return Ok(());
        }
        self.shared.mongo.update(table, updates).await.map(drop)
    }

    fn entry(&self, record: &Record) -> Option<Document> {
        let (id, seq) = (id_in(&record.key, 0)?, key::seq_of(&record.key)?);
        let lane = lane_of(id);
        let at_ms = EntryRow::decode_time(&record.value).ok()?;
        let fields = doc! {
            "seq": int(seq),
            "at": DateTime::from_millis(at_ms as i64),
            "row": blob(&record.value),
            "v": int(self.stamp),
        };
        Some(set(
            doc! {"_id": docs::further_id(&lane, seq), "c": lane},
            fields,
        ))
    }

    fn answer(&self, record: &Record) -> Option<Document> {
        let (lane, name) = answer_key_of(&record.key)?;
        let filter = doc! {"_id": format!("{lane}a{name}"), "c": lane};
        let fields = doc! {"k": name, "a": blob(&record.value), "av": int(self.stamp)};
        Some(set(filter, fields))
    }

    fn member(&self, record: &Record) -> Option<Document> {
        let id = id_in(&record.key, 1)?;
        let user = u64::from_be_bytes(record.key.get(17..)?.try_into().ok()?);
        let member: Member = rmp_serde::from_slice(&record.value).ok()?;
        let filter = doc! {
            "_id": docs::member_id(id, UserId(user)),
            "c": lane_of(id),
            "u": int(user),
        };
        let change = docs::member_change(None, &member, self.stamp);
        Some(Update::upsert(filter, change).into_document())
    }

    fn row(&self, record: &Record) -> Option<Document> {
        let fields = doc! {"s": int(self.stamp), "v": blob(&record.value)};
        Some(set(doc! {"_id": row_id(&record.key)}, fields))
    }

    fn cursor(&self, record: &Record) -> Option<Document> {
        let name = std::str::from_utf8(&record.key).ok()?;
        let at = match Place::decode(&record.value).ok()? {
            Place::Behind { records: 0, .. } => String::new(),
            Place::Behind { records, .. } => {
                docs::token(self.shared.instance | FEED_TOKENS, records)
            }
            Place::Text(text) => text,
        };
        Some(set(doc! {"_id": cursor_id(name)}, doc! {"at": at}))
    }

    /// The commit from which a lane goes on: what comes is numbered and stamped behind it.
    fn commit(&self, lane: &str) -> Document {
        let filter = doc! {"_id": docs::commit_id(lane, 1), "c": lane};
        let fields = doc! {"n": 1_i64, "s": int(self.stamp), "by": MOVED};
        set(filter, fields)
    }

    async fn values(&self, records: &[Record]) -> Done {
        let mut namespaces = BTreeSet::new();
        let mut updates = Vec::new();
        for record in records {
            let names = names_of(&record.key).ok_or_else(|| damaged("a plugin's key"))?;
            let (namespace, name) = names;
            let row = KvRow::decode(&record.value)?;
            let filter = doc! {"_id": format!("{namespace}\n{name}"), "ns": namespace, "key": name};
            let fields = doc! {
                "s": int(row.version),
                "e": int(row.expires_at),
                "size": int(bytes(name, &row.value)),
                "v": blob(&row.value),
                "old": Bson::Array(Vec::new()),
            };
            updates.push(set(filter, fields));
            namespaces.insert(lane_of_namespace(namespace));
        }
        self.update(KV, updates).await?;
        let commits = namespaces.iter().map(|lane| self.commit(lane));
        self.update(ENTRIES, commits.collect()).await
    }

    async fn feed(&self, records: &[Record]) -> Done {
        let mut documents = Vec::new();
        for records in records.chunks(ITEMS_MOST) {
            let mut items = Vec::new();
            let mut numbers = (0, 0);
            for record in records {
                let (number, key) = read_feed_key(&record.key)?;
                let row = feed::Row::read(key, &record.value);
                let row = row.ok_or_else(|| damaged("a row of the feed"))?;
                numbers = (if items.is_empty() { number } else { numbers.0 }, number);
                items.push(doc! {
                    "i": format!("{MOVED}{number:016x}.0"),
                    "k": row.told as i32,
                    "c": lane_of(row.conversation),
                    "q": int(row.seq),
                    "s": int(row.stamp),
                });
            }
            let fields = doc! {"last": int(numbers.1), "items": items};
            documents.push(set(doc! {"_id": int(numbers.0)}, fields));
        }
        self.update(FEED, documents).await
    }

    async fn conversations(&self, records: Vec<Record>) -> Done {
        let mut found = Vec::new();
        for record in &records {
            let row: Result<(Conversation, u64), _> = rmp_serde::from_slice(&record.value);
            found.push(row.map_err(|_| damaged("a conversation"))?);
        }
        let lanes: Vec<String> = found.iter().map(|(one, _)| lane_of(one.id)).collect();
        let filter = doc! {"_id": {"$in": &lanes}};
        let floors = self.shared.mongo.find(CONVERSATIONS, filter, doc! {}, 0);
        let mut floors: BTreeMap<String, Floor> =
            floors.await?.iter().filter_map(floor_of).collect();
        let states = found.into_iter().map(|(conversation, changed)| {
            let floor = floors.remove(&lane_of(conversation.id));
            self.state(conversation, changed, floor.unwrap_or_default())
        });
        let states: Vec<_> = futures_util::stream::iter(states.collect::<Vec<_>>())
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut updates = Vec::new();
        for state in states {
            let state: State = state?;
            let mut fields = docs::state_fields(&state);
            fields.insert("s", int(self.stamp));
            fields.insert("moved", int(self.stamp));
            updates.push(set(doc! {"_id": lane_of(state.conversation.id)}, fields));
        }
        self.update(CONVERSATIONS, updates).await?;
        let commits = lanes.iter().map(|lane| self.commit(lane));
        self.update(ENTRIES, commits.collect()).await
    }

    /// What its newest entry, or where its log begins, leaves of a conversation.
    async fn state(
        &self,
        conversation: Conversation,
        changed: u64,
        floor: Floor,
    ) -> Result<State, StoreError> {
        let id = conversation.id;
        let newest = self.newest(id).await?;
        let header = newest.as_ref().map_or(floor.header, |row| row.header);
        let last_message = match header.last_message {
            0 => None,
            seq => self.one(id, seq).await?.map(|row| row.entry),
        };
        let of_newest = |of: fn(&EntryRow) -> u64, floor| newest.as_ref().map_or(floor, of);
        Ok(State {
            conversation: Arc::new(conversation),
            changed,
            head: of_newest(|row| row.entry.seq, floor.seq - 1),
            head_id: of_newest(|row| row.entry.id.0, floor.id),
            generation: of_newest(|row| row.record.generation, floor.generation),
            header,
            floor,
            last_message,
            members: Vec::new(),
        })
    }

    async fn newest(&self, id: ConversationId) -> Result<Option<EntryRow>, StoreError> {
        let filter = doc! {"c": lane_of(id), "seq": {"$gt": 0_i64}, "row": {"$exists": true}};
        let mongo = &self.shared.mongo;
        let found = mongo.find(ENTRIES, filter, doc! {"seq": -1}, 1).await?;
        found.first().map(docs::entry_of).transpose()
    }

    async fn one(&self, id: ConversationId, seq: Seq) -> Result<Option<EntryRow>, StoreError> {
        let filter = super::super::engine::entry_filter(id, seq);
        let found = self.shared.mongo.find_one(ENTRIES, filter).await?;
        found.as_ref().map(docs::entry_of).transpose()
    }
}

fn floor_of(document: &Document) -> Option<(String, Floor)> {
    let floor = Floor::decode(get_blob(document, "floor")?).ok()?;
    Some((get_text(document, "_id")?.to_owned(), floor))
}

fn names_of(key: &[u8]) -> Option<(&str, &str)> {
    let at = key.iter().position(|byte| *byte == 0)?;
    let namespace = std::str::from_utf8(key.get(1..at)?).ok()?;
    Some((namespace, std::str::from_utf8(key.get(at + 1..)?).ok()?))
}
