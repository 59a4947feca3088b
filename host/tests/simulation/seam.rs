//! The seams of the message log and of its feed, as one node has them: every read is asked of the shared store. What a run
//! never asks for is refused.

use std::sync::Arc;

use async_trait::async_trait;
use kith::conversation::Summary;
use kith::entry::{DecisionRecord, Entry, Seq};
use kith::ids::{ConversationId, HoldId, JoinRequestId, MediaId, UserId};
use kith::store::feed::{Feed, FeedItem, FeedPage, FeedPosition};
use kith::store::groups::{JoinRequest, MemberRow, Roster};
use kith::store::log::key;
use kith::store::{
    Changes, CommitError, Extent, FirstAnswer, HeldMessage, InFlight, MessageLog, NotTaken, Page,
    Readers, ResendKey, Span, Standing, StoreError, Submission,
};
use tokio::sync::watch;

use super::defects::Defect;
use super::log::SimLog;
use super::store::Inner;

type Read<T> = Result<T, StoreError>;

fn not_simulated<T>() -> Read<T> {
    Err(StoreError::Unavailable("not simulated".to_owned()))
}

impl SimLog {
    async fn ask<T: Send>(&self, look: impl FnOnce(&Inner) -> Read<T> + Send) -> Read<T> {
        self.store.read(self.node, look).await?
    }

    async fn members_of(&self, conversation: ConversationId) -> Read<Vec<MemberRow>> {
        let members = self.ask(|inner| inner.tables.members(conversation)).await?;
        let present = |(_, member): &MemberRow| member.left.is_none();
        Ok(members.into_iter().filter(present).collect())
    }
}

#[async_trait]
impl MessageLog for SimLog {
    fn submit(&self, submission: Submission) -> Result<(), NotTaken> {
        self.take(submission).map_err(|why| *why)
    }

    async fn standing(&self, conversation: ConversationId, user: UserId) -> Read<Option<Standing>> {
        let messages = self.in_flight.of(conversation, user).messages;
        let standing = self
            .ask(|inner| inner.tables.standing(conversation, user))
            .await?;
        Ok(standing.map(|standing| Standing {
            unanswered: standing.unanswered.saturating_add(messages),
            ..standing
        }))
    }

    fn in_flight(&self, conversation: ConversationId, user: UserId) -> InFlight {
        self.in_flight.of(conversation, user)
    }

    async fn first_answer(
        &self,
        conversation: ConversationId,
        author: UserId,
        resend: &ResendKey,
    ) -> Read<Option<Result<FirstAnswer, CommitError>>> {
        if self.sim.has(Defect::ResendNotLookedUp) {
            return Ok(None);
        }
        let place = key::answer(conversation, author, &resend.client_id);
        self.ask(|inner| {
            let Some(row) = inner.tables.answer(&place)? else {
                return Ok(None);
            };
            if row.fingerprint != resend.fingerprint {
                return Ok(Some(Err(CommitError::Conflict)));
            }
            let first = inner.tables.first_answer(conversation, row.answer)?;
            Ok(Some(Ok(first)))
        })
        .await
    }

    async fn page(&self, conversation: ConversationId, reader: UserId, span: Span) -> Read<Page> {
        self.ask(|inner| inner.tables.page(conversation, reader, span))
            .await
    }

    async fn entry(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Read<Option<(Arc<Entry>, DecisionRecord)>> {
        let row = self.ask(|inner| inner.tables.entry(conversation, seq));
        Ok(row.await?.map(|row| (row.entry, row.record)))
    }

    async fn members(&self, conversation: ConversationId) -> Read<Arc<[UserId]>> {
        let members = self.members_of(conversation).await?;
        Ok(members.into_iter().map(|(user, _)| user).collect())
    }

    async fn roster(&self, conversation: ConversationId) -> Read<Roster> {
        let members = self.members_of(conversation).await?;
        Ok(Roster {
            users: members.iter().map(|(user, _)| *user).collect(),
            since: members
                .iter()
                .map(|(_, member)| member.joined_seq)
                .collect(),
        })
    }

    async fn member_page(
        &self,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Read<Vec<MemberRow>> {
        let members = self.members_of(conversation).await?.into_iter();
        let later = members.filter(|(user, _)| after.is_none_or(|after| *user > after));
        Ok(later.take(limit).collect())
    }

    async fn members_among(
        &self,
        conversation: ConversationId,
        users: &[UserId],
    ) -> Read<Vec<MemberRow>> {
        let members = self.members_of(conversation).await?.into_iter();
        Ok(members.filter(|(user, _)| users.contains(user)).collect())
    }

    async fn join_requests(
        &self,
        _: ConversationId,
        _: Option<JoinRequestId>,
        _: usize,
    ) -> Read<Vec<JoinRequest>> {
        not_simulated()
    }

    async fn direct_conversations(
        &self,
        _: UserId,
        _: Option<ConversationId>,
        _: usize,
    ) -> Read<Vec<ConversationId>> {
        not_simulated()
    }

    async fn readers(&self, _: &Entry, _: Option<UserId>, _: usize) -> Read<Readers> {
        not_simulated()
    }

    async fn extents(
        &self,
        _: Option<ConversationId>,
        _: usize,
        _: bool,
    ) -> Read<(Vec<Extent>, Option<ConversationId>)> {
        not_simulated()
    }

    async fn first_since(&self, _: ConversationId, _: Seq, _: u64, _: usize) -> Read<Seq> {
        not_simulated()
    }

    async fn summary(&self, conversation: ConversationId, user: UserId) -> Read<Option<Summary>> {
        self.ask(|inner| inner.tables.summary(conversation, user))
            .await
    }

    async fn summaries(
        &self,
        user: UserId,
        _: Option<&str>,
        _: usize,
    ) -> Read<(Vec<Summary>, Option<String>)> {
        let list = self.ask(|inner| inner.tables.summaries(user)).await?;
        Ok((list, None))
    }

    async fn conversations_of(&self, user: UserId) -> Read<Vec<ConversationId>> {
        self.ask(|inner| Ok(inner.tables.memberships(user))).await
    }

    /// How many changes are confirmed: none that is to come is among them.
    fn now_token(&self) -> String {
        let inner = self.store.inner.lock();
        let ahead = match self.sim.has(Defect::TokenAheadOfCommits) {
            true => 2 + inner.waiting(),
            false => 0,
        };
        (inner.changes + ahead).to_string()
    }

    async fn changes(&self, user: UserId, since: &str, limit: usize) -> Read<Changes> {
        let since: u64 = since.parse().map_err(|_| StoreError::NotACursor)?;
        let ahead = match self.sim.has(Defect::TokenAheadOfCommits) {
            true => 2,
            false => 0,
        };
        self.ask(|inner| {
            let mut touched = Vec::new();
            for id in inner.tables.memberships(user) {
                let changed = inner.changed.get(&id).copied().unwrap_or_default();
                if changed > since {
                    touched.push((changed, id));
                }
            }
            touched.sort_unstable();
            let more = touched.len() > limit;
            touched.truncate(limit);
            let (mut changed, mut gone) = (Vec::new(), Vec::new());
            for (_, id) in &touched {
                match inner.tables.summary(*id, user)? {
                    Some(summary) => changed.push(summary),
                    None => gone.push(*id),
                }
            }
            let upto = match touched.last().filter(|_| more) {
                Some((changed, _)) => *changed,
                None => inner.changes + ahead,
            };
            Ok(Changes {
                changed,
                gone,
                since: upto.max(since).to_string(),
                more,
                reset: false,
            })
        })
        .await
    }

    async fn held(&self, _: HoldId) -> Read<Option<Arc<HeldMessage>>> {
        not_simulated()
    }

    async fn held_page(
        &self,
        _: Option<UserId>,
        _: Option<HoldId>,
        _: usize,
    ) -> Read<Vec<Arc<HeldMessage>>> {
        not_simulated()
    }

    async fn media_used(&self, _: MediaId) -> Read<bool> {
        not_simulated()
    }

    async fn media_readable(&self, _: MediaId, _: UserId) -> Read<bool> {
        not_simulated()
    }

    async fn media_left(&self, _: usize) -> Read<Vec<MediaId>> {
        not_simulated()
    }

    async fn plugin_value(&self, _: &str, _: &str) -> Read<Option<Vec<u8>>> {
        not_simulated()
    }

    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    async fn close(&self) {}
}

#[async_trait]
impl Feed for SimLog {
    async fn feed(&self, after: &FeedPosition, limit: usize) -> Read<FeedPage> {
        let after = self.stamp(after).unwrap_or_default() as usize;
        self.ask(|inner| {
            let told = inner.feed.iter().skip(after).take(limit);
            let (mut items, mut places) = (Vec::new(), Vec::new());
            let mut next = after as u64;
            for told in told {
                next += 1;
                for (seq, _) in inner.made.get(told).into_iter().flatten() {
                    if let Some(row) = inner.tables.entry(told.0, *seq)? {
                        items.push(FeedItem::Entry(row.entry));
                        places.push(next);
                    }
                }
            }
            Ok(FeedPage {
                items,
                places,
                next: self.place(next),
                more: inner.feed.len() as u64 > next,
                reset: false,
            })
        })
        .await
    }

    fn place(&self, stamp: u64) -> FeedPosition {
        FeedPosition(stamp.to_string())
    }

    fn stamp(&self, at: &FeedPosition) -> Option<u64> {
        match at.0.as_str() {
            "" => Some(0),
            text => text.parse().ok(),
        }
    }

    async fn feed_before(&self, at: &FeedPosition, items: u64) -> Read<FeedPosition> {
        let at = self.stamp(at).unwrap_or_default();
        Ok(self.place(at.saturating_sub(items)))
    }

    fn feed_end(&self) -> FeedPosition {
        self.place(self.store.inner.lock().feed.len() as u64)
    }

    async fn feed_length(&self) -> Read<u64> {
        self.ask(|inner| Ok(inner.feed.len() as u64)).await
    }

    async fn cursor(&self, _: &str) -> Read<Option<FeedPosition>> {
        not_simulated()
    }

    async fn move_cursor(&self, _: &str, _: Option<&FeedPosition>, _: &FeedPosition) -> Read<bool> {
        not_simulated()
    }

    fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }
}
