//! May it? Where a command is going and whether its author stands in the right place: pure rules over what the
//! store knows. Plugins are asked later.

use std::sync::Arc;

use super::{Journey, Target, store_refusal};
use crate::clock::Clock;
use crate::conversation::group::Group;
use crate::conversation::{Conversation, Kind, Member};
use crate::entry::Seq;
use crate::ids::{ConversationId, UserId};
use crate::plugins::Recent;
use crate::refusal::{Code, Refusal};
use crate::store::accounts::Relation;
use crate::store::{Opening, Standing};

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
    /// The newest entries, oldest first, where a strategy asks for them.
    pub recent: Vec<Recent>,
    /// The first and the last that were looked at for them; 0 where none were.
    pub looked_at: (Seq, Seq),
}

impl Place {
    /// The author may read here.
    pub fn is_member(&self) -> bool {
        self.member
            .as_ref()
            .is_some_and(|member| member.left.is_none())
    }

    /// The author's role; of whoever opens a conversation the one it will have.
    pub fn role(&self) -> &'static str {
        self.member
            .as_ref()
            .map_or("member", |member| member.role.as_str())
    }

    /// A group's settings; `None` in other kinds.
    pub fn group(&self) -> Option<&Group> {
        self.existing.as_ref()?.group.as_ref()
    }

    /// The author may not speak here at this time.
    pub fn is_muted(&self, now_ms: u64) -> bool {
        match (self.group(), &self.member) {
            (Some(group), Some(member)) => group.mutes(member, now_ms),
            _ => false,
        }
    }
}

/// Finds where a command goes. A conversation whose existence is not the author's business is not found.
pub async fn place(journey: &Journey, author: UserId, to: Target) -> Result<Place, Refusal> {
    if to == Target::User(author) {
        return Err(Refusal::bad_request("one cannot write to oneself"));
    }
    let conversation = conversation_of(author, to);
    let mut standing = standing(journey, conversation, author).await?;
    if let (None, Target::User(peer)) = (&standing, to) {
        let waiting = journey.log.in_flight(conversation, author).messages;
        if waiting == 0 {
            // The first one may have made the conversation just now: only what is asked after this says it did not.
            standing = self::standing(journey, conversation, author).await?;
        }
        if standing.is_none() {
            return open_direct(journey, (conversation, waiting), author, peer).await;
        }
    }
    let standing = standing.ok_or_else(|| Refusal::not_found("no such conversation"))?;
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
        recent: Vec::new(),
        looked_at: (0, 0),
    })
}

/// Where a command goes, whether there is such a conversation or not.
pub fn conversation_of(author: UserId, to: Target) -> ConversationId {
    match to {
        Target::Conversation(id) => id,
        Target::User(peer) => ConversationId::direct(author, peer),
    }
}

async fn standing(
    journey: &Journey,
    conversation: ConversationId,
    user: UserId,
) -> Result<Option<Standing>, Refusal> {
    let standing = journey.log.standing(conversation, user).await;
    standing.map_err(|e| store_refusal(&e))
}

async fn open_direct(
    journey: &Journey,
    (conversation, unanswered): (ConversationId, u8),
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
        unanswered,
        answered: false,
        recent: Vec::new(),
        looked_at: (0, 0),
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
    let visible_from = place.member.as_ref().map_or(1, |m| m.visible_from);
    match reply_to {
        Some(0) => Err(Refusal::bad_request("reply_to must be the seq of an entry")),
        Some(seq) if seq > place.head || seq < visible_from => {
            Err(Refusal::not_found("the entry replied to does not exist"))
        }
        _ => Ok(()),
    }
}

/// Whether a group's mutes and slow mode let the author speak now; no plugin can say otherwise.
pub fn speaks(place: &Place, clock: &dyn Clock) -> Result<(), Refusal> {
    let (Some(group), Some(member)) = (place.group(), &place.member) else {
        return Ok(());
    };
    unmuted(place, clock)?;
    match group.wait_ms(member, clock.now_ms()) {
        0 => Ok(()),
        wait_ms => Err(too_soon(wait_ms)),
    }
}

/// As `speaks` without slow mode: what changes or answers what was said is no new message.
pub fn unmuted(place: &Place, clock: &dyn Clock) -> Result<(), Refusal> {
    if place.is_muted(clock.now_ms()) {
        return Err(Refusal::new(Code::Muted, "one may not speak here now"));
    }
    Ok(())
}

/// Slow mode's refusal.
pub fn too_soon(wait_ms: u64) -> Refusal {
    Refusal::rate_limited(
        std::time::Duration::from_millis(wait_ms),
        "slow mode: the next message may come later",
    )
}
