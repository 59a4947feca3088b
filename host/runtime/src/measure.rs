//! What the calls of one hook of one version came to: counts by outcome and by how long they took. Written on every call,
//! so it is a few additions and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::ruling::Outcome;

/// Upper bounds of the classes of durations, microseconds; what takes longer is in one more.
pub const DURATIONS_US: [u64; 12] = [
    2, 5, 10, 20, 50, 100, 250, 1_000, 5_000, 25_000, 100_000, 1_000_000,
];

/// Aligned: two hooks' counts share no cache line.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct Measure {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    durations: [AtomicU64; DURATIONS_US.len() + 1],
    micros: AtomicU64,
    over_budget: AtomicU64,
}

/// What was counted until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// In the order of `Outcome::ALL`.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// By the classes of `DURATIONS_US`, each by itself.
    pub durations: [u64; DURATIONS_US.len() + 1],
    /// Of all calls together.
    pub micros: u64,
    /// Answered calls that took longer than their soft budget; of fallbacks and shadows too, which are no calls above.
    pub over_budget: u64,
}

impl Measure {
    pub fn add(&self, outcome: Outcome, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = DURATIONS_US.iter().position(|bound| micros <= *bound);
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.durations[class.unwrap_or(DURATIONS_US.len())].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// A call took longer than its soft budget.
    pub fn took_too_long(&self) {
        self.over_budget.fetch_add(1, Ordering::Relaxed);
    }

    pub fn over_budget(&self) -> u64 {
        self.over_budget.load(Ordering::Relaxed)
    }

    pub fn read(&self) -> Measured {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Measured {
            outcomes: self.outcomes.each_ref().map(read),
            durations: self.durations.each_ref().map(read),
            micros: read(&self.micros),
            over_budget: read(&self.over_budget),
        }
    }
}

impl Measured {
    /// Puts another's counts to these.
    pub fn add(&mut self, other: &Self) {
        let pairs = |own: &mut [u64], others: &[u64]| {
            own.iter_mut()
                .zip(others)
                .for_each(|(own, other)| *own += other);
        };
        pairs(&mut self.outcomes, &other.outcomes);
        pairs(&mut self.durations, &other.durations);
        self.micros += other.micros;
        self.over_budget += other.over_budget;
    }

    /// Calls, whatever their outcome.
    pub fn calls(&self) -> u64 {
        self.outcomes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_counts_once_by_outcome_and_once_by_duration() {
        let measure = Measure::default();
        measure.add(Outcome::Passed, Duration::from_nanos(300));
        measure.add(Outcome::Passed, Duration::from_micros(2));
        measure.add(Outcome::Failed, Duration::from_secs(9));
        measure.took_too_long();
        let read = measure.read();
        assert_eq!(read.calls(), 3);
        assert_eq!(read.outcomes[Outcome::Passed as usize], 2);
        assert_eq!(read.durations[0], 2, "a bound is in its class");
        assert_eq!(read.durations[DURATIONS_US.len()], 1);
        assert_eq!(read.micros, 9_000_002);
        assert_eq!(read.over_budget, 1, "beside the calls, not one of them");
    }
}
