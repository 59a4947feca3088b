//! Putting a run of commits into the database with one command, and finding out what became of it however that ends: what
//! nobody answered for is looked up by its own mark before anything is said, or tried again under the same numbers.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use super::Shared;
use super::commit::commit_error;
use super::docs::get_text;
use super::schema::ENTRIES;
use crate::store::{CommitError, StoreError};

/// How long it is asked and tried before a run is given up.
const PATIENCE: Duration = Duration::from_secs(15);

/// How an insertion ended: so many of the documents are committed; why the others are not.
pub struct Inserted {
    pub count: usize,
    pub why: Why,
}

pub enum Why {
    Done,
    /// Another node has this number.
    Lost,
    Failed(CommitError),
}

/// Inserts documents in order, and finds out what became of them however that ends.
pub async fn insert(shared: &Shared, documents: &[Document]) -> Inserted {
    let began = Instant::now();
    let mut count = 0;
    loop {
        shared.inserts.fetch_add(1, Ordering::Relaxed);
        let error = match shared
            .mongo
            .insert(ENTRIES, &documents[count..], true)
            .await
        {
            Ok(written) => {
                count += written
                    .duplicates
                    .first()
                    .map_or(written.count as usize, |at| *at);
                if written.duplicates.is_empty() {
                    let why = Why::Done;
                    return Inserted { count, why };
                }
                None
            }
            Err(error) => Some(error),
        };
        // Refused, or not answered: the document that has our number may be our own, of an attempt before.
        match ours(shared, &documents[count..]).await {
            Ok(more) => {
                count += more;
                if count == documents.len() {
                    let why = Why::Done;
                    return Inserted { count, why };
                }
                let why = match &error {
                    None => Some(Why::Lost),
                    Some(StoreError::Timeout) => None,
                    Some(other) => Some(Why::Failed(commit_error(other))),
                };
                if let Some(why) = why.filter(|_| more == 0) {
                    return Inserted { count, why };
                }
            }
            Err(_) if began.elapsed() < PATIENCE => {}
            Err(_) => {
                let error = error.as_ref().map_or(CommitError::Timeout, commit_error);
                let why = Why::Failed(error);
                return Inserted { count, why };
            }
        }
        if began.elapsed() > PATIENCE {
            let why = Why::Failed(CommitError::Timeout);
            return Inserted { count, why };
        }
    }
}

/// How many of these documents a majority has, from the first on without a gap.
async fn ours(shared: &Shared, documents: &[Document]) -> Result<usize, StoreError> {
    let ids: Vec<&str> = documents
        .iter()
        .filter_map(|document| get_text(document, "_id"))
        .collect();
    let Some(by) = documents.first().and_then(|first| get_text(first, "by")) else {
        return Ok(0);
    };
    let lane = documents.first().and_then(|first| get_text(first, "c"));
    let filter = doc! {"c": lane, "_id": {"$in": &ids}, "by": by};
    let asked = (doc! {"_id": 1}, 0, doc! {"_id": 1});
    let found = shared.mongo.find_fields(ENTRIES, filter, asked).await?;
    let same = found
        .iter()
        .zip(&ids)
        .take_while(|(document, id)| get_text(document, "_id") == Some(id));
    Ok(same.count())
}
