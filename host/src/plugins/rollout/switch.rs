//! Switching: activate, roll back, disable, bind.
//! Whatever is to serve is loaded first; then one pointer store.

use std::time::Instant;

use kith_runtime::Grants;
use serde_json::{Value, json};
use tokio::sync::MutexGuard;

use super::{Fresh, Rollout, State};
use crate::journey::store_refusal;
use crate::plugins::after::moving::Moving;
use crate::plugins::bindings::{BindingChange, BindingPlan, Plan, PluginPlan, VersionRef};
use crate::refusal::{Code, Refusal};
use crate::store::accounts::StoredGeneration;

/// How long a fresh activation is watched: it rolls back by itself when its breaker opens.
const WATCH_MS: u64 = 60_000;
/// Most generations that wait for a store that fails.
const OWED_MAX: usize = 64;

/// A version of a plugin, by the plugin's name.
pub(super) type VersionRefOf = (String, VersionRef);

/// Who wants a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// An administrator.
    Asked,
    /// The breaker of a fresh activation opened.
    Broken,
}

impl Rollout {
    /// Makes a version serve.
    ///
    /// `grants` are added to those the plugin has; what its binary imports beyond all of them refuses it.
    pub async fn activate(
        &self,
        name: &str,
        version: &str,
        force: bool,
        grants: &Grants,
    ) -> Result<Value, Refusal> {
        // Nothing that is found now is pruned before it serves.
        let _changing = self.changing.lock().await;
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
        self.check_grants(prepared.inspection(), grants).await?;
        self.open_after(prepared.inspection()).await?;
        let mut moving = self.begin_move(name, &prepared, grants).await?;
        let moved = moving.as_ref().map(Moving::moved);
        let bindings = super::build::default_bindings(&prepared, &target);
        if found.quarantined {
            self.accounts
                .set_quarantined(&found.digest, false)
                .await
                .map_err(|e| store_refusal(&e))?;
        }
        let mut replaced = false;
        let cause = format!("activate {name}@{}", target.version);
        let mut state = self
            .change_moving(&cause, moving.as_mut(), |plan| {
                let before = plan.clone();
                replaced = activated(plan, name, &target, bindings.clone());
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
        let now = self.clock.now_ms();
        state.fresh.retain(|_, fresh| now < fresh.until_ms);
        if replaced {
            let fresh = Fresh {
                digest: target.digest.clone(),
                until_ms: now + WATCH_MS,
            };
            state.fresh.insert(name.to_owned(), fresh);
        }
        Ok(self.switched_json(&state, name))
    }

    /// Makes several versions serve with one generation: all of them or, after a kill, none.
    pub(super) async fn activate_all(&self, versions: &[VersionRefOf]) -> Result<(), Refusal> {
        let _changing = self.changing.lock().await;
        let mut ready = Vec::with_capacity(versions.len());
        for (name, version) in versions {
            match self.prepare(name, version).await {
                Ok(prepared) => {
                    let inspection = prepared.inspection();
                    let granted = self.check_grants(inspection, &Grants::default()).await;
                    if let Err(refusal) = granted {
                        tracing::info!(plugin = name, message = %refusal.message, "a first plugin waits");
                        continue;
                    }
                    self.open_after(inspection).await?;
                    let bindings = super::build::default_bindings(&prepared, version);
                    ready.push((name, version, bindings));
                }
                Err(refusal) => {
                    tracing::error!(plugin = name, message = %refusal.message, "a first plugin was left out");
                }
            }
        }
        if ready.is_empty() {
            return Ok(());
        }
        let change = |plan: &mut Plan| {
            for (name, version, bindings) in &ready {
                let commands = bindings.iter().flat_map(|b| b.commands.iter());
                let other = plan.bound_elsewhere(name, commands.map(String::as_str));
                if let Err(refusal) = claimed(other) {
                    tracing::error!(plugin = name, message = %refusal.message, "a first plugin was left out");
                } else {
                    activated(plan, name, version, bindings.clone());
                }
            }
            Ok(())
        };
        self.change("first start", change).await.map(drop)
    }

    /// Back to the version before. The switch comes first, its record after: it is already compiled and warm.
    pub async fn rollback(&self, name: &str) -> Result<Value, Refusal> {
        let arrived = Instant::now();
        let mut state = self.state.lock().await;
        let switched = self.roll_back(&mut state, name, Why::Asked).await?;
        let mut done = self.switched_json(&state, name);
        let micros = (switched - arrived).as_micros();
        done["switched_us"] = u64::try_from(micros).unwrap_or(u64::MAX).into();
        Ok(done)
    }

    pub(super) async fn roll_back(
        &self,
        state: &mut State,
        name: &str,
        why: Why,
    ) -> Result<Instant, Refusal> {
        self.known(state, name)?;
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
        own.previous = (why == Why::Asked && stays).then(|| VersionRef {
            version: own.version.clone(),
            digest: own.digest.clone(),
        });
        own.namespace = own.previous_namespace;
        own.version.clone_from(&target.version);
        own.digest.clone_from(&target.digest);
        let prepared = self.prepare(name, &target).await?;
        plan.place(
            name,
            &target,
            super::build::default_bindings(&prepared, &target),
        );
        let number = self.number(state).await?;
        self.cell.activate(self.build(&plan, number).await);
        let switched = Instant::now();
        self.switched.notify_one();
        self.generations.send_replace(number);
        state.fresh.remove(name);
        let cause = match why {
            Why::Asked => format!("rollback {name}"),
            Why::Broken => format!("breaker rollback {name}"),
        };
        state.owed.push(self.record(&plan, number, &cause));
        state.plan = plan;
        self.settle(state).await?;
        Ok(switched)
    }

    /// Unbinds a plugin, or binds it again.
    pub async fn set_disabled(&self, name: &str, disabled: bool) -> Result<Value, Refusal> {
        let _changing = self.changing.lock().await;
        let verb = if disabled { "disable" } else { "enable" };
        let state = self
            .change(&format!("{verb} {name}"), |plan| {
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

    /// Changes how a plugin is bound to a hook.
    pub async fn bind(
        &self,
        name: &str,
        hook: &str,
        change: BindingChange,
    ) -> Result<Value, Refusal> {
        let _changing = self.changing.lock().await;
        let fallback = match &change.fallback {
            Some(version) => {
                let found = self.find(name, version).await?;
                Some(VersionRef {
                    version: found.version,
                    digest: found.digest,
                })
            }
            None => None,
        };
        let mut change = change;
        if let Some(account) = &mut change.account {
            *account = self.service_account(account).await?.to_string();
        }
        let state = self
            .change(&format!("bind {name} {hook}"), |plan| {
                plan.plugins.get(name).ok_or_else(|| unknown(name))?;
                super::rebind::change(plan, name, hook, &change, fallback.clone())
            })
            .await?;
        let mut done = self.switched_json(&state, name);
        let binding = state
            .plan
            .bindings
            .iter()
            .find(|b| b.plugin == name && b.hook == hook);
        done["binding"] = serde_json::to_value(binding).expect("a binding encodes");
        Ok(done)
    }

    /// Changes the plan. What the new one needs is loaded before anybody has to wait; where a rollback was faster, the
    /// change is made again to what that left. The caller holds `changing`.
    pub(super) async fn change(
        &self,
        cause: &str,
        change: impl FnMut(&mut Plan) -> Result<(), Refusal>,
    ) -> Result<MutexGuard<'_, State>, Refusal> {
        self.change_moving(cause, None, change).await
    }

    /// The same, with a state that is made for it and gets ready within the switch.
    async fn change_moving(
        &self,
        cause: &str,
        mut moving: Option<&mut Moving>,
        mut change: impl FnMut(&mut Plan) -> Result<(), Refusal>,
    ) -> Result<MutexGuard<'_, State>, Refusal> {
        loop {
            let mut plan = self.state.lock().await.plan.clone();
            change(&mut plan)?;
            self.load_all(&plan).await;
            let mut state = self.state.lock().await;
            let mut now = state.plan.clone();
            change(&mut now)?;
            if now == plan {
                self.take_over_moving(&mut state, plan, cause, moving.take())
                    .await?;
                return Ok(state);
            }
        }
    }

    /// Builds a plan's generation, records it, and lets it take over.
    pub(super) async fn take_over(
        &self,
        state: &mut State,
        plan: Plan,
        cause: &str,
    ) -> Result<(), Refusal> {
        self.take_over_moving(state, plan, cause, None).await
    }

    async fn take_over_moving(
        &self,
        state: &mut State,
        mut plan: Plan,
        cause: &str,
        moving: Option<&mut Moving>,
    ) -> Result<(), Refusal> {
        self.settle(state).await?;
        self.name_commands(&mut plan).await;
        let number = self.number(state).await?;
        let generation = self.build(&plan, number).await;
        let record = self.record(&plan, number, cause);
        let moves = moving.is_some();
        let ready = async {
            if let Some(moving) = moving {
                moving.finish(number).await?;
            }
            let kept = self.accounts.put_generation(&record).await;
            kept.map_err(|e| store_refusal(&e))
        };
        if let Err(refusal) = ready.await {
            if moves {
                self.stay(state, number, cause).await;
            }
            return Err(refusal);
        }
        state.plan = plan;
        self.cell.activate(generation);
        self.switched.notify_one();
        self.generations.send_replace(number);
        tracing::info!(generation = number, cause, "a generation took over");
        self.forget_unused(&state.plan).await
    }

    /// What was serving goes on, under the number that messages wait for.
    async fn stay(&self, state: &mut State, number: u64, cause: &str) {
        self.cell.activate(self.build(&state.plan, number).await);
        self.switched.notify_one();
        self.generations.send_replace(number);
        let record = self.record(&state.plan, number, &format!("given up: {cause}"));
        state.owed.push(record);
    }

    fn record(&self, plan: &Plan, number: u64, cause: &str) -> StoredGeneration {
        StoredGeneration {
            number,
            bindings: serde_json::to_string(plan).expect("a plan encodes"),
            at: self.clock.now_ms(),
            cause: cause.to_owned(),
        }
    }

    /// Stores the generations that took over before they were stored.
    async fn settle(&self, state: &mut State) -> Result<(), Refusal> {
        let overdue = state.owed.len().saturating_sub(OWED_MAX);
        state.owed.drain(..overdue);
        while let Some(record) = state.owed.first() {
            self.accounts
                .put_generation(record)
                .await
                .map_err(|e| store_refusal(&e))?;
            let (number, cause) = (record.number, record.cause.as_str());
            tracing::info!(generation = number, cause, "a generation took over");
            state.owed.remove(0);
        }
        Ok(())
    }

    /// The next generation's number, out of a block that is already reserved durably.
    async fn number(&self, state: &mut State) -> Result<u64, Refusal> {
        if state.numbers.0 == state.numbers.1 {
            let first = self
                .accounts
                .reserve_generations(super::NUMBERS)
                .await
                .map_err(|e| store_refusal(&e))?;
            state.numbers = (first, first + super::NUMBERS);
        }
        state.numbers.0 += 1;
        Ok(state.numbers.0 - 1)
    }

    /// The version a plugin is on, if it was ever activated.
    pub(super) fn known(&self, state: &State, name: &str) -> Result<VersionRef, Refusal> {
        let plan = state.plan.plugins.get(name).ok_or_else(|| unknown(name))?;
        Ok(VersionRef {
            version: plan.version.clone(),
            digest: plan.digest.clone(),
        })
    }

    fn switched_json(&self, state: &State, name: &str) -> Value {
        let plan = state.plan.plugins.get(name);
        json!({
            "name": name,
            "version": plan.map(|plan| &plan.version),
            "digest": plan.map(|plan| &plan.digest),
            "state": if plan.is_some_and(|plan| plan.disabled) { "disabled" } else { "active" },
            "generation": self.generation(),
        })
    }
}

/// Refuses a plan in which another plugin already answers a command of this one.
fn unclaimed(plan: &Plan, name: &str) -> Result<(), Refusal> {
    let own = plan.bindings.iter().filter(|own| own.plugin == name);
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

fn unknown(name: &str) -> Refusal {
    Refusal::not_found(format!("{name} was never activated"))
}

/// Puts a version in force, with the one before it to go back to; whether there is a change.
fn activated(plan: &mut Plan, name: &str, target: &VersionRef, bindings: Vec<BindingPlan>) -> bool {
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
    let previous = match before {
        Some(before) if replaced => Some(VersionRef {
            version: before.version,
            digest: before.digest,
        }),
        before => before.and_then(|before| before.previous),
    };
    plan.place(name, target, bindings);
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
        },
    );
    replaced
}
