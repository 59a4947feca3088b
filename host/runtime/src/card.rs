//! A version's card: everything a host knows of a prepared version, beside its code in the cache, so that it need not be
//! loaded to be known. One that is of another host, or whose code is gone, is not taken.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::code_cache::{CodeCache, hex};
use crate::error::LoadError;
use crate::inspect::Inspection;

/// Counted up when what is kept in the cache changes its meaning.
pub(crate) const CACHE_FORMAT: &str = "2";
/// What another host checked or offers may differ.
const HOST: &str = env!("CARGO_PKG_VERSION");

/// A command, as the binary names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub name: String,
    pub summary: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Card {
    pub inspection: Inspection,
    /// The names of its files: of binary, configuration and engine together.
    pub key: String,
    pub code: String,
    pub component: String,
    pub config: String,
    pub configuration: Option<String>,
    pub not_baked: Option<String>,
    pub commands: Vec<Named>,
    /// Schedules, checked: names, and when each comes.
    pub schedules: Vec<(String, String)>,
    pub configure_us: u64,
}

/// The name of the card of a binary under a configuration as it was given.
pub(crate) fn name(digest: &str, config: &Value, engine_key: &str) -> String {
    named("card", digest, &config.to_string(), engine_key)
}

/// A name for what comes of a binary, a configuration and an engine.
pub(crate) fn named(what: &str, digest: &str, config: &str, engine_key: &str) -> String {
    let mut hash = Sha256::new();
    for part in [what, CACHE_FORMAT, HOST, digest, config, engine_key] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize())
}

impl Card {
    /// The card, where everything it names is there.
    pub fn read(cache: &CodeCache, name: &str) -> Option<Self> {
        let card: Self = serde_json::from_slice(&cache.read(&file(name))?).ok()?;
        let code = format!("{}.cwasm", card.code);
        let files = [Some(&code), Some(&card.config), card.configuration.as_ref()];
        let whole = files.into_iter().flatten().all(|file| cache.has(file));
        whole.then_some(card)
    }

    pub fn write(&self, cache: &CodeCache, name: &str) -> Result<(), LoadError> {
        let json =
            serde_json::to_vec(self).map_err(|error| LoadError::Compile(error.to_string()))?;
        cache.write(&file(name), &json)
    }
}

fn file(name: &str) -> String {
    format!("{name}.card.json")
}
