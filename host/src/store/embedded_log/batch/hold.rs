//! Holding a message back, dropping one, refusing a held one:
//! answers that are remembered without an entry.

use std::sync::Arc;

use super::Batch;
use crate::ids::{ConversationId, EntryId, HoldId, UserId};
use crate::store::embedded_log::answers::StoredAnswer;
use crate::store::embedded_log::committer::Applied;
use crate::store::embedded_log::held;
use crate::store::embedded_log::key;
use crate::store::{CommitError, HeldMessage, Hold, Outcome, ResendKey, StoreError};

impl Batch<'_> {
    pub(super) fn hold(&mut self, hold: &Hold) -> Applied {
        if let Some(settled) = self.answered(hold.conversation, hold.author, &hold.key)? {
            return Ok(settled);
        }
        let id = HoldId(self.next_stamp());
        let at = EntryId(id.0).at_ms();
        self.mark_held_media(id, hold.content.get(), true);
        let held = HeldMessage {
            id,
            at,
            hold: hold.clone(),
            refused: None,
        };
        self.put_held(held);
        self.put_answer(
            hold.conversation,
            hold.author,
            &hold.key,
            StoredAnswer::Held(id),
        );
        Ok(Ok(Outcome::Held { hold: id, at }))
    }

    pub(super) fn drop_message(
        &mut self,
        conversation: ConversationId,
        author: UserId,
        key: &ResendKey,
    ) -> Applied {
        if let Some(settled) = self.answered(conversation, author, key)? {
            return Ok(settled);
        }
        let id = self.next_stamp();
        self.put_answer(conversation, author, key, StoredAnswer::Dropped { id });
        Ok(Ok(Outcome::Dropped))
    }

    pub(super) fn refuse(&mut self, hold: HoldId, reason: &str) -> Applied {
        let Some(mut held) = self.held_row(hold)?.filter(|held| held.refused.is_none()) else {
            return Ok(Err(CommitError::Gone("no such held message")));
        };
        held.refused = Some(reason.to_owned());
        self.mark_held_media(hold, held.hold.content.get(), false);
        let answer = StoredAnswer::Refused {
            id: self.next_stamp(),
            by: held.hold.by.clone(),
            reason: reason.to_owned(),
        };
        self.put_answer(
            held.hold.conversation,
            held.hold.author,
            &held.hold.key,
            answer,
        );
        self.put_held(held.clone());
        Ok(Ok(Outcome::Refused(Arc::new(held))))
    }

    /// How a client id was settled before, if it was.
    fn answered(
        &mut self,
        conversation: ConversationId,
        author: UserId,
        key: &ResendKey,
    ) -> Result<Option<Result<Outcome, CommitError>>, StoreError> {
        Ok(match self.first_answer(conversation, author, key)? {
            Some(Ok(answer)) => Some(Ok(Outcome::Resent(self.resent(conversation, answer)?))),
            Some(Err(conflict)) => Some(Err(conflict)),
            None => None,
        })
    }

    pub(super) fn held_row(&mut self, hold: HoldId) -> Result<Option<HeldMessage>, StoreError> {
        match self.held.get(&hold) {
            Some(held) => Ok(held.clone()),
            None => self.shared.tables.held(hold),
        }
    }

    fn put_held(&mut self, held: HeldMessage) {
        self.put_row(key::held(held.id), held::encode(&held));
        self.held.insert(held.id, Some(held));
    }

    pub(super) fn remove_held(&mut self, hold: HoldId) -> Result<(), StoreError> {
        if let Some(held) = self.held_row(hold)? {
            self.mark_held_media(hold, held.hold.content.get(), false);
        }
        self.remove_row(key::held(hold));
        self.held.insert(hold, None);
        Ok(())
    }
}
