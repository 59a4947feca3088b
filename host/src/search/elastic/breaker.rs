//! A breaker: after some calls in a row went wrong, the next ones are refused at once for a while, so that nobody waits
//! for what will not come. Then one call tries it out. Knows nothing of what is called.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failures in a row that open it.
const FAILURES: u32 = 3;
/// How long it stays open before one call tries again.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    failures: u32,
    /// While open: when the next call may try.
    again: Option<Instant>,
}

impl Breaker {
    /// Whether a call may be made; who may says with `went` how it went.
    pub fn admits(&self) -> bool {
        self.admits_at(Instant::now())
    }

    fn admits_at(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        match state.again {
            Some(again) if now < again => false,
            Some(_) => {
                // The others go on waiting for what this one finds.
                state.again = Some(now + PAUSE);
                true
            }
            None => true,
        }
    }

    pub fn went(&self, well: bool) {
        self.went_at(Instant::now(), well);
    }

    fn went_at(&self, now: Instant, well: bool) {
        let mut state = self.0.lock();
        if well {
            *state = State::default();
            return;
        }
        state.failures += 1;
        if state.failures >= FAILURES {
            state.again = Some(now + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_one_good_call_closes_it() {
        let breaker = Breaker::default();
        let mut now = Instant::now();
        for _ in 0..FAILURES - 1 {
            assert!(breaker.admits_at(now));
            breaker.went_at(now, false);
        }
        assert!(breaker.admits_at(now));
        breaker.went_at(now, true);
        for _ in 0..FAILURES {
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
}
