//! Groups, as types: the settings of one, who may speak in it when, and how it and its members look to clients.
//!
//! Rules over what is known only: nothing here asks a plugin, a store or a clock.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Conversation, Member, Role};
use crate::ids::UserId;

/// How one becomes a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinPolicy {
    /// Members add others; asking to join is as if the group did not exist.
    #[default]
    Invite,
    /// Whoever asks waits until somebody in charge answers.
    Approval,
    /// Whoever asks is in.
    Open,
}

impl JoinPolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Approval => "approval",
            Self::Open => "open",
        }
    }
}

/// What a new member sees of the past.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Past {
    #[default]
    FromJoining,
    All,
}

/// How long entries are kept; at least one of both is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// The newest so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// What a group has beside what every conversation has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub owner: UserId,
    /// Present members.
    pub members: u64,
    /// Join requests that wait.
    pub waiting: u32,
    pub join: JoinPolicy,
    pub history: Past,
    /// Until then only the owner and admins may speak; milliseconds since 1970 UTC.
    pub muted_until: Option<u64>,
    /// Seconds between two messages of a plain member.
    pub slow_mode_s: Option<u32>,
    pub retention: Option<Retention>,
    /// The stamp of its end, an id of the store's source.
    pub dissolved: Option<u64>,
}

impl Group {
    /// Whether a member may not speak at a time: muted alone, or everyone is.
    pub fn mutes(&self, member: &Member, now_ms: u64) -> bool {
        let later = |until: Option<u64>| until.is_some_and(|until| until > now_ms);
        later(member.muted_until) || (member.role == Role::Member && later(self.muted_until))
    }

    /// How long a member has to wait before its next message, milliseconds; 0 is not at all.
    pub fn wait_ms(&self, member: &Member, now_ms: u64) -> u64 {
        let Some(slow_mode_s) = self.slow_mode_s.filter(|_| member.role == Role::Member) else {
            return 0;
        };
        let next = member
            .spoke_at
            .saturating_add(u64::from(slow_mode_s) * 1000);
        if member.spoke_at == 0 {
            0
        } else {
            next.saturating_sub(now_ms)
        }
    }
}

/// A change of a group's settings: `None` leaves a thing as it is, `Some(None)` takes it away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupEdit {
    pub title: Option<String>,
    pub avatar: Option<Option<String>>,
    pub join: Option<JoinPolicy>,
    pub history: Option<Past>,
    pub muted_until: Option<Option<u64>>,
    pub slow_mode_s: Option<Option<u32>>,
    pub retention: Option<Option<Retention>>,
}

impl GroupEdit {
    /// Takes out what would change nothing, and names what is left besides the title.
    pub fn against(&mut self, conversation: &Conversation, group: &Group) -> Vec<&'static str> {
        fn differs<T: PartialEq>(new: &mut Option<T>, old: &T) -> bool {
            if new.as_ref() == Some(old) {
                *new = None;
            }
            new.is_some()
        }
        differs(&mut self.title, &conversation.title);
        [
            ("avatar", differs(&mut self.avatar, &conversation.avatar)),
            ("join", differs(&mut self.join, &group.join)),
            ("history", differs(&mut self.history, &group.history)),
            (
                "muted_until",
                differs(&mut self.muted_until, &group.muted_until),
            ),
            (
                "slow_mode_s",
                differs(&mut self.slow_mode_s, &group.slow_mode_s),
            ),
            ("retention", differs(&mut self.retention, &group.retention)),
        ]
        .into_iter()
        .filter_map(|(name, changes)| changes.then_some(name))
        .collect()
    }

    /// Puts everything it has into a group.
    pub fn apply(self, conversation: &mut Conversation, group: &mut Group) {
        fn put<T>(new: Option<T>, old: &mut T) {
            if let Some(new) = new {
                *old = new;
            }
        }
        put(self.title, &mut conversation.title);
        put(self.avatar, &mut conversation.avatar);
        put(self.join, &mut group.join);
        put(self.history, &mut group.history);
        put(self.muted_until, &mut group.muted_until);
        put(self.slow_mode_s, &mut group.slow_mode_s);
        put(self.retention, &mut group.retention);
    }
}

/// A change of a member: `None` leaves a thing as it is, `Some(None)` takes it away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberEdit {
    /// `Owner` transfers the group; the former owner is then an admin.
    pub role: Option<Role>,
    pub muted_until: Option<Option<u64>>,
    pub nickname: Option<Option<String>>,
}

/// The protocol's group object; what lies in the past at `now_ms` is left out. `None` for other kinds.
pub fn group_json(conversation: &Conversation, now_ms: u64) -> Option<Value> {
    let group = conversation.group.as_ref()?;
    let mut object = json!({
        "id": conversation.id,
        "title": conversation.title,
        "join": group.join,
        "history": group.history,
        "members": group.members,
        "owner": group.owner,
    });
    let fields = object.as_object_mut()?;
    put(fields, "avatar", conversation.avatar.as_ref());
    put(
        fields,
        "muted_until",
        group.muted_until.filter(|until| *until > now_ms),
    );
    put(fields, "slow_mode_s", group.slow_mode_s);
    put(fields, "retention", group.retention);
    Some(object)
}

/// The protocol's member object; a mute that is over is left out.
pub fn member_json(user: UserId, member: &Member, now_ms: u64) -> Value {
    let mut object = json!({"user": user, "role": member.role, "joined_at": member.joined_at});
    if let Some(fields) = object.as_object_mut() {
        put(
            fields,
            "muted_until",
            member.muted_until.filter(|until| *until > now_ms),
        );
        put(fields, "nickname", member.nickname.as_ref());
    }
    object
}

fn put(fields: &mut Map<String, Value>, name: &str, value: Option<impl Serialize>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), json!(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        Group {
            owner: UserId(1),
            members: 2,
            waiting: 0,
            join: JoinPolicy::Invite,
            history: Past::FromJoining,
            muted_until: Some(100),
            slow_mode_s: Some(10),
            retention: None,
            dissolved: None,
        }
    }

    fn member(role: Role) -> Member {
        Member::new(role, 0, 1, 0, 0, 0)
    }

    #[test]
    fn everyone_but_owner_and_admins_is_muted_until_the_end_and_one_alone_whatever_the_role() {
        let group = group();
        assert!(group.mutes(&member(Role::Member), 99));
        assert!(!group.mutes(&member(Role::Member), 100));
        assert!(!group.mutes(&member(Role::Admin), 99));
        let alone = Member {
            muted_until: Some(300),
            ..member(Role::Admin)
        };
        assert!(group.mutes(&alone, 299) && !group.mutes(&alone, 300));
    }

    #[test]
    fn slow_mode_makes_plain_members_wait_after_their_last_message() {
        let group = group();
        let spoke = |role| Member {
            spoke_at: 5_000,
            ..member(role)
        };
        assert_eq!(group.wait_ms(&member(Role::Member), 6_000), 0, "the first");
        assert_eq!(group.wait_ms(&spoke(Role::Member), 6_000), 9_000);
        assert_eq!(group.wait_ms(&spoke(Role::Member), 15_000), 0);
        assert_eq!(group.wait_ms(&spoke(Role::Admin), 6_000), 0);
    }

    #[test]
    fn a_change_that_changes_nothing_is_none() {
        let group = group();
        let conversation = Conversation {
            id: crate::ids::ConversationId(7),
            kind: super::super::Kind::Group,
            title: "us".into(),
            avatar: None,
            users: Vec::new(),
            created_at: 1,
            group: Some(group.clone()),
        };
        let mut edit = GroupEdit {
            title: Some("us".into()),
            avatar: Some(None),
            join: Some(JoinPolicy::Open),
            slow_mode_s: Some(Some(10)),
            ..GroupEdit::default()
        };
        assert_eq!(edit.against(&conversation, &group), ["join"]);
        let left = GroupEdit {
            join: Some(JoinPolicy::Open),
            ..GroupEdit::default()
        };
        assert_eq!(edit, left);
    }
}
