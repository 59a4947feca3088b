//! Building: from a plan to a generation of loaded versions, at start and at every change. A version that cannot be
//! loaded is absent from the generation, with the reason; it stops nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use kith_runtime as runtime;
use kith_runtime::{Generation, GenerationCell, Lot, Runtime, Shadowing, Share, Version};
use tokio::sync::Mutex;

use super::among::Among;
use super::follow::read_plan;
use super::loaded::{Loaded, PreparedKey};
use super::shadows::Shadows;
use super::tallies::Tallies;
use super::{Rollout, RolloutRules, State};
use crate::clock::Clock;
use crate::content::ContentLimits;
use crate::ids::IdSource;
use crate::journey::store_refusal;
use crate::plugins::bindings::{
    BindingPlan, BindingScope, FailurePolicy, Isolation, Level, Plan, Trial, VersionRef,
    namespace_of,
};
use crate::plugins::wasm::read_content;
use crate::plugins::words;
use crate::refusal::Refusal;
use crate::store::accounts::{Accounts, PluginVersion};
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
        among: Option<Arc<Among>>,
    ) -> Result<Arc<Self>, Refusal> {
        let stored = match &among {
            // What is in force there is asked for when it can be followed.
            Some(_) => None,
            None => accounts
                .newest_generation()
                .await
                .map_err(|e| store_refusal(&e))?,
        };
        let known = accounts.plugins().await.map_err(|e| store_refusal(&e))?;
        let is_first = stored.is_none();
        let plan: Plan = stored
            .as_ref()
            .map(read_plan)
            .transpose()?
            .unwrap_or_default();
        let state = State {
            plan: plan.clone(),
            numbers: (0, 0),
            quarantined: quarantined(known),
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
            tallies: Tallies::default(),
            shadows: Shadows::default(),
            switched: tokio::sync::Notify::new(),
            happened: OnceLock::new(),
            after: OnceLock::new(),
            aside: OnceLock::new(),
            generations: tokio::sync::watch::Sender::new(0),
            among,
        });
        if let Some(among) = &rollout.among {
            Box::pin(rollout.start_among(among, first)).await?;
            return Ok(rollout);
        }
        if is_first {
            rollout.loaded.serves();
            if let Some(folder) = first {
                rollout.first_plugins(folder).await?;
            }
            return Ok(rollout);
        }
        rollout.note_unconfigured(&plan).await?;
        let mut state = rollout.state.lock().await;
        // A number of its own: what was in memory only when the last process ended is not taken up again.
        rollout.take_over(&mut state, plan, "start").await?;
        drop(state);
        rollout.loaded.serves();
        Ok(rollout)
    }

    /// Notes of which plugins nothing was ever configured, so that starting asks the store once for all of them.
    pub(super) async fn note_unconfigured(&self, plan: &Plan) -> Result<(), Refusal> {
        let configured = self.accounts.configured_plugins().await;
        let configured: HashSet<String> = configured
            .map_err(|e| store_refusal(&e))?
            .into_iter()
            .collect();
        for plugin in plan.plugins.keys() {
            if plugin != words::FILTER && !configured.contains(plugin) {
                self.loaded.configure(plugin, Arc::default());
            }
        }
        Ok(())
    }

    /// Pushes what lies in a folder and activates all of it as one generation; one that cannot be is told and left
    /// out.
    pub(super) async fn first_plugins(&self, folder: &Path) -> Result<(), Refusal> {
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
                    tracing::error!(file = %file.display(), why = %refusal.message, "a first plugin was left out");
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

    /// A generation of everything a plan has serving; what cannot be loaded is absent. A canary that cannot be loaded is
    /// asked nowhere, and the version beside it everywhere.
    pub(super) async fn build(&self, plan: &Plan, number: u64) -> Generation {
        let lots = self.lots(plan).await;
        let (mut bindings, serving) = (Vec::new(), plan.serving().count());
        for (index, binding) in plan.in_records().iter().enumerate() {
            let lot = lots.get(binding.plugin.as_str());
            let share = match (index < serving, lot) {
                (true, Some(lot)) => Share::Without(lot.clone()),
                (true, None) => Share::All,
                (false, Some(lot)) => Share::Within(lot.clone()),
                (false, None) => Share::Nothing,
            };
            bindings.extend(self.bound(plan, binding, share).await);
        }
        let mut shadows = Vec::new();
        for (name, trial) in &plan.shadows {
            if !plan.is_disabled(name) {
                shadows.extend(self.shadowing(plan, name, trial).await);
            }
        }
        Generation::new(number, bindings).with_shadows(shadows)
    }

    /// By plugin, of those with a canary that can be loaded.
    async fn lots<'a>(&self, plan: &'a Plan) -> HashMap<&'a str, Lot> {
        let mut lots = HashMap::new();
        for (name, trial) in &plan.canaries {
            if self.load(name, &trial.version).await.is_ok() {
                let lot = Lot::new(&format!("{name}@{}", trial.version.digest), trial.percent);
                lots.insert(name.as_str(), lot);
            }
        }
        lots
    }

    /// A binding of a plan with what it needs to be asked.
    async fn bound(
        &self,
        plan: &Plan,
        binding: &BindingPlan,
        share: Share,
    ) -> Option<runtime::Binding> {
        let hook = runtime::Hook::from_name(&binding.hook)?;
        let version = VersionRef {
            version: binding.version.clone(),
            digest: binding.digest.clone(),
        };
        let loaded = self.load(&binding.plugin, &version).await;
        let fallback = match &binding.fallback {
            Some(version) => self.load(&binding.plugin, version).await.ok(),
            None => None,
        };
        Some(runtime::Binding {
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
            levels: levels_of(binding),
            commands: binding.commands.clone(),
            grants: grants_of(plan, &binding.plugin),
            namespace: namespace_in(plan, &binding.plugin),
            account: binding.account.clone(),
            share,
            tally: self.tallies.of(&binding.plugin, &binding.digest, hook),
            loaded,
        })
    }

    /// A version in the shadow, at each of its hooks on a message's path; none where it cannot be loaded.
    async fn shadowing(&self, plan: &Plan, name: &str, trial: &Trial) -> Vec<Arc<Shadowing>> {
        if self.load(name, &trial.version).await.is_err() {
            return Vec::new();
        }
        let limits = self.limits;
        let reader: runtime::Reader = Arc::new(move |json: &str| read_content(json, &limits));
        let started = self.shadows.of(name, trial, (self.clock.now_ms(), reader));
        let shadow = match started {
            Ok(shadow) => shadow,
            Err(error) => {
                tracing::error!(plugin = name, %error, "a shadow is not asked");
                return Vec::new();
            }
        };
        let mut shadowing = Vec::new();
        for binding in plan.trial_bindings(trial) {
            let bound = self.bound(plan, &binding, Share::All).await;
            let bound = bound.filter(|bound| !bound.hook.is_after_commit());
            shadowing.extend(bound.map(|binding| {
                Arc::new(Shadowing {
                    binding: runtime::Binding {
                        tally: Arc::default(),
                        ..binding
                    },
                    shadow: shadow.clone(),
                })
            }));
        }
        shadowing
    }

    /// Notes which commands a plan's versions answer under today's configurations; of one that cannot be loaded what it
    /// named last stays.
    pub(super) async fn name_commands(&self, plan: &mut Plan) {
        let canaries = plan.canaries.values_mut();
        let tried = canaries.flat_map(|trial| &mut trial.wishes);
        for binding in plan.bindings.iter_mut().chain(tried) {
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
        self.shadows.keep_only(plan);
        let digests = wanted.iter().map(|key| key.digest.as_str()).collect();
        self.tallies.keep_only(&digests);
        let runtime = self.runtime.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = runtime.sweep_cache(&kept) {
                tracing::warn!(%error, "the code cache could not be swept");
            }
        });
        Ok(())
    }
}

/// The digests that nothing goes to by itself.
pub(super) fn quarantined(known: Vec<PluginVersion>) -> HashSet<String> {
    let versions = known.into_iter();
    versions
        .filter_map(|version| version.quarantined.then_some(version.digest))
        .collect()
}

fn grants_of(plan: &Plan, plugin: &str) -> Arc<runtime::Grants> {
    let plugin = plan.plugins.get(plugin);
    Arc::new(
        plugin
            .map(|plugin| plugin.grants.clone())
            .unwrap_or_default(),
    )
}

/// Where a plugin's keys and values are.
fn namespace_in(plan: &Plan, plugin: &str) -> Arc<str> {
    let number = plan.plugins.get(plugin).map_or(0, |own| own.namespace);
    namespace_of(plugin, number).as_str().into()
}

/// The versions of a plan that must be loaded: what serves and is tried, its fallbacks, and what a rollback would go to.
pub(super) fn needed(plan: &Plan) -> Vec<(&str, VersionRef)> {
    let mut needed = Vec::new();
    for (name, plugin) in &plan.plugins {
        needed.push((name.as_str(), plugin.version()));
        needed.extend(
            plugin
                .previous
                .clone()
                .map(|version| (name.as_str(), version)),
        );
    }
    let trials = plan.canaries.iter().chain(&plan.shadows);
    needed.extend(trials.map(|(name, trial)| (name.as_str(), trial.version.clone())));
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
        levels: BTreeMap::new(),
    };
    inspection.defaults.iter().map(wish).collect()
}

fn levels_of(binding: &BindingPlan) -> BTreeMap<String, runtime::Level> {
    let levels = binding.levels.iter();
    let meant = levels.map(|(name, level)| {
        let level = match level {
            Level::Mask => runtime::Level::Mask,
            Level::Reject => runtime::Level::Reject,
            Level::Hold => runtime::Level::Hold,
        };
        (name.clone(), level)
    });
    meant.collect()
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
