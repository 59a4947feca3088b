//! Instances of one version: made, lent, given back, retired. Lent last in, first out; never more than the bound, and
//! a full pool means waiting, never an error. It grows with what is asked and shrinks to nothing when nothing is.

use parking_lot::{Condvar, Mutex};

use crate::error::Failure;
use crate::instance::{Factory, Instance};

pub(crate) struct Pool {
    pub factory: Factory,
    limit: u32,
    /// Kept made while it is in memory: of what cannot be baked, whose instances take long to make.
    ready: u32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Instance>,
    /// Idle and lent and being made.
    live: u32,
    /// Fewest idle since the last sweep: those were not needed.
    least_idle: usize,
}

impl Pool {
    pub fn new(factory: Factory, limit: u32, ready: u32) -> Self {
        Self {
            factory,
            limit: limit.max(1),
            ready: ready.min(limit),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// An instance, the one used last where there is one.
    pub fn take(&self) -> Result<Instance, Failure> {
        let mut state = self.state.lock();
        loop {
            if let Some(instance) = state.idle.pop() {
                state.least_idle = state.least_idle.min(state.idle.len());
                return Ok(instance);
            }
            if state.live < self.limit {
                state.live += 1;
                drop(state);
                return self.make();
            }
            self.changed.wait(&mut state);
        }
    }

    /// An instance no message has been in. One that must be configured first is taken from the idle ones, which the
    /// keeper makes: configuring takes too long on a message's path.
    pub fn take_fresh(&self) -> Result<Instance, Failure> {
        if !self.factory.is_baked() {
            return self.take();
        }
        let mut state = self.state.lock();
        while state.live >= self.limit {
            if let Some(unused) = state.idle.pop() {
                state.live -= 1;
                drop(state);
                drop(unused);
                state = self.state.lock();
            } else {
                self.changed.wait(&mut state);
            }
        }
        state.live += 1;
        drop(state);
        self.make()
    }

    fn make(&self) -> Result<Instance, Failure> {
        let made = self.factory.make();
        if made.is_err() {
            self.state.lock().live -= 1;
            self.changed.notify_one();
        }
        made
    }

    pub fn give_back(&self, instance: Instance) {
        self.state.lock().idle.push(instance);
        self.changed.notify_one();
    }

    /// Ends an instance that may not be used again.
    pub fn retire(&self, instance: Instance) {
        drop(instance);
        self.state.lock().live -= 1;
        self.changed.notify_one();
    }

    /// Makes instances until the ready ones are there.
    pub fn fill(&self) -> Result<(), Failure> {
        self.fill_to(self.ready)
    }

    /// Makes instances until so many live.
    pub fn fill_to(&self, count: u32) -> Result<(), Failure> {
        loop {
            let mut state = self.state.lock();
            if state.live >= count.min(self.limit) {
                return Ok(());
            }
            state.live += 1;
            drop(state);
            let instance = self.make()?;
            self.give_back(instance);
        }
    }

    /// Lets idle instances go that were not needed since the last sweep, all but the ready ones.
    pub fn sweep(&self) {
        let mut state = self.state.lock();
        let spare = state
            .least_idle
            .min((state.live.saturating_sub(self.ready)) as usize);
        state.least_idle = state.idle.len() - spare.min(state.idle.len());
        self.let_go(state, spare);
    }

    /// Lets all idle instances but one go.
    pub fn keep_one(&self) {
        let state = self.state.lock();
        let spare = state.idle.len().saturating_sub(1);
        self.let_go(state, spare);
    }

    /// Lets every idle instance go: others need the room.
    pub fn empty(&self) {
        let state = self.state.lock();
        let all = state.idle.len();
        self.let_go(state, all);
    }

    fn let_go(&self, mut state: parking_lot::MutexGuard<'_, State>, count: usize) {
        let count = count.min(state.idle.len());
        // The ones not used longest are at the front.
        let gone: Vec<Instance> = state.idle.drain(..count).collect();
        state.live -= u32::try_from(count).unwrap_or(u32::MAX);
        drop(state);
        drop(gone);
        self.changed.notify_all();
    }

    /// Live and idle instances.
    pub fn counts(&self) -> (u32, u32) {
        let state = self.state.lock();
        (
            state.live,
            u32::try_from(state.idle.len()).unwrap_or(u32::MAX),
        )
    }
}
