//! What a bound version has decided since somebody began to count: how often each outcome, and how often an instance had
//! to go because it grew. For comparing versions; nothing is decided here.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::ruling::Outcome;

/// Counts of one version at one hook.
#[derive(Debug, Default)]
pub struct Tally {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    swollen: AtomicU64,
}

/// A tally at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    outcomes: [u64; Outcome::ALL.len()],
    /// Calls after which the instance was retired because it had grown past its mark.
    pub swollen: u64,
}

impl Tally {
    pub(crate) fn came_to(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn swelled(&self) {
        self.swollen.fetch_add(1, Ordering::Relaxed);
    }

    pub fn counted(&self) -> Counted {
        let outcomes = Outcome::ALL.map(|outcome| self.of(outcome));
        let swollen = self.swollen.load(Ordering::Relaxed);
        Counted { outcomes, swollen }
    }

    fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }
}

impl Counted {
    /// So many of each outcome.
    pub fn new(outcomes: &[(Outcome, u64)], swollen: u64) -> Self {
        let mut counted = Self {
            swollen,
            ..Self::default()
        };
        for (outcome, count) in outcomes {
            counted.outcomes[*outcome as usize] = *count;
        }
        counted
    }

    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Decisions: every outcome but a failure or an absence.
    pub fn decided(&self) -> u64 {
        let all: u64 = self.outcomes.iter().sum();
        all - self.of(Outcome::Failed) - self.of(Outcome::Absent)
    }
}
