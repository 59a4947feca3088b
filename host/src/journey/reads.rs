//! What a user may read: stretches of logs,
//! the list, what changed. Never writes.

use super::{Journey, store_refusal};
use crate::conversation::{Profile, Summary, SummaryView};
use crate::ids::{ConversationId, UserId};
use crate::refusal::{Code, Refusal};
use crate::store::{Changes, Page, Span};

/// How many entries or summaries an answer has when nothing is asked, and at most.
#[derive(Debug, Clone, Copy)]
pub struct PageLimits {
    pub default: usize,
    pub most: usize,
}

impl PageLimits {
    /// Cuts what was asked for to what may be; below 1 is refused.
    pub fn cut(&self, asked: Option<i64>) -> Result<usize, Refusal> {
        match asked {
            None => Ok(self.default),
            Some(limit) if limit < 1 => Err(Refusal::bad_request("limit must be at least 1")),
            Some(limit) => Ok(usize::try_from(limit).unwrap_or(usize::MAX).min(self.most)),
        }
    }
}

impl Journey {
    /// A stretch of a conversation its member may see.
    pub async fn history(
        &self,
        user: UserId,
        conversation: ConversationId,
        span: Span,
    ) -> Result<Page, Refusal> {
        self.member(user, conversation).await?;
        self.log
            .page(conversation, user, span)
            .await
            .map_err(|e| store_refusal(&e))
    }

    /// A page of the user's list.
    pub async fn conversations(
        &self,
        user: UserId,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Summary>, Option<String>), Refusal> {
        self.log
            .summaries(user, cursor, limit)
            .await
            .map_err(|e| store_refusal(&e))
    }

    /// Everything that differs from what it was at `since`.
    pub async fn sync(&self, user: UserId, since: &str, limit: usize) -> Result<Changes, Refusal> {
        self.log
            .changes(user, since, limit)
            .await
            .map_err(|e| store_refusal(&e))
    }

    /// The summary of one conversation of the user, as JSON.
    pub async fn summary_json(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<Option<serde_json::Value>, Refusal> {
        let summary = self
            .log
            .summary(conversation, user)
            .await
            .map_err(|e| store_refusal(&e))?;
        match summary {
            Some(summary) => Ok(Some(self.render(user, &summary).await?)),
            None => Ok(None),
        }
    }

    /// A summary with its peer's profile, as JSON.
    pub async fn render(
        &self,
        viewer: UserId,
        summary: &Summary,
    ) -> Result<serde_json::Value, Refusal> {
        let peer = self.peer_profile(viewer, summary).await?;
        let view = SummaryView {
            summary,
            peer: peer.as_ref(),
            viewer,
        };
        serde_json::to_value(view).map_err(|error| {
            tracing::error!(%error, "a summary could not be written");
            Refusal::new(Code::Internal, "a stored summary could not be read")
        })
    }

    async fn peer_profile(
        &self,
        viewer: UserId,
        summary: &Summary,
    ) -> Result<Option<Profile>, Refusal> {
        let Some(peer) = summary.conversation.peer_of(viewer) else {
            return Ok(None);
        };
        let user = self
            .accounts
            .user(peer)
            .await
            .map_err(|e| store_refusal(&e))?;
        Ok(user.map(|user| user.profile.clone()))
    }
}
