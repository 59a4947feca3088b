//! The media records seam: what is known of every upload, from its ticket to its end. The bytes are elsewhere, and
//! which entries name a media is the message log's to know.

use async_trait::async_trait;

use super::StoreError;
use crate::ids::{MediaId, UserId};

/// How far an upload has come. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MediaState {
    /// A ticket: the bytes may still come.
    Open = 0,
    /// Checked: it can be read and sent.
    Complete = 1,
    /// Nothing names it: deleted at the next look, unless something names it by then.
    Leaving = 2,
}

/// An upload as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRecord {
    pub id: MediaId,
    pub owner: UserId,
    /// As the client named it, past the filters.
    pub name: String,
    /// As declared, then as the bytes say.
    pub mime: String,
    pub bytes: u64,
    /// As declared, then of the bytes.
    pub sha256: Option<[u8; 32]>,
    pub state: MediaState,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub duration_ms: Option<u64>,
    /// The id its thumbnail has if there is one.
    pub thumb: MediaId,
    /// The thumbnail's type; `None` while there is none.
    pub thumb_mime: Option<String>,
    pub thumb_bytes: u64,
    /// Milliseconds since 1970 UTC, as all times here.
    pub created_at: u64,
    /// When the ticket is no longer good.
    pub expires_at: u64,
    /// When to look whether it can be deleted; `None` while something is known to name it.
    pub look_at: Option<u64>,
}

/// A record found by the media's own id or its thumbnail's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub record: MediaRecord,
    /// The thumbnail was asked for.
    pub is_thumb: bool,
}

/// How much one user may have under way.
#[derive(Debug, Clone, Copy)]
pub struct TicketBounds {
    /// Tickets that are open at `now`.
    pub open: u64,
    /// Bytes of everything the user asked for since `since`.
    pub bytes: u64,
    pub since: u64,
    pub now: u64,
}

/// What came of asking for a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticketed {
    Made,
    /// Too many are open; the first of them ends then.
    TooManyOpen {
        until: u64,
    },
    TooManyBytes,
}

#[async_trait]
pub trait MediaRecords: Send + Sync + 'static {
    /// Keeps a new record, unless its owner has too much under way.
    async fn open_ticket(
        &self,
        record: &MediaRecord,
        bounds: TicketBounds,
    ) -> Result<Ticketed, StoreError>;

    /// By its id, or its thumbnail's.
    async fn media(&self, id: MediaId) -> Result<Option<Found>, StoreError>;

    /// Writes what was found in the bytes over an open record and makes it complete; false when it is not open.
    async fn complete_media(&self, record: &MediaRecord) -> Result<bool, StoreError>;

    /// Records whose time to be looked at has come, the longest due first.
    async fn media_due(&self, now: u64, limit: usize) -> Result<Vec<MediaRecord>, StoreError>;

    /// Makes a complete record due at once; one that is leaving already keeps its time.
    async fn let_go_of_media(&self, id: MediaId, now: u64) -> Result<(), StoreError>;

    /// Sets a complete record's state and its next look. Open ones and unknown ids are left alone.
    async fn set_media(
        &self,
        id: MediaId,
        state: MediaState,
        look_at: Option<u64>,
    ) -> Result<(), StoreError>;

    async fn forget_media(&self, id: MediaId) -> Result<(), StoreError>;

    /// Whether it is somebody's avatar.
    async fn is_avatar(&self, id: MediaId) -> Result<bool, StoreError>;
}
