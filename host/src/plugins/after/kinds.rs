//! The kinds of conversations a grant is held to: a conversation of another kind is out of an ability's reach, whether a call
//! asks for it or an effect names it. Where a grant names no kind, nothing is looked up.

use kith_runtime::{AbilityError, Grants};

use super::AfterCommit;
use super::abilities::{Call, refused};
use crate::conversation::Kind;
use crate::ids::{ConversationId, UserId};
use crate::journey::{Target, store_refusal};
use crate::refusal::{Code, Refusal};

impl Call {
    /// Refuses a conversation that this ability does not reach.
    pub(super) async fn within(
        &self,
        ability: &str,
        conversation: ConversationId,
    ) -> Result<(), AbilityError> {
        let to = Target::Conversation(conversation);
        let checked = self
            .shared
            .check_kind(&self.grants, ability, (self.account, to));
        checked.await.map_err(|refusal| refused(&refusal))
    }

    /// As `within`, of the conversation of the message that is being answered.
    pub(super) async fn may_answer(&self) -> Result<(), AbilityError> {
        match self.cause.answering {
            Some((conversation, _)) => self.within("reply", conversation).await,
            None => Ok(()),
        }
    }
}

impl AfterCommit {
    /// Refuses what an account would do where the grant does not reach.
    pub(super) async fn check_kind(
        &self,
        grants: &Grants,
        ability: &str,
        (account, to): (UserId, Target),
    ) -> Result<(), Refusal> {
        if !grants.is_of_kinds(ability) {
            return Ok(());
        }
        let kind = match to {
            Target::User(user) if user == account => Some(Kind::Own),
            Target::User(_) => Some(Kind::Direct),
            Target::Conversation(conversation) => {
                let standing = self.journey.log.standing(conversation, account).await;
                let standing = standing.map_err(|e| store_refusal(&e))?;
                standing.map(|standing| standing.conversation.kind)
            }
        };
        match kind {
            Some(kind) if grants.reaches(ability, kind.as_str()) => Ok(()),
            _ => Err(Refusal::new(
                Code::Forbidden,
                format!("{ability} is not granted for conversations of this kind"),
            )),
        }
    }
}
