//! What was judged: the feed backwards, entries with their records and what is kept beside them. Places of the feed are the
//! stamps here.

use std::collections::HashMap;

use async_trait::async_trait;
use mongodb::bson::{Document, doc};

use super::apply::About;
use super::docs::{self, damaged, get_blob, get_text, row_id};
use super::reads::between;
use super::schema::{ENTRIES, ROWS};
use super::{MongoLog, Shared};
use crate::entry::{Beside, Seq};
use crate::ids::ConversationId;
use crate::store::StoreError;
use crate::store::judged::{Judged, JudgedEntry, JudgedPage};
use crate::store::log::rows::EntryRow;
use crate::store::log::{beside, key};

impl Shared {
    async fn judged_before(&self, stamp: u64, limit: usize) -> Result<JudgedPage, StoreError> {
        let (items, more) = self.items_before(stamp, limit).await?;
        let mut found = self.entries_at(&items).await?;
        let mut rows = Vec::new();
        for item in &items {
            if let Some(document) = found.remove(&(item.conversation, item.seq)) {
                rows.push(docs::entry_of(&document)?);
            }
        }
        let next = items.last().filter(|_| more).map(|item| item.place);
        Ok(JudgedPage {
            entries: self.judged(rows).await?,
            next,
        })
    }

    async fn judged_between(
        &self,
        id: ConversationId,
        stretch: (Seq, Seq),
    ) -> Result<Vec<JudgedEntry>, StoreError> {
        self.catch_up(About::Conversation(id)).await?;
        let filter = between(id, stretch);
        let found = self.mongo.find(ENTRIES, filter, doc! {"seq": 1}, 0).await?;
        let rows: Result<Vec<_>, _> = found.iter().map(docs::entry_of).collect();
        self.judged(rows?).await
    }

    async fn judged(&self, rows: Vec<EntryRow>) -> Result<Vec<JudgedEntry>, StoreError> {
        let with_beside = |row: &&EntryRow| row.record.circumstances.is_some_and(|one| one.beside);
        let places = rows.iter().filter(with_beside);
        let places: Vec<String> = places
            .map(|row| row_id(&key::beside(row.entry.id)))
            .collect();
        let mut kept: HashMap<String, Beside> = HashMap::new();
        if !places.is_empty() {
            let filter = doc! {"_id": {"$in": places}, "v": {"$ne": null}};
            for document in self.mongo.find(ROWS, filter, doc! {}, 0).await? {
                let (place, beside) = read_beside(&document)?;
                kept.insert(place, beside);
            }
        }
        let judged = rows.into_iter().map(|row| {
            let mut record = row.record;
            let beside = kept.remove(&row_id(&key::beside(row.entry.id)));
            record.beside = beside.map(Box::new);
            JudgedEntry {
                entry: row.entry,
                record,
                edits: row.edits,
                recalled_by: row.recalled_by,
            }
        });
        Ok(judged.collect())
    }
}

fn read_beside(document: &Document) -> Result<(String, Beside), StoreError> {
    let place = get_text(document, "_id").unwrap_or_default().to_owned();
    let read = get_blob(document, "v").and_then(beside::decode);
    let read = read.ok_or_else(|| damaged("what hooks read"))?;
    Ok((place, read))
}

#[async_trait]
impl Judged for MongoLog {
    async fn judged_before(&self, stamp: u64, limit: usize) -> Result<JudgedPage, StoreError> {
        self.on(move |shared| async move { shared.judged_before(stamp, limit).await })
            .await
    }

    async fn judged_between(
        &self,
        conversation: ConversationId,
        stretch: (Seq, Seq),
    ) -> Result<Vec<JudgedEntry>, StoreError> {
        self.on(move |shared| async move { shared.judged_between(conversation, stretch).await })
            .await
    }
}
