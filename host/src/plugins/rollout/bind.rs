//! Binding: how an administrator has a plugin called.
//! A change of it is a generation of its own.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Rollout;
use super::step::Step;
use super::switch::unknown;
use crate::plugins::bindings::{BindingChange, FailurePolicy, Level, Plan, VersionRef, named};
use crate::refusal::Refusal;

/// Names of levels in one binding.
const LEVELS_MOST: usize = 32;

impl Rollout {
    /// Changes how a plugin is bound to a hook.
    pub async fn bind(
        &self,
        by: &str,
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
        let step = Step::of(by, "plugin.bind", name).with("hook", hook);
        let step = step.because(format!("bind {name} {hook}"));
        let state = self
            .change(step, |plan| {
                plan.plugins.get(name).ok_or_else(|| unknown(name))?;
                change_binding(plan, name, hook, &change, fallback.clone())
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
}

fn change_binding(
    plan: &mut Plan,
    name: &str,
    hook: &str,
    change: &BindingChange,
    fallback: Option<VersionRef>,
) -> Result<(), Refusal> {
    let bound = plan
        .bindings
        .iter_mut()
        .find(|binding| binding.plugin == name && binding.hook == hook);
    let binding =
        bound.ok_or_else(|| Refusal::not_found(format!("{name} does not export {hook}")))?;
    let bad = |what: String| Refusal::bad_request(what);
    super::grants::check_change(hook, change)?;
    if let Some(account) = &change.account {
        binding.account.clone_from(account);
    }
    if let Some(order) = change.order {
        binding.order = order;
    }
    if let Some(scope) = &change.scope {
        binding.scope = named("scope", scope).map_err(bad)?;
    }
    if let Some(policy) = &change.on_failed {
        binding.on_failed = named("policy", policy).map_err(bad)?;
    }
    if let Some(policy) = &change.on_absent {
        binding.on_absent = named("policy", policy).map_err(bad)?;
    }
    if let Some(isolation) = &change.isolation {
        binding.isolation = named("isolation", isolation).map_err(bad)?;
    }
    if let Some(budget) = change.budget_us {
        binding.budget_us = budget;
    }
    if let Some(levels) = &change.levels {
        binding.levels = level_table(hook, levels)?;
    }
    if fallback.is_some() {
        binding.fallback = fallback;
    }
    let wants_fallback = [binding.on_failed, binding.on_absent].contains(&FailurePolicy::Fallback);
    if wants_fallback && binding.fallback.is_none() {
        return Err(Refusal::bad_request(
            "the policy fallback needs --fallback VERSION",
        ));
    }
    plan.bindings
        .sort_by(|a, b| (&a.hook, a.order, &a.plugin).cmp(&(&b.hook, b.order, &b.plugin)));
    Ok(())
}

/// What the names of a filter's levels are to mean.
fn level_table(
    hook: &str,
    levels: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Level>, Refusal> {
    if hook != "content-filter" {
        return Err(Refusal::bad_request(
            "levels are of content filters: other hooks have none",
        ));
    }
    if levels.len() > LEVELS_MOST {
        return Err(Refusal::bad_request(format!(
            "a binding names at most {LEVELS_MOST} levels"
        )));
    }
    let read = |(name, level): (&String, &String)| {
        let level = named("level", level).map_err(Refusal::bad_request)?;
        Ok((name.clone(), level))
    };
    levels.iter().map(read).collect()
}
