//! Coming in by oneself: an open group is joined at once, one by approval keeps a waiting list that somebody in charge
//! answers. A group that is by invitation does not exist for whoever stands outside.

use super::ask::{self, Peer, Wish};
use super::{GroupAct, Seat};
use crate::conversation::Role;
use crate::conversation::group::JoinPolicy;
use crate::ids::{ConversationId, JoinRequestId, UserId};
use crate::journey::{Journey, store_refusal};
use crate::refusal::{Code, Refusal};
use crate::store::groups::JoinRequest;

/// Characters of the text beside a request.
const TEXT_CHARS: usize = 200;

/// Where asking to join led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// A member now.
    Joined,
    /// A member already.
    Member,
    Waiting(JoinRequestId),
}

impl Journey {
    /// Joins an open group, or waits to be let into one by approval.
    pub async fn ask_to_join(
        &self,
        author: UserId,
        conversation: ConversationId,
        text: Option<&str>,
    ) -> Result<Joining, Refusal> {
        let none = || Refusal::not_found("no such group");
        let text = checked_text(text)?;
        let standing = self
            .log
            .standing(conversation, author)
            .await
            .map_err(|e| store_refusal(&e))?
            .ok_or_else(none)?;
        let group = standing.conversation.group.as_ref().ok_or_else(none)?;
        if standing.member.is_some_and(|member| member.left.is_none()) {
            return Ok(Joining::Member);
        }
        if group.dissolved.is_some() || group.join == JoinPolicy::Invite {
            return Err(none());
        }
        let done = self
            .commit_group(conversation, author, |judge, asked| {
                let wish = Wish {
                    operation: "group-join",
                    author,
                    role: None,
                    group: Some((conversation, group)),
                    peer: None,
                    text: text.unwrap_or_default(),
                    fields: "",
                    requested: false,
                    at_ms: self.clock.now_ms(),
                };
                wish.ask(judge, asked)?;
                if group.join == JoinPolicy::Open {
                    let most = self.group_members as u64;
                    return Ok(GroupAct::Join { most });
                }
                let text = match text {
                    Some(text) => Some(ask::filtered(
                        judge,
                        "friend-request",
                        text,
                        wish.at_ms,
                        asked,
                    )?),
                    None => None,
                };
                Ok(GroupAct::Ask { text })
            })
            .await?;
        Ok(match done.request {
            Some(request) => Joining::Waiting(request),
            None if done.joined.is_empty() => Joining::Member,
            None => Joining::Joined,
        })
    }

    /// Who waits to be let in, oldest first; for those in charge.
    pub async fn join_requests(
        &self,
        user: UserId,
        conversation: ConversationId,
        after: Option<JoinRequestId>,
        limit: usize,
    ) -> Result<Vec<JoinRequest>, Refusal> {
        let seat = self.seat(user, conversation).await?;
        in_charge(&seat)?;
        self.log
            .join_requests(conversation, after, limit)
            .await
            .map_err(|e| store_refusal(&e))
    }

    /// Lets somebody who waits in, or not.
    pub async fn answer_join_request(
        &self,
        author: UserId,
        conversation: ConversationId,
        request: JoinRequestId,
        accept: bool,
    ) -> Result<(), Refusal> {
        let seat = self.seat(author, conversation).await?;
        in_charge(&seat)?;
        let before = JoinRequestId(request.0.saturating_sub(1));
        let found = self
            .log
            .join_requests(conversation, Some(before), 1)
            .await
            .map_err(|e| store_refusal(&e))?;
        let asked_by = found
            .into_iter()
            .find(|found| found.id == request)
            .map(|found| found.user)
            .ok_or_else(|| Refusal::not_found("no such join request"))?;
        let peer = Peer {
            user: asked_by,
            role: None,
            relation: self.relation_to(author, asked_by).await?,
        };
        self.commit_group(conversation, author, |judge, asked| {
            if accept {
                let wish = Wish {
                    peer: Some(peer),
                    requested: true,
                    ..seat.wish("group-add", author, self.clock.now_ms())
                };
                wish.ask(judge, asked)?;
            }
            Ok(GroupAct::Answer {
                request,
                accept,
                most: self.group_members as u64,
            })
        })
        .await?;
        Ok(())
    }
}

/// Whoever waits is the business of the owner and admins alone.
fn in_charge(seat: &Seat) -> Result<(), Refusal> {
    if seat.role >= Role::Admin {
        return Ok(());
    }
    Err(Refusal::new(
        Code::Forbidden,
        "join requests are for the owner and admins",
    ))
}

fn checked_text(text: Option<&str>) -> Result<Option<&str>, Refusal> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    if text.is_some_and(|text| text.chars().count() > TEXT_CHARS) {
        return Err(Refusal::new(
            Code::TooLarge,
            format!("text is longer than {TEXT_CHARS} characters"),
        ));
    }
    Ok(text)
}
