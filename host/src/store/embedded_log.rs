//! The embedded message log: one LSM database, one thread that writes it. Implements `MessageLog`; knows no other
//! adapter. How rows look is in `rows`, what a change does in `batch`, when it is durable in `committer`.

mod beside;
mod committer;
mod engine;
mod extent;
mod feed;
mod housekeeping;
mod judged;
mod kv;
mod lists;
mod media;
mod membership;
mod portable;
mod readers;
mod scrub;
mod tables;
mod tail;
pub mod upkeep;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use self::committer::Shared;
use self::tables::{Tables, open_tables, unavailable};
use super::feed::{Feed, FeedPage, FeedPosition};
use super::groups::{JoinRequest, MemberRow, Roster};
use super::{
    Changes, CommitError, Extent, FirstAnswer, HeldMessage, InFlight, MessageLog, NotTaken, Page,
    Readers, ResendKey, Settlement, Span, Standing, StoreError, Submission,
};
use crate::clock::Clock;
use crate::conversation::{Kind, Member, Summary};
use crate::entry::{DecisionRecord, Entry, Seq};
use crate::ids::{ConversationId, HoldId, IdSource, JoinRequestId, MediaId, UserId};
use crate::store::log::answers::StoredAnswer;
use crate::store::log::batch::acked_content;
use crate::store::log::heads::{Heads, State};
use crate::store::log::key;
use crate::store::log::rosters::Rosters;

/// Conversations whose state is kept in memory.
const HEADS_MOST: usize = 65_536;
/// Members of groups whose place in a roster is kept in memory, 16 bytes each.
const ROSTERED_MOST: usize = 4_000_000;
/// Flushes whose settlements may wait to be delivered.
const SETTLED_BATCHES: usize = 64;

/// An open embedded log.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    folder: PathBuf,
    instance: u64,
    committer: Mutex<Option<JoinHandle<()>>>,
}

/// An open log and the channel its settlements come through.
pub type Opened = (Arc<EmbeddedLog>, mpsc::Receiver<Vec<Settlement>>);

impl EmbeddedLog {
    /// Opens the log in a folder, made when it is not there. Replays what a crash left in the journal.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Opened, StoreError> {
        let tables = open_tables(folder)?;
        let meta = |name: &str| -> Result<Option<u64>, StoreError> {
            Ok(tables
                .row(&key::meta(name))?
                .and_then(|bytes| bytes.try_into().ok())
                .map(u64::from_be_bytes))
        };
        let instance = match meta("instance")? {
            Some(instance) => instance,
            None => {
                let instance: u64 = rand::random();
                tables
                    .rows
                    .insert(key::meta("instance"), instance.to_be_bytes())
                    .map_err(unavailable)?;
                instance
            }
        };
        let ids = IdSource::new(0, meta("stamp")?.unwrap_or(0));
        let erased_since = meta(engine::ERASED)?.unwrap_or(0);
        let beside = beside::load(&tables)?;
        let shared = Arc::new(Shared::new(
            (tables, erased_since, beside),
            (Heads::new(HEADS_MOST), Rosters::new(ROSTERED_MOST)),
            ids,
            clock,
        ));
        let (sender, receiver) = mpsc::channel(SETTLED_BATCHES);
        let committer = shared.clone();
        let thread = std::thread::Builder::new()
            .name("kith-committer".to_owned())
            .spawn(move || committer::run(&committer, &sender))
            .map_err(unavailable)?;
        Ok((
            Arc::new(Self {
                shared,
                folder: folder.to_owned(),
                instance,
                committer: Mutex::new(Some(thread)),
            }),
            receiver,
        ))
    }

    fn tables(&self) -> &Tables {
        &self.shared.tables
    }

    fn state(&self, id: ConversationId) -> Result<Option<Arc<State>>, StoreError> {
        self.shared.heads.get(id, || self.shared.tables.state(id))
    }

    fn group_roster(&self, id: ConversationId) -> Result<Roster, StoreError> {
        let load = || self.shared.tables.member_page(id, None, usize::MAX);
        self.shared.rosters.get(id, load)
    }

    /// The row of whoever is or was a member; with a group's end everyone has left.
    fn member_of(&self, state: &State, user: UserId) -> Result<Option<Member>, StoreError> {
        if state.conversation.kind != Kind::Group {
            return Ok(state.member(user).cloned());
        }
        let found = self.tables().member(state.conversation.id, user)?;
        Ok(found.map(|member| Member {
            left: member.left.or(state.conversation.dissolved()),
            ..member
        }))
    }
}

#[async_trait]
impl MessageLog for EmbeddedLog {
    fn submit(&self, submission: Submission) -> Result<(), NotTaken> {
        self.shared.submit(submission)
    }

    async fn standing(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Standing>, StoreError> {
        // Before the state: what settles in between is counted twice rather than not at all.
        let in_flight = self.shared.in_flight.of(conversation, user).messages;
        let Some(state) = self.state(conversation)? else {
            return Ok(None);
        };
        let member = self.member_of(&state, user)?;
        Ok(Some(Standing {
            conversation: state.conversation.clone(),
            member,
            head: state.head,
            unanswered: state.unanswered(user).saturating_add(in_flight),
            answered: state.answered(user),
            floor: state.floor.seq,
        }))
    }

    fn in_flight(&self, conversation: ConversationId, user: UserId) -> InFlight {
        self.shared.in_flight.of(conversation, user)
    }

    async fn first_answer(
        &self,
        conversation: ConversationId,
        author: UserId,
        key: &ResendKey,
    ) -> Result<Option<Result<FirstAnswer, CommitError>>, StoreError> {
        let Some(row) = self.tables().answer(conversation, author, &key.client_id)? else {
            return Ok(None);
        };
        if row.fingerprint != key.fingerprint {
            return Ok(Some(Err(CommitError::Conflict)));
        }
        let first = match row.answer {
            StoredAnswer::Held(hold) => FirstAnswer::Held { hold },
            StoredAnswer::Dropped { .. } => FirstAnswer::Dropped,
            StoredAnswer::Command { reply, .. } => FirstAnswer::Command { reply },
            StoredAnswer::Refused { by, reason, .. } => FirstAnswer::Refused { by, reason },
            StoredAnswer::Committed { seq, id, replaced } => {
                let row = if replaced {
                    self.tables().entry(conversation, seq)?
                } else {
                    None
                };
                FirstAnswer::Committed {
                    seq,
                    id,
                    replaced: row.and_then(acked_content),
                }
            }
        };
        Ok(Some(Ok(first)))
    }

    async fn page(
        &self,
        conversation: ConversationId,
        reader: UserId,
        span: Span,
    ) -> Result<Page, StoreError> {
        let none = Page {
            entries: Vec::new(),
            head: 0,
            floor: 1,
        };
        let Some(state) = self.state(conversation)? else {
            return Ok(none);
        };
        let member = self.member_of(&state, reader)?;
        let visible_from = member.map_or(1, |member| member.visible_from.max(1));
        let floor = visible_from.max(state.floor.seq);
        let first = span
            .after
            .map_or(floor, |after| after.saturating_add(1).max(floor));
        let last = span.before.map_or(state.head, |before| {
            before.saturating_sub(1).min(state.head)
        });
        let entries = self.tables().stretch(
            conversation,
            (first, last),
            span.limit,
            span.after.is_none(),
        )?;
        Ok(Page {
            entries,
            head: state.head,
            floor,
        })
    }

    async fn entry(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<(Arc<Entry>, DecisionRecord)>, StoreError> {
        Ok(self
            .tables()
            .entry(conversation, seq)?
            .map(|row| (row.entry, row.record)))
    }

    async fn members(&self, conversation: ConversationId) -> Result<Arc<[UserId]>, StoreError> {
        match self.state(conversation)? {
            Some(state) if state.conversation.kind != Kind::Group => {
                Ok(state.conversation.users.as_slice().into())
            }
            Some(_) => Ok(self.group_roster(conversation)?.users),
            None => Ok(Arc::from([])),
        }
    }

    async fn direct_conversations(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        self.tables().direct_conversations(user, after, limit)
    }

    async fn roster(&self, conversation: ConversationId) -> Result<Roster, StoreError> {
        self.group_roster(conversation)
    }

    async fn member_page(
        &self,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        self.tables().member_page(conversation, after, limit)
    }

    async fn members_among(
        &self,
        conversation: ConversationId,
        users: &[UserId],
    ) -> Result<Vec<MemberRow>, StoreError> {
        let mut found = Vec::new();
        for user in users {
            let member = self.tables().member(conversation, *user)?;
            if let Some(member) = member.filter(|member| member.left.is_none()) {
                found.push((*user, member));
            }
        }
        Ok(found)
    }

    async fn join_requests(
        &self,
        conversation: ConversationId,
        after: Option<JoinRequestId>,
        limit: usize,
    ) -> Result<Vec<JoinRequest>, StoreError> {
        self.tables().join_requests(conversation, after, limit)
    }

    async fn readers(
        &self,
        entry: &Entry,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Readers, StoreError> {
        readers::readers(self, entry, after, limit).await
    }

    async fn extents(
        &self,
        after: Option<ConversationId>,
        limit: usize,
        all: bool,
    ) -> Result<(Vec<Extent>, Option<ConversationId>), StoreError> {
        extent::extents(self.tables(), after, limit, all)
    }

    async fn first_since(
        &self,
        conversation: ConversationId,
        from: Seq,
        since_ms: u64,
        most: usize,
    ) -> Result<Seq, StoreError> {
        extent::first_since(self.tables(), conversation, from, since_ms, most)
    }

    async fn summary(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Summary>, StoreError> {
        lists::summary(self, conversation, user)
    }

    async fn summaries(
        &self,
        user: UserId,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Summary>, Option<String>), StoreError> {
        lists::summaries(self, user, cursor, limit)
    }

    async fn conversations_of(&self, user: UserId) -> Result<Vec<ConversationId>, StoreError> {
        self.tables().memberships(user)
    }

    fn now_token(&self) -> String {
        lists::token(self.instance, self.shared.settled.load(Ordering::Acquire))
    }

    async fn changes(
        &self,
        user: UserId,
        since: &str,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        lists::changes(self, user, since, limit)
    }

    async fn held(&self, hold: HoldId) -> Result<Option<Arc<HeldMessage>>, StoreError> {
        Ok(self.tables().held(hold)?.map(Arc::new))
    }

    async fn held_page(
        &self,
        author: Option<UserId>,
        after: Option<HoldId>,
        limit: usize,
    ) -> Result<Vec<Arc<HeldMessage>>, StoreError> {
        let wanted = |held: &HeldMessage| author.is_none_or(|author| held.hold.author == author);
        self.tables().held_after(after, wanted, limit)
    }

    async fn media_used(&self, media: MediaId) -> Result<bool, StoreError> {
        media::used(self, media)
    }

    async fn media_readable(&self, media: MediaId, user: UserId) -> Result<bool, StoreError> {
        media::readable(self, media, user)
    }

    async fn media_left(&self, limit: usize) -> Result<Vec<MediaId>, StoreError> {
        media::left(self, limit)
    }

    async fn plugin_value(&self, plugin: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let now = self.shared.clock.now_ms();
        let row = self.tables().kv(plugin, name)?;
        Ok(row.filter(|row| !row.has_ended(now)).map(|row| row.value))
    }

    fn health(&self) -> Result<(), String> {
        self.shared.health()
    }

    async fn close(&self) {
        self.shared.close();
        let thread = self.committer.lock().take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

#[async_trait]
impl Feed for EmbeddedLog {
    async fn feed(&self, after: &FeedPosition, limit: usize) -> Result<FeedPage, StoreError> {
        feed::page(self, after, limit)
    }

    fn place(&self, stamp: u64) -> FeedPosition {
        FeedPosition(lists::token(self.instance, stamp))
    }

    fn stamp(&self, at: &FeedPosition) -> Option<u64> {
        feed::stamp(self, at)
    }

    async fn feed_before(&self, at: &FeedPosition, items: u64) -> Result<FeedPosition, StoreError> {
        feed::before(self, at, items)
    }

    fn feed_end(&self) -> FeedPosition {
        FeedPosition(self.now_token())
    }

    async fn feed_length(&self) -> Result<u64, StoreError> {
        Ok(self.tables().feed.approximate_len() as u64)
    }

    async fn cursor(&self, consumer: &str) -> Result<Option<FeedPosition>, StoreError> {
        let Some(bytes) = self.tables().row(&key::cursor(consumer))? else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes);
        text.map(|text| Some(FeedPosition(text)))
            .map_err(|_| StoreError::Damaged("a consumer's cursor could not be read".to_owned()))
    }

    async fn move_cursor(
        &self,
        consumer: &str,
        from: Option<&FeedPosition>,
        to: &FeedPosition,
    ) -> Result<bool, StoreError> {
        // One process has this log open, and in it one task a consumer.
        if self.cursor(consumer).await?.as_ref() != from {
            return Ok(false);
        }
        let rows = &self.tables().rows;
        rows.insert(key::cursor(consumer), to.0.as_bytes())
            .map_err(tables::unavailable)?;
        Ok(true)
    }

    fn commits(&self) -> watch::Receiver<u64> {
        self.shared.commits.subscribe()
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.shared.close();
    }
}
