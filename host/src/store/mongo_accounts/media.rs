//! Records of uploads, a document each.
//! Implements `MediaRecords`; knows nothing of the bytes. What a user may have under way is claimed before the record is
//! written (`claims.rs`).

use async_trait::async_trait;
use mongodb::bson::{Binary, doc};
use serde::{Deserialize, Serialize};

use super::claims::Claims;
use super::schema::{MEDIA, USERS};
use super::tries::Tries;
use super::{MongoAccounts, Numbered, binary, bytes32, collect, signed, unsigned};
use crate::ids::{MediaId, UserId};
use crate::store::StoreError;
use crate::store::media::{Found, MediaRecord, MediaRecords, MediaState, TicketBounds, Ticketed};

#[derive(Serialize, Deserialize)]
struct MediaRow {
    #[serde(rename = "_id")]
    id: i64,
    owner: i64,
    name: String,
    mime: String,
    bytes: i64,
    sha256: Option<Binary>,
    state: i32,
    width: Option<i64>,
    height: Option<i64>,
    duration_ms: Option<i64>,
    thumb: i64,
    thumb_mime: Option<String>,
    thumb_bytes: i64,
    created_at: i64,
    expires_at: i64,
    look_at: Option<i64>,
}

/// What counts towards an owner's bounds.
#[derive(Deserialize)]
struct UnderWay {
    #[serde(rename = "_id")]
    id: i64,
    bytes: i64,
    state: i32,
    created_at: i64,
    expires_at: i64,
}

impl MediaRow {
    fn of(record: &MediaRecord) -> Self {
        Self {
            id: signed(record.id.0),
            owner: signed(record.owner.0),
            name: record.name.clone(),
            mime: record.mime.clone(),
            bytes: signed(record.bytes),
            sha256: record.sha256.map(|hash| binary(&hash)),
            state: record.state as i32,
            width: record.width.map(i64::from),
            height: record.height.map(i64::from),
            duration_ms: record.duration_ms.map(signed),
            thumb: signed(record.thumb.0),
            thumb_mime: record.thumb_mime.clone(),
            thumb_bytes: signed(record.thumb_bytes),
            created_at: signed(record.created_at),
            expires_at: signed(record.expires_at),
            look_at: record.look_at.map(signed),
        }
    }

    fn record(self) -> Result<MediaRecord, StoreError> {
        let pixels = |length: i64| u32::try_from(length).unwrap_or(u32::MAX);
        Ok(MediaRecord {
            id: MediaId(unsigned(self.id)),
            owner: UserId(unsigned(self.owner)),
            name: self.name,
            mime: self.mime,
            bytes: unsigned(self.bytes),
            sha256: self.sha256.as_ref().map(bytes32).transpose()?,
            state: match self.state {
                0 => MediaState::Open,
                1 => MediaState::Complete,
                _ => MediaState::Leaving,
            },
            width: self.width.map(pixels),
            height: self.height.map(pixels),
            duration_ms: self.duration_ms.map(unsigned),
            thumb: MediaId(unsigned(self.thumb)),
            thumb_mime: self.thumb_mime,
            thumb_bytes: unsigned(self.thumb_bytes),
            created_at: unsigned(self.created_at),
            expires_at: unsigned(self.expires_at),
            look_at: self.look_at.map(unsigned),
        })
    }
}

impl MongoAccounts {
    /// What an owner has under way, as far as it is kept: every one that is open or counts in bytes.
    async fn under_way(
        &self,
        owner: UserId,
        bounds: TicketBounds,
    ) -> Result<Vec<UnderWay>, StoreError> {
        let filter = doc! {
            "owner": signed(owner.0),
            "$or": [
                {"state": MediaState::Open as i32, "expires_at": {"$gt": signed(bounds.now)}},
                {"created_at": {"$gt": signed(bounds.since)}},
            ],
        };
        let fields = doc! {"bytes": 1, "state": 1, "created_at": 1, "expires_at": 1};
        let media = self.table::<UnderWay>(MEDIA);
        let found = media.find(filter).projection(fields);
        self.read(collect(found)).await
    }
}

/// Why a record is one too many, if it is.
fn refused(
    record: &MediaRecord,
    bounds: TicketBounds,
    claims: &Claims,
    mut kept: Vec<UnderWay>,
) -> Option<Ticketed> {
    let on_their_way = &claims.held;
    // What is kept by now is not on its way any more, though its claim may not be released yet.
    kept.retain(|media| {
        on_their_way
            .iter()
            .all(|held| held.what != media.id.to_string())
    });
    let open = |media: &&UnderWay| {
        media.state == MediaState::Open as i32 && unsigned(media.expires_at) > bounds.now
    };
    let count = kept.iter().filter(open).count() + on_their_way.len();
    if count as u64 >= bounds.open {
        let first = kept.iter().filter(open).map(|media| media.expires_at).min();
        let until = first.map_or(bounds.now, unsigned);
        return Some(Ticketed::TooManyOpen { until });
    }
    let young = kept
        .iter()
        .filter(|media| unsigned(media.created_at) > bounds.since);
    let bytes = young.map(|media| unsigned(media.bytes)).sum::<u64>();
    let claimed = on_their_way
        .iter()
        .map(|held| unsigned(held.amount))
        .sum::<u64>();
    let all = bytes.saturating_add(claimed).saturating_add(record.bytes);
    (all > bounds.bytes).then_some(Ticketed::TooManyBytes)
}

#[async_trait]
impl MediaRecords for MongoAccounts {
    async fn open_ticket(
        &self,
        record: &MediaRecord,
        bounds: TicketBounds,
    ) -> Result<Ticketed, StoreError> {
        let key = format!("media:{}", record.owner);
        let row = MediaRow::of(record);
        let mut tries = Tries::of("a user's uploads");
        loop {
            let claims = self.claims(key.clone(), bounds.now).await?;
            let kept = self.under_way(record.owner, bounds).await?;
            if let Some(refused) = refused(record, bounds, &claims, kept) {
                return Ok(refused);
            }
            let claim = self.claim(claims, row.id.to_string(), row.bytes, bounds.now);
            if let Some(claim) = claim.await? {
                let made = self.insert(MEDIA, &row).await;
                self.release([claim]).await;
                return match made? {
                    true => Ok(Ticketed::Made),
                    false => Err(StoreError::Unavailable(format!(
                        "accounts: the id of media {} is taken",
                        record.id
                    ))),
                };
            }
            tries.again().await?;
        }
    }

    async fn media(&self, id: MediaId) -> Result<Option<Found>, StoreError> {
        let own = self
            .one::<MediaRow>(MEDIA, doc! {"_id": signed(id.0)})
            .await?;
        let found = match own {
            Some(row) => Some(row),
            None => {
                let thumb = doc! {"thumb": signed(id.0), "thumb_mime": {"$ne": null}};
                self.one(MEDIA, thumb).await?
            }
        };
        let record = found.map(MediaRow::record).transpose()?;
        Ok(record.map(|record| Found {
            is_thumb: record.id != id,
            record,
        }))
    }

    async fn complete_media(&self, record: &MediaRecord) -> Result<bool, StoreError> {
        let row = MediaRow::of(record);
        let filter = doc! {"_id": row.id, "state": MediaState::Open as i32};
        let set = doc! {
            "mime": row.mime,
            "bytes": row.bytes,
            "sha256": row.sha256,
            "state": MediaState::Complete as i32,
            "width": row.width,
            "height": row.height,
            "duration_ms": row.duration_ms,
            "thumb_mime": row.thumb_mime,
            "thumb_bytes": row.thumb_bytes,
            "look_at": row.look_at,
        };
        self.update(MEDIA, filter, doc! {"$set": set}).await
    }

    async fn media_due(&self, now: u64, limit: usize) -> Result<Vec<MediaRecord>, StoreError> {
        self.let_go_of_left().await?;
        let filter = doc! {"look_at": {"$lte": signed(now)}};
        let order = doc! {"look_at": 1};
        let rows: Vec<MediaRow> = self.list(MEDIA, filter, order, limit).await?;
        rows.into_iter().map(MediaRow::record).collect()
    }

    async fn let_go_of_media(&self, id: MediaId, now: u64) -> Result<(), StoreError> {
        let filter = doc! {"_id": signed(id.0), "state": MediaState::Complete as i32};
        let change = doc! {"$set": {"look_at": signed(now)}};
        self.update(MEDIA, filter, change).await.map(|_| ())
    }

    async fn set_media(
        &self,
        id: MediaId,
        state: MediaState,
        look_at: Option<u64>,
    ) -> Result<(), StoreError> {
        let filter = doc! {"_id": signed(id.0), "state": {"$gt": MediaState::Open as i32}};
        let change = doc! {"$set": {"state": state as i32, "look_at": look_at.map(signed)}};
        self.update(MEDIA, filter, change).await.map(|_| ())
    }

    async fn forget_media(&self, id: MediaId) -> Result<(), StoreError> {
        let gone = self.delete(MEDIA, doc! {"_id": signed(id.0)});
        gone.await.map(|_| ())
    }

    async fn is_avatar(&self, id: MediaId) -> Result<bool, StoreError> {
        let users = self.table::<Numbered>(USERS);
        let found = users.find_one(doc! {"avatar": id.to_string()});
        let found = self.read(found.projection(doc! {"_id": 1})).await?;
        Ok(found.is_some())
    }
}
