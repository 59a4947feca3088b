//! Plugins' keys and values: the projection of what entries and plugins themselves have written. A read first has projected
//! what is committed of its namespace; older values stand beside the newest for those who read a moment ago's.

use std::collections::HashMap;

use async_trait::async_trait;
use mongodb::bson::{Bson, Document, doc};

use super::apply::About;
use super::docs::{damaged, get_blob, get_int, get_text, int};
use super::schema::KV;
use super::{MongoLog, Shared};
use crate::store::StoreError;
use crate::store::kv::{KvItem, PluginKv};
use crate::store::log::kv_row::{KvRow, bytes};

/// Rows read at once where a page is bounded by bytes.
const STRETCH: usize = 256;

impl Shared {
    /// A row, ended or not.
    pub async fn kv_row(&self, namespace: &str, name: &str) -> Result<Option<KvRow>, StoreError> {
        let found = self.mongo.find_one(KV, one(namespace, name)).await?;
        Ok(found.and_then(|found| row_of(&found)))
    }

    /// Rows by their names, ended or not; those that are there.
    pub async fn kv_rows_of(
        &self,
        namespace: &str,
        names: &[&str],
    ) -> Result<HashMap<String, KvRow>, StoreError> {
        let filter = doc! {"ns": namespace, "key": {"$in": names}};
        let found = self.mongo.find(KV, filter, doc! {"key": 1}, 0).await?;
        let read = |row: &Document| Some((get_text(row, "key")?.to_owned(), row_of(row)?));
        Ok(found.iter().filter_map(read).collect())
    }

    /// A row as it stood at a stamp.
    pub async fn kv_row_at(
        &self,
        namespace: &str,
        name: &str,
        stamp: u64,
    ) -> Result<Option<KvRow>, StoreError> {
        self.catch_up(About::Namespace(namespace.to_owned()))
            .await?;
        let Some(found) = self.mongo.find_one(KV, one(namespace, name)).await? else {
            return Ok(None);
        };
        if get_int(&found, "s").is_none_or(|version| version <= stamp) {
            return Ok(row_of(&found));
        }
        let older = found
            .get_array("old")
            .map(Vec::as_slice)
            .unwrap_or_default();
        let older = older.iter().filter_map(Bson::as_document);
        let mut older = older.filter(|old| get_int(old, "s").is_some_and(|old| old <= stamp));
        Ok(older.next().and_then(row_of))
    }

    /// Rows of a namespace in order: those whose names begin with `prefix`, after one.
    pub async fn kv_after(
        &self,
        namespace: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, KvRow)>, StoreError> {
        let mut name = match after >= prefix && !after.is_empty() {
            true => doc! {"$gt": after},
            false => doc! {"$gte": prefix},
        };
        if !prefix.is_empty() {
            name.insert("$lte", format!("{prefix}\u{10FFFF}"));
        }
        let filter = doc! {"ns": namespace, "key": name, "v": {"$ne": null}};
        let found = self.mongo.find(KV, filter, doc! {"key": 1}, limit).await?;
        let read = |row: &Document| Some((get_text(row, "key")?.to_owned(), row_of(row)?));
        let rows: Option<Vec<_>> = found.iter().map(read).collect();
        rows.ok_or_else(|| damaged("a plugin's value"))
    }

    /// Bytes a namespace takes, as summed up not long ago: for keeping to a quota.
    pub async fn kv_used_about(&self, namespace: &str) -> Result<u64, StoreError> {
        if let Some(known) = self.notes.used(namespace) {
            return Ok(known);
        }
        self.recount(namespace).await?;
        Ok(self.notes.used(namespace).unwrap_or_default())
    }

    pub async fn recount(&self, namespace: &str) -> Result<(), StoreError> {
        let used = self.kv_used(namespace).await?;
        self.notes.saw_used(namespace, used);
        Ok(())
    }

    async fn kv_used(&self, namespace: &str) -> Result<u64, StoreError> {
        let stages = [
            doc! {"$match": {"ns": namespace}},
            doc! {"$group": {"_id": null, "bytes": {"$sum": "$size"}}},
        ];
        let collection = self.mongo.collection(KV);
        let summed = async {
            let mut cursor = collection.aggregate(stages).await?;
            match cursor.advance().await? {
                true => cursor.deserialize_current().map(Some),
                false => Ok(None),
            }
        };
        let summed = self.mongo.read(summed).await?;
        Ok(summed
            .and_then(|summed| get_int(&summed, "bytes"))
            .unwrap_or_default())
    }

    /// Names written after a stamp, deleted ones too.
    async fn kv_written(&self, namespace: &str, since: u64) -> Result<Vec<String>, StoreError> {
        self.catch_up(About::Namespace(namespace.to_owned()))
            .await?;
        let filter = doc! {"ns": namespace, "s": {"$gt": int(since)}};
        let asked = (doc! {"key": 1}, 0, doc! {"key": 1});
        let found = self.mongo.find_fields(KV, filter, asked).await?;
        let names = found.iter().filter_map(|row| get_text(row, "key"));
        Ok(names.map(str::to_owned).collect())
    }

    async fn kv_of(
        &self,
        namespace: &str,
        keys: &[String],
    ) -> Result<Vec<Option<KvItem>>, StoreError> {
        let now = self.clock.now_ms();
        self.catch_up(About::Namespace(namespace.to_owned()))
            .await?;
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut rows = self.kv_rows_of(namespace, &names).await?;
        let mut living = |key| rows.remove(key).filter(|row| !row.has_ended(now));
        Ok(keys.iter().map(|key| living(key).map(item)).collect())
    }

    async fn kv_keys(
        &self,
        namespace: String,
        (prefix, after): (String, String),
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let now = self.clock.now_ms();
        let (mut keys, mut after) = (Vec::new(), after);
        self.catch_up(About::Namespace(namespace.clone())).await?;
        while keys.len() < limit {
            let rows = self.kv_after(&namespace, &prefix, &after, STRETCH).await?;
            let Some((last, _)) = rows.last() else { break };
            after.clone_from(last);
            let living = rows.into_iter().filter(|(_, row)| !row.has_ended(now));
            keys.extend(living.map(|(name, _)| name));
        }
        keys.truncate(limit);
        Ok(keys)
    }

    async fn kv_page(
        &self,
        namespace: String,
        after: String,
        (limit, most): (usize, usize),
    ) -> Result<Vec<(String, KvItem)>, StoreError> {
        let now = self.clock.now_ms();
        let (mut page, mut held, mut after) = (Vec::new(), 0, after);
        self.catch_up(About::Namespace(namespace.clone())).await?;
        loop {
            let rows = self.kv_after(&namespace, "", &after, STRETCH).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(page);
            };
            after.clone_from(last);
            for (name, row) in rows {
                if page.len() >= limit || held >= most as u64 {
                    return Ok(page);
                }
                if !row.has_ended(now) {
                    held += bytes(&name, &row.value);
                    page.push((name, item(row)));
                }
            }
        }
    }
}

fn one(namespace: &str, name: &str) -> Document {
    doc! {"ns": namespace, "key": name}
}

/// None where it was deleted.
fn row_of(document: &Document) -> Option<KvRow> {
    Some(KvRow {
        version: get_int(document, "s")?,
        expires_at: get_int(document, "e").unwrap_or_default(),
        value: get_blob(document, "v")?.to_vec(),
    })
}

fn item(row: KvRow) -> KvItem {
    KvItem {
        value: row.value,
        version: row.version,
        expires_at: row.expires_at,
    }
}

#[async_trait]
impl PluginKv for MongoLog {
    async fn kv(&self, namespace: &str, key: &str) -> Result<Option<KvItem>, StoreError> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        self.on(move |shared| async move {
            let now = shared.clock.now_ms();
            let row = shared.kv_row_at(&namespace, &key, u64::MAX).await?;
            Ok(row.filter(|row| !row.has_ended(now)).map(item))
        })
        .await
    }

    async fn kv_keys(
        &self,
        namespace: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let (namespace, place) = (namespace.to_owned(), (prefix.to_owned(), after.to_owned()));
        self.on(move |shared| async move { shared.kv_keys(namespace, place, limit).await })
            .await
    }

    async fn kv_page(
        &self,
        namespace: &str,
        after: &str,
        most: (usize, usize),
    ) -> Result<Vec<(String, KvItem)>, StoreError> {
        let (namespace, after) = (namespace.to_owned(), after.to_owned());
        self.on(move |shared| async move { shared.kv_page(namespace, after, most).await })
            .await
    }

    async fn kv_used(&self, namespace: &str) -> Result<u64, StoreError> {
        let namespace = namespace.to_owned();
        self.on(move |shared| async move {
            shared.catch_up(About::Namespace(namespace.clone())).await?;
            shared.kv_used(&namespace).await
        })
        .await
    }

    fn kv_refused(&self, namespace: &str) -> u64 {
        self.shared.notes.refused(namespace)
    }

    async fn kv_namespaces(&self) -> Result<Vec<String>, StoreError> {
        self.on(move |shared| async move {
            shared.catch_up(About::Values).await?;
            let collection = shared.mongo.collection(KV);
            let asked = async { collection.distinct("ns", doc! {}).await };
            let found = shared.mongo.read(asked).await?;
            let mut names: Vec<String> = found
                .iter()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect();
            names.sort_unstable();
            Ok(names)
        })
        .await
    }

    fn kv_watch(&self, namespace: &str) {
        let since = self.shared.settled();
        self.shared.notes.watch(namespace, since);
    }

    async fn kv_changed(&self, namespace: &str) -> Result<Vec<String>, StoreError> {
        let Some(since) = self.shared.notes.watched_since(namespace) else {
            return Ok(Vec::new());
        };
        // Before the look: what is written meanwhile is told again rather than never.
        let upto = self.shared.settled();
        let name = namespace.to_owned();
        let names = self
            .on(move |shared| async move { shared.kv_written(&name, since).await })
            .await?;
        self.shared.notes.looked(namespace, upto);
        Ok(names)
    }

    async fn kv_of(
        &self,
        namespace: &str,
        keys: &[String],
    ) -> Result<Vec<Option<KvItem>>, StoreError> {
        let (namespace, keys) = (namespace.to_owned(), keys.to_vec());
        self.on(move |shared| async move { shared.kv_of(&namespace, &keys).await })
            .await
    }

    fn kv_unwatch(&self, namespace: &str) {
        self.shared.notes.unwatch(namespace);
    }
}
