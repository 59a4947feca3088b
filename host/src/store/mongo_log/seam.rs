//! The seam itself: taking changes in, and each read handed to the log's own threads, where the connections live.
//! No rules here.

use std::sync::Arc;

use async_trait::async_trait;

use super::commit::work;
use super::docs::lane_of;
use super::lanes::{Lane, Taken, Waiting};
use super::{MongoLog, Shared};
use crate::conversation::Summary;
use crate::entry::{DecisionRecord, Entry, Seq};
use crate::ids::{ConversationId, HoldId, JoinRequestId, MediaId, UserId};
use crate::store::groups::{JoinRequest, MemberRow, Roster};
use crate::store::{
    Change, Changes, CommitError, Extent, FirstAnswer, HeldMessage, InFlight, MessageLog, NotTaken,
    Page, Readers, ResendKey, Span, Standing, StoreError, Submission,
};

impl Shared {
    fn begin_work(self: &Arc<Self>, lane: Arc<Lane>) {
        let shared = self.clone();
        tokio::spawn(async move {
            let Ok(hand) = shared.lanes.hands.clone().acquire_owned().await else {
                return;
            };
            let handle = tokio::runtime::Handle::current();
            tokio::task::spawn_blocking(move || {
                work(&shared, &lane, &handle);
                drop(hand);
            });
        });
    }

    /// What is about a held message is committed in the lane of its conversation.
    async fn place(self: Arc<Self>, waiting: Waiting) {
        let (hold, gone) = match &waiting.submission.change {
            Change::Forget { hold } => (*hold, "no such refused message"),
            Change::Refuse { hold, .. } => (*hold, "no such held message"),
            _ => (HoldId(0), "no such change"),
        };
        let (lane, error) = match self.held(hold).await {
            Ok(Some(held)) => (Some(lane_of(held.hold.conversation)), None),
            Ok(None) => (None, Some(CommitError::Gone(gone))),
            Err(error) => (None, Some(super::commit::commit_error(&error))),
        };
        match (lane, error) {
            (Some(lane), _) => {
                if let Taken::Begin(lane) = self.lanes.enqueue(&lane, waiting) {
                    self.begin_work(lane);
                }
            }
            (None, error) => {
                let error = error.unwrap_or(CommitError::Unavailable);
                let settling = tokio::task::spawn_blocking(move || {
                    self.settle_now(vec![(waiting, Err(error))]);
                });
                let _ = settling.await;
            }
        }
    }

    async fn close(self: Arc<Self>) -> Result<(), StoreError> {
        self.lanes.close();
        loop {
            let idle = self.lanes.idle.notified();
            if self.lanes.is_idle() {
                break;
            }
            idle.await;
        }
        // Whoever still projects what was settled holds one.
        let hands = u32::try_from(super::HANDS).unwrap_or(u32::MAX);
        let _hands = self.lanes.hands.acquire_many(hands).await;
        self.teller.flush().await;
        self.settlements.lock().take();
        self.leave().await
    }
}

#[async_trait]
impl MessageLog for MongoLog {
    fn submit(&self, submission: Submission) -> Result<(), NotTaken> {
        let shared = &self.shared;
        let is_turn = matches!(submission.change, Change::Turn { .. });
        let taken = shared
            .lanes
            .take(submission, |change| shared.in_flight.enter(change))?;
        let _threads = self.handle.enter();
        match taken {
            Taken::Begin(lane) => shared.begin_work(lane),
            Taken::Unplaced(waiting) => {
                tokio::spawn(shared.clone().place(waiting));
            }
            Taken::Queued if is_turn => {
                // Nothing may be under way that would settle it.
                let shared = shared.clone();
                tokio::task::spawn_blocking(move || shared.settle_now(Vec::new()));
            }
            Taken::Queued => {}
        }
        Ok(())
    }

    async fn standing(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Standing>, StoreError> {
        // Before the state: what settles in between is counted twice rather than not at all.
        let messages = self.shared.in_flight.of(conversation, user).messages;
        let standing = self
            .on(move |shared| async move { shared.standing(conversation, user).await })
            .await?;
        Ok(standing.map(|standing| Standing {
            unanswered: standing.unanswered.saturating_add(messages),
            ..standing
        }))
    }

    fn in_flight(&self, conversation: ConversationId, user: UserId) -> InFlight {
        self.shared.in_flight.of(conversation, user)
    }

    async fn first_answer(
        &self,
        conversation: ConversationId,
        author: UserId,
        key: &ResendKey,
    ) -> Result<Option<Result<FirstAnswer, CommitError>>, StoreError> {
        let key = key.clone();
        self.on(move |shared| async move { shared.first_answer(conversation, author, key).await })
            .await
    }

    async fn page(
        &self,
        conversation: ConversationId,
        reader: UserId,
        span: Span,
    ) -> Result<Page, StoreError> {
        self.on(move |shared| async move { shared.page(conversation, reader, span).await })
            .await
    }

    async fn entry(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<(Arc<Entry>, DecisionRecord)>, StoreError> {
        self.on(move |shared| async move { shared.entry(conversation, seq).await })
            .await
    }

    async fn members(&self, conversation: ConversationId) -> Result<Arc<[UserId]>, StoreError> {
        self.on(move |shared| async move { shared.members(conversation).await })
            .await
    }

    async fn roster(&self, conversation: ConversationId) -> Result<Roster, StoreError> {
        self.on(move |shared| async move { shared.roster(conversation).await })
            .await
    }

    async fn member_page(
        &self,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        self.on(move |shared| async move { shared.member_page(conversation, after, limit).await })
            .await
    }

    async fn members_among(
        &self,
        conversation: ConversationId,
        users: &[UserId],
    ) -> Result<Vec<MemberRow>, StoreError> {
        let users = users.to_vec();
        self.on(move |shared| async move { shared.members_among(conversation, users).await })
            .await
    }

    async fn join_requests(
        &self,
        conversation: ConversationId,
        after: Option<JoinRequestId>,
        limit: usize,
    ) -> Result<Vec<JoinRequest>, StoreError> {
        self.on(
            move |shared| async move { shared.waiting_requests(conversation, after, limit).await },
        )
        .await
    }

    async fn direct_conversations(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        self.on(move |shared| async move { shared.direct_conversations(user, after, limit).await })
            .await
    }

    async fn readers(
        &self,
        entry: &Entry,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Readers, StoreError> {
        let entry = entry.clone();
        self.on(move |shared| async move { shared.readers(entry, after, limit).await })
            .await
    }

    async fn extents(
        &self,
        after: Option<ConversationId>,
        limit: usize,
        all: bool,
    ) -> Result<(Vec<Extent>, Option<ConversationId>), StoreError> {
        self.on(move |shared| async move { shared.extents(after, limit, all).await })
            .await
    }

    async fn first_since(
        &self,
        conversation: ConversationId,
        from: Seq,
        since_ms: u64,
        most: usize,
    ) -> Result<Seq, StoreError> {
        self.on(move |shared| async move {
            shared.first_since(conversation, from, since_ms, most).await
        })
        .await
    }

    async fn summary(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Summary>, StoreError> {
        self.on(move |shared| async move { shared.summary(conversation, user).await })
            .await
    }

    async fn summaries(
        &self,
        user: UserId,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Summary>, Option<String>), StoreError> {
        let cursor = cursor.map(str::to_owned);
        self.on(move |shared| async move { shared.summaries(user, cursor, limit).await })
            .await
    }

    async fn conversations_of(&self, user: UserId) -> Result<Vec<ConversationId>, StoreError> {
        self.on(move |shared| async move { shared.conversations_of(user).await })
            .await
    }

    fn now_token(&self) -> String {
        self.shared.now_token()
    }

    async fn changes(
        &self,
        user: UserId,
        since: &str,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        let since = since.to_owned();
        self.on(move |shared| async move { shared.changes(user, since, limit).await })
            .await
    }

    async fn held(&self, hold: HoldId) -> Result<Option<Arc<HeldMessage>>, StoreError> {
        self.on(move |shared| async move { shared.held(hold).await })
            .await
    }

    async fn held_page(
        &self,
        author: Option<UserId>,
        after: Option<HoldId>,
        limit: usize,
    ) -> Result<Vec<Arc<HeldMessage>>, StoreError> {
        self.on(move |shared| async move { shared.held_page(author, after, limit).await })
            .await
    }

    async fn media_used(&self, media: MediaId) -> Result<bool, StoreError> {
        self.on(move |shared| async move { shared.media_used(media).await })
            .await
    }

    async fn media_readable(&self, media: MediaId, user: UserId) -> Result<bool, StoreError> {
        self.on(move |shared| async move { shared.media_readable(media, user).await })
            .await
    }

    async fn media_left(&self, limit: usize) -> Result<Vec<MediaId>, StoreError> {
        self.on(move |shared| async move { shared.media_left(limit).await })
            .await
    }

    async fn plugin_value(&self, plugin: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        use crate::store::kv::PluginKv;
        Ok(self.kv(plugin, key).await?.map(|item| item.value))
    }

    fn health(&self) -> Result<(), String> {
        self.shared.lanes.health()
    }

    async fn close(&self) {
        let closed = self.on(Shared::close).await;
        if let Err(error) = closed {
            tracing::warn!(%error, "this node could not give its number back");
        }
    }
}
