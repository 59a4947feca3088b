//! One round of an observer: a batch of events, its answer, its effects, its new place. An event that makes calls fail is
//! found by showing one at a time, and skipped in the end with a notice.

use std::sync::Arc;
use std::time::Duration;

use kith_runtime::{AfterCall, Event, Failure, Observed};

use super::Bound;
use super::abilities::{Call, Cause};
use super::effects::{Decided, EFFECTS_MOST};
use super::events::Placed;
use super::follow::{BATCH, Consumer, FAILURES_MOST, Round, pause, wished};
use super::responding::SKIPPED;
use crate::journey::store_refusal;
use crate::plugins::replay::aside::failure_kind;
use crate::refusal::Refusal;
use crate::store::feed::FeedPage;

/// While a breaker is open.
const BROKEN: Duration = Duration::from_millis(250);
/// While no instance can be made, or the version is not loadable: nothing is skipped for that.
const ABSENT: Duration = Duration::from_secs(1);

impl Consumer {
    pub(super) async fn observe(&mut self) -> Result<Round, Refusal> {
        let shared = self.shared.clone();
        // Taken first: a version that takes over with another state waits for it, and is seen behind it.
        let _calling = self.calls.clone().read_owned().await;
        let bounds = shared.bound(&self.plugin, self.hook);
        let Some(serving) = bounds.first().cloned() else {
            return Ok(Round::Idle);
        };
        // Its schedules are those of the version that serves; a canary's wait for its activation.
        if let Some(round) = self.observe_schedules(&serving).await? {
            return Ok(round);
        }
        let limit = if self.single_until > 0 { 1 } else { BATCH };
        let page = self.place.next(&shared, limit).await;
        let mut page = page.map_err(|e| store_refusal(&e))?;
        let first = shared.of_one(bounds, &mut page).await;
        let Some((bound, mut events)) = first.map_err(|e| store_refusal(&e))? else {
            return self.pass(page).await;
        };
        let account = shared.account(&self.plugin).await?;
        let depth = events.iter().map(|placed| placed.depth).max().unwrap_or(0);
        if let Some(first) = events.first_mut()
            && first.event.id == self.ended_at.0
        {
            first.event.attempt = self.ended_at.1;
        }
        let shown: Arc<[Event]> = events.iter().map(|placed| placed.event.clone()).collect();
        let cause = Cause {
            name: events[0].event.id.clone(),
            conversations: conversations(&events),
            depth,
            answering: None,
        };
        let call = AfterCall {
            grants: bound.binding().grants.clone(),
            host: Call::new(&shared, (&self.plugin, self.hook), account, &bound, cause),
            namespace: bound.binding().namespace.clone(),
            now_ms: shared.journey.clock.now_ms(),
        };
        match bound.binding().observe(call, shown).await {
            Ok(observed) if observed.effects.len() <= EFFECTS_MOST => {
                self.take(&bound, account, (page, events), observed).await
            }
            Ok(observed) => {
                let many = format!("{} effects of one call", observed.effects.len());
                self.failed((page, events), Failure::BadOutput(many)).await
            }
            Err(failure) => self.failed((page, events), failure).await,
        }
    }

    /// Nothing on the page is the observer's.
    async fn pass(&mut self, page: FeedPage) -> Result<Round, Refusal> {
        let moved = page.next.clone();
        let noted = self.place.note(&self.shared, moved).await;
        noted.map_err(|e| store_refusal(&e))?;
        if !page.more {
            self.single_until = 0;
        }
        Ok(if page.more { Round::More } else { Round::Idle })
    }

    /// An answer: what is done is done, the rest comes again.
    async fn take(
        &mut self,
        bound: &Bound,
        account: crate::ids::UserId,
        (page, events): (FeedPage, Vec<Placed>),
        observed: Observed,
    ) -> Result<Round, Refusal> {
        let done = observed.done as usize;
        if done == 0 && observed.retry.is_none() {
            let nothing =
                Failure::BadOutput("nothing is done, and no retry is asked for".to_owned());
            return self.failed((page, events), nothing).await;
        }
        if done > 0 {
            let all = done == events.len();
            let next = match all {
                true => page.next.clone(),
                false => self.shared.feed.place(events[done - 1].stamp),
            };
            let decided = Decided {
                events: &events,
                effects: observed.effects,
                next,
            };
            let shared = self.shared.clone();
            let who = (bound.binding(), account);
            shared.carry_out(who, decided, &mut self.place).await?;
            if self.place.at.is_none() {
                return Ok(Round::More); // another node has shown them
            }
            self.is_done(&events[..done]);
        }
        match observed.retry {
            Some(retry) if done < events.len() => {
                self.ends_at(&events[done]);
                self.shared
                    .ledger
                    .waits(&self.plugin, self.hook, false, &retry.reason);
                Ok(Round::Wait(wished(retry.after_ms)))
            }
            _ => Ok(Round::More),
        }
    }

    /// A call ended at this event: it, and none behind it, was tried.
    fn ends_at(&mut self, placed: &Placed) {
        if self.ended_at.0 != placed.event.id {
            self.ended_at = (placed.event.id.clone(), 0);
        }
        self.ended_at.1 += 1;
    }

    fn is_done(&mut self, events: &[Placed]) {
        self.failures = 0;
        if events
            .last()
            .is_some_and(|last| last.stamp >= self.single_until)
        {
            self.single_until = 0;
        }
        self.shared
            .ledger
            .delivered(&self.plugin, self.hook, events.len());
    }

    async fn failed(
        &mut self,
        (page, events): (FeedPage, Vec<Placed>),
        failure: Failure,
    ) -> Result<Round, Refusal> {
        let why = failure.to_string();
        match failure {
            Failure::Broken(_) => {
                self.shared
                    .ledger
                    .waits(&self.plugin, self.hook, false, &why);
                return Ok(Round::Wait(BROKEN));
            }
            Failure::NoInstance(_) => {
                self.shared
                    .ledger
                    .waits(&self.plugin, self.hook, false, &why);
                return Ok(Round::Wait(ABSENT));
            }
            _ => self
                .shared
                .ledger
                .waits(&self.plugin, self.hook, true, &why),
        }
        if let Some(first) = events.first() {
            self.ends_at(first);
        }
        if events.len() > 1 {
            self.single_until = events.last().map_or(0, |last| last.stamp);
            return Ok(Round::Wait(pause(0)));
        }
        self.failures += 1;
        if self.failures < FAILURES_MOST {
            return Ok(Round::Wait(pause(self.failures)));
        }
        let Some(poison) = events.first() else {
            return Ok(Round::More);
        };
        let noted = self.place.note(&self.shared, page.next).await;
        noted.map_err(|e| store_refusal(&e))?;
        let kind = failure_kind(&failure).unwrap_or(SKIPPED);
        self.shared
            .tell_skipped((&self.plugin, self.hook), poison, (&why, kind))
            .await;
        self.failures = 0;
        if poison.stamp >= self.single_until {
            self.single_until = 0;
        }
        Ok(Round::More)
    }
}

fn conversations(events: &[Placed]) -> Vec<crate::ids::ConversationId> {
    let named = events
        .iter()
        .map(|placed| placed.event.conversation.parse());
    named.filter_map(Result::ok).collect()
}
