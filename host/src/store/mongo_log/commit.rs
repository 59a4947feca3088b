//! Committing what waits in a lane: a run of changes becomes a run of documents, numbered from the lane's newest commit on,
//! inserted in order with one command. Whoever comes second to a number reads the lane anew and tries again (I3). Nothing is
//! settled before a majority has its document (I1); what became of a command that was not answered is looked up first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use tokio::runtime::Handle;

use super::Shared;
use super::apply::About;
use super::compose::Composer;
use super::docs::{self, get_int, get_text};
use super::engine::{Put, Reads, Seen};
use super::feed::Commit;
use super::insert::{Inserted, Why, failed, insert, told};
use super::lanes::{Known, Lane, Waiting, namespace_of};
use super::schema::ENTRIES;
use super::settle::{Outgoing, Settled};
use crate::store::log::answers::AnswerRow;
use crate::store::log::batch::Batch;
use crate::store::log::engine::Table;
use crate::store::log::heads::State;
use crate::store::log::key;
use crate::store::{Change, CommitError, StoreError};

/// Changes of one run.
const RUN_MOST: usize = 256;
/// How long changes are tried, from when they were taken in, the wait behind others included: whoever asked for one is
/// answered that and one command's time later at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rounds that even a run has which waited for so long before it was come to.
const ROUNDS_LEAST: u32 = 3;

/// A change of a run with what came of it, and the document that commits it if it needs one.
struct Applied {
    result: Settled,
    document: Option<Document>,
    /// What it leaves of the conversation.
    state: Option<Arc<State>>,
}

impl Applied {
    /// It is answered without anything being committed, and not as was asked.
    fn is_refused(&self) -> bool {
        self.document.is_none() && self.result.is_err()
    }
}

/// Works in a lane until nothing waits there. Blocks.
pub fn work(shared: &Arc<Shared>, lane: &Arc<Lane>, handle: &Handle) {
    loop {
        let taken = shared.lanes.next(lane, RUN_MOST);
        if taken.is_empty() {
            return;
        }
        if let Some(namespace) = namespace_of(&lane.name) {
            // What entries have written there so far comes before what the plugin itself writes.
            let about = About::Namespace(namespace.to_owned());
            if let Err(error) = handle.block_on(shared.catch_up(about)) {
                tracing::debug!(%error, "effects may not be projected yet");
            }
        }
        let mut outgoing = Outgoing::new(shared);
        {
            let mut held = lane.work.blocking_lock();
            let mut worker = Worker {
                shared,
                lane,
                handle,
                held: &mut held,
                outgoing: &mut outgoing,
            };
            worker.work(taken);
        }
        outgoing.flush();
    }
}

/// Who holds a lane.
struct Worker<'a, 's> {
    shared: &'a Arc<Shared>,
    lane: &'a Arc<Lane>,
    handle: &'a Handle,
    held: &'a mut Option<Known>,
    outgoing: &'a mut Outgoing<'s>,
}

impl Worker<'_, '_> {
    /// Changes in their order: runs of those that are numbered, the others one by one.
    fn work(&mut self, taken: Vec<Waiting>) {
        let mut run = Vec::new();
        for waiting in taken {
            if !is_own(&waiting.submission.change) {
                run.push(waiting);
                continue;
            }
            self.commit(std::mem::take(&mut run));
            let own = self.shared.change_own(self.held, self.lane, &waiting);
            let done = self.handle.block_on(own);
            self.outgoing.settle(vec![(waiting, done)]);
        }
        self.commit(run);
    }

    fn commit(&mut self, mut run: Vec<Waiting>) {
        let began = run.iter().map(|waiting| waiting.since).min();
        let deadline = began.unwrap_or_else(Instant::now) + PATIENCE;
        // An attempt at what is left was not answered.
        let mut unsure = false;
        let mut rounds = 0;
        while !run.is_empty() {
            rounds += 1;
            if namespace_of(&self.lane.name).is_some() {
                // Old commits of it are taken away: what is remembered may not be too old.
                *self.held = None;
            }
            let low = self.shared.ids.last();
            self.shared.notes.begin(low);
            let round = Round {
                shared: self.shared,
                lane: self.lane,
                handle: self.handle,
                low,
                deadline,
                unsure: &mut unsure,
            };
            run = match round.go(self.held, run, self.outgoing) {
                Ok(rest) => rest,
                Err((error, rest)) => {
                    self.shared.notes.end(low);
                    tracing::warn!(%error, lane = self.lane.name, "a run of changes was not committed");
                    *self.held = None;
                    return self.give_up(rest, &told(&error, unsure));
                }
            };
            if Instant::now() > deadline && rounds >= ROUNDS_LEAST {
                let error = StoreError::Unavailable("others were faster".to_owned());
                self.give_up(std::mem::take(&mut run), &told(&error, unsure));
            }
        }
    }

    fn give_up(&mut self, run: Vec<Waiting>, error: &CommitError) {
        let failed = run.into_iter().map(|waiting| (waiting, Err(error.clone())));
        self.outgoing.settle(failed.collect());
    }
}

/// Changes of one document, which need no number.
fn is_own(change: &Change) -> bool {
    matches!(
        change,
        Change::Receipt { .. }
            | Change::Prefs { .. }
            | Change::Profile { .. }
            | Change::MediaSeen { .. }
    )
}

pub fn commit_error(error: &StoreError) -> CommitError {
    match error {
        StoreError::Timeout => CommitError::Timeout,
        _ => CommitError::Unavailable,
    }
}

/// One attempt at a run.
struct Round<'a> {
    shared: &'a Arc<Shared>,
    lane: &'a Arc<Lane>,
    handle: &'a Handle,
    low: u64,
    deadline: Instant,
    unsure: &'a mut bool,
}

impl Round<'_> {
    /// Commits and settles what it can; gives back what another node was faster than.
    fn go(
        self,
        held: &mut Option<Known>,
        run: Vec<Waiting>,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<Vec<Waiting>, (StoreError, Vec<Waiting>)> {
        let is_held = held.is_some();
        let prepared = self.known(held).and_then(|known| {
            let answers = self.answers(&run)?;
            let applied = self.apply(&known, answers, &run)?;
            Ok((known, applied))
        });
        let (mut known, applied) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err((error, run)),
        };
        if is_held && applied.iter().any(Applied::is_refused) {
            // A refusal takes no number that another node could be faster with: it has to follow from the newest commit,
            // not from one that is remembered.
            self.shared.notes.end(self.low);
            return Ok(run);
        }
        let documents: Vec<Document> = applied
            .iter()
            .filter_map(|applied| applied.document.clone())
            .collect();
        let inserted = if documents.is_empty() {
            Inserted {
                count: 0,
                why: Why::Done,
                unsure: false,
            }
        } else {
            self.handle
                .block_on(insert(self.shared, &documents, self.deadline))
        };
        let (mut done, mut rest, mut written) = (Vec::new(), Vec::new(), 0);
        for (waiting, applied) in run.into_iter().zip(applied) {
            let missed = written == inserted.count && applied.document.is_some();
            if missed || !rest.is_empty() {
                rest.push(waiting);
                continue;
            }
            written += usize::from(applied.document.is_some());
            if applied.state.is_some() {
                known.state = applied.state;
            }
            done.push((waiting, applied.result));
        }
        if let Some(last) = documents[..inserted.count].last() {
            known.n = get_int(last, "n").unwrap_or(known.n);
            known.stamp = get_int(last, "s").unwrap_or(known.stamp);
        }
        self.shared.notes.end(self.low);
        *self.unsure |= inserted.unsure;
        self.count(&inserted);
        let failed = match inserted.why {
            Why::Failed(error) => std::mem::take(&mut rest)
                .into_iter()
                .map(|waiting| (waiting, Err(failed(&error, *self.unsure))))
                .collect(),
            Why::Done | Why::Lost => Vec::new(),
        };
        let went_well = failed.is_empty() && rest.is_empty();
        done.extend(failed);
        outgoing.settle(done);
        let projected = self.project(&documents[..inserted.count]);
        *held = (went_well && projected).then_some(known);
        Ok(rest)
    }

    fn count(&self, inserted: &Inserted) {
        let shared = self.shared;
        if inserted.count > 0 {
            shared.runs.fetch_add(1, Ordering::Relaxed);
            let changes = inserted.count as u64;
            shared.changes.fetch_add(changes, Ordering::Relaxed);
        }
        if matches!(inserted.why, Why::Lost) {
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The lane's newest commit, with everything before it projected.
    fn known(&self, held: &mut Option<Known>) -> Result<Known, StoreError> {
        match held.take() {
            Some(known) => Ok(known),
            None => self.handle.block_on(self.shared.read_lane(self.lane)),
        }
    }

    /// Which client ids of a run are answered already.
    fn answers(&self, run: &[Waiting]) -> Result<HashMap<String, AnswerRow>, StoreError> {
        let names: Vec<String> = run
            .iter()
            .filter_map(|waiting| own_answer(&waiting.submission.change))
            .collect();
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let filter = doc! {"c": &self.lane.name, "k": {"$in": names}};
        let fields = doc! {"k": 1, "a": 1};
        let asked = self
            .shared
            .mongo
            .find_fields(ENTRIES, filter, (doc! {}, 0, fields));
        let found = self.handle.block_on(asked)?;
        let mut answers = HashMap::new();
        for document in &found {
            let (Some(name), Some(row)) = (get_text(document, "k"), docs::get_blob(document, "a"))
            else {
                continue;
            };
            answers.insert(name.to_owned(), AnswerRow::decode(row)?);
        }
        Ok(answers)
    }

    /// What each change of a run does, one after another.
    fn apply(
        &self,
        known: &Known,
        answers: HashMap<String, AnswerRow>,
        run: &[Waiting],
    ) -> Result<Vec<Applied>, StoreError> {
        // Whatever was committed here by another node's clock is earlier.
        self.shared.ids.raise(known.stamp);
        let now = self.shared.clock.now_ms();
        let answered: HashSet<String> = answers.keys().cloned().collect();
        let by = format!("{}.{:x}", self.shared.node.owner(), rand::random::<u64>());
        let mut composer = Composer::new(&self.lane.name, by, answered);
        let mut engine = Reads::new(
            self.shared,
            self.handle.clone(),
            known.state.clone(),
            answers,
        );
        let (puts, seen) = (engine.puts(), engine.seen());
        let mut batch = Batch::new(&mut engine, now, run.len());
        let (mut n, mut head) = (known.n, known.state.as_ref().map_or(0, |state| state.head));
        let mut applied = Vec::with_capacity(run.len());
        for waiting in run {
            let mut change = waiting.submission.change.clone();
            let result = batch.apply(&mut change)?;
            batch.put_changed_members();
            let left = conversation_of(&change).and_then(|id| batch.known(id));
            let state = left.map(|state| Arc::new(state.clone()));
            let written = std::mem::take(&mut *puts.borrow_mut());
            let mut document = None;
            self.count_used(&written);
            if !written.is_empty() {
                n += 1;
                let stamp = self.shared.ids.next(now);
                tell_earlier_members(&mut composer, known, &seen, &written);
                composer.next(own_answer(&change));
                let made = composer.document(written, (n, stamp), head, state.as_deref())?;
                document = Some(made);
            }
            head = state.as_ref().map_or(head, |state| state.head);
            applied.push(Applied {
                result,
                document,
                state,
            });
        }
        Ok(applied)
    }

    /// The room a namespace takes is summed up now and then only: what is written meanwhile is counted.
    fn count_used(&self, written: &[Put]) {
        let used = written
            .iter()
            .filter(|put| put.key.first() == Some(&key::KV_USED));
        for put in used.filter(|put| put.table == Table::Rows) {
            // Taken away, there is nothing.
            let value = put.value.as_deref().unwrap_or(&[0; 8]);
            let bytes = value.try_into().ok();
            if let (Ok(namespace), Some(bytes)) = (std::str::from_utf8(&put.key[1..]), bytes) {
                self.shared
                    .notes
                    .count_used(namespace, u64::from_be_bytes(bytes));
            }
        }
    }

    /// Projects what was committed, and has it told. What fails here is done by whoever comes next.
    fn project(&self, documents: &[Document]) -> bool {
        if documents.is_empty() {
            return true;
        }
        let applied = self.handle.block_on(self.shared.apply(documents));
        if let Err(error) = &applied {
            tracing::warn!(%error, lane = self.lane.name, "a commit is not projected yet");
            return false;
        }
        let newest = documents.last().and_then(|last| get_int(last, "n"));
        let newest = newest.unwrap_or_default();
        self.lane.note_applied(newest);
        let commits = documents.iter().map(Commit::of).collect();
        self.handle.block_on(self.shared.teller.tell(commits));
        if namespace_of(&self.lane.name).is_some()
            && let Err(error) = self
                .handle
                .block_on(self.shared.prune(&self.lane.name, newest))
        {
            tracing::debug!(%error, "old commits of a namespace are still there");
        }
        true
    }
}

/// How members stood before the run, for those whose rows a change has written: none is written that was not read.
fn tell_earlier_members(composer: &mut Composer<'_>, known: &Known, seen: &Seen, written: &[Put]) {
    for (conversation, user) in composer.unknown(written) {
        let of_state = known.state.as_ref().and_then(|state| state.member(user));
        let of_group = || seen.borrow().get(&(conversation, user)).cloned().flatten();
        let member = of_state.cloned().or_else(of_group);
        composer.knows((conversation, user), member);
    }
}

/// What a change's client id is called among the lane's answers.
fn own_answer(change: &Change) -> Option<String> {
    let (author, key) = match change {
        Change::Append(append) => (append.author, append.key.as_ref()?),
        Change::Hold(hold) => (hold.author, hold.key.as_ref()?),
        Change::Command(answer) => (answer.author, &answer.key),
        Change::Drop { author, key, .. } => (*author, key),
        _ => return None,
    };
    Some(docs::answer_key(author, &key.client_id))
}

fn conversation_of(change: &Change) -> Option<crate::ids::ConversationId> {
    match change {
        Change::Append(append) => Some(append.conversation),
        Change::Hold(hold) => Some(hold.conversation),
        Change::Group(group) => Some(group.conversation),
        Change::Command(answer) => Some(answer.conversation),
        Change::Drop { conversation, .. } | Change::Erase { conversation, .. } => {
            Some(*conversation)
        }
        _ => None,
    }
}
