//! Roll-out: which versions there are, which serve, and every change of that. One change at a time; a change is
//! prepared in full beside the serving generation, then switched by one pointer store.
//!
//! A number of a generation is used once: numbers are reserved in durable blocks before any is given out.

mod build;
mod configure;
mod loaded;
mod switch;
mod versions;

use std::sync::Arc;

use kith_runtime::{GenerationCell, Runtime};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use loaded::Loaded;

use super::bindings::Plan;
use super::wasm::Pinned;
use super::{Judge, Plugins};
use crate::clock::Clock;
use crate::entry::HookTrace;
use crate::journey::store_refusal;
use crate::refusal::{Code, Refusal};
use crate::store::accounts::Accounts;

/// How many generation numbers are reserved at once.
const NUMBERS: u64 = 1000;

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
}

/// The owner of the serving generation.
pub struct Rollout {
    pub(super) runtime: Runtime,
    pub(super) accounts: Arc<dyn Accounts>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rules: RolloutRules,
    pub(super) limits: crate::content::ContentLimits,
    pub(super) cell: Arc<GenerationCell>,
    /// Held by a change while it loads what it needs; never by a rollback.
    pub(super) changing: Mutex<()>,
    pub(super) state: Mutex<State>,
    pub(super) loaded: Loaded,
    /// Told whenever a generation took over: what was held for a failure is judged again.
    pub(super) switched: tokio::sync::Notify,
}

/// What only one change at a time may touch.
pub(super) struct State {
    pub plan: Plan,
    /// Generation numbers that may be given out: the next, and the first that may not.
    pub numbers: (u64, u64),
    /// The version that was activated last, while it is watched.
    pub fresh: Option<Fresh>,
}

/// A fresh activation: it rolls back by itself when its breaker opens.
pub(super) struct Fresh {
    pub plugin: String,
    pub digest: String,
    pub until_ms: u64,
}

impl Rollout {
    /// The number of the generation in force; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.cell.pin().number
    }

    /// The generation in force, to judge by.
    pub fn judge(&self) -> Arc<dyn Judge> {
        Arc::new(Pinned {
            generation: self.cell.pin(),
            limits: self.limits,
        })
    }

    /// Every hit of the serving filters in a text, for an administrator's trial.
    pub fn hits(&self, text: &str) -> Vec<Value> {
        let generation = self.cell.pin();
        let asked = [kith_runtime::Text {
            place: "message",
            text,
        }];
        let ruling = generation.filter(kith_runtime::Scope::Outside, &asked, 0);
        let row = |hit: &kith_runtime::FoundHit| json!({"start": hit.start, "end": hit.end, "level": hit.level, "rule": hit.rule});
        ruling.hits.iter().map(row).collect()
    }

    /// Resolves when a generation has taken over, or a hook is well again, since the last call.
    pub async fn switched(&self) {
        self.switched.notified().await;
    }

    /// What a decision's traces mean: hook, plugin, version and digest of each.
    pub async fn explain(&self, generation: u64, hooks: &[HookTrace]) -> Result<Value, Refusal> {
        if hooks.is_empty() {
            return Ok(json!([]));
        }
        let stored = self
            .accounts
            .generation(generation)
            .await
            .map_err(|e| store_refusal(&e))?;
        let stored = stored
            .ok_or_else(|| Refusal::new(Code::Internal, "a generation is not known any more"))?;
        let plan: Plan = serde_json::from_str(&stored.bindings)
            .map_err(|_| Refusal::new(Code::Internal, "a stored generation could not be read"))?;
        let serving: Vec<_> = plan.serving().collect();
        let explained = hooks.iter().map(|trace| {
            let binding = serving.get(usize::from(trace.binding));
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
}
