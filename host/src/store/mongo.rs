//! One MongoDB database as its adapters use it: connecting, what is asked for with every command, what its troubles are to
//! the host, and a count of the round trips. Knows no collection by name; those are their adapters'.
//!
//! Everything is read with what a majority has confirmed, and written so that a majority confirms it (I1).

pub mod migrate;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{
    ClientOptions, DatabaseOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database};

use super::StoreError;
use crate::breaker::{Breaker, BreakerRules};

/// Codes of the server that are told apart.
pub const DUPLICATE_KEY: i32 = 11_000;
const NO_SUCH_COMMAND: i32 = 59;
const CANNOT_CREATE_INDEX: i32 = 67;
const UNAUTHORIZED: [i32; 2] = [13, 18];
/// Documents of one command.
const DOCUMENTS_MOST: usize = 1_000;

/// A fail-over takes longer than that too: whoever asks meanwhile is told at once.
const BREAKER: BreakerRules = BreakerRules {
    failures: 3,
    spread: Duration::from_secs(2),
    pause: Duration::from_secs(1),
};
const AWAY: &str = "MongoDB has not answered lately; it is tried again in a moment";

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct MongoSettings {
    /// `mongodb://…`, with whatever the driver takes in it.
    pub url: String,
    pub database: String,
    /// How long one command may take before its outcome counts as unknown.
    pub wait: Duration,
    /// Connections kept to one server.
    pub connections: u32,
}

impl MongoSettings {
    pub fn new(url: &str, database: &str) -> Self {
        Self {
            url: url.to_owned(),
            database: database.to_owned(),
            wait: Duration::from_secs(5),
            connections: 64,
        }
    }
}

/// An open database; clones share it.
#[derive(Clone)]
pub struct Mongo {
    client: Client,
    database: Database,
    wait: Duration,
    counts: Arc<Counts>,
    breaker: Arc<Breaker>,
}

#[derive(Default)]
struct Counts {
    reads: AtomicU64,
    writes: AtomicU64,
}

/// What is done to the documents one filter finds; the first of them unless `all`.
#[derive(Debug, Clone)]
pub struct Update {
    pub filter: Document,
    /// A document of operators, or an array of a pipeline's stages.
    pub change: Bson,
    /// Made where nothing is found.
    pub upsert: bool,
    pub all: bool,
}

impl Update {
    pub fn one(filter: Document, change: Document) -> Self {
        Self {
            filter,
            change: Bson::Document(change),
            upsert: false,
            all: false,
        }
    }

    pub fn upsert(filter: Document, change: Document) -> Self {
        Self {
            upsert: true,
            ..Self::one(filter, change)
        }
    }

    /// As the server takes it, and as it can be kept to be done later.
    pub fn into_document(self) -> Document {
        doc! {"q": self.filter, "u": self.change, "upsert": self.upsert, "multi": self.all}
    }
}

/// What came of a command that writes several documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Documents that were inserted, changed or found.
    pub count: u64,
    /// Places of those that were refused for a key that is there already; ascending.
    pub duplicates: Vec<usize>,
}

impl Mongo {
    /// Makes a client and asks the server whether it is there.
    ///
    /// What the client does meanwhile runs where this is awaited, for as long as that runtime lives.
    pub async fn connect(settings: &MongoSettings) -> Result<Self, StoreError> {
        let parsed = ClientOptions::parse(&settings.url).await;
        let mut options =
            parsed.map_err(|error| StoreError::Unavailable(format!("MongoDB's URL: {error}")))?;
        options.app_name = Some("kith".to_owned());
        options.connect_timeout.get_or_insert(settings.wait);
        options
            .server_selection_timeout
            .get_or_insert(settings.wait);
        options.max_pool_size.get_or_insert(settings.connections);
        let client = Client::with_options(options).map_err(|error| unavailable(&error))?;
        let concerns = DatabaseOptions::builder()
            .read_concern(ReadConcern::majority())
            .write_concern(majority(settings.wait))
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        let mongo = Self {
            database: client.database_with_options(&settings.database, concerns),
            client,
            wait: settings.wait,
            counts: Arc::default(),
            breaker: Arc::new(Breaker::new(BREAKER)),
        };
        mongo.ask(doc! {"ping": 1}).await?;
        Ok(mongo)
    }

    pub fn name(&self) -> &str {
        self.database.name()
    }

    /// For reading, inside `read`.
    pub fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    /// Round trips so far: those that read, and those that wrote.
    pub fn round_trips(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.counts.reads), read(&self.counts.writes))
    }

    /// Waits for something that reads, no longer than a command may take.
    pub async fn read<T>(
        &self,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        self.within(&self.counts.reads, asked).await
    }

    /// Waits for something that writes, no longer than a command may take.
    pub async fn write<T>(
        &self,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        self.within(&self.counts.writes, asked).await
    }

    async fn within<T>(
        &self,
        count: &AtomicU64,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        if !self.breaker.admits() {
            return Err(StoreError::Unavailable(AWAY.to_owned()));
        }
        count.fetch_add(1, Ordering::Relaxed);
        let answered = tokio::time::timeout(self.wait, asked).await;
        let is_there = match &answered {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => !is_away(error),
            Err(_) => false,
        };
        self.breaker.went(is_there);
        match answered {
            Ok(answered) => answered.map_err(|error| classify(&error)),
            Err(_) => Err(StoreError::Timeout),
        }
    }

    /// Every document a filter finds, in an order, at most `limit` (0: all).
    pub async fn find(
        &self,
        collection: &str,
        filter: Document,
        order: Document,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let collection = self.collection(collection);
        let find = collection.find(filter).sort(order);
        let find = find.limit(i64::try_from(limit).unwrap_or(i64::MAX));
        self.read(collect(find)).await
    }

    /// The same, some fields of them only.
    pub async fn find_fields(
        &self,
        collection: &str,
        filter: Document,
        (order, limit, fields): (Document, usize, Document),
    ) -> Result<Vec<Document>, StoreError> {
        let collection = self.collection(collection);
        let find = collection.find(filter).sort(order).projection(fields);
        let find = find.limit(i64::try_from(limit).unwrap_or(i64::MAX));
        self.read(collect(find)).await
    }

    pub async fn find_one(
        &self,
        collection: &str,
        filter: Document,
    ) -> Result<Option<Document>, StoreError> {
        let collection = self.collection(collection);
        self.read(async { collection.find_one(filter).await }).await
    }

    /// Inserts documents, in order up to the first that is refused, or every one that can be.
    pub async fn insert(
        &self,
        collection: &str,
        documents: &[Document],
        ordered: bool,
    ) -> Result<Written, StoreError> {
        let mut written = Written::default();
        for (part, documents) in documents.chunks(DOCUMENTS_MOST).enumerate() {
            let command = doc! {
                "insert": collection,
                "documents": documents.to_vec(),
                "ordered": ordered,
            };
            let some = self.write_command(command).await?;
            written.count += some.count;
            let first = part * DOCUMENTS_MOST;
            written
                .duplicates
                .extend(some.duplicates.into_iter().map(|at| first + at));
            if ordered && !written.duplicates.is_empty() {
                break;
            }
        }
        Ok(written)
    }

    /// Does updates, each whatever becomes of the others.
    pub async fn update(
        &self,
        collection: &str,
        updates: Vec<Document>,
    ) -> Result<Written, StoreError> {
        let mut written = Written::default();
        for (part, updates) in updates.chunks(DOCUMENTS_MOST).enumerate() {
            let command = doc! {
                "update": collection,
                "updates": updates.to_vec(),
                "ordered": false,
            };
            let some = self.write_command(command).await?;
            written.count += some.count;
            let first = part * DOCUMENTS_MOST;
            written
                .duplicates
                .extend(some.duplicates.into_iter().map(|at| first + at));
        }
        Ok(written)
    }

    /// Deletes what a filter finds; how many.
    pub async fn delete(&self, collection: &str, filter: Document) -> Result<u64, StoreError> {
        let command = doc! {
            "delete": collection,
            "deletes": [{"q": filter, "limit": 0}],
        };
        Ok(self.write_command(command).await?.count)
    }

    /// A command that writes; a majority has what it wrote when this returns.
    pub async fn write_command(&self, mut command: Document) -> Result<Written, StoreError> {
        let limit = i64::try_from(self.wait.as_millis()).unwrap_or(i64::MAX);
        // In the journals of a majority: one server alone would else confirm what it has in memory only.
        let concern = doc! {"w": "majority", "j": true, "wtimeout": limit};
        command.insert("writeConcern", concern);
        let reply = self
            .write(async { self.database.run_command(command).await })
            .await?;
        outcome(&reply)
    }

    /// Any other command, on this database.
    pub async fn ask(&self, command: Document) -> Result<Document, StoreError> {
        self.read(async { self.database.run_command(command).await })
            .await
    }

    /// Whether the collections are spread over shards.
    pub async fn is_sharded(&self) -> Result<bool, StoreError> {
        let hello = self.ask(doc! {"hello": 1}).await?;
        Ok(hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid"))
    }

    /// What the server is, for `kith doctor`: its version, and whether it is one that confirms by majority.
    pub async fn about(&self) -> Result<String, StoreError> {
        let built = self.ask(doc! {"buildInfo": 1}).await?;
        let version = built.get_str("version").unwrap_or("of no version");
        let hello = self.ask(doc! {"hello": 1}).await?;
        let set = hello.get_str("setName");
        let kind = match (hello.get_str("msg"), set) {
            (Ok("isdbgrid"), _) => "a sharded cluster".to_owned(),
            (_, Ok(set)) => format!("replica set {set}"),
            _ => "one server alone, no replica set: what it confirms it may lose with its disk"
                .to_owned(),
        };
        Ok(format!("mongodb {version}, {kind}"))
    }

    /// A command on the server as a whole; `None` where this server has no such command, or grants it to nobody here.
    pub async fn ask_server(&self, command: Document) -> Result<Option<Document>, StoreError> {
        let admin = self.client.database("admin");
        let asked = async {
            match admin.run_command(command).await {
                Ok(reply) => Ok(Some(reply)),
                Err(error) if is_optional(&error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.read(asked).await
    }
}

/// What a majority must have, and how long that may take.
fn majority(wait: Duration) -> WriteConcern {
    let mut concern = WriteConcern::majority();
    concern.journal = Some(true);
    concern.w_timeout = Some(wait);
    concern
}

async fn collect(find: mongodb::action::Find<'_, Document>) -> Result<Vec<Document>, Error> {
    let mut cursor = find.await?;
    let mut found = Vec::new();
    while cursor.advance().await? {
        found.push(cursor.deserialize_current()?);
    }
    Ok(found)
}

/// What a reply to a write says.
fn outcome(reply: &Document) -> Result<Written, StoreError> {
    let mut written = Written {
        count: reply.get("n").and_then(number).unwrap_or_default(),
        duplicates: Vec::new(),
    };
    if let Ok(errors) = reply.get_array("writeErrors") {
        for error in errors.iter().filter_map(Bson::as_document) {
            let code = error.get("code").and_then(number).unwrap_or_default();
            if code != DUPLICATE_KEY as u64 {
                let told = error.get_str("errmsg").unwrap_or("a write was refused");
                return Err(StoreError::Unavailable(format!("{told} (code {code})")));
            }
            let place = error.get("index").and_then(number).unwrap_or_default();
            written.duplicates.push(place as usize);
        }
    }
    if reply.get_document("writeConcernError").is_ok() {
        // It stands on one server, and may yet be taken back.
        return Err(StoreError::Timeout);
    }
    written.duplicates.sort_unstable();
    Ok(written)
}

/// A number of a reply, whatever its width.
pub fn number(value: &Bson) -> Option<u64> {
    match value {
        Bson::Int32(value) => u64::try_from(*value).ok(),
        Bson::Int64(value) => u64::try_from(*value).ok(),
        Bson::Double(value) if *value >= 0.0 => Some(*value as u64),
        _ => None,
    }
}

fn unavailable(error: &Error) -> StoreError {
    StoreError::Unavailable(format!("MongoDB: {error}"))
}

/// No server has answered.
fn is_away(error: &Error) -> bool {
    matches!(
        &*error.kind,
        ErrorKind::ServerSelection { .. }
            | ErrorKind::Io(_)
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
    )
}

fn code_of(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

fn is_optional(error: &Error) -> bool {
    let optional = [NO_SUCH_COMMAND, CANNOT_CREATE_INDEX];
    code_of(error).is_some_and(|code| optional.contains(&code) || UNAUTHORIZED.contains(&code))
}

/// What the driver's troubles are to the host: whether something that wrote is done nobody knows once a connection broke
/// or the time was up; before a server was found, nothing was.
pub fn classify(error: &Error) -> StoreError {
    match &*error.kind {
        ErrorKind::ServerSelection { .. }
        | ErrorKind::Authentication { .. }
        | ErrorKind::InvalidArgument { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. } => unavailable(error),
        ErrorKind::BsonDeserialization(_) | ErrorKind::BsonSerialization(_) => {
            StoreError::Damaged(format!("MongoDB: {error}"))
        }
        ErrorKind::Command(command) => match command.code {
            // Over time, interrupted, a primary that ceases to be one: it may have been done.
            50 | 64 | 89 | 91 | 189 | 262 | 11_600 | 11_602 | 10_107 | 13_435 => {
                StoreError::Timeout
            }
            _ => unavailable(error),
        },
        _ => StoreError::Timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_tells_what_was_written_and_what_was_there() {
        let good = outcome(&doc! {"ok": 1, "n": 3});
        assert_eq!(good.expect("written").count, 3);
        let errors = vec![doc! {"index": 1, "code": DUPLICATE_KEY, "errmsg": "there"}];
        let some = outcome(&doc! {"ok": 1, "n": 1_i64, "writeErrors": errors}).expect("some");
        assert_eq!((some.count, some.duplicates), (1, vec![1]));
        let errors = vec![doc! {"index": 0, "code": 121, "errmsg": "no"}];
        let refused = outcome(&doc! {"ok": 1, "n": 0, "writeErrors": errors});
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    }

    #[test]
    fn what_no_majority_has_is_not_known() {
        let unsure = outcome(&doc! {"ok": 1, "n": 1, "writeConcernError": {"code": 64}});
        assert!(matches!(unsure, Err(StoreError::Timeout)));
    }
}
