//! May it? Where a command is going and whether its author stands in the right place: pure rules over what the
//! store knows. Plugins are asked later.

use std::sync::Arc;

use super::{Journey, Target, store_refusal};
use crate::conversation::{Conversation, Kind, Member};
use crate::entry::Seq;
use crate::ids::{ConversationId, UserId};
use crate::refusal::{Code, Refusal};
use crate::store::Opening;
use crate::store::accounts::Relation;

/// Where a command goes, and what is known of its author there.
#[derive(Debug, Clone)]
pub struct Place {
    pub conversation: ConversationId,
    pub kind: Kind,
    /// `None` until the first entry makes the conversation.
    pub existing: Option<Arc<Conversation>>,
    pub opening: Option<Opening>,
    /// The author's row; `None` while the conversation does not exist, or the author is no member.
    pub member: Option<Member>,
    pub head: Seq,
    /// The lowest seq that is kept and that the author may see.
    pub floor: Seq,
    pub peer: Option<UserId>,
    pub relation: Relation,
    pub unanswered: u8,
    pub answered: bool,
}

impl Place {
    /// The author may read here.
    pub fn is_member(&self) -> bool {
        self.member
            .as_ref()
            .is_some_and(|member| member.left.is_none())
    }
}

/// Finds where a command goes. A conversation whose existence is not the author's business is not found.
pub async fn place(journey: &Journey, author: UserId, to: Target) -> Result<Place, Refusal> {
    let conversation = match to {
        Target::Conversation(id) => id,
        Target::User(peer) if peer == author => {
            return Err(Refusal::bad_request("one cannot write to oneself"));
        }
        Target::User(peer) => ConversationId::direct(author, peer),
    };
    let standing = journey
        .log
        .standing(conversation, author)
        .await
        .map_err(|e| store_refusal(&e))?;
    let Some(standing) = standing else {
        let Target::User(peer) = to else {
            return Err(Refusal::not_found("no such conversation"));
        };
        return open_direct(journey, conversation, author, peer).await;
    };
    if standing.member.is_none() {
        return Err(Refusal::not_found("no such conversation"));
    }
    let peer = standing.conversation.peer_of(author);
    let visible_from = standing.member.as_ref().map_or(1, |m| m.visible_from);
    Ok(Place {
        conversation,
        kind: standing.conversation.kind,
        relation: relation(journey, author, peer).await?,
        existing: Some(standing.conversation),
        opening: None,
        member: standing.member,
        head: standing.head,
        floor: visible_from.max(standing.floor).max(1),
        peer,
        unanswered: standing.unanswered,
        answered: standing.answered,
    })
}

async fn open_direct(
    journey: &Journey,
    conversation: ConversationId,
    author: UserId,
    peer: UserId,
) -> Result<Place, Refusal> {
    let known = journey
        .accounts
        .user(peer)
        .await
        .map_err(|e| store_refusal(&e))?;
    if known.is_none() {
        return Err(Refusal::not_found("no such user"));
    }
    let mut users = vec![author, peer];
    users.sort_unstable();
    Ok(Place {
        conversation,
        kind: Kind::Direct,
        existing: None,
        opening: Some(Opening {
            kind: Kind::Direct,
            users,
        }),
        member: None,
        head: 0,
        floor: 1,
        peer: Some(peer),
        relation: relation(journey, author, Some(peer)).await?,
        unanswered: 0,
        answered: false,
    })
}

async fn relation(
    journey: &Journey,
    author: UserId,
    peer: Option<UserId>,
) -> Result<Relation, Refusal> {
    match peer {
        Some(peer) => journey
            .accounts
            .relation(author, peer)
            .await
            .map_err(|e| store_refusal(&e)),
        None => Ok(Relation::default()),
    }
}

/// The host's own rules for a message at a place.
pub fn check(place: &Place, reply_to: Option<Seq>) -> Result<(), Refusal> {
    if place.kind == Kind::Own {
        return Err(Refusal::new(Code::Forbidden, "nobody writes to a self log"));
    }
    if place.existing.is_some() && !place.is_member() {
        return Err(Refusal::new(
            Code::NotMember,
            "no longer a member of this conversation",
        ));
    }
    match reply_to {
        Some(0) => Err(Refusal::bad_request("reply_to must be the seq of an entry")),
        Some(seq) if seq > place.head => {
            Err(Refusal::not_found("the entry replied to does not exist"))
        }
        _ => Ok(()),
    }
}
