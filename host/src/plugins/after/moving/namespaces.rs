//! Which namespaces are in use: those a plan names and those in the making. All others go, also what a kill left behind.
//! And the gate between a plugin's calls and the making of its state.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, RwLock};

use super::Progress;
use crate::ids::EntryId;
use crate::journey::store_refusal;
use crate::plugins::after::AfterCommit;
use crate::plugins::bindings::namespace_of;
use crate::plugins::rollout::Rollout;
use crate::refusal::Refusal;
use crate::store::{Change, Outcome};

/// Keys that go with one change.
const DROPPED_AT_ONCE: usize = 1000;
/// Another node may be making what was begun within so long, or serve it before this one knows.
const YOUNG_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Default)]
pub struct Namespaces {
    /// By namespace.
    making: Mutex<HashMap<String, Progress>>,
    /// By plugin: calls read, what makes its state writes.
    calls: Mutex<HashMap<String, Arc<RwLock<()>>>>,
    /// Something was given up.
    left: Notify,
}

impl Namespaces {
    pub fn calls(&self, plugin: &str) -> Arc<RwLock<()>> {
        let mut calls = self.calls.lock();
        calls.entry(plugin.to_owned()).or_default().clone()
    }

    pub fn begin(&self, namespace: &str, progress: Progress) {
        self.making.lock().insert(namespace.to_owned(), progress);
    }

    pub fn progress(&self, namespace: &str, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) = self.making.lock().get_mut(namespace) {
            change(progress);
        }
    }

    pub fn end(&self, namespace: &str) {
        self.making.lock().remove(namespace);
        self.left.notify_one();
    }

    /// What is being made for a plugin.
    pub fn of(&self, plugin: &str) -> Option<Progress> {
        let making = self.making.lock();
        making.values().find(|made| made.plugin == plugin).cloned()
    }

    pub async fn left(&self) {
        self.left.notified().await;
    }
}

impl Rollout {
    /// Where a plugin's keys and values are now, and the bytes it may have there.
    async fn namespace(&self, plugin: &str) -> (String, u64) {
        let state = self.state.lock().await;
        let own = state.plan.plugins.get(plugin);
        let number = own.map_or(0, |own| own.namespace);
        let quota = own.map_or(0, |own| own.grants.kv_bytes());
        (namespace_of(plugin, number), quota)
    }

    /// The plugins that were ever activated, and the namespaces that serve or would after a rollback.
    async fn namespaces(&self) -> (HashSet<String>, HashSet<String>) {
        let state = self.state.lock().await;
        let plugins = state.plan.plugins.iter();
        let used = plugins.clone().flat_map(|(name, own)| {
            [own.namespace, own.previous_namespace].map(|number| namespace_of(name, number))
        });
        (
            plugins.map(|(name, _)| name.clone()).collect(),
            used.collect(),
        )
    }
}

/// Whether a namespace was begun lately; its number says when.
fn is_young(namespace: &str, now_ms: u64) -> bool {
    let number = namespace.split_once('/').map(|(_, number)| number.parse());
    let Some(Ok(number)) = number else {
        return false;
    };
    EntryId(number).at_ms().saturating_add(YOUNG_MS) > now_ms
}

impl AfterCommit {
    /// `{bytes, quota, refused}` of what a plugin keeps.
    pub(in crate::plugins::after) async fn values_report(
        &self,
        plugin: &str,
    ) -> Result<Value, Refusal> {
        let (namespace, quota) = self.rollout.namespace(plugin).await;
        let bytes = self.kv.kv_used(&namespace).await;
        let bytes = bytes.map_err(|e| store_refusal(&e))?;
        let refused = self.kv.kv_refused(&namespace);
        Ok(json!({"bytes": bytes, "quota": quota, "refused": refused}))
    }

    /// Drops every namespace that nobody uses.
    pub(in crate::plugins::after) async fn sweep_namespaces(&self) -> Result<(), Refusal> {
        let kept = self.kv.kv_namespaces().await;
        let kept = kept.map_err(|e| store_refusal(&e))?;
        let (known, used) = self.rollout.namespaces().await;
        let now = self.rollout.clock.now_ms();
        for namespace in kept {
            let plugin = namespace.split('/').next().unwrap_or_default();
            let is_made = self.namespaces.making.lock().contains_key(&namespace);
            let is_others = self.rollout.among().is_some() && is_young(&namespace, now);
            if !known.contains(plugin) || used.contains(&namespace) || is_made || is_others {
                continue;
            }
            tracing::info!(namespace, "a namespace that nobody uses is dropped");
            loop {
                let drop = Change::KvDrop {
                    namespace: namespace.clone(),
                    most: DROPPED_AT_ONCE,
                };
                match self.journey.settle(drop).await? {
                    Outcome::KvDropped { more: true } => {}
                    _ => break,
                }
            }
        }
        Ok(())
    }
}
