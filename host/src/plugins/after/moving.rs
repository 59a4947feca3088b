//! What becomes of a plugin's state when a version takes over: it is asked, and where it wants another form, that is made
//! beside the old one while the version before serves. Nothing of the old namespace is changed, so a kill leaves it serving
//! and a rollback returns to it. The switch itself is the roll-out's; this here is ready before it and finishes within it.

mod copying;
mod namespaces;
mod rebuilding;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kith_runtime::{Grants, Need, Version};
use serde_json::{Value, json};
use tokio::sync::OwnedRwLockWriteGuard;

use super::AfterCommit;
use crate::plugins::bindings::{Plan, namespace_of};
use crate::plugins::rollout::Rollout;
use crate::refusal::{Code, Refusal};
use crate::store::Change;
pub use namespaces::Namespaces;
use rebuilding::Rebuild;

/// Longest that calls of the version before are waited for, beyond their own stop.
const CALLS_MOST: Duration = Duration::from_secs(90);
/// The same on a node that follows: tried again, and whoever makes the change waits for it no longer than it waits for others.
const QUIET_MOST: Duration = Duration::from_secs(5);
/// Longest that messages wait for the last of it: then the version before goes on.
const TURN_MOST: Duration = Duration::from_secs(5);

/// How far a state is that is being made.
#[derive(Debug, Clone)]
pub struct Progress {
    pub plugin: String,
    pub from: String,
    pub to: String,
    /// `migrate` or `rebuild`.
    pub what: &'static str,
    /// Bytes of the namespace, or commits.
    pub done: u64,
    /// About how many there are.
    pub of: u64,
}

impl Progress {
    pub fn json(&self) -> Value {
        json!({"from": self.from, "to": self.to, "what": self.what, "done": self.done, "of": self.of})
    }
}

/// What of a plan a new state goes with.
#[derive(Debug, Clone)]
pub struct Moved {
    plugin: String,
    /// The version it was made from.
    from: String,
    namespace: u64,
}

impl Moved {
    /// Puts the new namespace into a plan whose plugin was still on the version it was made from in `before`.
    pub fn place(&self, before: &Plan, plan: &mut Plan) -> Result<(), Refusal> {
        let stands = before.plugins.get(&self.plugin);
        if stands.is_none_or(|stands| stands.digest != self.from) {
            let message = format!("{} changed meanwhile; activate it again", self.plugin);
            return Err(Refusal::new(Code::Conflict, message));
        }
        if let Some(own) = plan.plugins.get_mut(&self.plugin) {
            own.namespace = self.namespace;
        }
        Ok(())
    }
}

/// A state in the making. Dropped before it was placed in a plan, it is gone.
pub struct Moving {
    shared: Arc<AfterCommit>,
    plugin: Arc<str>,
    version: Arc<Version>,
    from: (String, String),
    old: String,
    new: Arc<str>,
    namespace: u64,
    grants: Grants,
    rebuild: Option<Rebuild>,
    /// The versions of the keys that were told last, as they were copied; none of those that are gone.
    copied: HashMap<String, Option<u64>>,
    /// While it is held no call of the plugin's hooks after the commit runs.
    calls: Option<OwnedRwLockWriteGuard<()>>,
}

impl Rollout {
    /// From now on states are made here.
    pub(in crate::plugins) fn moves_state_by(&self, after: &Arc<AfterCommit>) {
        // The first one stays: there is one who follows the commits.
        let _ = self.after.set(Arc::downgrade(after));
    }

    /// Makes the state a version wants to take over with, as far as that can be done while the one before serves; none where
    /// it goes on with what is there.
    pub(in crate::plugins) async fn begin_move(
        &self,
        name: &str,
        version: &Arc<Version>,
        given: &Grants,
    ) -> Result<Option<Moving>, Refusal> {
        let (from, digest, namespace, mut grants) = {
            let state = self.state.lock().await;
            let Some(own) = state.plan.plugins.get(name) else {
                return Ok(None);
            };
            let from = (own.version.clone(), own.digest.clone());
            (from.0, from.1, own.namespace, own.grants.clone())
        };
        if digest == version.inspection().digest {
            return Ok(None);
        }
        let Some(shared) = self.after.get().and_then(std::sync::Weak::upgrade) else {
            return Ok(None); // the very first start: nothing is kept yet
        };
        let need = needs(name, version, &from).await?;
        if matches!(need, Need::Compatible) {
            return Ok(None);
        }
        grants.extend(given.clone());
        let number = self.ids.next(self.clock.now_ms());
        let mut moving = Moving {
            plugin: name.into(),
            version: version.clone(),
            from: (from, digest),
            old: namespace_of(name, namespace),
            new: namespace_of(name, number).as_str().into(),
            namespace: number,
            grants,
            rebuild: None,
            copied: HashMap::new(),
            calls: None,
            shared,
        };
        moving.make(&need).await?;
        Ok(Some(moving))
    }

    /// From here on what an older generation than this one judged is given back here; what it has submitted is committed.
    pub(in crate::plugins) async fn turn(&self, generation: u64) -> Result<(), Refusal> {
        let Some(shared) = self.after.get().and_then(std::sync::Weak::upgrade) else {
            return Ok(()); // nothing is judged yet
        };
        let turn = Change::Turn { generation };
        shared.journey.settle(turn).await.map(drop)
    }

    /// No call of these plugins' hooks after the commit runs here while what is returned is held.
    pub(in crate::plugins) async fn quiet(
        &self,
        plugins: &[String],
    ) -> Result<Vec<OwnedRwLockWriteGuard<()>>, Refusal> {
        let Some(shared) = self.after.get().and_then(std::sync::Weak::upgrade) else {
            return Ok(Vec::new()); // nothing is shown yet
        };
        let mut quiet = Vec::new();
        for plugin in plugins {
            let calls = shared.namespaces.calls(plugin).write_owned();
            let calls = tokio::time::timeout(QUIET_MOST, calls).await;
            quiet.push(calls.map_err(|_| {
                Refusal::unavailable(format!("calls of {plugin} did not end in time"))
            })?);
        }
        Ok(quiet)
    }

    /// Refuses a version that cannot work beside the one that serves, on the same state.
    pub(in crate::plugins) async fn keeps_its_state(
        &self,
        name: &str,
        version: &Arc<Version>,
    ) -> Result<(), Refusal> {
        let serving = self.known(&*self.state.lock().await, name)?;
        let wanted = version.inspection();
        if serving.digest == wanted.digest
            || matches!(
                needs(name, version, &serving.version).await?,
                Need::Compatible
            )
        {
            return Ok(());
        }
        let message = format!(
            "{name} {} makes its state anew, which two versions cannot share: activate it",
            wanted.version
        );
        Err(Refusal::new(Code::Conflict, message))
    }
}

/// What a version says its state needs, coming from another.
async fn needs(name: &str, version: &Arc<Version>, from: &str) -> Result<Need, Refusal> {
    let (asked, before) = (version.clone(), from.to_owned());
    let need = tokio::task::spawn_blocking(move || asked.needs(&before)).await;
    let need = need.map_err(|_| ended(name))?.map_err(|failure| {
        let message = format!("{name} could not say what its state needs: {failure}");
        Refusal::bad_request(message)
    })?;
    need.map_err(|why| Refusal::bad_request(format!("{name} refuses: {why}")))
}

impl Moving {
    /// What a plan must say where this takes over.
    pub fn moved(&self) -> Moved {
        Moved {
            plugin: self.plugin.to_string(),
            from: self.from.1.clone(),
            namespace: self.namespace,
        }
    }

    /// Everything that can be done before the switch. Afterwards no call of the plugin runs behind the commit, and what
    /// messages write is followed.
    async fn make(&mut self, need: &Need) -> Result<(), Refusal> {
        let what = match need {
            Need::Compatible => return Ok(()),
            Need::Migrate => "migrate",
            Need::Rebuild(_) => "rebuild",
        };
        self.shared.namespaces.begin(
            &self.new,
            Progress {
                plugin: self.plugin.to_string(),
                from: self.from.0.clone(),
                to: self.version.inspection().version.clone(),
                what,
                done: 0,
                of: 0,
            },
        );
        tracing::info!(
            plugin = &*self.plugin,
            from = self.from.0,
            what,
            "state is made anew"
        );
        if let Need::Rebuild(commits) = need {
            self.rebuild = Some(Rebuild::begin(self, *commits).await?);
            self.replay().await?;
        } else {
            self.shared.kv.kv_watch(&self.old);
            self.copy().await?;
        }
        let calls = self.shared.namespaces.calls(&self.plugin);
        let calls = tokio::time::timeout(CALLS_MOST, calls.write_owned()).await;
        let still = |_| {
            let message = format!("calls of {} did not end in time; try again", self.plugin);
            Refusal::unavailable(message)
        };
        self.calls = Some(calls.map_err(still)?);
        match self.rebuild {
            Some(_) => self.replay().await,
            None => self.come_close().await,
        }
    }

    /// The last of it, within the switch: from here on what an older generation than this one judged waits for it.
    pub async fn finish(&mut self, generation: u64) -> Result<(), Refusal> {
        if self.rebuild.is_some() {
            return Ok(());
        }
        let last = async {
            let turn = Change::Turn { generation };
            self.shared.journey.settle(turn).await?;
            self.follow().await?;
            self.fits().await
        };
        match tokio::time::timeout(TURN_MOST, last).await {
            Ok(done) => done,
            Err(_) => Err(Refusal::unavailable(format!(
                "the state of {} did not get ready in time; the version before goes on",
                self.plugin
            ))),
        }
    }

    fn progress(&self, change: impl FnOnce(&mut Progress)) {
        self.shared.namespaces.progress(&self.new, change);
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.shared.kv.kv_unwatch(&self.old);
        self.shared.namespaces.end(&self.new);
    }
}

fn ended(name: &str) -> Refusal {
    Refusal::new(
        Code::Internal,
        format!("asking {name} about its state ended unexpectedly"),
    )
}
