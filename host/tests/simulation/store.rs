//! The database that all nodes share, with what befalls one: it is slow, refuses, does the write and loses the reply, gets a
//! write late, has no majority for a while, or loses to a fail-over what no majority had. What a node has asked for goes on
//! here whatever becomes of the node. Reads see what a majority has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kith::ids::{ConversationId, EntryId};
use kith::store::StoreError;
use kith::store::accounts::StoredGeneration;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::chance::{Sim, tell, wrong};
use super::defects::Defect;
use super::tables::{Put, Tables};
use super::truth::Truth;

/// How long a node waits for an answer.
const ASKED: Duration = Duration::from_millis(1500);

/// One commit of a conversation, as a node wants it written.
#[derive(Debug, Clone)]
pub struct Doc {
    pub lane: ConversationId,
    /// Its number in the lane; the next after the newest.
    pub n: u64,
    /// Whose attempt it is.
    pub by: u64,
    /// The client id it answers, as a key among the answers.
    pub answers: Option<Vec<u8>>,
    pub puts: Vec<Put>,
}

/// How an insertion ended, as the server says: so many were written; whether the next one's number was taken.
#[derive(Debug, Clone, Copy)]
pub struct Inserted {
    pub count: usize,
    pub taken: bool,
}

/// How the database fares, in percent of what it is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    pub slow: u64,
    pub refuses: u64,
    pub loses_replies: u64,
    pub gets_late: u64,
}

#[derive(Debug)]
struct Unconfirmed {
    op: u64,
    doc: Doc,
    due: Instant,
}

/// An item of the feed: a commit of a conversation.
pub type Told = (ConversationId, u64);

#[derive(Debug, Default)]
pub struct Inner {
    pub tables: Tables,
    /// Whose attempt each number of a lane is, from 1 on, as far as a majority has them.
    pub lanes: BTreeMap<ConversationId, Vec<u64>>,
    unconfirmed: VecDeque<Unconfirmed>,
    ops: u64,
    confirmed: u64,
    undone: BTreeSet<u64>,
    /// When a conversation last changed, as a count of everything confirmed.
    pub changed: BTreeMap<ConversationId, u64>,
    pub changes: u64,
    /// What the feed tells, in its order, and what is confirmed and not in it.
    pub feed: Vec<Told>,
    pub untold: BTreeSet<Told>,
    /// Entries that a commit has made.
    pub made: BTreeMap<Told, Vec<(u64, EntryId)>>,
    pub generations: Vec<StoredGeneration>,
    pub last_seen: BTreeMap<u64, u64>,
}

pub struct Store {
    pub sim: Arc<Sim>,
    pub inner: Mutex<Inner>,
    pub truth: Mutex<Truth>,
    weather: Mutex<Weather>,
    /// Nodes that cannot reach it.
    cut: Mutex<BTreeSet<usize>>,
    has_majority: Mutex<bool>,
    electing_until: Mutex<Option<Instant>>,
    /// Something became confirmed, was undone, or may be now.
    moved: Notify,
}

/// What befalls one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Refused,
    NoReply,
    Late,
}

impl Store {
    pub fn new(sim: &Arc<Sim>) -> Arc<Self> {
        let store = Arc::new(Self {
            sim: sim.clone(),
            inner: Mutex::default(),
            truth: Mutex::default(),
            weather: Mutex::default(),
            cut: Mutex::default(),
            has_majority: Mutex::new(true),
            electing_until: Mutex::default(),
            moved: Notify::new(),
        });
        tokio::spawn(store.clone().confirm());
        store
    }

    pub fn set_weather(&self, weather: Weather) {
        *self.weather.lock() = weather;
    }

    pub fn set_cut(&self, node: usize, cut: bool) {
        let mut nodes = self.cut.lock();
        let _ = if cut {
            nodes.insert(node)
        } else {
            nodes.remove(&node)
        };
    }

    pub fn is_cut(&self, node: usize) -> bool {
        self.cut.lock().contains(&node)
    }

    pub fn set_majority(&self, has: bool) {
        *self.has_majority.lock() = has;
        self.moved.notify_waiters();
    }

    /// Another server becomes the first: what no majority has is undone.
    pub fn fail_over(&self) {
        let electing = self.sim.while_of(50, 400);
        *self.electing_until.lock() = Some(Instant::now() + electing);
        let mut inner = self.inner.lock();
        let undone: Vec<u64> = inner.unconfirmed.drain(..).map(|one| one.op).collect();
        tell!(
            self.sim,
            "store: fail-over, {} commits undone",
            undone.len()
        );
        inner.undone.extend(undone);
        drop(inner);
        self.moved.notify_waiters();
    }

    /// Whether this attempt's commit is there, or may come to be; for what is checked.
    pub fn may_hold(&self, answers: &[u8]) -> bool {
        let inner = self.inner.lock();
        let waits = |one: &Unconfirmed| one.doc.answers.as_deref() == Some(answers);
        inner.tables.answers.contains_key(answers) || inner.unconfirmed.iter().any(waits)
    }

    fn fate(&self, node: usize, writes: bool) -> (Fate, Duration) {
        let Weather {
            slow,
            refuses,
            loses_replies,
            gets_late,
        } = *self.weather.lock();
        let takes = if self.sim.happens(slow) {
            self.sim.while_of(50, 900)
        } else {
            self.sim.while_of(0, 4)
        };
        let electing = self
            .electing_until
            .lock()
            .is_some_and(|until| Instant::now() < until);
        let fate = if self.cut.lock().contains(&node) {
            Fate::NoReply
        } else if electing || self.sim.happens(refuses) {
            Fate::Refused
        } else if writes && self.sim.happens(gets_late) {
            Fate::Late
        } else if self.sim.happens(loses_replies) {
            Fate::NoReply
        } else {
            Fate::Fine
        };
        (fate, takes)
    }

    fn refused() -> StoreError {
        StoreError::Unavailable("the simulated store refuses".to_owned())
    }

    /// Reads at one moment between the question and the answer.
    pub async fn read<T: Send>(
        &self,
        node: usize,
        look: impl FnOnce(&Inner) -> T + Send,
    ) -> Result<T, StoreError> {
        let (fate, takes) = self.fate(node, false);
        sleep(takes / 2).await;
        match fate {
            Fate::Fine | Fate::Late => {}
            Fate::Refused => return Err(Self::refused()),
            Fate::NoReply => {
                sleep(ASKED).await;
                return Err(StoreError::Timeout);
            }
        }
        let seen = look(&self.inner.lock());
        sleep(takes / 2).await;
        Ok(seen)
    }

    /// A small write of one document, with a majority when it is answered.
    pub async fn write<T: Send>(
        &self,
        node: usize,
        change: impl FnOnce(&mut Inner) -> T + Send,
    ) -> Result<T, StoreError> {
        let (fate, takes) = self.fate(node, true);
        sleep(takes / 2).await;
        let unreachable = self.cut.lock().contains(&node);
        if fate == Fate::Refused {
            return Err(Self::refused());
        }
        let done = (!unreachable).then(|| change(&mut self.inner.lock()));
        sleep(takes / 2).await;
        match (fate, done) {
            (Fate::Fine, Some(done)) => Ok(done),
            _ => {
                sleep(ASKED).await;
                Err(StoreError::Timeout)
            }
        }
    }

    /// Inserts commits of one lane in order; answered once a majority has them.
    pub async fn insert(
        self: &Arc<Self>,
        node: usize,
        docs: &[Doc],
    ) -> Result<Inserted, StoreError> {
        let (fate, takes) = self.fate(node, true);
        let (sender, answer) = oneshot::channel();
        if fate == Fate::Refused {
            sleep(takes).await;
            return Err(Self::refused());
        }
        let is_cut = self.cut.lock().contains(&node);
        if is_cut {
            // Whether it was on its way is drawn: a network breaks between the question and the answer too.
            if self.sim.happens(70) || self.sim.is_calm() {
                sleep(ASKED).await;
                return Err(StoreError::Timeout);
            }
        }
        let (server, docs) = (self.clone(), docs.to_vec());
        tokio::spawn(async move {
            sleep(takes / 2).await;
            if fate == Fate::Late {
                sleep(server.sim.while_of(1_000, 4_000)).await;
            }
            let (inserted, ops) = server.apply(docs);
            let waits = !server.sim.has(Defect::AckBeforeMajority);
            let stays = !waits || server.majority(&ops).await;
            sleep(takes / 2).await;
            if fate == Fate::NoReply || !stays {
                sleep(ASKED).await;
                return;
            }
            let _ = sender.send(inserted);
        });
        match timeout(ASKED, answer).await {
            Ok(Ok(inserted)) => Ok(inserted),
            _ => Err(StoreError::Timeout),
        }
    }

    fn apply(&self, docs: Vec<Doc>) -> (Inserted, Vec<u64>) {
        let mut inner = self.inner.lock();
        let mut ops = Vec::new();
        let count = docs.len();
        for doc in docs {
            if inner.is_taken(&doc, !self.sim.has(Defect::ResendNotLookedUp)) {
                tell!(self.sim, "store: {} of {} is taken", doc.n, short(doc.lane));
                break;
            }
            inner.ops += 1;
            let lag = self.sim.while_of(1, 25);
            let before = inner.unconfirmed.back().map(|last| last.due);
            let due = (Instant::now() + lag).max(before.unwrap_or_else(Instant::now));
            ops.push(inner.ops);
            let op = inner.ops;
            inner.unconfirmed.push_back(Unconfirmed { op, doc, due });
        }
        drop(inner);
        self.moved.notify_waiters();
        let inserted = Inserted {
            count: ops.len(),
            taken: ops.len() < count,
        };
        (inserted, ops)
    }

    /// Waits until a majority has them; whether one has.
    async fn majority(&self, ops: &[u64]) -> bool {
        loop {
            let moved = self.moved.notified();
            {
                let inner = self.inner.lock();
                if ops.iter().any(|op| inner.undone.contains(op)) {
                    return false;
                }
                if ops.iter().all(|op| *op <= inner.confirmed) {
                    return true;
                }
            }
            moved.await;
        }
    }

    /// Confirms what is written, in its order.
    async fn confirm(self: Arc<Self>) {
        loop {
            let moved = self.moved.notified();
            let due = self.inner.lock().unconfirmed.front().map(|one| one.due);
            match due.filter(|_| *self.has_majority.lock()) {
                Some(due) if due <= Instant::now() => {
                    self.confirm_one();
                    self.moved.notify_waiters();
                }
                Some(due) => {
                    let _ = tokio::time::timeout_at(due, moved).await;
                }
                None => moved.await,
            }
        }
    }

    fn confirm_one(&self) {
        let mut inner = self.inner.lock();
        let Some(Unconfirmed { op, doc, .. }) = inner.unconfirmed.pop_front() else {
            return;
        };
        inner.confirmed = op;
        inner.changes += 1;
        let changes = inner.changes;
        inner.changed.insert(doc.lane, changes);
        let lane = inner.lanes.entry(doc.lane).or_default();
        lane.push(doc.by);
        if lane.len() as u64 != doc.n {
            wrong!(
                self.sim,
                "I3: commit {} of {} comes after {}",
                doc.n,
                short(doc.lane),
                lane.len() - 1
            );
        }
        doc.puts.iter().for_each(|put| inner.tables.put(put));
        let entries = self.truth.lock().learn(&self.sim, &doc);
        if !entries.is_empty() {
            inner.untold.insert((doc.lane, doc.n));
            inner.made.insert((doc.lane, doc.n), entries);
        }
    }
}

impl Inner {
    /// How many commits no majority has yet.
    pub fn waiting(&self) -> u64 {
        self.unconfirmed.len() as u64
    }

    /// Unique are a lane's numbers, and client ids.
    fn is_taken(&self, doc: &Doc, looks_up: bool) -> bool {
        let newest = self.lanes.get(&doc.lane).map_or(0, Vec::len) as u64;
        let mut waiting = self.unconfirmed.iter().map(|one| &one.doc);
        let same = |other: &Doc| {
            let number = other.lane == doc.lane && other.n == doc.n;
            let answers = looks_up && doc.answers.is_some() && other.answers == doc.answers;
            number || answers
        };
        let answered = |key: &Vec<u8>| looks_up && self.tables.answers.contains_key(key);
        doc.n <= newest || doc.answers.as_ref().is_some_and(answered) || waiting.any(same)
    }
}

/// A conversation's id, as a story can be read.
pub fn short(id: ConversationId) -> String {
    format!("{:04x}", id.0 >> 112)
}
