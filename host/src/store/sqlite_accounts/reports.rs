//! Reports users file, and the trait over everything of people.
//! Keeps what was said about an entry, never a copy of the entry.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::friends::many;
use super::{SqliteAccounts, signed, unsigned};
use crate::ids::{RequestId, UserId};
use crate::store::StoreError;
use crate::store::people::{
    Answered, Ask, Asked, ChangedProfile, Friend, FriendRequest, NewReport, Notice, People,
    PeopleLimits, Report,
};

fn report_of(row: &Row<'_>) -> rusqlite::Result<Report> {
    let number =
        |column: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(unsigned));
    Ok(Report {
        id: unsigned(row.get(0)?),
        filed: NewReport {
            at: unsigned(row.get(1)?),
            reporter: UserId(unsigned(row.get(2)?)),
            user: number(3)?.map(UserId),
            conversation: row
                .get::<_, Option<String>>(4)?
                .and_then(|id| id.parse().ok()),
            seq: number(5)?,
            reason: row.get(6)?,
            text: row.get(7)?,
        },
    })
}

#[async_trait]
impl People for SqliteAccounts {
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
        let report = report.clone();
        self.with(move |connection| {
            connection.execute(
                "INSERT INTO reports (at, reporter, user, conversation, seq, reason, text)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    signed(report.at),
                    signed(report.reporter.0),
                    report.user.map(|user| signed(user.0)),
                    report.conversation.map(|id| id.to_string()),
                    report.seq.map(signed),
                    report.reason,
                    report.text,
                ],
            )?;
            Ok(unsigned(connection.last_insert_rowid()))
        })
        .await
    }

    async fn reports(&self, before: Option<u64>, limit: usize) -> Result<Vec<Report>, StoreError> {
        self.with(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT id, at, reporter, user, conversation, seq, reason, text FROM reports
                 WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let before = before.map_or(i64::MAX, signed);
            let rows = select.query_map(params![before, many(limit)], report_of)?;
            rows.collect()
        })
        .await
    }
}
