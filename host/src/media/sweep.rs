//! How media end: uploads that were never completed, complete ones that nothing names, and those whose last message
//! was recalled. Looks at what is due, a bounded number at a time; what is in use is not looked at again until
//! something lets go of it.

use std::time::Duration;

use tokio::sync::oneshot;

use super::intake::millis;
use super::{Media, blob_refusal};
use crate::ids::MediaId;
use crate::journey::{commit_refusal, overloaded, store_refusal};
use crate::refusal::{Code, Refusal};
use crate::store::media::{MediaRecord, MediaState};
use crate::store::{Change, Origin, Submission};

/// Media looked at in one round.
const ROUND: usize = 200;
/// Between the last look but one and deleting: a message that was admitted before it is committed by then.
pub const GRACE: Duration = Duration::from_secs(60);

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub deleted: usize,
    /// There may be more to do at once.
    pub more: bool,
}

impl Media {
    /// One round at `now`, milliseconds since 1970 UTC.
    pub async fn sweep(&self, now: u64) -> Result<Swept, Refusal> {
        if self.blobs.is_none() {
            return Ok(Swept::default());
        }
        let left = self.take_over_left(now).await?;
        let due = self.records.media_due(now, ROUND).await;
        let due = due.map_err(|e| store_refusal(&e))?;
        let mut swept = Swept {
            deleted: 0,
            more: left == ROUND || due.len() == ROUND,
        };
        let mut trouble = None;
        for record in due {
            match self.look_again(record.id, now).await {
                Ok(deleted) => swept.deleted += usize::from(deleted),
                // One that cannot be deleted now keeps no other from it.
                Err(refusal) => trouble = Some(refusal),
            }
        }
        trouble.map_or(Ok(swept), Err)
    }

    /// What the log noted as let go of becomes due; then the notes go.
    async fn take_over_left(&self, now: u64) -> Result<usize, Refusal> {
        let left = self.log.media_left(ROUND).await;
        let left: Vec<MediaId> = left.map_err(|e| store_refusal(&e))?;
        if left.is_empty() {
            return Ok(0);
        }
        for id in &left {
            let due = self.records.let_go_of_media(*id, now).await;
            due.map_err(|e| store_refusal(&e))?;
        }
        let count = left.len();
        let (sender, settled) = oneshot::channel();
        let submission = Submission {
            change: Change::MediaSeen { media: left },
            origin: Origin::Caller(sender),
        };
        self.log.submit(submission).map_err(|_| overloaded())?;
        match settled.await {
            Ok(Ok(_)) => Ok(count),
            Ok(Err(error)) => Err(commit_refusal(&error)),
            Err(_) => Err(Refusal::new(Code::Timeout, "the log did not answer")),
        }
    }

    /// Whether it was deleted.
    async fn look_again(&self, id: MediaId, now: u64) -> Result<bool, Refusal> {
        let _turn = self.turns.take(id).await;
        let found = self
            .records
            .media(id)
            .await
            .map_err(|e| store_refusal(&e))?;
        let Some(record) = found.map(|found| found.record) else {
            return Ok(false);
        };
        if record.look_at.is_none_or(|due| due > now) {
            return Ok(false);
        }
        if record.state == MediaState::Open {
            return self.delete(&record).await;
        }
        if self.is_in_use(id).await? {
            // A sender may still have had a link after the check: what came by it is nobody's.
            if let Some(blobs) = &self.blobs {
                let discarded = blobs.discard_upload(id).await;
                discarded.map_err(|error| blob_refusal(&error))?;
            }
            self.set(id, MediaState::Complete, None).await?;
            // An avatar that was taken away between the two would never be looked at again.
            if !self.is_in_use(id).await? {
                let due = self.records.let_go_of_media(id, now).await;
                due.map_err(|e| store_refusal(&e))?;
            }
            return Ok(false);
        }
        if record.state == MediaState::Complete {
            // Nobody can begin to use it from now on; who has begun has the grace to end.
            self.set(id, MediaState::Leaving, Some(now + millis(GRACE)))
                .await?;
            return Ok(false);
        }
        self.delete(&record).await
    }

    async fn is_in_use(&self, id: MediaId) -> Result<bool, Refusal> {
        let used = self.log.media_used(id).await;
        if used.map_err(|e| store_refusal(&e))? {
            return Ok(true);
        }
        let avatar = self.records.is_avatar(id).await;
        avatar.map_err(|e| store_refusal(&e))
    }

    async fn set(&self, id: MediaId, state: MediaState, due: Option<u64>) -> Result<(), Refusal> {
        let set = self.records.set_media(id, state, due).await;
        set.map_err(|e| store_refusal(&e))
    }

    /// The bytes first: a record without bytes is tried again, bytes without a record would stay for ever.
    async fn delete(&self, record: &MediaRecord) -> Result<bool, Refusal> {
        let Some(blobs) = &self.blobs else {
            return Ok(false);
        };
        for id in [record.thumb, record.id] {
            blobs
                .remove(id)
                .await
                .map_err(|error| blob_refusal(&error))?;
        }
        let forgotten = self.records.forget_media(record.id).await;
        forgotten.map_err(|e| store_refusal(&e))?;
        Ok(true)
    }
}
