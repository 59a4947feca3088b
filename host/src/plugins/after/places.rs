//! A consumer's place in the feed: read when it begins, noted when it has moved. At least once: what is noted is never ahead
//! of what is done.

use super::{AfterCommit, consumer_name};
use crate::store::StoreError;
use crate::store::feed::{FeedPage, FeedPosition};
use kith_runtime::Hook;

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
                    shared.feed.put_cursor(&self.consumer, &end).await?;
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
        if self.at.as_ref() != Some(&at) {
            shared.feed.put_cursor(&self.consumer, &at).await?;
            self.at = Some(at);
        }
        Ok(())
    }
}
