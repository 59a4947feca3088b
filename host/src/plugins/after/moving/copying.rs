//! A migration: the namespace is copied page by page, and the new version says what is written over each page. Keys that are
//! written meanwhile are noted by the store and copied again, until none are left within the switch.

use std::time::{Duration, Instant};

use kith_runtime::{UpgradeItem, UpgradeWrite};

use super::{Moving, ended};
use crate::journey::store_refusal;
use crate::refusal::{Code, Refusal};
use crate::store::kv::{KvChange, KvItem, KvWrite};

/// Keys of one step, and the bytes after which no more are taken.
const STEP: (usize, usize) = (256, 1 << 20);
/// Most rounds after what is written meanwhile; whoever writes faster is not moved.
const ROUNDS: usize = 32;
/// Keys whose values are read at once.
const READ_AT_ONCE: usize = 64;
/// A round that takes no longer leaves so little that the last one has time within the switch.
const CLOSE: Duration = Duration::from_secs(2);

impl Moving {
    /// Every key, once; then what was written meanwhile, until that is little.
    pub(super) async fn copy(&mut self) -> Result<(), Refusal> {
        let used = self.shared.kv.kv_used(&self.old).await;
        let used = used.map_err(|e| store_refusal(&e))?;
        self.progress(|progress| progress.of = used);
        let mut after = String::new();
        loop {
            let page = self.shared.kv.kv_page(&self.old, &after, STEP).await;
            let page = page.map_err(|e| store_refusal(&e))?;
            let Some((last, _)) = page.last() else {
                break;
            };
            after.clone_from(last);
            let bytes: usize = page
                .iter()
                .map(|(key, item)| key.len() + item.value.len())
                .sum();
            let step = page.into_iter().map(|(key, item)| (key, Some(item)));
            self.step(step.collect()).await?;
            self.progress(|progress| progress.done += bytes as u64);
        }
        self.rounds(|count, _| count < STEP.0).await
    }

    /// What was written since it was looked at last, until that is little: messages go on writing.
    pub(super) async fn come_close(&mut self) -> Result<(), Refusal> {
        self.rounds(|count, took| count == 0 || took < CLOSE).await
    }

    /// What was written since it was looked at last, all of it: nothing is written any more.
    pub(super) async fn follow(&mut self) -> Result<(), Refusal> {
        self.rounds(|count, _| count == 0).await
    }

    /// Copies what was written, until so few keys in such a time are `enough`.
    async fn rounds(&mut self, enough: impl Fn(usize, Duration) -> bool) -> Result<(), Refusal> {
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let count = self.round().await?;
            if enough(count, began.elapsed()) {
                return Ok(());
            }
        }
        Err(Refusal::unavailable(format!(
            "{} writes faster than its state can be copied; try again when it is quieter",
            self.plugin
        )))
    }

    /// How many keys were copied. The store may tell keys again; those that stand as they were copied are passed over.
    async fn round(&mut self) -> Result<usize, Refusal> {
        let changed = self.shared.kv.kv_changed(&self.old).await;
        let changed = changed.map_err(|e| store_refusal(&e))?;
        let before = std::mem::take(&mut self.copied);
        let (mut step, mut held, mut count) = (Vec::new(), 0, 0);
        for keys in changed.chunks(READ_AT_ONCE) {
            let items = self.shared.kv.kv_of(&self.old, keys).await;
            let items = items.map_err(|e| store_refusal(&e))?;
            for (key, item) in keys.iter().zip(items) {
                let version = item.as_ref().map(|item| item.version);
                self.copied.insert(key.clone(), version);
                if before.get(key) == Some(&version) {
                    continue;
                }
                count += 1;
                held += key.len() + item.as_ref().map_or(0, |item| item.value.len());
                step.push((key.clone(), item));
                if step.len() >= STEP.0 || held >= STEP.1 {
                    self.step(std::mem::take(&mut step)).await?;
                    held = 0;
                }
            }
        }
        if !step.is_empty() {
            self.step(step).await?;
        }
        Ok(count)
    }

    /// Copies some keys as they are, and writes over them what the version says.
    async fn step(&mut self, keys: Vec<(String, Option<KvItem>)>) -> Result<(), Refusal> {
        let items: Vec<UpgradeItem> = keys
            .iter()
            .map(|(key, item)| UpgradeItem {
                key: key.clone(),
                value: item.as_ref().map(|item| item.value.clone()),
                ends_at_ms: item.as_ref().map_or(0, |item| item.expires_at),
            })
            .collect();
        let copies = keys.into_iter().map(|(key, item)| KvWrite {
            key,
            expires_at: item.as_ref().map_or(0, |item| item.expires_at),
            value: item.map(|item| item.value),
            expected: None,
        });
        self.write(copies.collect()).await?;
        let (version, new, from) = (self.version.clone(), self.new.clone(), self.from.0.clone());
        let migrated = tokio::task::spawn_blocking(move || version.migrate(&new, &from, &items));
        let migrated = migrated.await.map_err(|_| ended(&self.plugin))?;
        let migrated = migrated.map_err(|failure| {
            Refusal::bad_request(format!("{} could not migrate: {failure}", self.plugin))
        })?;
        let writes = migrated.map_err(|why| {
            Refusal::bad_request(format!("{} refuses to migrate: {why}", self.plugin))
        })?;
        let write = |write: UpgradeWrite| KvWrite {
            key: write.key,
            value: write.value,
            expected: None,
            expires_at: write.ends_at_ms,
        };
        self.write(writes.into_iter().map(write).collect()).await
    }

    /// While it is copied, old keys and new ones may be there together: the quota counts in the end.
    async fn write(&self, writes: Vec<KvWrite>) -> Result<(), Refusal> {
        if writes.is_empty() {
            return Ok(());
        }
        let change = KvChange {
            namespace: self.new.to_string(),
            writes,
            quota: self.grants.kv_bytes().saturating_mul(2),
            cursor: None,
        };
        match self.shared.settle_kv(change).await {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.code == Code::TooLarge => Err(self.too_large()),
            Err(refusal) => Err(refusal),
        }
    }

    /// What was made must be within the quota.
    pub(super) async fn fits(&self) -> Result<(), Refusal> {
        let used = self.shared.kv.kv_used(&self.new).await;
        match used.map_err(|e| store_refusal(&e))? <= self.grants.kv_bytes() {
            true => Ok(()),
            false => Err(self.too_large()),
        }
    }

    fn too_large(&self) -> Refusal {
        let message = format!(
            "what {} migrates has no room in its quota of {} bytes; grant it more with --grant kv:bytes=N",
            self.plugin,
            self.grants.kv_bytes()
        );
        Refusal::new(Code::Conflict, message)
    }
}
