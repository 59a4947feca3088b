//! Moving the embedded log: all of its rows as of one snapshot, and rows from elsewhere put where they belong. No change of
//! the log comes by here: whoever takes rows in has it to itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use fjall::{Keyspace, PersistMode, Readable, Snapshot};

use super::EmbeddedLog;
use super::committer::Shared;
use super::lists;
use super::tables::{Tables, damaged, unavailable};
use crate::ids::{ConversationId, UserId};
use crate::store::StoreError;
use crate::store::log::kv_row::{KvRow, bytes};
use crate::store::log::{feed, key};
use crate::store::portable::{
    LogReader, Moving, Part, Place, PortableLog, Record, Stretch, feed_key, read_feed_key,
};

/// Kinds of rows that have a part of their own, follow from others, or are this log's alone.
const ELSEWHERE: [u8; 8] = [
    key::CONVERSATION,
    key::FLOOR,
    key::MEMBER,
    key::MEMBERSHIP,
    key::META,
    key::KV,
    key::KV_USED,
    key::CURSOR,
];

/// Where an import notes how far it is.
fn moving_row() -> Vec<u8> {
    key::meta("moving")
}

/// A snapshot that is read through.
#[derive(Clone)]
struct Reading {
    tables: Tables,
    snapshot: Snapshot,
    stamp: u64,
    /// Consumers with the stamp each stands at, or the text it keeps instead.
    consumers: Vec<(String, Result<u64, String>)>,
    /// Records of the feed that each has behind it.
    behind: BTreeMap<String, u64>,
}

impl Reading {
    fn new(log: &EmbeddedLog) -> Result<Self, StoreError> {
        let tables = log.tables().clone();
        let snapshot = tables.database.snapshot();
        let stamp = snapshot.get(&tables.rows, key::meta("stamp"));
        let stamp = stamp.map_err(unavailable)?;
        let stamp = stamp.and_then(|bytes| <[u8; 8]>::try_from(&*bytes).ok());
        let mut consumers = Vec::new();
        for guard in snapshot.prefix(&tables.rows, [key::CURSOR]) {
            let (name, at) = guard.into_inner().map_err(unavailable)?;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
            let name = text(&name[1..]).map_err(|_| damaged("a consumer's name"))?;
            let at = text(&at).map_err(|_| damaged("a consumer's place"))?;
            let place = lists::stamp_of(log, &at).ok_or(at);
            consumers.push((name, place));
        }
        Ok(Self {
            stamp: stamp.map_or(0, u64::from_be_bytes),
            tables,
            snapshot,
            consumers,
            behind: BTreeMap::new(),
        })
    }

    fn stretch(&mut self, part: Part, from: &[u8], most: usize) -> Read {
        match part {
            Part::Entries => self.whole(&self.tables.entries, from, most),
            Part::Answers => self.whole(&self.tables.answers, from, most),
            Part::Floors => self.kind(key::FLOOR, from, most),
            Part::Conversations => self.kind(key::CONVERSATION, from, most),
            Part::Members => self.kind(key::MEMBER, from, most),
            Part::Rows => self.others(from, most),
            Part::Values => self.kind(key::KV, from, most),
            Part::Feed => self.feed(from, most),
            Part::Cursors => Ok(Stretch::last(self.cursors())),
        }
    }

    fn whole(&self, keyspace: &Keyspace, from: &[u8], most: usize) -> Read {
        let mut page = Page::new(most);
        for guard in self.snapshot.range(keyspace, from.to_vec()..) {
            let (key, value) = guard.into_inner().map_err(unavailable)?;
            if !page.put(&key, &value) {
                break;
            }
        }
        Ok(page.stretch)
    }

    fn kind(&self, kind: u8, from: &[u8], most: usize) -> Read {
        let from = if from.is_empty() { &[kind][..] } else { from };
        let mut page = Page::new(most);
        for guard in self
            .snapshot
            .range(&self.tables.rows, from.to_vec()..vec![kind + 1])
        {
            let (key, value) = guard.into_inner().map_err(unavailable)?;
            if !page.put(&key, &value) {
                break;
            }
        }
        Ok(page.stretch)
    }

    /// Rows of all kinds that have no part of their own, kind by kind.
    fn others(&self, from: &[u8], most: usize) -> Read {
        let first = from.first().copied().unwrap_or(0);
        let kinds = (first..=key::META).filter(|kind| !ELSEWHERE.contains(kind));
        let mut page = Page::new(most);
        for kind in kinds {
            let begin = if kind == first { from } else { &[] };
            let begin = if begin.is_empty() { &[kind][..] } else { begin };
            let range = begin.to_vec()..vec![kind + 1];
            for guard in self.snapshot.range(&self.tables.rows, range) {
                let (key, value) = guard.into_inner().map_err(unavailable)?;
                if !page.put(&key, &value) {
                    return Ok(page.stretch);
                }
            }
        }
        Ok(page.stretch)
    }

    /// Rows of the feed under numbers from 1 on; which of them each consumer has seen is counted by the way.
    fn feed(&mut self, from: &[u8], most: usize) -> Read {
        let (mut number, from) = match from.is_empty() {
            true => (1, &[][..]),
            false => read_feed_key(from)?,
        };
        let mut page = Page::new(most);
        for guard in self.snapshot.range(&self.tables.feed, from.to_vec()..) {
            let (row, value) = guard.into_inner().map_err(unavailable)?;
            let item = feed::Row::read(&row, &value).ok_or_else(|| damaged("a row of the feed"))?;
            if !page.put(&feed_key(number, &row), &value) {
                break;
            }
            for (name, at) in &self.consumers {
                if at.as_ref().is_ok_and(|stamp| item.stamp <= *stamp) {
                    self.behind.insert(name.clone(), number);
                }
            }
            number += 1;
        }
        Ok(page.stretch)
    }

    fn cursors(&self) -> Vec<Record> {
        let record = |(name, at): &(String, Result<u64, String>)| {
            let place = match at {
                Ok(stamp) => Place::Behind {
                    records: self.behind.get(name).copied().unwrap_or_default(),
                    stamp: *stamp,
                },
                Err(text) => Place::Text(text.clone()),
            };
            Record {
                key: name.as_bytes().to_vec(),
                value: place.encode(),
            }
        };
        self.consumers.iter().map(record).collect()
    }
}

type Read = Result<Stretch<Record>, StoreError>;

/// A stretch in the making.
struct Page {
    stretch: Stretch<Record>,
    left: usize,
}

impl Page {
    fn new(bytes: usize) -> Self {
        Self {
            stretch: Stretch::last(Vec::new()),
            left: bytes,
        }
    }

    /// Whether there was room; the first one always has it.
    fn put(&mut self, key: &[u8], value: &[u8]) -> bool {
        if self.left == 0 {
            self.stretch.next = Some(key.to_vec());
            return false;
        }
        self.left = self.left.saturating_sub(key.len() + value.len() + 8);
        self.stretch.records.push(Record {
            key: key.to_vec(),
            value: value.to_vec(),
        });
        true
    }
}

#[async_trait]
impl LogReader for Reading {
    fn stamp(&self) -> u64 {
        self.stamp
    }

    fn about(&self) -> u64 {
        let lengths = self.tables.all().map(Keyspace::approximate_len);
        lengths.iter().sum::<usize>() as u64
    }

    async fn stretch(
        &mut self,
        part: Part,
        from: &[u8],
        bytes: usize,
    ) -> Result<Stretch<Record>, StoreError> {
        let (mut reading, from) = (self.clone(), from.to_vec());
        let read = tokio::task::spawn_blocking(move || {
            let read = reading.stretch(part, &from, bytes);
            (read, reading.behind)
        });
        let (read, behind) = read.await.map_err(unavailable)?;
        self.behind = behind;
        read
    }
}

/// Puts records of one part where they belong.
fn take(
    shared: &Shared,
    instance: u64,
    (part, records): (Part, Vec<Record>),
) -> Result<(), StoreError> {
    let tables = &shared.tables;
    let mut batch = tables.database.batch();
    let mut used: BTreeMap<String, u64> = BTreeMap::new();
    for Record { key: place, value } in records {
        match part {
            Part::Entries => batch.insert(&tables.entries, place, value),
            Part::Answers => batch.insert(&tables.answers, place, value),
            Part::Feed => batch.insert(&tables.feed, read_feed_key(&place)?.1, value),
            Part::Floors | Part::Conversations | Part::Rows => {
                batch.insert(&tables.rows, place, value);
            }
            Part::Members => {
                let (user, conversation) =
                    member_of(&place).ok_or_else(|| damaged("a member's key"))?;
                let membership = key::membership(user, conversation);
                batch.insert(&tables.rows, membership, Vec::<u8>::new());
                batch.insert(&tables.rows, place, value);
            }
            Part::Values => {
                count(tables, &mut used, &place, &value)?;
                batch.insert(&tables.rows, place, value);
            }
            Part::Cursors => {
                let at = match Place::decode(&value)? {
                    Place::Behind { stamp, .. } => lists::token(instance, stamp),
                    Place::Text(text) => text,
                };
                let name = std::str::from_utf8(&place).map_err(|_| damaged("a consumer"))?;
                batch.insert(&tables.rows, key::cursor(name), at.as_bytes());
            }
        }
    }
    for (namespace, bytes) in used {
        let row = key::kv_used(&namespace);
        batch.insert(&tables.rows, row, bytes.to_be_bytes());
    }
    batch.commit().map_err(unavailable)
}

fn member_of(place: &[u8]) -> Option<(UserId, ConversationId)> {
    let conversation = u128::from_be_bytes(place.get(1..17)?.try_into().ok()?);
    let user = u64::from_be_bytes(place.get(17..)?.try_into().ok()?);
    Some((UserId(user), ConversationId(conversation)))
}

/// Counts what a namespace takes with a value that is put; one that is there already makes room first.
fn count(
    tables: &Tables,
    used: &mut BTreeMap<String, u64>,
    place: &[u8],
    value: &[u8],
) -> Result<(), StoreError> {
    let split = || {
        let at = place.iter().position(|byte| *byte == 0)?;
        let namespace = std::str::from_utf8(place.get(1..at)?).ok()?;
        Some((namespace, std::str::from_utf8(place.get(at + 1..)?).ok()?))
    };
    let (namespace, name) = split().ok_or_else(|| damaged("a plugin's key"))?;
    let total = match used.get(namespace) {
        Some(total) => *total,
        None => tables.kv_used(namespace)?,
    };
    let before = tables.kv(namespace, name)?;
    let before = before.map_or(0, |row| bytes(name, &row.value));
    let now = bytes(name, &KvRow::decode(value)?.value);
    used.insert(namespace.to_owned(), total.saturating_sub(before) + now);
    Ok(())
}

impl EmbeddedLog {
    /// Works on the tables off the async threads.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared: Arc<Shared> = self.shared.clone();
        let done = tokio::task::spawn_blocking(move || work(&shared));
        done.await.map_err(unavailable)?
    }
}

#[async_trait]
impl PortableLog for EmbeddedLog {
    async fn read_still(&self) -> Result<Box<dyn LogReader>, StoreError> {
        Ok(Box::new(Reading::new(self)?))
    }

    async fn holds_already(&self) -> Result<Option<String>, StoreError> {
        let tables = self.tables();
        let held = [
            (&tables.entries, "entries"),
            (&tables.answers, "first answers"),
            (&tables.feed, "commits"),
        ];
        for (keyspace, what) in held {
            if !keyspace.is_empty().map_err(unavailable)? {
                return Ok(Some(what.to_owned()));
            }
        }
        for guard in tables.rows.iter() {
            let row = guard.key().map_err(unavailable)?;
            if row.first().is_some_and(|kind| *kind != key::META) {
                return Ok(Some("rows".to_owned()));
            }
        }
        Ok(None)
    }

    async fn moving(&self) -> Result<Option<Moving>, StoreError> {
        let Some(row) = self.tables().row(&moving_row())? else {
            return Ok(None);
        };
        let read = || {
            let (file, frames) = row.split_first_chunk::<16>()?;
            Some(Moving {
                file: u128::from_be_bytes(*file),
                frames: u64::from_be_bytes(frames.try_into().ok()?),
            })
        };
        read().map(Some).ok_or_else(|| damaged("an import's note"))
    }

    async fn note_moving(&self, moving: &Moving) -> Result<(), StoreError> {
        let mut row = moving.file.to_be_bytes().to_vec();
        row.extend_from_slice(&moving.frames.to_be_bytes());
        let tables = self.tables();
        // Behind what was taken in, in the same journal: it is not kept without that.
        tables.rows.insert(moving_row(), row).map_err(unavailable)
    }

    async fn take(&self, part: Part, records: Vec<Record>, _: u64) -> Result<(), StoreError> {
        let instance = self.instance;
        self.aside(move |shared| take(shared, instance, (part, records)))
            .await
    }

    async fn moved(&self, stamp: u64) -> Result<(), StoreError> {
        self.aside(move |shared| {
            let tables = &shared.tables;
            let mut batch = tables.database.batch();
            batch.insert(&tables.rows, key::meta("stamp"), stamp.to_be_bytes());
            batch.remove(&tables.rows, moving_row());
            batch.commit().map_err(unavailable)?;
            tables
                .database
                .persist(PersistMode::SyncAll)
                .map_err(unavailable)
        })
        .await
    }
}
