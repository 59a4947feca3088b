//! Plugins' writes in a batch: effects of entries, and changes of their own with expectations and a quota. Every write
//! is counted to its namespace.

use super::Batch;
use crate::store::kv::{KvChange, KvWrite};
use crate::store::log::batch::Applied;
use crate::store::log::key;
use crate::store::log::kv_row::{KvRow, bytes};
use crate::store::{CommitError, Outcome, PluginWrite, StoreError};

impl Batch<'_> {
    /// Writes of plugins that commit with a change. Those of a namespace that has no room for them are not kept, all or
    /// none of them; the change is.
    pub(super) fn put_effects(&mut self, effects: Vec<PluginWrite>) -> Result<(), StoreError> {
        let mut rest = effects;
        while let Some(first) = rest.first() {
            let (namespace, quota) = (first.namespace.clone(), first.quota);
            let (own, others): (Vec<_>, Vec<_>) = rest
                .into_iter()
                .partition(|effect| effect.namespace == namespace);
            rest = others;
            let write = |PluginWrite { key, value, .. }| KvWrite {
                key,
                value,
                expected: None,
                expires_at: 0,
            };
            let writes: Vec<KvWrite> = own.into_iter().map(write).collect();
            self.expect(&namespace, &writes)?;
            if self.has_room(&namespace, &writes, quota)? {
                for write in writes {
                    self.put_kv(&namespace, write)?;
                }
                continue;
            }
            let times = self.engine.refuse(&namespace);
            if times.is_power_of_two() {
                tracing::warn!(
                    namespace,
                    quota,
                    times,
                    "effects of a plugin were not kept: it has no more room"
                );
            }
        }
        Ok(())
    }

    fn expect(&self, namespace: &str, writes: &[KvWrite]) -> Result<(), StoreError> {
        let is_known = |write: &&KvWrite| self.kv.contains_key(&key::kv(namespace, &write.key));
        let unknown = writes.iter().filter(|write| !is_known(write));
        let names: Vec<&str> = unknown.map(|write| write.key.as_str()).collect();
        match names.is_empty() {
            true => Ok(()),
            false => self.engine.expect_kv(namespace, &names),
        }
    }

    /// Whether a namespace is within its quota with these writes; what has ended makes room first.
    fn has_room(
        &mut self,
        namespace: &str,
        writes: &[KvWrite],
        quota: u64,
    ) -> Result<bool, StoreError> {
        let mut growth = 0_i64;
        for (place, write) in writes.iter().enumerate() {
            let size = |value: &[u8]| bytes(&write.key, value) as i64;
            let earlier = writes[..place]
                .iter()
                .rfind(|earlier| earlier.key == write.key);
            growth -= match earlier {
                Some(earlier) => earlier.value.as_deref().map_or(0, size),
                None => {
                    let before = self.kv_row(namespace, &write.key)?;
                    before.map_or(0, |row| size(&row.value))
                }
            };
            growth += write.value.as_deref().map_or(0, size);
        }
        if growth <= 0 {
            return Ok(true);
        }
        if self.kv_used(namespace)?.saturating_add_signed(growth) > quota {
            self.engine.recount(namespace)?;
            self.end_kv(namespace)?;
        }
        Ok(self.kv_used(namespace)?.saturating_add_signed(growth) <= quota)
    }

    /// All writes or none, and the consumer's place.
    pub(super) fn change_kv(&mut self, change: &KvChange) -> Applied {
        let namespace = change.namespace.as_str();
        self.expect(namespace, &change.writes)?;
        for write in &change.writes {
            let before = self.kv_row(namespace, &write.key)?;
            let living = before.as_ref().filter(|row| !row.has_ended(self.now));
            let version = living.map_or(0, |row| row.version);
            if write.expected.is_some_and(|expected| expected != version) {
                return Ok(Err(CommitError::Changed));
            }
        }
        if let Some(advance) = &change.cursor {
            let stands = self.engine.row(&key::cursor(&advance.consumer))?;
            let from = advance.from.as_ref().map(|from| from.0.as_bytes());
            if stands.as_deref() != from {
                return Ok(Err(CommitError::Changed));
            }
        }
        if !self.has_room(namespace, &change.writes, change.quota)? {
            return Ok(Err(CommitError::Full(
                "the plugin's keys and values have no more room",
            )));
        }
        let mut versions = Vec::with_capacity(change.writes.len());
        for write in &change.writes {
            versions.push(self.put_kv(namespace, write.clone())?);
        }
        if let Some(advance) = &change.cursor {
            self.put_row(key::cursor(&advance.consumer), advance.to.0.as_bytes());
        }
        Ok(Ok(Outcome::Kv(versions)))
    }

    /// The first keys of a namespace go.
    pub(super) fn drop_kv(&mut self, namespace: &str, most: usize) -> Applied {
        let mut found = Vec::new();
        self.engine.kv_rows(namespace, &mut |name, row| {
            found.push((bytes(&name, &row.value), key::kv(namespace, &name)));
            found.len() <= most
        })?;
        let more = found.len() > most;
        found.truncate(most);
        let mut used = self.kv_used(namespace)?;
        for (size, place) in found {
            used = used.saturating_sub(size);
            self.remove_row(place.clone());
            self.kv.insert(place, None);
        }
        self.kv_used.insert(namespace.to_owned(), used);
        // Its row is written once in a batch: nobody else writes there any more.
        match more {
            true => self.put_row(key::kv_used(namespace), used.to_be_bytes()),
            false => self.remove_row(key::kv_used(namespace)),
        }
        Ok(Ok(Outcome::KvDropped { more }))
    }

    /// One write; its version.
    fn put_kv(&mut self, namespace: &str, write: KvWrite) -> Result<u64, StoreError> {
        let place = key::kv(namespace, &write.key);
        let before = self.kv_row(namespace, &write.key)?;
        let mut used = self.kv_used(namespace)?;
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
        self.put_row(key::kv_used(namespace), used.to_be_bytes());
        self.kv_used.insert(namespace.to_owned(), used);
        Ok(version)
    }

    /// Takes away what has ended.
    fn end_kv(&mut self, namespace: &str) -> Result<(), StoreError> {
        let now = self.now;
        let mut ended = Vec::new();
        self.engine.kv_rows(namespace, &mut |name, row| {
            if row.has_ended(now) {
                ended.push(name);
            }
            true
        })?;
        for name in ended {
            // It may have been written anew in this batch.
            let still = self.kv_row(namespace, &name)?;
            if still.is_some_and(|row| row.has_ended(now)) {
                let write = KvWrite {
                    key: name,
                    value: None,
                    expected: None,
                    expires_at: 0,
                };
                self.put_kv(namespace, write)?;
            }
        }
        Ok(())
    }

    fn kv_row(&self, namespace: &str, name: &str) -> Result<Option<KvRow>, StoreError> {
        match self.kv.get(&key::kv(namespace, name)) {
            Some(row) => Ok(row.clone()),
            None => self.engine.kv(namespace, name),
        }
    }

    fn kv_used(&self, namespace: &str) -> Result<u64, StoreError> {
        match self.kv_used.get(namespace) {
            Some(used) => Ok(*used),
            None => self.engine.kv_used(namespace),
        }
    }
}
