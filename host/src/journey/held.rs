//! Held messages: an administrator releases or refuses them; those held because a plugin failed are judged again
//! when it has recovered. A second judgement adds to the record; the deciding one counts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::admit::{self, Place};
use super::decide::{self, Judged, Keep, Kept, Question};
use super::{Journey, Target, commit_refusal, overloaded, store_refusal};
use crate::content::Content;
use crate::conversation::Kind;
use crate::entry::{Body, DecisionRecord, Entry, HookOutcome, Message, Seq};
use crate::ids::{ConversationId, HoldId, UserId};
use crate::refusal::{Code, Refusal};
use crate::store::{
    Append, Change, CommitError, HeldMessage, Hold, HoldCause, MessageLog, NotTaken, Origin,
    Outcome, Submission,
};

/// Judgements of one generation that may fail before a held message is left to an administrator or the next one.
const TRIES_MOST: u8 = 2;
/// Messages that a hook failed at, judged again in one pass at most.
const SUSPECTS_MOST: usize = 256;
/// After one that failed again the next waits so long: far fewer than what opens a breaker.
const SUSPECT_EVERY_MS: u64 = 5_000;
/// For how long a refused message is listed for its sender.
const REFUSED_LISTED_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// How often the messages held for a failure have failed. Holds only those of the last pass (I5).
#[derive(Debug, Default)]
pub struct Tries {
    known: HashMap<HoldId, Try>,
    /// Who wrote what failed: what else they wrote waits behind what others did.
    authors: HashSet<UserId>,
    /// When one of these failed, last.
    failed_again_at: u64,
}

#[derive(Debug, Clone, Copy)]
struct Try {
    generation: u64,
    failed: u8,
}

impl Tries {
    /// A generation that has taken over may have mended it: its tries count anew. The judgement that held it was one.
    fn of(&self, held: &HeldMessage, generation: u64) -> Try {
        let record = &held.hold.record;
        let first = Try {
            generation,
            failed: u8::from(record.generation == generation && asked(record)),
        };
        let known = self.known.get(&held.id).copied();
        known
            .filter(|known| known.generation == generation)
            .unwrap_or(first)
    }

    fn keep(&mut self, held: &HeldMessage, tried: Try) {
        self.known.insert(held.id, tried);
        if tried.failed > 0 {
            self.authors.insert(held.hold.author);
        }
    }
}

impl Try {
    fn one_more(self) -> Self {
        Self {
            failed: self.failed.saturating_add(1),
            ..self
        }
    }
}

/// What came of judging a held message again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    Released,
    Refused(String),
    /// A hook now holds it on its verdict.
    HeldOnVerdict,
    /// A hook was asked and failed again.
    StillFails,
    /// A hook is absent or not asked for now, because it fails: nothing of this message's doing.
    NotAsked,
    /// It was released or refused meanwhile.
    Gone,
}

impl Journey {
    /// Commits a held message by an administrator's word: a hold is lifted, what the filters mask or reject is not.
    pub async fn release(&self, hold: HoldId) -> Result<Outcome, Refusal> {
        let held = self.waiting(hold).await?;
        let stored = &held.hold;
        let content = read(&stored.content)?;
        let kind = self.kind_of(stored).await?;
        let (masked, lifted) = {
            let judge = self.plugins.pin(); // I4
            let edit = stored.edits.is_some();
            decide::lifted(
                &*judge,
                (kind, stored.conversation),
                (&content, edit),
                self.clock.now_ms(),
            )?
        };
        let keep = Keep {
            replaced: stored.replaced || masked.is_some(),
            content: Some(masked.unwrap_or_else(|| stored.content.clone())),
            audience: stored.audience.clone(),
            by_strategy: false,
            record: stored.record.followed_by(lifted.generation, lifted.hooks),
            effects: stored.effects.clone(),
        };
        self.commit_held(&held, keep).await
    }

    async fn kind_of(&self, hold: &Hold) -> Result<Kind, Refusal> {
        if let Some(opening) = &hold.opening {
            return Ok(opening.kind);
        }
        let standing = self.log.standing(hold.conversation, hold.author).await;
        let standing = standing.map_err(|e| store_refusal(&e))?;
        standing
            .map(|standing| standing.conversation.kind)
            .ok_or_else(|| Refusal::not_found("no such conversation"))
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

    /// Asks the generation in force about every message held for a failure, oldest first; how many were settled. Those
    /// that a hook of this generation failed at, and what their authors wrote besides, come last, and only while the hook
    /// is well: the trial call of a breaker is not spent on what may have opened it.
    /// Refused ones that were listed for long enough are listed no more.
    pub async fn judge_held_again(&self, tries: &mut Tries) -> Result<usize, Refusal> {
        let (mut settled, mut after) = (0, None);
        let (mut failing, mut suspects) = (Tries::default(), Vec::new());
        failing.failed_again_at = tries.failed_again_at;
        let long_ago = self.clock.now_ms().saturating_sub(REFUSED_LISTED_MS);
        loop {
            let page = self
                .log
                .held_page(None, after, 100)
                .await
                .map_err(|e| store_refusal(&e))?;
            let Some(last) = page.last() else {
                settled += self.try_suspects(suspects, &mut failing).await;
                *tries = failing;
                return Ok(settled);
            };
            after = Some(last.id);
            for held in &page {
                if held.refused.is_some() {
                    if held.refused_at < long_ago {
                        self.forget(held.id).await;
                    }
                } else if held.hold.cause != HoldCause::Verdict {
                    let before = tries.of(held, self.plugins.pin().generation());
                    let author = &held.hold.author;
                    let by_a_suspect =
                        tries.authors.contains(author) || failing.authors.contains(author);
                    if before.failed == 0 && !by_a_suspect {
                        settled += usize::from(self.try_again(held, before, &mut failing).await);
                        continue;
                    }
                    failing.keep(held, before);
                    if before.failed < TRIES_MOST && suspects.len() < SUSPECTS_MOST {
                        suspects.push((held.clone(), before));
                    }
                }
            }
        }
    }

    async fn forget(&self, hold: HoldId) {
        if let Err(refusal) = self.settle(Change::Forget { hold }).await {
            tracing::warn!(%hold, why = %refusal.message, "a refused message could not be taken off the list");
        }
    }

    /// Judges those that a hook failed at, up to the first that fails again; how many were settled.
    async fn try_suspects(
        &self,
        suspects: Vec<(Arc<HeldMessage>, Try)>,
        failing: &mut Tries,
    ) -> usize {
        let mut settled = 0;
        for (held, before) in suspects {
            let rested = self.clock.now_ms().saturating_sub(failing.failed_again_at);
            if rested < SUSPECT_EVERY_MS || !self.plugins.pin().is_well(&held.hold.by) {
                continue;
            }
            settled += usize::from(self.try_again(&held, before, failing).await);
            if failing.of(&held, before.generation).failed > before.failed {
                failing.failed_again_at = self.clock.now_ms();
            }
        }
        settled
    }

    /// Judges one again; whether that settled it. Its trouble is its own.
    async fn try_again(&self, held: &Arc<HeldMessage>, before: Try, failing: &mut Tries) -> bool {
        match self.judge_again(held).await {
            Ok(Again::Released | Again::Refused(_)) => return true,
            Ok(Again::HeldOnVerdict | Again::Gone) => {}
            Ok(Again::NotAsked) => failing.keep(held, before),
            Ok(Again::StillFails) => failing.keep(held, before.one_more()),
            Err(refusal) => {
                tracing::warn!(hold = %held.id, why = %refusal.message, "a held message could not be judged again");
                // A queue that is full or a store that is down is no trouble of this message.
                let own = refusal.code != Code::Unavailable && refusal.code != Code::Timeout;
                failing.keep(held, if own { before.one_more() } else { before });
            }
        }
        false
    }

    async fn judge_again(&self, held: &Arc<HeldMessage>) -> Result<Again, Refusal> {
        let hold = &held.hold;
        let content = read(hold.sent.as_ref().unwrap_or(&hold.content))?;
        let target = match hold
            .opening
            .as_ref()
            .and_then(|o| o.users.iter().find(|user| **user != hold.author))
        {
            Some(peer) => Target::User(*peer),
            None => Target::Conversation(hold.conversation),
        };
        let mut place = admit::place(self, hold.author, target).await?;
        let target = match hold.edits {
            Some(seq) => self.edited(hold.conversation, seq).await?,
            None => None,
        };
        let judged = {
            let judge = self.plugins.pin(); // I4
            self.look_back(&*judge, hold.author, &mut place).await?;
            self.judge_held(&*judge, held, &place, &content, target.as_deref())
        };
        let outcome = match judged {
            Ok(Judged::Keep(mut keep)) => {
                keep.record = DecisionRecord {
                    recall_window_ms: keep.record.recall_window_ms,
                    circumstances: keep.record.circumstances,
                    beside: keep.record.beside,
                    ..hold
                        .record
                        .followed_by(keep.record.generation, keep.record.hooks)
                };
                // What was masked before is masked in what was asked about now.
                keep.replaced |= hold.replaced && hold.sent.is_none();
                self.commit_held(held, keep).await
            }
            Ok(Judged::Hold(kept)) if kept.why.cause == HoldCause::Verdict => {
                self.hold_again(held, kept).await?;
                return Ok(Again::HeldOnVerdict);
            }
            Ok(Judged::Hold(kept)) if asked(&kept.record) => return Ok(Again::StillFails),
            Ok(Judged::Hold(_)) => return Ok(Again::NotAsked),
            Ok(Judged::Drop) => {
                self.settle(Change::Refuse {
                    hold: held.id,
                    reason: "dropped".to_owned(),
                })
                .await
            }
            Err(refusal) if refusal.code == Code::Unavailable => return Ok(Again::StillFails),
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

    /// A second judgement holds it on a verdict: from now on it waits for an administrator.
    async fn hold_again(&self, held: &HeldMessage, kept: Kept) -> Result<Outcome, Refusal> {
        let hold = held.hold.clone();
        let record = DecisionRecord {
            recall_window_ms: kept.record.recall_window_ms,
            circumstances: kept.record.circumstances,
            beside: kept.record.beside,
            ..hold
                .record
                .followed_by(kept.record.generation, kept.record.hooks)
        };
        self.settle(Change::Hold(Box::new(Hold {
            replaced: kept.replaced || (hold.replaced && hold.sent.is_none()),
            content: kept.content,
            sent: kept.sent,
            audience: kept.audience,
            effects: kept.effects,
            again: Some(held.id),
            by: kept.why.by,
            reason: kept.why.reason,
            cause: kept.why.cause,
            record,
            ..hold
        })))
        .await
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
            reply_to: held.hold.reply_to,
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
        settle(&*self.log, change).await
    }
}

/// Submits a change and waits for its end.
pub(crate) async fn settle(log: &dyn MessageLog, change: Change) -> Result<Outcome, Refusal> {
    let (sender, receiver) = oneshot::channel();
    match log.submit(Submission {
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

/// A hook was really called; one whose breaker is open takes no time to fail.
fn asked(record: &DecisionRecord) -> bool {
    let mut hooks = record.hooks.iter();
    hooks.any(|hook| hook.outcome == HookOutcome::Failed && hook.duration_us > 0)
}

fn read(content: &RawValue) -> Result<Content, Refusal> {
    Content::from_stored(content.get())
        .ok_or_else(|| Refusal::new(Code::Internal, "a held content could not be read"))
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
