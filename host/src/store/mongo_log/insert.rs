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

/// Before what was refused, or could not be looked up, is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// How an insertion ended: so many of the documents are committed; why the others are not.
pub struct Inserted {
    pub count: usize,
    pub why: Why,
    /// An attempt at the others was not answered: it may be committed yet.
    pub unsure: bool,
}

pub enum Why {
    Done,
    /// Another node has this number.
    Lost,
    Failed(CommitError),
}

/// Inserts documents in order, and finds out what became of them however that ends; what is not known by then is given up.
pub async fn insert(shared: &Shared, documents: &[Document], deadline: Instant) -> Inserted {
    let (mut count, mut unsure) = (0, false);
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
                    return ended(count, Why::Done, false);
                }
                None
            }
            Err(error) => Some(error),
        };
        unsure |= matches!(error, Some(StoreError::Timeout));
        // Refused, or not answered: the document that has our number may be our own, of an attempt before.
        match ours(shared, &documents[count..]).await {
            Ok(more) => {
                count += more;
                if count == documents.len() {
                    return ended(count, Why::Done, false);
                }
                if more == 0
                    && let Some(why) = given_up(error.as_ref(), unsure)
                {
                    return ended(count, why, unsure);
                }
            }
            Err(_) if Instant::now() < deadline => tokio::time::sleep(AGAIN).await,
            Err(_) => {
                let error = told(error.as_ref().unwrap_or(&StoreError::Timeout), unsure);
                return ended(count, Why::Failed(error), unsure);
            }
        }
        if Instant::now() > deadline {
            return ended(count, Why::Failed(CommitError::Timeout), true);
        }
        if matches!(error, Some(StoreError::Unavailable(_))) {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn ended(count: usize, why: Why, unsure: bool) -> Inserted {
    Inserted { count, why, unsure }
}

/// Whether an attempt of which nothing is to be found is the last one, and why; `None` where it is tried again. What was
/// not answered once is tried until it is known what became of it.
fn given_up(error: Option<&StoreError>, unsure: bool) -> Option<Why> {
    match error {
        None => Some(Why::Lost),
        Some(StoreError::Timeout) => None,
        Some(StoreError::Unavailable(_)) if unsure => None,
        Some(other) => Some(Why::Failed(told(other, unsure))),
    }
}

/// What is said of a change that is given up. That nothing was stored is only said where no attempt went unanswered: a
/// client that is told so may use its client id for something else (I2).
pub fn told(error: &StoreError, unsure: bool) -> CommitError {
    match unsure {
        true => CommitError::Timeout,
        false => commit_error(error),
    }
}

/// What is said of a change whose newest attempt failed, where one of an earlier round may have gone unanswered: that one
/// counts too, though the newest was refused before it was written.
pub fn failed(error: &CommitError, unsure: bool) -> CommitError {
    match unsure {
        true => CommitError::Timeout,
        false => error.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> StoreError {
        StoreError::Unavailable("gone".to_owned())
    }

    #[test]
    fn what_was_not_answered_once_is_never_said_not_to_be_stored() {
        assert!(matches!(
            given_up(Some(&refused()), false),
            Some(Why::Failed(CommitError::Unavailable))
        ));
        assert!(given_up(Some(&refused()), true).is_none(), "tried again");
        assert!(given_up(Some(&StoreError::Timeout), true).is_none());
        let damaged = StoreError::Damaged("a document".to_owned());
        assert!(matches!(
            given_up(Some(&damaged), true),
            Some(Why::Failed(CommitError::Timeout))
        ));
        assert!(matches!(given_up(None, true), Some(Why::Lost)));
        assert!(matches!(told(&refused(), true), CommitError::Timeout));
        assert!(matches!(told(&refused(), false), CommitError::Unavailable));
        let newest = CommitError::Unavailable;
        assert!(matches!(failed(&newest, true), CommitError::Timeout));
        assert!(matches!(failed(&newest, false), CommitError::Unavailable));
    }
}
