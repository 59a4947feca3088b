//! A change among nodes: written as the next generation, which one node alone can do; made ready by all; then put in force
//! in the store, and only after that in memory. Who was second to the number makes its change again, to what came first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::MutexGuard;

use super::among::{Among, Others};
use super::step::Step;
use super::{Rollout, State};
use crate::journey::store_refusal;
use crate::plugins::after::moving::Moving;
use crate::plugins::bindings::Plan;
use crate::refusal::Refusal;

/// How often a change is made again because another came first.
pub(super) const ATTEMPTS: usize = 16;
/// How often it is tried to put in force what all are ready for.
const PUTS: usize = 3;
const PUT_AGAIN: Duration = Duration::from_millis(300);

const OUTRUN: &str = "the plugins were changed on another node at the same moment; try again";

/// Whether a change was not made because another one came first.
pub fn is_outrun(refusal: &Refusal) -> bool {
    refusal.message == OUTRUN
}

pub(super) fn outrun() -> Refusal {
    Refusal::unavailable(OUTRUN)
}

/// While it lasts this node itself brings the generation to its end.
struct Proposing<'a>(&'a AtomicU64);

impl<'a> Proposing<'a> {
    fn of(among: &'a Among, number: u64) -> Self {
        among.proposing.store(number, Ordering::Release);
        Self(&among.proposing)
    }
}

impl Drop for Proposing<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

impl Rollout {
    /// Changes the plan of all nodes. The caller holds `changing`.
    pub(super) async fn change_among(
        &self,
        among: &Among,
        step: Step,
        mut moving: Option<&mut Moving>,
        mut change: impl FnMut(&mut Plan) -> Result<(), Refusal>,
    ) -> Result<MutexGuard<'_, State>, Refusal> {
        for attempt in 0..ATTEMPTS {
            let basis = self.basis().await?;
            let plan = {
                let state = self.state.lock().await;
                let mut plan = state.plan.clone();
                change(&mut plan)?;
                if attempt > 0 && plan == state.plan {
                    return Ok(state); // whoever came first has made the same change
                }
                plan
            };
            let moving = moving.as_deref_mut();
            match self
                .change_once(among, step.clone(), moving, (basis, plan))
                .await
            {
                Err(refusal) if is_outrun(&refusal) => {}
                done => return done,
            }
        }
        Err(outrun())
    }

    /// One attempt, made to a generation.
    pub(super) async fn change_once(
        &self,
        among: &Among,
        step: Step,
        moving: Option<&mut Moving>,
        (basis, mut plan): (u64, Plan),
    ) -> Result<MutexGuard<'_, State>, Refusal> {
        self.load_all(&plan).await;
        self.name_commands(&mut plan).await;
        let number = basis + 1;
        let base = {
            let state = self.state.lock().await;
            if self.generation() != basis {
                return Err(outrun());
            }
            state.plan.clone()
        };
        self.provide(among, &base, &mut plan).await?;
        let _proposing = Proposing::of(among, number);
        let cause = step.cause.clone();
        self.propose(&plan, number, step).await?;
        among.note_ready(number);
        let others = among.wait_for_others(number, among.rules.ready).await;
        if let Some(moving) = moving
            && let Err(refusal) = finish(moving, number, &others).await
        {
            if let Err(refusal) = self.give_back(among, number, base).await {
                tracing::warn!(why = %refusal.message, "what was given up is not at its end");
            }
            return Err(refusal);
        }
        self.put_in_force(among, number, others.behind).await?;
        let mut state = self.state.lock().await;
        if self.generation() < number {
            self.serve(&mut state, among, (number, plan), &cause).await;
        }
        self.forget_unused(&state.plan).await?;
        self.forget_provisions(among, &state.plan).await;
        Ok(state)
    }

    /// Goes to a plan whose versions every node has loaded, with the state held: others are waited for only shortly.
    pub(super) async fn switch_among(
        &self,
        among: &Among,
        state: &mut State,
        mut plan: Plan,
        step: Step,
    ) -> Result<Instant, Refusal> {
        let number = self.generation() + 1;
        self.provide(among, &state.plan, &mut plan).await?;
        let _proposing = Proposing::of(among, number);
        let cause = step.cause.clone();
        self.propose(&plan, number, step).await?;
        among.note_ready(number);
        let others = among.wait_for_others(number, among.rules.at_once).await;
        self.put_in_force(among, number, others.behind).await?;
        self.serve(state, among, (number, plan), &cause).await;
        let switched = Instant::now();
        self.shadows.keep_only(&state.plan);
        Ok(switched)
    }

    /// Writes the next generation, or is outrun. What became of a write that was not answered is read.
    pub(super) async fn propose(
        &self,
        plan: &Plan,
        number: u64,
        step: Step,
    ) -> Result<(), Refusal> {
        let owed = self.record(plan, number, step);
        let put = self
            .accounts
            .put_generation(&owed.record, &owed.lines)
            .await;
        let Err(error) = put else {
            return Ok(());
        };
        match self.accounts.generation(number).await {
            Ok(Some(kept)) if kept == owed.record => Ok(()),
            Ok(Some(_)) => Err(outrun()),
            Ok(None) | Err(_) => Err(store_refusal(&error)),
        }
    }

    async fn put_in_force(
        &self,
        among: &Among,
        number: u64,
        behind: Vec<String>,
    ) -> Result<(), Refusal> {
        let mut put = among.shared.put_in_force(number).await;
        for _ in 1..PUTS {
            if put.is_ok() {
                break;
            }
            tokio::time::sleep(PUT_AGAIN).await;
            put = among.shared.put_in_force(number).await;
        }
        let in_force = put.map_err(|e| store_refusal(&e))?;
        if in_force > number {
            // It took so long that others have given it up.
            among.wake();
            return Err(outrun());
        }
        if !behind.is_empty() {
            tracing::warn!(
                generation = number,
                nodes = behind.join(", "),
                "nodes that were not ready do not judge until they are"
            );
        }
        among.note_behind(number, behind);
        among.tell_in_force(number);
        Ok(())
    }
}

/// The last of a state that moves: every node has stopped judging by what was before.
async fn finish(moving: &mut Moving, number: u64, others: &Others) -> Result<(), Refusal> {
    if !others.known {
        return Err(Refusal::unavailable(
            "it is not known whether other nodes are ready; the state was not made anew",
        ));
    }
    if !others.behind.is_empty() {
        let nodes = others.behind.join(", ");
        let message = format!("not ready: {nodes}; the state was not made anew");
        return Err(Refusal::unavailable(message));
    }
    moving.finish(number).await
}
