//! Holding a message back, dropping one, refusing a held one, answering a command:
//! answers that are remembered without an entry.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::Batch;
use crate::ids::{ConversationId, EntryId, HoldId, UserId};
use crate::store::log::answers::StoredAnswer;
use crate::store::log::batch::Applied;
use crate::store::log::held;
use crate::store::log::key;
use crate::store::{CommandAnswer, CommitError, HeldMessage, Hold, Outcome, ResendKey, StoreError};

impl Batch<'_> {
    pub(super) fn hold(&mut self, hold: &Hold) -> Applied {
        if let Some(again) = hold.again {
            return self.hold_again(again, hold);
        }
        if let Some(key) = &hold.key
            && let Some(settled) = self.answered(hold.conversation, hold.author, key)?
        {
            return Ok(settled);
        }
        if let Some(target) = hold.edits
            && let Some(gone) = self.editable(hold.conversation, target)?
        {
            return Ok(Err(gone));
        }
        let id = HoldId(self.next_stamp());
        let at = EntryId(id.0).at_ms();
        self.mark_held_media(id, hold, true);
        let held = HeldMessage {
            id,
            at,
            hold: hold.clone(),
            refused: None,
            refused_at: 0,
        };
        self.put_held(held);
        if let Some(key) = &hold.key {
            self.put_answer(hold.conversation, hold.author, key, StoredAnswer::Held(id));
        }
        if let Some(target) = hold.edits {
            self.note_hold(hold.conversation, target, id, true)?;
        }
        Ok(Ok(Outcome::Held { hold: id, at }))
    }

    /// A second judgement holds it too: the same hold, for another reason.
    fn hold_again(&mut self, id: HoldId, hold: &Hold) -> Applied {
        let Some(before) = self.waiting(id)? else {
            return Ok(Err(CommitError::Gone("no such held message")));
        };
        let at = before.at;
        self.mark_held_media(id, &before.hold, false);
        self.mark_held_media(id, hold, true);
        self.put_held(HeldMessage {
            hold: hold.clone(),
            ..before
        });
        Ok(Ok(Outcome::Held { hold: id, at }))
    }

    pub(super) fn forget(&mut self, hold: HoldId) -> Applied {
        if self
            .held_row(hold)?
            .is_none_or(|held| held.refused.is_none())
        {
            return Ok(Err(CommitError::Gone("no such refused message")));
        }
        self.remove_held(hold)?;
        Ok(Ok(Outcome::Dropped))
    }

    fn waiting(&mut self, hold: HoldId) -> Result<Option<HeldMessage>, StoreError> {
        Ok(self.held_row(hold)?.filter(|held| held.refused.is_none()))
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

    pub(super) fn answer_command(&mut self, answer: &mut CommandAnswer) -> Applied {
        let (conversation, author) = (answer.conversation, answer.author);
        if let Some(settled) = self.answered(conversation, author, &answer.key)? {
            return Ok(settled);
        }
        let id = self.next_stamp();
        let reply = answer.reply.take();
        let stored = StoredAnswer::Command {
            id,
            reply: reply.clone(),
        };
        self.put_answer(conversation, author, &answer.key, stored);
        self.put_effects(std::mem::take(&mut answer.effects))?;
        Ok(Ok(Outcome::Command { reply }))
    }

    pub(super) fn refuse(&mut self, hold: HoldId, reason: &str) -> Applied {
        let Some(held) = self.waiting(hold)? else {
            return Ok(Err(CommitError::Gone("no such held message")));
        };
        if let Some(target) = held.hold.edits {
            self.note_hold(held.hold.conversation, target, hold, false)?;
        }
        self.mark_held_media(hold, &held.hold, false);
        let held = self.put_refused(held, reason);
        Ok(Ok(Outcome::Refused(Arc::new(held))))
    }

    /// The message that a held edit is about is gone: the edit is refused, its content erased.
    pub(super) fn refuse_held_edit(&mut self, hold: HoldId) -> Result<(), StoreError> {
        if let Some(mut held) = self.waiting(hold)? {
            self.mark_held_media(hold, &held.hold, false);
            held.hold.content = RawValue::NULL.to_owned();
            (held.hold.sent, held.hold.effects) = (None, Vec::new());
            self.put_refused(held, "recalled");
        }
        Ok(())
    }

    fn put_refused(&mut self, mut held: HeldMessage, reason: &str) -> HeldMessage {
        held.refused = Some(reason.to_owned());
        held.refused_at = self.now;
        let answer = StoredAnswer::Refused {
            id: self.next_stamp(),
            by: held.hold.by.clone(),
            reason: reason.to_owned(),
        };
        if let Some(key) = &held.hold.key {
            self.put_answer(held.hold.conversation, held.hold.author, key, answer);
        }
        self.put_held(held.clone());
        held
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
            None => self.engine.held(hold),
        }
    }

    fn put_held(&mut self, held: HeldMessage) {
        self.put_row(key::held(held.id), held::encode(&held));
        self.held.insert(held.id, Some(held));
    }

    pub(super) fn remove_held(&mut self, hold: HoldId) -> Result<(), StoreError> {
        if let Some(held) = self.waiting(hold)? {
            self.mark_held_media(hold, &held.hold, false);
        }
        self.remove_row(key::held(hold));
        self.held.insert(hold, None);
        Ok(())
    }
}
