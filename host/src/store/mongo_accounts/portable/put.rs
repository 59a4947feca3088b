//! Rows as documents: those of a plain table one by one, the others into the document that holds them together. Every write
//! says what there is to be, so that a second time changes nothing.

use std::collections::BTreeMap;

use mongodb::bson::{Bson, Document, doc};

use super::super::handovers::notice_key;
use super::super::pairs::pair_id;
use super::super::schema::{
    ADMIN_NOTICES, COUNTERS, GENERATIONS, LABELS, PAIRS, PLUGIN_CONFIGS, REGISTRY, USERS, WISHES,
};
use super::super::{MongoAccounts, damaged, unsigned, written};
use super::{fields, plain, value};
use crate::ids::UserId;
use crate::store::StoreError;
use crate::store::mongo::Update;
use crate::store::portable::tables::{Cell, Kind, Row, Table};

fn upsert(filter: Document, change: Document) -> Document {
    Update::upsert(filter, change).into_document()
}

fn int(row: &Row, at: usize) -> Result<i64, StoreError> {
    let cell = row.get(at).and_then(Cell::int);
    cell.ok_or_else(|| damaged("a number of a row"))
}

fn text(row: &Row, at: usize) -> Result<&str, StoreError> {
    let cell = row.get(at).and_then(Cell::text);
    cell.ok_or_else(|| damaged("a text of a row"))
}

impl MongoAccounts {
    pub(super) async fn put_rows(
        &self,
        table: &'static Table,
        rows: Vec<Row>,
    ) -> Result<(), StoreError> {
        if let Some(collection) = plain(table) {
            let updates = rows.iter().map(|row| one(table, collection, row)).collect();
            return self.put(collection, updates).await;
        }
        let of_pairs = |change: fn(&Row) -> Result<Document, StoreError>| {
            rows.iter().map(change).collect::<Result<Vec<_>, _>>()
        };
        match table.name {
            "devices" => self.put_devices(table, rows).await,
            "blocks" => self.put(PAIRS, of_pairs(block)?).await,
            "friends" => self.put(PAIRS, of_pairs(friend)?).await,
            "friend_requests" => self.put(PAIRS, of_pairs(request)?).await,
            "notices" => self.put(PAIRS, of_pairs(notice)?).await,
            "changed_profiles" => self.put(USERS, of_pairs(changed)?).await,
            "labels" => self.put(LABELS, of_pairs(label)?).await,
            "wishes" => self.put(WISHES, of_pairs(wish)?).await,
            "numbers" => self.put(COUNTERS, of_pairs(counter)?).await,
            "components" => self.put_components(rows).await,
            "documents" => self.put_documents(rows).await,
            "plugin_configs" => self.put_configs(rows).await,
            _ => Err(damaged("a table that is moved")),
        }
    }

    async fn put(&self, collection: &str, updates: Vec<Document>) -> Result<(), StoreError> {
        if updates.is_empty() {
            return Ok(());
        }
        self.mongo.update(collection, updates).await.map(drop)
    }

    /// What is there of users' devices stays, but for those that come again.
    async fn put_devices(&self, table: &Table, rows: Vec<Row>) -> Result<(), StoreError> {
        let mut of_users: BTreeMap<i64, Vec<Document>> = BTreeMap::new();
        for row in &rows {
            let user = int(row, 0)?;
            of_users
                .entry(user)
                .or_default()
                .push(fields(table, row, 1));
        }
        let users: Vec<Bson> = of_users.keys().copied().map(Bson::Int64).collect();
        let filter = doc! {"_id": {"$in": users}};
        for user in self.all::<Document>(USERS, filter, doc! {}).await? {
            let id = user.get_i64("_id").map_err(|_| damaged("a user"))?;
            let coming = of_users.entry(id).or_default();
            let there = user.get_array("devices").map(Vec::as_slice);
            let there = there
                .unwrap_or_default()
                .iter()
                .filter_map(Bson::as_document);
            let stays =
                |device: &&Document| coming.iter().all(|one| one.get("id") != device.get("id"));
            let there: Vec<Document> = there.filter(stays).cloned().collect();
            coming.extend(there);
        }
        let updates = of_users.into_iter().map(|(user, devices)| {
            let change = doc! {"$set": {"devices": devices}};
            Update::one(doc! {"_id": user}, change).into_document()
        });
        self.put(USERS, updates.collect()).await
    }

    async fn put_components(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        for row in &rows {
            let digest = text(row, 0)?;
            let bytes = row.get(1).and_then(Cell::bytes);
            let blob = self
                .put_blob(bytes.ok_or_else(|| damaged("a component"))?)
                .await?;
            let before = self.kept_components().await?;
            let set = doc! {"$set": {format!("kept.{digest}"): written(&blob)?}};
            self.put(REGISTRY, vec![upsert(doc! {"_id": "components"}, set)])
                .await?;
            self.drop_blobs(before.get(digest).copied()).await;
        }
        Ok(())
    }

    async fn put_documents(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        for row in &rows {
            self.upsert_document(text(row, 0)?, text(row, 1)?).await?;
        }
        Ok(())
    }

    async fn put_configs(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        for row in &rows {
            // One that is there already from an attempt before has the same text.
            let filter = doc! {"name": text(row, 0)?, "revision": int(row, 1)?};
            let blob = self.put_blob(text(row, 2)?.as_bytes()).await?;
            let set = doc! {"blob": written(&blob)?, "reverted": value(&row[3], Kind::Flag)};
            self.put(PLUGIN_CONFIGS, vec![upsert(filter, doc! {"$set": set})])
                .await?;
        }
        Ok(())
    }
}

/// A row of a plain table, with what only its document has.
fn one(table: &Table, collection: &str, row: &Row) -> Document {
    let id = value(&row[0], table.columns[0].1);
    let mut set = fields(table, row, 1);
    let mut fresh = Document::new();
    match collection {
        USERS => {
            fresh = doc! {"devices": Bson::Array(Vec::new()), "revision": 0_i64, "change": 0_i64};
        }
        GENERATIONS => fresh = doc! {"told": Bson::Array(Vec::new())},
        ADMIN_NOTICES => {
            let cell = |at: usize| row.get(at);
            let at = cell(1).and_then(Cell::int).unwrap_or_default();
            let by = cell(2).and_then(Cell::text).unwrap_or_default();
            let text = cell(3).and_then(Cell::text).unwrap_or_default();
            set.insert("key", notice_key(at, by, text));
        }
        _ => {}
    }
    let mut change = doc! {"$set": set};
    if !fresh.is_empty() {
        change.insert("$setOnInsert", fresh);
    }
    upsert(doc! {"_id": id}, change)
}

/// A change of what is between two users, by the one who is named first.
fn between(
    (one, other): (i64, i64),
    more: Document,
    set: impl FnOnce(bool) -> Document,
) -> Document {
    let (first, second) = (UserId(unsigned(one)), UserId(unsigned(other)));
    let is_low = first <= second;
    let (low, high) = if is_low { (one, other) } else { (other, one) };
    let change = set(is_low);
    let mut fresh = doc! {
        "low": low,
        "high": high,
        "version": 1_i64,
        "low_blocks": false,
        "high_blocks": false,
        "owed": Bson::Array(Vec::new()),
    };
    let changed = change.values().filter_map(Bson::as_document);
    let changed: Vec<String> = changed.flat_map(Document::keys).cloned().collect();
    for field in changed {
        fresh.remove(field);
    }
    let mut whole = doc! {"$setOnInsert": fresh};
    whole.extend(change);
    let mut filter = doc! {"_id": pair_id(first, second)};
    filter.extend(more);
    upsert(filter, whole)
}

fn block(row: &Row) -> Result<Document, StoreError> {
    let pair = (int(row, 0)?, int(row, 1)?);
    Ok(between(pair, doc! {}, |is_low| {
        let field = if is_low { "low_blocks" } else { "high_blocks" };
        doc! {"$set": {field: true}}
    }))
}

fn friend(row: &Row) -> Result<Document, StoreError> {
    let (pair, since) = ((int(row, 0)?, int(row, 1)?), int(row, 2)?);
    Ok(between(pair, doc! {}, |_| doc! {"$set": {"since": since}}))
}

fn request(row: &Row) -> Result<Document, StoreError> {
    let asked = doc! {
        "id": int(row, 0)?,
        "text": value(&row[3], Kind::Text),
        "at": int(row, 4)?,
        "state": value(&row[5], Kind::Small),
        "refusals": int(row, 6)?,
    };
    let pair = (int(row, 1)?, int(row, 2)?);
    Ok(between(pair, doc! {}, |is_low| {
        let field = if is_low { "up" } else { "down" };
        doc! {"$set": {field: asked}}
    }))
}

/// The other one of the pair stands in what the notice says.
fn notice(row: &Row) -> Result<Document, StoreError> {
    let (number, user) = (int(row, 0)?, int(row, 1)?);
    let (code, args) = (text(row, 2)?, text(row, 3)?);
    let said: serde_json::Value = serde_json::from_str(args).unwrap_or_default();
    let other = said["user"]
        .as_str()
        .and_then(|id| id.parse::<UserId>().ok());
    let other = other.map_or(user, |other| other.0.cast_signed());
    let owed = doc! {"number": number, "user": user, "code": code, "args": args};
    let once = doc! {"owed.number": {"$ne": number}};
    Ok(between(
        (user, other),
        once,
        |_| doc! {"$push": {"owed": owed}},
    ))
}

fn changed(row: &Row) -> Result<Document, StoreError> {
    let set = doc! {"untold": true, "change": int(row, 1)?};
    let filter = doc! {"_id": int(row, 0)?};
    Ok(Update::one(filter, doc! {"$set": set}).into_document())
}

fn label(row: &Row) -> Result<Document, StoreError> {
    let change = doc! {"$addToSet": {"labels": text(row, 1)?}};
    Ok(upsert(doc! {"_id": int(row, 0)?}, change))
}

fn wish(row: &Row) -> Result<Document, StoreError> {
    let id = doc! {"action": text(row, 0)?, "subject": text(row, 1)?};
    let set = doc! {"actor": text(row, 2)?, "at": int(row, 3)?};
    Ok(upsert(doc! {"_id": id}, doc! {"$set": set}))
}

fn counter(row: &Row) -> Result<Document, StoreError> {
    let change = doc! {"$max": {"last": int(row, 1)?}};
    Ok(upsert(doc! {"_id": text(row, 0)?}, change))
}
