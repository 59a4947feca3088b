//! One write batch in the making: changes applied one after another, each seeing those before it. What it reads of
//! earlier commits, and where its rows go, is the engine's; what a change does is the same for all of them.

mod append;
mod beside;
mod erase;
pub mod groups;
mod hold;
mod kv;
mod media;
mod target;

use std::sync::Arc;

use super::answers::{AnswerRow, StoredAnswer};
use super::engine::{Engine, Table};
use super::feed::{self, Told};
use super::heads::State;
use super::key;
use super::kv_row::KvRow;
use super::rosters::Move;
use super::rows::EntryRow;
use crate::conversation::{Conversation, Kind, Member};
use crate::entry::{Body, Entry, Seq};
use crate::ids::{ConversationId, HoldId, JoinRequestId, UserId};
use crate::maps::{HashMap, HashSet};
use crate::store::{
    Change, CommitError, FirstAnswer, HeldMessage, Outcome, Prefs, ResendKey, StoreError,
};

/// What most rows have room in.
const ROW_BYTES: usize = 512;

/// What `apply` gives: a settled change, or trouble that ends the batch.
pub type Applied = Result<Result<Outcome, CommitError>, StoreError>;

/// What a batch has to say to the feed.
#[derive(Default)]
pub struct News {
    /// New entries, in the order of their stamps.
    pub entries: Vec<Arc<Entry>>,
    /// Something else was told or changed.
    pub other: bool,
}

/// What is left of a batch when everything was applied: what those in memory are from now on.
pub struct Finished {
    pub states: HashMap<ConversationId, State>,
    pub moves: Vec<Move>,
    /// Keys of plugins' values that were written.
    pub kv: HashMap<Vec<u8>, Option<KvRow>>,
    pub news: News,
    /// Something was taken out of the log that must leave the disk too.
    pub erased: bool,
    pub stamp: u64,
    /// The newest stamp before the batch.
    pub before: u64,
}

pub struct Batch<'a> {
    pub(super) engine: &'a mut dyn Engine,
    pub(super) now: u64,
    states: HashMap<ConversationId, State>,
    /// `None` is erased.
    entries: HashMap<(ConversationId, Seq), Option<EntryRow>>,
    answers: HashMap<Vec<u8>, AnswerRow>,
    /// Members of groups; those of other kinds stand in the state.
    members: HashMap<(ConversationId, UserId), Member>,
    /// Whose rows are to be written with the batch: once, however often they changed in it.
    changed: HashSet<(ConversationId, UserId)>,
    held: HashMap<HoldId, Option<HeldMessage>>,
    /// Who became or ceased to be a member of a group.
    moves: Vec<Move>,
    /// Join requests that were made or settled: of (group, user).
    requests: HashMap<(ConversationId, UserId), Option<JoinRequestId>>,
    /// Reactions: whether it is there, and the entry that says so. `None` is erased.
    reactions: HashMap<Vec<u8>, Option<(bool, Seq)>>,
    /// Plugins' values; `None` is deleted.
    kv: HashMap<Vec<u8>, Option<KvRow>>,
    /// Bytes each namespace has.
    kv_used: HashMap<String, u64>,
    /// Something was taken out of the log that must leave the disk too.
    erased: bool,
    stamp: u64,
    /// The newest stamp before the batch.
    before: u64,
    /// What those who follow the feed closely are told.
    pub(super) news: News,
    /// Where a row is encoded before the engine copies it.
    scratch: Vec<u8>,
}

impl<'a> Batch<'a> {
    /// A batch that about `changes` will be applied to.
    pub fn new(engine: &'a mut dyn Engine, now: u64, changes: usize) -> Self {
        let last = engine.last_stamp();
        Self {
            engine,
            now,
            states: HashMap::default(),
            entries: HashMap::with_capacity_and_hasher(changes, Default::default()),
            answers: HashMap::with_capacity_and_hasher(changes, Default::default()),
            members: HashMap::default(),
            changed: HashSet::default(),
            held: HashMap::default(),
            moves: Vec::new(),
            requests: HashMap::default(),
            reactions: HashMap::default(),
            kv: HashMap::default(),
            kv_used: HashMap::default(),
            erased: false,
            stamp: last,
            before: last,
            news: News::default(),
            scratch: Vec::with_capacity(ROW_BYTES),
        }
    }

    /// Applies one change to the batch. An outer error ends the batch.
    pub fn apply(&mut self, change: &mut Change) -> Applied {
        match change {
            Change::Append(append) => self.append(append),
            Change::Hold(hold) => self.hold(hold),
            Change::Group(change) => self.change_group(change),
            Change::Command(answer) => self.answer_command(answer),
            Change::Drop {
                conversation,
                author,
                key,
            } => self.drop_message(*conversation, *author, key),
            Change::Refuse { hold, reason } => self.refuse(*hold, reason),
            Change::Forget { hold } => self.forget(*hold),
            Change::Receipt {
                conversation,
                user,
                received,
                read,
            } => self.receipt(*conversation, *user, *received, *read),
            Change::Prefs {
                conversation,
                user,
                prefs,
            } => self.prefs(*conversation, *user, prefs),
            Change::Profile { conversation, user } => self.profile(*conversation, *user),
            Change::Erase {
                conversation,
                before,
            } => self.erase(*conversation, *before),
            Change::Kv(change) => self.change_kv(change),
            Change::KvDrop { namespace, most } => self.drop_kv(namespace, *most),
            Change::Turn { .. } => Ok(Ok(Outcome::Done)),
            Change::MediaSeen { media } => self.forget_left_media(media),
        }
    }

    /// Writes what is left to be written; what remains for memory.
    pub fn finish(mut self) -> Finished {
        self.put_changed_members();
        Finished {
            states: self.states,
            moves: self.moves,
            kv: self.kv,
            news: self.news,
            erased: self.erased,
            stamp: self.stamp,
            before: self.before,
        }
    }

    pub(super) fn next_stamp(&mut self) -> u64 {
        self.stamp = self.engine.next_stamp(self.now);
        self.stamp
    }

    pub(super) fn put_row(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.engine.put(Table::Rows, key.as_ref(), value.as_ref());
    }

    pub(super) fn remove_row(&mut self, key: Vec<u8>) {
        self.engine.remove(Table::Rows, &key);
    }

    /// A conversation's state as the changes so far leave it.
    pub(super) fn state(&mut self, id: ConversationId) -> Result<Option<&mut State>, StoreError> {
        if !self.states.contains_key(&id) {
            let loaded = self.engine.state(id)?;
            let Some(loaded) = loaded else {
                return Ok(None);
            };
            self.states.insert(id, (*loaded).clone());
        }
        Ok(self.states.get_mut(&id))
    }

    /// A conversation as the changes so far leave it, if any of them looked at it.
    pub fn known(&self, id: ConversationId) -> Option<&State> {
        self.states.get(&id)
    }

    pub fn put_state(&mut self, id: ConversationId, state: State) {
        self.states.insert(id, state);
    }

    pub fn put_conversation(&mut self, conversation: &Conversation, stamp: u64) {
        self.mark_avatar(conversation);
        let row = rmp_serde::to_vec_named(&(conversation, stamp)).expect("a conversation encodes");
        self.put_row(key::conversation(conversation.id), row);
    }

    pub(super) fn entry(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<EntryRow>, StoreError> {
        match self.entries.get(&(conversation, seq)) {
            Some(row) => Ok(row.clone()),
            None => self.engine.entry(conversation, seq),
        }
    }

    /// A new entry.
    pub(super) fn append_entry(&mut self, row: EntryRow) {
        self.news.entries.push(row.entry.clone());
        self.write_entry(row);
    }

    /// An entry that has changed: the feed's row of it is the same as it was.
    pub(super) fn put_entry(&mut self, row: EntryRow) {
        self.news.other = true;
        self.write_entry(row);
    }

    fn write_entry(&mut self, row: EntryRow) {
        let (conversation, seq) = (row.entry.conversation, row.entry.seq);
        self.tell(row.entry.id.0, Told::Entry, conversation, seq);
        self.scratch.clear();
        row.encode_into(&mut self.scratch);
        let place = key::entry(conversation, seq);
        self.engine.put(Table::Entries, &place, &self.scratch);
        self.entries.insert((conversation, seq), Some(row));
    }

    /// Tells the feed; `stamp` is the change's own, so that rows never meet.
    pub(super) fn tell(&mut self, stamp: u64, told: Told, conversation: ConversationId, seq: Seq) {
        self.news.other |= told != Told::Entry;
        let (key, value, length) = feed::row_of(stamp, told, conversation, seq);
        self.engine.put(Table::Feed, &key, &value[..length]);
    }

    /// A present member's row; `Gone` for everyone else.
    pub(super) fn member(
        &mut self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Result<Member, CommitError>, StoreError> {
        let gone = Err(CommitError::Gone("no longer a member of this conversation"));
        let Some(state) = self.state(conversation)? else {
            return Ok(Err(CommitError::Gone("no such conversation")));
        };
        let found = if state.conversation.kind == Kind::Group {
            if state.conversation.dissolved().is_some() {
                return Ok(gone);
            }
            self.group_member(conversation, user)?
        } else {
            state.member(user).cloned()
        };
        Ok(found
            .filter(|member| member.left.is_none())
            .map_or(gone, Ok))
    }

    /// The row of whoever is or was a member of a group.
    pub(super) fn group_member(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Member>, StoreError> {
        match self.members.get(&(conversation, user)) {
            Some(member) => Ok(Some(member.clone())),
            None => self.engine.member(conversation, user),
        }
    }

    pub(super) fn put_member(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        member: Member,
    ) {
        self.changed.insert((conversation, user));
        if let Some(state) = self.states.get_mut(&conversation)
            && let Some(at) = state.index_of(user)
            && state.conversation.kind != Kind::Group
        {
            state.members[at] = member;
        } else {
            self.members.insert((conversation, user), member);
        }
    }

    /// Rows of members are written once, after whatever changed them.
    pub fn put_changed_members(&mut self) {
        for (conversation, user) in std::mem::take(&mut self.changed) {
            let of_state = self.states.get(&conversation).and_then(|s| s.member(user));
            let Some(member) = self.members.get(&(conversation, user)).or(of_state) else {
                continue;
            };
            self.scratch.clear();
            rmp_serde::encode::write(&mut self.scratch, member).expect("a member encodes");
            let place = key::member(conversation, user);
            self.engine.put(Table::Rows, &place, &self.scratch);
        }
    }

    /// What a client id was answered with, if the content is the same.
    pub(super) fn first_answer(
        &mut self,
        conversation: ConversationId,
        author: UserId,
        key: &ResendKey,
    ) -> Result<Option<Result<StoredAnswer, CommitError>>, StoreError> {
        let place = key::answer(conversation, author, &key.client_id);
        let found = match self.answers.get(&place) {
            Some(row) => Some(row.clone()),
            None => self.engine.answer_at(&place)?,
        };
        Ok(found.map(|row| {
            if row.fingerprint == key.fingerprint {
                Ok(row.answer)
            } else {
                Err(CommitError::Conflict)
            }
        }))
    }

    pub(super) fn put_answer(
        &mut self,
        conversation: ConversationId,
        author: UserId,
        key: &ResendKey,
        answer: StoredAnswer,
    ) {
        let row = AnswerRow {
            fingerprint: key.fingerprint,
            answer,
        };
        let place = key::answer(conversation, author, &key.client_id);
        self.engine.put(Table::Answers, &place, &row.encode());
        self.answers.insert(place, row);
    }

    /// A stored first answer as the caller gets it.
    pub(super) fn resent(
        &mut self,
        conversation: ConversationId,
        answer: StoredAnswer,
    ) -> Result<FirstAnswer, StoreError> {
        Ok(match answer {
            StoredAnswer::Held(hold) => FirstAnswer::Held { hold },
            StoredAnswer::Dropped { .. } => FirstAnswer::Dropped,
            StoredAnswer::Command { reply, .. } => FirstAnswer::Command { reply },
            StoredAnswer::Refused { by, reason, .. } => FirstAnswer::Refused { by, reason },
            StoredAnswer::Committed { seq, id, replaced } => {
                let replaced = if replaced {
                    self.entry(conversation, seq)?
                } else {
                    None
                };
                FirstAnswer::Committed {
                    seq,
                    id,
                    replaced: replaced.and_then(acked_content),
                }
            }
        })
    }

    fn receipt(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        received: Seq,
        read: Seq,
    ) -> Applied {
        let mut member = match self.member(conversation, user)? {
            Ok(member) => member,
            Err(error) => return Ok(Err(error)),
        };
        let Some(state) = self.state(conversation)? else {
            return Ok(Err(CommitError::Gone("no such conversation")));
        };
        let (head, ordinal) = (state.head, state.header.ordinal);
        let read = member.read.max(read.min(head)); // I6
        let received = member.received.max(received.min(head)).max(read);
        if (received, read) == (member.received, member.read) {
            return Ok(Ok(Outcome::Member {
                member,
                moved: false,
                head,
            }));
        }
        if read != member.read {
            member.read_ordinal = if read == head {
                ordinal
            } else {
                self.ordinal_at(conversation, read)?
            };
            member.own_above.retain(|own| *own > read);
        }
        member.received = received;
        member.read = read;
        member.changed = self.next_stamp();
        member.receipt_changed = member.changed;
        self.put_member(conversation, user, member.clone());
        Ok(Ok(Outcome::Member {
            member,
            moved: true,
            head,
        }))
    }

    /// Messages up to and with an entry; of erased ones, as many as were erased.
    fn ordinal_at(&mut self, conversation: ConversationId, seq: Seq) -> Result<u64, StoreError> {
        if let Some(Some(row)) = self.entries.get(&(conversation, seq)) {
            return Ok(row.header.ordinal);
        }
        if let Some(state) = self.state(conversation)?
            && seq < state.floor.seq
        {
            return Ok(state.floor.header.ordinal);
        }
        let header = self.engine.header(conversation, seq)?;
        header
            .map(|header| header.ordinal)
            .ok_or_else(|| StoreError::Damaged(format!("entry {seq} is missing")))
    }

    fn prefs(&mut self, conversation: ConversationId, user: UserId, prefs: &Prefs) -> Applied {
        let before = match self.member(conversation, user)? {
            Ok(member) => member,
            Err(error) => return Ok(Err(error)),
        };
        let Some(state) = self.state(conversation)? else {
            return Ok(Err(CommitError::Gone("no such conversation")));
        };
        let (head, newest) = (state.head, state.header.last_message);
        let mut member = before.clone();
        member.pinned = prefs.pinned.unwrap_or(member.pinned);
        member.muted = prefs.muted.unwrap_or(member.muted);
        if let Some(hidden) = prefs.hidden {
            (member.hidden, member.hidden_at) = (hidden, newest);
        }
        if let Some(draft) = &prefs.draft {
            member.draft = Some(draft.clone()).filter(|draft| !draft.is_empty());
        }
        if member == before {
            return Ok(Ok(Outcome::Member {
                member,
                moved: false,
                head,
            }));
        }
        member.changed = self.next_stamp();
        self.put_member(conversation, user, member.clone());
        Ok(Ok(Outcome::Member {
            member,
            moved: true,
            head,
        }))
    }

    /// Only the other member's summary differs: the member's own row keeps its stamp.
    fn profile(&mut self, conversation: ConversationId, user: UserId) -> Applied {
        let mut member = match self.member(conversation, user)? {
            Ok(member) => member,
            Err(error) => return Ok(Err(error)),
        };
        let head = self.state(conversation)?.map_or(0, |state| state.head);
        member.profile_changed = self.next_stamp();
        self.put_member(conversation, user, member.clone());
        Ok(Ok(Outcome::Member {
            member,
            moved: true,
            head,
        }))
    }
}

/// The content that the ack of a message or an edit carried; gone once it was recalled.
pub fn acked_content(row: EntryRow) -> Option<Box<serde_json::value::RawValue>> {
    if row.acked.is_some() {
        return row.acked;
    }
    match &row.entry.body {
        Body::Message(message) => message.content.clone(),
        Body::Edit { content, .. } => content.clone(),
        _ => None,
    }
}
