//! The embedded message log: one LSM database, one thread that writes it. Implements `MessageLog`; knows no other
//! adapter. How rows look is in `rows`, what a change does in `batch`, when it is durable in `committer`.

mod answers;
mod batch;
mod committer;
mod heads;
mod held;
mod key;
mod lists;
mod media;
mod rows;
mod tables;
pub mod upkeep;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use async_trait::async_trait;
use fjall::{Database, KeyspaceCreateOptions};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use self::answers::StoredAnswer;
use self::committer::Shared;
use self::heads::{Heads, State};
use self::tables::{Tables, unavailable};
use super::{
    Changes, CommitError, FirstAnswer, HeldMessage, MessageLog, NotTaken, Page, ResendKey,
    Settlement, Span, Standing, StoreError, Submission,
};
use crate::clock::Clock;
use crate::conversation::{Kind, Summary};
use crate::entry::{DecisionRecord, Entry, Seq};
use crate::ids::{ConversationId, HoldId, IdSource, MediaId, UserId};

/// Journal bytes before memtables are written out: keeps opening after a crash under three seconds.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;
const MEMTABLE_BYTES: u64 = 8 * 1024 * 1024;
/// Conversations whose state is kept in memory.
const HEADS_MOST: usize = 65_536;
/// Flushes whose settlements may wait to be delivered.
const SETTLED_BATCHES: usize = 64;

/// An open embedded log.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
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
        let shared = Arc::new(Shared::new(tables, Heads::new(HEADS_MOST), ids, clock));
        let (sender, receiver) = mpsc::channel(SETTLED_BATCHES);
        let committer = shared.clone();
        let thread = std::thread::Builder::new()
            .name("kith-committer".to_owned())
            .spawn(move || committer::run(&committer, &sender))
            .map_err(unavailable)?;
        Ok((
            Arc::new(Self {
                shared,
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
}

/// Opens the database and its keyspaces; a damaged journal is named with the way to mend it.
pub(super) fn open_tables(folder: &Path) -> Result<Tables, StoreError> {
    let database = Database::builder(folder)
        .max_journaling_size(JOURNAL_BYTES)
        .open()
        .map_err(|error| upkeep::explain(folder, &error))?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
    let keyspace = |name| database.keyspace(name, options).map_err(unavailable);
    let (entries, answers, rows) = (
        keyspace("entries")?,
        keyspace("answers")?,
        keyspace("rows")?,
    );
    Ok(Tables {
        database,
        entries,
        answers,
        rows,
    })
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
        let Some(state) = self.state(conversation)? else {
            return Ok(None);
        };
        let member = match state.conversation.kind {
            Kind::Group => self.tables().member(conversation, user)?,
            Kind::Direct | Kind::Own => state.member(user).cloned(),
        };
        Ok(Some(Standing {
            conversation: state.conversation.clone(),
            member,
            head: state.head,
            unanswered: state.unanswered(user),
            answered: state.answered(user),
        }))
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
                    replaced: row.and_then(batch::content_of),
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
        let member = match state.conversation.kind {
            Kind::Group => self.tables().member(conversation, reader)?,
            Kind::Direct | Kind::Own => state.member(reader).cloned(),
        };
        let floor = member.map_or(1, |member| member.visible_from.max(1));
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

    async fn recall_of(
        &self,
        conversation: ConversationId,
        target: Seq,
    ) -> Result<Option<Arc<Entry>>, StoreError> {
        match self.tables().entry(conversation, target)? {
            Some(row) if row.recalled_by > 0 => Ok(self
                .tables()
                .entry(conversation, row.recalled_by)?
                .map(|row| row.entry)),
            _ => Ok(None),
        }
    }

    async fn members(&self, conversation: ConversationId) -> Result<Arc<[UserId]>, StoreError> {
        match self.state(conversation)? {
            Some(state) if state.conversation.kind != Kind::Group => {
                Ok(state.conversation.users.as_slice().into())
            }
            Some(_) => Ok(self.tables().members(conversation)?.into()),
            None => Ok(Arc::from([])),
        }
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
        self.tables().row(&key::kv(plugin, name))
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

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.shared.close();
    }
}
