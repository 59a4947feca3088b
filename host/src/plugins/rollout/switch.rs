//! Switching: activate, roll back, disable.
//! Whatever is to serve is loaded first; then one pointer store.

use std::time::Instant;

use kith_runtime::Grants;
use serde_json::Value;

use super::grants::granting;
use super::proposal::{ATTEMPTS, is_outrun};
use super::step::{HOST, Step};
use super::{Rollout, State};
use crate::journey::store_refusal;
use crate::plugins::after::moving::Moving;
use crate::plugins::bindings::{BindingPlan, Plan, PluginPlan, VersionRef};
use crate::refusal::{Code, Refusal};

/// A version of a plugin, by the plugin's name.
pub(super) type VersionRefOf = (String, VersionRef);

impl Rollout {
    /// Makes a version serve.
    ///
    /// `grants` are added to those the plugin has; what its binary imports beyond all of them refuses it.
    pub async fn activate(
        &self,
        by: &str,
        name: &str,
        version: &str,
        force: bool,
        grants: &Grants,
    ) -> Result<Value, Refusal> {
        // Nothing that is found now is pruned before it serves.
        let _changing = self.changing.lock().await;
        self.refresh().await?;
        let found = self.find(name, version).await?;
        if found.quarantined && !force {
            let message = format!(
                "{name} {} is quarantined; activate it with --force",
                found.version
            );
            return Err(Refusal::new(Code::Conflict, message));
        }
        self.check_trust(&found)?;
        let target = VersionRef {
            version: found.version.clone(),
            digest: found.digest.clone(),
        };
        let prepared = self.prepare(name, &target).await?;
        self.check_grants(by, prepared.inspection(), grants).await?;
        self.open_after(prepared.inspection()).await?;
        let mut moving = self.begin_move(name, &prepared, grants).await?;
        let moved = moving.as_ref().map(Moving::moved);
        let bindings = super::build::default_bindings(&prepared, &target);
        if found.quarantined {
            prepared.forgive();
            self.accounts
                .set_quarantined(&found.digest, false)
                .await
                .map_err(|e| store_refusal(&e))?;
        }
        let mut step = self.activation(by, name, &target).await;
        if !grants.is_empty() {
            let before = self.grants_of(name).await;
            step = step.and(granting(by, name, (grants, &[]), before));
        }
        let until = self.clock.now_ms().saturating_add(self.rules.watch_ms);
        let mut state = self
            .change_moving(step, moving.as_mut(), |plan| {
                let before = plan.clone();
                activated(plan, name, &target, bindings.clone(), Some(until));
                if let Some(moved) = &moved {
                    moved.place(&before, plan)?;
                }
                if let Some(own) = plan.plugins.get_mut(name) {
                    own.grants.extend(grants.clone());
                }
                unclaimed(plan, name)
            })
            .await?;
        state.quarantined.remove(&target.digest);
        Ok(self.switched_json(&state, name))
    }

    /// An activation as a step, with the end of a trial of the same version. What is compared is counted from now on.
    async fn activation(&self, by: &str, name: &str, target: &VersionRef) -> Step {
        let state = self.state.lock().await;
        let before = state.plan.plugins.get(name).map(PluginPlan::version);
        let cause = format!("activate {name}@{}", target.version);
        let mut step = Step::of(by, "plugin.activate", name).because(cause);
        step = step.before(before.as_ref()).after(Some(target));
        if before.as_ref() != Some(target) {
            self.tallies.restart(name, &target.digest);
        }
        let trials = [
            ("plugin.canary.end", state.plan.canaries.get(name)),
            ("plugin.shadow.end", state.plan.shadows.get(name)),
        ];
        for (action, trial) in trials {
            match trial {
                Some(trial) if trial.version == *target => {
                    let end = Step::of(by, action, name).before(Some(target));
                    step = step.and(end.with("cause", "activated"));
                }
                // It is compared with another one from now on.
                Some(trial) => self.tallies.restart(name, &trial.version.digest),
                None => {}
            }
        }
        step
    }

    /// Makes several versions serve with one generation: all of them or, after a kill, none.
    pub(super) async fn activate_all(&self, versions: &[VersionRefOf]) -> Result<(), Refusal> {
        let _changing = self.changing.lock().await;
        let mut ready = Vec::with_capacity(versions.len());
        for (name, version) in versions {
            match self.prepare(name, version).await {
                Ok(prepared) => {
                    let inspection = prepared.inspection();
                    let granted = self
                        .check_grants(HOST, inspection, &Grants::default())
                        .await;
                    if let Err(refusal) = granted {
                        tracing::info!(plugin = name, why = %refusal.message, "a first plugin waits");
                        continue;
                    }
                    self.open_after(inspection).await?;
                    let bindings = super::build::default_bindings(&prepared, version);
                    ready.push((name, version, bindings));
                }
                Err(refusal) => {
                    tracing::error!(plugin = name, why = %refusal.message, "a first plugin was left out");
                }
            }
        }
        if ready.is_empty() {
            return Ok(());
        }
        let change = |plan: &mut Plan| {
            for (name, version, bindings) in &ready {
                let before = plan.clone();
                activated(plan, name, version, bindings.clone(), None);
                if let Err(refusal) = unclaimed(plan, name) {
                    tracing::error!(plugin = name, why = %refusal.message, "a first plugin was left out");
                    *plan = before;
                }
            }
            Ok(())
        };
        let mut step = Step::from("first start");
        for (name, version, _) in &ready {
            step = step.and(Step::of(HOST, "plugin.activate", name).after(Some(version)));
        }
        self.change(step, change).await.map(drop)
    }

    /// Ends a plugin's trials or, where there are none, goes back to the version before. The switch comes first, its
    /// record after: what serves then is already compiled and warm.
    pub async fn rollback(&self, by: &str, name: &str) -> Result<Value, Refusal> {
        let arrived = Instant::now();
        let mut attempts = 0..ATTEMPTS;
        let (state, ended, switched) = loop {
            self.caught_up().await?;
            let mut state = self.state.lock().await;
            let ended = trials_of(&state.plan, name);
            let switched = match ended.is_empty() {
                true => self.roll_back(&mut state, by, name, None).await,
                false => self.end_trials(&mut state, by, name).await,
            };
            match switched {
                Err(refusal) if is_outrun(&refusal) && attempts.next().is_some() => {}
                switched => break (state, ended, switched?),
            }
        };
        let mut done = self.switched_json(&state, name);
        let micros = (switched - arrived).as_micros();
        done["switched_us"] = u64::try_from(micros).unwrap_or(u64::MAX).into();
        if !ended.is_empty() {
            done["ended"] = ended.into();
        }
        Ok(done)
    }

    /// Back to the version before. With `trouble` the one that serves is nothing to go back to.
    pub(super) async fn roll_back(
        &self,
        state: &mut State,
        by: &str,
        name: &str,
        trouble: Option<&Trouble>,
    ) -> Result<Instant, Refusal> {
        let broken = self.known(state, name)?;
        let mut plan = state.plan.clone();
        let own = plan.plugins.get_mut(name).ok_or_else(|| unknown(name))?;
        let Some(target) = own.previous.take() else {
            return Err(Refusal::new(
                Code::Conflict,
                format!("{name} has no version to go back to"),
            ));
        };
        if state.quarantined.contains(&target.digest) {
            let message = format!(
                "the version before, {name} {}, is quarantined; activate it with --force",
                target.version
            );
            return Err(Refusal::new(Code::Conflict, message));
        }
        // What broke is nothing to go back to; nor is a version whose state goes with this.
        let stays = own.namespace == own.previous_namespace;
        own.previous = (trouble.is_none() && stays).then(|| broken.clone());
        own.namespace = own.previous_namespace;
        own.version.clone_from(&target.version);
        own.digest.clone_from(&target.digest);
        own.watched_until = None;
        let prepared = self.prepare(name, &target).await?;
        plan.place(
            name,
            &target,
            super::build::default_bindings(&prepared, &target),
        );
        let mut step = Step::of(by, "plugin.rollback", name);
        step = step.before(Some(&broken)).after(Some(&target));
        step = match trouble {
            None => step.because(format!("rollback {name}")),
            Some(trouble) => {
                let quarantine = Step::of(by, "plugin.quarantine", name).after(Some(&broken));
                let step = step.because(format!("{} rollback {name}", trouble.cause));
                trouble.told(step).and(quarantine)
            }
        };
        // What is gone back to is tried no more.
        for trials in [&mut plan.canaries, &mut plan.shadows] {
            trials.retain(|of, trial| of != name || trial.version != target);
        }
        self.switch_at_once(state, plan, step).await
    }

    /// Unbinds what is in trouble and has nothing to go back to: messages pass without it, as with an administrator's
    /// `disable`.
    pub(super) async fn unbind(
        &self,
        state: &mut State,
        name: &str,
        trouble: &Trouble,
    ) -> Result<Instant, Refusal> {
        let broken = self.known(state, name)?;
        let mut plan = state.plan.clone();
        let own = plan.plugins.get_mut(name).ok_or_else(|| unknown(name))?;
        own.disabled = true;
        own.watched_until = None;
        let quarantine = Step::of(HOST, "plugin.quarantine", name).after(Some(&broken));
        let step = Step::of(HOST, "plugin.disable", name).before(Some(&broken));
        let step = step.because(format!("{} disable {name}", trouble.cause));
        self.switch_at_once(state, plan, trouble.told(step).and(quarantine))
            .await
    }

    /// Unbinds a plugin, or binds it again.
    pub async fn set_disabled(
        &self,
        by: &str,
        name: &str,
        disabled: bool,
    ) -> Result<Value, Refusal> {
        let _changing = self.changing.lock().await;
        if !disabled {
            self.check_serves(name).await?;
        }
        let verb = if disabled { "disable" } else { "enable" };
        let step = Step::of(by, &format!("plugin.{verb}"), name);
        let state = self
            .change(step.because(format!("{verb} {name}")), |plan| {
                let plugin = plan.plugins.get_mut(name);
                plugin.ok_or_else(|| unknown(name))?.disabled = disabled;
                if disabled {
                    Ok(())
                } else {
                    unclaimed(plan, name)
                }
            })
            .await?;
        Ok(self.switched_json(&state, name))
    }

    /// Refuses to bind again what was given up.
    async fn check_serves(&self, name: &str) -> Result<(), Refusal> {
        let state = self.state.lock().await;
        let VersionRef { version, digest } = self.known(&state, name)?;
        match state.quarantined.contains(&digest) {
            false => Ok(()),
            true => {
                let message = format!("{name} {version} is quarantined; activate it with --force");
                Err(Refusal::new(Code::Conflict, message))
            }
        }
    }

    /// The version a plugin is on, if it was ever activated.
    pub(in crate::plugins) fn known(
        &self,
        state: &State,
        name: &str,
    ) -> Result<VersionRef, Refusal> {
        let plan = state.plan.plugins.get(name).ok_or_else(|| unknown(name))?;
        Ok(plan.version())
    }
}

/// Why a version is given up by itself.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// `breaker`, `latency`, `drift` or `memory`.
    pub cause: &'static str,
    /// As a sentence.
    pub why: String,
}

impl Trouble {
    pub fn told(&self, step: Step) -> Step {
        let why = self.why.as_str();
        step.with("cause", self.cause).with("why", why)
    }
}

/// What is tried of a plugin: `canary`, `shadow`.
fn trials_of(plan: &Plan, name: &str) -> Vec<&'static str> {
    let canary = plan.canaries.contains_key(name).then_some("canary");
    let shadow = plan.shadows.contains_key(name).then_some("shadow");
    canary.into_iter().chain(shadow).collect()
}

/// Refuses a plan in which another plugin already answers a command of this one.
pub(super) fn unclaimed(plan: &Plan, name: &str) -> Result<(), Refusal> {
    let own = plan.bindings.iter().filter(|own| own.plugin == name);
    let tried = plan.canaries.get(name).into_iter();
    let own = own.chain(tried.flat_map(|trial| &trial.wishes));
    let commands = own.flat_map(|own| own.commands.iter().map(String::as_str));
    claimed(plan.bound_elsewhere(name, commands))
}

/// The refusal of a command that another plugin answers.
pub(super) fn claimed(found: Option<(&str, &str)>) -> Result<(), Refusal> {
    let Some((command, other)) = found else {
        return Ok(());
    };
    let message = format!(
        "/{command} is answered by the plugin {other}: disable that one, or give one of the two another name"
    );
    Err(Refusal::new(Code::Conflict, message))
}

pub(super) fn unknown(name: &str) -> Refusal {
    Refusal::not_found(format!("{name} was never activated"))
}

/// Puts a version in force, with the one before it, if any, to go back to. It is watched for a while, and tried no more.
fn activated(
    plan: &mut Plan,
    name: &str,
    target: &VersionRef,
    bindings: Vec<BindingPlan>,
    watched_until: Option<u64>,
) {
    let before = plan.plugins.get(name).cloned();
    let replaced = before
        .as_ref()
        .is_some_and(|before| before.digest != target.digest);
    let grants = before.as_ref().map(|before| before.grants.clone());
    let grants = grants.unwrap_or_default();
    let namespace = before.as_ref().map_or(0, |before| before.namespace);
    let previous_namespace = match &before {
        Some(before) if !replaced => before.previous_namespace,
        _ => namespace,
    };
    let (previous, watched_until) = match before {
        Some(before) if replaced => (Some(before.version()), watched_until),
        // Put in force again, it is watched again.
        Some(before) if before.disabled => (before.previous, watched_until),
        Some(before) => (before.previous, before.watched_until),
        None => (None, watched_until),
    };
    plan.place(name, target, bindings);
    for trials in [&mut plan.canaries, &mut plan.shadows] {
        trials.retain(|of, trial| of != name || trial.version.digest != target.digest);
    }
    plan.plugins.insert(
        name.to_owned(),
        PluginPlan {
            version: target.version.clone(),
            digest: target.digest.clone(),
            previous,
            disabled: false,
            grants,
            namespace,
            previous_namespace,
            watched_until,
            config: None,
        },
    );
}
