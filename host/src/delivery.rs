//! What follows a commit: answers to whoever waits, events to whoever is here, in the order of each log.
//!
//! One task takes the settlements, so an ack stands in its session's stream exactly at the entry's place. Delivery
//! is best effort: the log is the truth, and nothing here waits for a reader.

mod among;
pub mod arrivals;
mod found;
mod frames;
mod groups;
pub mod inward;
pub mod presence;
pub mod restoring;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use self::among::Arrival;
use self::arrivals::Arrivals;
use crate::conversation::{Conversation, Kind, Member};
use crate::entry::{Body, Entry, Viewer};
use crate::ids::{ConversationId, SessionId, UserId};
use crate::journey::receipts::no_longer_a_member;
use crate::journey::{Journey, commit_refusal};
use crate::session::registry::Registry;
use crate::session::{Codec, Event, to_msgpack};
use crate::store::{
    Change, CommitError, Committed, HeldMessage, Hold, MessageLog, Origin, Outcome, Settlement,
};

pub use frames::{
    ack_json, command_body, error_json, first_answer_json, ok_json, refused, typing_json,
};

/// Turns settlements into answers and events.
pub struct Delivery {
    pub journey: Arc<Journey>,
    pub log: Arc<dyn MessageLog>,
    pub registry: Arc<Registry>,
    /// Groups with more members are sent no receipts.
    pub receipt_members: usize,
    /// The order of entries, where several nodes commit them.
    pub arrivals: Arrivals<Arrival>,
}

impl Delivery {
    /// Runs until the log is closed.
    pub async fn run(self: Arc<Self>, mut settlements: mpsc::Receiver<Vec<Settlement>>) {
        while let Some(batch) = settlements.recv().await {
            for settlement in batch {
                // One that cannot be delivered must not end the delivery of all that follow.
                let settled = AssertUnwindSafe(self.settle(settlement)).catch_unwind();
                if settled.await.is_err() {
                    tracing::error!(
                        "a settlement could not be delivered; what it committed is safe"
                    );
                }
            }
        }
    }

    async fn settle(&self, settlement: Settlement) {
        let Settlement {
            change,
            origin,
            result,
        } = settlement;
        let sender = session_of(&origin);
        if let Ok(Outcome::Committed(committed)) = &result
            && committed.opened
        {
            self.announce(committed, sender).await;
        }
        let answer = self.answer(&change, &origin, &result).await;
        if let Ok(Outcome::Committed(committed)) = &result {
            self.registry.telemetry.committed.inc();
            if let Some(bus) = self.registry.others() {
                self.deliver_among_nodes(&**bus, committed, &origin, answer)
                    .await;
            } else {
                self.put_answer(&origin, answer);
                self.deliver(committed, sender).await;
            }
        } else {
            self.put_answer(&origin, answer);
        }
        match &result {
            Ok(Outcome::Held { hold, .. }) => {
                if let Change::Hold(held) = &change
                    && held.again.is_none()
                {
                    let json = frames::held_json(&hold.to_string(), held, "held", None);
                    self.registry
                        .push(held.author, sender, &Event::from_json(json));
                }
            }
            // Who wrote it may have told nobody.
            Ok(Outcome::Resent(first)) => {
                self.journey.found.note(conversation_of(&change), first);
            }
            Ok(Outcome::Refused(refused)) => self.tell_refused(refused),
            Ok(Outcome::Member {
                member,
                moved: true,
                ..
            }) => self.tell_member(&change, member, sender).await,
            Ok(Outcome::Group(done)) => self.tell_group(done).await,
            Ok(Outcome::Erased {
                conversation,
                done: true,
                ..
            }) => self.tell_erased(conversation).await,
            _ => {}
        }
        if let Origin::Caller(waiting) = origin {
            let _ = waiting.send(result);
        }
    }

    /// The answer to a session's request, as JSON; none where no session asked.
    async fn answer(
        &self,
        change: &Change,
        origin: &Origin,
        result: &Result<Outcome, CommitError>,
    ) -> Option<Vec<u8>> {
        let Origin::Session {
            user,
            request,
            arrived,
            ..
        } = origin
        else {
            return None;
        };
        Some(match result {
            Ok(Outcome::Committed(committed)) => {
                let telemetry = &self.registry.telemetry;
                telemetry
                    .ack_seconds
                    .observe(arrived.elapsed().as_secs_f64());
                let content = committed
                    .replaced
                    .then(|| content_of(&committed.entry))
                    .flatten();
                ack_json(*request, &committed.entry, content)
            }
            Ok(Outcome::Resent(first)) => {
                first_answer_json(*request, conversation_of(change), first, has_state(change))
            }
            Ok(Outcome::Held { hold, .. }) => {
                frames::held_ack_json(*request, conversation_of(change), *hold)
            }
            Ok(Outcome::Dropped) => frames::dropped_json(*request, conversation_of(change)),
            Ok(Outcome::Command { reply }) => {
                frames::command_json(*request, conversation_of(change), reply.as_deref())
            }
            Ok(Outcome::Member { .. }) => self.member_json(*user, *request, change).await,
            Ok(
                Outcome::Refused(_)
                | Outcome::Group(_)
                | Outcome::Erased { .. }
                | Outcome::Kv(_)
                | Outcome::KvDropped { .. }
                | Outcome::Done,
            ) => ok_json(*request, &serde_json::json!({})),
            Err(error) => error_json(*request, &commit_refusal(error)),
        })
    }

    /// Queues an answer at its place in the session's stream.
    fn put_answer(&self, origin: &Origin, json: Option<Vec<u8>>) {
        let (Origin::Session { user, session, .. }, Some(json)) = (origin, json) else {
            return;
        };
        let now = self.registry.coarse_now();
        self.registry.with(*user, |sessions| {
            if let Some(target) = sessions.iter().find(|other| other.id == *session) {
                let frame = match target.codec {
                    Codec::Json => json.into(),
                    Codec::Msgpack => to_msgpack(&json),
                };
                target.outbox.answer(frame, now);
            }
        });
    }

    async fn member_json(&self, user: UserId, request: u32, change: &Change) -> Vec<u8> {
        match change {
            Change::Prefs { prefs, .. } if prefs.draft.is_none() => {}
            _ => return ok_json(request, &serde_json::json!({})),
        }
        match self
            .journey
            .summary_json(user, conversation_of(change))
            .await
        {
            Ok(Some(summary)) => ok_json(request, &summary),
            Ok(None) => error_json(request, &no_longer_a_member()),
            Err(refusal) => error_json(request, &refusal),
        }
    }

    /// An entry to every session of every member but the one that sent it.
    async fn deliver(&self, committed: &Committed, sender: Option<SessionId>) {
        let entry = &*committed.entry;
        let sender = sender.filter(|_| committed.released.is_none());
        if committed.conversation.kind == Kind::Group {
            return self.deliver_to_group(entry, sender).await;
        }
        self.push_to_few(entry, &committed.conversation.users, sender);
    }

    /// An entry to the users of a conversation of few, who are on this node.
    fn push_to_few(&self, entry: &Entry, users: &[UserId], sender: Option<SessionId>) {
        let mut events: [Option<Event>; 3] = [None, None, None];
        let mut delivered = 0;
        for &member in users {
            // What nobody gets is not encoded: most senders have no other session.
            if !self.registry.is_reached(member, sender) {
                continue;
            }
            let viewer = Viewer::of(entry, member);
            let event =
                events[viewer as usize].get_or_insert_with(|| frames::entry_event(entry, viewer));
            delivered += self.registry.push_here(member, sender, event);
        }
        self.registry.telemetry.delivered.inc_by(delivered);
    }

    /// A conversation its members have just been given, before its first entry.
    async fn announce(&self, committed: &Committed, sender: Option<SessionId>) {
        let conversation = committed.entry.conversation;
        self.push_summaries(&committed.conversation.users, conversation, sender)
            .await;
    }

    /// The changed summary to users, each its own, on all nodes.
    async fn push_summaries(
        &self,
        users: &[UserId],
        conversation: ConversationId,
        except: Option<SessionId>,
    ) {
        self.summarize_elsewhere(users, conversation);
        for &user in users {
            if self.registry.is_online(user) {
                self.push_summary_here(user, conversation, except).await;
            }
        }
    }

    async fn push_summary_here(
        &self,
        user: UserId,
        conversation: ConversationId,
        except: Option<SessionId>,
    ) {
        match self.journey.summary_json(user, conversation).await {
            Ok(Some(summary)) => {
                let json = frames::event_json("conversation", "conversation", &summary);
                self.registry
                    .push_here(user, except, &Event::from_json(json));
            }
            Ok(None) => {}
            // It changed, and cannot be read now: the user's sessions look for it themselves.
            Err(_) => self.registry.with(user, |sessions| {
                let others = sessions.iter().filter(|one| Some(one.id) != except);
                others.for_each(|session| session.outbox.fall_behind());
            }),
        }
    }

    /// A receipt to the others, the changed summary to the member's own other sessions.
    async fn tell_member(&self, change: &Change, member: &Member, sender: Option<SessionId>) {
        match change {
            Change::Receipt {
                conversation, user, ..
            } => {
                self.push_summaries(&[*user], *conversation, sender).await;
                self.tell_receipt(*conversation, *user, member).await;
            }
            Change::Prefs {
                conversation, user, ..
            } => {
                self.push_summaries(&[*user], *conversation, sender).await;
            }
            Change::Profile { conversation, user } => {
                self.tell_profile(*conversation, *user).await;
            }
            _ => {}
        }
    }

    /// The changed summary to the others, whose peer's name or picture it is.
    async fn tell_profile(&self, conversation: ConversationId, user: UserId) {
        let members = match self.log.members(conversation).await {
            Ok(members) => members,
            Err(error) => return self.cannot_tell(&error),
        };
        let others: Vec<UserId> = members
            .iter()
            .copied()
            .filter(|other| *other != user)
            .collect();
        self.push_summaries(&others, conversation, None).await;
    }

    async fn tell_receipt(&self, conversation: ConversationId, user: UserId, member: &Member) {
        let members = match self.log.members(conversation).await {
            Ok(members) => members,
            Err(error) => return self.cannot_tell(&error),
        };
        if members.len() > self.receipt_members {
            return;
        }
        let event = Event::from_json(frames::receipt_json(conversation, user, member));
        let others = members.iter().copied().filter(|other| *other != user);
        self.registry.push_to(others, None, &event);
    }

    /// What the list shows may have gone with the oldest entries.
    async fn tell_erased(&self, conversation: &Conversation) {
        let members = match conversation.kind {
            Kind::Group => self.log.members(conversation.id).await,
            Kind::Direct | Kind::Own => Ok(conversation.users.as_slice().into()),
        };
        match members {
            Ok(members) if members.len() > self.receipt_members => {}
            Ok(members) => self.push_summaries(&members, conversation.id, None).await,
            Err(error) => self.cannot_tell(&error),
        }
    }

    fn tell_refused(&self, refused: &HeldMessage) {
        let json = frames::held_json(
            &refused.id.to_string(),
            &refused.hold,
            "refused",
            refused.refused.as_deref(),
        );
        self.registry
            .push(refused.hold.author, None, &Event::from_json(json));
    }
}

fn session_of(origin: &Origin) -> Option<SessionId> {
    match origin {
        Origin::Session { session, .. } => Some(*session),
        _ => None,
    }
}

fn content_of(entry: &Entry) -> Option<&str> {
    match &entry.body {
        Body::Message(message) => message.content.as_deref().map(|json| json.get()),
        Body::Edit { content, .. } => content.as_deref().map(|json| json.get()),
        _ => None,
    }
}

/// Acks of what has a content say how it ended; those of recalls and reactions have nothing to say.
fn has_state(change: &Change) -> bool {
    match change {
        Change::Append(append) => matches!(append.body, Body::Message(_) | Body::Edit { .. }),
        _ => true,
    }
}

fn conversation_of(change: &Change) -> ConversationId {
    match change {
        Change::Append(append) => append.conversation,
        Change::Group(change) => change.conversation,
        Change::Command(answer) => answer.conversation,
        Change::Hold(hold) => {
            let Hold { conversation, .. } = **hold;
            conversation
        }
        Change::Drop { conversation, .. }
        | Change::Receipt { conversation, .. }
        | Change::Prefs { conversation, .. }
        | Change::Profile { conversation, .. }
        | Change::Erase { conversation, .. } => *conversation,
        Change::Refuse { .. }
        | Change::Forget { .. }
        | Change::Kv(_)
        | Change::KvDrop { .. }
        | Change::Turn { .. }
        | Change::MediaSeen { .. } => ConversationId(0),
    }
}
