//! How media come in: tickets, uploads through this host, and the check that makes an upload complete.
//! Nothing can be read or sent before that check, and its sender can change nothing after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;

use super::blobs::{BlobError, Blobs, ByteStream, DirectUpload};
use super::inspect::{self, Claim, Findings, Thumb};
use super::kinds::{self, Kind};
use super::links::Purpose;
use super::serve::Link;
use super::turns::NoSlot;
use super::{Media, blob_refusal, no_such_media};
use crate::ids::{MediaId, UserId};
use crate::journey::store_refusal;
use crate::refusal::{Code, Refusal};
use crate::store::media::{MediaRecord, MediaState, TicketBounds, Ticketed};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Longest silence of an uploading client.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes over the declared ones that are read and thrown away, so that the refusal can be read.
const SWALLOWED: u64 = 1024 * 1024;
/// How long a check may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client wants to upload.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Past the filters.
    pub name: String,
    pub mime: String,
    pub bytes: u64,
    pub sha256: Option<[u8; 32]>,
}

/// Leave to upload.
#[derive(Debug)]
pub struct Ticket {
    pub id: MediaId,
    pub expires_at: u64,
    pub mime: String,
    pub upload: Upload,
}

/// Where to.
#[derive(Debug)]
pub enum Upload {
    Direct(DirectUpload),
    /// A path on this host.
    Here(String),
}

impl Media {
    /// A ticket for one upload, within what one user may have under way.
    pub async fn ticket(&self, user: UserId, new: NewUpload) -> Result<Ticket, Refusal> {
        let blobs = self.blobs()?;
        let mime = kinds::essence(&new.mime)?;
        self.rules.bounds.admit_type(&mime)?;
        if new.bytes == 0 {
            return Err(Refusal::bad_request("an upload has at least one byte"));
        }
        self.rules.bounds.admit_size(Kind::of(&mime), new.bytes)?;
        let now = self.clock.now_ms();
        let life = millis(self.rules.ticket);
        let record = MediaRecord {
            id: MediaId::random(),
            owner: user,
            name: new.name,
            mime: mime.clone(),
            bytes: new.bytes,
            sha256: new.sha256,
            state: MediaState::Open,
            width: None,
            height: None,
            duration_ms: None,
            thumb: MediaId::random(),
            thumb_mime: None,
            thumb_bytes: 0,
            created_at: now,
            expires_at: now + life,
            // What was uploaded at the last moment can still be completed for a while.
            look_at: Some(now + 2 * life),
        };
        let bounds = TicketBounds {
            open: self.rules.open_tickets,
            bytes: self.rules.daily_bytes,
            since: now.saturating_sub(DAY_MS),
            now,
        };
        let made = self.records.open_ticket(&record, bounds).await;
        match made.map_err(|e| store_refusal(&e))? {
            Ticketed::Made => {}
            Ticketed::TooManyOpen { until } => {
                let wait = Duration::from_millis(until.saturating_sub(now));
                return Err(Refusal::rate_limited(wait, "too many uploads are open"));
            }
            Ticketed::TooManyBytes => {
                let wait = Duration::from_secs(60 * 60);
                return Err(Refusal::rate_limited(wait, "too much was uploaded today"));
            }
        }
        let direct = blobs.direct_upload(record.id, record.bytes, self.rules.ticket);
        let upload = match direct {
            Some(direct) => Upload::Direct(direct),
            None => Upload::Here(
                self.links
                    .sign(Purpose::Upload, record.id, record.expires_at),
            ),
        };
        Ok(Ticket {
            id: record.id,
            expires_at: record.expires_at,
            mime,
            upload,
        })
    }

    /// Takes the bytes of a ticket in through this host. Whoever has the link may send them, until it is complete.
    pub async fn receive(
        &self,
        id: MediaId,
        link: &Link,
        length: Option<u64>,
        body: ByteStream,
    ) -> Result<(), Refusal> {
        self.check_link(Purpose::Upload, id, link)?;
        let blobs = self.blobs()?;
        let owner = self.open_record(id).await?.owner;
        let _slot = self.uploads.enter(owner).map_err(crowded)?;
        let _turn = self.turns.take(id).await;
        let record = self.open_record(id).await?;
        let tally = Arc::new(Tally::default());
        let body = metered(body, record.bytes, length, tally.clone());
        let received = blobs.receive(id, body, record.bytes);
        let received = tokio::time::timeout(self.rules.ticket, received).await;
        match received {
            Ok(Ok(())) => Ok(()),
            _ if tally.over.load(Ordering::Relaxed) => Err(Refusal::new(
                Code::TooLarge,
                format!("more than the declared {} bytes", record.bytes),
            )),
            Ok(Err(error @ BlobError::Unavailable(_))) if !tally.broken.load(Ordering::Relaxed) => {
                Err(blob_refusal(&error))
            }
            _ => Err(Refusal::bad_request(format!(
                "the upload ended after {} of the declared {} bytes",
                tally.seen.load(Ordering::Relaxed),
                record.bytes
            ))),
        }
    }

    /// A record that bytes may still come for.
    async fn open_record(&self, id: MediaId) -> Result<MediaRecord, Refusal> {
        let found = self
            .records
            .media(id)
            .await
            .map_err(|e| store_refusal(&e))?;
        match found {
            Some(found) if found.record.state == MediaState::Open => Ok(found.record),
            Some(_) => Err(Refusal::new(Code::Conflict, "the upload is complete")),
            None => Err(no_such_media()),
        }
    }

    /// Checks what was uploaded and makes it complete. Again: the same answer. After a refusal for what the bytes
    /// are, they are gone, and others may be uploaded while the ticket is good.
    pub async fn complete(&self, user: UserId, id: MediaId) -> Result<MediaRecord, Refusal> {
        let blobs = self.blobs()?;
        let _turn = self.turns.take(id).await;
        let found = self
            .records
            .media(id)
            .await
            .map_err(|e| store_refusal(&e))?;
        let mut record = found
            .filter(|found| found.record.owner == user && !found.is_thumb)
            .ok_or_else(no_such_media)?
            .record;
        match record.state {
            MediaState::Open => {}
            MediaState::Complete => return Ok(record),
            MediaState::Leaving => return Err(no_such_media()),
        }
        let _slot = self.checks.enter(user).map_err(crowded)?;
        let findings = match self.look_at(blobs, &record).await {
            Ok(findings) => findings,
            Err(refusal) => {
                if matches!(refusal.code, Code::BadRequest | Code::TooLarge) {
                    blobs.remove(id).await.map_err(|e| blob_refusal(&e))?;
                }
                return Err(refusal);
            }
        };
        record.mime = findings.mime;
        record.sha256 = Some(findings.sha256);
        (record.width, record.height) = findings.size.unzip();
        record.duration_ms = findings.duration_ms;
        if let Some(Thumb { mime, bytes }) = findings.thumb {
            record.thumb_mime = Some(mime.to_owned());
            record.thumb_bytes = bytes.len() as u64;
            let kept = blobs.put(record.thumb, bytes.into()).await;
            kept.map_err(|e| blob_refusal(&e))?;
        }
        record.state = MediaState::Complete;
        record.look_at = Some(self.clock.now_ms() + millis(self.rules.orphan));
        let done = self.records.complete_media(&record).await;
        if done.map_err(|e| store_refusal(&e))? {
            Ok(record)
        } else {
            Err(no_such_media())
        }
    }

    async fn look_at(&self, blobs: &dyn Blobs, record: &MediaRecord) -> Result<Findings, Refusal> {
        let file = match blobs.keep(record.id, record.bytes).await {
            Ok(file) => file,
            Err(BlobError::Missing) => {
                return Err(Refusal::new(Code::Conflict, "nothing was uploaded yet"));
            }
            Err(error) => return Err(blob_refusal(&error)),
        };
        let claim = Claim {
            mime: record.mime.clone(),
            bytes: record.bytes,
            sha256: record.sha256,
        };
        let busy = || Refusal::unavailable("too many uploads are being checked");
        let waited = tokio::time::timeout(PATIENCE, self.inspections.acquire()).await;
        let _permit = waited.map_err(|_| busy())?.map_err(|_| busy())?;
        let bounds = self.rules.bounds.clone();
        let looked =
            tokio::task::spawn_blocking(move || inspect::inspect(file, &claim, &bounds)).await;
        // A reader that panics met bytes it was not made for: that is the upload's fault and nobody else's.
        looked.unwrap_or_else(|_| Err(Refusal::bad_request("the bytes cannot be read")))
    }
}

fn crowded(full: NoSlot) -> Refusal {
    match full {
        NoSlot::All => Refusal::unavailable("too many uploads are under way"),
        NoSlot::OfOne => Refusal::rate_limited(Duration::from_secs(1), "too many uploads at once"),
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

/// How an upload went.
#[derive(Default)]
struct Tally {
    seen: AtomicU64,
    over: AtomicBool,
    broken: AtomicBool,
}

/// The stream with its end watched: an error as soon as there is more than was declared, or the client falls silent.
fn metered(body: ByteStream, most: u64, length: Option<u64>, tally: Arc<Tally>) -> ByteStream {
    let announced = length.is_some_and(|length| length > most);
    Box::pin(futures_util::stream::unfold(Some(body), move |body| {
        let tally = tally.clone();
        async move {
            let mut body = body?;
            let broken = |why: &str| Err(BlobError::Broken(why.to_owned()));
            let next = if announced {
                None
            } else {
                match tokio::time::timeout(SILENCE, body.next()).await {
                    Ok(None) => {
                        let short = tally.seen.load(Ordering::Relaxed) < most;
                        tally.broken.fetch_or(short, Ordering::Relaxed);
                        return None;
                    }
                    Ok(Some(chunk)) => Some(chunk),
                    Err(_) => {
                        tally.broken.store(true, Ordering::Relaxed);
                        return Some((broken("the client fell silent"), None));
                    }
                }
            };
            match next {
                Some(Err(error)) => {
                    tally.broken.store(true, Ordering::Relaxed);
                    Some((Err(error), None))
                }
                Some(Ok(chunk)) => {
                    let more = chunk.len() as u64;
                    let seen = tally.seen.fetch_add(more, Ordering::Relaxed) + more;
                    if seen <= most {
                        return Some((Ok(chunk), Some(body)));
                    }
                    tally.over.store(true, Ordering::Relaxed);
                    swallow(&mut body).await;
                    Some((broken("more bytes than were declared"), None))
                }
                None => {
                    tally.over.store(true, Ordering::Relaxed);
                    swallow(&mut body).await;
                    Some((broken("more bytes than were declared"), None))
                }
            }
        }
    }))
}

async fn swallow(body: &mut ByteStream) {
    let mut swallowed = 0;
    while swallowed < SWALLOWED {
        match tokio::time::timeout(SILENCE, body.next()).await {
            Ok(Some(Ok(chunk))) => swallowed += chunk.len() as u64,
            _ => return,
        }
    }
}
