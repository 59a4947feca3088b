//! One consumer's life: rounds, and what it waits for between them. Of several nodes one at a time does a consumer's rounds.
//! What a round does is in `observing` and `responding`.

use std::sync::Arc;
use std::time::Duration;

use kith_runtime::Hook;
use tokio::sync::RwLock;

use super::places::Place;
use super::scheduled::{Scheduled, TICK};
use super::{AfterCommit, consumer_name};
use crate::refusal::Refusal;

/// How long what was committed is gathered before it is shown.
pub const GATHER: Duration = Duration::from_millis(10);
/// The pause after trouble of the host's own.
pub const AFTER_TROUBLE: Duration = Duration::from_secs(1);
/// Rows of the feed read at once: the largest batch.
pub const BATCH: usize = 64;
/// Failures of an event before it is skipped.
pub const FAILURES_MOST: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Longest that a plugin's own wish is waited for.
const RETRY_MOST: Duration = Duration::from_secs(3600);
const RETRY_LEAST: Duration = Duration::from_millis(20);

const BEHIND: &str = "it is not known here which generation is in force";

/// How a round ended.
pub enum Round {
    /// There may be more to read.
    More,
    /// Nothing to do until something is committed or bound.
    Idle,
    /// Again after this time, or with another generation.
    Wait(Duration),
}

/// A consumer between its rounds.
pub struct Consumer {
    pub shared: Arc<AfterCommit>,
    pub plugin: Arc<str>,
    pub hook: Hook,
    pub place: Place,
    /// The first event that is not done, and how often calls ended at it.
    pub ended_at: (String, u32),
    /// Failures of the first outstanding event.
    pub failures: u32,
    /// Held while a call runs: see `moving`.
    pub calls: Arc<RwLock<()>>,
    pub scheduled: Scheduled,
    /// Up to this stamp events are shown one at a time: one of them makes calls fail.
    pub single_until: u64,
}

/// Runs for ever: while its hook is bound nowhere, it waits.
pub async fn run(shared: Arc<AfterCommit>, plugin: Arc<str>, hook: Hook) {
    let mut consumer = Consumer {
        place: Place::of(&plugin, hook),
        calls: shared.namespaces.calls(&plugin),
        scheduled: Scheduled::default(),
        shared: shared.clone(),
        plugin,
        hook,
        ended_at: (String::new(), 0),
        failures: 0,
        single_until: 0,
    };
    let mut commits = shared.feed.commits();
    let mut generations = shared.rollout.generations();
    let mut turns = shared.turns.changes();
    loop {
        turns.borrow_and_update();
        if !shared.turns.is_own(&consumer.place.consumer) {
            consumer.stand_by();
            if turns.changed().await.is_err() {
                return;
            }
            continue;
        }
        let newest = *commits.borrow_and_update();
        generations.borrow_and_update();
        let round = match hook {
            _ if !shared.rollout.may_serve() => Err(Refusal::unavailable(BEHIND)),
            Hook::Responder => consumer.answer().await,
            _ => consumer.observe().await,
        };
        match round.unwrap_or_else(|refusal| consumer.in_trouble(&refusal)) {
            Round::More => {}
            Round::Idle => {
                let ledger = &consumer.shared.ledger;
                ledger.reached(&consumer.plugin, hook, newest);
                tokio::select! {
                    changed = commits.changed() => if changed.is_err() {
                        return;
                    },
                    _ = generations.changed() => {}
                    _ = turns.changed() => continue,
                    () = tokio::time::sleep(TICK), if consumer.has_schedules() => continue,
                }
                tokio::time::sleep(GATHER).await;
            }
            Round::Wait(pause) => {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // A new version may do better at once.
                    _ = generations.changed() => {}
                    _ = turns.changed() => {}
                }
            }
        }
    }
}

impl AfterCommit {
    /// Returns once another node does a consumer's rounds.
    pub(super) async fn turn_ends(&self, plugin: &str, hook: Hook) {
        let mut turns = self.turns.changes();
        let consumer = consumer_name(plugin, hook);
        while self.turns.is_own(&consumer) {
            if turns.changed().await.is_err() {
                // The host is ending, and the call with it.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Consumer {
    /// Another node goes on, from the place that is kept.
    fn stand_by(&mut self) {
        self.place.at = None;
        self.ended_at = (String::new(), 0);
        (self.failures, self.single_until) = (0, 0);
        self.scheduled = Scheduled::default();
        self.shared.ledger.stands_by(&self.plugin, self.hook);
    }

    fn in_trouble(&self, refusal: &Refusal) -> Round {
        let why = refusal.to_string();
        self.shared
            .ledger
            .waits(&self.plugin, self.hook, false, &why);
        Round::Wait(AFTER_TROUBLE)
    }
}

/// The pause after so many failures.
pub fn pause(failures: u32) -> Duration {
    (FIRST_PAUSE * 2_u32.saturating_pow(failures.min(10))).min(LONGEST_PAUSE)
}

/// What a plugin asks for, within bounds.
pub fn wished(after_ms: u64) -> Duration {
    Duration::from_millis(after_ms).clamp(RETRY_LEAST, RETRY_MOST)
}
