//! The store seams: the message log and the accounts, as traits. Adapters live below; the journey sees only this.
//! Whatever changes the log is a `Change` that is submitted, committed in a group with others, and settled: the
//! settlement comes only after the change is on stable storage (I1). Settlements of one conversation come in the
//! order of its sequence (I3).

pub mod accounts;
pub mod embedded_log;
pub mod feed;
pub mod generations;
pub mod groups;
mod held;
pub mod housekeeping;
pub mod judged;
pub mod kv;
pub mod log;
pub mod media;
pub mod moderation;
pub mod mongo;
pub mod mongo_accounts;
pub mod mongo_log;
mod outcome;
pub mod people;
pub mod portable;
mod reads;
pub mod sqlite_accounts;
pub mod values;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::content::Fingerprint;
use crate::conversation::{Kind, Summary};
use crate::entry::{Body, DecisionRecord, Entry, Seq};
use crate::ids::{ConversationId, HoldId, JoinRequestId, MediaId, SessionId, UserId};
use crate::telemetry::Moment;
use groups::{GroupChange, JoinRequest, MemberRow, Roster};

pub use held::{HeldMessage, Hold, HoldCause};
pub use outcome::{CommitError, Committed, FirstAnswer, Outcome};
pub use reads::{Changes, Extent, InFlight, Page, Readers, Span, Standing};

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was stored; trying again later may work.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It is not known whether it was stored.
    #[error("the store did not answer in time")]
    Timeout,
    /// The data is not what this program wrote.
    #[error("damaged data: {0}")]
    Damaged(String),
    /// The caller's cursor is of no list of this store.
    #[error("not a cursor of this list")]
    NotACursor,
}

/// Who waits for a change.
#[derive(Debug)]
pub enum Origin {
    /// A request of a connected session: its answer stands in the session's stream at the entry's place.
    Session {
        user: UserId,
        session: SessionId,
        request: u32,
        /// When the host began with it.
        arrived: Moment,
    },
    /// A caller inside the host (REST, the console, a release).
    Caller(oneshot::Sender<Result<Outcome, CommitError>>),
    /// Nobody.
    None,
}

/// A change of the log's engine. Everything in one change is one atomic write.
#[derive(Debug, Clone)]
pub enum Change {
    Append(Box<Append>),
    Hold(Box<Hold>),
    Group(Box<GroupChange>),
    Command(Box<CommandAnswer>),
    /// A plugin chose not to keep it; only the answer is remembered.
    Drop {
        conversation: ConversationId,
        author: UserId,
        key: ResendKey,
    },
    /// An administrator, or a second judgement, refused a held message.
    Refuse {
        hold: HoldId,
        reason: String,
    },
    /// A refused message is listed no more; its answer stays. Settles as `Dropped`.
    Forget {
        hold: HoldId,
    },
    Receipt {
        conversation: ConversationId,
        user: UserId,
        received: Seq,
        read: Seq,
    },
    Prefs {
        conversation: ConversationId,
        user: UserId,
        prefs: Prefs,
    },
    /// The profile of a direct conversation's member changed: the other one's summary differs from what it was.
    Profile {
        conversation: ConversationId,
        user: UserId,
    },
    /// The oldest entries go for good, those below `before`; many are left for a next change.
    Erase {
        conversation: ConversationId,
        before: Seq,
    },
    /// A plugin's own writes, outside an entry.
    Kv(Box<kv::KvChange>),
    /// Keys of a namespace that nobody uses any more go, the first `most` of them. Settles as `KvDropped`.
    KvDrop {
        namespace: String,
        most: usize,
    },
    /// A generation is about to take over: from now on what an older one judged is given back as stale, and what it has
    /// submitted is committed when this settles. Each node is told: what others still submit of an older one is stale in
    /// the conversations the new one has judged in.
    Turn {
        generation: u64,
    },
    /// The notes about media that nothing names any more were taken over (see `media_left`).
    MediaSeen {
        media: Vec<MediaId>,
    },
}

/// A command that was answered: the answer is remembered, there is no entry.
#[derive(Debug, Clone)]
pub struct CommandAnswer {
    pub conversation: ConversationId,
    pub author: UserId,
    pub key: ResendKey,
    /// A content, for the author alone.
    pub reply: Option<Box<RawValue>>,
    /// Writes of plugins that commit with the answer.
    pub effects: Vec<PluginWrite>,
    /// The one that answered.
    pub generation: u64,
}

/// What a member sets for itself; `None` leaves a thing as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefs {
    pub pinned: Option<bool>,
    pub muted: Option<bool>,
    pub hidden: Option<bool>,
    /// The empty text takes the draft away.
    pub draft: Option<String>,
}

/// A new entry of a log.
///
/// With a `Recall` body the same write erases the content of the target and of its edits; a target already recalled
/// settles as `Resent` with the first recall entry. With an `Edit` body the target message gets the new content and
/// `edited`. A `React` body that changes nothing settles as `Resent` with the reaction that did. A target that is
/// missing, recalled or no message settles as `Gone`.
#[derive(Debug, Clone)]
pub struct Append {
    pub conversation: ConversationId,
    /// Made, with its members, when the conversation does not exist yet.
    pub opening: Option<Opening>,
    pub author: UserId,
    /// By which a resend is known. Recalls, receipts and the host's own entries have none.
    pub key: Option<ResendKey>,
    pub body: Body,
    /// Who gets it besides the author; `None` is every member.
    pub audience: Option<Arc<[UserId]>>,
    /// The content given to the author in the ack, when a plugin replaced or masked what was sent.
    pub replaced: bool,
    pub record: DecisionRecord,
    /// Writes of plugins that commit with the entry.
    pub effects: Vec<PluginWrite>,
    /// A send moves its author's own `read` to the entry.
    pub moves_read: bool,
    /// The held message this releases, taken away in the same write.
    pub releases: Option<HoldId>,
}

/// A conversation to be made with its first entry.
#[derive(Debug, Clone)]
pub struct Opening {
    pub kind: Kind,
    pub users: Vec<UserId>,
}

/// By which a resend is known within (conversation, author).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResendKey {
    pub client_id: String,
    /// Of the content as it was first sent.
    pub fingerprint: Fingerprint,
}

/// A plugin's write into its own keys and values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginWrite {
    pub namespace: String,
    /// Bytes it may have there; what goes beyond is not kept, and the entry is.
    pub quota: u64,
    pub key: String,
    /// `None` deletes.
    pub value: Option<Vec<u8>>,
}

/// A change with who waits for it.
#[derive(Debug)]
pub struct Submission {
    pub change: Change,
    pub origin: Origin,
}

/// A settled change: what it was, what came of it, who waits.
#[derive(Debug)]
pub struct Settlement {
    pub change: Change,
    pub origin: Origin,
    pub result: Result<Outcome, CommitError>,
}

/// A submission that was not taken, given back.
#[derive(Debug)]
pub enum NotTaken {
    /// Judged by an older generation than one already submitted: judge it again now, before anything later.
    Stale(Submission),
    /// The queue is full, or the store is down (I5).
    Full(Submission),
}

/// The message log: entries, members, receipts, held messages, plugin kv. One conformance suite, every engine.
///
/// Reads see what is settled. `submit` never waits: it queues or gives back.
///
/// Where several nodes have one log open, each has a `MessageLog` of its own. What is committed is one log for all: a
/// sequence, an answer to a client id, a generation that an older judgement is stale against. What is submitted is each
/// node's own: the order of submission and of settlements, what is in flight, what a `Turn` waits for. A read sees what any
/// node has settled, and may see what another one has committed and not settled yet.
#[async_trait]
pub trait MessageLog: Send + Sync + 'static {
    /// Queues a change. Within a conversation, changes are committed in the order they were submitted.
    fn submit(&self, submission: Submission) -> Result<(), NotTaken>;

    /// What is known of a user in a conversation; `None` when the conversation does not exist.
    async fn standing(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Standing>, StoreError>;

    /// What of a user in a conversation is on its way here, whether there is such a conversation yet or not. What is no
    /// longer in flight is seen by every read that is begun afterwards.
    fn in_flight(&self, conversation: ConversationId, user: UserId) -> InFlight;

    /// The first answer to a client id, if there was one; `Err(Conflict)` inside when the fingerprint differs.
    async fn first_answer(
        &self,
        conversation: ConversationId,
        author: UserId,
        key: &ResendKey,
    ) -> Result<Option<Result<FirstAnswer, CommitError>>, StoreError>;

    /// A stretch of the log as `reader` may see it (`void`s are made by the viewer, not here).
    async fn page(
        &self,
        conversation: ConversationId,
        reader: UserId,
        span: Span,
    ) -> Result<Page, StoreError>;

    /// One entry with its decision record; for recall, edit and administrators. No visibility rule.
    async fn entry(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<(Arc<Entry>, DecisionRecord)>, StoreError>;

    /// Current members, for delivery.
    async fn members(&self, conversation: ConversationId) -> Result<Arc<[UserId]>, StoreError>;

    /// The same, with since when each is one.
    async fn roster(&self, conversation: ConversationId) -> Result<Roster, StoreError>;

    /// Present members of a group after one, by id.
    async fn member_page(
        &self,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError>;

    /// Those of some users who are present members of a group.
    async fn members_among(
        &self,
        conversation: ConversationId,
        users: &[UserId],
    ) -> Result<Vec<MemberRow>, StoreError>;

    /// Join requests that wait after one, oldest first.
    async fn join_requests(
        &self,
        conversation: ConversationId,
        after: Option<JoinRequestId>,
        limit: usize,
    ) -> Result<Vec<JoinRequest>, StoreError>;

    /// Ids of direct conversations a user is in, after one.
    async fn direct_conversations(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError>;

    /// How far the present members are with an entry they may see.
    async fn readers(
        &self,
        entry: &Entry,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Readers, StoreError>;

    /// Of the next `limit` conversations after one, by rising id, what is kept of all, or only of those that have a
    /// retention of their own; and the last one looked at, `None` at the end. For upkeep.
    async fn extents(
        &self,
        after: Option<ConversationId>,
        limit: usize,
        all: bool,
    ) -> Result<(Vec<Extent>, Option<ConversationId>), StoreError>;

    /// The first entry at or after `from` that was committed at `since_ms` or later, looking at `most` entries;
    /// the seq after those when there is none among them.
    async fn first_since(
        &self,
        conversation: ConversationId,
        from: Seq,
        since_ms: u64,
        most: usize,
    ) -> Result<Seq, StoreError>;

    async fn summary(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Summary>, StoreError>;

    /// A page of a user's list: pinned first, then newest message; hidden and empty `self` left out.
    async fn summaries(
        &self,
        user: UserId,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Summary>, Option<String>), StoreError>;

    /// Every conversation a user is or was in.
    async fn conversations_of(&self, user: UserId) -> Result<Vec<ConversationId>, StoreError>;

    /// The sync token of this moment, good on every node; it may be a little older where others run.
    fn now_token(&self) -> String;

    async fn changes(&self, user: UserId, since: &str, limit: usize)
    -> Result<Changes, StoreError>;

    async fn held(&self, hold: HoldId) -> Result<Option<Arc<HeldMessage>>, StoreError>;

    /// Held messages, oldest first, after a cursor: of one author, or everyone's.
    async fn held_page(
        &self,
        author: Option<UserId>,
        after: Option<HoldId>,
        limit: usize,
    ) -> Result<Vec<Arc<HeldMessage>>, StoreError>;

    /// Whether an entry or a held message names a media, or a conversation has it as its avatar. Recalled entries name
    /// nothing any more.
    async fn media_used(&self, media: MediaId) -> Result<bool, StoreError>;

    /// Whether a user is, now, a member of a conversation with an entry that names the media and that this member
    /// may see; an avatar of a conversation is everybody's to see.
    async fn media_readable(&self, media: MediaId, user: UserId) -> Result<bool, StoreError>;

    /// Media that something named and does not any more: noted in the write that changed it, kept until `MediaSeen`.
    async fn media_left(&self, limit: usize) -> Result<Vec<MediaId>, StoreError>;

    /// A plugin's value, as committed.
    async fn plugin_value(&self, plugin: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// `Ok` while changes can be committed.
    fn health(&self) -> Result<(), String>;

    /// Commits what is queued, then refuses everything. For a clean end.
    async fn close(&self);
}
