//! What is loaded: versions under their configurations, and why one could not be. Kept in memory, so that a rollback
//! reads nothing and compiles nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use kith_runtime::{Hook, Version};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// A plugin's configuration in force.
#[derive(Debug, Default)]
pub(in crate::plugins) struct Configuration {
    /// Counted by this process alone; 0 is no configuration.
    pub revision: u64,
    /// Without defaults.
    pub values: Map<String, Value>,
    print: OnceLock<String>,
}

impl Configuration {
    /// What tells it from others, the same on every node whatever the order of its keys; no value can be read from it. 64 hex
    /// digits.
    pub fn print(&self) -> &str {
        self.print.get_or_init(|| {
            let sorted: BTreeMap<&String, &Value> = self.values.iter().collect();
            let text = serde_json::to_vec(&sorted).expect("JSON encodes");
            let digest = Sha256::digest(&text);
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }
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
        Configuration {
            revision,
            values,
            print: OnceLock::new(),
        }
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

    /// These are read again when they are next asked for.
    pub(super) fn forget_settings(&self, of: impl Fn(&str) -> bool) {
        self.configurations.lock().retain(|plugin, _| !of(plugin));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_told_from_others_whatever_the_order_of_its_keys() {
        let loaded = Loaded::default();
        let print = |pairs: &[(&str, i32)]| {
            let pairs = pairs.iter();
            let values = pairs.map(|(key, value)| ((*key).to_owned(), Value::from(*value)));
            loaded.configuration_of(values.collect()).print().to_owned()
        };
        let both = print(&[("a", 1), ("b", 2)]);
        assert_eq!(both, print(&[("b", 2), ("a", 1)]));
        assert_ne!(both, print(&[("a", 1), ("b", 3)]));
        assert_eq!(print(&[]), Configuration::default().print());
    }
}
