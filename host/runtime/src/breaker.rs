//! The breaker of one hook of one version: it stops asking a guest that keeps failing and tries again with growing pauses;
//! while it is open the binding's failure policy judges. It opens on 3 failed calls in 10 s (a call counts once, after its
//! second try), on more than 20 % errors over at least 50 calls, or when the 99th percentile of what calls take is over 3
//! budgets: a call over them by the wall clock begins a window of 1,000 calls that are measured in thread CPU time (others
//! cost no clock, and a busy machine opens nothing), and more than a hundredth of the window decides, as soon as it is
//! sure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::error::Failure;
use crate::hook::Hook;

const TRAPS: usize = 3;
const TRAPS_WITHIN: Duration = Duration::from_secs(10);
const ERRORS_OVER: u64 = 50;
const ERROR_SHARE: u64 = 5;
const ERROR_WINDOW: Duration = Duration::from_secs(60);
/// Calls of a window of which the 99th percentile is looked at.
const WINDOW: u32 = 1000;
/// More slow ones in it, and the 99th percentile is slow whatever the rest of the window is.
const SLOW_MOST: u32 = WINDOW / 100;
const SLOW_BUDGETS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BreakerState {
    Closed = 0,
    Open = 1,
    /// One call is let through to see.
    HalfOpen = 2,
}

/// A change of a breaker, for whoever rolls back or judges held messages again.
#[derive(Debug, Clone)]
pub struct HealthEvent {
    pub plugin: Arc<str>,
    pub digest: Arc<str>,
    pub hook: Hook,
    pub change: HealthChange,
    /// It opened because calls took too long, not because they failed.
    pub slow: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthChange {
    /// It opened; why, as a sentence.
    Opened(String),
    /// Its pause is over: the next call is let through to see. Judging something held again is such a call.
    ProbeDue,
    /// A probe went well: held messages may be judged again.
    Closed,
}

/// How a call may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Ordinary,
    Probe,
}

pub(crate) struct Breaker {
    hook: Hook,
    plugin: Arc<str>,
    digest: Arc<str>,
    events: broadcast::Sender<HealthEvent>,
    state: AtomicU8,
    calls: AtomicU64,
    measuring: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    traps: Vec<Instant>,
    window: Option<Window>,
    measured: u32,
    slow: u32,
    pause: Duration,
    open_until: Option<Instant>,
    due_told: bool,
}

struct Window {
    since: Instant,
    calls_before: u64,
    errors: u64,
}

impl Breaker {
    pub fn new(
        hook: Hook,
        plugin: Arc<str>,
        digest: Arc<str>,
        events: broadcast::Sender<HealthEvent>,
    ) -> Self {
        Self {
            hook,
            plugin,
            digest,
            events,
            state: AtomicU8::new(BreakerState::Closed as u8),
            calls: AtomicU64::new(0),
            measuring: AtomicBool::new(false),
            inner: Mutex::default(),
        }
    }

    pub fn state(&self) -> BreakerState {
        match self.state.load(Ordering::Acquire) {
            0 => BreakerState::Closed,
            1 => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }

    /// Calls that were let through, ever.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether a call may be made now, and as what.
    pub fn admit(&self) -> Option<Admission> {
        if self.state.load(Ordering::Acquire) == BreakerState::Closed as u8 {
            self.calls.fetch_add(1, Ordering::Relaxed);
            return Some(Admission::Ordinary);
        }
        let inner = self.inner.lock();
        let due = inner
            .open_until
            .is_some_and(|until| Instant::now() >= until);
        if self.state() == BreakerState::Open && due {
            self.state
                .store(BreakerState::HalfOpen as u8, Ordering::Release);
            self.calls.fetch_add(1, Ordering::Relaxed);
            return Some(Admission::Probe);
        }
        if self.state() == BreakerState::Closed {
            return Some(Admission::Ordinary);
        }
        None
    }

    /// Whether the next calls' CPU time is wanted.
    pub fn is_measuring(&self) -> bool {
        self.measuring.load(Ordering::Relaxed)
    }

    /// A call answered. `cpu` is its CPU time where `is_measuring` said so.
    pub fn answered(
        &self,
        admission: Admission,
        wall: Duration,
        cpu: Option<Duration>,
        budget: Duration,
    ) {
        if admission == Admission::Probe {
            self.close();
            return;
        }
        let slow = budget * SLOW_BUDGETS;
        match cpu {
            Some(cpu) => self.measure(cpu > slow),
            None if wall > slow => self.measuring.store(true, Ordering::Relaxed),
            None => {}
        }
    }

    /// A call failed, its second try included.
    pub fn failed(&self, admission: Admission, failure: &Failure) {
        if matches!(failure, Failure::NoInstance(_)) && admission == Admission::Ordinary {
            return; // the host's fault
        }
        let now = Instant::now();
        let mut inner = self.inner.lock();
        if admission == Admission::Probe {
            let pause = (inner.pause * 2).min(LONGEST_PAUSE);
            let why = format!("a trial call failed: {failure}");
            self.open(&mut inner, pause, why);
            return;
        }
        if self.state() != BreakerState::Closed {
            return; // it was under way when the breaker opened
        }
        if failure.is_stop() {
            inner
                .traps
                .retain(|at| now.duration_since(*at) < TRAPS_WITHIN);
            inner.traps.push(now);
        }
        let calls = self.calls();
        let window = inner.window.get_or_insert(Window {
            since: now,
            calls_before: calls - 1,
            errors: 0,
        });
        if now.duration_since(window.since) > ERROR_WINDOW {
            *window = Window {
                since: now,
                calls_before: calls - 1,
                errors: 0,
            };
        }
        window.errors += 1;
        let (asked, errors) = (calls - window.calls_before, window.errors);
        if inner.traps.len() >= TRAPS {
            self.open(
                &mut inner,
                FIRST_PAUSE,
                format!("{TRAPS} calls failed within 10 s, the last because {failure}"),
            );
        } else if asked >= ERRORS_OVER && errors * ERROR_SHARE > asked {
            let why = format!("{errors} of {asked} calls failed, the last because {failure}");
            self.open(&mut inner, FIRST_PAUSE, why);
        }
    }

    /// Tells once that the pause is over; true while the breaker is not closed.
    pub fn tell_if_due(&self) -> bool {
        if self.state() == BreakerState::Closed {
            return false;
        }
        let mut inner = self.inner.lock();
        let due = inner
            .open_until
            .is_some_and(|until| Instant::now() >= until);
        if due && !inner.due_told && self.state() == BreakerState::Open {
            inner.due_told = true;
            self.tell(HealthChange::ProbeDue);
        }
        true
    }

    fn measure(&self, is_slow: bool) {
        let mut inner = self.inner.lock();
        inner.measured += 1;
        inner.slow += u32::from(is_slow);
        if inner.slow > SLOW_MOST && self.state() == BreakerState::Closed {
            let why = format!(
                "the 99th percentile is over {SLOW_BUDGETS} budgets: {} of {} calls took longer",
                inner.slow, inner.measured
            );
            self.open_as(&mut inner, FIRST_PAUSE, why, true);
        } else if inner.measured >= WINDOW {
            (inner.measured, inner.slow) = (0, 0);
            self.measuring.store(false, Ordering::Relaxed);
        }
    }

    fn open(&self, inner: &mut Inner, pause: Duration, why: String) {
        self.open_as(inner, pause, why, false);
    }

    fn open_as(&self, inner: &mut Inner, pause: Duration, why: String, slow: bool) {
        *inner = Inner {
            pause,
            open_until: Some(Instant::now() + pause),
            ..Inner::default()
        };
        self.measuring.store(false, Ordering::Relaxed);
        self.state
            .store(BreakerState::Open as u8, Ordering::Release);
        tracing::warn!(
            plugin = &*self.plugin,
            hook = self.hook.as_str(),
            why,
            "a hook's breaker opened"
        );
        self.tell_of(HealthChange::Opened(why), slow);
    }

    /// Forgets every failure, without telling anybody: an administrator wants it asked again.
    pub fn forget(&self) {
        *self.inner.lock() = Inner::default();
        self.measuring.store(false, Ordering::Relaxed);
        self.state
            .store(BreakerState::Closed as u8, Ordering::Release);
    }

    fn close(&self) {
        let mut inner = self.inner.lock();
        *inner = Inner::default();
        self.state
            .store(BreakerState::Closed as u8, Ordering::Release);
        tracing::info!(
            plugin = &*self.plugin,
            hook = self.hook.as_str(),
            "a hook's breaker closed"
        );
        self.tell(HealthChange::Closed);
    }

    fn tell(&self, change: HealthChange) {
        self.tell_of(change, false);
    }

    fn tell_of(&self, change: HealthChange, slow: bool) {
        let (plugin, digest) = (self.plugin.clone(), self.digest.clone());
        // Nobody listening is no failure.
        drop(self.events.send(HealthEvent {
            plugin,
            digest,
            hook: self.hook,
            change,
            slow,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(2);

    fn breaker() -> (Breaker, broadcast::Receiver<HealthEvent>) {
        let (events, heard) = broadcast::channel(16);
        (
            Breaker::new(
                Hook::ContentFilter,
                "words".into(),
                "sha256:1".into(),
                events,
            ),
            heard,
        )
    }

    fn call(breaker: &Breaker, failure: Option<Failure>) {
        let admission = breaker.admit().expect("admitted");
        match failure {
            Some(failure) => breaker.failed(admission, &failure),
            None => breaker.answered(admission, Duration::from_micros(2), None, BUDGET),
        }
    }

    #[test]
    fn three_traps_open_it_and_a_good_probe_closes_it() {
        let (breaker, mut heard) = breaker();
        for _ in 0..3 {
            assert_eq!(breaker.state(), BreakerState::Closed);
            call(&breaker, Some(Failure::Timeout));
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.admit(), None);
        breaker.inner.lock().open_until = Some(Instant::now());
        assert!(breaker.tell_if_due());
        assert_eq!(breaker.admit(), Some(Admission::Probe));
        assert_eq!(breaker.admit(), None, "one probe at a time");
        breaker.answered(Admission::Probe, Duration::ZERO, None, BUDGET);
        assert_eq!(breaker.state(), BreakerState::Closed);
        let changes: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok())
            .map(|event| event.change)
            .collect();
        assert!(matches!(changes[0], HealthChange::Opened(_)));
        assert_eq!(changes[1..], [HealthChange::ProbeDue, HealthChange::Closed]);
    }

    #[test]
    fn a_bad_probe_doubles_the_pause_up_to_a_minute() {
        let (breaker, _heard) = breaker();
        (0..3).for_each(|_| call(&breaker, Some(Failure::Memory)));
        let mut pauses = vec![breaker.inner.lock().pause.as_secs()];
        for _ in 0..8 {
            breaker.inner.lock().open_until = Some(Instant::now());
            call(&breaker, Some(Failure::Timeout));
            pauses.push(breaker.inner.lock().pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_fifth_of_bad_answers_opens_it_only_over_fifty_calls() {
        let (breaker, _heard) = breaker();
        let bad = || Some(Failure::BadOutput("no".into()));
        for round in 0..49 {
            call(&breaker, if round % 4 == 0 { bad() } else { None });
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        call(&breaker, None);
        call(&breaker, bad());
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn slowness_counts_only_in_cpu_time() {
        let (breaker, _heard) = breaker();
        let (slow, fast) = (Duration::from_millis(7), Duration::from_micros(5));
        for _ in 0..1000 {
            let cpu = breaker.is_measuring().then_some(fast);
            breaker.answered(Admission::Ordinary, slow, cpu, BUDGET);
        }
        assert_eq!(
            breaker.state(),
            BreakerState::Closed,
            "a busy machine opens nothing"
        );
        let (breaker, _heard) = self::breaker();
        for _ in 0..=SLOW_MOST {
            assert_eq!(breaker.state(), BreakerState::Closed);
            breaker.answered(Admission::Ordinary, slow, Some(slow), BUDGET);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    /// Calls, of which each `nth` is slow, as they are measured while the breaker asks for it.
    fn answer(breaker: &Breaker, calls: u32, nth: u32) {
        let (slow, fast) = (Duration::from_millis(7), Duration::from_micros(5));
        for number in 1..=calls {
            let took = if number % nth == 0 { slow } else { fast };
            let cpu = breaker.is_measuring().then_some(took);
            breaker.answered(Admission::Ordinary, took, cpu, BUDGET);
        }
    }

    #[test]
    fn a_slow_call_in_two_hundred_opens_nothing_and_one_in_fifty_does() {
        let (breaker, mut heard) = breaker();
        answer(&breaker, 20_000, 200);
        assert_eq!(
            breaker.state(),
            BreakerState::Closed,
            "the 99th percentile is well below three budgets"
        );
        answer(&breaker, 1000, 50);
        assert_eq!(breaker.state(), BreakerState::Open);
        let told = heard.try_recv().expect("it is told");
        assert!(told.slow, "{told:?}");
        let HealthChange::Opened(why) = told.change else {
            panic!("{told:?}");
        };
        assert!(why.contains("99th percentile"), "{why}");
    }
}
