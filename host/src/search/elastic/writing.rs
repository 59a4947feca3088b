//! Writing to the index: what waits for a commit, how it is sent, and how what was removed leaves the server's disk.
//! Nothing here is tried a second time: after an error everything since the last commit comes again.

use std::time::Duration;

use elasticsearch::http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::kept::{self, Bulk};
use super::{ElasticSearch, LONG, Note, SHORT};
use crate::search::{IndexChange, SearchError};
use crate::store::feed::FeedPosition;

/// Removing a long conversation, and writing what is left of an index anew.
const VERY_LONG: Duration = Duration::from_secs(600);
/// Bytes of one bulk request, about.
const BULK_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of texts that wait for a commit; what is more goes to the server before (I5).
const WAITING_BYTES: usize = 32 * 1024 * 1024;
/// Stretches that are removed by one request.
const REMOVED_AT_ONCE: usize = 200;
/// What was removed has left the disk after this long: servers look twice a minute what they need not keep.
const PURGED_AFTER: Duration = Duration::from_secs(45);
const BETWEEN: Duration = Duration::from_millis(500);
/// Of a version: changes of one term of an index.
const CHANGES_BITS: u32 = 36;

/// What is written in one term, and what waits to be.
pub(super) struct Writing {
    pub(super) note: Note,
    /// Of the note as it was last written; whoever finds another one has been overtaken.
    pub(super) written: Option<(u64, u64)>,
    /// Changes sent in this term.
    count: u64,
    waiting: Vec<IndexChange>,
    bytes: usize,
    /// Something was removed since the last commit.
    removed: bool,
}

impl Writing {
    pub fn of(note: Note, written: Option<(u64, u64)>) -> Self {
        Self {
            note,
            written,
            count: 0,
            waiting: Vec::new(),
            bytes: 0,
            removed: false,
        }
    }

    /// Adds to what waits; whether that is more than may wait.
    pub fn take(&mut self, changes: Vec<IndexChange>) -> bool {
        for change in changes {
            self.bytes += change.bytes();
            self.removed |= !matches!(change, IndexChange::Add(_));
            self.waiting.push(change);
        }
        self.bytes >= WAITING_BYTES
    }

    /// Higher than any before.
    fn version(&mut self) -> u64 {
        self.count += 1;
        self.note.term << CHANGES_BITS | self.count
    }
}

impl ElasticSearch {
    pub(super) async fn refresh(&self) -> Result<(), SearchError> {
        let path = format!("{}/_refresh", self.alias);
        whole(&self.server.post(&path, &json!({}), LONG).await?)
    }

    /// Sends what waits, in its order; nothing of it can be found before a refresh.
    pub(super) async fn send(&self, writing: &mut Writing) -> Result<(), SearchError> {
        let (mut bulk, mut removals) = (Bulk::default(), Vec::new());
        writing.bytes = 0;
        for change in std::mem::take(&mut writing.waiting) {
            // One kind of request at a time: what was before is carried out before.
            if let Some(stretch) = kept::stretch(&change) {
                self.bulk(&mut bulk).await?;
                removals.push(stretch);
                if removals.len() >= REMOVED_AT_ONCE {
                    self.remove(writing, &mut removals).await?;
                }
            } else {
                self.remove(writing, &mut removals).await?;
                bulk.change(writing.version(), &change);
                if bulk.lines.len() >= BULK_BYTES {
                    self.bulk(&mut bulk).await?;
                }
            }
        }
        self.bulk(&mut bulk).await?;
        self.remove(writing, &mut removals).await
    }

    async fn bulk(&self, bulk: &mut Bulk) -> Result<(), SearchError> {
        if bulk.lines.is_empty() {
            return Ok(());
        }
        let path = format!(
            "{}/_bulk?require_alias=true&filter_path=errors,items.*.error",
            self.alias
        );
        let lines = std::mem::take(&mut bulk.lines);
        let sent = self.server.call(Method::Post, &path, Some(lines), LONG);
        let answer = sent.await?;
        let items = answer["items"].as_array().into_iter().flatten();
        let errors = items.flat_map(|item| item.as_object().into_iter().flatten());
        match errors.map(|(_, item)| &item["error"]).next() {
            None if answer["errors"] == false => Ok(()),
            None => Err(SearchError::Unavailable(
                "a bulk request was answered with something else".to_owned(),
            )),
            Some(error) => Err(item_error(error)),
        }
    }

    /// Removes stretches of conversations: what was sent before must be found for it.
    async fn remove(
        &self,
        writing: &mut Writing,
        removals: &mut Vec<Value>,
    ) -> Result<(), SearchError> {
        if removals.is_empty() {
            return Ok(());
        }
        self.refresh().await?;
        let path = format!(
            "{}/_delete_by_query?refresh=true&conflicts=proceed",
            self.alias
        );
        let query = json!({"query": kept::any(std::mem::take(removals))});
        let removed = self.server.post(&path, &query, VERY_LONG).await?;
        // Each message's version has grown by one.
        writing.version();
        let failed = removed["failures"]
            .as_array()
            .is_none_or(|all| !all.is_empty());
        if failed || removed["version_conflicts"] != 0 || removed["timed_out"] == true {
            let why = "not everything could be removed from the index";
            return Err(SearchError::Unavailable(why.to_owned()));
        }
        Ok(())
    }

    pub(super) async fn commit_of(
        &self,
        writing: &mut Writing,
        at: &FeedPosition,
        now_ms: u64,
    ) -> Result<(), SearchError> {
        self.send(writing).await?;
        self.refresh().await?;
        let note = &mut writing.note;
        note.position.clone_from(&at.0);
        note.removed_at = note.removed_at.or(writing.removed.then_some(now_ms));
        writing.removed = false;
        self.put_note(writing).await
    }

    /// Writes segments anew until none holds anything removed, or until all that was removed before has had its time.
    pub(super) async fn expunge(&self) -> Result<(), SearchError> {
        let alias = &self.alias;
        let began = Instant::now();
        loop {
            let last = began.elapsed() >= PURGED_AFTER;
            let path = format!("{alias}/_forcemerge?only_expunge_deletes=true&flush=true");
            whole(&self.server.post(&path, &json!({}), VERY_LONG).await?)?;
            self.refresh().await?;
            let path = format!("{alias}/_stats/docs");
            let stats = self.server.get(&path, SHORT).await?;
            if last || stats["_all"]["total"]["docs"]["deleted"] == 0 {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    /// How long removed messages are kept for copies that are away.
    pub(super) async fn keep_removed(&self, period: &str) -> Result<(), SearchError> {
        let path = format!("{}/_settings", self.alias);
        let settings = json!({"index.soft_deletes.retention_lease.period": period});
        self.server.put(&path, &settings, SHORT).await?;
        Ok(())
    }
}

/// Where a document was written: its sequence number and primary term.
pub(super) fn place(answer: &Value) -> Option<(u64, u64)> {
    answer["_seq_no"]
        .as_u64()
        .zip(answer["_primary_term"].as_u64())
}

/// Of an answer that counts copies: none failed.
fn whole(answer: &Value) -> Result<(), SearchError> {
    match answer["_shards"]["failed"].as_u64() {
        Some(0) => Ok(()),
        _ => Err(SearchError::Unavailable(
            "a part of the index did not answer".to_owned(),
        )),
    }
}

/// Why one change of many was not taken.
fn item_error(error: &Value) -> SearchError {
    let why = error["reason"].as_str().unwrap_or("it does not say why");
    match error["type"].as_str() {
        Some("index_not_found_exception") => SearchError::Damaged(why.to_owned()),
        Some("version_conflict_engine_exception") => {
            SearchError::Unavailable(format!("another writer has the index: {why}"))
        }
        _ => SearchError::Unavailable(format!("the server does not take a change: {why}")),
    }
}
