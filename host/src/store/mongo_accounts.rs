//! Accounts and administrators' tables in MongoDB, which several nodes use at once. Implements `Accounts`, `People`,
//! `Moderation`, `MediaRecords`, `SharedGenerations`; knows no other adapter.
//!
//! Nothing is answered from memory: another node may have changed it. Each promise rests on one document, changed
//! under a condition, or on a unique index; how documents are cut is in `host/decisions/0020-accounts-in-documents.md`.

mod administration;
mod audit;
mod bans;
mod blobs;
mod claims;
mod devices;
mod friends;
mod generations;
mod handovers;
mod media;
mod notices;
mod pairs;
mod plugins;
mod portable;
mod presence;
mod profiles;
mod provisions;
mod relations;
mod reports;
pub mod schema;
mod settings;
mod tries;
mod users;

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::Collection;
use mongodb::action::Find;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::ReturnDocument;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::StoreError;
use super::mongo::{DUPLICATE_KEY, Mongo};
use tries::Tries;

/// How often it is looked whether the database answers, and what other nodes have written to the audit log.
const LOOK: Duration = Duration::from_secs(1);

/// The open tables.
pub struct MongoAccounts {
    mongo: Mongo,
    /// The newest line of the audit log.
    audited: watch::Sender<u64>,
    /// One at a time takes the next number of the audit log here; other nodes are met at the index.
    auditing: tokio::sync::Mutex<()>,
    /// The notices that were last told to whoever pays them: what nobody was told is not forgotten.
    told: Mutex<Vec<i64>>,
    /// What the last look at the database said.
    looked: Mutex<Result<(), String>>,
}

/// A number by which ids are given out.
#[derive(Deserialize)]
struct Counter {
    last: i64,
}

/// The id of a document of which nothing else is asked.
#[derive(Deserialize)]
struct Numbered {
    #[serde(rename = "_id")]
    id: i64,
}

impl MongoAccounts {
    /// Opens the tables in a database, makes what indexes are missing, and follows what other nodes write.
    pub async fn open(mongo: &Mongo) -> Result<Arc<Self>, StoreError> {
        schema::migrate(mongo).await?;
        let accounts = Arc::new(Self {
            mongo: mongo.clone(),
            audited: watch::Sender::new(0),
            auditing: tokio::sync::Mutex::new(()),
            told: Mutex::new(Vec::new()),
            looked: Mutex::new(Ok(())),
        });
        accounts.look().await?;
        tokio::spawn(follow(Arc::downgrade(&accounts)));
        Ok(accounts)
    }

    /// What a process that ended owes to the audit log, the log's newest line, and whether the database answers at all.
    async fn look(&self) -> Result<(), StoreError> {
        let seen = self.see_audit().await;
        *self.looked.lock() = match &seen {
            Ok(()) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        seen
    }

    fn table<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.mongo.collection(name).clone_with_type()
    }

    async fn read<T>(
        &self,
        asked: impl IntoFuture<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        self.mongo.read(asked.into_future()).await
    }

    async fn write<T>(
        &self,
        asked: impl IntoFuture<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        self.mongo.write(asked.into_future()).await
    }

    /// What was written, or that a unique index has another one: `None`.
    async fn write_unless_there<T>(
        &self,
        asked: impl IntoFuture<Output = Result<T, Error>>,
    ) -> Result<Option<T>, StoreError> {
        let unless_there = async {
            match asked.into_future().await {
                Ok(done) => Ok(Some(done)),
                Err(error) if is_duplicate(&error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.mongo.write(unless_there).await
    }

    /// The first of `count` numbers that nobody else is given. Some may never be used.
    async fn number(&self, name: &str, count: u64) -> Result<u64, StoreError> {
        let change = doc! {"$inc": {"last": signed(count)}};
        let after = ReturnDocument::After;
        let taken = self.upsert::<Counter>(schema::COUNTERS, doc! {"_id": name}, change, after);
        let last = taken.await?.ok_or_else(|| damaged("a counter"))?.last;
        Ok(unsigned(last) - count + 1)
    }

    /// Changes a document, or adds it; it as it was before or is after. Two that add it at once are one that adds and one
    /// that changes.
    async fn upsert<T>(
        &self,
        table: &str,
        filter: Document,
        change: Document,
        which: ReturnDocument,
    ) -> Result<Option<T>, StoreError>
    where
        T: DeserializeOwned + Send + Sync,
    {
        let table = self.table::<T>(table);
        let mut tries = Tries::of("a document");
        loop {
            let put = table
                .find_one_and_update(filter.clone(), change.clone())
                .upsert(true)
                .return_document(which.clone());
            // A stand-in for the server may do it and answer nothing when two come at once: asked again, a counter skips.
            let may_be_nothing = matches!(which, ReturnDocument::Before);
            match self.write_unless_there(put).await? {
                Some(put) if put.is_some() || may_be_nothing => return Ok(put),
                _ => {}
            }
            tries.again().await?;
        }
    }

    async fn one<T>(&self, table: &str, filter: Document) -> Result<Option<T>, StoreError>
    where
        T: DeserializeOwned + Send + Sync,
    {
        let table = self.table::<T>(table);
        self.read(table.find_one(filter)).await
    }

    /// The first `limit` of what a filter finds, in an order.
    async fn list<T>(
        &self,
        table: &str,
        filter: Document,
        order: Document,
        limit: usize,
    ) -> Result<Vec<T>, StoreError>
    where
        T: DeserializeOwned + Send + Sync,
    {
        if limit == 0 {
            // To the server, nothing is no limit.
            return Ok(Vec::new());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let table = self.table::<T>(table);
        let found = table.find(filter).sort(order).limit(limit);
        self.read(collect(found)).await
    }

    /// Everything a filter finds, in an order.
    async fn all<T>(
        &self,
        table: &str,
        filter: Document,
        order: Document,
    ) -> Result<Vec<T>, StoreError>
    where
        T: DeserializeOwned + Send + Sync,
    {
        let table = self.table::<T>(table);
        let found = table.find(filter).sort(order);
        self.read(collect(found)).await
    }

    /// Changes at most one document; whether there was one.
    async fn update(
        &self,
        table: &str,
        filter: Document,
        change: Document,
    ) -> Result<bool, StoreError> {
        let table = self.table::<Document>(table);
        let changed = self.write(table.update_one(filter, change)).await?;
        Ok(changed.matched_count == 1)
    }

    /// Removes everything a filter finds; how many.
    async fn delete(&self, table: &str, filter: Document) -> Result<u64, StoreError> {
        let table = self.table::<Document>(table);
        let gone = self.write(table.delete_many(filter)).await?;
        Ok(gone.deleted_count)
    }

    /// Adds a document; false when a unique index has another one.
    async fn insert<T>(&self, table: &str, new: &T) -> Result<bool, StoreError>
    where
        T: Serialize + Send + Sync,
    {
        let table = self.table::<T>(table);
        let put = self.write_unless_there(table.insert_one(new)).await?;
        Ok(put.is_some())
    }
}

/// Looks again and again, for as long as somebody uses the accounts.
async fn follow(accounts: Weak<MongoAccounts>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(accounts) = accounts.upgrade() else {
            return;
        };
        // What it says is kept for `health`.
        let _ = accounts.look().await;
    }
}

async fn collect<T>(find: Find<'_, T>) -> Result<Vec<T>, Error>
where
    T: DeserializeOwned + Send + Sync,
{
    find.await?.try_collect().await
}

/// A unique index has such a document already.
fn is_duplicate(error: &Error) -> bool {
    let code = match &*error.kind {
        ErrorKind::Command(command) => command.code,
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.code,
        _ => return false,
    };
    code == DUPLICATE_KEY
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("accounts: {what} is not what was written"))
}

/// The database keeps signed 64-bit numbers; ids are stored with the same bits.
fn signed(id: u64) -> i64 {
    id.cast_signed()
}

fn unsigned(stored: i64) -> u64 {
    stored.cast_unsigned()
}

fn binary(bytes: &[u8]) -> Binary {
    Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    }
}

fn bytes32(stored: &Binary) -> Result<[u8; 32], StoreError> {
    let bytes = stored.bytes.as_slice();
    bytes.try_into().map_err(|_| damaged("a hash"))
}

/// A document as it is written; what cannot be one is a fault of this program.
fn written<T: Serialize>(value: &T) -> Result<Document, StoreError> {
    mongodb::bson::serialize_to_document(value)
        .map_err(|error| StoreError::Damaged(format!("accounts: {error}")))
}

fn numbers(ids: impl IntoIterator<Item = u64>) -> Vec<Bson> {
    ids.into_iter().map(|id| Bson::Int64(signed(id))).collect()
}

/// A text as a regular expression that matches it alone.
fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
