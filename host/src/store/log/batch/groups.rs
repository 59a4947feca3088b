//! Changes of groups: members, roles, settings, join requests, each atomic with the `system` entries that tell of it.
//! What may not be is found before the first write: a batch cannot take back half a change. Who may do what was decided
//! before; this keeps what holds for every group.

mod work;

use super::Batch;
use crate::conversation::group::{Group, GroupEdit, MemberEdit};
use crate::conversation::{Conversation, Kind, Member, Role};
use crate::ids::{ConversationId, JoinRequestId, UserId};
use crate::store::groups::{GroupAct, GroupChange, NewGroup, WAITING_MOST};
use crate::store::log::batch::Applied;
use crate::store::log::floor::Floor;
use crate::store::log::heads::State;
use crate::store::log::rows::Header;
use crate::store::log::{join_request, key};
use crate::store::{CommitError, StoreError};
use work::Work;

/// What stands against a change; found before anything is written.
type Refused = CommitError;
type Checked<T> = Result<Result<T, Refused>, StoreError>;

const NO_GROUP: Refused = CommitError::Gone("no such conversation");
const NO_MEMBER: Refused = CommitError::Gone("no such member");
const NO_REQUEST: Refused = CommitError::Gone("no such join request");
const FULL: Refused = CommitError::Full("the group has as many members as it may");

/// About how many bytes a change holds while it waits.
pub fn weigh(change: &GroupChange) -> usize {
    let users = match &change.act {
        GroupAct::Create(new) => new.users.len(),
        GroupAct::Add { users, .. } => users.len(),
        _ => 0,
    };
    1024 + users * 512
}

impl Batch<'_> {
    pub fn change_group(&mut self, change: &mut GroupChange) -> Applied {
        if let GroupAct::Create(new) = &change.act {
            if self.state(change.conversation)?.is_some() {
                return Ok(Err(CommitError::Conflict));
            }
            self.begin_group(change, new);
        }
        let Some(state) = self.state(change.conversation)? else {
            return Ok(Err(NO_GROUP));
        };
        if change.record.generation > 0 && change.record.generation < state.generation {
            return Ok(Err(CommitError::Stale));
        }
        let (before, changed) = (state.conversation.clone(), state.changed);
        let Some(group) = before.group.clone().filter(|g| g.dissolved.is_none()) else {
            return Ok(Err(NO_GROUP));
        };
        let needs_member = !matches!(
            change.act,
            GroupAct::Create(_) | GroupAct::Join { .. } | GroupAct::Ask { .. }
        );
        if needs_member && let Err(error) = self.member(change.conversation, change.author)? {
            return Ok(Err(error));
        }
        let mut work = Work::new(change, &before, group, changed);
        match self.act(&mut work, &mut change.act)? {
            Ok(()) => self.end_work(work, std::mem::take(&mut change.effects)),
            Err(refused) => Ok(Err(refused)),
        }
    }

    fn act(&mut self, work: &mut Work, act: &mut GroupAct) -> Checked<()> {
        let author = work.author;
        match act {
            GroupAct::Create(new) => {
                new.users.retain(|user| *user != author);
                new.users.insert(0, author);
                let users = self.newcomers(work.id, &new.users)?;
                self.join(work, &users)?;
                Ok(Ok(()))
            }
            GroupAct::Add { users, most } => {
                let users = self.newcomers(work.id, users)?;
                self.admit(work, &users, *most)
            }
            GroupAct::Join { most } => {
                let users = self.newcomers(work.id, &[author])?;
                self.admit(work, &users, *most)
            }
            GroupAct::Ask { text } => self.ask(work, text.as_deref()),
            GroupAct::Answer {
                request,
                accept,
                most,
            } => self.answer_request(work, *request, *accept, *most),
            GroupAct::Remove { user } => self.remove(work, *user),
            GroupAct::Member { user, edit } => self.edit_member(work, *user, edit),
            GroupAct::Settings(edit) => self.settings(work, std::mem::take(&mut **edit)),
            GroupAct::Dissolve => {
                self.say(work, "dissolved", "{}".to_owned())?;
                for request in self.engine.join_requests(work.id)? {
                    self.settle_request(work, request.user)?;
                }
                work.group.dissolved = Some(work.newest());
                Ok(Ok(()))
            }
        }
    }

    /// A group without members; they join in the same change.
    fn begin_group(&mut self, change: &GroupChange, new: &NewGroup) {
        let stamp = self.next_stamp();
        let group = Group {
            owner: change.author,
            members: 0,
            waiting: 0,
            join: new.join,
            history: new.history,
            muted_until: None,
            slow_mode_s: new.slow_mode_s,
            retention: new.retention,
            dissolved: None,
        };
        let conversation = Conversation {
            id: change.conversation,
            kind: Kind::Group,
            title: new.title.clone(),
            avatar: new.avatar.clone(),
            users: Vec::new(),
            created_at: self.now,
            group: Some(group),
        };
        let state = State {
            conversation: conversation.into(),
            changed: stamp,
            head: 0,
            head_id: 0,
            generation: 0,
            header: Header::default(),
            last_message: None,
            members: Vec::new(),
            floor: Floor::default(),
        };
        self.put_state(change.conversation, state);
    }

    /// Those who are no members yet, each once.
    fn newcomers(&self, id: ConversationId, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        let mut new = Vec::with_capacity(users.len());
        let mut seen = std::collections::HashSet::with_capacity(users.len());
        for user in users {
            let known = self.group_member(id, *user)?;
            if known.is_none_or(|member| member.left.is_some()) && seen.insert(*user) {
                new.push(*user);
            }
        }
        Ok(new)
    }

    fn admit(&mut self, work: &mut Work, users: &[UserId], most: u64) -> Checked<()> {
        if work.group.members + users.len() as u64 > most && !users.is_empty() {
            return Ok(Err(FULL));
        }
        self.join(work, users)?;
        Ok(Ok(()))
    }

    fn ask(&mut self, work: &mut Work, text: Option<&str>) -> Checked<()> {
        if self.newcomers(work.id, &[work.author])?.is_empty() {
            return Ok(Ok(()));
        }
        if let Some(known) = self.request_of(work.id, work.author)? {
            work.request = Some(known);
            return Ok(Ok(()));
        }
        if work.group.waiting >= WAITING_MOST {
            return Ok(Err(CommitError::Full("too many wait for an answer")));
        }
        let request = JoinRequestId(self.next_stamp());
        let row = join_request::encode(work.author, text);
        self.put_row(key::join_request(work.id, request), row);
        let place = key::request_of(work.id, work.author);
        self.put_row(place, request.0.to_be_bytes());
        self.requests.insert((work.id, work.author), Some(request));
        work.group.waiting += 1;
        (work.request, work.waits_changed) = (Some(request), true);
        Ok(Ok(()))
    }

    fn answer_request(
        &mut self,
        work: &mut Work,
        request: JoinRequestId,
        accept: bool,
        most: u64,
    ) -> Checked<()> {
        let Some(asked) = self.engine.join_request(work.id, request)? else {
            return Ok(Err(NO_REQUEST));
        };
        if self.request_of(work.id, asked.user)? != Some(request) {
            return Ok(Err(NO_REQUEST));
        }
        if accept {
            let users = self.newcomers(work.id, &[asked.user])?;
            if let Err(refused) = self.admit(work, &users, most)? {
                return Ok(Err(refused));
            }
        }
        self.settle_request(work, asked.user)?;
        Ok(Ok(()))
    }

    fn remove(&mut self, work: &mut Work, user: UserId) -> Checked<()> {
        let Ok(mut member) = self.member(work.id, user)? else {
            return Ok(Err(NO_MEMBER));
        };
        if user == work.group.owner {
            return Ok(Err(CommitError::Forbidden(
                "the owner stays: transfer the group or dissolve it",
            )));
        }
        let args = work.about(user);
        self.say(work, "member_left", args)?;
        member.left = Some(work.newest());
        member.changed = work.newest();
        self.put_member(work.id, user, member);
        self.moves.push((work.id, user, None));
        work.group.members -= 1;
        work.left.push(user);
        Ok(Ok(()))
    }

    fn edit_member(&mut self, work: &mut Work, user: UserId, edit: &MemberEdit) -> Checked<()> {
        let Ok(before) = self.member(work.id, user)? else {
            return Ok(Err(NO_MEMBER));
        };
        let role = edit.role.filter(|role| *role != before.role);
        let (is_owner, by_owner) = (user == work.group.owner, work.author == work.group.owner);
        if role.is_some() && is_owner {
            let why = "the owner's role changes by a transfer alone";
            return Ok(Err(CommitError::Forbidden(why)));
        }
        if role == Some(Role::Owner) && !by_owner {
            let why = "only its owner may transfer a group";
            return Ok(Err(CommitError::Forbidden(why)));
        }
        if is_owner && matches!(edit.muted_until, Some(Some(_))) {
            return Ok(Err(CommitError::Forbidden("the owner is never muted")));
        }
        if let Some(role) = role {
            let args = work.in_role(user, role);
            self.say(work, "role_changed", args)?;
            if role == Role::Owner {
                self.resign(work)?;
                work.group.owner = user;
            }
        }
        let mut member = before.clone();
        member.role = role.unwrap_or(member.role);
        if let Some(muted_until) = edit.muted_until {
            member.muted_until = muted_until;
        }
        if role == Some(Role::Owner) {
            member.muted_until = None;
        }
        if let Some(nickname) = &edit.nickname {
            member.nickname.clone_from(nickname);
        }
        if member != before {
            member.changed = self.next_stamp();
            self.put_member(work.id, user, member);
            work.touched.push(user);
        }
        Ok(Ok(()))
    }

    /// The owner of so far becomes an admin.
    fn resign(&mut self, work: &mut Work) -> Result<(), StoreError> {
        let owner = work.group.owner;
        let args = work.in_role(owner, Role::Admin);
        self.say(work, "role_changed", args)?;
        if let Ok(member) = self.member(work.id, owner)? {
            let changed = work.newest();
            let admin = Member {
                role: Role::Admin,
                changed,
                ..member
            };
            self.put_member(work.id, owner, admin);
            work.touched.push(owner);
        }
        Ok(())
    }

    fn settings(&mut self, work: &mut Work, mut edit: GroupEdit) -> Checked<()> {
        let fields = edit.against(&work.conversation, &work.group);
        work.shown = edit.title.is_some() || edit.avatar.is_some();
        if let Some(title) = &edit.title {
            let args = serde_json::json!({"title": title}).to_string();
            self.say(work, "title_changed", args)?;
        }
        if !fields.is_empty() {
            let args = serde_json::json!({"fields": fields}).to_string();
            self.say(work, "group_changed", args)?;
        }
        edit.apply(&mut work.conversation, &mut work.group);
        Ok(Ok(()))
    }
}
