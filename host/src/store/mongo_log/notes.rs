//! What one node notes of plugins' values and of stamps in use, in memory: keys that are watched, effects that were not kept,
//! which stamps may still be committed.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the room a namespace takes is believed before it is summed up again.
const BELIEVED: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Notes {
    /// Since which stamp each watched namespace was looked at.
    watched: Mutex<HashMap<String, u64>>,
    refused: Mutex<HashMap<String, u64>>,
    used: Mutex<HashMap<String, (u64, Instant)>>,
    /// Stamps below which nothing that is under way will commit, with how many hold to each.
    low: Mutex<BTreeMap<u64, u32>>,
    /// Notes about media as they were last read, by stamp.
    pub left: Mutex<HashMap<u64, u64>>,
}

impl Notes {
    pub fn watch(&self, namespace: &str, since: u64) {
        let mut watched = self.watched.lock();
        watched.entry(namespace.to_owned()).or_insert(since);
    }

    pub fn watched_since(&self, namespace: &str) -> Option<u64> {
        self.watched.lock().get(namespace).copied()
    }

    /// Everything up to a stamp was looked at.
    pub fn looked(&self, namespace: &str, upto: u64) {
        if let Some(since) = self.watched.lock().get_mut(namespace) {
            *since = upto.max(*since);
        }
    }

    pub fn unwatch(&self, namespace: &str) {
        self.watched.lock().remove(namespace);
    }

    pub fn refuse(&self, namespace: &str) -> u64 {
        let mut refused = self.refused.lock();
        let count = refused.entry(namespace.to_owned()).or_default();
        *count += 1;
        *count
    }

    pub fn refused(&self, namespace: &str) -> u64 {
        self.refused
            .lock()
            .get(namespace)
            .copied()
            .unwrap_or_default()
    }

    /// The room a namespace was seen to take not long ago.
    pub fn used(&self, namespace: &str) -> Option<u64> {
        let used = self.used.lock();
        let (bytes, seen) = used.get(namespace)?;
        (seen.elapsed() < BELIEVED).then_some(*bytes)
    }

    pub fn saw_used(&self, namespace: &str, bytes: u64) {
        let mut used = self.used.lock();
        used.insert(namespace.to_owned(), (bytes, Instant::now()));
    }

    /// A batch counts what it writes; how long it is believed stays.
    pub fn count_used(&self, namespace: &str, bytes: u64) {
        if let Some((known, _)) = self.used.lock().get_mut(namespace) {
            *known = bytes;
        }
    }

    /// From here on stamps above this one may be under way.
    pub fn begin(&self, stamp: u64) {
        *self.low.lock().entry(stamp).or_default() += 1;
    }

    /// What began with this stamp is committed, or never will be.
    pub fn end(&self, stamp: u64) {
        let mut low = self.low.lock();
        if let Some(count) = low.get_mut(&stamp) {
            *count -= 1;
            if *count == 0 {
                low.remove(&stamp);
            }
        }
    }

    /// The highest stamp up to which this node has nothing under way; `last` where it has nothing at all.
    pub fn settled(&self, last: u64) -> u64 {
        self.low.lock().keys().next().copied().unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_holds_the_mark_back() {
        let notes = Notes::default();
        assert_eq!(notes.settled(9), 9);
        notes.begin(4);
        notes.begin(4);
        notes.begin(6);
        assert_eq!(notes.settled(9), 4);
        notes.end(4);
        assert_eq!(notes.settled(9), 4);
        notes.end(4);
        assert_eq!(notes.settled(9), 6);
        notes.end(6);
        assert_eq!(notes.settled(9), 9);
    }
}
