//! Conversations and their members, as types: kinds, roles, receipts, and the summary a client lists.
//!
//! Receipts move forward only (I6). Nothing here does I/O.

pub mod group;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Seq, Viewer};
use crate::ids::{ConversationId, UserId};

/// What a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    Direct = 0,
    Group = 1,
    /// One user's own log.
    #[serde(rename = "self")]
    Own = 2,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
            Self::Own => "self",
        }
    }
}

/// A member's part in a group; in other kinds everyone is `Member`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Role {
    Member = 0,
    Admin = 1,
    Owner = 2,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

/// A conversation's own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    pub id: ConversationId,
    pub kind: Kind,
    pub title: String,
    pub avatar: Option<String>,
    /// Direct: both users, the smaller id first. Own: the one. Groups: empty, members have rows of their own.
    pub users: Vec<UserId>,
    /// Milliseconds since 1970 UTC.
    pub created_at: u64,
    /// Groups: their settings.
    pub group: Option<group::Group>,
}

impl Conversation {
    /// The stamp of a group's end.
    pub fn dissolved(&self) -> Option<u64> {
        self.group.as_ref().and_then(|group| group.dissolved)
    }

    /// The other user of a direct conversation.
    pub fn peer_of(&self, user: UserId) -> Option<UserId> {
        match (self.kind, self.users.as_slice()) {
            (Kind::Direct, [one, other]) if *one == user => Some(*other),
            (Kind::Direct, [one, other]) if *other == user => Some(*one),
            _ => None,
        }
    }

    /// The place of a user among `users`.
    pub fn index_of(&self, user: UserId) -> Option<usize> {
        self.users.iter().position(|other| *other == user)
    }
}

/// A member's row: role, receipts and what the member set for itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub role: Role,
    /// Milliseconds since 1970 UTC.
    pub joined_at: u64,
    /// Entries from here on are visible; 1 means all.
    pub visible_from: Seq,
    /// Everything up to here has reached a device (at least `read`).
    pub received: Seq,
    /// Everything up to here was read.
    pub read: Seq,
    /// How many messages the log held at `read`: unread is the head's count less this.
    pub read_ordinal: u64,
    /// The member's own messages above `read`: released ones, which moved nobody's `read`. Nearly always empty.
    pub own_above: Vec<Seq>,
    pub pinned: bool,
    pub muted: bool,
    /// Hidden until a message newer than `hidden_at`.
    pub hidden: bool,
    pub hidden_at: Seq,
    pub draft: Option<String>,
    /// Groups: the newest entry before which this one was no member; entries before it are not pushed to it.
    pub joined_seq: Seq,
    /// Groups: may not speak until then, milliseconds since 1970 UTC. Not the member's own `muted`.
    pub muted_until: Option<u64>,
    pub nickname: Option<String>,
    /// Groups: when it last sent a message, milliseconds since 1970 UTC; 0 for never. For slow mode.
    pub spoke_at: u64,
    /// The stamp of the last change of this row (an id of the store's source), for `sync`.
    pub changed: u64,
    /// The stamp of the last change of the member's profile: what a direct conversation's other member sees differs.
    pub profile_changed: u64,
    /// The stamp of the last move of `received` or `read`: all that others see of this row.
    pub receipt_changed: u64,
    /// The stamp when the member left; a left member's row stays so that `sync` can say `gone`.
    pub left: Option<u64>,
}

impl Member {
    /// Somebody who has just become a member, of a log whose head is `head`.
    pub fn new(
        role: Role,
        joined_at: u64,
        visible_from: Seq,
        head: Seq,
        ordinal: u64,
        stamp: u64,
    ) -> Self {
        Self {
            role,
            joined_at,
            visible_from,
            received: head,
            read: head,
            read_ordinal: ordinal,
            own_above: Vec::new(),
            pinned: false,
            muted: false,
            hidden: false,
            hidden_at: 0,
            draft: None,
            joined_seq: 0,
            muted_until: None,
            nickname: None,
            spoke_at: 0,
            changed: stamp,
            profile_changed: 0,
            receipt_changed: stamp,
            left: None,
        }
    }
}

/// What one user's list shows of a conversation; everything `sync` compares.
#[derive(Debug, Clone)]
pub struct Summary {
    pub conversation: Arc<Conversation>,
    pub member: Member,
    pub head: Seq,
    /// Others' messages above `read`, exactly.
    pub unread: u64,
    pub mentions: u64,
    /// The newest message entry this user may see.
    pub last: Option<Arc<Entry>>,
    /// Direct: how far the other one is.
    pub peer: Option<PeerReceipts>,
    /// Milliseconds since 1970 UTC: the newest message, or when the member joined.
    pub updated_at: u64,
}

/// The other user of a direct conversation and how far they got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerReceipts {
    pub user: UserId,
    pub received: Seq,
    pub read: Seq,
}

/// A public profile, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub id: UserId,
    pub username: String,
    pub display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
}

/// Serialises a summary as the protocol's object; `peer` is the profile of a direct conversation's other user.
#[derive(Debug, Clone, Copy)]
pub struct SummaryView<'a> {
    pub summary: &'a Summary,
    pub peer: Option<&'a Profile>,
    pub viewer: UserId,
}

impl Serialize for SummaryView<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let Self {
            summary,
            peer,
            viewer,
        } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &summary.conversation.id)?;
        map.serialize_entry("kind", &summary.conversation.kind)?;
        let title = peer.map_or(summary.conversation.title.as_str(), |peer| {
            peer.display_name.as_str()
        });
        map.serialize_entry("title", title)?;
        let avatar = peer.map_or(summary.conversation.avatar.as_ref(), |peer| {
            peer.avatar.as_ref()
        });
        map.serialize_entry("avatar", &avatar)?;
        if let Some(peer) = peer {
            map.serialize_entry("peer", peer)?;
        }
        map.serialize_entry("head", &summary.head)?;
        map.serialize_entry("unread", &summary.unread)?;
        map.serialize_entry("mentions", &summary.mentions)?;
        let last = summary
            .last
            .as_deref()
            .map(|entry| entry.view(Viewer::of(entry, *viewer)));
        map.serialize_entry("last", &last)?;
        map.serialize_entry("received", &summary.member.received)?;
        map.serialize_entry("read", &summary.member.read)?;
        if let Some(receipts) = summary.peer {
            map.serialize_entry("peer_received", &receipts.received)?;
            map.serialize_entry("peer_read", &receipts.read)?;
        }
        map.serialize_entry("pinned", &summary.member.pinned)?;
        map.serialize_entry("muted", &summary.member.muted)?;
        map.serialize_entry("hidden", &summary.member.hidden)?;
        if let Some(draft) = &summary.member.draft {
            map.serialize_entry("draft", draft)?;
        }
        map.serialize_entry("role", &summary.member.role)?;
        map.serialize_entry("updated_at", &summary.updated_at)?;
        map.end()
    }
}
