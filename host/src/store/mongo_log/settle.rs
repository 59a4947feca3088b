//! Telling whoever waits what came of changes. A full channel waits (I5), but never while a lane is held: whoever takes
//! settlements may be reading that lane first.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::Shared;
use super::lanes::Waiting;
use crate::store::{CommitError, Outcome, Settlement};

pub type Settled = Result<Outcome, CommitError>;

/// What is settled and not told yet, in order.
pub struct Outgoing<'a> {
    shared: &'a Shared,
    waiting: VecDeque<Vec<Settlement>>,
}

impl<'a> Outgoing<'a> {
    pub fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            waiting: VecDeque::new(),
        }
    }

    /// Settles changes, and the turns that waited for them. Does not wait.
    pub fn settle(&mut self, done: Vec<(Waiting, Settled)>) {
        let settled = self.shared.settlements_of(done);
        if settled.is_empty() {
            return;
        }
        self.waiting.push_back(settled);
        let Some(sender) = self.shared.taker() else {
            return self.waiting.clear();
        };
        while let Some(settled) = self.waiting.pop_front() {
            match sender.try_send(settled) {
                Ok(()) => {}
                Err(TrySendError::Full(settled)) => {
                    self.waiting.push_front(settled);
                    return;
                }
                Err(TrySendError::Closed(_)) => self.shared.nobody_listens(),
            }
        }
    }

    /// Waits until everything is told. Blocks; the lane is not to be held.
    pub fn flush(&mut self) {
        let Some(sender) = self.shared.taker() else {
            return self.waiting.clear();
        };
        for settled in self.waiting.drain(..) {
            if sender.blocking_send(settled).is_err() {
                self.shared.nobody_listens();
            }
        }
    }
}

impl Shared {
    /// Counts changes out; their settlements, and those of the turns that waited for them.
    fn settlements_of(&self, done: Vec<(Waiting, Settled)>) -> Vec<Settlement> {
        let tickets: Vec<(u64, usize)> = done
            .iter()
            .map(|(waiting, _)| (waiting.ticket, waiting.bytes))
            .collect();
        let mut settled: Vec<Settlement> = done
            .into_iter()
            .map(|(waiting, result)| settlement(waiting, result))
            .collect();
        self.in_flight
            .leave(settled.iter().map(|settlement| &settlement.change));
        let turned = self.lanes.settled(tickets.into_iter());
        let turned = turned.into_iter();
        settled.extend(turned.map(|turn| settlement(turn, Ok(Outcome::Done))));
        settled
    }

    /// Settles changes that no lane has, and the turns that nothing before is under way of. Blocks.
    pub fn settle_now(&self, done: Vec<(Waiting, Settled)>) {
        let mut outgoing = Outgoing::new(self);
        outgoing.settle(done);
        outgoing.flush();
    }

    /// Whoever takes settlements; nobody once the log is closed.
    fn taker(&self) -> Option<mpsc::Sender<Vec<Settlement>>> {
        self.settlements.lock().clone()
    }

    fn nobody_listens(&self) {
        let why = "nobody takes settlements any more";
        self.lanes.break_down(why.to_owned());
    }
}

fn settlement(waiting: Waiting, result: Settled) -> Settlement {
    Settlement {
        change: waiting.submission.change,
        origin: waiting.submission.origin,
        result,
    }
}
