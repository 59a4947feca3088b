//! The one thread that changes the log: takes everything that waits, makes one write batch of it, syncs once, then
//! settles all of it. I1: nothing is settled before the sync. After a failed write nothing is settled as done, and
//! nothing more is taken until a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::PersistMode;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{mpsc, watch};

use super::engine::Fjall;
use super::kv::KvNotes;
use super::tables::Tables;
use super::tail::Tail;
use crate::clock::Clock;
use crate::ids::IdSource;
use crate::store::log::batch::Batch;
use crate::store::log::beside;
use crate::store::log::heads::Heads;
use crate::store::log::in_flight::Counts;
use crate::store::log::rosters::Rosters;
use crate::store::log::weigh::weigh;
use crate::store::{CommitError, NotTaken, Settlement, Submission};

/// Bounds of what may wait (I5).
const WAITING_MOST: usize = 16_384;
const WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Submissions that a list keeps room for when it is empty.
const KEPT_ROOM: usize = 1024;

#[derive(Default)]
struct Queue {
    waiting: Vec<Submission>,
    bytes: usize,
    /// The highest generation that judged anything submitted so far.
    generation: u64,
    parked: bool,
    closed: bool,
    broken: Option<String>,
}

/// What the committer and the rest of the log share.
pub struct Shared {
    pub tables: Tables,
    pub heads: Heads,
    pub rosters: Rosters,
    pub ids: IdSource,
    pub clock: Arc<dyn Clock>,
    /// The stamp of the last settled change.
    pub settled: AtomicU64,
    /// The same stamp, for those who wait for it to rise.
    pub commits: watch::Sender<u64>,
    /// What was committed last, for those who follow.
    pub tail: Tail,
    pub in_flight: Counts,
    /// Groups of changes that were synced, and the changes in them: written by the one thread.
    pub flushes: AtomicU64,
    pub changes: AtomicU64,
    pub kv_notes: KvNotes,
    /// Since when erased content waits to leave the disk, milliseconds since 1970 UTC; 0 when none does.
    pub erased_since: Mutex<u64>,
    pub beside: Mutex<beside::Rows>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Shared {
    pub fn new(
        (tables, erased_since, beside): (Tables, u64, beside::Rows),
        (heads, rosters): (Heads, Rosters),
        ids: IdSource,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let settled = AtomicU64::new(ids.last());
        let commits = watch::Sender::new(ids.last());
        Self {
            tables,
            heads,
            rosters,
            ids,
            clock,
            settled,
            commits,
            tail: Tail::default(),
            in_flight: Counts::default(),
            flushes: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            kv_notes: KvNotes::default(),
            erased_since: Mutex::new(erased_since),
            beside: Mutex::new(beside),
            queue: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// Queues a change; gives it back when it is stale, too much waits, or the log is down.
    pub fn submit(&self, submission: Submission) -> Result<(), NotTaken> {
        let (generation, bytes) = weigh(&submission.change);
        let mut queue = self.queue.lock();
        let full = queue.waiting.len() >= WAITING_MOST || queue.bytes + bytes > WAITING_BYTES;
        if queue.closed || queue.broken.is_some() || full {
            return Err(NotTaken::Full(submission));
        }
        if generation > 0 {
            if generation < queue.generation {
                return Err(NotTaken::Stale(submission));
            }
            queue.generation = generation;
        }
        self.in_flight.enter(&submission.change);
        queue.bytes += bytes;
        queue.waiting.push(submission);
        if queue.parked {
            queue.parked = false;
            drop(queue);
            self.wake.notify_one();
        }
        Ok(())
    }

    pub fn health(&self) -> Result<(), String> {
        let queue = self.queue.lock();
        match &queue.broken {
            Some(why) => Err(why.clone()),
            None if queue.closed => Err("the log is closed".to_owned()),
            None => Ok(()),
        }
    }

    /// Takes nothing more; what waits is still committed.
    pub fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.parked = false;
        drop(queue);
        self.wake.notify_one();
    }

    /// Exchanges everything that waits for an empty list; `false` when there will be nothing more.
    fn take(&self, taken: &mut Vec<Submission>) -> bool {
        // A rush's room is given back.
        taken.shrink_to(KEPT_ROOM);
        let mut queue = self.queue.lock();
        loop {
            if !queue.waiting.is_empty() {
                queue.bytes = 0;
                std::mem::swap(&mut queue.waiting, taken);
                return true;
            }
            if queue.closed {
                return false;
            }
            queue.parked = true;
            self.wake.wait(&mut queue);
            queue.parked = false;
        }
    }

    fn break_down(&self, why: String) {
        tracing::error!(
            why,
            "the message log cannot be written; restart when the cause is mended"
        );
        self.queue.lock().broken.get_or_insert(why);
    }
}

/// Runs until the log is closed or broken.
pub fn run(shared: &Shared, settlements: &mpsc::Sender<Vec<Settlement>>) {
    let mut waiting = Vec::new();
    while shared.take(&mut waiting) {
        let settled = commit(shared, &mut waiting);
        shared
            .in_flight
            .leave(settled.iter().map(|settlement| &settlement.change));
        // A full channel waits here: what is not delivered yet holds back what is committed next (I5).
        if settlements.blocking_send(settled).is_err() {
            shared.break_down("nobody takes settlements any more".to_owned());
        }
    }
}

/// Leaves nothing in `waiting`.
fn commit(shared: &Shared, waiting: &mut Vec<Submission>) -> Vec<Settlement> {
    if shared.health().is_err_and(|why| why != "the log is closed") {
        return refused(waiting.drain(..)).collect();
    }
    let now = shared.clock.now_ms();
    let mut engine = Fjall::new(shared, waiting.len());
    let mut batch = Batch::new(&mut engine, now, waiting.len());
    let mut settled = Vec::with_capacity(waiting.len());
    let mut waiting = waiting.drain(..);
    while let Some(Submission { mut change, origin }) = waiting.next() {
        match batch.apply(&mut change) {
            Ok(result) => settled.push(Settlement {
                change,
                origin,
                result,
            }),
            Err(error) => {
                shared.break_down(error.to_string());
                settled.push(Settlement {
                    change,
                    origin,
                    result: Err(CommitError::Unavailable),
                });
                settled.extend(refused(waiting));
                return all_refused(settled);
            }
        }
    }
    let finished = batch.finish();
    match engine.commit(finished, now, PersistMode::SyncData) {
        Ok(stamp) => {
            shared.settled.store(stamp, Ordering::Release);
            shared.commits.send_replace(stamp);
            shared.flushes.fetch_add(1, Ordering::Relaxed);
            shared
                .changes
                .fetch_add(settled.len() as u64, Ordering::Relaxed);
            settled
        }
        Err(error) => {
            shared.break_down(error.to_string());
            all_refused(settled)
        }
    }
}

fn refused(waiting: impl Iterator<Item = Submission>) -> impl Iterator<Item = Settlement> {
    waiting.map(|Submission { change, origin }| Settlement {
        change,
        origin,
        result: Err(CommitError::Unavailable),
    })
}

/// Nothing of a batch that was not synced counts as done.
fn all_refused(mut settled: Vec<Settlement>) -> Vec<Settlement> {
    for settlement in &mut settled {
        settlement.result = Err(CommitError::Unavailable);
    }
    settled
}
