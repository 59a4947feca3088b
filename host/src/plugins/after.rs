//! What follows a commit: each plugin with a hook of that tier is a consumer of the feed with a durable place of its own,
//! whatever its version, across restarts and while it is disabled. Every entry is shown at least once; effects happen once.
//!
//! Nothing here stands on a message's path.

mod abilities;
mod accounts;
mod effects;
pub(super) mod events;
mod follow;
mod http;
mod ledger;
mod observing;
mod places;
mod replies;
mod responding;

use std::collections::HashSet;
use std::sync::Arc;

use kith_runtime::{Binding, Generation, Hook};
use serde_json::{Value, json};

use crate::journey::Journey;
use crate::plugins::rollout::Rollout;
use crate::refusal::Refusal;
use crate::session::registry::Registry;
use crate::store::feed::Feed;
use crate::store::kv::PluginKv;
use ledger::Ledger;

/// Under which name a plugin's hook keeps its place in the feed.
pub fn consumer_name(plugin: &str, hook: Hook) -> String {
    format!("plugin/{plugin}/{}", hook.as_str())
}

/// All consumers, and what they share.
pub struct AfterCommit {
    rollout: Arc<Rollout>,
    journey: Arc<Journey>,
    registry: Arc<Registry>,
    feed: Arc<dyn Feed>,
    kv: Arc<dyn PluginKv>,
    /// Members of larger groups do not watch a reply being written.
    watchers_most: usize,
    ledger: Ledger,
}

impl AfterCommit {
    pub fn new(
        (rollout, journey, registry): (Arc<Rollout>, Arc<Journey>, Arc<Registry>),
        (feed, kv): (Arc<dyn Feed>, Arc<dyn PluginKv>),
        watchers_most: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            rollout,
            journey,
            registry,
            feed,
            kv,
            watchers_most,
            ledger: Ledger::default(),
        })
    }

    /// Has every bound hook followed, from the moment it is bound. Runs for ever; ends with everything it began.
    pub async fn run(self: Arc<Self>) {
        let mut generations = self.rollout.generations();
        let mut begun: HashSet<(String, Hook)> = HashSet::new();
        let mut consumers = tokio::task::JoinSet::new();
        loop {
            generations.borrow_and_update();
            for binding in self.rollout.pinned().bindings() {
                let key = (binding.plugin.clone(), binding.hook);
                if binding.hook.is_after_commit() && begun.insert(key) {
                    consumers.spawn(follow::run(
                        self.clone(),
                        binding.plugin.as_str().into(),
                        binding.hook,
                    ));
                }
            }
            if generations.changed().await.is_err() {
                return;
            }
        }
    }

    /// `{name, consumers: [{hook, delivered, …}], metrics}` of a plugin.
    pub async fn report(&self, plugin: &str) -> Result<Value, Refusal> {
        self.rollout.check_known(plugin).await?;
        Ok(json!({
            "name": plugin,
            "consumers": self.ledger.consumers(plugin),
            "metrics": self.ledger.metrics(plugin),
        }))
    }

    /// The generation in force, where it binds this hook of the plugin, with the binding's place.
    fn bound(&self, plugin: &str, hook: Hook) -> Option<Bound> {
        let generation = self.rollout.pinned();
        let place = generation
            .bindings()
            .iter()
            .position(|binding| binding.plugin == plugin && binding.hook == hook)?;
        Some(Bound { generation, place })
    }
}

/// A binding of a pinned generation.
#[derive(Clone)]
struct Bound {
    generation: Arc<Generation>,
    place: usize,
}

impl Bound {
    fn binding(&self) -> &Binding {
        &self.generation.bindings()[self.place]
    }
}
