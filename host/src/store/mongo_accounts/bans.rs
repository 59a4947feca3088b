//! Bans, labels, and actions that wait for a second administrator; and the trait over everything of moderation. A ban is
//! one of its kind and subject by a unique index, a wish one of its action and subject by its id.
//! What is told to administrators is in `handovers.rs`.

use async_trait::async_trait;
use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::schema::{BANS, HANDOVERS, LABELS, WISHES};
use super::tries::Tries;
use super::{MongoAccounts, damaged, numbers, signed, unsigned};
use crate::ids::{ConversationId, UserId};
use crate::maps::HashMap;
use crate::store::StoreError;
use crate::store::moderation::{
    AdminNotice, Ban, BanKind, Handover, Moderation, NewAdminNotice, NewBan, NewHandover, Wish,
};

#[derive(Deserialize)]
struct BanRow {
    #[serde(rename = "_id")]
    id: i64,
    kind: String,
    subject: String,
    until: Option<i64>,
    reason: String,
    by: String,
    at: i64,
}

impl BanRow {
    /// `None` of a kind that a newer program knows.
    fn ban(self) -> Option<Ban> {
        Some(Ban {
            id: unsigned(self.id),
            made: NewBan {
                kind: BanKind::from_name(&self.kind)?,
                subject: self.subject,
                until: self.until.map(unsigned),
                reason: self.reason,
                by: self.by,
                at: unsigned(self.at),
            },
        })
    }
}

#[derive(Deserialize)]
struct LabelsRow {
    #[serde(rename = "_id")]
    user: i64,
    labels: Vec<String>,
}

#[async_trait]
impl Moderation for MongoAccounts {
    async fn put_ban(&self, ban: &NewBan) -> Result<u64, StoreError> {
        let over = doc! {"until": {"$lte": signed(ban.at)}};
        self.delete(BANS, over).await?;
        let id = self.number("bans", 1).await?;
        let filter = doc! {"kind": ban.kind.as_str(), "subject": &ban.subject};
        // The one of its kind and subject keeps its id.
        let change = doc! {
            "$set": {
                "until": ban.until.map(signed),
                "reason": &ban.reason,
                "by": &ban.by,
                "at": signed(ban.at),
            },
            "$setOnInsert": {"_id": signed(id)},
        };
        let put = self.upsert::<BanRow>(BANS, filter, change, ReturnDocument::After);
        let put = put.await?.ok_or_else(|| damaged("a ban"))?;
        Ok(unsigned(put.id))
    }

    async fn remove_ban(&self, id: u64) -> Result<bool, StoreError> {
        Ok(self.delete(BANS, doc! {"_id": signed(id)}).await? == 1)
    }

    async fn bans(&self, now: u64) -> Result<Vec<Ban>, StoreError> {
        let filter = doc! {"$or": [{"until": null}, {"until": {"$gt": signed(now)}}]};
        let rows: Vec<BanRow> = self.all(BANS, filter, doc! {"_id": 1}).await?;
        Ok(rows.into_iter().filter_map(BanRow::ban).collect())
    }

    async fn set_label(&self, user: UserId, label: &str, on: bool) -> Result<(), StoreError> {
        let filter = doc! {"_id": signed(user.0)};
        if !on {
            let change = doc! {"$pull": {"labels": label}};
            return self.update(LABELS, filter, change).await.map(|_| ());
        }
        let change = doc! {"$addToSet": {"labels": label}};
        let put = self.upsert::<Document>(LABELS, filter, change, ReturnDocument::After);
        put.await.map(|_| ())
    }

    async fn labels(&self, users: &[UserId]) -> Result<Vec<(UserId, String)>, StoreError> {
        let filter = doc! {"_id": {"$in": numbers(users.iter().map(|user| user.0))}};
        let rows: Vec<LabelsRow> = self.all(LABELS, filter, doc! {}).await?;
        let known: HashMap<UserId, Vec<String>> = rows
            .into_iter()
            .map(|mut row| {
                row.labels.sort();
                (UserId(unsigned(row.user)), row.labels)
            })
            .collect();
        let found = users.iter().flat_map(|user| {
            let labels = known.get(user).into_iter().flatten();
            labels.map(|label| (*user, label.clone()))
        });
        Ok(found.collect())
    }

    async fn put_admin_notice(&self, notice: &NewAdminNotice) -> Result<u64, StoreError> {
        self.tell(notice).await
    }

    async fn admin_notices(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AdminNotice>, StoreError> {
        self.load_admin_notices(before, limit).await
    }

    async fn hand_over(
        &self,
        handover: &NewHandover,
        notice: &NewAdminNotice,
    ) -> Result<bool, StoreError> {
        self.insert_handover(handover, notice).await
    }

    async fn is_handed_over(
        &self,
        conversation: ConversationId,
        account: UserId,
    ) -> Result<bool, StoreError> {
        let filter = doc! {
            "conversation": conversation.to_string(),
            "account": signed(account.0),
        };
        let found = self.one::<Document>(HANDOVERS, filter).await?;
        Ok(found.is_some())
    }

    async fn handovers(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Handover>, StoreError> {
        self.load_handovers(before, limit).await
    }

    async fn give_back(&self, id: u64) -> Result<Option<Handover>, StoreError> {
        self.delete_handover(id).await
    }

    /// One document for each action and subject, with the one wish that waits. Whoever finds another one's takes it away;
    /// whoever finds none puts an own one, unless another one's has come meanwhile: then the id is taken, and it is
    /// looked again.
    async fn second(&self, wish: &Wish, since: u64) -> Result<bool, StoreError> {
        let wishes = self.table::<Document>(WISHES);
        let since = signed(since);
        let id = doc! {"action": &wish.action, "subject": &wish.subject};
        let mut tries = Tries::of("a wish");
        loop {
            let others = doc! {
                "_id": id.clone(),
                "actor": {"$ne": &wish.actor},
                "at": {"$gte": since},
            };
            let first = self.write(wishes.find_one_and_delete(others));
            if first.await?.is_some() {
                return Ok(true);
            }
            let own = doc! {
                "_id": id.clone(),
                "$or": [{"actor": &wish.actor}, {"at": {"$lt": since}}],
            };
            let set = doc! {"$set": {"actor": &wish.actor, "at": signed(wish.at)}};
            let put = wishes.update_one(own, set).upsert(true);
            if self.write_unless_there(put).await?.is_some() {
                return Ok(false);
            }
            tries.again().await?;
        }
    }
}
