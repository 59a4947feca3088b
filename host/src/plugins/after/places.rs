//! A consumer's place in the feed: read when it begins, noted when it has moved. At least once: what is noted is never ahead
//! of what is done. It moves on from where it was read alone: where another node moved it meanwhile, it is read anew.

use super::{AfterCommit, consumer_name};
use crate::store::StoreError;
use crate::store::feed::{FeedPage, FeedPosition};
use kith_runtime::Hook;

const ELSEWHERE: &str = "its place was moved by another node";

/// Where one consumer stands.
pub struct Place {
    pub consumer: String,
    pub at: Option<FeedPosition>,
}

impl Place {
    pub fn of(plugin: &str, hook: Hook) -> Self {
        Self {
            consumer: consumer_name(plugin, hook),
            at: None,
        }
    }

    /// What comes next. One that never said where it stands, or stands in another feed, begins at the end.
    pub async fn next(
        &mut self,
        shared: &AfterCommit,
        limit: usize,
    ) -> Result<FeedPage, StoreError> {
        let at = match &self.at {
            Some(at) => at.clone(),
            None => match shared.feed.cursor(&self.consumer).await? {
                Some(at) => at,
                None => {
                    let end = shared.feed.feed_end();
                    let first = shared.feed.move_cursor(&self.consumer, None, &end);
                    if !first.await? {
                        return Err(StoreError::Unavailable(ELSEWHERE.to_owned()));
                    }
                    end
                }
            },
        };
        let page = shared.feed.feed(&at, limit).await?;
        self.at = Some(at);
        if page.reset {
            tracing::warn!(
                consumer = self.consumer,
                "its place is not one of this feed: it goes on at the end"
            );
            self.note(shared, shared.feed.feed_end()).await?;
            return shared.feed.feed(&shared.feed.feed_end(), limit).await;
        }
        Ok(page)
    }

    /// Moves on.
    pub async fn note(&mut self, shared: &AfterCommit, at: FeedPosition) -> Result<(), StoreError> {
        if self.at.as_ref() == Some(&at) {
            return Ok(());
        }
        let from = self.at.take();
        let moved = shared.feed.move_cursor(&self.consumer, from.as_ref(), &at);
        if moved.await? {
            self.at = Some(at);
        } else {
            self.is_elsewhere();
        }
        Ok(())
    }

    /// Another node moved it: it is read anew.
    pub fn is_elsewhere(&mut self) {
        tracing::debug!(consumer = self.consumer, "{ELSEWHERE}");
        self.at = None;
    }
}
