//! What is loaded: versions under their configurations, and why one could not be. Kept in memory, so that a rollback
//! reads nothing and compiles nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kith_runtime::{Hook, Version};
use parking_lot::Mutex;
use serde_json::{Map, Value};

/// A plugin's configuration in force.
#[derive(Debug, Default)]
pub(in crate::plugins) struct Configuration {
    /// Counted by this process alone; 0 is no configuration.
    pub revision: u64,
    /// Without defaults.
    pub values: Map<String, Value>,
}

/// A version under one configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::plugins) struct PreparedKey {
    pub digest: String,
    pub revision: u64,
}

#[derive(Default)]
pub(in crate::plugins) struct Loaded {
    versions: Mutex<HashMap<PreparedKey, Arc<Version>>>,
    /// By plugin.
    configurations: Mutex<HashMap<String, Arc<Configuration>>>,
    /// By digest.
    absent: Mutex<HashMap<String, String>>,
    /// The hooks a binary exports, by digest.
    hooks: Mutex<HashMap<String, Vec<Hook>>>,
    revisions: AtomicU64,
    /// False while the server starts.
    serves: AtomicBool,
}

impl Loaded {
    /// From now on whatever is to serve is prepared in full.
    pub(super) fn serves(&self) {
        self.serves.store(true, Ordering::Relaxed);
    }

    /// The server is starting: what served before it stopped was tested then.
    pub(super) fn is_starting(&self) -> bool {
        !self.serves.load(Ordering::Relaxed)
    }

    pub(super) fn version(&self, key: &PreparedKey) -> Option<Arc<Version>> {
        self.versions.lock().get(key).cloned()
    }

    pub(super) fn add(&self, key: PreparedKey, version: Arc<Version>) {
        self.versions.lock().insert(key, version);
    }

    /// Any configuration's.
    pub(super) fn any_of(&self, digest: &str) -> Option<Arc<Version>> {
        let versions = self.versions.lock();
        let found = versions.iter().find(|(key, _)| key.digest == digest);
        found.map(|(_, version)| version.clone())
    }

    /// Lets go of everything else; what is left.
    pub(super) fn keep_only(&self, wanted: &HashSet<PreparedKey>) -> Vec<Arc<Version>> {
        let mut versions = self.versions.lock();
        versions.retain(|key, _| wanted.contains(key));
        versions.values().cloned().collect()
    }

    /// Every version that is loaded.
    pub(super) fn all(&self) -> Vec<Arc<Version>> {
        self.versions.lock().values().cloned().collect()
    }

    /// Values as a configuration of their own, which nothing was prepared under yet.
    pub(super) fn configuration_of(&self, values: Map<String, Value>) -> Configuration {
        let revision = 1 + self.revisions.fetch_add(1, Ordering::Relaxed);
        Configuration { revision, values }
    }

    pub(super) fn hooks(&self, digest: &str) -> Option<Vec<Hook>> {
        self.hooks.lock().get(digest).cloned()
    }

    pub(super) fn has_hooks(&self, digest: &str, hooks: &[Hook]) {
        self.hooks.lock().insert(digest.to_owned(), hooks.to_vec());
    }

    /// Of what is in the registry no more.
    pub(super) fn forget_hooks(&self, digests: &[String]) {
        let mut hooks = self.hooks.lock();
        digests.iter().for_each(|digest| drop(hooks.remove(digest)));
    }

    pub(super) fn configuration(&self, plugin: &str) -> Option<Arc<Configuration>> {
        self.configurations.lock().get(plugin).cloned()
    }

    pub(super) fn configure(&self, plugin: &str, configuration: Arc<Configuration>) {
        self.configurations
            .lock()
            .insert(plugin.to_owned(), configuration);
    }

    pub(super) fn is_absent(&self, digest: &str, why: Option<&str>) {
        let mut absent = self.absent.lock();
        match why {
            Some(why) => absent.insert(digest.to_owned(), why.to_owned()),
            None => absent.remove(digest),
        };
    }

    pub(super) fn why_absent(&self, digest: &str) -> Option<String> {
        self.absent.lock().get(digest).cloned()
    }
}
