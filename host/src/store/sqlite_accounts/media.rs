//! Records of uploads beside the accounts.
//! Implements `MediaRecords`; knows nothing of the bytes.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SqliteAccounts, signed, unsigned};
use crate::ids::{MediaId, UserId};
use crate::store::StoreError;
use crate::store::media::{Found, MediaRecord, MediaRecords, MediaState, TicketBounds, Ticketed};

const MEDIA: &str = "id, owner, name, mime, bytes, sha256, state, width, height, duration_ms, thumb, thumb_mime, \
                     thumb_bytes, created_at, expires_at, look_at";

fn record_of(row: &Row<'_>) -> rusqlite::Result<MediaRecord> {
    Ok(MediaRecord {
        id: MediaId(unsigned(row.get(0)?)),
        owner: UserId(unsigned(row.get(1)?)),
        name: row.get(2)?,
        mime: row.get(3)?,
        bytes: unsigned(row.get(4)?),
        sha256: row.get(5)?,
        state: match row.get(6)? {
            0 => MediaState::Open,
            1 => MediaState::Complete,
            _ => MediaState::Leaving,
        },
        width: row.get(7)?,
        height: row.get(8)?,
        duration_ms: row.get::<_, Option<i64>>(9)?.map(unsigned),
        thumb: MediaId(unsigned(row.get(10)?)),
        thumb_mime: row.get(11)?,
        thumb_bytes: unsigned(row.get(12)?),
        created_at: unsigned(row.get(13)?),
        expires_at: unsigned(row.get(14)?),
        look_at: row.get::<_, Option<i64>>(15)?.map(unsigned),
    })
}

fn insert(connection: &Connection, record: &MediaRecord) -> rusqlite::Result<()> {
    let insert = format!(
        "INSERT INTO media ({MEDIA}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
    );
    connection.execute(
        &insert,
        params![
            signed(record.id.0),
            signed(record.owner.0),
            record.name,
            record.mime,
            signed(record.bytes),
            record.sha256,
            record.state as u8,
            record.width,
            record.height,
            record.duration_ms.map(signed),
            signed(record.thumb.0),
            record.thumb_mime,
            signed(record.thumb_bytes),
            signed(record.created_at),
            signed(record.expires_at),
            record.look_at.map(signed),
        ],
    )?;
    Ok(())
}

/// What a user's avatar was may be nobody's from now on: it is looked at as soon as somebody looks.
pub(super) fn let_go_of_avatar(connection: &Connection, user: UserId) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE media SET look_at = 0 WHERE state = 1
         AND id = (SELECT CAST(avatar AS INTEGER) FROM users WHERE id = ?1)",
        [signed(user.0)],
    )?;
    Ok(())
}

#[async_trait]
impl MediaRecords for SqliteAccounts {
    async fn open_ticket(
        &self,
        record: &MediaRecord,
        bounds: TicketBounds,
    ) -> Result<Ticketed, StoreError> {
        let record = record.clone();
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            let owner = signed(record.owner.0);
            let (open, first): (i64, Option<i64>) = transaction.query_row(
                "SELECT count(*), min(expires_at) FROM media WHERE owner = ?1 AND state = 0 AND expires_at > ?2",
                params![owner, signed(bounds.now)],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            if unsigned(open) >= bounds.open {
                let until = first.map_or(bounds.now, unsigned);
                return Ok(Ticketed::TooManyOpen { until });
            }
            let bytes: i64 = transaction.query_row(
                "SELECT coalesce(sum(bytes), 0) FROM media WHERE owner = ?1 AND created_at > ?2",
                params![owner, signed(bounds.since)],
                |row| row.get(0),
            )?;
            if unsigned(bytes).saturating_add(record.bytes) > bounds.bytes {
                return Ok(Ticketed::TooManyBytes);
            }
            insert(&transaction, &record)?;
            transaction.commit()?;
            Ok(Ticketed::Made)
        })
        .await
    }

    async fn media(&self, id: MediaId) -> Result<Option<Found>, StoreError> {
        self.with(move |connection| {
            let mut select = connection.prepare_cached(&format!(
                "SELECT {MEDIA} FROM media WHERE id = ?1 UNION ALL
                 SELECT {MEDIA} FROM media WHERE thumb = ?1 AND thumb_mime IS NOT NULL LIMIT 1"
            ))?;
            let record = select.query_row([signed(id.0)], record_of).optional()?;
            Ok(record.map(|record| Found {
                is_thumb: record.id != id,
                record,
            }))
        })
        .await
    }

    async fn complete_media(&self, record: &MediaRecord) -> Result<bool, StoreError> {
        let record = record.clone();
        self.with(move |connection| {
            let done = connection.execute(
                "UPDATE media SET mime = ?2, bytes = ?3, sha256 = ?4, state = 1, width = ?5, height = ?6,
                 duration_ms = ?7, thumb_mime = ?8, thumb_bytes = ?9, look_at = ?10 WHERE id = ?1 AND state = 0",
                params![
                    signed(record.id.0),
                    record.mime,
                    signed(record.bytes),
                    record.sha256,
                    record.width,
                    record.height,
                    record.duration_ms.map(signed),
                    record.thumb_mime,
                    signed(record.thumb_bytes),
                    record.look_at.map(signed),
                ],
            )?;
            Ok(done == 1)
        })
        .await
    }

    async fn media_due(&self, now: u64, limit: usize) -> Result<Vec<MediaRecord>, StoreError> {
        self.with(move |connection| {
            let mut select = connection.prepare_cached(&format!(
                "SELECT {MEDIA} FROM media WHERE look_at <= ?1 ORDER BY look_at LIMIT ?2"
            ))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            select
                .query_map(params![signed(now), limit], record_of)?
                .collect()
        })
        .await
    }

    async fn let_go_of_media(&self, id: MediaId, now: u64) -> Result<(), StoreError> {
        self.with(move |connection| {
            let update = "UPDATE media SET look_at = ?2 WHERE id = ?1 AND state = 1";
            connection.execute(update, params![signed(id.0), signed(now)])
        })
        .await?;
        Ok(())
    }

    async fn set_media(
        &self,
        id: MediaId,
        state: MediaState,
        look_at: Option<u64>,
    ) -> Result<(), StoreError> {
        self.with(move |connection| {
            let update = "UPDATE media SET state = ?2, look_at = ?3 WHERE id = ?1 AND state > 0";
            connection.execute(
                update,
                params![signed(id.0), state as u8, look_at.map(signed)],
            )
        })
        .await?;
        Ok(())
    }

    async fn forget_media(&self, id: MediaId) -> Result<(), StoreError> {
        self.with(move |connection| {
            connection.execute("DELETE FROM media WHERE id = ?1", [signed(id.0)])
        })
        .await?;
        Ok(())
    }

    async fn is_avatar(&self, id: MediaId) -> Result<bool, StoreError> {
        self.with(move |connection| {
            let select = "SELECT EXISTS (SELECT 1 FROM users WHERE avatar = ?1)";
            connection.query_row(select, [id.to_string()], |row| row.get(0))
        })
        .await
    }
}
