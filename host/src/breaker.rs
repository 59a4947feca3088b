//! A breaker for calls of a server: after some in a row went wrong, the next ones are refused at once for a while, so that
//! nobody waits for what will not come. Then one call tries it out. Knows nothing of what is called.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// When it opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct BreakerRules {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Over how long they are spread at least: calls that were under way together fail together, and are not counted for more.
    pub spread: Duration,
    /// How long it stays open before one call tries again.
    pub pause: Duration,
}

pub struct Breaker {
    rules: BreakerRules,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: u32,
    /// When the first of them was.
    since: Option<Instant>,
    /// While open: when the next call may try.
    again: Option<Instant>,
}

impl Breaker {
    pub fn new(rules: BreakerRules) -> Self {
        Self {
            rules,
            state: Mutex::default(),
        }
    }

    /// Whether a call may be made; who may says with `went` how it went.
    pub fn admits(&self) -> bool {
        self.admits_at(Instant::now())
    }

    fn admits_at(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        match state.again {
            Some(again) if now < again => false,
            Some(_) => {
                // The others go on waiting for what this one finds.
                state.again = Some(now + self.rules.pause);
                true
            }
            None => true,
        }
    }

    pub fn went(&self, well: bool) {
        self.went_at(Instant::now(), well);
    }

    fn went_at(&self, now: Instant, well: bool) {
        let mut state = self.state.lock();
        if well {
            *state = State::default();
            return;
        }
        state.failures += 1;
        let since = *state.since.get_or_insert(now);
        let is_spread = now.saturating_duration_since(since) >= self.rules.spread;
        if state.failures >= self.rules.failures && is_spread {
            state.again = Some(now + self.rules.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn breaker(spread: Duration) -> Breaker {
        Breaker::new(BreakerRules {
            failures: 3,
            spread,
            pause: PAUSE,
        })
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_good_call_closes_it() {
        let breaker = breaker(Duration::ZERO);
        let mut now = Instant::now();
        for _ in 0..2 {
            assert!(breaker.admits_at(now));
            breaker.went_at(now, false);
        }
        assert!(breaker.admits_at(now));
        breaker.went_at(now, true);
        for _ in 0..3 {
            assert!(breaker.admits_at(now), "a good call between them counts");
            breaker.went_at(now, false);
        }
        assert!(!breaker.admits_at(now));
        now += PAUSE;
        assert!(breaker.admits_at(now), "one tries");
        assert!(!breaker.admits_at(now), "and the others wait for it");
        breaker.went_at(now, false);
        assert!(!breaker.admits_at(now));
        now += PAUSE;
        assert!(breaker.admits_at(now));
        breaker.went_at(now, true);
        assert!(breaker.admits_at(now) && breaker.admits_at(now));
    }

    #[test]
    fn what_fails_together_does_not_open_it() {
        let spread = Duration::from_secs(2);
        let breaker = breaker(spread);
        let now = Instant::now();
        for _ in 0..64 {
            breaker.went_at(now, false);
        }
        assert!(breaker.admits_at(now));
        breaker.went_at(now + spread, false);
        assert!(!breaker.admits_at(now + spread));
    }
}
