//! The people seam: friends, their requests, reports; and what the host still owes to `self` logs and to peers because
//! of them. A thing owed is written in the same transaction as what causes it, so that a crash between this store and
//! the message log loses nothing. Adapters implement it; who may do what is decided before it comes here.

use async_trait::async_trait;

use super::StoreError;
use crate::entry::Seq;
use crate::ids::{ConversationId, RequestId, UserId};

/// How many friends and waiting requests a user may have.
#[derive(Debug, Clone, Copy)]
pub struct PeopleLimits {
    pub friends: u64,
    /// Waiting requests a user has sent.
    pub waiting_sent: u64,
    /// Waiting requests a user has received.
    pub waiting_received: u64,
}

/// One user's wish to be another's friend. There is at most one for each ordered pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FriendRequest {
    pub id: RequestId,
    pub asker: UserId,
    pub asked: UserId,
    pub text: Option<String>,
    /// When it was last asked, milliseconds since 1970 UTC.
    pub at: u64,
    pub state: RequestState,
    /// How often it was refused.
    pub refusals: u32,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RequestState {
    Waiting = 0,
    /// The asked one said no; the asker is not told and still sees it waiting.
    Refused = 1,
    Accepted = 2,
}

/// A request as it is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    pub asker: UserId,
    pub asked: UserId,
    pub text: Option<String>,
    pub at: u64,
    /// Kept for the asker alone: the asked one never learns of it.
    pub silent: bool,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It waits now.
    New(FriendRequest),
    /// It waited before, as far as the asker knows.
    Before(FriendRequest),
    /// Both have asked: they are friends, by the other one's request.
    Friends(FriendRequest),
    AlreadyFriends,
    TooManySent,
    TooManyReceived,
    TooManyFriends,
}

/// What came of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    Done(FriendRequest),
    /// It was accepted before and cannot be refused any more.
    AcceptedBefore,
    TooManyFriends,
    Gone,
}

/// A friend, and since when (milliseconds since 1970 UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Friend {
    pub user: UserId,
    pub since: u64,
}

/// A system entry owed to a user's `self` log. Its number makes the resend key, so it is never entered twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub number: u64,
    pub user: UserId,
    pub code: String,
    /// JSON object.
    pub args: String,
}

/// A profile that changed and whose peers are not all told yet; `change` rises with every further change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedProfile {
    pub user: UserId,
    pub change: u64,
}

/// A report as it is filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReport {
    pub at: u64,
    pub reporter: UserId,
    pub user: Option<UserId>,
    pub conversation: Option<ConversationId>,
    pub seq: Option<Seq>,
    pub reason: String,
    pub text: Option<String>,
}

/// A report as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub id: u64,
    pub filed: NewReport,
}

#[async_trait]
pub trait People: Send + Sync + 'static {
    /// Friends by id, after one.
    async fn friends(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<Friend>, StoreError>;
    /// Ends a friendship and forgets the requests of both; whether there was one. Owes both logs a notice.
    async fn end_friendship(&self, user: UserId, other: UserId) -> Result<bool, StoreError>;

    /// Asks; owes the notices that follow.
    async fn ask(&self, ask: &Ask, limits: &PeopleLimits) -> Result<Asked, StoreError>;
    /// Accepts or refuses; accepting owes both logs a notice. Again changes nothing.
    async fn answer(
        &self,
        id: RequestId,
        accept: bool,
        at: u64,
        limits: &PeopleLimits,
    ) -> Result<Answered, StoreError>;
    async fn request(&self, id: RequestId) -> Result<Option<FriendRequest>, StoreError>;
    /// The request of `asker` to `asked`.
    async fn request_of(
        &self,
        asker: UserId,
        asked: UserId,
    ) -> Result<Option<FriendRequest>, StoreError>;
    /// Requests that wait as far as `user` knows, sent and received, newest first, before one.
    async fn requests(
        &self,
        user: UserId,
        before: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<FriendRequest>, StoreError>;

    /// Notices owed, in the order they came to be owed.
    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError>;
    /// Every notice up to this number is in its log.
    async fn forget_notices(&self, upto: u64) -> Result<(), StoreError>;

    async fn changed_profiles(&self, limit: usize) -> Result<Vec<ChangedProfile>, StoreError>;
    /// The peers are told, unless the profile changed again meanwhile.
    async fn forget_changed_profile(&self, told: ChangedProfile) -> Result<(), StoreError>;

    /// Files a report; its id.
    async fn file_report(&self, report: &NewReport) -> Result<u64, StoreError>;
    /// Newest first, before one.
    async fn reports(&self, before: Option<u64>, limit: usize) -> Result<Vec<Report>, StoreError>;
}
