//! Plugins' keys and values in the embedded log: how a row looks, and reading it. What has ended is as good as gone; its
//! row goes when the room is needed.

use async_trait::async_trait;

use super::EmbeddedLog;
use super::key;
use super::rows::{Reader, Writer};
use super::tables::{Tables, damaged, unavailable};
use crate::store::StoreError;
use crate::store::kv::{KvItem, PluginKv};

/// A value's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvRow {
    pub version: u64,
    /// Milliseconds since 1970 UTC; 0 for never.
    pub expires_at: u64,
    pub value: Vec<u8>,
}

impl KvRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(16 + self.value.len()));
        out.u64(self.version).u64(self.expires_at);
        out.0.extend_from_slice(&self.value);
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut from = Reader(bytes);
        let heads = (from.u64(), from.u64());
        let (Some(version), Some(expires_at)) = heads else {
            return Err(damaged("a plugin's value"));
        };
        Ok(Self {
            version,
            expires_at,
            value: from.0.to_vec(),
        })
    }

    pub fn has_ended(&self, now: u64) -> bool {
        self.expires_at != 0 && self.expires_at <= now
    }
}

/// What a key counts for.
pub fn bytes(name: &str, value: &[u8]) -> u64 {
    (name.len() + value.len()) as u64
}

impl Tables {
    /// A row, ended or not.
    pub fn kv(&self, plugin: &str, name: &str) -> Result<Option<KvRow>, StoreError> {
        let row = self.row(&key::kv(plugin, name))?;
        row.map(|bytes| KvRow::decode(&bytes)).transpose()
    }

    /// Bytes a plugin has, ended ones included.
    pub fn kv_used(&self, plugin: &str) -> Result<u64, StoreError> {
        let row = self.row(&key::kv_used(plugin))?;
        Ok(row
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_be_bytes))
    }

    /// Rows of a plugin whose names begin with `prefix`, from a name on, while `more` says so.
    pub fn kv_rows(
        &self,
        plugin: &str,
        (prefix, from): (&str, &str),
        mut more: impl FnMut(String, KvRow) -> bool,
    ) -> Result<(), StoreError> {
        let bare = key::kv(plugin, "").len();
        let mut first = key::kv(plugin, from.max(prefix));
        if from >= prefix && !from.is_empty() {
            first.push(0); // after it
        }
        for guard in self.rows.range(first..) {
            let (found, bytes) = guard.into_inner().map_err(unavailable)?;
            if !found.starts_with(&key::kv(plugin, prefix)) {
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

#[async_trait]
impl PluginKv for EmbeddedLog {
    async fn kv(&self, plugin: &str, key: &str) -> Result<Option<KvItem>, StoreError> {
        let now = self.shared.clock.now_ms();
        let row = self.tables().kv(plugin, key)?;
        Ok(row.filter(|row| !row.has_ended(now)).map(|row| KvItem {
            value: row.value,
            version: row.version,
        }))
    }

    async fn kv_keys(
        &self,
        plugin: &str,
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
            .kv_rows(plugin, (prefix, after), |name, row| {
                if !row.has_ended(now) {
                    keys.push(name);
                }
                keys.len() < limit
            })?;
        Ok(keys)
    }
}
