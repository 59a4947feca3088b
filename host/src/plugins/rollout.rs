//! Roll-out: which versions there are, which serve, and every change of that. One change at a time; a change is
//! prepared in full beside the serving generation, then switched by one pointer store.
//!
//! A number of a generation is used once: numbers are reserved in durable blocks before any is given out.

mod among;
mod bind;
mod build;
mod configure;
mod follow;
mod grants;
mod loaded;
mod proposal;
mod provisions;
mod prune;
mod replayed;
mod report;
mod shadows;
mod step;
mod switch;
mod takeover;
mod tallies;
mod trial;
mod versions;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, Weak};

use kith_runtime as runtime;
use kith_runtime::{GenerationCell, Runtime};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

pub use among::{Among, AmongRules, NodeStanding};
use loaded::{Configuration, Loaded};
pub use proposal::is_outrun;
pub use replayed::{Served, ToReplay};
use shadows::Shadows;
use tallies::Tallies;

use super::after::AfterCommit;
use super::bindings::Plan;
use super::flags::Flags;
use super::lapsed::Lapsed;
use super::replay::Aside;
use super::replay::aside::Writer;
use super::wasm::Pinned;
use super::{Judge, Occasion, Plugins};
use crate::clock::Clock;
use crate::entry::HookTrace;
use crate::ids::IdSource;
use crate::journey::store_refusal;
use crate::refusal::{Code, Refusal};
use crate::store::accounts::{Accounts, AuditLine, StoredGeneration};
use crate::store::feed::Feed;

/// Largest component that can be pushed, bytes.
pub const COMPONENT_BYTES_MAX: usize = runtime::MAX_COMPONENT_BYTES;

/// How many generation numbers are reserved at once.
const NUMBERS: u64 = 1000;

/// Configurations, by plugin.
type Settings = HashMap<String, Arc<Configuration>>;

/// Who may sign what is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    Off,
    /// Unsigned ones are taken and the answer says so.
    Warn,
    Require,
}

/// What roll-out is told by the configuration.
#[derive(Debug, Clone)]
pub struct RolloutRules {
    pub signatures: Signatures,
    /// `ed25519:` and base64 each.
    pub trusted_keys: Vec<String>,
    /// How long an activation is watched.
    pub watch_ms: u64,
    /// By how much of a hundred a version's share of an outcome may differ from the other's; 0 is any.
    pub drift_percent: u8,
    /// Decisions of both versions before shares are compared.
    pub drift_least: u64,
}

/// The owner of the serving generation.
pub struct Rollout {
    pub(super) runtime: Runtime,
    pub(super) accounts: Arc<dyn Accounts>,
    pub(super) feed: Arc<dyn Feed>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<IdSource>,
    pub(super) rules: RolloutRules,
    pub(super) limits: crate::content::ContentLimits,
    pub(super) cell: Arc<GenerationCell>,
    /// Held by a change while it loads what it needs; never by a rollback.
    pub(super) changing: Mutex<()>,
    pub(super) state: Mutex<State>,
    pub(super) loaded: Loaded,
    tallies: Tallies,
    shadows: Shadows,
    /// Told whenever a generation took over: what was held for a failure is judged again.
    pub(super) switched: tokio::sync::Notify,
    /// Where what filters flag is told.
    pub(super) happened: OnceLock<mpsc::Sender<Occasion>>,
    /// Who follows the commits, and makes the states that versions want to take over with.
    pub(super) after: OnceLock<Weak<AfterCommit>>,
    /// Where what replays and authors may want is set aside.
    pub(super) aside: OnceLock<Arc<Aside>>,
    /// The number of the generation in force, for those who follow it.
    pub(super) generations: tokio::sync::watch::Sender<u64>,
    /// Where other nodes share the store: this one's place among them.
    pub(super) among: Option<Arc<Among>>,
}

/// What only one change at a time may touch.
pub(super) struct State {
    pub plan: Plan,
    /// Generation numbers that may be given out: the next, and the first that may not.
    pub numbers: (u64, u64),
    /// Digests of quarantined versions, so that a rollback need not ask the store.
    pub quarantined: HashSet<String>,
    /// Generations that serve or served and are not stored: a rollback is not held up by a failing store.
    pub owed: Vec<Owed>,
}

/// A generation that is to be stored, with the steps that made it.
pub(super) struct Owed {
    pub record: StoredGeneration,
    pub lines: Vec<AuditLine>,
}

impl Rollout {
    /// From now on what filters flag is told here, while there are rules.
    pub fn tell(&self, happened: mpsc::Sender<Occasion>) {
        // The first one stays: there is one who listens.
        let _ = self.happened.set(happened);
    }

    /// From now on what replays and authors may want is set aside here.
    pub fn set_aside(&self, aside: Arc<Aside>) {
        // The first one stays: there is one place for it.
        let _ = self.aside.set(aside);
    }

    /// Where that is.
    pub fn aside(&self) -> Option<&Arc<Aside>> {
        self.aside.get()
    }

    /// The number of the generation in force; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.cell.pin().number
    }

    /// Every version that is loaded, in memory or known only.
    pub fn versions(&self) -> Vec<Arc<runtime::Version>> {
        self.loaded.all()
    }

    /// What all versions take now.
    pub fn usage(&self) -> runtime::Usage {
        self.runtime.usage()
    }

    /// The generation in force, with its bindings.
    pub(super) fn pinned(&self) -> Arc<runtime::Generation> {
        self.cell.pin()
    }

    /// Changes with every generation that takes over.
    pub(super) fn generations(&self) -> tokio::sync::watch::Receiver<u64> {
        self.generations.subscribe()
    }

    /// The generation in force, to judge by.
    pub fn judge(&self) -> Arc<dyn Judge> {
        let generation = self.cell.pin();
        let told = self.happened.get().filter(|_| generation.has_rules());
        let pinned = Arc::new(Pinned {
            flags: told.cloned().map(Flags::new),
            aside: self.aside.get().cloned(),
            writer: Writer::default(),
            generation,
            limits: self.limits,
        });
        match &self.among {
            Some(among) if !among.may_judge() => Arc::new(Lapsed(pinned)),
            _ => pinned,
        }
    }

    /// What the serving filters make of a text, in whatever kind of conversation or name it were: the strictest
    /// verdict of all scopes, and every hit.
    pub fn trial(&self, text: &str) -> Value {
        let generation = self.cell.pin();
        // Nobody has written this: it is neither counted nor shown to shadows.
        let uncounted = |binding: &runtime::Binding| runtime::Binding {
            tally: Arc::default(),
            ..binding.clone()
        };
        let bindings = generation.bindings().iter().map(uncounted);
        let generation = runtime::Generation::new(generation.number, bindings.collect());
        let asked = [runtime::Text {
            place: "message",
            text,
        }];
        let scopes = [
            runtime::Scope::Direct,
            runtime::Scope::Group,
            runtime::Scope::Own,
            runtime::Scope::Outside,
        ];
        let mut hits: Vec<runtime::FoundHit> = Vec::new();
        let mut strictest = (0, "pass", text.to_owned());
        for scope in scopes {
            let mut ruling = generation.filter(scope, &asked, 0);
            let new: Vec<_> = ruling
                .hits
                .drain(..)
                .filter(|hit| !hits.contains(hit))
                .collect();
            hits.extend(new);
            let masked = ruling.masked.into_iter().next().flatten();
            let (rank, verdict) = match ruling.verdict {
                runtime::Verdict::Pass if masked.is_none() => (0, "pass"),
                runtime::Verdict::Pass => (1, "mask"),
                runtime::Verdict::Hold { .. } => (2, "hold"),
                runtime::Verdict::Drop { .. } => (3, "drop"),
                runtime::Verdict::Reject { .. } => (4, "reject"),
                runtime::Verdict::Unavailable { .. } => (5, "unavailable"),
            };
            if rank > strictest.0 {
                strictest = (rank, verdict, masked.unwrap_or_else(|| text.to_owned()));
            }
        }
        hits.sort_by_key(|hit| (hit.start, hit.end));
        let row = |hit: &runtime::FoundHit| json!({"start": hit.start, "end": hit.end, "level": hit.level, "rule": hit.rule});
        let hits: Vec<_> = hits.iter().map(row).collect();
        json!({"verdict": strictest.1, "text": strictest.2, "hits": hits})
    }

    /// Resolves when a generation has taken over, or a hook is well again, since the last call.
    pub async fn switched(&self) {
        self.switched.notified().await;
    }

    /// What is kept of a generation; one that took over before it was stored is waited for.
    async fn stored_generation(&self, number: u64) -> Result<Option<StoredGeneration>, Refusal> {
        let ask = || self.accounts.generation(number);
        if let Some(stored) = ask().await.map_err(|e| store_refusal(&e))? {
            return Ok(Some(stored));
        }
        let state = self.state.lock().await;
        let mut owed = state.owed.iter().map(|owed| &owed.record);
        match owed.find(|owed| owed.number == number) {
            Some(owed) => Ok(Some(owed.clone())),
            None => ask().await.map_err(|e| store_refusal(&e)),
        }
    }

    /// What a decision's traces mean: hook, plugin, version and digest of each.
    pub async fn explain(&self, generation: u64, hooks: &[HookTrace]) -> Result<Value, Refusal> {
        if hooks.is_empty() {
            return Ok(json!([]));
        }
        let stored = self.stored_generation(generation).await?;
        // A switch whose record was lost with its process: what the hooks did is known, not whose they were.
        let plan: Plan = match &stored {
            Some(stored) => serde_json::from_str(&stored.bindings).map_err(|_| {
                Refusal::new(Code::Internal, "a stored generation could not be read")
            })?,
            None => Plan::default(),
        };
        let bindings = plan.in_records();
        let explained = hooks.iter().map(|trace| {
            let binding = bindings.get(usize::from(trace.binding));
            json!({
                "hook": binding.map(|b| &b.hook),
                "plugin": binding.map(|b| &b.plugin),
                "version": binding.map(|b| &b.version),
                "digest": binding.map(|b| &b.digest),
                "outcome": trace.outcome,
                "duration_us": trace.duration_us,
            })
        });
        Ok(explained.collect())
    }
}

impl Plugins for Rollout {
    fn pin(&self) -> Arc<dyn Judge> {
        self.judge()
    }

    fn generations(&self) -> tokio::sync::watch::Receiver<u64> {
        Self::generations(self)
    }

    fn is_outdated(&self) {
        if let Some(among) = &self.among {
            among.wake();
        }
    }
}
