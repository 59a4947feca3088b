//! Building: from a plan to a generation of loaded versions, at start and at every change. A version that cannot be
//! loaded is absent from the generation, with the reason; it stops nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use kith_runtime as runtime;
use kith_runtime::{Generation, GenerationCell, HealthChange, Runtime, Version};
use tokio::sync::Mutex;

use super::loaded::{Loaded, PreparedKey};
use super::switch::Why;
use super::{Rollout, RolloutRules, State};
use crate::clock::Clock;
use crate::content::ContentLimits;
use crate::ids::IdSource;
use crate::journey::store_refusal;
use crate::plugins::bindings::{
    BindingPlan, BindingScope, FailurePolicy, Isolation, Plan, VersionRef,
};
use crate::refusal::{Code, Refusal};
use crate::store::accounts::Accounts;
use crate::store::feed::Feed;

impl Rollout {
    /// Builds the generation that was in force, or with `first` (a folder of components) the very first one.
    pub async fn start(
        runtime: Runtime,
        (accounts, feed): (Arc<dyn Accounts>, Arc<dyn Feed>),
        (clock, ids): (Arc<dyn Clock>, Arc<IdSource>),
        rules: RolloutRules,
        limits: ContentLimits,
        first: Option<&Path>,
    ) -> Result<Arc<Self>, Refusal> {
        let stored = accounts
            .newest_generation()
            .await
            .map_err(|e| store_refusal(&e))?;
        let known = accounts.plugins().await.map_err(|e| store_refusal(&e))?;
        let is_first = stored.is_none();
        let plan: Plan = match &stored {
            Some(stored) => serde_json::from_str(&stored.bindings).map_err(|_| {
                Refusal::new(Code::Internal, "the stored generation could not be read")
            })?,
            None => Plan::default(),
        };
        let state = State {
            plan: plan.clone(),
            numbers: (0, 0),
            fresh: HashMap::new(),
            quarantined: known
                .into_iter()
                .filter_map(|version| version.quarantined.then_some(version.digest))
                .collect(),
            owed: Vec::new(),
        };
        let rollout = Arc::new(Self {
            runtime,
            accounts,
            feed,
            clock,
            ids,
            rules,
            limits,
            cell: Arc::new(GenerationCell::default()),
            changing: Mutex::new(()),
            state: Mutex::new(state),
            loaded: Loaded::default(),
            switched: tokio::sync::Notify::new(),
            happened: OnceLock::new(),
            aside: OnceLock::new(),
            generations: tokio::sync::watch::Sender::new(0),
        });
        if is_first {
            if let Some(folder) = first {
                rollout.first_plugins(folder).await?;
            }
            return Ok(rollout);
        }
        let mut state = rollout.state.lock().await;
        // A number of its own: what was in memory only when the last process ended is not taken up again.
        rollout.take_over(&mut state, plan, "start").await?;
        drop(state);
        Ok(rollout)
    }

    /// Pushes what lies in a folder and activates all of it as one generation; one that cannot be is told and left
    /// out.
    async fn first_plugins(&self, folder: &Path) -> Result<(), Refusal> {
        let Ok(listed) = std::fs::read_dir(folder) else {
            return Ok(());
        };
        let mut files: Vec<_> = listed
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .collect();
        files.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        });
        files.sort();
        let mut versions = Vec::new();
        for file in files {
            let component = std::fs::read(&file)
                .map_err(|error| Refusal::unavailable(format!("{}: {error}", file.display())))?;
            let signature = std::fs::read_to_string(file.with_extension("wasm.sig")).ok();
            match self.push(component, signature.as_deref()).await {
                Ok(pushed) => {
                    let text = |field: &str| pushed[field].as_str().unwrap_or_default().to_owned();
                    let version = VersionRef {
                        version: text("version"),
                        digest: text("digest"),
                    };
                    versions.push((text("name"), version));
                }
                Err(refusal) => {
                    tracing::error!(file = %file.display(), message = %refusal.message, "a first plugin was left out");
                }
            }
        }
        self.activate_all(&versions).await
    }

    /// Loads everything a plan needs, and what a rollback from it would need, without holding anybody up. What cannot
    /// be loaded is noted.
    pub(super) async fn load_all(&self, plan: &Plan) {
        for (plugin, version) in needed(plan) {
            let _ = self.load(plugin, &version).await;
        }
    }

    /// A generation of everything a plan has serving; what cannot be loaded is absent.
    pub(super) async fn build(&self, plan: &Plan, number: u64) -> Generation {
        let mut bindings = Vec::new();
        for binding in plan.serving() {
            let Some(hook) = runtime::Hook::from_name(&binding.hook) else {
                continue;
            };
            let version = VersionRef {
                version: binding.version.clone(),
                digest: binding.digest.clone(),
            };
            let loaded = self.load(&binding.plugin, &version).await;
            let fallback = match &binding.fallback {
                Some(version) => self.load(&binding.plugin, version).await.ok(),
                None => None,
            };
            bindings.push(runtime::Binding {
                plugin: binding.plugin.clone(),
                version: binding.version.clone(),
                digest: binding.digest.clone(),
                hook,
                order: binding.order,
                scope: to_scope(binding.scope),
                on_failed: to_policy(binding.on_failed),
                on_absent: to_policy(binding.on_absent),
                fallback,
                isolation: match binding.isolation {
                    Isolation::Reuse => runtime::Isolation::Reuse,
                    Isolation::Message => runtime::Isolation::Message,
                },
                budget_us: binding.budget_us,
                levels: BTreeMap::new(),
                commands: binding.commands.clone(),
                grants: grants_of(plan, &binding.plugin),
                account: binding.account.clone(),
                loaded,
            });
        }
        Generation::new(number, bindings)
    }

    /// Notes which commands a plan's versions answer under today's configurations; of one that cannot be loaded what it
    /// named last stays.
    pub(super) async fn name_commands(&self, plan: &mut Plan) {
        for binding in &mut plan.bindings {
            if binding.hook != runtime::Hook::Command.as_str() {
                continue;
            }
            let version = VersionRef {
                version: binding.version.clone(),
                digest: binding.digest.clone(),
            };
            if let Ok(prepared) = self.load(&binding.plugin, &version).await {
                let named = prepared.commands().map(|(name, _)| name.to_owned());
                binding.commands = named.collect();
            }
        }
    }

    async fn load(&self, name: &str, version: &VersionRef) -> Result<Arc<Version>, String> {
        match self.prepare(name, version).await {
            Ok(prepared) => {
                self.loaded.is_absent(&version.digest, None);
                Ok(prepared)
            }
            Err(refusal) => {
                let why = refusal.message.into_owned();
                tracing::error!(
                    plugin = name,
                    version = version.version,
                    why,
                    "a bound version is absent"
                );
                self.loaded.is_absent(&version.digest, Some(&why));
                Err(why)
            }
        }
    }

    /// Lets go of what neither serves nor could be rolled back to.
    pub(super) async fn forget_unused(&self, plan: &Plan) -> Result<(), Refusal> {
        let mut wanted = HashSet::new();
        for (plugin, version) in needed(plan) {
            wanted.insert(PreparedKey {
                digest: version.digest,
                revision: self.configuration(plugin).await?.revision,
            });
        }
        let kept = self.loaded.keep_only(&wanted);
        let runtime = self.runtime.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = runtime.sweep_cache(&kept) {
                tracing::warn!(%error, "the code cache could not be swept");
            }
        });
        Ok(())
    }

    /// Rolls a fresh activation back when its breaker opens, and tells when a hook is well again. Runs for ever.
    pub async fn watch(self: Arc<Self>) {
        let mut health = self.runtime.health();
        loop {
            match health.recv().await {
                Ok(event) => match event.change {
                    HealthChange::Opened(why) => {
                        self.roll_back_fresh(&event.plugin, &event.digest, &why)
                            .await
                    }
                    HealthChange::ProbeDue | HealthChange::Closed => self.switched.notify_one(),
                },
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    async fn roll_back_fresh(&self, plugin: &str, digest: &str, why: &str) {
        let mut state = self.state.lock().await;
        let now = self.clock.now_ms();
        let fresh = state.fresh.get(plugin);
        let is_fresh = fresh.is_some_and(|fresh| fresh.digest == digest && now < fresh.until_ms);
        if !is_fresh {
            return;
        }
        tracing::error!(
            plugin,
            digest,
            why,
            "a fresh activation is rolled back and quarantined"
        );
        state.quarantined.insert(digest.to_owned());
        let rolled_back = self.roll_back(&mut state, plugin, Why::Broken).await;
        let quarantined = self.accounts.set_quarantined(digest, true).await;
        if rolled_back.is_err() || quarantined.is_err() {
            tracing::error!(plugin, "the rollback is not complete");
        }
    }
}

fn grants_of(plan: &Plan, plugin: &str) -> Arc<runtime::Grants> {
    let plugin = plan.plugins.get(plugin);
    Arc::new(
        plugin
            .map(|plugin| plugin.grants.clone())
            .unwrap_or_default(),
    )
}

/// The versions of a plan that must be loaded: what serves, its fallbacks, and what a rollback would go to.
pub(super) fn needed(plan: &Plan) -> Vec<(&str, VersionRef)> {
    let mut needed = Vec::new();
    for (name, plugin) in &plan.plugins {
        needed.push((
            name.as_str(),
            VersionRef {
                version: plugin.version.clone(),
                digest: plugin.digest.clone(),
            },
        ));
        needed.extend(
            plugin
                .previous
                .clone()
                .map(|version| (name.as_str(), version)),
        );
    }
    let fallbacks = plan.bindings.iter();
    needed.extend(fallbacks.filter_map(|binding| {
        let version = binding.fallback.clone()?;
        Some((binding.plugin.as_str(), version))
    }));
    needed
}

/// How a version would like to be bound.
pub(super) fn default_bindings(version: &Arc<Version>, reference: &VersionRef) -> Vec<BindingPlan> {
    let inspection = version.inspection();
    let wish = |wish: &runtime::BindingDefault| BindingPlan {
        plugin: inspection.name.clone(),
        version: reference.version.clone(),
        digest: reference.digest.clone(),
        hook: wish.hook.as_str().to_owned(),
        order: wish.order,
        scope: from_scope(wish.scope),
        on_failed: from_policy(wish.on_failed),
        on_absent: from_policy(wish.on_absent),
        fallback: None,
        isolation: Isolation::Reuse,
        budget_us: wish.budget_us,
        commands: match wish.hook {
            runtime::Hook::Command => version
                .commands()
                .map(|(name, _)| name.to_owned())
                .collect(),
            _ => Vec::new(),
        },
        account: String::new(),
    };
    inspection.defaults.iter().map(wish).collect()
}

fn to_scope(scope: BindingScope) -> runtime::BindingScope {
    match scope {
        BindingScope::All => runtime::BindingScope::All,
        BindingScope::Direct => runtime::BindingScope::Direct,
        BindingScope::Group => runtime::BindingScope::Group,
        BindingScope::Own => runtime::BindingScope::Own,
    }
}

fn from_scope(scope: runtime::BindingScope) -> BindingScope {
    match scope {
        runtime::BindingScope::All => BindingScope::All,
        runtime::BindingScope::Direct => BindingScope::Direct,
        runtime::BindingScope::Group => BindingScope::Group,
        runtime::BindingScope::Own => BindingScope::Own,
    }
}

fn to_policy(policy: FailurePolicy) -> runtime::Policy {
    match policy {
        FailurePolicy::Pass => runtime::Policy::Pass,
        FailurePolicy::Reject => runtime::Policy::Reject,
        FailurePolicy::Unavailable => runtime::Policy::Unavailable,
        FailurePolicy::Hold => runtime::Policy::Hold,
        FailurePolicy::Fallback => runtime::Policy::Fallback,
    }
}

fn from_policy(policy: runtime::Policy) -> FailurePolicy {
    match policy {
        runtime::Policy::Pass => FailurePolicy::Pass,
        runtime::Policy::Reject => FailurePolicy::Reject,
        runtime::Policy::Unavailable => FailurePolicy::Unavailable,
        runtime::Policy::Hold => FailurePolicy::Hold,
        runtime::Policy::Fallback => FailurePolicy::Fallback,
    }
}
