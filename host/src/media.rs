//! A media's life: a ticket, an upload, a check of the bytes, use in messages and as an avatar, its end. Policy of
//! who may upload, use and read what is here and in the siblings; bytes are behind `Blobs`, records behind
//! `MediaRecords`, and which entries name a media behind `MessageLog`. Knows no HTTP and no engine.

pub mod blobs;
pub mod inspect;
mod intake;
pub mod kinds;
pub mod links;
pub mod local;
pub mod s3;
mod serve;
pub mod sweep;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use self::blobs::{BlobError, Blobs};
use self::kinds::{Bounds, Kind};
use self::links::Links;
use self::turns::{Slots, Turns};
use crate::clock::Clock;
use crate::content::Content;
use crate::content::media::MediaFacts;
use crate::ids::{MediaId, UserId};
use crate::journey::store_refusal;
use crate::refusal::Refusal;
use crate::store::MessageLog;
use crate::store::media::{Found, MediaRecord, MediaRecords, MediaState};

pub use intake::{NewUpload, Ticket, Upload};
pub use serve::{Link, Served};

/// What a deployment allows.
#[derive(Debug, Clone)]
pub struct MediaRules {
    pub bounds: Bounds,
    /// How long a ticket is good.
    pub ticket: Duration,
    /// How long a link to a download is good.
    pub link: Duration,
    /// How long a complete upload is kept that nothing names.
    pub orphan: Duration,
    /// Tickets a user may have open at once.
    pub open_tickets: u64,
    /// Bytes a user may upload in a day.
    pub daily_bytes: u64,
    /// Uploads through this host at once, and checks of uploads at once: of all users, of one.
    pub uploads: usize,
    pub uploads_of_one: usize,
}

/// What the journey, the gateway and the sweep do with media.
pub struct Media {
    /// `None`: this deployment keeps no media.
    blobs: Option<Arc<dyn Blobs>>,
    records: Arc<dyn MediaRecords>,
    log: Arc<dyn MessageLog>,
    clock: Arc<dyn Clock>,
    links: Links,
    rules: MediaRules,
    /// One thing at a time is done to one upload.
    turns: Arc<Turns>,
    uploads: Slots,
    checks: Slots,
    inspections: Semaphore,
}

/// Uploads looked at at once: each may take a processor and a decoded picture's memory.
const INSPECTIONS: usize = 2;

impl Media {
    pub fn new(
        blobs: Option<Arc<dyn Blobs>>,
        records: Arc<dyn MediaRecords>,
        log: Arc<dyn MessageLog>,
        clock: Arc<dyn Clock>,
        links: Links,
        rules: MediaRules,
    ) -> Self {
        let slots = || Slots::new(rules.uploads, rules.uploads_of_one);
        let (uploads, checks) = (slots(), slots());
        Self {
            blobs,
            records,
            log,
            clock,
            links,
            rules,
            turns: Arc::default(),
            uploads,
            checks,
            inspections: Semaphore::new(INSPECTIONS),
        }
    }

    /// Where the bytes are; `None`: this deployment keeps none.
    pub fn kept(&self) -> Option<Arc<dyn Blobs>> {
        self.blobs.clone()
    }

    fn blobs(&self) -> Result<&dyn Blobs, Refusal> {
        self.blobs
            .as_deref()
            .ok_or_else(|| Refusal::unavailable("this deployment keeps no media"))
    }

    /// Checks the media a message would carry and puts the host's facts over what the client wrote of them; whether
    /// that changed anything. Media its author may not use are not found.
    pub async fn admit(&self, author: UserId, content: &mut Content) -> Result<bool, Refusal> {
        if !content.may_name_media() {
            return Ok(false);
        }
        let mut changed = false;
        if let Some(named) = content.media() {
            let record = self.usable(author, named).await?;
            self.admit_as(content.kind(), &record)?;
            changed = content.set_facts(&facts(&record));
            if record.thumb_mime.is_some() {
                return Ok(changed);
            }
        }
        if let Some(named) = content.picture() {
            let record = self.usable(author, named).await?;
            self.admit_as("image", &record)?;
        }
        Ok(changed)
    }

    /// Refuses an avatar that is not a picture its user uploaded.
    pub async fn admit_avatar(&self, user: UserId, named: &str) -> Result<(), Refusal> {
        let record = self.usable(user, named).await?;
        if record.owner != user {
            return Err(no_such_media());
        }
        self.admit_as("image", &record)
    }

    /// A content of a type carries what its name says, within the bounds of that kind.
    fn admit_as(&self, content: &str, record: &MediaRecord) -> Result<(), Refusal> {
        let kind = Kind::of(&record.mime);
        let wanted = match content {
            "image" => Kind::Image,
            "voice" => Kind::Audio,
            "video" => Kind::Video,
            _ => return Ok(()),
        };
        if kind != wanted {
            return Err(Refusal::bad_request(format!(
                "{} is not what {content} content carries",
                record.mime
            )));
        }
        self.rules.bounds.admit_size(kind, record.bytes)
    }

    /// A complete upload that a user may send: an own one, or one the user can read. Never a thumbnail by itself.
    async fn usable(&self, user: UserId, named: &str) -> Result<MediaRecord, Refusal> {
        let id = named.parse().map_err(|_| no_such_media())?;
        match self.readable(user, id).await? {
            Found {
                record,
                is_thumb: false,
            } => Ok(record),
            _ => Err(no_such_media()),
        }
    }

    /// A complete upload, by its id or its thumbnail's.
    async fn complete_upload(&self, id: MediaId) -> Result<Found, Refusal> {
        let found = self
            .records
            .media(id)
            .await
            .map_err(|e| store_refusal(&e))?;
        found
            .filter(|found| found.record.state == MediaState::Complete)
            .ok_or_else(no_such_media)
    }

    /// The same, where a user may read it now.
    async fn readable(&self, user: UserId, id: MediaId) -> Result<Found, Refusal> {
        let found = self.complete_upload(id).await?;
        let media = found.record.id;
        if found.record.owner == user {
            return Ok(found);
        }
        let shared = self.log.media_readable(media, user).await;
        if shared.map_err(|e| store_refusal(&e))?
            || self
                .records
                .is_avatar(media)
                .await
                .map_err(|e| store_refusal(&e))?
        {
            return Ok(found);
        }
        Err(no_such_media())
    }
}

/// What a client is told of a complete upload.
pub fn facts(record: &MediaRecord) -> MediaFacts {
    MediaFacts {
        mime: record.mime.clone(),
        bytes: record.bytes,
        width: record.width,
        height: record.height,
        duration_ms: record.duration_ms,
        thumb: record.thumb_mime.is_some().then_some(record.thumb),
    }
}

fn no_such_media() -> Refusal {
    Refusal::not_found("no such media")
}

/// What a blob store's trouble is to a client.
fn blob_refusal(error: &BlobError) -> Refusal {
    match error {
        BlobError::Missing => no_such_media(),
        BlobError::Broken(why) => Refusal::bad_request(why.clone()),
        BlobError::Unavailable(why) => {
            tracing::warn!(why, "the blob store is unavailable");
            Refusal::unavailable("the media store is unavailable")
        }
    }
}
