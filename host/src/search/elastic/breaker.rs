//! A breaker: after some calls in a row went wrong, the next ones are refused at once for a while, so that nobody waits
//! for what will not come. Then one call tries it out. Knows nothing of what is called.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

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
        let mut state = self.0.lock();
        let now = Instant::now();
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
        let mut state = self.0.lock();
        if well {
            *state = State::default();
            return;
        }
        state.failures += 1;
        if state.failures >= FAILURES {
            state.again = Some(Instant::now() + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_one_good_call_closes_it() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES - 1 {
            assert!(breaker.admits());
            breaker.went(false);
        }
        assert!(breaker.admits());
        breaker.went(true);
        for _ in 0..FAILURES {
            assert!(breaker.admits(), "a good call between them counts");
            breaker.went(false);
        }
        assert!(!breaker.admits());
        tokio::time::advance(PAUSE).await;
        assert!(breaker.admits(), "one tries");
        assert!(!breaker.admits(), "and the others wait for it");
        breaker.went(false);
        assert!(!breaker.admits());
        tokio::time::advance(PAUSE).await;
        assert!(breaker.admits());
        breaker.went(true);
        assert!(breaker.admits() && breaker.admits());
    }
}
