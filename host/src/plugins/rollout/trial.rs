//! Trials: a version in the shadow of the one that serves, or as a canary in a share of the conversations. They are part
//! of the plan, so that they outlive the process, and end by `rollback`, by being activated, or by themselves.

use std::time::Instant;

use serde_json::Value;

use super::step::{HOST, Step};
use super::switch::{Trouble, unclaimed};
use super::{Rollout, State};
use crate::plugins::bindings::{Plan, PluginPlan, Trial, VersionRef};
use crate::refusal::{Code, Refusal};
use crate::store::accounts::PluginVersion;

/// Trials at once, of all plugins: each shadow has a thread.
const TRIALS_MOST: usize = 32;

impl Rollout {
    /// Shows a version what happens, and compares what it decides with what is decided; it decides nothing.
    pub async fn shadow(&self, by: &str, name: &str, version: &str) -> Result<Value, Refusal> {
        let _changing = self.changing.lock().await;
        self.refresh().await?;
        let found = self.find(name, version).await?;
        let trial = self.as_trial(&found, 100).await?;
        let mut hooks = trial.wishes.iter().filter_map(|wish| hook(&wish.hook));
        if hooks.all(kith_runtime::Hook::is_after_commit) {
            return Err(Refusal::bad_request(format!(
                "{name} {} has no hook on a message's path: there is nothing to compare",
                found.version
            )));
        }
        let step = self.begins(by, "plugin.shadow", name, &trial).await;
        let state = self
            .change(step, |plan| {
                may_be_tried(plan, name, &trial)?;
                let canary = plan.canaries.get(name);
                if canary.is_some_and(|canary| canary.version == trial.version) {
                    return Err(conflict(&trial, "is a canary"));
                }
                plan.shadows.insert(name.to_owned(), trial.clone());
                Ok(())
            })
            .await?;
        Ok(self.trial_json(&state, name, "shadow", &trial))
    }

    /// Lets a version decide in a share of the conversations, the same ones as long as it lasts.
    pub async fn canary(
        &self,
        by: &str,
        name: &str,
        version: &str,
        percent: u64,
    ) -> Result<Value, Refusal> {
        let percent = match u8::try_from(percent) {
            Ok(percent @ 1..=100) => percent,
            _ => return Err(Refusal::bad_request("percent is 1 to 100")),
        };
        let _changing = self.changing.lock().await;
        self.refresh().await?;
        let found = self.find(name, version).await?;
        if found.quarantined {
            let message = format!(
                "{name} {} is quarantined: shadow it, or activate it with --force",
                found.version
            );
            return Err(Refusal::new(Code::Conflict, message));
        }
        let trial = self.as_trial(&found, percent).await?;
        let prepared = self.prepare(name, &trial.version).await?;
        let inspection = prepared.inspection();
        let wanted = self.grants_of(name).await.wanted(&inspection.abilities);
        if !wanted.is_empty() {
            let message = format!(
                "{name} {} wants abilities that are not granted: kith plugin grant {name} --grant {}",
                found.version,
                wanted.join(",")
            );
            return Err(Refusal::new(Code::Conflict, message));
        }
        self.keeps_its_state(name, &prepared).await?;
        self.open_after(inspection).await?;
        let step = self.begins(by, "plugin.canary", name, &trial).await;
        let state = self
            .change(step.with("percent", percent), |plan| {
                may_be_tried(plan, name, &trial)?;
                let shadows = &mut plan.shadows;
                shadows.retain(|of, shadow| of != name || shadow.version != trial.version);
                plan.canaries.insert(name.to_owned(), trial.clone());
                unclaimed(plan, name)
            })
            .await?;
        Ok(self.trial_json(&state, name, "canary", &trial))
    }

    /// A version as it would be tried.
    async fn as_trial(&self, found: &PluginVersion, percent: u8) -> Result<Trial, Refusal> {
        self.check_trust(found)?;
        let version = VersionRef {
            version: found.version.clone(),
            digest: found.digest.clone(),
        };
        let prepared = self.prepare(&found.name, &version).await?;
        Ok(Trial {
            wishes: super::build::default_bindings(&prepared, &version),
            version,
            since: self.clock.now_ms(),
            percent,
        })
    }

    /// The beginning of a trial as a step, with the end of the one in its place. Both sides are counted from now on.
    async fn begins(&self, by: &str, action: &str, name: &str, trial: &Trial) -> Step {
        let state = self.state.lock().await;
        let serving = state.plan.plugins.get(name);
        let serving = serving.map(PluginPlan::version);
        let to = &trial.version;
        let step = Step::of(by, action, name)
            .before(serving.as_ref())
            .after(Some(to));
        let cause = format!("{action} {name}@{}", to.version);
        let mut step = step.because(cause.trim_start_matches("plugin.").to_owned());
        let is_canary = action == "plugin.canary";
        let trials = match is_canary {
            true => &state.plan.canaries,
            false => &state.plan.shadows,
        };
        let before = trials.get(name);
        if is_canary && before.is_none_or(|before| before.version != *to) {
            let both = serving.as_ref().into_iter().chain([to]);
            both.for_each(|version| self.tallies.restart(name, &version.digest));
        }
        if let Some(before) = before.filter(|before| before.version != *to) {
            let end = Step::of(by, &format!("{action}.end"), name).before(Some(&before.version));
            step = step.and(end.with("cause", "replaced"));
        }
        step
    }

    /// Ends whatever is tried of a plugin.
    pub(super) async fn end_trials(
        &self,
        state: &mut State,
        by: &str,
        name: &str,
    ) -> Result<Instant, Refusal> {
        let mut plan = state.plan.clone();
        let (canary, shadow) = (plan.canaries.remove(name), plan.shadows.remove(name));
        let mut step = Step::from(format!("rollback {name}").as_str());
        for (action, trial) in [("plugin.canary.end", canary), ("plugin.shadow.end", shadow)] {
            if let Some(trial) = trial {
                let end = Step::of(by, action, name).before(Some(&trial.version));
                step = step.and(end.with("cause", "rollback"));
            }
        }
        self.switch_at_once(state, plan, step).await
    }

    /// Ends a canary by itself, and quarantines its version.
    pub(super) async fn give_up_canary(
        &self,
        state: &mut State,
        name: &str,
        trouble: &Trouble,
    ) -> Result<(), Refusal> {
        let mut plan = state.plan.clone();
        let Some(trial) = plan.canaries.remove(name) else {
            return Ok(());
        };
        let version = Some(&trial.version);
        let end = Step::of(HOST, "plugin.canary.end", name).before(version);
        let quarantine = Step::of(HOST, "plugin.quarantine", name).after(version);
        let cause = format!("{} end of the canary {name}", trouble.cause);
        let step = trouble.told(end).because(cause).and(quarantine);
        self.switch_at_once(state, plan, step).await.map(drop)
    }

    fn trial_json(&self, state: &State, name: &str, kind: &str, trial: &Trial) -> Value {
        let mut done = self.switched_json(state, name);
        done["serves"] = done["version"].take();
        done["version"] = trial.version.version.as_str().into();
        done["digest"] = trial.version.digest.as_str().into();
        done["state"] = kind.into();
        if kind == "canary" {
            done["percent"] = trial.percent.into();
        }
        done
    }
}

fn hook(name: &str) -> Option<kith_runtime::Hook> {
    kith_runtime::Hook::from_name(name)
}

fn conflict(trial: &Trial, what: &str) -> Refusal {
    let message = format!("the version {} {what}", trial.version.version);
    Refusal::new(Code::Conflict, message)
}

/// Refuses to try what serves, what is disabled, and too much at once.
fn may_be_tried(plan: &Plan, name: &str, trial: &Trial) -> Result<(), Refusal> {
    if plan.is_disabled(name) {
        let message = format!("{name} is disabled: enable it before a version of it is tried");
        return Err(Refusal::new(Code::Conflict, message));
    }
    let serving = plan.plugins.get(name);
    if serving.is_some_and(|serving| serving.version() == trial.version) {
        return Err(conflict(trial, "serves already"));
    }
    let known = [&plan.canaries, &plan.shadows];
    let trials: usize = known.iter().map(|trials| trials.len()).sum();
    if trials >= TRIALS_MOST && !known.iter().any(|trials| trials.contains_key(name)) {
        let message = format!("{TRIALS_MOST} versions are tried already; end one with rollback");
        return Err(Refusal::new(Code::Conflict, message));
    }
    Ok(())
}
