//! Editing: a message's author gives it another content. As with a send, filters and the strategy are asked, a
//! client id makes a resend safe, and what is held changes nothing until it is released.

use std::sync::Arc;

use serde_json::Value;

use super::admit::{self, Place};
use super::decide::{self, Judged, Question};
use super::{Journey, Step, Target, overloaded, resend_key};
use crate::content::Content;
use crate::entry::{Body, Entry, Seq};
use crate::ids::{ConversationId, UserId};
use crate::plugins::Judge;
use crate::refusal::{Code, Refusal};
use crate::store::{Append, Change, FirstAnswer, Hold, NotTaken, Origin, ResendKey, Submission};

/// How long a sender may edit when no strategy is bound to say so.
const EDIT_WINDOW_DEFAULT_MS: u64 = 86_400_000;

/// An edit as a client asks for it.
#[derive(Debug)]
pub struct Edit {
    pub conversation: ConversationId,
    pub target: Seq,
    pub client_id: Option<String>,
    /// As the client sent it, unchecked.
    pub content: Value,
}

impl Journey {
    /// Gives a message another content: from its author to the queue of the log.
    pub async fn edit(&self, author: UserId, edit: Edit, origin: Origin) -> Result<Step, Refusal> {
        let key = match &edit.client_id {
            Some(client_id) => Some(resend_key(client_id, &edit.content)?),
            None => None,
        };
        let mut content = Content::parse(edit.content, &self.limits)?;
        let mut place = admit::place(self, author, Target::Conversation(edit.conversation)).await?;
        let mut target = self.editable(&place, author, edit.target).await;
        let mut corrected = false;
        if target.is_ok() && content.may_name_media() {
            match Box::pin(self.media.admit(author, &mut content)).await {
                Ok(changed) => corrected = changed,
                Err(refusal) => target = Err(refusal),
            }
        }

        let mut origin = origin;
        loop {
            let judge = self.plugins.pin(); // I4
            if target.is_ok() {
                self.look_back(&*judge, author, &mut place).await?;
            }
            let judged = match &target {
                Ok(entry) => self
                    .judge_edit(&*judge, author, &place, entry, &content)
                    .map(|mut judged| {
                        judged.replaced(corrected);
                        edit_change(author, &place, key.clone(), entry, judged)
                    }),
                Err(refusal) => Err(refusal.clone()),
            };
            let change = match judged {
                Ok(Some(change)) => change,
                Ok(None) => return Ok(Step::Answered(place.conversation, FirstAnswer::Dropped)),
                Err(refusal) => {
                    return self
                        .refuse_or_resend(place.conversation, author, key.as_ref(), refusal)
                        .await;
                }
            };
            match self.log.submit(Submission { change, origin }) {
                Ok(()) => return Ok(Step::Submitted), // I1: the ack comes with the settlement
                Err(NotTaken::Stale(back)) => origin = back.origin,
                Err(NotTaken::Full(_)) => return Err(overloaded()),
            }
            Box::pin(self.wait_for_newer(judge.generation())).await?;
        }
    }

    /// The message that is to be edited, if it is one that its author may still edit.
    async fn editable(
        &self,
        place: &Place,
        author: UserId,
        target: Seq,
    ) -> Result<Arc<Entry>, Refusal> {
        admit::check(place, None)?;
        admit::unmuted(place, &*self.clock)?;
        self.may_speak(author)?;
        let entry = self.standing_message(place, author, target).await?;
        if entry.from != author {
            return Err(Refusal::new(
                Code::Forbidden,
                "only its sender may edit a message",
            ));
        }
        Ok(entry)
    }

    /// A message that its reader may see and that was not recalled.
    pub(crate) async fn standing_message(
        &self,
        place: &Place,
        reader: UserId,
        seq: Seq,
    ) -> Result<Arc<Entry>, Refusal> {
        let (entry, _) = self.target(place, reader, seq).await?;
        match entry.message() {
            None => Err(Refusal::not_found("there is no message at this seq")),
            Some(message) if message.recalled => {
                Err(Refusal::not_found("the message was recalled"))
            }
            Some(_) => Ok(entry),
        }
    }

    fn judge_edit(
        &self,
        judge: &dyn Judge,
        author: UserId,
        place: &Place,
        entry: &Entry,
        content: &Content,
    ) -> Result<Judged, Refusal> {
        let now = self.clock.now_ms();
        let age = now.saturating_sub(entry.at);
        let question = Question {
            operation: "edit",
            author,
            place,
            content: Some(content),
            text: content.text(),
            at_ms: now,
            target: Some((entry.from, age)),
            reply_to: None,
            edit: true,
        };
        let judged = decide::judge(judge, &question, &self.limits)?;
        let timed = match &judged {
            Judged::Keep(keep) => !keep.by_strategy,
            Judged::Hold(kept) => !kept.by_strategy,
            Judged::Drop => false,
        };
        if timed && age > EDIT_WINDOW_DEFAULT_MS {
            return Err(Refusal::new(Code::TooLate, "the time to edit this is over"));
        }
        Ok(judged)
    }
}

/// `None`: it is not kept, and there is no client id to remember that by.
fn edit_change(
    author: UserId,
    place: &Place,
    key: Option<ResendKey>,
    entry: &Entry,
    judged: Judged,
) -> Option<Change> {
    let (conversation, target) = (place.conversation, entry.seq);
    Some(match judged {
        Judged::Keep(keep) => Change::Append(Box::new(Append {
            conversation,
            opening: None,
            author,
            body: Body::Edit {
                target,
                content: keep.content,
            },
            key,
            // Whoever got the message gets its edit, and nobody else.
            audience: entry.audience.clone(),
            replaced: keep.replaced,
            record: keep.record,
            effects: keep.effects,
            moves_read: false,
            releases: None,
        })),
        Judged::Hold(kept) => Change::Hold(Box::new(Hold {
            conversation,
            opening: None,
            author,
            key,
            content: kept.content,
            sent: kept.sent,
            replaced: kept.replaced,
            audience: kept.audience,
            effects: kept.effects,
            again: None,
            reply_to: None,
            edits: Some(target),
            by: kept.why.by,
            reason: kept.why.reason,
            cause: kept.why.cause,
            record: kept.record,
        })),
        Judged::Drop => Change::Drop {
            conversation,
            author,
            key: key?,
        },
    })
}
