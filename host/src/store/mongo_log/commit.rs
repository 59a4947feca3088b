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
use super::compose::Composer;
use super::docs::{self, get_int, get_text};
use super::engine::Reads;
use super::feed::Commit;
use super::lanes::{Known, Lane, Waiting};
use super::schema::ENTRIES;
use crate::store::log::answers::AnswerRow;
use crate::store::log::batch::Batch;
use crate::store::log::engine::Engine;
use crate::store::log::heads::State;
use crate::store::{Change, CommitError, Outcome, Settlement, StoreError};

/// Changes of one run.
const RUN_MOST: usize = 256;
/// How long a run may go on losing or asking before it is given up.
const PATIENCE: Duration = Duration::from_secs(15);

type Settled = Result<Outcome, CommitError>;

/// A change of a run with what came of it, and the document that commits it if it needs one.
struct Applied {
    result: Settled,
    document: Option<Document>,
    /// What it leaves of the conversation.
    state: Option<Arc<State>>,
}

/// How an insertion ended: so many of the documents are committed; why the others are not.
struct Inserted {
    count: usize,
    why: Why,
}

enum Why {
    Done,
    /// Another node has this number.
    Lost,
    Failed(CommitError),
}

/// Works in a lane until nothing waits there. Blocks.
pub fn work(shared: &Arc<Shared>, lane: &Arc<Lane>, handle: &Handle) {
    loop {
        let taken = shared.lanes.next(lane, RUN_MOST);
        if taken.is_empty() {
            return;
        }
        let mut held = lane.work.blocking_lock();
        let mut run = Vec::new();
        for waiting in taken {
            if is_own(&waiting.submission.change) {
                commit(shared, lane, handle, &mut held, std::mem::take(&mut run));
                let done = handle.block_on(shared.change_own(&mut held, lane, &waiting));
                shared.settle(vec![(waiting, done)]);
            } else {
                run.push(waiting);
            }
        }
        commit(shared, lane, handle, &mut held, run);
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

fn commit(
    shared: &Arc<Shared>,
    lane: &Arc<Lane>,
    handle: &Handle,
    held: &mut Option<Known>,
    mut run: Vec<Waiting>,
) {
    let began = Instant::now();
    while !run.is_empty() {
        let low = shared.ids.last();
        shared.notes.begin(low);
        let round = Round {
            shared,
            lane,
            handle,
            low,
        };
        run = match round.go(held, run) {
            Ok(rest) => rest,
            Err((error, rest)) => {
                shared.notes.end(low);
                tracing::warn!(%error, lane = lane.name, "a run of changes was not committed");
                *held = None;
                give_up(shared, rest, commit_error(&error));
                return;
            }
        };
        if !run.is_empty() && began.elapsed() > PATIENCE {
            give_up(shared, std::mem::take(&mut run), CommitError::Unavailable);
        }
    }
}

fn give_up(shared: &Arc<Shared>, run: Vec<Waiting>, error: CommitError) {
    let failed = run.into_iter().map(|waiting| (waiting, Err(error.clone())));
    shared.settle(failed.collect());
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
}

impl Round<'_> {
    /// Commits and settles what it can; gives back what another node was faster than.
    fn go(
        self,
        held: &mut Option<Known>,
        run: Vec<Waiting>,
    ) -> Result<Vec<Waiting>, (StoreError, Vec<Waiting>)> {
        let prepared = self.known(held).and_then(|known| {
            let answers = self.answers(&run)?;
            let applied = self.apply(&known, answers, &run)?;
            Ok((known, applied))
        });
        let (mut known, applied) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err((error, run)),
        };
        let documents: Vec<Document> = applied
            .iter()
            .filter_map(|applied| applied.document.clone())
            .collect();
        let inserted = if documents.is_empty() {
            Inserted {
                count: 0,
                why: Why::Done,
            }
        } else {
            self.handle.block_on(insert(self.shared, &documents))
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
        self.count(&inserted);
        let failed = match inserted.why {
            Why::Failed(error) => std::mem::take(&mut rest)
                .into_iter()
                .map(|waiting| (waiting, Err(error.clone())))
                .collect(),
            Why::Done | Why::Lost => Vec::new(),
        };
        let went_well = failed.is_empty() && rest.is_empty();
        done.extend(failed);
        self.shared.settle(done);
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
            answers.clone(),
        );
        let before = Reads::new(self.shared, self.handle.clone(), None, HashMap::new());
        let puts = engine.puts();
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
            if !written.is_empty() {
                n += 1;
                let stamp = self.shared.ids.next(now);
                self.tell_earlier_members(&mut composer, known, &before, &written)?;
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

    /// How members stood before the run, for those whose rows a change has written.
    fn tell_earlier_members(
        &self,
        composer: &mut Composer<'_>,
        known: &Known,
        before: &Reads<'_>,
        written: &[super::engine::Put],
    ) -> Result<(), StoreError> {
        for (conversation, user) in composer.unknown(written) {
            let of_state = known.state.as_ref().and_then(|state| state.member(user));
            let member = match of_state {
                Some(member) => Some(member.clone()),
                None => before.member(conversation, user)?,
            };
            composer.knows((conversation, user), member);
        }
        Ok(())
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
        self.lane.note_applied(newest.unwrap_or_default());
        let commits = documents.iter().map(Commit::of).collect();
        self.handle.block_on(self.shared.teller.tell(commits));
        true
    }
}

/// Inserts documents in order, and finds out what became of them however that ends.
async fn insert(shared: &Shared, documents: &[Document]) -> Inserted {
    let began = Instant::now();
    let mut count = 0;
    loop {
        shared.inserts.fetch_add(1, Ordering::Relaxed);
        let error = match shared
            .mongo
            .insert(ENTRIES, &documents[count..], true)
            .await
        {
            Ok(written) => {
                count += written
                    .duplicates
                    .first()
                    .map_or(written.count as usize, |at| *at);
                if written.duplicates.is_empty() {
                    let why = Why::Done;
                    return Inserted { count, why };
                }
                None
            }
            Err(error) => Some(error),
        };
        // Refused, or not answered: the document that has our number may be our own, of an attempt before.
        match ours(shared, &documents[count..]).await {
            Ok(more) => {
                count += more;
                if count == documents.len() {
                    let why = Why::Done;
                    return Inserted { count, why };
                }
                let why = match &error {
                    None => Some(Why::Lost),
                    Some(StoreError::Timeout) => None,
                    Some(other) => Some(Why::Failed(commit_error(other))),
                };
                if let Some(why) = why.filter(|_| more == 0) {
                    return Inserted { count, why };
                }
            }
            Err(_) if began.elapsed() < PATIENCE => {}
            Err(_) => {
                let error = error.as_ref().map_or(CommitError::Timeout, commit_error);
                let why = Why::Failed(error);
                return Inserted { count, why };
            }
        }
        if began.elapsed() > PATIENCE {
            let why = Why::Failed(CommitError::Timeout);
            return Inserted { count, why };
        }
    }
}

/// How many of these documents a majority has, from the first on without a gap.
async fn ours(shared: &Shared, documents: &[Document]) -> Result<usize, StoreError> {
    let ids: Vec<&str> = documents
        .iter()
        .filter_map(|document| get_text(document, "_id"))
        .collect();
    let Some(by) = documents.first().and_then(|first| get_text(first, "by")) else {
        return Ok(0);
    };
    let filter = doc! {"_id": {"$in": &ids}, "by": by};
    let asked = (doc! {"_id": 1}, 0, doc! {"_id": 1});
    let found = shared.mongo.find_fields(ENTRIES, filter, asked).await?;
    let same = found
        .iter()
        .zip(&ids)
        .take_while(|(document, id)| get_text(document, "_id") == Some(id));
    Ok(same.count())
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

impl Shared {
    /// Tells whoever waits what came of changes; the changes that waited for these too.
    pub fn settle(&self, done: Vec<(Waiting, Settled)>) {
        if done.is_empty() {
            return;
        }
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
        settled.extend(
            turned
                .into_iter()
                .map(|turn| settlement(turn, Ok(Outcome::Done))),
        );
        // A full channel waits here: what is not delivered yet holds back what is committed next (I5).
        if self.settlements.blocking_send(settled).is_err() {
            let why = "nobody takes settlements any more";
            self.lanes.break_down(why.to_owned());
        }
    }
}

impl Shared {
    /// Settles the turns that nothing before is under way of.
    pub fn settle_turns(&self) {
        let turned = self.lanes.settled(std::iter::empty());
        let settled: Vec<Settlement> = turned
            .into_iter()
            .map(|turn| settlement(turn, Ok(Outcome::Done)))
            .collect();
        if !settled.is_empty() && self.settlements.blocking_send(settled).is_err() {
            let why = "nobody takes settlements any more";
            self.lanes.break_down(why.to_owned());
        }
    }
}

fn settlement(waiting: Waiting, result: Settled) -> Settlement {
    Settlement {
        change: waiting.submission.change,
        origin: waiting.submission.origin,
        result,
    }
}
