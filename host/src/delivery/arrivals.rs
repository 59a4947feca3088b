//! The order of entries on a node that hears of them from several: its own commits, and what other nodes tell. Each
//! conversation's go on in the order of their seq. One that comes too early waits a moment for those before it; one that
//! comes too late is left out, since a client that sees a jump reads the gap.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bus::Place;
use crate::ids::ConversationId;
use crate::maps::HashMap;

/// How long what is early waits for what is before it.
pub const PATIENCE: Duration = Duration::from_millis(50);
/// Entries of one conversation that wait.
const WAITING_MOST: usize = 64;
/// How long a conversation in which nothing happens is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
const SHARDS: usize = 64;
/// Conversations one shard remembers.
const LANES_MOST: usize = 4096;

/// What is to go on, by conversation.
#[derive(Debug)]
pub struct Arrivals<T> {
    shards: Vec<Mutex<HashMap<ConversationId, Lane<T>>>>,
    /// Conversations in which something waits.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Lane<T> {
    newest: u64,
    early: BTreeMap<u64, T>,
    /// When something last went on or came.
    touched: Instant,
    /// Since when something waits.
    waits_since: Instant,
}

impl<T> Default for Arrivals<T> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl<T> Arrivals<T> {
    /// Whether something waits for what is before it.
    pub fn any_wait(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether an entry, or a later one of its conversation, has gone on here lately.
    pub fn has_passed(&self, place: Place) -> bool {
        let shard = &self.shards[place.conversation.0 as usize % SHARDS];
        let lanes = shard.lock();
        let lane = lanes.get(&place.conversation);
        lane.is_some_and(|lane| place.seq <= lane.newest)
    }

    /// An entry another node tells of. `push` is called with what goes on now, in order; nothing of the conversation is
    /// pushed by anybody else meanwhile.
    pub fn offer(&self, place: Place, arrival: T, now: Instant, push: impl FnMut(T)) {
        self.in_lane(place, now, |lane| match lane {
            Some(lane) if place.seq <= lane.newest => {}
            Some(lane) if place.seq > lane.newest + 1 => {
                if lane.early.is_empty() {
                    lane.waits_since = now;
                }
                lane.early.insert(place.seq, arrival);
                if lane.early.len() >= WAITING_MOST {
                    lane.go_on(u64::MAX, push);
                }
            }
            Some(lane) => lane.pass(place.seq, arrival, push),
            // Nothing was heard of this conversation lately: whatever comes first begins.
            None => {
                let mut push = push;
                push(arrival);
            }
        });
    }

    /// An entry of this node's own. `own` is always called, with whether the entry comes too late to be pushed; `push`
    /// with what waited for it.
    pub fn commit(
        &self,
        place: Place,
        now: Instant,
        own: impl FnOnce(bool),
        mut push: impl FnMut(T),
    ) {
        self.in_lane(place, now, |lane| match lane {
            Some(lane) => {
                lane.go_on(place.seq, &mut push);
                let late = place.seq <= lane.newest;
                own(late);
                lane.newest = lane.newest.max(place.seq);
                lane.go_on_in_a_row(push);
            }
            None => own(false),
        });
    }

    /// What has waited long enough goes on without what was before it; conversations in which nothing happens are
    /// forgotten.
    pub fn tick(&self, now: Instant, mut push: impl FnMut(T)) {
        for shard in &self.shards {
            let mut lanes = shard.lock();
            let due = |lane: &Lane<T>| !lane.early.is_empty() && now >= lane.waits_since + PATIENCE;
            let mut late: Vec<ConversationId> = Vec::new();
            lanes.retain(|id, lane| {
                if due(lane) {
                    late.push(*id);
                }
                !lane.early.is_empty() || now < lane.touched + REMEMBERED
            });
            // A map's own order differs from run to run.
            late.sort_unstable();
            for id in late {
                if let Some(lane) = lanes.get_mut(&id) {
                    lane.go_on(u64::MAX, &mut push);
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// `act` gets the lane, or none where there was none; then there is one that begins here.
    fn in_lane(&self, place: Place, now: Instant, act: impl FnOnce(Option<&mut Lane<T>>)) {
        let shard = &self.shards[place.conversation.0 as usize % SHARDS];
        let mut lanes = shard.lock();
        match lanes.get_mut(&place.conversation) {
            Some(lane) => {
                let waited = !lane.early.is_empty();
                act(Some(lane));
                lane.touched = now;
                let waits = !lane.early.is_empty();
                if waits && !waited {
                    self.waiting.fetch_add(1, Ordering::Relaxed);
                } else if waited && !waits {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
            }
            None => {
                act(None);
                if lanes.len() >= LANES_MOST {
                    lanes.retain(|_, lane| !lane.early.is_empty());
                }
                let lane = Lane {
                    newest: place.seq,
                    early: BTreeMap::new(),
                    touched: now,
                    waits_since: now,
                };
                lanes.insert(place.conversation, lane);
            }
        }
    }
}

impl<T> Lane<T> {
    fn pass(&mut self, seq: u64, arrival: T, mut push: impl FnMut(T)) {
        push(arrival);
        self.newest = seq;
        self.go_on_in_a_row(push);
    }

    fn go_on_in_a_row(&mut self, mut push: impl FnMut(T)) {
        while let Some(next) = self.early.remove(&(self.newest + 1)) {
            push(next);
            self.newest += 1;
        }
        // What this node has passed meanwhile is too late.
        self.early.retain(|seq, _| *seq > self.newest);
    }

    /// Everything before `end` that waits goes on.
    fn go_on(&mut self, end: u64, mut push: impl FnMut(T)) {
        while let Some(first) = self.early.first_entry()
            && *first.key() < end
        {
            self.newest = *first.key();
            push(first.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Place {
        Place {
            conversation: ConversationId(7),
            seq,
        }
    }

    fn offered(arrivals: &Arrivals<u64>, now: Instant, seqs: &[u64]) -> Vec<u64> {
        let mut pushed = Vec::new();
        for &seq in seqs {
            arrivals.offer(at(seq), seq, now, |arrival| pushed.push(arrival));
        }
        pushed
    }

    #[test]
    fn entries_go_on_in_order_and_each_once() {
        let (arrivals, now) = (Arrivals::default(), Instant::now());
        assert_eq!(offered(&arrivals, now, &[5, 7, 6, 6, 4, 9]), [5, 6, 7]);
        assert!(arrivals.any_wait());
        assert!(
            arrivals.has_passed(at(4)) && !arrivals.has_passed(at(9)),
            "it waits"
        );
        assert_eq!(offered(&arrivals, now, &[8]), [8, 9]);
        assert!(arrivals.has_passed(at(9)));
        assert!(!arrivals.any_wait());
    }

    #[test]
    fn what_is_early_waits_only_a_moment() {
        let (arrivals, now) = (Arrivals::default(), Instant::now());
        assert_eq!(offered(&arrivals, now, &[1, 3, 4]), [1]);
        let mut pushed = Vec::new();
        arrivals.tick(now, |arrival| pushed.push(arrival));
        assert!(pushed.is_empty());
        let now = now + PATIENCE;
        arrivals.tick(now, |arrival| pushed.push(arrival));
        assert_eq!(pushed, [3, 4]);
        assert!(!arrivals.any_wait());
        assert_eq!(
            offered(&arrivals, now, &[2, 5]),
            [5],
            "the gap has been jumped"
        );
        let now = now + REMEMBERED;
        arrivals.tick(now, |_| panic!("nothing waits"));
        assert_eq!(offered(&arrivals, now, &[2]), [2], "forgotten");
    }

    #[test]
    fn own_commits_stand_at_their_place_among_what_others_tell() {
        let (arrivals, now) = (Arrivals::default(), Instant::now());
        let mut seen = Vec::new();
        let commit = |seq, seen: &mut Vec<String>| {
            let pushed = std::cell::RefCell::new(Vec::new());
            arrivals.commit(
                at(seq),
                now,
                |late| pushed.borrow_mut().push(format!("own {seq} {late}")),
                |arrival: u64| pushed.borrow_mut().push(arrival.to_string()),
            );
            seen.append(&mut pushed.into_inner());
        };
        commit(1, &mut seen);
        assert_eq!(offered(&arrivals, now, &[3]), [0_u64; 0]);
        commit(2, &mut seen);
        assert_eq!(offered(&arrivals, now, &[5]), [0_u64; 0]);
        commit(6, &mut seen);
        assert_eq!(offered(&arrivals, now, &[4]), [0_u64; 0], "too late");
        commit(4, &mut seen);
        assert_eq!(
            seen,
            [
                "own 1 false",
                "own 2 false",
                "3",
                "5",
                "own 6 false",
                "own 4 true"
            ]
        );
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let (arrivals, now) = (Arrivals::default(), Instant::now());
        let early: Vec<u64> = (0..WAITING_MOST as u64).map(|n| 10 + 2 * n).collect();
        assert_eq!(offered(&arrivals, now, &[1]), [1]);
        assert_eq!(offered(&arrivals, now, &early), early);
        assert!(!arrivals.any_wait());
    }
}
