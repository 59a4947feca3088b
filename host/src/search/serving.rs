//! An engine with what is known of its state: whether it may be asked now, how far it has come. Bounds how many
//! searches run and wait (I5). Knows no engine by name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::{Notify, Semaphore, watch};

use super::{Candidate, Query, Search, SearchError};

/// Searches that run at the same time, where they take this machine's own cores and where another machine's, and that
/// wait for one of these to end.
const RUNNING_HERE: usize = 2;
const RUNNING_ELSEWHERE: usize = 16;
const WAITING_MOST: usize = 64;

/// Where an index is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// It is being opened, or made anew, or brought up to date for the first time: what it knows is not all.
    Behind = 0,
    /// It has been up to date, and follows.
    Ready = 1,
    /// It cannot be opened or written; it is tried again.
    Down = 2,
}

/// What everybody asks.
pub struct Serving {
    pub(super) engine: Arc<dyn Search>,
    phase: AtomicU8,
    /// The number of the newest commit that can be found (see `Feed::commits`).
    pub(super) reached: watch::Sender<u64>,
    /// Somebody met damage.
    pub(super) damage: Notify,
    running: Semaphore,
    waiting: Semaphore,
}

impl Serving {
    /// With an engine in this process.
    pub fn new(engine: Arc<dyn Search>) -> Self {
        Self::running(engine, RUNNING_HERE)
    }

    /// With an engine that is a server.
    pub fn elsewhere(engine: Arc<dyn Search>) -> Self {
        Self::running(engine, RUNNING_ELSEWHERE)
    }

    fn running(engine: Arc<dyn Search>, most: usize) -> Self {
        Self {
            engine,
            phase: AtomicU8::new(Phase::Behind as u8),
            reached: watch::Sender::new(0),
            damage: Notify::new(),
            running: Semaphore::new(most),
            waiting: Semaphore::new(WAITING_MOST),
        }
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            1 => Phase::Ready,
            2 => Phase::Down,
            _ => Phase::Behind,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Lets go of the index; nothing is found any more.
    pub async fn close(&self) {
        self.enter(Phase::Down);
        self.engine.close().await;
    }

    /// Returns once everything up to a commit can be found.
    pub async fn reached(&self, commit: u64) {
        let mut reached = self.reached.subscribe();
        // The sender lives as long as this does.
        let _ = reached
            .wait_for(|reached| *reached >= commit && self.phase() == Phase::Ready)
            .await;
    }

    /// Candidates for a query, when the index is fit to be asked.
    pub async fn find(&self, query: Query) -> Result<Vec<Candidate>, SearchError> {
        let unavailable = |why: &str| SearchError::Unavailable(why.to_owned());
        match self.phase() {
            Phase::Ready => {}
            Phase::Behind => return Err(unavailable("the index is being brought up to date")),
            Phase::Down => return Err(unavailable("the index cannot be used")),
        }
        let _waits = self
            .waiting
            .try_acquire()
            .map_err(|_| unavailable("too many searches at once"))?;
        let _runs = self.running.acquire().await;
        let found = self.engine.find(query).await;
        if let Err(SearchError::Damaged(why)) = &found {
            tracing::error!(why, "the index is damaged and is made anew");
            self.enter(Phase::Behind);
            self.damage.notify_one();
        }
        found
    }
}
