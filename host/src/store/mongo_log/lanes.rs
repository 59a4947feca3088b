//! What waits to be committed, by lane: a conversation, or a namespace of plugins' values. One run of a lane is under way at
//! a time, of many lanes together. Bounded in number and bytes (I5); a turn settles when all that was before it has.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use super::docs::lane_of;
use crate::store::log::heads::State;
use crate::store::log::weigh::weigh;
use crate::store::{Change, NotTaken, Submission};

/// Bounds of what may wait (I5).
const WAITING_MOST: usize = 16_384;
const WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Lanes whose newest commit is remembered while nothing waits in them.
const IDLE_MOST: usize = 65_536;

/// A submission with its place among all.
pub struct Waiting {
    pub ticket: u64,
    /// When it was taken in.
    pub since: Instant,
    pub bytes: usize,
    pub submission: Submission,
}

/// What is known of a lane's newest commit.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Its number; 0 where there is none.
    pub n: u64,
    pub stamp: u64,
    /// Of a conversation.
    pub state: Option<Arc<State>>,
}

/// One lane.
pub struct Lane {
    pub name: String,
    /// Held while something of this lane is committed or projected here. `None`: to be read anew.
    pub work: tokio::sync::Mutex<Option<Known>>,
    /// Commits up to this number were projected by this node or before it looked.
    pub applied: AtomicU64,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    running: bool,
}

#[derive(Default)]
struct Gate {
    next: u64,
    bytes: usize,
    under_way: BTreeSet<u64>,
    turns: Vec<Waiting>,
    /// The highest generation that judged anything submitted so far.
    generation: u64,
    closed: bool,
    broken: Option<String>,
}

pub struct Lanes {
    gate: Mutex<Gate>,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
    pub hands: Arc<Semaphore>,
    /// Told whenever nothing is under way any more.
    pub idle: Notify,
}

/// What is to be done with a change that was taken.
pub enum Taken {
    /// Nobody works in its lane yet.
    Begin(Arc<Lane>),
    /// It will be come to.
    Queued,
    /// Its lane has to be found first.
    Unplaced(Waiting),
}

impl Lanes {
    pub fn new(hands: usize) -> Self {
        Self {
            gate: Mutex::default(),
            lanes: Mutex::default(),
            hands: Arc::new(Semaphore::new(hands)),
            idle: Notify::new(),
        }
    }

    /// Takes a change in; gives it back when it is stale, too much waits, or the log is down.
    pub fn take(
        &self,
        submission: Submission,
        enter: impl FnOnce(&Change),
    ) -> Result<Taken, NotTaken> {
        let (generation, bytes) = weigh(&submission.change);
        let mut gate = self.gate.lock();
        let full = gate.under_way.len() >= WAITING_MOST || gate.bytes + bytes > WAITING_BYTES;
        if gate.closed || gate.broken.is_some() || full {
            return Err(NotTaken::Full(submission));
        }
        if generation > 0 {
            if generation < gate.generation {
                return Err(NotTaken::Stale(submission));
            }
            gate.generation = generation;
        }
        enter(&submission.change);
        gate.next += 1;
        let ticket = gate.next;
        gate.bytes += bytes;
        gate.under_way.insert(ticket);
        let waiting = Waiting {
            ticket,
            since: Instant::now(),
            bytes,
            submission,
        };
        if matches!(waiting.submission.change, Change::Turn { .. }) {
            gate.turns.push(waiting);
            return Ok(Taken::Queued);
        }
        // Under the gate's lock, so that a lane's order is the order of submission.
        Ok(match lane_name(&waiting.submission.change) {
            Some(name) => self.enqueue(&name, waiting),
            None => Taken::Unplaced(waiting),
        })
    }

    /// Puts a change into its lane.
    pub fn enqueue(&self, name: &str, waiting: Waiting) -> Taken {
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry(name.to_owned()).or_insert_with(|| lane(name));
        let mut queue = lane.queue.lock();
        queue.waiting.push_back(waiting);
        if std::mem::replace(&mut queue.running, true) {
            return Taken::Queued;
        }
        drop(queue);
        Taken::Begin(lane.clone())
    }

    /// A lane, made where it is not known.
    pub fn lane(&self, name: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry(name.to_owned()).or_insert_with(|| lane(name));
        lane.clone()
    }

    pub fn known(&self, name: &str) -> Option<Arc<Lane>> {
        self.lanes.lock().get(name).cloned()
    }

    /// The next changes of a lane, at most so many; nothing when its work ends here.
    pub fn next(&self, lane: &Arc<Lane>, most: usize) -> Vec<Waiting> {
        let mut lanes = self.lanes.lock();
        let mut queue = lane.queue.lock();
        let count = queue.waiting.len().min(most);
        if count > 0 {
            return queue.waiting.drain(..count).collect();
        }
        queue.running = false;
        if lanes.len() > IDLE_MOST {
            lanes.remove(&lane.name);
        }
        Vec::new()
    }

    /// These are settled. Gives the turns that nothing before is under way of any more.
    pub fn settled(&self, done: impl Iterator<Item = (u64, usize)>) -> Vec<Waiting> {
        let mut gate = self.gate.lock();
        for (ticket, bytes) in done {
            gate.under_way.remove(&ticket);
            gate.bytes -= bytes;
        }
        let mut turned = Vec::new();
        while let Some(turn) = gate.turns.first()
            && gate.under_way.first() == Some(&turn.ticket)
        {
            let turn = gate.turns.remove(0);
            gate.under_way.remove(&turn.ticket);
            gate.bytes -= turn.bytes;
            turned.push(turn);
        }
        if gate.under_way.is_empty() {
            self.idle.notify_waiters();
        }
        turned
    }

    pub fn is_idle(&self) -> bool {
        self.gate.lock().under_way.is_empty()
    }

    pub fn health(&self) -> Result<(), String> {
        let gate = self.gate.lock();
        match &gate.broken {
            Some(why) => Err(why.clone()),
            None if gate.closed => Err("the log is closed".to_owned()),
            None => Ok(()),
        }
    }

    pub fn close(&self) {
        self.gate.lock().closed = true;
    }

    pub fn is_closed(&self) -> bool {
        self.gate.lock().closed
    }

    pub fn break_down(&self, why: String) {
        tracing::error!(
            why,
            "the message log cannot go on; restart when the cause is mended"
        );
        self.gate.lock().broken.get_or_insert(why);
    }
}

impl Lane {
    pub fn has_applied(&self, n: u64) -> bool {
        n <= self.applied.load(Ordering::Acquire)
    }

    pub fn note_applied(&self, n: u64) {
        self.applied.fetch_max(n, Ordering::AcqRel);
    }
}

fn lane(name: &str) -> Arc<Lane> {
    Arc::new(Lane {
        name: name.to_owned(),
        work: tokio::sync::Mutex::default(),
        applied: AtomicU64::new(0),
        queue: Mutex::default(),
    })
}

/// The lane of a namespace.
pub fn lane_of_namespace(namespace: &str) -> String {
    format!("kv:{namespace}:")
}

/// The namespace a lane is of.
pub fn namespace_of(lane: &str) -> Option<&str> {
    lane.strip_prefix("kv:")?.strip_suffix(':')
}

/// Where a change is committed; `None` where what it is about has to be read first.
fn lane_name(change: &Change) -> Option<String> {
    let conversation = match change {
        Change::Append(append) => append.conversation,
        Change::Hold(hold) => hold.conversation,
        Change::Group(group) => group.conversation,
        Change::Command(answer) => answer.conversation,
        Change::Drop { conversation, .. }
        | Change::Receipt { conversation, .. }
        | Change::Prefs { conversation, .. }
        | Change::Profile { conversation, .. }
        | Change::Erase { conversation, .. } => *conversation,
        Change::Kv(change) => return Some(lane_of_namespace(&change.namespace)),
        Change::KvDrop { namespace, .. } => return Some(lane_of_namespace(namespace)),
        Change::MediaSeen { .. } => return Some("media".to_owned()),
        Change::Refuse { .. } | Change::Forget { .. } | Change::Turn { .. } => return None,
    };
    Some(lane_of(conversation))
}
