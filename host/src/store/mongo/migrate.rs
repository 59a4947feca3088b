//! Collections, indexes and shard keys as data, and bringing a database to them. Done by every node that starts and by the
//! command line; doing it again, or by several at once, changes nothing.

use mongodb::bson::{Bson, Document, doc};

use super::{Mongo, number};
use crate::store::StoreError;

/// Where versions of parts of the database are noted.
const SCHEMA: &str = "schema";

/// One collection as it has to be.
pub struct Table {
    pub name: &'static str,
    pub indexes: Vec<Index>,
    /// By which a sharded server spreads it; none stays on one shard.
    pub shard_key: Option<Document>,
}

pub struct Index {
    pub name: &'static str,
    pub key: Document,
    pub unique: bool,
    /// Only of documents like these.
    pub only: Option<Document>,
    /// Documents go so long after the time in the index's one field.
    pub ends_after_s: Option<i32>,
}

impl Index {
    pub fn on(name: &'static str, key: Document) -> Self {
        Self {
            name,
            key,
            unique: false,
            only: None,
            ends_after_s: None,
        }
    }

    pub fn unique(name: &'static str, key: Document) -> Self {
        Self {
            unique: true,
            ..Self::on(name, key)
        }
    }

    /// Of those documents alone that have all of some fields.
    pub fn where_there_is(self, fields: &[&str]) -> Self {
        let there = fields
            .iter()
            .map(|field| ((*field).to_owned(), Bson::Document(doc! {"$exists": true})));
        Self {
            only: Some(there.collect()),
            ..self
        }
    }

    fn into_document(self) -> Document {
        let mut index = doc! {"key": self.key, "name": self.name};
        if self.unique {
            index.insert("unique", true);
        }
        if let Some(only) = self.only {
            index.insert("partialFilterExpression", only);
        }
        if let Some(seconds) = self.ends_after_s {
            index.insert("expireAfterSeconds", seconds);
        }
        index
    }
}

/// What a part of the database looks like in a version of it.
pub struct Schema {
    pub part: &'static str,
    pub version: u32,
    pub tables: Vec<Table>,
}

/// What migrating a part has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    pub part: &'static str,
    /// The version before; none in an empty database.
    pub from: Option<u64>,
    pub to: u32,
}

/// Brings a part to its version. A database of a later version is refused: this program would not understand it.
pub async fn migrate(mongo: &Mongo, schema: Schema) -> Result<Migrated, StoreError> {
    let from = version(mongo, schema.part).await?;
    if let Some(later) = from.filter(|from| *from > u64::from(schema.version)) {
        return Err(StoreError::Damaged(format!(
            "the {} of this database have version {later}, this program knows {}",
            schema.part, schema.version
        )));
    }
    for table in schema.tables {
        shard(mongo, table.name, table.shard_key).await?;
        index(mongo, table.name, table.indexes).await?;
    }
    let raise = doc! {
        "q": {"_id": schema.part},
        "u": {"$max": {"version": i64::from(schema.version)}},
        "upsert": true,
    };
    // Two that make it at once: the other one's says the same.
    mongo.update(SCHEMA, vec![raise]).await?;
    Ok(Migrated {
        part: schema.part,
        from,
        to: schema.version,
    })
}

/// The version a part of a database has.
pub async fn version(mongo: &Mongo, part: &str) -> Result<Option<u64>, StoreError> {
    let noted = mongo.find_one(SCHEMA, doc! {"_id": part}).await?;
    Ok(noted.and_then(|noted| noted.get("version").and_then(number)))
}

async fn index(mongo: &Mongo, table: &str, indexes: Vec<Index>) -> Result<(), StoreError> {
    if indexes.is_empty() {
        return Ok(());
    }
    let indexes: Vec<Document> = indexes.into_iter().map(Index::into_document).collect();
    let command = doc! {"createIndexes": table, "indexes": indexes};
    mongo.ask(command).await.map(drop)
}

/// A server that is no sharded cluster needs none of it; one that is must grant it.
async fn shard(mongo: &Mongo, table: &str, key: Option<Document>) -> Result<(), StoreError> {
    let Some(key) = key else { return Ok(()) };
    if !mongo.is_sharded().await? {
        return Ok(());
    }
    let whole = format!("{}.{table}", mongo.name());
    let sharded = doc! {"shardCollection": &whole, "key": key};
    match mongo.ask_server(sharded).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::Unavailable(format!(
            "MongoDB is a sharded cluster and does not let this user shard {whole}: it takes the role clusterManager"
        ))),
    }
}
