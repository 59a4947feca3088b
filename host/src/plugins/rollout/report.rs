//! What an administrator sees of a plugin's roll-out: what serves and is tried, what each has decided, and what came of
//! comparing a shadow. No text of anybody is in it.

use kith_runtime::{Counted, Hook, HookCounts, Outcome};
use serde_json::{Map, Value, json};

use super::Rollout;
use super::switch::unknown;
use crate::plugins::bindings::{Trial, VersionRef};
use crate::refusal::Refusal;

impl Rollout {
    /// `{name, generation, serves, previous, canary, shadow}` of a plugin; what there is not is left out.
    pub async fn report(&self, name: &str) -> Result<Value, Refusal> {
        let state = self.state.lock().await;
        let plan = &state.plan;
        let mut shown = json!({"name": name, "generation": self.generation()});
        if let Some(own) = plan.plugins.get(name) {
            let mut serves = self.version_json(name, &own.version());
            let now = self.clock.now_ms();
            if let Some(until) = own.watched_until.filter(|until| now < *until) {
                serves["watched_until"] = until.into();
            }
            if own.disabled {
                serves["disabled"] = true.into();
            }
            shown["serves"] = serves;
            if let Some(previous) = &own.previous {
                shown["previous"] = self.version_json(name, previous);
            }
        }
        if let Some(trial) = plan.canaries.get(name) {
            let mut canary = self.version_json(name, &trial.version);
            canary["percent"] = trial.percent.into();
            canary["since"] = trial.since.into();
            self.note_absent(&mut canary, trial);
            shown["canary"] = canary;
        }
        if let Some(trial) = plan.shadows.get(name) {
            shown["shadow"] = self.shadow_json(name, trial);
        }
        let known = ["serves", "canary", "shadow"].iter();
        if known.clone().all(|what| shown[*what].is_null()) {
            return Err(unknown(name));
        }
        Ok(shown)
    }

    fn version_json(&self, name: &str, version: &VersionRef) -> Value {
        let counted = self.tallies.counted(name, &version.digest);
        let decided: Map<String, Value> = counted
            .into_iter()
            .filter(|(hook, _)| !hook.is_after_commit())
            .map(|(hook, counted)| (hook.as_str().to_owned(), counted_json(&counted)))
            .collect();
        json!({"version": version.version, "digest": version.digest, "decided": decided})
    }

    fn shadow_json(&self, name: &str, trial: &Trial) -> Value {
        let mut shown = json!({
            "version": trial.version.version,
            "digest": trial.version.digest,
            "since": trial.since,
            "hooks": [],
        });
        let running = self.shadows.running(name);
        if let Some(running) = running.filter(|running| running.digest == trial.version.digest) {
            shown["counts_since"] = running.counts_since.into();
            let hooks = running.shadow.counts();
            shown["hooks"] = hooks.iter().map(hook_json).collect();
        }
        self.note_absent(&mut shown, trial);
        shown
    }

    fn note_absent(&self, shown: &mut Value, trial: &Trial) {
        if let Some(why) = self.loaded.why_absent(&trial.version.digest) {
            shown["note"] = format!("not loadable: {why}").into();
        }
    }
}

fn counted_json(counted: &Counted) -> Value {
    let outcomes = Outcome::ALL.into_iter();
    let counts = outcomes.map(|outcome| (outcome.as_str().to_owned(), counted.of(outcome).into()));
    Value::Object(counts.collect())
}

fn hook_json(counts: &HookCounts) -> Value {
    let examples = counts.examples.iter().map(|example| {
        json!({
            "at": example.at_ms,
            "conversation": example.conversation,
            "operation": example.operation,
            "served_by": example.served_by,
            "served": example.served.as_str(),
            "shadow": example.shadow.as_str(),
            "differs": example.differs,
        })
    });
    json!({
        "hook": Hook::as_str(counts.hook),
        "agreed": counts.agreed,
        "differed": counts.differed,
        "failed": counts.failed,
        "dropped": counts.dropped,
        "examples": examples.collect::<Vec<_>>(),
    })
}
