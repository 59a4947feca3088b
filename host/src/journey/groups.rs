//! A group's life: made, changed, left, dissolved. Siblings of `send`, with the same steps: admit, decide, commit.
//!
//! Who may do what is the strategies' to say, and where none is bound the host's rule; what holds for every group
//! (one owner, its bounds) is kept by the log, whatever a plugin says.

pub mod ask;
pub mod joining;
pub mod members;

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Journey, commit_refusal, overloaded, store_refusal};
use crate::conversation::group::{Group, GroupEdit, JoinPolicy, Past, Retention};
use crate::conversation::{Conversation, Role};
use crate::ids::{ConversationId, UserId};
use crate::plugins::{self, Judge};
use crate::refusal::{Code, Refusal};
use crate::store::accounts::Relation;
use crate::store::groups::{GroupAct, GroupChange, GroupDone, NewGroup};
use crate::store::{Change, CommitError, NotTaken, Origin, Outcome, Standing, Submission};
use ask::{Asked, Peer, Wish};

/// Users taken in by one write: more are taken in several, so that messages of others come in between.
const PART: usize = 250;

/// A group as a client asks for it.
#[derive(Debug)]
pub struct GroupDraft {
    pub title: String,
    /// A picture the author uploaded.
    pub avatar: Option<String>,
    pub join: JoinPolicy,
    pub history: Past,
    pub slow_mode_s: Option<u32>,
    pub retention: Option<Retention>,
    /// Besides the author.
    pub users: Vec<UserId>,
}

/// An author's place in a group.
struct Seat {
    conversation: Arc<Conversation>,
    group: Group,
    role: Role,
}

impl Journey {
    /// Makes a group; its author owns it.
    pub async fn create_group(
        &self,
        author: UserId,
        draft: GroupDraft,
    ) -> Result<ConversationId, Refusal> {
        let title = checked_title(&draft.title)?;
        let users = distinct(&draft.users, author);
        if let Some(avatar) = &draft.avatar {
            self.media.admit_avatar(author, avatar).await?;
        }
        if users.len() + 1 > self.group_members {
            return Err(too_many());
        }
        let people = self.people(author, &users).await?;
        let (first, rest) = people.split_at(people.len().min(PART));
        let id = ConversationId::random();
        let done = self
            .commit_group(id, author, |judge, asked| {
                let at_ms = self.clock.now_ms();
                let wish = Wish {
                    operation: "group-create",
                    author,
                    role: None,
                    group: None,
                    peer: None,
                    text: title,
                    fields: "",
                    requested: false,
                    at_ms,
                };
                wish.ask(judge, asked)?;
                for peer in first {
                    let wish = Wish {
                        operation: "group-add",
                        role: Some(Role::Owner),
                        peer: Some(*peer),
                        text: "",
                        ..wish
                    };
                    wish.ask(judge, asked)?;
                }
                Ok(GroupAct::Create(Box::new(NewGroup {
                    title: ask::filtered(judge, "title", title, at_ms, asked)?,
                    avatar: draft.avatar.clone(),
                    join: draft.join,
                    history: draft.history,
                    slow_mode_s: draft.slow_mode_s,
                    retention: draft.retention,
                    users: first.iter().map(|peer| peer.user).collect(),
                })))
            })
            .await?;
        let seat = Seat {
            group: done.conversation.group.clone().ok_or_else(no_group)?,
            conversation: done.conversation,
            role: Role::Owner,
        };
        self.take_in(author, &seat, rest).await?;
        Ok(id)
    }

    /// A group its member looks at.
    pub async fn group(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<Arc<Conversation>, Refusal> {
        Ok(self.seat(user, conversation).await?.conversation)
    }

    /// Changes title and settings; what is as it was is no change.
    pub async fn change_group(
        &self,
        author: UserId,
        conversation: ConversationId,
        mut edit: GroupEdit,
    ) -> Result<Arc<Conversation>, Refusal> {
        if let Some(title) = &edit.title {
            edit.title = Some(checked_title(title)?.to_owned());
        }
        let seat = self.seat(author, conversation).await?;
        let fields = edit.against(&seat.conversation, &seat.group);
        if let Some(Some(avatar)) = &edit.avatar {
            self.media.admit_avatar(author, avatar).await?;
        }
        if fields.is_empty() && edit.title.is_none() {
            return Ok(seat.conversation);
        }
        let done = self
            .commit_group(conversation, author, |judge, asked| {
                self.ask_settings(judge, author, &seat, &edit, &fields, asked)
            })
            .await?;
        Ok(done.conversation)
    }

    /// Asks about each kind of change in an edit; muting everyone is not like the rest.
    fn ask_settings(
        &self,
        judge: &dyn Judge,
        author: UserId,
        seat: &Seat,
        edit: &GroupEdit,
        fields: &[&str],
        asked: &mut Asked,
    ) -> Result<GroupAct, Refusal> {
        let mut edit = edit.clone();
        let mut ask = |operation, text: &str, fields: &str| {
            let wish = Wish {
                text,
                fields,
                ..seat.wish(operation, author, self.clock.now_ms())
            };
            wish.ask(judge, asked)
        };
        if let Some(title) = &edit.title {
            ask("group-title", title, "title")?;
        }
        if edit.muted_until.is_some() {
            ask("group-mute", "", "muted_until")?;
        }
        let settings: Vec<&str> = fields
            .iter()
            .copied()
            .filter(|field| *field != "muted_until")
            .collect();
        if !settings.is_empty() {
            ask("group-settings", "", &settings.join(","))?;
        }
        if let Some(title) = &edit.title {
            let at_ms = self.clock.now_ms();
            edit.title = Some(ask::filtered(judge, "title", title, at_ms, asked)?);
        }
        Ok(GroupAct::Settings(Box::new(edit)))
    }

    /// Ends a group: nobody reads it any more.
    pub async fn dissolve_group(
        &self,
        author: UserId,
        conversation: ConversationId,
    ) -> Result<(), Refusal> {
        let seat = self.seat(author, conversation).await?;
        self.commit_group(conversation, author, |judge, asked| {
            let at_ms = self.clock.now_ms();
            seat.wish("group-dissolve", author, at_ms)
                .ask(judge, asked)?;
            Ok(GroupAct::Dissolve)
        })
        .await?;
        Ok(())
    }

    /// Where a present member of a group stands in it.
    async fn seat(&self, user: UserId, conversation: ConversationId) -> Result<Seat, Refusal> {
        let Standing {
            conversation,
            member,
            ..
        } = self.member(user, conversation).await?;
        Ok(Seat {
            group: conversation.group.clone().ok_or_else(no_group)?,
            role: member.map_or(Role::Member, |member| member.role),
            conversation,
        })
    }

    /// Users as somebody who would add them finds them; each must exist.
    async fn people(&self, author: UserId, users: &[UserId]) -> Result<Vec<Peer>, Refusal> {
        let mut people = Vec::with_capacity(users.len());
        for &user in users {
            let known = self.accounts.user(user).await;
            if known.map_err(|e| store_refusal(&e))?.is_none() {
                return Err(Refusal::not_found(format!("no such user: {user}")));
            }
            people.push(Peer {
                user,
                role: None,
                relation: self.relation_to(author, user).await?,
            });
        }
        Ok(people)
    }

    async fn relation_to(&self, author: UserId, user: UserId) -> Result<Relation, Refusal> {
        self.accounts
            .relation(author, user)
            .await
            .map_err(|e| store_refusal(&e))
    }

    /// Judges a change by one generation, commits it, waits until it is settled. A generation that took over in between
    /// judges again (I4).
    async fn commit_group(
        &self,
        conversation: ConversationId,
        author: UserId,
        decide: impl Fn(&dyn Judge, &mut Asked) -> Result<GroupAct, Refusal>,
    ) -> Result<GroupDone, Refusal> {
        loop {
            let (change, judged) = {
                let judge = self.plugins.pin();
                let mut asked = Asked::default();
                let act = decide(&*judge, &mut asked)?;
                let change = GroupChange {
                    conversation,
                    author,
                    act,
                    record: plugins::record(judge.generation(), asked.hooks, &[]),
                    effects: asked.effects,
                };
                (change, judge.generation())
            };
            let (sender, receiver) = oneshot::channel();
            match self.log.submit(Submission {
                change: Change::Group(Box::new(change)),
                origin: Origin::Caller(sender),
            }) {
                Ok(()) => {}
                Err(NotTaken::Stale(_)) => {
                    self.wait_for_newer(judged).await?;
                    continue;
                }
                Err(NotTaken::Full(_)) => return Err(overloaded()),
            }
            match receiver.await {
                Ok(Ok(Outcome::Group(done))) => return Ok(*done),
                Ok(Ok(_)) => {
                    let what = "a change of a group was settled as something else";
                    return Err(Refusal::new(Code::Internal, what));
                }
                Ok(Err(CommitError::Stale)) => {}
                Ok(Err(error)) => return Err(commit_refusal(&error)),
                Err(_) => return Err(commit_refusal(&CommitError::Timeout)),
            }
        }
    }
}

impl Seat {
    /// A change the author wants here.
    fn wish(&self, operation: &'static str, author: UserId, at_ms: u64) -> Wish<'_> {
        Wish {
            operation,
            author,
            role: Some(self.role),
            group: Some((self.conversation.id, &self.group)),
            peer: None,
            text: "",
            fields: "",
            requested: false,
            at_ms,
        }
    }
}

fn no_group() -> Refusal {
    Refusal::not_found("no such group")
}

fn too_many() -> Refusal {
    Refusal::new(Code::TooLarge, "more members than a group may have")
}

/// Each user once, in the order given, without the author.
fn distinct(users: &[UserId], author: UserId) -> Vec<UserId> {
    let mut seen = std::collections::HashSet::with_capacity(users.len());
    let new = |user: &&UserId| **user != author && seen.insert(**user);
    users.iter().filter(new).copied().collect()
}

/// A title of a sane length, without control characters.
fn checked_title(title: &str) -> Result<&str, Refusal> {
    let shown = title.trim();
    if !(1..=100).contains(&shown.chars().count()) || shown.chars().any(char::is_control) {
        return Err(Refusal::bad_request(
            "title must have 1 to 100 characters, none of them control characters",
        ));
    }
    Ok(shown)
}
