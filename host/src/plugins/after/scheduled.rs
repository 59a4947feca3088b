//! Observers called by the clock: an event of the kind `schedule` for each time that is due, between two batches. Which time
//! was the last is kept beside the consumers' places and moves on with what the event wrote; what was due meanwhile comes once.

use std::sync::Arc;
use std::time::Duration;

use kith_runtime::{AfterCall, Hook};
use serde_json::{Value, json};

use super::abilities::{Call, Cause};
use super::effects::{Decided, EFFECTS_MOST};
use super::events::{self, Placed};
use super::follow::{Consumer, FAILURES_MOST, Round, pause, wished};
use super::places::Place;
use super::responding::SKIPPED;
use super::{AfterCommit, Bound};
use crate::ids::UserId;
use crate::journey::store_refusal;
use crate::plugins::schedule::{self, Due, Marks, at};
use crate::refusal::Refusal;

/// How often the clock is looked at.
pub const TICK: Duration = Duration::from_millis(500);

/// An observer's schedules between its rounds.
#[derive(Default)]
pub struct Scheduled {
    marks: Marks,
    attempts: u32,
    failures: u32,
    any: bool,
}

impl Consumer {
    pub fn has_schedules(&self) -> bool {
        self.scheduled.any
    }

    /// Shows what is due; nothing where nothing is.
    pub(super) async fn observe_schedules(
        &mut self,
        bound: &Bound,
    ) -> Result<Option<Round>, Refusal> {
        let Ok(version) = &bound.binding().loaded else {
            return Ok(None);
        };
        let version = version.clone();
        self.scheduled.any = !version.schedules().is_empty();
        if !self.scheduled.any {
            return Ok(None);
        }
        let now = self.shared.journey.clock.now_ms();
        let who = (&*self.plugin, self.hook.as_str());
        let due = self
            .scheduled
            .marks
            .due(&*self.shared.feed, who, version.schedules(), now);
        match due.await.map_err(|e| store_refusal(&e))? {
            Some(due) => self.show_schedule(bound, due, now).await.map(Some),
            None => Ok(None),
        }
    }

    async fn show_schedule(&mut self, bound: &Bound, due: Due, now: u64) -> Result<Round, Refusal> {
        let shared = self.shared.clone();
        let account = shared.account(&self.plugin).await?;
        let placed = Placed {
            event: events::of_schedule(&due.name, due.at_ms, self.scheduled.attempts),
            stamp: 0,
            depth: 0,
        };
        self.scheduled.attempts += 1;
        let call = self.call_of(bound, account, &placed);
        let shown = Arc::from([placed.event.clone()]);
        let why = match bound.binding().observe(call, shown).await {
            Ok(observed) if observed.effects.len() > EFFECTS_MOST => {
                format!("{} effects of one call", observed.effects.len())
            }
            Ok(observed) if observed.done > 0 => {
                let decided = Decided {
                    events: std::slice::from_ref(&placed),
                    effects: observed.effects,
                    next: at(now),
                };
                let mut place = Place {
                    consumer: due.mark.clone(),
                    at: Some(due.from.clone()),
                };
                let who = (bound.binding(), account);
                shared.carry_out(who, decided, &mut place).await?;
                if place.at.is_none() {
                    self.scheduled = Scheduled::default();
                    return Ok(Round::More); // another node has shown it
                }
                self.is_over(&due, now);
                shared.ledger.delivered(&self.plugin, self.hook, 1);
                return Ok(Round::More);
            }
            Ok(observed) => match observed.retry {
                Some(retry) => {
                    let (ledger, why) = (&shared.ledger, &retry.reason);
                    ledger.waits(&self.plugin, self.hook, false, why);
                    return Ok(Round::Wait(wished(retry.after_ms)));
                }
                None => "nothing is done, and no retry is asked for".to_owned(),
            },
            Err(failure) => failure.to_string(),
        };
        shared.ledger.waits(&self.plugin, self.hook, true, &why);
        self.scheduled.failures += 1;
        if self.scheduled.failures < FAILURES_MOST {
            return Ok(Round::Wait(pause(self.scheduled.failures)));
        }
        let (from, given_up) = (Some(&due.from), at(now));
        let kept = shared.feed.move_cursor(&due.mark, from, &given_up).await;
        if !kept.map_err(|e| store_refusal(&e))? {
            self.scheduled = Scheduled::default();
            return Ok(Round::More);
        }
        self.is_over(&due, now);
        let who = (&*self.plugin, self.hook);
        shared.tell_skipped(who, &placed, (&why, SKIPPED)).await;
        Ok(Round::More)
    }

    fn call_of(&self, bound: &Bound, account: UserId, placed: &Placed) -> AfterCall {
        let cause = Cause {
            name: placed.event.id.clone(),
            conversations: Vec::new(),
            depth: 0,
            answering: None,
        };
        let who = (&self.plugin, self.hook);
        AfterCall {
            grants: bound.binding().grants.clone(),
            host: Call::new(&self.shared, who, account, bound, cause),
            namespace: bound.binding().namespace.clone(),
            now_ms: placed.event.at_ms,
        }
    }

    fn is_over(&mut self, due: &Due, now: u64) {
        self.scheduled.marks.done(due, now);
        (self.scheduled.attempts, self.scheduled.failures) = (0, 0);
    }
}

impl AfterCommit {
    /// `{hook, name, next}` of each schedule of a plugin; `next` is none until it was looked at for the first time.
    pub(super) async fn schedules_report(&self, plugin: &str) -> Result<Vec<Value>, Refusal> {
        let generation = self.rollout.pinned();
        let mut report = Vec::new();
        for binding in generation.bindings() {
            let timed = matches!(binding.hook, Hook::Observer | Hook::AdminRule);
            let Ok(version) = &binding.loaded else {
                continue;
            };
            if binding.plugin != plugin || !timed {
                continue;
            }
            for (name, when) in version.schedules() {
                let hook = binding.hook.as_str();
                let last = schedule::last(&*self.feed, (plugin, hook), name).await;
                let last = last.map_err(|e| store_refusal(&e))?;
                let next = last.and_then(|last| when.after(last));
                report.push(json!({"hook": hook, "name": name, "next": next}));
            }
        }
        Ok(report)
    }
}
