//! Following what other nodes change: a generation that is kept is fetched, loaded and said to be ready; one that is in
//! force takes over. What was said and not heard is found in the store. A change whose node is gone is brought to its end.
//!
//! A generation that cannot be loaded here never takes over: this node does not judge until it can.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::among::Among;
use super::build::{needed, quarantined};
use super::provisions::key;
use super::step::Step;
use super::{Rollout, Settings, State};
use crate::journey::store_refusal;
use crate::plugins::bindings::{Plan, VersionRef};
use crate::refusal::{Code, Refusal};
use crate::store::accounts::StoredGeneration;
use crate::store::generations::Standing;

/// Between two tries of what failed.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two looks at a change that is not at its end.
const SOON: Duration = Duration::from_millis(50);

impl Rollout {
    /// This node among others; `None` of one that is alone.
    pub fn among(&self) -> Option<&Arc<Among>> {
        self.among.as_ref()
    }

    /// Whether what is loaded here is in force, as far as is known.
    pub(in crate::plugins) fn may_serve(&self) -> bool {
        self.among.as_ref().is_none_or(|among| among.may_judge())
    }

    /// Takes up what is in force. Where nothing is yet, begins, or follows who was faster.
    pub(super) async fn start_among(
        &self,
        among: &Among,
        first: Option<&Path>,
    ) -> Result<(), Refusal> {
        let mut standing = among.ask().await?;
        if standing.in_force == 0 && standing.newest > 0 {
            let put = among.shared.put_in_force(standing.newest).await;
            standing.in_force = put.map_err(|e| store_refusal(&e))?;
        }
        if standing.in_force > 0 {
            let record = self.record_of(standing.in_force).await?;
            self.note_unconfigured(&read_plan(&record)?).await?;
            self.adopt(among, record).await?;
        }
        self.loaded.serves();
        if standing.in_force == 0 {
            if let Some(folder) = first {
                self.first_plugins(folder).await?;
            }
            if self.generation() == 0 {
                let _changing = self.changing.lock().await;
                drop(self.change("start", |_| Ok(())).await?);
            }
        }
        among.ask().await.map(drop)
    }

    /// Runs for ever; ends at once where this node is alone.
    pub async fn follow(self: Arc<Self>) {
        let Some(among) = self.among.clone() else {
            return;
        };
        let mut seen = among.seen.subscribe();
        let mut pending: (u64, Instant) = (0, Instant::now());
        loop {
            let standing = *seen.borrow_and_update();
            let kept_up = self.keep_up(&among, standing).await;
            if let Err(refusal) = &kept_up {
                tracing::warn!(why = %refusal.message, "a generation of plugins is not ready here");
                among.note_trouble(&refusal.message);
            }
            let is_pending = standing.newest > standing.in_force;
            if pending.0 != standing.newest {
                pending = (standing.newest, Instant::now());
            }
            let is_own = among.proposing.load(Ordering::Acquire) == standing.newest;
            if is_pending && !is_own && pending.1.elapsed() >= among.rules.finish {
                let overdue = pending.1.elapsed() >= among.rules.finish * 2;
                self.finish_for_another(&among, standing, overdue).await;
            }
            let changed = seen.changed();
            let ended = match kept_up.is_err() || is_pending {
                true => tokio::time::timeout(AGAIN.min(among.rules.look), changed).await,
                false => Ok(changed.await),
            };
            if matches!(ended, Ok(Err(_))) {
                return;
            }
        }
    }

    /// What is in force takes over here, and what is to be is made ready.
    async fn keep_up(&self, among: &Among, standing: Standing) -> Result<(), Refusal> {
        if standing.in_force > self.generation() {
            let record = self.record_of(standing.in_force).await?;
            self.adopt(among, record).await?;
        }
        let newest = standing.newest;
        let is_own = among.proposing.load(Ordering::Acquire) == newest;
        if newest > standing.in_force && !is_own && !among.is_ready(newest) {
            self.get_ready(among, newest).await?;
        }
        Ok(())
    }

    async fn record_of(&self, number: u64) -> Result<StoredGeneration, Refusal> {
        let record = self.accounts.generation(number).await;
        let record = record.map_err(|e| store_refusal(&e))?;
        record.ok_or_else(|| Refusal::unavailable(format!("generation {number} is not kept")))
    }

    /// Loads what a generation needs, and lets it take over unless a newer one has.
    pub(super) async fn adopt(
        &self,
        among: &Among,
        record: StoredGeneration,
    ) -> Result<(), Refusal> {
        let plan = read_plan(&record)?;
        let settings = self.load_for(among, &plan).await?;
        let mut state = self.state.lock().await;
        if self.generation() >= record.number {
            return Ok(());
        }
        for (name, configuration) in settings {
            self.loaded.configure(&name, configuration);
        }
        self.serve(&mut state, among, (record.number, plan), &record.cause)
            .await;
        // A change that is under way here loads what is in no plan yet: it lets go itself.
        if let Ok(_changing) = self.changing.try_lock() {
            self.forget_unused(&state.plan).await?;
        }
        Ok(())
    }

    async fn get_ready(&self, among: &Among, number: u64) -> Result<(), Refusal> {
        let plan = read_plan(&self.record_of(number).await?)?;
        self.load_for(among, &plan).await?;
        let moved = moved(&self.state.lock().await.plan, &plan);
        if !moved.is_empty() {
            // From here on nothing is judged, and nothing shown, that would be written beside the state that is made anew.
            let quiet = self.quiet(&moved).await?;
            self.turn(number).await?;
            *among.quiet.lock() = quiet;
        }
        among.note_ready(number);
        Ok(())
    }

    /// Everything a plan needs, under its configurations; those that are not in force here yet. Refused where something
    /// that is to serve cannot be loaded, unless it could not be before either.
    async fn load_for(&self, among: &Among, plan: &Plan) -> Result<Settings, Refusal> {
        let missing = self.missing_settings(among, plan).await?;
        let serving: Vec<(String, VersionRef)> = plan
            .in_records()
            .into_iter()
            .map(|binding| {
                let version = VersionRef {
                    version: binding.version,
                    digest: binding.digest,
                };
                (binding.plugin, version)
            })
            .collect();
        for (name, version) in needed(plan) {
            let (configuration, is_new) = match missing.get(name) {
                Some(configuration) => (configuration.clone(), true),
                None => (self.configuration(name).await?, false),
            };
            if self
                .loaded
                .version(&key(&version, &configuration))
                .is_some()
            {
                continue;
            }
            let Err(refusal) = self.prepare_with(&version, &configuration).await else {
                continue;
            };
            let was_absent = !is_new && self.loaded.why_absent(&version.digest).is_some();
            let serves = serving
                .iter()
                .any(|(of, own)| of == name && own.digest == version.digest);
            if serves && !was_absent && !self.loaded.is_starting() {
                let what = format!("{name} {}: {}", version.version, refusal.message);
                return Err(Refusal::new(refusal.code, what));
            }
            tracing::warn!(plugin = name, version = version.version, why = %refusal.message,
                "a version that is bound or may be gone back to cannot be loaded");
        }
        Ok(missing)
    }

    /// A plan whose versions are all loaded serves. The caller holds the state.
    pub(super) async fn serve(
        &self,
        state: &mut State,
        among: &Among,
        (number, plan): (u64, Plan),
        cause: &str,
    ) {
        let generation = self.build(&plan, number).await;
        state.plan = plan;
        self.cell.activate(generation);
        among.note_serving(number);
        among.on_the_way.lock().clear();
        among.quiet.lock().clear();
        self.took_over(number, cause);
    }

    /// The number of the generation that everything was read of, with nothing on its way; a change is made to that, or
    /// again.
    pub async fn basis(&self) -> Result<u64, Refusal> {
        if self.among.is_some() {
            self.caught_up().await?;
        }
        Ok(self.generation())
    }

    /// Returns when this node serves the newest generation there is.
    pub(super) async fn caught_up(&self) -> Result<(), Refusal> {
        let Some(among) = &self.among else {
            return Ok(());
        };
        let until = Instant::now() + among.rules.finish * 3;
        loop {
            let standing = among.ask().await?;
            self.keep_up(among, standing).await?;
            if standing.newest <= standing.in_force {
                break;
            }
            if Instant::now() >= until {
                return Err(Refusal::unavailable(
                    "another change of plugins does not come to its end",
                ));
            }
            tokio::time::sleep(SOON.min(among.rules.look)).await;
        }
        let known = self.accounts.plugins().await;
        let known = known.map_err(|e| store_refusal(&e))?;
        let mut state = self.state.lock().await;
        state.quarantined = quarantined(known);
        Ok(())
    }

    /// The same, before something is read for a change: what another node configured of a plugin that never served is not
    /// told, so it is read anew.
    pub(super) async fn refresh(&self) -> Result<(), Refusal> {
        self.caught_up().await?;
        if self.among.is_some() {
            let state = self.state.lock().await;
            let plugins = &state.plan.plugins;
            self.loaded
                .forget_settings(|name| !plugins.contains_key(name));
        }
        Ok(())
    }

    /// Ends what a node began that is gone: puts it in force, or goes on with what serves where nobody but that node could
    /// have completed it.
    async fn finish_for_another(&self, among: &Among, standing: Standing, overdue: bool) {
        let number = standing.newest;
        let finished = async {
            let plan = read_plan(&self.record_of(number).await?)?;
            let base = self.state.lock().await.plan.clone();
            if !moved(&base, &plan).is_empty() || overdue && !among.is_ready(number) {
                return self.give_back(among, number, base).await;
            }
            if among.is_ready(number) {
                tracing::warn!(
                    generation = number,
                    "a change is brought to its end for another node"
                );
                let put = among.shared.put_in_force(number).await;
                among.tell_in_force(put.map_err(|e| store_refusal(&e))?);
                among.wake();
            }
            Ok(())
        };
        if let Err(refusal) = finished.await {
            tracing::warn!(generation = number, why = %refusal.message,
                "a change that another node began is not at its end");
        }
    }

    /// Goes on with a plan under the number after one that cannot take over.
    pub(super) async fn give_back(
        &self,
        among: &Among,
        given_up: u64,
        plan: Plan,
    ) -> Result<(), Refusal> {
        let number = given_up + 1;
        let cause = format!("generation {given_up} was given up");
        tracing::warn!(generation = given_up, "a change is given up");
        self.propose(&plan, number, Step::from(&cause)).await?;
        among.note_ready(number);
        let put = among.shared.put_in_force(number).await;
        among.tell_in_force(put.map_err(|e| store_refusal(&e))?);
        let mut state = self.state.lock().await;
        if self.generation() < number {
            self.serve(&mut state, among, (number, plan), &cause).await;
        }
        Ok(())
    }
}

/// The plugins whose state is made anew between two plans.
pub(super) fn moved(before: &Plan, after: &Plan) -> Vec<String> {
    let plugins = after.plugins.iter().filter(|(name, own)| {
        let known = before.plugins.get(*name);
        known.is_some_and(|known| {
            own.namespace != known.namespace && own.namespace != known.previous_namespace
        })
    });
    plugins.map(|(name, _)| name.clone()).collect()
}

pub(super) fn read_plan(record: &StoredGeneration) -> Result<Plan, Refusal> {
    serde_json::from_str(&record.bindings)
        .map_err(|_| Refusal::new(Code::Internal, "the stored generation could not be read"))
}
