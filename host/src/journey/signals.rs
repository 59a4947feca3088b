//! What is told and never stored: that somebody types, and who is with an entry how far.
//! Knows who may be told; sends nothing itself.

use std::sync::Arc;

use super::admit::{self, Place};
use super::{Journey, Target, store_refusal};
use crate::conversation::Kind;
use crate::entry::Seq;
use crate::ids::{ConversationId, UserId};
use crate::refusal::{Code, Refusal};
use crate::store::Readers;

impl Journey {
    /// Who is to be told that a member types: nobody when one of the two has blocked the other, where the member may not
    /// speak, and in a group of more than `most`.
    pub async fn told_of_typing(
        &self,
        user: UserId,
        conversation: ConversationId,
        most: usize,
    ) -> Result<Arc<[UserId]>, Refusal> {
        let place = self.standing_place(user, conversation).await?;
        let silent = place.relation.blocked
            || place.relation.blocking
            || place.is_muted(self.clock.now_ms())
            || place
                .group()
                .is_some_and(|group| group.members > most as u64);
        if place.kind == Kind::Own || silent {
            return Ok(Arc::from([]));
        }
        self.log
            .members(conversation)
            .await
            .map_err(|e| store_refusal(&e))
    }

    /// How far the members are with an entry that the asking one may see.
    pub async fn readers(
        &self,
        user: UserId,
        conversation: ConversationId,
        seq: Seq,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Readers, Refusal> {
        let place = self.standing_place(user, conversation).await?;
        let (entry, _) = self.target(&place, user, seq).await?;
        self.log
            .readers(&entry, after, limit)
            .await
            .map_err(|e| store_refusal(&e))
    }

    /// Where a present member stands.
    async fn standing_place(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<Place, Refusal> {
        let place = admit::place(self, user, Target::Conversation(conversation)).await?;
        if place.is_member() {
            return Ok(place);
        }
        Err(Refusal::new(
            Code::NotMember,
            "no longer a member of this conversation",
        ))
    }
}
