//! How a plugin is bound to a hook, changed by an administrator:
//! each field named is checked and put into the plan.

use crate::plugins::bindings::{BindingChange, Plan, VersionRef, named};
use crate::refusal::Refusal;

/// Changes the binding of a plugin's hook in a plan.
pub(super) fn change(
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
    if fallback.is_some() {
        binding.fallback = fallback;
    }
    let wants_fallback = [binding.on_failed, binding.on_absent]
        .contains(&crate::plugins::bindings::FailurePolicy::Fallback);
    if wants_fallback && binding.fallback.is_none() {
        return Err(Refusal::bad_request(
            "the policy fallback needs --fallback VERSION",
        ));
    }
    plan.bindings
        .sort_by(|a, b| (&a.hook, a.order, &a.plugin).cmp(&(&b.hook, b.order, &b.plugin)));
    Ok(())
}
