//! Held messages: an administrator releases or refuses them; those held because a plugin failed are judged again
//! when it has recovered. A second judgement adds to the record; the deciding one counts.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::admit::{self, Place};
use super::decide::{self, Judged, Keep, Question};
use super::{Journey, Target, commit_refusal, overloaded, store_refusal};
use crate::content::Content;
use crate::entry::{Body, Entry, Message, Seq};
use crate::ids::{ConversationId, HoldId, UserId};
use crate::refusal::{Code, Refusal};
use crate::store::{
    Append, Change, CommitError, HeldMessage, HoldCause, NotTaken, Origin, Outcome, Submission,
};

/// What came of judging a held message again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    Released,
    Refused(String),
    /// The hook still fails, or now holds it on its verdict.
    StillHeld,
    /// It was released or refused meanwhile.
    Gone,
}

impl Journey {
    /// Commits a held message as it stands, by an administrator's word; no plugin is asked again.
    pub async fn release(&self, hold: HoldId) -> Result<Outcome, Refusal> {
        let held = self.waiting(hold).await?;
        let keep = Keep {
            content: Some(held.hold.content.clone()),
            replaced: false,
            audience: None,
            recall_window_ms: None,
            by_strategy: false,
            record: held
                .hold
                .record
                .followed_by(self.plugins.pin().generation(), Vec::new()),
            effects: Vec::new(),
        };
        self.commit_held(&held, keep).await
    }

    /// Refuses a held message for good; its sender is told the reason.
    pub async fn refuse(&self, hold: HoldId, reason: &str) -> Result<Outcome, Refusal> {
        self.waiting(hold).await?;
        self.settle(Change::Refuse {
            hold,
            reason: reason.to_owned(),
        })
        .await
    }

    /// Asks the generation in force about every message held for a failure, oldest first; how many were settled.
    pub async fn judge_held_again(&self) -> Result<usize, Refusal> {
        let (mut settled, mut after) = (0, None);
        loop {
            let page = self
                .log
                .held_page(None, after, 100)
                .await
                .map_err(|e| store_refusal(&e))?;
            let Some(last) = page.last() else {
                return Ok(settled);
            };
            after = Some(last.id);
            for held in page.iter().filter(|held| held.refused.is_none()) {
                if held.hold.cause != HoldCause::Verdict
                    && matches!(
                        self.judge_again(held).await?,
                        Again::Released | Again::Refused(_)
                    )
                {
                    settled += 1;
                }
            }
        }
    }

    async fn judge_again(&self, held: &Arc<HeldMessage>) -> Result<Again, Refusal> {
        let hold = &held.hold;
        let Some(content) = Content::from_stored(hold.content.get()) else {
            return Err(Refusal::new(
                Code::Internal,
                "a held content could not be read",
            ));
        };
        let target = match hold
            .opening
            .as_ref()
            .and_then(|o| o.users.iter().find(|user| **user != hold.author))
        {
            Some(peer) => Target::User(*peer),
            None => Target::Conversation(hold.conversation),
        };
        let place = admit::place(self, hold.author, target).await?;
        let target = match hold.edits {
            Some(seq) => self.edited(hold.conversation, seq).await?,
            None => None,
        };
        let judged = {
            let judge = self.plugins.pin(); // I4
            self.judge_held(&*judge, held, &place, &content, target.as_deref())
        };
        let outcome = match judged {
            Ok(Judged::Keep(mut keep)) => {
                keep.record = hold
                    .record
                    .followed_by(keep.record.generation, keep.record.hooks);
                self.commit_held(held, keep).await
            }
            Ok(Judged::Hold(_)) => return Ok(Again::StillHeld),
            Ok(Judged::Drop) => {
                self.settle(Change::Refuse {
                    hold: held.id,
                    reason: "dropped".to_owned(),
                })
                .await
            }
            Err(refusal) if refusal.code == Code::Unavailable => return Ok(Again::StillHeld),
            Err(refusal) => {
                let reason = refusal
                    .reason
                    .unwrap_or_else(|| refusal.code.as_str().to_owned());
                self.settle(Change::Refuse {
                    hold: held.id,
                    reason,
                })
                .await
            }
        };
        match outcome {
            Ok(Outcome::Refused(refused)) => {
                Ok(Again::Refused(refused.refused.clone().unwrap_or_default()))
            }
            Ok(_) => Ok(Again::Released),
            Err(refusal) if refusal.code == Code::NotFound => Ok(Again::Gone),
            Err(refusal) => Err(refusal),
        }
    }

    fn judge_held(
        &self,
        judge: &dyn crate::plugins::Judge,
        held: &HeldMessage,
        place: &Place,
        content: &Content,
        target: Option<&Entry>,
    ) -> Result<Judged, Refusal> {
        let question = Question {
            operation: if target.is_some() { "edit" } else { "send" },
            author: held.hold.author,
            place,
            content: Some(content),
            text: content.text(),
            at_ms: self.clock.now_ms(),
            // It was sent when it was held: the time it waits is not its author's.
            target: target.map(|entry| (entry.from, held.at.saturating_sub(entry.at))),
            edit: target.is_some(),
        };
        decide::judge(judge, &question, &self.limits)
    }

    /// The message that a held edit is about.
    async fn edited(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<Arc<Entry>>, Refusal> {
        let found = self.log.entry(conversation, seq).await;
        Ok(found
            .map_err(|e| store_refusal(&e))?
            .map(|(entry, _)| entry))
    }

    async fn commit_held(&self, held: &HeldMessage, keep: Keep) -> Result<Outcome, Refusal> {
        let hold = &held.hold;
        let (body, audience) = match hold.edits {
            Some(target) => {
                let entry = self.edited(hold.conversation, target).await?;
                let body = Body::Edit {
                    target,
                    content: keep.content,
                };
                (body, entry.and_then(|entry| entry.audience.clone()))
            }
            None => {
                let client_id = hold.key.as_ref().map(|key| key.client_id.clone());
                let message = Message {
                    client_id: client_id.unwrap_or_default(),
                    content: keep.content,
                    reply_to: hold.reply_to,
                    edited: false,
                    recalled: false,
                };
                (Body::Message(message), keep.audience)
            }
        };
        self.settle(Change::Append(Box::new(Append {
            conversation: hold.conversation,
            opening: hold.opening.clone(),
            author: hold.author,
            key: hold.key.clone(),
            body,
            audience,
            replaced: keep.replaced,
            record: keep.record,
            effects: keep.effects,
            moves_read: false,
            releases: Some(held.id),
        })))
        .await
    }

    /// A held message that still waits.
    async fn waiting(&self, hold: HoldId) -> Result<Arc<HeldMessage>, Refusal> {
        let held = self.log.held(hold).await.map_err(|e| store_refusal(&e))?;
        match held {
            Some(held) if held.refused.is_none() => Ok(held),
            _ => Err(Refusal::not_found("no such held message")),
        }
    }

    /// Submits a change of the host's own and waits until it is settled.
    pub(crate) async fn settle(&self, change: Change) -> Result<Outcome, Refusal> {
        let (sender, receiver) = oneshot::channel();
        match self.log.submit(Submission {
            change,
            origin: Origin::Caller(sender),
        }) {
            Ok(()) => {}
            Err(NotTaken::Stale(_)) => return Err(commit_refusal(&CommitError::Stale)),
            Err(NotTaken::Full(_)) => return Err(overloaded()),
        }
        match receiver.await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(error)) => Err(commit_refusal(&error)),
            Err(_) => Err(commit_refusal(&CommitError::Timeout)),
        }
    }
}

/// For REST and scripts: a send that is waited for.
impl Journey {
    /// As `send`, resolved once it is settled.
    pub async fn send_and_wait(
        &self,
        author: UserId,
        draft: super::Draft,
    ) -> Result<Sent, Refusal> {
        let (sender, receiver) = oneshot::channel();
        match self.send(author, draft, Origin::Caller(sender)).await? {
            super::Step::Answered(conversation, first) => Ok(Sent::Before(conversation, first)),
            super::Step::Submitted => match receiver.await {
                Ok(Ok(outcome)) => Ok(Sent::Now(outcome)),
                Ok(Err(error)) => Err(commit_refusal(&error)),
                Err(_) => Err(commit_refusal(&CommitError::Timeout)),
            },
        }
    }
}

/// What a waited-for send came to.
#[derive(Debug)]
pub enum Sent {
    Now(Outcome),
    Before(ConversationId, crate::store::FirstAnswer),
}
