//! Conversations that a responder has handed over to a person: it is not called there until an administrator gives the
//! conversation back. Who takes it over, and how they write, is not decided here.

use kith_runtime::AbilityError;

use super::AfterCommit;
use super::abilities::{Call, stored};
use crate::ids::{ConversationId, UserId};
use crate::journey::store_refusal;
use crate::refusal::Refusal;
use crate::store::moderation::{Handover, NewAdminNotice, NewHandover};

const REASON_CHARS_MOST: usize = 500;

impl Call {
    /// Hands the conversation of the message that is being answered over, once; administrators are told.
    pub(super) async fn hand_to_a_person(&self, reason: String) -> Result<(), AbilityError> {
        let Some((conversation, seq)) = self.cause.answering else {
            return Err(AbilityError::Denied(
                "only a responder hands over, what it was called for".to_owned(),
            ));
        };
        if reason.chars().count() > REASON_CHARS_MOST {
            return Err(AbilityError::Invalid(format!(
                "a reason has at most {REASON_CHARS_MOST} characters"
            )));
        }
        let at = self.shared.journey.clock.now_ms();
        let handover = NewHandover {
            conversation,
            account: self.account,
            plugin: self.plugin.to_string(),
            reason: reason.clone(),
            seq,
            at,
        };
        let notice = NewAdminNotice {
            at,
            by: self.plugin.to_string(),
            text: format!("conversation {conversation} needs a person: {reason}"),
            user: None,
        };
        let store = &self.shared.moderation;
        let kept = store.hand_over(&handover, &notice).await;
        kept.map(drop).map_err(|e| stored(&e))
    }
}

impl AfterCommit {
    /// A person has the conversation: the account's responder is not called there.
    pub(super) async fn is_handed_over(
        &self,
        conversation: ConversationId,
        account: UserId,
    ) -> Result<bool, Refusal> {
        let found = self.moderation.is_handed_over(conversation, account).await;
        found.map_err(|e| store_refusal(&e))
    }

    /// Conversations that are handed over, newest first, before one.
    pub async fn handovers(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Handover>, Refusal> {
        let found = self.moderation.handovers(before, limit).await;
        found.map_err(|e| store_refusal(&e))
    }

    /// The responder is called again for what is written from now on.
    pub async fn give_back(&self, id: u64) -> Result<Handover, Refusal> {
        let given = self.moderation.give_back(id).await;
        given
            .map_err(|e| store_refusal(&e))?
            .ok_or_else(|| Refusal::not_found("no such conversation is handed over"))
    }
}
