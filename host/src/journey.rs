//! A message's life, top to bottom. Invariants: I1 ack only after durable · I2 same client id, same ack · I3 one
//! dense sequence a conversation · I4 one generation a message · I5 every queue bounded.
//!
//! Branches of policy live here and in the siblings below; helpers do not branch on policy. Nothing here knows a
//! socket, a database or WASM: answers reach their session by settlement (see `delivery.rs`).

pub mod admit;
pub mod asked;
pub mod change;
pub mod command;
pub mod decide;
pub mod edit;
pub mod found;
pub mod friends;
pub mod groups;
pub mod held;
pub mod notices;
pub mod react;
pub mod reads;
pub mod receipts;
pub mod recent;
pub mod reports;
pub mod retention;
pub mod search;
pub mod signals;
mod turn;

use std::sync::Arc;

use serde_json::Value;

use crate::clock::Clock;
use crate::content::{Content, ContentLimits, Fingerprint};
use crate::entry::{Body, Made, Message, Seq};
use crate::ids::{ConversationId, UserId};
use crate::media::Media;
use crate::moderation::bans::Bans;
use crate::plugins::{Judge, Plugins};
use crate::refusal::{Code, Refusal};
use crate::store::accounts::Accounts;
use crate::store::people::{People, PeopleLimits};
use crate::store::{
    Append, Change, CommandAnswer, CommitError, FirstAnswer, Hold, MessageLog, NotTaken, Origin,
    ResendKey, StoreError, Submission,
};
use command::{Aside, Meaning};
use decide::{Judged, Question};

const GROUP_MEMBERS_DEFAULT: usize = 100_000;

/// Everything a message's life needs, by seam.
pub struct Journey {
    pub(crate) log: Arc<dyn MessageLog>,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) people: Arc<dyn People>,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: ContentLimits,
    pub(crate) people_limits: PeopleLimits,
    pub(crate) debts: notices::Debts,
    /// What was asked for again and found.
    pub(crate) found: found::Found,
    /// Members one group may have.
    pub(crate) group_members: usize,
    pub(crate) media: Arc<Media>,
    /// Who may not speak anywhere; `None` where nobody rules on it.
    pub(crate) bans: Option<Arc<Bans>>,
}

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Conversation(ConversationId),
    /// The direct conversation with this user, made when it is not there yet.
    User(UserId),
}

/// A message as a client asks for it.
#[derive(Debug)]
pub struct Draft {
    pub to: Target,
    pub client_id: String,
    /// As the client sent it, unchecked.
    pub content: Value,
    pub reply_to: Option<Seq>,
    /// Of a message a plugin makes; no client can say it.
    pub made: Option<Box<Made>>,
}

/// How a command ends at the journey's end of it.
#[derive(Debug)]
pub enum Step {
    /// Queued: the answer comes with the settlement, in the order of the log.
    Submitted,
    /// Answered before: the first answer again (I2).
    Answered(ConversationId, FirstAnswer),
}

impl Journey {
    pub fn new(
        log: Arc<dyn MessageLog>,
        accounts: Arc<dyn Accounts>,
        people: Arc<dyn People>,
        plugins: Arc<dyn Plugins>,
        clock: Arc<dyn Clock>,
        limits: (ContentLimits, PeopleLimits),
        media: Arc<Media>,
    ) -> Self {
        let (limits, people_limits) = limits;
        Self {
            log,
            accounts,
            people,
            plugins,
            clock,
            limits,
            people_limits,
            debts: notices::Debts::default(),
            found: found::Found::default(),
            group_members: GROUP_MEMBERS_DEFAULT,
            media,
            bans: None,
        }
    }

    /// The same, with groups of at most so many members.
    pub fn with_groups_of(self, group_members: usize) -> Self {
        Self {
            group_members,
            ..self
        }
    }

    /// The same, where some may not speak.
    pub fn with_bans(self, bans: Arc<Bans>) -> Self {
        Self {
            bans: Some(bans),
            ..self
        }
    }

    /// Refuses whoever may not speak anywhere now.
    pub(crate) fn may_speak(&self, author: UserId) -> Result<(), Refusal> {
        match &self.bans {
            Some(bans) => bans.admit_speech(author, self.clock.now_ms()),
            None => Ok(()),
        }
    }

    /// A message from its sender to the queue of the log.
    pub async fn send(
        &self,
        author: UserId,
        draft: Draft,
        origin: Origin,
    ) -> Result<Step, Refusal> {
        let key = resend_key(&draft.client_id, &draft.content)?;
        let mut content = Content::parse(draft.content, &self.limits)?;
        let mut place = match admit::place(self, author, draft.to).await {
            Ok(place) => place,
            // The conversation may not be there, or not any more, and the message may have been answered all the same.
            Err(refusal) if refusal.code == Code::NotFound => {
                let conversation = admit::conversation_of(author, draft.to);
                return self
                    .refuse_or_resend(conversation, author, Some(&key), refusal)
                    .await;
            }
            Err(refusal) => return Err(refusal),
        };
        let conversation = place.conversation;
        let mut admitted =
            admit::check(&place, draft.reply_to).and_then(|()| admit::speaks(&place, &*self.clock));
        admitted = admitted.and_then(|()| self.may_speak(author));
        if let (Ok(()), Some(target)) = (&admitted, draft.reply_to) {
            admitted = self.target(&place, author, target).await.map(|_| ());
        }
        let mut corrected = false;
        if admitted.is_ok() && content.may_name_media() {
            // Boxed, so that the future of a text is no larger for it.
            let media = Box::pin(self.media.admit(author, &mut content)).await;
            admitted = media.map(|changed| corrected = changed);
        }

        let mut origin = origin;
        loop {
            let judge = self.plugins.pin(); // I4
            if admitted.is_ok() {
                self.look_back(&*judge, author, &mut place).await?;
            }
            let sent = Admitted {
                author,
                place: &place,
                key: &key,
                content: &content,
                corrected,
                reply_to: draft.reply_to,
                made: draft.made.as_deref(),
            };
            let judged = match &admitted {
                Ok(()) => self.judge_send(&*judge, &sent),
                Err(refusal) => Err(refusal.clone()),
            };
            let change = match judged {
                Ok(change) => change,
                Err(refusal) => {
                    return self
                        .refuse_or_resend(conversation, author, Some(&key), refusal)
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

    /// What becomes of a message, or of a command, by one generation.
    fn judge_send(&self, judge: &dyn Judge, sent: &Admitted<'_>) -> Result<Change, Refusal> {
        let question = Question {
            operation: "send",
            author: sent.author,
            place: sent.place,
            content: Some(sent.content),
            text: sent.content.text(),
            at_ms: self.clock.now_ms(),
            target: None,
            reply_to: sent.reply_to,
            edit: false,
        };
        let mut aside = Aside::default();
        if question.text.starts_with('/') {
            match command::meaning(judge, &question, &self.limits)? {
                Meaning::Message(found) => aside = found,
                Meaning::Answered(answer) => return Ok(answer_change(sent, answer)),
            }
        }
        let content = aside.content.as_ref().unwrap_or(sent.content);
        let question = Question {
            content: Some(content),
            text: content.text(),
            ..question
        };
        let mut judged = decide::judge(judge, &question, &self.limits)?;
        judged.replaced(sent.corrected || aside.content.is_some());
        judged.after(aside, sent.content);
        judged.made(sent.made);
        Ok(send_change(sent, judged))
    }

    /// A refusal answers a new message; a resend gets its first answer whatever has changed since (I2).
    pub(crate) async fn refuse_or_resend(
        &self,
        conversation: ConversationId,
        author: UserId,
        key: Option<&ResendKey>,
        refusal: Refusal,
    ) -> Result<Step, Refusal> {
        let Some(key) = key else {
            return Err(refusal);
        };
        // Asked before the answer is looked for: what settles in between is found then.
        let waits = self.log.in_flight(conversation, author).any;
        if let Some(step) = self.answered_before(conversation, author, key).await? {
            return Ok(step);
        }
        if waits {
            self.wait_for_queued(conversation, author).await?;
            if let Some(step) = self.answered_before(conversation, author, key).await? {
                return Ok(step);
            }
        }
        Err(refusal)
    }

    async fn answered_before(
        &self,
        conversation: ConversationId,
        author: UserId,
        key: &ResendKey,
    ) -> Result<Option<Step>, Refusal> {
        let found = self.log.first_answer(conversation, author, key).await;
        match found.map_err(|e| store_refusal(&e))? {
            Some(Ok(first)) => {
                self.found.note(conversation, &first);
                Ok(Some(Step::Answered(conversation, first)))
            }
            Some(Err(error)) => Err(commit_refusal(&error)),
            None => Ok(None),
        }
    }

    /// Resolves when what is queued of a conversation is settled: a receipt of nothing changes nothing and is settled
    /// after all of it.
    async fn wait_for_queued(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<(), Refusal> {
        let nothing = Change::Receipt {
            conversation,
            user,
            received: 0,
            read: 0,
        };
        match self.settle(nothing).await {
            // Nothing made the conversation, or the user is none of its members.
            Err(refusal) if refusal.code != Code::NotFound => Err(refusal),
            _ => Ok(()),
        }
    }
}

/// A message that its author may send.
struct Admitted<'a> {
    author: UserId,
    place: &'a admit::Place,
    key: &'a ResendKey,
    content: &'a Content,
    /// The content is not what was sent, for another reason than a plugin's.
    corrected: bool,
    reply_to: Option<Seq>,
    /// As of its draft.
    made: Option<&'a Made>,
}

fn send_change(sent: &Admitted<'_>, judged: Judged) -> Change {
    let Admitted {
        author,
        place,
        reply_to,
        ..
    } = *sent;
    let key = sent.key.clone();
    match judged {
        Judged::Keep(keep) => Change::Append(Box::new(Append {
            conversation: place.conversation,
            opening: place.opening.clone(),
            author,
            body: Body::Message(Message {
                client_id: key.client_id.clone(),
                content: keep.content,
                reply_to,
                edited: false,
                recalled: false,
            }),
            key: Some(key),
            audience: keep.audience,
            replaced: keep.replaced,
            record: keep.record,
            effects: keep.effects,
            moves_read: true,
            releases: None,
        })),
        Judged::Hold(kept) => Change::Hold(Box::new(Hold {
            conversation: place.conversation,
            opening: place.opening.clone(),
            author,
            key: Some(key),
            content: kept.content,
            sent: kept.sent,
            replaced: kept.replaced,
            audience: kept.audience,
            effects: kept.effects,
            reply_to,
            edits: None,
            again: None,
            by: kept.why.by,
            reason: kept.why.reason,
            cause: kept.why.cause,
            record: kept.record,
        })),
        Judged::Drop => Change::Drop {
            conversation: place.conversation,
            author,
            key,
        },
    }
}

fn answer_change(sent: &Admitted<'_>, answer: command::Answer) -> Change {
    Change::Command(Box::new(CommandAnswer {
        conversation: sent.place.conversation,
        author: sent.author,
        key: sent.key.clone(),
        reply: answer.reply,
        effects: answer.effects,
        generation: answer.generation,
    }))
}

/// Checks a client id and takes the fingerprint of what was sent.
pub(crate) fn resend_key(client_id: &str, content: &Value) -> Result<ResendKey, Refusal> {
    let length = client_id.chars().count();
    if !(1..=64).contains(&length) {
        return Err(Refusal::bad_request(
            "client_id must have 1 to 64 characters",
        ));
    }
    Ok(ResendKey {
        client_id: client_id.to_owned(),
        fingerprint: Fingerprint::of(content),
    })
}

pub(crate) fn overloaded() -> Refusal {
    Refusal::unavailable("too much is waiting to be stored; nothing was stored of this")
}

/// What a store's trouble is to a client.
pub fn store_refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Unavailable(_) => Refusal::unavailable("the store is unavailable"),
        StoreError::Timeout => Refusal::new(Code::Timeout, "the store did not answer in time"),
        StoreError::NotACursor => Refusal::bad_request("not a cursor of this list"),
        StoreError::Damaged(_) => Refusal::new(Code::Internal, "stored data could not be read"),
    }
}

/// What a change that was not committed is to a client.
pub fn commit_refusal(error: &CommitError) -> Refusal {
    match error {
        CommitError::Conflict => Refusal::new(Code::Conflict, FirstAnswer::CONFLICT),
        CommitError::Changed => Refusal::new(Code::Conflict, "it was changed meanwhile"),
        CommitError::Gone(what) => Refusal::not_found(*what),
        CommitError::Forbidden(why) => Refusal::new(Code::Forbidden, *why),
        CommitError::Full(what) => Refusal::new(Code::TooLarge, *what),
        CommitError::TooSoon { wait_ms } => admit::too_soon(*wait_ms),
        CommitError::Stale | CommitError::Unavailable => {
            Refusal::unavailable("nothing was stored; send again")
        }
        CommitError::Timeout => {
            Refusal::new(Code::Timeout, "not known whether it was stored; send again")
        }
    }
}
