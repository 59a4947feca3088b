//! Plugins' keys and values in the embedded log: how a row looks, and reading it. What has ended is as good as gone; its
//! row goes when the room is needed. Which keys were written is noted for whoever copies a namespace, in memory.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::EmbeddedLog;
use super::tables::{Tables, damaged, unavailable};
use crate::store::StoreError;
use crate::store::kv::{KvItem, PluginKv};
use crate::store::log::key;
use crate::store::log::kv_row::{KvRow, bytes};

impl Tables {
    /// A row, ended or not.
    pub fn kv(&self, namespace: &str, name: &str) -> Result<Option<KvRow>, StoreError> {
        let row = self.row(&key::kv(namespace, name))?;
        row.map(|bytes| KvRow::decode(&bytes)).transpose()
    }

    /// Bytes a namespace has, ended ones included.
    pub fn kv_used(&self, namespace: &str) -> Result<u64, StoreError> {
        let row = self.row(&key::kv_used(namespace))?;
        Ok(row
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_be_bytes))
    }

    /// Rows of a namespace whose names begin with `prefix`, from a name on, while `more` says so.
    pub fn kv_rows(
        &self,
        namespace: &str,
        (prefix, from): (&str, &str),
        mut more: impl FnMut(String, KvRow) -> bool,
    ) -> Result<(), StoreError> {
        let bare = key::kv(namespace, "").len();
        let mut first = key::kv(namespace, from.max(prefix));
        if from >= prefix && !from.is_empty() {
            first.push(0); // after it
        }
        for guard in self.rows.range(first..) {
            let (found, bytes) = guard.into_inner().map_err(unavailable)?;
            if !found.starts_with(&key::kv(namespace, prefix)) {
                return Ok(());
            }
            let name = String::from_utf8(found[bare..].to_vec());
            let name = name.map_err(|_| damaged("a plugin's key"))?;
            if !more(name, KvRow::decode(&bytes)?) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What is noted of namespaces, and lost with the process.
#[derive(Default)]
pub struct KvNotes {
    watched: Mutex<HashMap<String, BTreeSet<String>>>,
    refused: Mutex<HashMap<String, u64>>,
}

impl KvNotes {
    /// Keys were committed: those of watched namespaces are noted.
    pub fn committed<'a>(&self, places: impl Iterator<Item = &'a Vec<u8>>) {
        let mut watched = self.watched.lock();
        if watched.is_empty() {
            return;
        }
        for (namespace, name) in places.filter_map(|place| split(place)) {
            if let Some(names) = watched.get_mut(namespace) {
                names.insert(name.to_owned());
            }
        }
    }

    /// Effects of an entry were not kept; how often that has happened.
    pub fn refuse(&self, namespace: &str) -> u64 {
        let mut refused = self.refused.lock();
        let count = refused.entry(namespace.to_owned()).or_default();
        *count += 1;
        *count
    }
}

/// The namespace and the name in a value's key.
fn split(place: &[u8]) -> Option<(&str, &str)> {
    let at = place.iter().position(|byte| *byte == 0)?;
    let namespace = std::str::from_utf8(place.get(1..at)?).ok()?;
    Some((namespace, std::str::from_utf8(place.get(at + 1..)?).ok()?))
}

fn item(row: KvRow) -> KvItem {
    KvItem {
        value: row.value,
        version: row.version,
        expires_at: row.expires_at,
    }
}

#[async_trait]
impl PluginKv for EmbeddedLog {
    async fn kv(&self, namespace: &str, key: &str) -> Result<Option<KvItem>, StoreError> {
        let now = self.shared.clock.now_ms();
        let row = self.tables().kv(namespace, key)?;
        Ok(row.filter(|row| !row.has_ended(now)).map(item))
    }

    async fn kv_keys(
        &self,
        namespace: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let now = self.shared.clock.now_ms();
        let mut keys = Vec::new();
        if limit == 0 {
            return Ok(keys);
        }
        self.tables()
            .kv_rows(namespace, (prefix, after), |name, row| {
                if !row.has_ended(now) {
                    keys.push(name);
                }
                keys.len() < limit
            })?;
        Ok(keys)
    }

    async fn kv_page(
        &self,
        namespace: &str,
        after: &str,
        (limit, most): (usize, usize),
    ) -> Result<Vec<(String, KvItem)>, StoreError> {
        let now = self.shared.clock.now_ms();
        let (mut page, mut held) = (Vec::new(), 0);
        self.tables().kv_rows(namespace, ("", after), |name, row| {
            if !row.has_ended(now) {
                held += bytes(&name, &row.value);
                page.push((name, item(row)));
            }
            page.len() < limit && held < most as u64
        })?;
        Ok(page)
    }

    async fn kv_used(&self, namespace: &str) -> Result<u64, StoreError> {
        self.tables().kv_used(namespace)
    }

    fn kv_refused(&self, namespace: &str) -> u64 {
        let refused = self.shared.kv_notes.refused.lock();
        refused.get(namespace).copied().unwrap_or_default()
    }

    async fn kv_namespaces(&self) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        for guard in self.tables().rows.prefix([key::KV_USED]) {
            let name = guard.key().map_err(unavailable)?;
            let name = std::str::from_utf8(&name[1..]).map_err(|_| damaged("a namespace"))?;
            found.push(name.to_owned());
        }
        Ok(found)
    }

    fn kv_watch(&self, namespace: &str) {
        let mut watched = self.shared.kv_notes.watched.lock();
        watched.entry(namespace.to_owned()).or_default();
    }

    async fn kv_changed(&self, namespace: &str) -> Result<Vec<String>, StoreError> {
        let mut watched = self.shared.kv_notes.watched.lock();
        let names = watched.get_mut(namespace).map(std::mem::take);
        Ok(names.unwrap_or_default().into_iter().collect())
    }

    async fn kv_of(
        &self,
        namespace: &str,
        keys: &[String],
    ) -> Result<Vec<Option<KvItem>>, StoreError> {
        let mut items = Vec::with_capacity(keys.len());
        for key in keys {
            items.push(self.kv(namespace, key).await?);
        }
        Ok(items)
    }

    fn kv_unwatch(&self, namespace: &str) {
        self.shared.kv_notes.watched.lock().remove(namespace);
    }
}
