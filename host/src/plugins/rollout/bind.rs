//! Binding: how an administrator has a plugin called.
//! A change of it is a generation of its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

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
        self.caught_up().await?;
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
        let bind = |plan: &mut Plan| {
            plan.plugins.get(name).ok_or_else(|| unknown(name))?;
            change_binding(plan, name, hook, &change, fallback.clone())
        };
        let before = self.state.lock().await.plan.clone();
        let mut after = before.clone();
        bind(&mut after)?;
        let [before, after] = [&before, &after].map(|plan| binding_json(plan, name, hook));
        let step = Step::of(by, "plugin.bind", name).with("hook", hook);
        let step = step.with("changes", changes(&before, &after));
        let step = step.because(format!("bind {name} {hook}"));
        let state = self.change(step, bind).await?;
        let mut done = self.switched_json(&state, name);
        done["binding"] = binding_json(&state.plan, name, hook);
        Ok(done)
    }
}

/// `null` where a plugin is not bound.
fn binding_json(plan: &Plan, name: &str, hook: &str) -> Value {
    let mut bindings = plan.bindings.iter();
    let binding = bindings.find(|b| b.plugin == name && b.hook == hook);
    serde_json::to_value(binding).expect("a binding encodes")
}

/// `from` and `to` of each field that differs; what is not said is `null`.
fn changes(before: &Value, after: &Value) -> Value {
    let fields = [before, after].into_iter().filter_map(Value::as_object);
    let differing = fields
        .flat_map(|fields| fields.keys())
        .filter(|field| before.get(field) != after.get(field));
    let change = |field: &String| {
        let change = json!({"from": before.get(field), "to": after.get(field)});
        (field.clone(), change)
    };
    Value::Object(differing.map(change).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_each_field_that_differs_also_one_that_was_not_there() {
        let before = json!({"order": 1, "scope": "all", "account": "7"});
        let after = json!({"order": 2, "scope": "all", "fallback": "1.0.0"});
        let changed = json!({
            "order": {"from": 1, "to": 2},
            "account": {"from": "7", "to": null},
            "fallback": {"from": null, "to": "1.0.0"},
        });
        assert_eq!(changes(&before, &after), changed);
        assert_eq!(changes(&after, &after), json!({}));
    }
}
