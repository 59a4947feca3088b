//! The audit log: a document a line. A line's id is the newest one's and one more, settled between nodes by the index: a
//! line is never seen before the one ahead of it, so whoever follows misses none.
//! Lines of a generation lie in the generation's document until they are told (`generations.rs`).

use mongodb::bson::{Document, doc};
use serde::{Deserialize, Serialize};

use super::schema::AUDIT;
use super::tries::Tries;
use super::{MongoAccounts, Numbered, literally, signed, unsigned};
use crate::store::StoreError;
use crate::store::accounts::{AuditEntry, AuditLine, AuditQuery};

/// A line as it is kept. `was` and `became` are what it says of from and to.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct LineRow {
    at: i64,
    actor: String,
    action: String,
    subject: String,
    was: Option<String>,
    became: Option<String>,
    /// JSON, as text: its numbers and the order of its keys stay what they are.
    detail: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct AuditRow {
    #[serde(rename = "_id")]
    id: i64,
    #[serde(flatten)]
    line: LineRow,
    /// Which line of which generation, for those that are one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<String>,
}

impl LineRow {
    pub fn of(line: &AuditLine) -> Self {
        Self {
            at: signed(line.at),
            actor: line.actor.clone(),
            action: line.action.clone(),
            subject: line.subject.clone(),
            was: line.from.clone(),
            became: line.to.clone(),
            detail: line.detail.as_ref().map(ToString::to_string),
        }
    }

    fn line(self) -> AuditLine {
        let detail = self.detail.as_deref();
        AuditLine {
            at: unsigned(self.at),
            actor: self.actor,
            action: self.action,
            subject: self.subject,
            from: self.was,
            to: self.became,
            detail: detail.and_then(|detail| serde_json::from_str(detail).ok()),
        }
    }
}

impl MongoAccounts {
    pub(super) async fn insert_line(&self, line: &AuditLine) -> Result<(), StoreError> {
        self.tell_generations().await?;
        self.put_line(LineRow::of(line), None).await
    }

    /// Adds a line; one `of` something that is there already is not added again.
    pub(super) async fn put_line(
        &self,
        line: LineRow,
        of: Option<String>,
    ) -> Result<(), StoreError> {
        let _turn = self.auditing.lock().await;
        let mut row = AuditRow { id: 0, line, of };
        let mut tries = Tries::of("the audit log");
        loop {
            row.id = self.newest_line().await? + 1;
            if self.insert(AUDIT, &row).await? {
                self.tell_audited(row.id);
                return Ok(());
            }
            if let Some(of) = &row.of {
                let known = self.one::<Numbered>(AUDIT, doc! {"of": of}).await?;
                if let Some(known) = known {
                    self.tell_audited(known.id);
                    return Ok(());
                }
            }
            tries.again().await?;
        }
    }

    async fn newest_line(&self) -> Result<i64, StoreError> {
        let lines = self.table::<Numbered>(AUDIT);
        let newest = lines
            .find_one(doc! {})
            .sort(doc! {"_id": -1})
            .projection(doc! {"_id": 1});
        Ok(self.read(newest).await?.map_or(0, |newest| newest.id))
    }

    /// Two that wrote at once may come here in either order.
    fn tell_audited(&self, newest: i64) {
        let newest = unsigned(newest);
        self.audited.send_if_modified(|told| {
            let is_newer = newest > *told;
            *told = newest.max(*told);
            is_newer
        });
    }

    /// Looks for what other nodes have written, and tells what a process that ended did not get to.
    pub(super) async fn see_audit(&self) -> Result<(), StoreError> {
        self.tell_generations().await?;
        let newest = self.newest_line().await?;
        self.tell_audited(newest);
        Ok(())
    }

    pub(super) async fn load_audit(
        &self,
        query: &AuditQuery,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.tell_generations().await?;
        let most = i64::MAX as u64;
        let after = signed(query.after.unwrap_or(0).min(most));
        let before = signed(query.before.unwrap_or(most).min(most));
        let mut filter: Document = doc! {"_id": {"$gt": after, "$lt": before}};
        if !query.prefix.is_empty() {
            let begins = format!("^{}", literally(&query.prefix));
            filter.insert("action", doc! {"$regex": begins});
        }
        let order = if query.after.is_some() { 1 } else { -1 };
        let rows: Vec<AuditRow> = self
            .list(AUDIT, filter, doc! {"_id": order}, query.limit)
            .await?;
        let entries = rows.into_iter().map(|row| AuditEntry {
            id: unsigned(row.id),
            line: row.line.line(),
        });
        Ok(entries.collect())
    }
}
