//! What a plugin may do after the commit, and what it needs there before it serves: grants held against what the binary
//! imports, an account of its own, a place in the feed to begin at.

use kith_runtime::{Grants, Inspection};
use serde_json::{Value, json};

use super::Rollout;
use super::step::Step;
use super::switch::unknown;
use crate::conversation::Profile;
use crate::ids::UserId;
use crate::journey::store_refusal;
use crate::plugins::after::consumer_name;
use crate::plugins::bindings::{BindingChange, FailurePolicy, VersionRef, named};
use crate::refusal::{Code, Refusal};
use crate::store::accounts::{User, UserKind};

/// A hook after the commit, as it is bound.
pub(in crate::plugins) struct AfterHook {
    pub plugin: String,
    pub version: String,
    pub hook: kith_runtime::Hook,
    pub disabled: bool,
}

impl Rollout {
    /// Refuses a version that imports more than is granted, names the grants it wants, and leaves an event about it.
    pub(super) async fn check_grants(
        &self,
        by: &str,
        inspection: &Inspection,
        given: &Grants,
    ) -> Result<(), Refusal> {
        let mut grants = self.grants_of(&inspection.name).await;
        grants.extend(given.clone());
        let wanted = grants.wanted(&inspection.abilities);
        if wanted.is_empty() {
            return Ok(());
        }
        let version = VersionRef {
            version: inspection.version.clone(),
            digest: inspection.digest.clone(),
        };
        let serving = self.known(&*self.state.lock().await, &inspection.name);
        let waits = Step::of(by, "plugin.waits", &inspection.name)
            .before(serving.ok().as_ref())
            .after(Some(&version));
        self.tell_step(waits.with("wants", wanted.clone())).await;
        // What was given with this is not kept: it stands there again, so that the line works as it is.
        let given = Some(given.to_string()).filter(|given| !given.is_empty());
        let complete: Vec<String> = given.into_iter().chain(wanted).collect();
        let message = format!(
            "{} {} wants abilities that are not granted; activate it with --grant {}",
            inspection.name,
            inspection.version,
            complete.join(",")
        );
        Err(Refusal::new(Code::Conflict, message))
    }

    /// What the version in force imports, where it is another one than this.
    pub(super) async fn serving_abilities(
        &self,
        name: &str,
        digest: &str,
    ) -> Result<Option<Vec<String>>, Refusal> {
        let serving = self.known(&*self.state.lock().await, name).ok();
        let Some(serving) = serving.filter(|serving| serving.digest != digest) else {
            return Ok(None);
        };
        let prepared = self.prepare(name, &serving).await?;
        Ok(Some(prepared.inspection().abilities.clone()))
    }

    pub(super) async fn grants_of(&self, name: &str) -> Grants {
        let state = self.state.lock().await;
        let plan = state.plan.plugins.get(name);
        plan.map(|plan| plan.grants.clone()).unwrap_or_default()
    }

    /// Refuses the name of a plugin that was never activated.
    pub async fn check_known(&self, name: &str) -> Result<(), Refusal> {
        self.known(&*self.state.lock().await, name).map(drop)
    }

    /// Grants more, and takes abilities back: a generation of its own. `{name, generation, grants, wanted}`.
    pub async fn grant(
        &self,
        by: &str,
        name: &str,
        added: &Grants,
        revoked: &[String],
    ) -> Result<Value, Refusal> {
        let _changing = self.changing.lock().await;
        self.caught_up().await?;
        if !added.is_empty() || !revoked.is_empty() {
            let change = |plan: &mut crate::plugins::bindings::Plan| {
                let own = plan.plugins.get_mut(name).ok_or_else(|| unknown(name))?;
                for ability in revoked {
                    if !own.grants.revoke(ability) {
                        let message = format!("{ability} was not granted to {name}");
                        return Err(Refusal::not_found(message));
                    }
                }
                own.grants.extend(added.clone());
                Ok(())
            };
            let step = granting(by, name, (added, revoked), self.grants_of(name).await);
            let step = step.because(format!("grant {name}"));
            drop(self.change(step, change).await?);
        }
        let (version, grants) = {
            let state = self.state.lock().await;
            let plan = state.plan.plugins.get(name).ok_or_else(|| unknown(name))?;
            let version = VersionRef {
                version: plan.version.clone(),
                digest: plan.digest.clone(),
            };
            (version, plan.grants.clone())
        };
        let prepared = self.prepare(name, &version).await?;
        Ok(json!({
            "name": name,
            "generation": self.generation(),
            "grants": grants.to_string(),
            "wanted": grants.wanted(&prepared.inspection().abilities),
        }))
    }

    /// Before hooks after the commit serve for the first time: the plugin's account, and its place in the feed, so that it
    /// sees everything from now on, whatever happens in between.
    pub(super) async fn open_after(&self, inspection: &Inspection) -> Result<(), Refusal> {
        let mut hooks = inspection
            .hooks
            .iter()
            .filter(|hook| hook.is_after_commit());
        let mut any = false;
        for hook in hooks.by_ref() {
            any = true;
            let consumer = consumer_name(&inspection.name, *hook);
            let end = self.feed.feed_end();
            // One that stands somewhere stays there.
            let put = self.feed.move_cursor(&consumer, None, &end).await;
            put.map_err(|e| store_refusal(&e))?;
        }
        if any {
            self.make_account(&inspection.name).await?;
        }
        Ok(())
    }

    /// The hooks after the commit of everything that was activated, disabled or not, by plugin.
    pub(in crate::plugins) async fn after_commit(&self) -> Vec<AfterHook> {
        let state = self.state.lock().await;
        let bindings = state.plan.bindings.iter();
        let mut hooks: Vec<AfterHook> = bindings
            .filter_map(|binding| {
                let hook = kith_runtime::Hook::from_name(&binding.hook)?;
                hook.is_after_commit().then(|| AfterHook {
                    plugin: binding.plugin.clone(),
                    version: binding.version.clone(),
                    hook,
                    disabled: state.plan.is_disabled(&binding.plugin),
                })
            })
            .collect();
        hooks.sort_by(|a, b| (&a.plugin, a.hook).cmp(&(&b.plugin, b.hook)));
        hooks
    }

    /// The user a plugin speaks as; it cannot sign in.
    async fn make_account(&self, name: &str) -> Result<(), Refusal> {
        let known = self.accounts.user_named(name).await;
        match known.map_err(|e| store_refusal(&e))? {
            Some(user) if user.kind == UserKind::Service => return Ok(()),
            Some(_) => return Err(taken(name)),
            None => {}
        }
        let now = self.clock.now_ms();
        let user = User {
            profile: Profile {
                id: UserId(self.ids.next(now)),
                username: name.to_owned(),
                display_name: name.to_owned(),
                avatar: None,
            },
            kind: UserKind::Service,
            password: None,
            disabled: false,
            created_at: now,
        };
        let made = self.accounts.create_user(&user).await;
        if made.map_err(|e| store_refusal(&e))? {
            return Ok(());
        }
        // Another node may have made it at the same moment.
        let known = self.accounts.user_named(name).await;
        match known.map_err(|e| store_refusal(&e))? {
            Some(user) if user.kind == UserKind::Service => Ok(()),
            _ => Err(taken(name)),
        }
    }

    /// A service account by name or id.
    pub(super) async fn service_account(&self, who: &str) -> Result<UserId, Refusal> {
        let named = self.accounts.user_named(who).await;
        let mut found = named.map_err(|e| store_refusal(&e))?;
        if let (None, Ok(id)) = (&found, who.parse()) {
            found = self
                .accounts
                .user(id)
                .await
                .map_err(|e| store_refusal(&e))?;
        }
        match found {
            Some(user) if user.kind == UserKind::Service => Ok(user.profile.id),
            Some(_) => Err(Refusal::bad_request(format!(
                "{who} is a person; a responder answers for a service account"
            ))),
            None => Err(Refusal::not_found(format!("there is no user {who}"))),
        }
    }
}

/// What is given to a plugin and taken back as a step, with all that it has then.
pub(super) fn granting(
    by: &str,
    name: &str,
    (added, revoked): (&Grants, &[String]),
    before: Grants,
) -> Step {
    let mut all = before;
    for ability in revoked {
        all.revoke(ability);
    }
    all.extend(added.clone());
    let mut step = Step::of(by, "plugin.grant", name).with("grants", all.to_string());
    if !added.is_empty() {
        step = step.with("added", added.to_string());
    }
    if !revoked.is_empty() {
        step = step.with("revoked", revoked.to_vec());
    }
    step
}

/// What a version imports more, and what it imports no more, than the one that serves.
pub(super) fn difference(serving: &[String], wanted: &[String]) -> Value {
    let beyond = |own: &[String], other: &[String]| -> Vec<String> {
        let mut beyond = own.to_vec();
        beyond.retain(|ability| !other.contains(ability));
        beyond
    };
    json!({"adds": beyond(wanted, serving), "drops": beyond(serving, wanted)})
}

fn taken(name: &str) -> Refusal {
    let message = format!("the user name {name}, which the plugin's account would have, is taken");
    Refusal::new(Code::Conflict, message)
}

/// What of a binding can be said of a hook. After the commit what fails is tried again, then skipped: nothing else is a
/// policy there. Isolation and budget are kept as asked; instances are fresh there anyway, and calls have a hard stop alone.
pub(super) fn check_change(hook: &str, change: &BindingChange) -> Result<(), Refusal> {
    let hook = kith_runtime::Hook::from_name(hook);
    if let Some(hook) = hook.filter(|hook| hook.is_after_commit()) {
        let only = FailurePolicy::default_of(hook.as_str());
        let policies = [
            ("on_failed", &change.on_failed),
            ("on_absent", &change.on_absent),
        ];
        for (field, policy) in policies {
            let Some(policy) = policy else { continue };
            if named("policy", policy) != Ok(only) {
                return Err(Refusal::bad_request(format!(
                    "{field} {policy} is not possible for the hook {}, which is called after the commit and tried again, then skipped; possible: pass",
                    hook.as_str()
                )));
            }
        }
        if change.fallback.is_some() {
            return Err(Refusal::bad_request(format!(
                "the hook {} is called after the commit and has no fallback",
                hook.as_str()
            )));
        }
    }
    if change.account.is_some() && hook != Some(kith_runtime::Hook::Responder) {
        return Err(Refusal::bad_request("only a responder has an account"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_what_one_imports_and_the_other_does_not() {
        let names = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let shown = difference(&names(&["log", "http"]), &names(&["log", "random"]));
        assert_eq!(shown, json!({"adds": ["random"], "drops": ["http"]}));
    }
}
