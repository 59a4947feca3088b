//! Members of a group: added, removed, their roles, mutes and nicknames,
//! and the list of them.

use super::ask::{self, Peer};
use super::{GroupAct, PART, Seat, distinct, too_many};
use crate::conversation::Member;
use crate::conversation::group::MemberEdit;
use crate::ids::{ConversationId, UserId};
use crate::journey::{Journey, store_refusal};
use crate::refusal::Refusal;
use crate::store::accounts::Relation;
use crate::store::groups::MemberRow;

/// What came of adding users.
#[derive(Debug)]
pub struct Added {
    /// Those asked for, as members they are now.
    pub members: Vec<MemberRow>,
    /// Somebody was none before.
    pub anew: bool,
}

impl Journey {
    /// Takes users in. All of them are looked at before the first: one who may not come refuses the whole.
    pub async fn add_members(
        &self,
        author: UserId,
        conversation: ConversationId,
        users: &[UserId],
    ) -> Result<Added, Refusal> {
        let seat = self.seat(author, conversation).await?;
        let users = distinct(users, author);
        if users.is_empty() {
            return Err(Refusal::bad_request("users must name somebody else"));
        }
        let present = self.members_among(conversation, &users).await?;
        let known: std::collections::HashSet<UserId> =
            present.iter().map(|(user, _)| *user).collect();
        let new: Vec<UserId> = users
            .iter()
            .copied()
            .filter(|user| !known.contains(user))
            .collect();
        if seat.group.members + new.len() as u64 > self.group_members as u64 {
            return Err(too_many());
        }
        let people = self.people(author, &new).await?;
        self.take_in(author, &seat, &people).await?;
        Ok(Added {
            members: self.members_among(conversation, &users).await?,
            anew: !new.is_empty(),
        })
    }

    /// Adds people in parts, each one write of its own.
    pub(super) async fn take_in(
        &self,
        author: UserId,
        seat: &Seat,
        people: &[Peer],
    ) -> Result<(), Refusal> {
        for part in people.chunks(PART) {
            self.commit_group(seat.conversation.id, author, |judge, asked| {
                let at_ms = self.clock.now_ms();
                for peer in part {
                    let wish = ask::Wish {
                        peer: Some(*peer),
                        ..seat.wish("group-add", author, at_ms)
                    };
                    wish.ask(judge, asked)?;
                }
                Ok(GroupAct::Add {
                    users: part.iter().map(|peer| peer.user).collect(),
                    most: self.group_members as u64,
                })
            })
            .await?;
        }
        Ok(())
    }

    /// Takes a member out; the author itself leaves.
    pub async fn remove_member(
        &self,
        author: UserId,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<(), Refusal> {
        let seat = self.seat(author, conversation).await?;
        let (peer, _) = self.peer(author, &seat, user).await?;
        self.commit_group(conversation, author, |judge, asked| {
            let at_ms = self.clock.now_ms();
            let wish = ask::Wish {
                peer: Some(peer),
                ..seat.wish("group-remove", author, at_ms)
            };
            wish.ask(judge, asked)?;
            Ok(GroupAct::Remove { user })
        })
        .await?;
        Ok(())
    }

    /// Changes a member's role, mute or nickname, all of it or nothing.
    pub async fn change_member(
        &self,
        author: UserId,
        conversation: ConversationId,
        user: UserId,
        edit: MemberEdit,
    ) -> Result<Member, Refusal> {
        let seat = self.seat(author, conversation).await?;
        let (peer, before) = self.peer(author, &seat, user).await?;
        let edit = MemberEdit {
            role: edit.role.filter(|role| *role != before.role),
            nickname: checked_nickname(edit.nickname)?,
            ..edit
        };
        self.commit_group(conversation, author, |judge, asked| {
            let at_ms = self.clock.now_ms();
            let mut edit = edit.clone();
            let mut ask = |operation, text: &str, fields: &str| {
                let wish = ask::Wish {
                    peer: Some(peer),
                    text,
                    fields,
                    ..seat.wish(operation, author, at_ms)
                };
                wish.ask(judge, asked)
            };
            if let Some(role) = edit.role {
                ask("group-role", role.as_str(), "role")?;
            }
            if edit.muted_until.is_some() {
                ask("group-mute", "", "muted_until")?;
            }
            if let Some(nickname) = &edit.nickname {
                let text = nickname.as_deref().unwrap_or_default();
                ask("group-settings", text, "nickname")?;
            }
            if let Some(Some(nickname)) = &mut edit.nickname {
                *nickname = ask::filtered(judge, "display-name", nickname, at_ms, asked)?;
            }
            Ok(GroupAct::Member { user, edit })
        })
        .await?;
        let now = self.members_among(conversation, &[user]).await?;
        now.into_iter()
            .next()
            .map(|(_, member)| member)
            .ok_or_else(no_member)
    }

    /// A page of a group's members, by id.
    pub async fn group_members(
        &self,
        user: UserId,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, Refusal> {
        self.seat(user, conversation).await?;
        self.log
            .member_page(conversation, after, limit)
            .await
            .map_err(|e| store_refusal(&e))
    }

    async fn members_among(
        &self,
        conversation: ConversationId,
        users: &[UserId],
    ) -> Result<Vec<MemberRow>, Refusal> {
        self.log
            .members_among(conversation, users)
            .await
            .map_err(|e| store_refusal(&e))
    }

    /// A member a change is about, and its row.
    async fn peer(
        &self,
        author: UserId,
        seat: &Seat,
        user: UserId,
    ) -> Result<(Peer, Member), Refusal> {
        let found = self.members_among(seat.conversation.id, &[user]).await?;
        let (_, member) = found.into_iter().next().ok_or_else(no_member)?;
        let relation = if user == author {
            Relation::default()
        } else {
            self.relation_to(author, user).await?
        };
        let peer = Peer {
            user,
            role: Some(member.role),
            relation,
        };
        Ok((peer, member))
    }
}

fn no_member() -> Refusal {
    Refusal::not_found("no such member")
}

/// A nickname as a display name may be; an empty one takes it away.
fn checked_nickname(nickname: Option<Option<String>>) -> Result<Option<Option<String>>, Refusal> {
    let Some(Some(nickname)) = nickname else {
        return Ok(nickname);
    };
    let shown = nickname.trim();
    if shown.chars().count() > 64 || shown.chars().any(char::is_control) {
        return Err(Refusal::bad_request(
            "nickname must have at most 64 characters, none of them control characters",
        ));
    }
    Ok(Some(
        Some(shown.to_owned()).filter(|shown| !shown.is_empty()),
    ))
}
