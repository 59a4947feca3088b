//! The moderation seam: bans, labels, notices to administrators, actions that wait for a second administrator. Adapters
//! keep them; what they mean is decided elsewhere.

use async_trait::async_trait;

use super::StoreError;
use crate::entry::Seq;
use crate::ids::{ConversationId, UserId};

/// What is kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum BanKind {
    /// A user does not come in.
    User = 0,
    /// Nobody comes in from an address.
    Address = 1,
    /// Nobody comes in on a device.
    Device = 2,
    /// A user comes in and may not speak.
    Speech = 3,
}

impl BanKind {
    pub const ALL: [Self; 4] = [Self::User, Self::Address, Self::Device, Self::Speech];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Address => "address",
            Self::Device => "device",
            Self::Speech => "speech",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A ban as it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBan {
    pub kind: BanKind,
    /// A user's id, an IP address, a device's id.
    pub subject: String,
    /// Milliseconds since 1970 UTC; `None` is for ever.
    pub until: Option<u64>,
    pub reason: String,
    /// The administrator, or `plugin:` and a plugin's name.
    pub by: String,
    pub at: u64,
}

/// A ban as it is kept; there is at most one of a kind for each subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    pub id: u64,
    pub made: NewBan,
}

/// Something administrators are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAdminNotice {
    pub at: u64,
    /// The plugin.
    pub by: String,
    pub text: String,
    /// Whom it is about.
    pub user: Option<UserId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminNotice {
    pub id: u64,
    pub told: NewAdminNotice,
}

/// An administrator's action that needs a second one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub action: String,
    pub subject: String,
    pub actor: String,
    pub at: u64,
}

/// A conversation in which an account's responder has made room for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHandover {
    pub conversation: ConversationId,
    pub account: UserId,
    pub plugin: String,
    pub reason: String,
    /// The message it was called for.
    pub seq: Seq,
    pub at: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    pub id: u64,
    pub made: NewHandover,
}

#[async_trait]
pub trait Moderation: Send + Sync + 'static {
    /// Keeps a ban in place of the one of its kind and subject; its id.
    async fn put_ban(&self, ban: &NewBan) -> Result<u64, StoreError>;
    /// Whether there was one.
    async fn remove_ban(&self, id: u64) -> Result<bool, StoreError>;
    /// Every ban that ends after this, oldest first.
    async fn bans(&self, now: u64) -> Result<Vec<Ban>, StoreError>;

    async fn set_label(&self, user: UserId, label: &str, on: bool) -> Result<(), StoreError>;
    /// Labels of some users, by user and label.
    async fn labels(&self, users: &[UserId]) -> Result<Vec<(UserId, String)>, StoreError>;

    /// Keeps a notice, the same one of the same time once; the oldest of too many are forgotten. Its id.
    async fn put_admin_notice(&self, notice: &NewAdminNotice) -> Result<u64, StoreError>;
    /// Newest first, before one.
    async fn admin_notices(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AdminNotice>, StoreError>;

    /// Keeps that a conversation is handed over, with the notice that says so; false, and nothing is told, where it is
    /// already.
    async fn hand_over(
        &self,
        handover: &NewHandover,
        notice: &NewAdminNotice,
    ) -> Result<bool, StoreError>;
    async fn is_handed_over(
        &self,
        conversation: ConversationId,
        account: UserId,
    ) -> Result<bool, StoreError>;
    /// Newest first, before one.
    async fn handovers(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Handover>, StoreError>;
    /// What was given back; `None` where there is no such one.
    async fn give_back(&self, id: u64) -> Result<Option<Handover>, StoreError>;

    /// Whether another administrator has wished the same since a time: then that wish is done with. Else this one is
    /// kept.
    async fn second(&self, wish: &Wish, since: u64) -> Result<bool, StoreError>;
}
