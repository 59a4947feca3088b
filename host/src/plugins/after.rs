//! What follows a commit: each plugin with a hook of that tier is a consumer of the feed with a durable place of its own,
//! whatever its version, across restarts and while it is disabled. Every entry is shown at least once; effects happen once. Of
//! several nodes one at a time shows them, each plugin's hook for itself.
//!
//! Nothing here stands on a message's path.

mod abilities;
mod accounts;
mod consumers;
mod effects;
pub(super) mod events;
mod follow;
pub mod handover;
mod http;
mod kinds;
mod ledger;
pub mod moving;
mod observing;
mod places;
mod questions;
mod replies;
mod responding;
mod scheduled;
pub mod services;

use std::collections::HashSet;
use std::sync::Arc;

use kith_runtime::{Binding, Generation, Hook, Share};
use serde_json::{Value, json};

use crate::bus::turns::Turns;
use crate::ids::ConversationId;
use crate::journey::Journey;
use crate::plugins::rollout::Rollout;
use crate::refusal::Refusal;
use crate::session::registry::Registry;
use crate::store::feed::Feed;
use crate::store::kv::PluginKv;
use crate::store::moderation::Moderation;
use crate::telemetry::{Families, Row, number};
use ledger::Ledger;
pub use ledger::PluginMetric;
use moving::Namespaces;
use services::Services;

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
    moderation: Arc<dyn Moderation>,
    services: Services,
    turns: Arc<Turns>,
    /// Members of larger groups do not watch a reply being written.
    watchers_most: usize,
    ledger: Ledger,
    namespaces: Namespaces,
}

impl AfterCommit {
    pub fn new(
        (rollout, journey, registry): (Arc<Rollout>, Arc<Journey>, Arc<Registry>),
        (feed, kv): (Arc<dyn Feed>, Arc<dyn PluginKv>),
        moderation: Arc<dyn Moderation>,
        (services, turns): (Services, Arc<Turns>),
        watchers_most: usize,
    ) -> Arc<Self> {
        let after = Arc::new(Self {
            rollout,
            journey,
            registry,
            feed,
            kv,
            moderation,
            services,
            turns,
            watchers_most,
            ledger: Ledger::default(),
            namespaces: Namespaces::default(),
        });
        after.rollout.moves_state_by(&after);
        after
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
            if let Err(refusal) = self.sweep_namespaces().await {
                tracing::debug!(%refusal, "unused namespaces are still there");
            }
            tokio::select! {
                changed = generations.changed() => if changed.is_err() {
                    return;
                },
                () = self.namespaces.left() => {}
            }
        }
    }

    /// `{name, consumers: [{hook, delivered, …}], metrics, values}` of a plugin; `schedules` where
    /// it has any, `moving` while its state is made anew.
    pub async fn report(&self, plugin: &str) -> Result<Value, Refusal> {
        self.rollout.check_known(plugin).await?;
        let mut report = json!({
            "name": plugin,
            "consumers": self.ledger.consumers(plugin),
            "metrics": self.ledger.metrics(plugin),
            "values": self.values_report(plugin).await?,
        });
        let schedules = self.schedules_report(plugin).await?;
        if !schedules.is_empty() {
            report["schedules"] = schedules.into();
        }
        if let Some(progress) = self.namespaces.of(plugin) {
            report["moving"] = progress.json();
        }
        Ok(report)
    }

    /// What went wrong with a plugin's hooks after the commit, as a sentence.
    pub fn trouble(&self, plugin: &str) -> Option<String> {
        self.ledger.trouble(plugin)
    }

    /// Every number that plugins keep, for whoever gathers numbers.
    pub fn every_metric(&self) -> Vec<PluginMetric> {
        self.ledger.every_metric()
    }

    /// Consumers and plugins' own numbers.
    pub fn measure(&self, families: &mut Families) {
        let newest = *self.feed.commits().borrow();
        let (mut lags, mut events) = (Vec::new(), Vec::new());
        for follower in self.ledger.followers(newest) {
            let labels = || {
                let plugin = ("plugin", follower.plugin.clone());
                (plugin, ("hook", follower.hook.as_str().to_owned()))
            };
            let (plugin, hook) = labels();
            lags.push(Row::new([plugin, hook], number(follower.lag_ms) / 1e3));
            for (what, count) in [
                ("delivered", follower.delivered),
                ("skipped", follower.skipped),
                ("failed", follower.failures),
            ] {
                let (plugin, hook) = labels();
                let result = ("result", what.to_owned());
                events.push(Row::new([plugin, hook, result], number(count)));
            }
        }
        let help = "How far a plugin's hook was behind the log when it last had everything.";
        families.gauges("kith_consumer_lag_seconds", help, lags);
        let help =
            "Events shown to hooks after the commit: done with, given up, calls that failed.";
        families.counters("kith_consumer_events_total", help, events);
        let (mut counts, mut values) = (Vec::new(), Vec::new());
        for metric in self.ledger.every_metric() {
            let row = Row::new(
                [("plugin", metric.plugin), ("name", metric.name)],
                metric.value,
            );
            if metric.is_count {
                counts.push(row)
            } else {
                values.push(row)
            }
        }
        families.counters(
            "kith_plugin_count_total",
            "What plugins count themselves.",
            counts,
        );
        families.gauges(
            "kith_plugin_value",
            "What plugins measure themselves.",
            values,
        );
    }

    /// The generation in force, where it binds this hook of the plugin, with each binding's place: what serves, and a
    /// canary.
    fn bound(&self, plugin: &str, hook: Hook) -> Vec<Bound> {
        let generation = self.rollout.pinned();
        let bindings = generation.bindings().iter().enumerate();
        let own = bindings.filter(|(_, binding)| {
            let is_own = binding.plugin == plugin && binding.hook == hook;
            is_own && binding.share != Share::Nothing
        });
        own.map(|(place, _)| Bound {
            generation: generation.clone(),
            place,
        })
        .collect()
    }

    /// The one of them that is asked in a conversation.
    fn bound_in(&self, plugin: &str, hook: Hook, conversation: ConversationId) -> Option<Bound> {
        let conversation = conversation.to_string();
        let mut bound = self.bound(plugin, hook).into_iter();
        bound.find(|bound| bound.binding().share.holds(&conversation))
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
