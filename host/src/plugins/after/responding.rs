//! One round of a responder: the messages of a page, conversations side by side, in order within each. The place moves on
//! when all of them are answered or taken back; what a crash repeats is sent once by its client id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kith_runtime::{AfterCall, Event, Failure, Hook, Retry};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::abilities::{Call, Cause};
use super::events::{self, Placed};
use super::follow::{BATCH, Consumer, FAILURES_MOST, Round, pause, wished};
use super::questions::{self, Questions};
use super::{AfterCommit, Bound};
use crate::entry::Entry;
use crate::ids::{ConversationId, UserId};
use crate::journey::store_refusal;
use crate::plugins::replay::aside::failure_kind;
use crate::plugins::replay::asked::{Asked, AskedEvent, AskedEvents};
use crate::plugins::replay::files::Made;
use crate::refusal::Refusal;
use crate::store::feed::{FeedItem, FeedPosition};

/// Conversations answered at once by one responder.
const LANES: usize = 8;
/// Wishes to be called again before a message is given up.
const WISHES_MOST: u32 = 20;
/// Why an event was given up, where no call failed.
pub(super) const SKIPPED: &str = "skipped";
/// Longest that others of the page are kept waiting for such a wish.
const WISH_MOST: Duration = Duration::from_secs(60);
const BROKEN: Duration = Duration::from_millis(250);

/// A message to be answered, with its place in the feed.
struct Waiting {
    entry: Arc<Entry>,
    stamp: u64,
}

/// How a call about a message ended.
enum Called {
    Ended(Result<Result<(), Retry>, Failure>),
    /// Nobody answers there any more.
    Unbound,
    /// There is nothing to answer any more.
    Over,
}

impl Consumer {
    pub(super) async fn answer(&mut self) -> Result<Round, Refusal> {
        let shared = self.shared.clone();
        let mut speakers = Vec::new();
        for bound in shared.bound(&self.plugin, self.hook) {
            let account = shared.speaker(&bound).await?;
            speakers.push((bound, account));
        }
        if speakers.is_empty() {
            return Ok(Round::Idle);
        }
        let page = self.place.next(&shared, BATCH).await;
        let page = page.map_err(|e| store_refusal(&e))?;
        let mut lanes: BTreeMap<ConversationId, Vec<Waiting>> = BTreeMap::new();
        let mut questions = Questions::default();
        for (item, stamp) in page.items.iter().zip(&page.places) {
            if let FeedItem::Entry(entry) = item
                && let Some((bound, account)) = speaker_in(&speakers, entry.conversation)
                && events::is_for_responder(entry, *account)
                && shared
                    .is_bound_here(bound, entry.conversation, *account)
                    .await?
            {
                questions.add(entry);
                let lane = lanes.entry(entry.conversation).or_default();
                lane.push(Waiting {
                    entry: entry.clone(),
                    stamp: *stamp,
                });
            }
        }
        if !self.answer_lanes(lanes, questions, &page.next).await {
            return Ok(Round::Idle); // nobody answers here any more; the page comes again
        }
        let noted = self.place.note(&shared, page.next).await;
        noted.map_err(|e| store_refusal(&e))?;
        Ok(if page.more { Round::More } else { Round::Idle })
    }

    /// What a page asks, conversations side by side; false where nobody answers any more. What is taken back behind the page
    /// is heard of meanwhile.
    async fn answer_lanes(
        &self,
        lanes: BTreeMap<ConversationId, Vec<Waiting>>,
        questions: Questions,
        behind: &FeedPosition,
    ) -> bool {
        let (questions, stand) = watch::channel(questions);
        let places = Arc::new(Semaphore::new(LANES));
        let mut running = JoinSet::new();
        for lane in lanes.into_values() {
            let (shared, places) = (self.shared.clone(), places.clone());
            let (plugin, stand) = (self.plugin.clone(), stand.clone());
            running.spawn(async move {
                let _place = places.acquire_owned().await;
                shared.answer_all(plugin, lane, stand).await
            });
        }
        let answered = async {
            let mut all = true;
            while let Some(answered) = running.join_next().await {
                all &= answered.unwrap_or(false);
            }
            all
        };
        tokio::select! {
            biased; // A page without questions reads nothing ahead.
            all = answered => all,
            never = self.shared.take_back(behind.clone(), &questions) => match never {},
        }
    }
}

/// Who answers in a conversation: what serves, or its canary.
fn speaker_in(
    speakers: &[(Bound, UserId)],
    conversation: ConversationId,
) -> Option<&(Bound, UserId)> {
    let conversation = conversation.to_string();
    let mut speakers = speakers.iter();
    speakers.find(|(bound, _)| bound.binding().share.holds(&conversation))
}

impl AfterCommit {
    /// The account a responder answers for.
    async fn speaker(&self, bound: &Bound) -> Result<UserId, Refusal> {
        match bound.binding().account.parse() {
            Ok(account) => Ok(account),
            Err(_) => self.account(&bound.binding().plugin).await,
        }
    }

    /// The account is a member, in a conversation the binding covers.
    async fn is_bound_here(
        &self,
        bound: &Bound,
        conversation: ConversationId,
        account: UserId,
    ) -> Result<bool, Refusal> {
        let standing = self.journey.log.standing(conversation, account).await;
        let standing = standing.map_err(|e| store_refusal(&e))?;
        Ok(standing.is_some_and(|standing| {
            let present = standing.member.is_some_and(|member| member.left.is_none());
            present
                && bound
                    .binding()
                    .scope
                    .covers(events::to_scope(standing.conversation.kind))
        }))
    }

    /// Messages of one conversation, one after another; false where nobody answers any more.
    async fn answer_all(
        self: Arc<Self>,
        plugin: Arc<str>,
        lane: Vec<Waiting>,
        stand: watch::Receiver<Questions>,
    ) -> bool {
        for waiting in lane {
            match self.answer_one(&plugin, &waiting, &stand).await {
                Ok(true) => {}
                Ok(false) => return false,
                Err(refusal) => {
                    let why = refusal.to_string();
                    self.give_up(&plugin, &waiting, (&why, SKIPPED)).await;
                }
            }
        }
        true
    }

    async fn answer_one(
        self: &Arc<Self>,
        plugin: &Arc<str>,
        waiting: &Waiting,
        stand: &watch::Receiver<Questions>,
    ) -> Result<bool, Refusal> {
        let (mut failures, mut wishes, mut attempt) = (0, 0, 0);
        let mut failed_by = SKIPPED;
        loop {
            let called = self.call(plugin, (&waiting.entry, attempt), stand);
            let answer = match called.await? {
                Called::Ended(answer) => answer,
                Called::Unbound => return Ok(false),
                Called::Over => {
                    // It waits for nothing any more.
                    self.ledger.delivered(plugin, Hook::Responder, 0);
                    return Ok(true);
                }
            };
            attempt += 1;
            let (why, wait) = match answer {
                Ok(Ok(())) => {
                    self.ledger.delivered(plugin, Hook::Responder, 1);
                    return Ok(true);
                }
                Ok(Err(retry)) => {
                    wishes += 1;
                    (retry.reason, wished(retry.after_ms).min(WISH_MOST))
                }
                Err(failure @ (Failure::Broken(_) | Failure::NoInstance(_))) => {
                    (failure.to_string(), BROKEN)
                }
                Err(failure) => {
                    failed_by = failure_kind(&failure).unwrap_or(SKIPPED);
                    failures += 1;
                    (failure.to_string(), pause(failures))
                }
            };
            self.ledger
                .waits(plugin, Hook::Responder, failures > 0, &why);
            if failures >= FAILURES_MOST || wishes >= WISHES_MOST {
                self.give_up(plugin, waiting, (&why, failed_by)).await;
                return Ok(true);
            }
            let over = questions::is_gone(stand, &waiting.entry);
            // One that was taken back is found so by the next turn.
            let _ = tokio::time::timeout(wait, over).await;
        }
    }

    /// Asks for an answer once. It ends at once when nobody is to give it any more, or when what it answers is taken back:
    /// what was begun of it then ends for those who watch.
    async fn call(
        self: &Arc<Self>,
        plugin: &Arc<str>,
        (entry, attempt): (&Entry, u32),
        stand: &watch::Receiver<Questions>,
    ) -> Result<Called, Refusal> {
        // As in `observe`.
        let _calling = self.namespaces.calls(plugin).read_owned().await;
        let Some(bound) = self.bound_in(plugin, Hook::Responder, entry.conversation) else {
            return Ok(Called::Unbound);
        };
        let account = self.speaker(&bound).await?;
        if self.is_handed_over(entry.conversation, account).await? {
            return Ok(Called::Over);
        }
        let event = self.question(entry, account, attempt).await?;
        let cause = Cause {
            name: event.id.clone(),
            conversations: vec![entry.conversation],
            depth: events::depth(entry),
            answering: Some((entry.conversation, entry.seq)),
        };
        let host = Call::new(self, (plugin, Hook::Responder), account, &bound, cause);
        let call = AfterCall {
            grants: bound.binding().grants.clone(),
            host: host.clone(),
            namespace: bound.binding().namespace.clone(),
            now_ms: self.journey.clock.now_ms(),
        };
        let account = account.to_string().as_str().into();
        let asked = bound.binding().respond(call, Arc::new(event), account);
        let called = tokio::select! {
            biased; // What is gone already is not asked about.
            () = questions::is_gone(stand, entry) => Called::Over,
            () = self.is_unbound(plugin, entry.conversation) => Called::Unbound,
            () = self.turn_ends(plugin, Hook::Responder) => Called::Unbound,
            answer = asked => Called::Ended(answer),
        };
        host.end().await;
        Ok(called)
    }

    /// A message as the one who is to answer it is shown it.
    async fn question(
        &self,
        entry: &Entry,
        account: UserId,
        attempt: u32,
    ) -> Result<Event, Refusal> {
        let standing = self.journey.log.standing(entry.conversation, account).await;
        let standing = standing.map_err(|e| store_refusal(&e))?;
        let kind = standing.map(|standing| standing.conversation.kind);
        Ok(Event {
            attempt,
            ..events::of_entry(entry, kind)
        })
    }

    /// Returns once nobody answers there any more, in the middle of an answer too: it was disabled or unbound, or may speak there
    /// no longer. A version that takes over is no reason: the older one finishes what it has begun.
    async fn is_unbound(&self, plugin: &Arc<str>, conversation: ConversationId) {
        let mut generations = self.rollout.generations();
        loop {
            generations.borrow_and_update();
            if self
                .bound_in(plugin, Hook::Responder, conversation)
                .is_none()
            {
                return;
            }
            if generations.changed().await.is_err() {
                // The host is ending, and the call with it.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn give_up(&self, plugin: &Arc<str>, waiting: &Waiting, why: (&str, &'static str)) {
        let placed = Placed {
            event: events::of_entry(&waiting.entry, None),
            stamp: waiting.stamp,
            depth: 0,
        };
        self.tell_skipped((plugin, Hook::Responder), &placed, why)
            .await;
    }

    /// What was given up, for the plugin's author.
    async fn write_replay_file(
        &self,
        (plugin, hook): (&str, Hook),
        event: &Event,
        (why, kind): (&str, &'static str),
    ) {
        let bound = self.bound(plugin, hook).into_iter().next();
        let (Some(aside), Some(bound)) = (self.rollout.aside.get(), bound) else {
            return;
        };
        let mut asked = AskedEvents {
            account: String::new(),
            events: vec![AskedEvent::from(event)],
        };
        let asked = match hook {
            Hook::Responder => {
                let account = self.speaker(&bound).await;
                asked.account = account.map(|id| id.to_string()).unwrap_or_default();
                Asked::Responder(asked)
            }
            _ => Asked::Observer(asked),
        };
        let binding = bound.binding();
        aside.files.add(Made {
            plugin: plugin.to_owned(),
            version: binding.version.clone(),
            digest: binding.digest.clone(),
            kind,
            text: why.to_owned(),
            asked,
            reads: Vec::new(),
        });
    }

    /// An event is given up: the ledger and the audit log say so.
    pub(super) async fn tell_skipped(
        &self,
        (plugin, hook): (&str, Hook),
        placed: &Placed,
        (why, kind): (&str, &'static str),
    ) {
        self.write_replay_file((plugin, hook), &placed.event, (why, kind))
            .await;
        let event = &placed.event;
        let notice = format!("{} {} {}: {why}", event.id, event.conversation, event.seq);
        let line = crate::store::accounts::AuditLine {
            at: self.journey.clock.now_ms(),
            actor: "kith".to_owned(),
            action: "plugin.skipped".to_owned(),
            subject: plugin.to_owned(),
            detail: Some(json!({
                "hook": hook.as_str(),
                "event": event.id,
                "conversation": event.conversation,
                "seq": event.seq,
                "why": why,
            })),
            ..Default::default()
        };
        self.ledger.skipped(plugin, hook, notice);
        if let Err(error) = self.journey.accounts.audit(&line).await {
            tracing::warn!(%error, "a skipped event is not in the audit log");
        }
    }
}
