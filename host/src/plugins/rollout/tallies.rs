//! What the versions that serve and are tried have decided, by plugin, version and hook, and the rules by which one is
//! found worse than the other. Counted in memory, from a version's start or from the moment it is compared anew.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kith_runtime::{Counted, Hook, Outcome, Tally};
use parking_lot::Mutex;

use super::RolloutRules;
use super::switch::Trouble;

/// Growing instances after which a version is given up.
const SWOLLEN_MOST: u64 = 3;
/// A share that grows by less than so many standard errors is chance.
const ERRORS_MOST: f64 = 4.0;

/// Outcomes whose shares are compared.
const COMPARED: [Outcome; 4] = [
    Outcome::Rejected,
    Outcome::Held,
    Outcome::Dropped,
    Outcome::Replaced,
];

type Key = (String, String, Hook);

#[derive(Default)]
pub(super) struct Tallies(Mutex<HashMap<Key, Arc<Tally>>>);

impl Tallies {
    /// Of a plugin's version, by its digest, at a hook.
    pub fn of(&self, plugin: &str, digest: &str, hook: Hook) -> Arc<Tally> {
        let key = (plugin.to_owned(), digest.to_owned(), hook);
        self.0.lock().entry(key).or_default().clone()
    }

    /// The next generation counts a version anew.
    pub fn restart(&self, plugin: &str, digest: &str) {
        let mut all = self.0.lock();
        all.retain(|(of, version, _), _| of != plugin || version != digest);
    }

    pub fn counted(&self, plugin: &str, digest: &str) -> Vec<(Hook, Counted)> {
        let all = self.0.lock();
        let own = all
            .iter()
            .filter(|((of, version, _), _)| of == plugin && version == digest);
        let mut counted: Vec<_> = own
            .map(|((_, _, hook), tally)| (*hook, tally.counted()))
            .collect();
        counted.sort_by_key(|(hook, _)| *hook as usize);
        counted
    }

    /// Forgets versions that are needed no more.
    pub fn keep_only(&self, digests: &HashSet<&str>) {
        let mut all = self.0.lock();
        all.retain(|(_, digest, _), _| digests.contains(digest.as_str()));
    }

    /// What is wrong with a version, compared with the one it replaced or runs beside.
    pub fn compare(
        &self,
        plugin: &str,
        (new, old): (&str, Option<&str>),
        rules: &RolloutRules,
    ) -> Option<Trouble> {
        let before = old.map(|old| self.counted(plugin, old)).unwrap_or_default();
        self.counted(plugin, new).iter().find_map(|(hook, new)| {
            let before = before.iter().find(|(known, _)| known == hook);
            let before = before.map(|(_, before)| *before).unwrap_or_default();
            growth(*hook, new, &before).or_else(|| drift(*hook, new, &before, rules))
        })
    }
}

/// Instances that grow until they must go, more than the other's do.
fn growth(hook: Hook, new: &Counted, old: &Counted) -> Option<Trouble> {
    let share = |counted: &Counted| counted.swollen as f64 / counted.decided().max(1) as f64;
    if new.swollen < SWOLLEN_MOST || share(new) <= 2.0 * share(old) {
        return None;
    }
    let why = format!(
        "{}: {} instances grew until they had to go, in {} calls",
        hook.as_str(),
        new.swollen,
        new.decided()
    );
    Some(Trouble {
        cause: "memory",
        why,
    })
}

/// A share of decisions that is another one than it was, by more than is allowed and by more than chance.
fn drift(hook: Hook, new: &Counted, old: &Counted, rules: &RolloutRules) -> Option<Trouble> {
    let (ours, theirs) = (new.decided(), old.decided());
    if rules.drift_percent == 0 || ours.min(theirs) < rules.drift_least.max(1) {
        return None;
    }
    let (ours, theirs) = (ours as f64, theirs as f64);
    COMPARED.into_iter().find_map(|outcome| {
        let (here, there) = (new.of(outcome) as f64, old.of(outcome) as f64);
        let apart = (here / ours - there / theirs).abs();
        let pooled = (here + there) / (ours + theirs);
        let error = (pooled * (1.0 - pooled) * (1.0 / ours + 1.0 / theirs)).sqrt();
        let is_more = apart * 100.0 > f64::from(rules.drift_percent);
        (is_more && apart > ERRORS_MOST * error).then(|| Trouble {
            cause: "drift",
            why: format!(
                "{}: {:.0} % of {ours} decisions were {}, of the other version's {theirs} it is {:.0} %",
                hook.as_str(),
                100.0 * here / ours,
                outcome.as_str(),
                100.0 * there / theirs
            ),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::rollout::Signatures;

    fn rules(drift_percent: u8, drift_least: u64) -> RolloutRules {
        RolloutRules {
            signatures: Signatures::Off,
            trusted_keys: Vec::new(),
            watch_ms: 0,
            drift_percent,
            drift_least,
        }
    }

    fn counted(passed: u64, rejected: u64, swollen: u64) -> Counted {
        Counted::new(
            &[(Outcome::Passed, passed), (Outcome::Rejected, rejected)],
            swollen,
        )
    }

    fn cause(found: Option<Trouble>) -> Option<&'static str> {
        found.map(|trouble| trouble.cause)
    }

    #[test]
    fn a_share_drifts_by_more_than_is_allowed_and_than_chance_and_only_over_enough() {
        let hook = Hook::ContentFilter;
        let old = counted(990, 10, 0);
        let found = |new: Counted, rules| cause(drift(hook, &new, &old, &rules));
        assert_eq!(found(counted(60, 40, 0), rules(20, 100)), Some("drift"));
        assert_eq!(found(counted(60, 40, 0), rules(50, 100)), None, "allowed");
        assert_eq!(found(counted(60, 40, 0), rules(0, 100)), None, "off");
        assert_eq!(found(counted(59, 40, 0), rules(20, 100)), None, "too few");
        assert_eq!(found(counted(90, 10, 0), rules(20, 100)), None);
        // The other way round: it rejects nothing any more.
        let strict = counted(500, 500, 0);
        let mild = drift(hook, &counted(100, 0, 0), &strict, &rules(20, 100));
        assert_eq!(cause(mild), Some("drift"));
        // Half of four against none of four says nothing.
        let few = drift(hook, &counted(2, 2, 0), &counted(4, 0, 0), &rules(20, 1));
        assert_eq!(cause(few), None);
    }

    #[test]
    fn growth_counts_unless_the_other_grows_as_well() {
        let hook = Hook::ContentFilter;
        let found = |new, old| cause(growth(hook, &new, &old));
        assert_eq!(
            found(counted(30, 0, 3), counted(1000, 0, 0)),
            Some("memory")
        );
        assert_eq!(found(counted(30, 0, 2), counted(1000, 0, 0)), None);
        assert_eq!(found(counted(30, 0, 3), counted(100, 0, 9)), None);
    }
}
