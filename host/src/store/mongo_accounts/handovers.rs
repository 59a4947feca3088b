//! What is told to administrators, and conversations handed over. A handover's document holds its notice until that is
//! told: a process that ends in between leaves it to whoever asks for the notices next.
//! A notice is kept once, by a unique index over the hash of what it says.

use mongodb::bson::{Binary, doc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::schema::{ADMIN_NOTICES, HANDOVERS};
use super::tries::Tries;
use super::{MongoAccounts, binary, damaged, signed, unsigned};
use crate::ids::UserId;
use crate::store::StoreError;
use crate::store::moderation::{AdminNotice, Handover, NewAdminNotice, NewHandover};

/// Notices that are kept.
const NOTICES_MOST: i64 = 10_000;
/// Handovers looked at in one go for what they owe.
const AT_ONCE: usize = 100;

#[derive(Clone, Serialize, Deserialize)]
struct Told {
    at: i64,
    by: String,
    text: String,
    user: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct NoticeRow {
    #[serde(rename = "_id")]
    id: i64,
    key: Binary,
    #[serde(flatten)]
    told: Told,
}

#[derive(Serialize, Deserialize)]
struct HandoverRow {
    #[serde(rename = "_id")]
    id: i64,
    conversation: String,
    account: i64,
    plugin: String,
    reason: String,
    seq: i64,
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owes: Option<Told>,
}

impl Told {
    fn of(notice: &NewAdminNotice) -> Self {
        Self {
            at: signed(notice.at),
            by: notice.by.clone(),
            text: notice.text.clone(),
            user: notice.user.map(|user| signed(user.0)),
        }
    }

    fn notice(self) -> NewAdminNotice {
        NewAdminNotice {
            at: unsigned(self.at),
            by: self.by,
            text: self.text,
            user: self.user.map(|user| UserId(unsigned(user))),
        }
    }

    fn key(&self) -> Binary {
        notice_key(self.at, &self.by, &self.text)
    }
}

/// The same for the same words of the same one at the same time.
pub(super) fn notice_key(at: i64, by: &str, text: &str) -> Binary {
    let mut hash = Sha256::new();
    hash.update(at.to_be_bytes());
    hash.update((by.len() as u64).to_be_bytes());
    hash.update(by);
    hash.update(text);
    binary(&hash.finalize())
}

impl HandoverRow {
    fn handover(self) -> Result<Handover, StoreError> {
        let conversation = self.conversation.parse();
        Ok(Handover {
            id: unsigned(self.id),
            made: NewHandover {
                conversation: conversation.map_err(|_| damaged("a handover"))?,
                account: UserId(unsigned(self.account)),
                plugin: self.plugin,
                reason: self.reason,
                seq: unsigned(self.seq),
                at: unsigned(self.at),
            },
        })
    }
}

impl MongoAccounts {
    /// Keeps a notice once; its id.
    pub(super) async fn tell(&self, notice: &NewAdminNotice) -> Result<u64, StoreError> {
        self.put_told(Told::of(notice)).await
    }

    async fn put_told(&self, told: Told) -> Result<u64, StoreError> {
        let key = told.key();
        let mut tries = Tries::of("a notice");
        loop {
            let filter = doc! {"key": key.clone()};
            if let Some(known) = self.one::<NoticeRow>(ADMIN_NOTICES, filter).await? {
                return Ok(unsigned(known.id));
            }
            let id = signed(self.number("admin_notices", 1).await?);
            let row = NoticeRow {
                id,
                key: key.clone(),
                told: told.clone(),
            };
            if self.insert(ADMIN_NOTICES, &row).await? {
                let old = doc! {"_id": {"$lte": id - NOTICES_MOST}};
                self.delete(ADMIN_NOTICES, old).await?;
                return Ok(unsigned(id));
            }
            tries.again().await?;
        }
    }

    pub(super) async fn load_admin_notices(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AdminNotice>, StoreError> {
        self.tell_handovers().await?;
        let before = before.map_or(i64::MAX, signed);
        let filter = doc! {"_id": {"$lt": before}};
        let rows: Vec<NoticeRow> = self
            .list(ADMIN_NOTICES, filter, doc! {"_id": -1}, limit)
            .await?;
        let notices = rows.into_iter().map(|row| AdminNotice {
            id: unsigned(row.id),
            told: row.told.notice(),
        });
        Ok(notices.collect())
    }

    pub(super) async fn insert_handover(
        &self,
        handover: &NewHandover,
        notice: &NewAdminNotice,
    ) -> Result<bool, StoreError> {
        let row = HandoverRow {
            id: signed(self.number("handovers", 1).await?),
            conversation: handover.conversation.to_string(),
            account: signed(handover.account.0),
            plugin: handover.plugin.clone(),
            reason: handover.reason.clone(),
            seq: signed(handover.seq),
            at: signed(handover.at),
            owes: Some(Told::of(notice)),
        };
        if !self.insert(HANDOVERS, &row).await? {
            return Ok(false);
        }
        // It is handed over, whatever becomes of the notice now.
        if let Err(error) = self.tell_handovers().await {
            tracing::warn!(%error, "a handover's notice waits for the next look");
        }
        Ok(true)
    }

    /// Tells what handovers owe. Told twice, it is kept once.
    pub(super) async fn tell_handovers(&self) -> Result<(), StoreError> {
        let filter = doc! {"owes.at": {"$gte": 0_i64}};
        let owing: Vec<HandoverRow> = self
            .list(HANDOVERS, filter, doc! {"_id": 1}, AT_ONCE)
            .await?;
        for row in owing {
            if let Some(told) = row.owes {
                self.put_told(told).await?;
            }
            let change = doc! {"$unset": {"owes": 1}};
            self.update(HANDOVERS, doc! {"_id": row.id}, change).await?;
        }
        Ok(())
    }

    pub(super) async fn load_handovers(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Handover>, StoreError> {
        let before = before.map_or(i64::MAX, signed);
        let filter = doc! {"_id": {"$lt": before}};
        let rows: Vec<HandoverRow> = self
            .list(HANDOVERS, filter, doc! {"_id": -1}, limit)
            .await?;
        rows.into_iter().map(HandoverRow::handover).collect()
    }

    /// Its notice is told first: it goes with the document.
    pub(super) async fn delete_handover(&self, id: u64) -> Result<Option<Handover>, StoreError> {
        self.tell_handovers().await?;
        let handovers = self.table::<HandoverRow>(HANDOVERS);
        let gone = handovers.find_one_and_delete(doc! {"_id": signed(id)});
        let gone = self.write(gone).await?;
        gone.map(HandoverRow::handover).transpose()
    }
}
