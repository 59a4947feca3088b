//! Taking over: a changed plan becomes a generation, is stored with the steps that made it, and is in force with one
//! pointer store. A rollback is in force first and stored after.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::MutexGuard;

use super::step::Step;
use super::{Owed, Rollout, State};
use crate::journey::store_refusal;
use crate::plugins::after::moving::Moving;
use crate::plugins::bindings::Plan;
use crate::refusal::Refusal;
use crate::store::accounts::StoredGeneration;

/// Most generations that wait for a store that fails.
const OWED_MAX: usize = 64;

impl Rollout {
    /// Changes the plan. What the new one needs is loaded before anybody has to wait; where a rollback was faster, the
    /// change is made again to what that left. The caller holds `changing`.
    pub(super) async fn change(
        &self,
        step: impl Into<Step>,
        change: impl FnMut(&mut Plan) -> Result<(), Refusal>,
    ) -> Result<MutexGuard<'_, State>, Refusal> {
        self.change_moving(step.into(), None, change).await
    }

    /// The same, with a state that is made for it and gets ready within the switch.
    pub(super) async fn change_moving(
        &self,
        step: Step,
        mut moving: Option<&mut Moving>,
        mut change: impl FnMut(&mut Plan) -> Result<(), Refusal>,
    ) -> Result<MutexGuard<'_, State>, Refusal> {
        if let Some(among) = &self.among {
            return Box::pin(self.change_among(among, step, moving, change)).await;
        }
        loop {
            let mut plan = self.state.lock().await.plan.clone();
            change(&mut plan)?;
            self.load_all(&plan).await;
            let mut state = self.state.lock().await;
            let mut now = state.plan.clone();
            change(&mut now)?;
            if now == plan {
                self.take_over_moving(&mut state, plan, step, moving.take())
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
        step: impl Into<Step>,
    ) -> Result<(), Refusal> {
        self.take_over_moving(state, plan, step.into(), None).await
    }

    async fn take_over_moving(
        &self,
        state: &mut State,
        mut plan: Plan,
        step: Step,
        moving: Option<&mut Moving>,
    ) -> Result<(), Refusal> {
        self.settle(state).await?;
        self.name_commands(&mut plan).await;
        self.name_configurations(&mut plan).await?;
        let number = self.number(state).await?;
        let generation = self.build(&plan, number).await;
        let owed = self.record(&plan, number, step);
        let moves = moving.is_some();
        let ready = async {
            if let Some(moving) = moving {
                moving.finish(number).await?;
            }
            let kept = self
                .accounts
                .put_generation(&owed.record, &owed.lines)
                .await;
            kept.map_err(|e| store_refusal(&e))
        };
        if let Err(refusal) = ready.await {
            if moves {
                self.stay(state, number, &owed.record.cause).await;
            }
            return Err(refusal);
        }
        state.plan = plan;
        self.cell.activate(generation);
        self.took_over(number, &owed.record.cause);
        self.forget_unused(&state.plan).await
    }

    /// What was serving goes on, under the number that messages wait for.
    async fn stay(&self, state: &mut State, number: u64, cause: &str) {
        self.cell.activate(self.build(&state.plan, number).await);
        let step = Step::from(format!("given up: {cause}").as_str());
        let owed = self.record(&state.plan, number, step);
        self.took_over(number, &owed.record.cause);
        state.owed.push(owed);
    }

    /// Lets a plan take over whose versions are all loaded; stored after that.
    pub(super) async fn switch_at_once(
        &self,
        state: &mut State,
        plan: Plan,
        step: Step,
    ) -> Result<Instant, Refusal> {
        if let Some(among) = &self.among {
            return Box::pin(self.switch_among(among, state, plan, step)).await;
        }
        let number = self.number(state).await?;
        self.cell.activate(self.build(&plan, number).await);
        let switched = Instant::now();
        let owed = self.record(&plan, number, step);
        self.took_over(number, &owed.record.cause);
        state.owed.push(owed);
        state.plan = plan;
        self.shadows.keep_only(&state.plan);
        self.settle(state).await?;
        Ok(switched)
    }

    pub(super) fn took_over(&self, number: u64, cause: &str) {
        self.switched.notify_one();
        self.generations.send_replace(number);
        tracing::info!(generation = number, cause, "a generation took over");
    }

    pub(super) fn record(&self, plan: &Plan, number: u64, step: Step) -> Owed {
        let at = self.clock.now_ms();
        Owed {
            record: StoredGeneration {
                number,
                bindings: serde_json::to_string(plan).expect("a plan encodes"),
                at,
                cause: step.cause.clone(),
            },
            lines: step.lines(at, Some(number)),
        }
    }

    /// Stores the generations that took over before they were stored.
    async fn settle(&self, state: &mut State) -> Result<(), Refusal> {
        let overdue = state.owed.len().saturating_sub(OWED_MAX);
        state.owed.drain(..overdue);
        while let Some(owed) = state.owed.first() {
            self.accounts
                .put_generation(&owed.record, &owed.lines)
                .await
                .map_err(|e| store_refusal(&e))?;
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

    /// Tells a step that makes no generation.
    pub(super) async fn tell_step(&self, step: Step) {
        for line in step.lines(self.clock.now_ms(), None) {
            if let Err(error) = self.accounts.audit(&line).await {
                tracing::error!(%error, action = line.action, "a step is not in the audit log");
            }
        }
    }

    /// What a change of a plugin answers.
    pub(super) fn switched_json(&self, state: &State, name: &str) -> Value {
        let plan = state.plan.plugins.get(name);
        let state_name = match plan {
            Some(plan) if plan.disabled => "disabled",
            Some(_) => "active",
            None => "available",
        };
        let generation = self.generation();
        let mut done = json!({
            "name": name,
            "version": plan.map(|plan| &plan.version),
            "digest": plan.map(|plan| &plan.digest),
            "state": state_name,
            "generation": generation,
        });
        let behind = self
            .among
            .as_ref()
            .map(|among| among.left_behind(generation));
        if let Some(behind) = behind.filter(|nodes| !nodes.is_empty()) {
            done["behind"] = behind.into();
        }
        done
    }
}
