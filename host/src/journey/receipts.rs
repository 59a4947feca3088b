//! How far a member is: received and read.
//! Forward only (I6); beyond the head is cut to the head.

use super::{Journey, overloaded, store_refusal};
use crate::entry::Seq;
use crate::ids::{ConversationId, UserId};
use crate::refusal::{Code, Refusal};
use crate::store::{Change, NotTaken, Origin, Prefs, Standing, Submission};

impl Journey {
    /// Everything up to `seq` has reached a device of the user.
    pub async fn received(
        &self,
        user: UserId,
        conversation: ConversationId,
        seq: Seq,
        origin: Origin,
    ) -> Result<(), Refusal> {
        self.member(user, conversation).await?;
        self.queue(
            Change::Receipt {
                conversation,
                user,
                received: seq,
                read: 0,
            },
            origin,
        )
    }

    /// Everything up to `seq` was read, so received too.
    pub async fn read(
        &self,
        user: UserId,
        conversation: ConversationId,
        seq: Seq,
        origin: Origin,
    ) -> Result<(), Refusal> {
        self.member(user, conversation).await?;
        self.queue(
            Change::Receipt {
                conversation,
                user,
                received: seq,
                read: seq,
            },
            origin,
        )
    }

    /// What a member sets for itself.
    pub async fn prefs(
        &self,
        user: UserId,
        conversation: ConversationId,
        prefs: Prefs,
        origin: Origin,
    ) -> Result<(), Refusal> {
        self.member(user, conversation).await?;
        self.queue(
            Change::Prefs {
                conversation,
                user,
                prefs,
            },
            origin,
        )
    }

    /// The standing of a present member; strangers are told there is nothing here, former members that they left.
    pub(crate) async fn member(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<Standing, Refusal> {
        let standing = self
            .log
            .standing(conversation, user)
            .await
            .map_err(|e| store_refusal(&e))?;
        let standing = standing.ok_or_else(|| Refusal::not_found("no such conversation"))?;
        match &standing.member {
            None => Err(Refusal::not_found("no such conversation")),
            Some(member) if member.left.is_some() => Err(no_longer_a_member()),
            Some(_) => Ok(standing),
        }
    }

    pub(crate) fn queue(&self, change: Change, origin: Origin) -> Result<(), Refusal> {
        match self.log.submit(Submission { change, origin }) {
            Ok(()) => Ok(()),
            Err(NotTaken::Stale(_) | NotTaken::Full(_)) => Err(overloaded()),
        }
    }
}

/// What is answered to whoever has left.
pub fn no_longer_a_member() -> Refusal {
    Refusal::new(Code::NotMember, "no longer a member of this conversation")
}
