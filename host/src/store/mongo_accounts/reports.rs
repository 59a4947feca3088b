//! Reports users file, and the trait over everything of people.
//! Keeps what was said about an entry, never a copy of the entry.

use async_trait::async_trait;
use mongodb::bson::doc;
use serde::{Deserialize, Serialize};

use super::schema::REPORTS;
use super::{MongoAccounts, damaged, signed, unsigned};
use crate::ids::{RequestId, UserId};
use crate::store::StoreError;
use crate::store::people::{
    Answered, Ask, Asked, ChangedProfile, Friend, FriendRequest, NewReport, Notice, People,
    PeopleLimits, Report,
};

#[derive(Serialize, Deserialize)]
struct ReportRow {
    #[serde(rename = "_id")]
    id: i64,
    at: i64,
    reporter: i64,
    user: Option<i64>,
    conversation: Option<String>,
    seq: Option<i64>,
    reason: String,
    text: Option<String>,
}

impl ReportRow {
    fn of(id: u64, filed: &NewReport) -> Self {
        Self {
            id: signed(id),
            at: signed(filed.at),
            reporter: signed(filed.reporter.0),
            user: filed.user.map(|user| signed(user.0)),
            conversation: filed.conversation.map(|id| id.to_string()),
            seq: filed.seq.map(signed),
            reason: filed.reason.clone(),
            text: filed.text.clone(),
        }
    }

    fn report(self) -> Result<Report, StoreError> {
        let conversation = self.conversation.map(|id| id.parse()).transpose();
        Ok(Report {
            id: unsigned(self.id),
            filed: NewReport {
                at: unsigned(self.at),
                reporter: UserId(unsigned(self.reporter)),
                user: self.user.map(|user| UserId(unsigned(user))),
                conversation: conversation.map_err(|_| damaged("a report"))?,
                seq: self.seq.map(unsigned),
                reason: self.reason,
                text: self.text,
            },
        })
    }
}

#[async_trait]
impl People for MongoAccounts {
    async fn friends(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<Friend>, StoreError> {
        self.load_friends(user, after, limit).await
    }

    async fn end_friendship(&self, user: UserId, other: UserId) -> Result<bool, StoreError> {
        self.delete_friend(user, other).await
    }

    async fn ask(&self, ask: &Ask, limits: &PeopleLimits) -> Result<Asked, StoreError> {
        self.insert_request(ask, limits).await
    }

    async fn answer(
        &self,
        id: RequestId,
        accept: bool,
        at: u64,
        limits: &PeopleLimits,
    ) -> Result<Answered, StoreError> {
        self.update_request(id, accept, at, limits).await
    }

    async fn request(&self, id: RequestId) -> Result<Option<FriendRequest>, StoreError> {
        self.load_request(id).await
    }

    async fn request_of(
        &self,
        asker: UserId,
        asked: UserId,
    ) -> Result<Option<FriendRequest>, StoreError> {
        self.load_request_of(asker, asked).await
    }

    async fn requests(
        &self,
        user: UserId,
        before: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<FriendRequest>, StoreError> {
        self.load_requests(user, before, limit).await
    }

    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        self.load_notices(limit).await
    }

    async fn forget_notices(&self, upto: u64) -> Result<(), StoreError> {
        self.delete_notices(upto).await
    }

    async fn changed_profiles(&self, limit: usize) -> Result<Vec<ChangedProfile>, StoreError> {
        self.load_changed_profiles(limit).await
    }

    async fn forget_changed_profile(&self, told: ChangedProfile) -> Result<(), StoreError> {
        self.delete_changed_profile(told).await
    }

    async fn file_report(&self, report: &NewReport) -> Result<u64, StoreError> {
        let id = self.number("reports", 1).await?;
        let row = ReportRow::of(id, report);
        match self.insert(REPORTS, &row).await? {
            true => Ok(id),
            false => Err(damaged("the count of reports")),
        }
    }

    async fn reports(&self, before: Option<u64>, limit: usize) -> Result<Vec<Report>, StoreError> {
        let before = before.map_or(i64::MAX, signed);
        let filter = doc! {"_id": {"$lt": before}};
        let rows: Vec<ReportRow> = self.list(REPORTS, filter, doc! {"_id": -1}, limit).await?;
        rows.into_iter().map(ReportRow::report).collect()
    }
}
