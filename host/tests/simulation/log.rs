//! One node's message log over the shared store: takes changes, works them out with the host's own rules against the newest
//! commit it knows, inserts them under the next numbers and settles what a majority has. A race that is lost is run again
//! from what is there; what became of an attempt that nobody answered for is looked up before anything is said.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kith::clock::Clock;
use kith::ids::{ConversationId, IdSource};
use kith::store::log::batch::Batch;
use kith::store::log::heads::State;
use kith::store::log::in_flight::Counts;
use kith::store::log::weigh::weigh;
use kith::store::{
    Change, CommitError, NotTaken, Origin, Outcome, Settlement, StoreError, Submission,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::about::{answer_key, is_asked_once, lane_of};
use super::chance::Sim;
use super::defects::Defect;
use super::engine::{Puts, Reads};
use super::node::Tasks;
use super::store::{Doc, Inner, Store};

/// Changes that may wait (I5), and that are run together.
pub const WAITING_MOST: usize = 24;
const RUN_MOST: usize = 8;
/// How long a run may go on losing or asking.
const PATIENCE: Duration = Duration::from_secs(12);

/// What a node knows of a lane's newest commit.
#[derive(Clone, Default)]
struct Known {
    n: u64,
    /// What it says itself of when it was made.
    stamp: u64,
    state: Option<Arc<State>>,
}

#[derive(Default)]
struct Gate {
    lanes: BTreeMap<ConversationId, VecDeque<Submission>>,
    working: BTreeSet<ConversationId>,
    waiting: usize,
    generation: u64,
}

pub struct SimLog {
    pub sim: Arc<Sim>,
    pub node: usize,
    pub store: Arc<Store>,
    pub in_flight: Counts,
    pub commits: watch::Sender<u64>,
    /// Changes that nobody asks for again and that are not settled.
    asked_once: AtomicUsize,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    gate: Mutex<Gate>,
    settlements: mpsc::Sender<Vec<Settlement>>,
    tasks: Arc<Tasks>,
    this: std::sync::Weak<Self>,
}

/// A change of a run with what came of it, and what commits it if it needs anything.
struct Applied {
    result: Result<Outcome, CommitError>,
    doc: Option<Doc>,
    state: Option<Arc<State>>,
}

/// Why a run ended where it did.
enum Why {
    Done,
    Lost,
    Failed(CommitError),
}

impl SimLog {
    pub fn open(
        (sim, store): (&Arc<Sim>, &Arc<Store>),
        (node, number): (usize, u16),
        clock: Arc<dyn Clock>,
        tasks: &Arc<Tasks>,
    ) -> (Arc<Self>, mpsc::Receiver<Vec<Settlement>>) {
        let (settlements, settled) = mpsc::channel(4);
        let log = Arc::new_cyclic(|this| Self {
            sim: sim.clone(),
            node,
            store: store.clone(),
            in_flight: Counts::default(),
            commits: watch::Sender::new(0),
            asked_once: AtomicUsize::new(0),
            clock,
            ids: IdSource::new(number, 0),
            gate: Mutex::default(),
            settlements,
            tasks: tasks.clone(),
            this: this.clone(),
        });
        (log, settled)
    }

    pub fn take(&self, submission: Submission) -> Result<(), Box<NotTaken>> {
        let (generation, _) = weigh(&submission.change);
        let mut gate = self.gate.lock();
        if gate.waiting >= WAITING_MOST {
            if self.sim.has(Defect::FullQueueDropsInSilence) {
                return Ok(());
            }
            return Err(Box::new(NotTaken::Full(submission)));
        }
        if generation > 0 {
            if generation < gate.generation && !self.sim.has(Defect::StaleGenerationAccepted) {
                return Err(Box::new(NotTaken::Stale(submission)));
            }
            gate.generation = generation.max(gate.generation);
        }
        let Some(lane) = lane_of(&submission.change) else {
            return Err(Box::new(NotTaken::Full(submission)));
        };
        self.in_flight.enter(&submission.change);
        let once = usize::from(is_asked_once(&submission.change));
        self.asked_once.fetch_add(once, Ordering::Relaxed);
        gate.waiting += 1;
        gate.lanes.entry(lane).or_default().push_back(submission);
        if gate.working.insert(lane)
            && let Some(log) = self.this.upgrade()
        {
            self.tasks.spawn(log.work(lane));
        }
        Ok(())
    }

    /// Works in a lane until nothing waits there.
    async fn work(self: Arc<Self>, lane: ConversationId) {
        let mut known = None;
        loop {
            let run = {
                let mut gate = self.gate.lock();
                let waiting = gate.lanes.entry(lane).or_default();
                let count = waiting.len().min(RUN_MOST);
                let run: Vec<Submission> = waiting.drain(..count).collect();
                if run.is_empty() {
                    gate.working.remove(&lane);
                    return;
                }
                gate.waiting -= run.len();
                run
            };
            self.commit(lane, &mut known, run).await;
        }
    }

    async fn commit(
        &self,
        lane: ConversationId,
        known: &mut Option<Known>,
        mut run: Vec<Submission>,
    ) {
        let (began, mut unsure) = (Instant::now(), false);
        while !run.is_empty() {
            let held = known.take();
            let is_held = held.is_some();
            let prepared = self
                .store
                .read(self.node, |inner| self.apply(inner, lane, held, &run))
                .await;
            let (mut newest, applied) = match prepared.and_then(|prepared| prepared) {
                Ok(prepared) => prepared,
                // Nothing of this run is written, unless an attempt before it is.
                Err(_) => return self.give_up(run, unsure).await,
            };
            let refuses = |one: &Applied| one.doc.is_none() && one.result.is_err();
            if is_held && applied.iter().any(refuses) {
                // What is refused without a commit has to follow from what is there, not from what was.
                continue;
            }
            let found =
                |one: &Applied| matches!(one.result, Ok(Outcome::Member { moved: false, .. }));
            if unsure && applied.iter().any(found) {
                // A receipt of its own, of an attempt that was not answered, is found: nothing moves, and nobody is told.
                self.sim.may_be_untold();
            }
            if self.sim.has(Defect::PublishBeforeCommit) {
                self.publish(&run, &applied).await;
            }
            let docs: Vec<Doc> = applied.iter().filter_map(|one| one.doc.clone()).collect();
            let (count, why, more) = self.insert(&docs).await;
            unsure |= more;
            let (mut done, mut rest, mut written) = (Vec::new(), Vec::new(), 0);
            for (submission, applied) in run.into_iter().zip(applied) {
                let missed = written == count && applied.doc.is_some();
                if missed || !rest.is_empty() {
                    rest.push(submission);
                    continue;
                }
                written += usize::from(applied.doc.is_some());
                newest.n += u64::from(applied.doc.is_some());
                newest.state = applied.state.or(newest.state);
                done.push((submission, applied.result));
            }
            if let Why::Failed(mut error) = why {
                if unsure && !self.sim.has(Defect::UnsureThenRefused) {
                    error = CommitError::Timeout;
                }
                let failed = std::mem::take(&mut rest).into_iter();
                done.extend(failed.map(|submission| (submission, Err(error.clone()))));
            } else if rest.is_empty() {
                *known = Some(newest);
            } else if self.sim.has(Defect::HeadKeptAfterLostRace) {
                newest.n += 1;
                *known = Some(newest);
            }
            self.settle(done).await;
            self.tell(lane, &docs[..count]);
            if !rest.is_empty() {
                sleep(self.sim.while_of(1, 6)).await;
            }
            run = rest;
            if began.elapsed() > PATIENCE {
                return self.give_up(run, unsure).await;
            }
        }
    }

    /// What each change of a run does, one after another.
    fn apply(
        &self,
        inner: &Inner,
        lane: ConversationId,
        held: Option<Known>,
        run: &[Submission],
    ) -> Result<(Known, Vec<Applied>), StoreError> {
        let known = match held {
            Some(known) => known,
            None => self.newest(inner, lane)?,
        };
        self.ids.raise(known.stamp);
        let now = self.clock.now_ms();
        let by = self.sim.draw();
        let puts = Puts::default();
        let mut reads = Reads {
            tables: &inner.tables,
            ids: &self.ids,
            state: self.twisted(known.state.clone(), run),
            looks_up: !self.sim.has(Defect::ResendNotLookedUp),
            puts: puts.clone(),
        };
        let mut batch = Batch::new(&mut reads, now, run.len());
        let (mut n, mut applied) = (known.n, Vec::with_capacity(run.len()));
        for submission in run {
            let mut change = submission.change.clone();
            let result = batch.apply(&mut change)?;
            batch.put_changed_members();
            let state = batch.known(lane).map(|state| Arc::new(state.clone()));
            let puts = std::mem::take(&mut *puts.borrow_mut());
            let doc = (!puts.is_empty()).then(|| {
                n += 1;
                let answers = answer_key(lane, &change);
                Doc {
                    lane,
                    n,
                    by,
                    answers,
                    puts,
                }
            });
            applied.push(Applied { result, doc, state });
        }
        Ok((known, applied))
    }

    fn newest(&self, inner: &Inner, lane: ConversationId) -> Result<Known, StoreError> {
        let state = inner.tables.state(lane)?.map(Arc::new);
        let of_members = state.iter().flat_map(|state| &state.members);
        let stamp = of_members.map(|member| member.changed).max();
        let heads = state.as_ref().map(|state| state.head_id.max(state.changed));
        Ok(Known {
            n: inner.lanes.get(&lane).map_or(0, Vec::len) as u64,
            stamp: stamp.max(heads).unwrap_or_default(),
            state,
        })
    }

    /// As it is; with a defect, no judgement is too old, or a receipt stands where it is asked to.
    fn twisted(&self, state: Option<Arc<State>>, run: &[Submission]) -> Option<Arc<State>> {
        let mut state = (*state?).clone();
        if self.sim.has(Defect::StaleGenerationAccepted) {
            state.generation = 0;
        }
        if self.sim.has(Defect::ReceiptGoesBack) {
            for submission in run {
                if let Change::Receipt { user, .. } = &submission.change
                    && let Some(at) = state.index_of(*user)
                    && let Some(member) = state.members.get_mut(at)
                {
                    (member.received, member.read) = (0, 0);
                }
            }
        }
        Some(Arc::new(state))
    }

    /// Inserts documents in order, and finds out what became of them however that ends. How many are committed, why the
    /// others are not, and whether it is unknown of any.
    async fn insert(&self, docs: &[Doc]) -> (usize, Why, bool) {
        let (began, mut count, mut unsure) = (Instant::now(), 0, false);
        if docs.is_empty() {
            return (0, Why::Done, false);
        }
        loop {
            let error = match self.store.insert(self.node, &docs[count..]).await {
                Ok(inserted) => {
                    count += inserted.count;
                    if !inserted.taken {
                        return (count, Why::Done, unsure);
                    }
                    None
                }
                Err(error) => Some(error),
            };
            let timed_out = matches!(error, Some(StoreError::Timeout));
            if timed_out && self.sim.has(Defect::LostReplyIsFailure) {
                return (count, Why::Failed(CommitError::Unavailable), false);
            }
            unsure |= timed_out;
            let forgets = self.sim.has(Defect::UnsureThenRefused);
            match self.ours(&docs[count..]).await {
                Ok(more) => {
                    count += more;
                    if count == docs.len() {
                        return (count, Why::Done, unsure);
                    }
                    match error {
                        None if more == 0 => return (count, Why::Lost, unsure),
                        Some(StoreError::Unavailable(_)) if more == 0 && (forgets || !unsure) => {
                            return (count, Why::Failed(CommitError::Unavailable), false);
                        }
                        _ => {}
                    }
                }
                Err(_) if began.elapsed() < PATIENCE => sleep(Duration::from_millis(20)).await,
                Err(_) => return (count, Why::Failed(CommitError::Timeout), true),
            }
            if began.elapsed() > PATIENCE {
                return (count, Why::Failed(CommitError::Timeout), true);
            }
            sleep(self.sim.while_of(5, 40)).await;
        }
    }

    /// How many of these documents a majority has, from the first on.
    async fn ours(&self, docs: &[Doc]) -> Result<usize, StoreError> {
        let look = |inner: &Inner| {
            let lane = docs.first().and_then(|doc| inner.lanes.get(&doc.lane));
            let is_ours = |doc: &&Doc| {
                let by = lane.and_then(|lane| lane.get(doc.n as usize - 1));
                by == Some(&doc.by)
            };
            docs.iter().take_while(is_ours).count()
        };
        self.store.read(self.node, look).await
    }

    /// With the defect, what is about to be committed is delivered already; the answer comes later.
    async fn publish(&self, run: &[Submission], applied: &[Applied]) {
        let early = run.iter().zip(applied).filter_map(|(submission, applied)| {
            let Ok(Outcome::Committed(committed)) = &applied.result else {
                return None;
            };
            Some(Settlement {
                change: submission.change.clone(),
                origin: Origin::None,
                result: Ok(Outcome::Committed(committed.clone())),
            })
        });
        let early: Vec<Settlement> = early.collect();
        if !early.is_empty() {
            let _ = self.settlements.send(early).await;
        }
    }

    async fn give_up(&self, run: Vec<Submission>, unsure: bool) {
        let error = match unsure && !self.sim.has(Defect::UnsureThenRefused) {
            true => CommitError::Timeout,
            false => CommitError::Unavailable,
        };
        let failed = run
            .into_iter()
            .map(|submission| (submission, Err(error.clone())));
        self.settle(failed.collect()).await;
    }

    async fn settle(&self, done: Vec<(Submission, Result<Outcome, CommitError>)>) {
        if done.is_empty() {
            return;
        }
        let once = |submission: &Submission| is_asked_once(&submission.change);
        let unsure = |(submission, result): &(Submission, _)| {
            once(submission) && matches!(result, Err(CommitError::Timeout))
        };
        if done.iter().any(unsure) {
            self.sim.may_be_untold();
        }
        let count = done.iter().filter(|(submission, _)| once(submission));
        self.asked_once.fetch_sub(count.count(), Ordering::Relaxed);
        self.in_flight
            .leave(done.iter().map(|(submission, _)| &submission.change));
        let settlement = |(submission, result): (Submission, _)| Settlement {
            change: submission.change,
            origin: submission.origin,
            result,
        };
        let mut settled: Vec<Settlement> = done.into_iter().map(settlement).collect();
        if self.sim.has(Defect::SettlementsSwapped) && settled.len() > 1 {
            settled.swap(0, 1);
        }
        let _ = self.settlements.send(settled).await;
    }

    /// Puts what was committed into the feed, behind the ack.
    fn tell(&self, lane: ConversationId, docs: &[Doc]) {
        let told: Vec<_> = docs.iter().map(|doc| (lane, doc.n)).collect();
        if let Some(log) = self.this.upgrade().filter(|_| !told.is_empty()) {
            self.tasks.spawn(log.put_in_feed(told));
        }
    }

    pub async fn put_in_feed(self: Arc<Self>, told: Vec<(ConversationId, u64)>) {
        let twice = self.sim.has(Defect::FeedTellsTwice);
        let put = |inner: &mut Inner| {
            for (lane, n) in told {
                // In the order of its lane, whoever tells it.
                let earlier: Vec<_> = inner.untold.range((lane, 0)..(lane, n)).copied().collect();
                for told in earlier.into_iter().chain([(lane, n)]) {
                    if inner.untold.remove(&told) || (twice && inner.made.contains_key(&told)) {
                        inner.feed.push(told);
                    }
                }
            }
            inner.feed.len() as u64
        };
        if let Ok(length) = self.store.write(self.node, put).await {
            self.commits.send_replace(length);
        }
    }

    /// Finds what others have told, and what a node left untold; again and again.
    pub async fn sweep(self: Arc<Self>) {
        loop {
            sleep(Duration::from_millis(700)).await;
            let found = self.store.read(self.node, |inner| {
                (
                    inner.untold.iter().copied().collect::<Vec<_>>(),
                    inner.feed.len() as u64,
                )
            });
            if let Ok((untold, length)) = found.await {
                self.commits.send_replace(length);
                if !untold.is_empty() && !self.sim.has(Defect::FeedSkipsAPlace) {
                    self.clone().put_in_feed(untold).await;
                }
            }
        }
    }

    pub fn waiting(&self) -> usize {
        self.gate.lock().waiting
    }

    /// Whether something is not settled that nobody asks for again.
    pub fn any_asked_once(&self) -> bool {
        self.asked_once.load(Ordering::Relaxed) > 0
    }
}
