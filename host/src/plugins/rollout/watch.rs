//! Watching: a fresh activation is rolled back by itself, and a canary ended, when its breaker opens, it is slow, its
//! verdicts drift from the other version's, or its instances grow. A first activation has nothing to go back to and is
//! unbound. What is given up is quarantined.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kith_runtime::{HealthChange, HealthEvent};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use super::proposal::{ATTEMPTS, is_outrun};
use super::step::{HOST, Step};
use super::switch::Trouble;
use super::{Rollout, State};
use crate::plugins::bindings::{Plan, PluginPlan, VersionRef};
use crate::refusal::{Code, Refusal};

/// How often what is counted is compared.
const LOOK: Duration = Duration::from_millis(500);

/// What is given up when it is in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Activation,
    Canary,
}

/// Activations under watch, by plugin.
type Fresh = HashMap<String, VersionRef>;

impl Rollout {
    /// Gives up what is in trouble, and tells when a hook is well again. Runs for ever.
    pub async fn watch(self: Arc<Self>) {
        let mut health = self.runtime.health();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut fresh = Fresh::new();
        let mut missed = false;
        loop {
            tokio::select! {
                event = health.recv() => match event {
                    Ok(event) => self.heard(&event).await,
                    Err(RecvError::Lagged(_)) => missed = true,
                    Err(RecvError::Closed) => return,
                },
                _ = looks.tick() => {
                    self.look(&mut fresh, std::mem::take(&mut missed)).await;
                }
            }
        }
    }

    async fn heard(&self, event: &HealthEvent) {
        let why = match &event.change {
            HealthChange::Opened(why) => format!("{}: {why}", event.hook.as_str()),
            HealthChange::ProbeDue | HealthChange::Closed => {
                self.switched.notify_one();
                return;
            }
        };
        let trouble = Trouble {
            cause: if event.slow { "latency" } else { "breaker" },
            why,
        };
        self.give_up(&event.plugin, &event.digest, &trouble).await;
    }

    /// Compares what is watched with what it replaced or runs beside, and tells whose watch time is over. Where something
    /// was `missed`, breakers that opened unheard are seen.
    async fn look(&self, fresh: &mut Fresh, missed: bool) {
        let now = self.clock.now_ms();
        let mut over = Vec::new();
        let pairs = {
            let state = self.state.lock().await;
            let plugins = &state.plan.plugins;
            fresh.retain(|name, watched| {
                let own = plugins.get(name).filter(|own| own.version() == *watched);
                let stays = own.is_some_and(|own| is_watched(own, now));
                if own.is_some() && !stays {
                    over.push((name.clone(), watched.clone()));
                }
                stays
            });
            let pairs = pairs(&state.plan, now);
            let begun = pairs
                .iter()
                .filter(|pair| pair.watched == Watched::Activation);
            fresh.extend(begun.map(|pair| (pair.name.clone(), pair.version.clone())));
            pairs
        };
        for (name, version) in over {
            let step = Step::of(HOST, "plugin.watch.end", &name);
            self.tell_step(step.after(Some(&version))).await;
        }
        for pair in pairs {
            let digests = (
                pair.version.digest.as_str(),
                pair.other.as_ref().map(|other| other.digest.as_str()),
            );
            let trouble = missed.then(|| self.open_breaker(&pair.version)).flatten();
            // Without another version there is nothing that this one is worse than.
            let compared = digests.1.is_some() && trouble.is_none();
            let compared = compared.then(|| self.tallies.compare(&pair.name, digests, &self.rules));
            let trouble = trouble.or(compared.flatten());
            if let Some(trouble) = trouble {
                self.give_up(&pair.name, digests.0, &trouble).await;
            }
        }
    }

    /// One whose opening was not heard.
    fn open_breaker(&self, version: &VersionRef) -> Option<Trouble> {
        let loaded = self.loaded.any_of(&version.digest)?;
        let hooks = &loaded.inspection().hooks;
        let open =
            |hook: &&kith_runtime::Hook| loaded.breaker(**hook) == kith_runtime::BreakerState::Open;
        hooks.iter().find(open).map(|hook| Trouble {
            cause: "breaker",
            why: format!("{}: its breaker is open", hook.as_str()),
        })
    }

    /// Rolls a fresh activation back or, where there is nothing to go back to, unbinds it; ends a canary; nothing where the version is neither.
    async fn give_up(&self, name: &str, digest: &str, trouble: &Trouble) {
        for _ in 0..ATTEMPTS {
            // Another node may have found the same.
            if let Err(refusal) = self.caught_up().await {
                tracing::warn!(why = %refusal.message, "what serves elsewhere is not known");
            }
            if !self.give_up_unless_outrun(name, digest, trouble).await {
                return;
            }
        }
    }

    /// Whether it has to be tried again.
    async fn give_up_unless_outrun(&self, name: &str, digest: &str, trouble: &Trouble) -> bool {
        let mut state = self.state.lock().await;
        let now = self.clock.now_ms();
        let Some(watched) = watched(&state.plan, name, digest, now) else {
            return false;
        };
        let (cause, why) = (trouble.cause, trouble.why.as_str());
        tracing::error!(
            plugin = name,
            digest,
            cause,
            why,
            "a version is given up and quarantined"
        );
        state.quarantined.insert(digest.to_owned());
        let given_up = self.give_up_now(&mut state, name, (watched, trouble)).await;
        let quarantined = self.accounts.set_quarantined(digest, true).await;
        if given_up.as_ref().is_err_and(is_outrun) {
            return true;
        }
        if given_up.is_err() || quarantined.is_err() {
            tracing::error!(plugin = name, "giving it up is not complete");
        }
        false
    }

    async fn give_up_now(
        &self,
        state: &mut State,
        name: &str,
        (watched, trouble): (Watched, &Trouble),
    ) -> Result<(), Refusal> {
        match watched {
            Watched::Canary => self.give_up_canary(state, name, trouble).await,
            Watched::Activation => {
                let rolled_back = self.roll_back(state, HOST, name, Some(trouble)).await;
                match rolled_back {
                    // There is nothing before it, or that is quarantined as well.
                    Err(refusal) if refusal.code == Code::Conflict && !is_outrun(&refusal) => {
                        self.unbind(state, name, trouble).await.map(drop)
                    }
                    rolled_back => rolled_back.map(drop),
                }
            }
        }
    }
}

/// What is watched, with what it is compared with.
struct Pair {
    name: String,
    watched: Watched,
    version: VersionRef,
    other: Option<VersionRef>,
}

fn pairs(plan: &Plan, now: u64) -> Vec<Pair> {
    let fresh = plan.plugins.iter().filter(|(_, own)| is_watched(own, now));
    let fresh = fresh.map(|(name, own)| Pair {
        name: name.clone(),
        watched: Watched::Activation,
        version: own.version(),
        other: own.previous.clone(),
    });
    let canaries = plan.canaries.iter().map(|(name, trial)| Pair {
        name: name.clone(),
        watched: Watched::Canary,
        version: trial.version.clone(),
        other: plan.plugins.get(name).map(PluginPlan::version),
    });
    fresh.chain(canaries).collect()
}

fn is_watched(plugin: &PluginPlan, now: u64) -> bool {
    plugin.watched_until.is_some_and(|until| now < until)
}

fn watched(plan: &Plan, name: &str, digest: &str, now: u64) -> Option<Watched> {
    let canary = plan.canaries.get(name);
    if canary.is_some_and(|trial| trial.version.digest == digest) {
        return Some(Watched::Canary);
    }
    let own = plan.plugins.get(name)?;
    (own.digest == digest && is_watched(own, now)).then_some(Watched::Activation)
}
