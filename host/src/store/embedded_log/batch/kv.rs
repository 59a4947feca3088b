//! Plugins' writes in a batch: effects of entries, and changes of their own with expectations and a quota. Every write
//! is counted to its plugin.

use super::Batch;
use crate::store::embedded_log::committer::Applied;
use crate::store::embedded_log::key;
use crate::store::embedded_log::kv::{KvRow, bytes};
use crate::store::kv::{KvChange, KvWrite};
use crate::store::{CommitError, Outcome, PluginWrite, StoreError};

impl Batch<'_> {
    /// Writes of plugins that commit with a change.
    pub(super) fn put_effects(&mut self, effects: Vec<PluginWrite>) -> Result<(), StoreError> {
        for PluginWrite { plugin, key, value } in effects {
            let write = KvWrite {
                key,
                value,
                expected: None,
                expires_at: 0,
            };
            self.put_kv(&plugin, write)?;
        }
        Ok(())
    }

    /// All writes of a plugin or none, and its consumer's place.
    pub(super) fn change_kv(&mut self, change: &KvChange) -> Applied {
        let plugin = change.plugin.as_str();
        let mut growth = 0_i64;
        for write in &change.writes {
            let before = self.kv_row(plugin, &write.key)?;
            let living = before.as_ref().filter(|row| !row.has_ended(self.now));
            let version = living.map_or(0, |row| row.version);
            if write.expected.is_some_and(|expected| expected != version) {
                return Ok(Err(CommitError::Changed));
            }
            let size = |value: &[u8]| bytes(&write.key, value) as i64;
            growth += write.value.as_deref().map_or(0, size);
            growth -= before.as_ref().map_or(0, |row| size(&row.value));
        }
        if growth > 0 {
            if self.kv_used(plugin)?.saturating_add_signed(growth) > change.quota {
                self.end_kv(plugin)?;
            }
            if self.kv_used(plugin)?.saturating_add_signed(growth) > change.quota {
                return Ok(Err(CommitError::Full(
                    "the plugin's keys and values have no more room",
                )));
            }
        }
        let mut versions = Vec::with_capacity(change.writes.len());
        for write in &change.writes {
            versions.push(self.put_kv(plugin, write.clone())?);
        }
        if let Some((consumer, at)) = &change.cursor {
            self.put_row(key::cursor(consumer), at.0.as_bytes().to_vec());
        }
        Ok(Ok(Outcome::Kv(versions)))
    }

    /// One write; its version.
    fn put_kv(&mut self, plugin: &str, write: KvWrite) -> Result<u64, StoreError> {
        let place = key::kv(plugin, &write.key);
        let before = self.kv_row(plugin, &write.key)?;
        let mut used = self.kv_used(plugin)?;
        if let Some(before) = &before {
            used = used.saturating_sub(bytes(&write.key, &before.value));
        }
        let version = self.next_stamp();
        let row = write.value.map(|value| KvRow {
            version,
            expires_at: write.expires_at,
            value,
        });
        match &row {
            Some(row) => {
                used += bytes(&write.key, &row.value);
                self.put_row(place.clone(), row.encode());
            }
            None => self.remove_row(place.clone()),
        }
        self.kv.insert(place, row);
        self.put_row(key::kv_used(plugin), used.to_be_bytes());
        self.kv_used.insert(plugin.to_owned(), used);
        Ok(version)
    }

    /// Takes away what has ended.
    fn end_kv(&mut self, plugin: &str) -> Result<(), StoreError> {
        let now = self.now;
        let mut ended = Vec::new();
        self.shared.tables.kv_rows(plugin, ("", ""), |name, row| {
            if row.has_ended(now) {
                ended.push(name);
            }
            true
        })?;
        for name in ended {
            // It may have been written anew in this batch.
            let still = self.kv_row(plugin, &name)?;
            if still.is_some_and(|row| row.has_ended(now)) {
                let write = KvWrite {
                    key: name,
                    value: None,
                    expected: None,
                    expires_at: 0,
                };
                self.put_kv(plugin, write)?;
            }
        }
        Ok(())
    }

    fn kv_row(&self, plugin: &str, name: &str) -> Result<Option<KvRow>, StoreError> {
        match self.kv.get(&key::kv(plugin, name)) {
            Some(row) => Ok(row.clone()),
            None => self.shared.tables.kv(plugin, name),
        }
    }

    fn kv_used(&self, plugin: &str) -> Result<u64, StoreError> {
        match self.kv_used.get(plugin) {
            Some(used) => Ok(*used),
            None => self.shared.tables.kv_used(plugin),
        }
    }
}
