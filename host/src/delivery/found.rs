//! Entries that a resend has found and of which this node has told nobody: the node that wrote one may have ended, or may not
//! know that it did. Members' sessions on all nodes are told that they are behind and read what is new, so that nothing is
//! pushed twice or out of order. A conversation's once for all that is in it by then: whoever sends old client ids again
//! and again makes nobody read again and again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Delivery;
use super::among::NAMED_MOST;
use crate::bus::{Parcel, Place, To};
use crate::entry::Seq;
use crate::ids::{ConversationId, EntryId, UserId};
use crate::journey::found::Noted;
use crate::maps::HashMap;
use crate::session::Event;
use crate::store::StoreError;

/// What is found within so long is looked at together; what another node says of it arrives meanwhile.
const GATHERED: Duration = Duration::from_millis(200);
/// An older entry was told long ago, or those who missed it have read since: a client asks again within minutes.
const RECENT: Duration = Duration::from_secs(3600);
/// Conversations of which it is remembered up to where members were told.
const TOLD_MOST: usize = 65_536;

/// Up to which entry members were told that they are behind.
#[derive(Debug, Default)]
struct Told(HashMap<ConversationId, Seq>);

impl Told {
    fn has(&self, conversation: ConversationId, seq: Seq) -> bool {
        self.0.get(&conversation).is_some_and(|told| seq <= *told)
    }

    fn put(&mut self, conversation: ConversationId, seq: Seq) {
        if self.0.len() >= TOLD_MOST {
            // At worst somebody reads once more what is known.
            self.0.clear();
        }
        self.0.insert(conversation, seq);
    }
}

impl Delivery {
    /// Tells of what resends find. Runs until it is dropped; for a node of several.
    pub async fn follow_found(self: Arc<Self>) {
        let mut told = Told::default();
        self.journey.found.follow();
        loop {
            self.journey.found.some().await;
            tokio::time::sleep(GATHERED).await;
            self.tell_found(&mut told).await;
        }
    }

    async fn tell_found(&self, told: &mut Told) {
        let Noted {
            newest, too_many, ..
        } = self.journey.found.take();
        if too_many {
            tracing::warn!(
                "more was found again than can be told of; every session is told to look"
            );
            self.registry.all_fall_behind();
            if let Some(bus) = self.registry.others() {
                bus.send(To::Everywhere, Parcel::Behind);
            }
            return;
        }
        let mut behind = BTreeSet::new();
        for (conversation, (seq, id)) in newest {
            if self.is_told(told, conversation, (seq, id)) {
                continue;
            }
            match self.members_and_head(conversation).await {
                Ok((members, head)) => {
                    behind.extend(members);
                    told.put(conversation, seq.max(head));
                }
                Err(error) => {
                    tracing::debug!(%error, "who is to be told of what was found is not known yet");
                    self.journey.found.note_entry(conversation, (seq, id));
                }
            }
        }
        self.let_fall_behind(behind.into_iter().collect());
    }

    /// Whether members heard of an entry, or of a later one, or were told to look.
    fn is_told(
        &self,
        told: &Told,
        conversation: ConversationId,
        (seq, id): (Seq, EntryId),
    ) -> bool {
        let age = self.journey.clock.now_ms().saturating_sub(id.at_ms());
        age > RECENT.as_millis() as u64
            || told.has(conversation, seq)
            || self.arrivals.has_passed(Place { conversation, seq })
    }

    /// Whoever reads after this reads at least up to this head.
    async fn members_and_head(
        &self,
        conversation: ConversationId,
    ) -> Result<(Vec<UserId>, Seq), StoreError> {
        let members = self.log.members(conversation).await?.to_vec();
        let standing = match members.first() {
            Some(one) => self.log.standing(conversation, *one).await?,
            None => None,
        };
        Ok((members, standing.map_or(0, |standing| standing.head)))
    }

    /// The sessions of these users, on all nodes, are told that they are behind.
    fn let_fall_behind(&self, users: Vec<UserId>) {
        for user in &users {
            self.registry.with(*user, |sessions| {
                sessions.iter().for_each(|one| one.outbox.fall_behind());
            });
        }
        let event = Event::from_json(br#"{"ev":"behind"}"#.to_vec());
        for users in users.chunks(NAMED_MOST) {
            self.registry.push_elsewhere(users.to_vec(), &event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_told_of_once_up_to_its_head() {
        let mut told = Told::default();
        let (one, other) = (ConversationId(1), ConversationId(2));
        assert!(!told.has(one, 1));
        told.put(one, 7);
        assert!(told.has(one, 7) && told.has(one, 1));
        assert!(!told.has(one, 8) && !told.has(other, 1));
    }
}
