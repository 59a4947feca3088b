//! A change of a group in the making: the entries that tell of it, those who join with it, and how it ends.
//! It writes into the batch what was checked; it refuses nothing.

use std::sync::Arc;

use serde_json::json;
use serde_json::value::RawValue;

use super::super::Batch;
use super::super::append::next_header;
use crate::conversation::group::{Group, Past};
use crate::conversation::{Conversation, Member, Role};
use crate::entry::{Body, DecisionRecord, Entry};
use crate::ids::{ConversationId, EntryId, JoinRequestId, UserId};
use crate::store::groups::{GroupChange, GroupDone};
use crate::store::log::batch::Applied;
use crate::store::log::key;
use crate::store::log::rows::EntryRow;
use crate::store::{Outcome, PluginWrite, StoreError};

pub struct Work {
    pub id: ConversationId,
    pub author: UserId,
    record: DecisionRecord,
    pub conversation: Conversation,
    pub group: Group,
    /// The stamp of the conversation's last change.
    changed: u64,
    entries: Vec<Arc<Entry>>,
    joined: Vec<UserId>,
    pub left: Vec<UserId>,
    pub touched: Vec<UserId>,
    /// Title or avatar changed.
    pub shown: bool,
    pub request: Option<JoinRequestId>,
    /// Only the count of those who wait changed: nothing a member's summary shows.
    pub waits_changed: bool,
}

impl Work {
    pub fn new(
        change: &GroupChange,
        conversation: &Conversation,
        group: Group,
        changed: u64,
    ) -> Self {
        Self {
            id: change.conversation,
            author: change.author,
            record: change.record.clone(),
            conversation: conversation.clone(),
            group,
            changed,
            entries: Vec::new(),
            joined: Vec::new(),
            left: Vec::new(),
            touched: Vec::new(),
            shown: false,
            request: None,
            waits_changed: false,
        }
    }

    /// The stamp of the newest entry of this change.
    pub fn newest(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.id.0)
    }

    /// Whom an entry is about, and by whom when it is by another one.
    pub fn about(&self, user: UserId) -> String {
        if user == self.author {
            return json!({"user": user}).to_string();
        }
        json!({"user": user, "by": self.author}).to_string()
    }

    pub fn in_role(&self, user: UserId, role: Role) -> String {
        json!({"user": user, "role": role}).to_string()
    }
}

impl Batch<'_> {
    /// Appends an entry of the host's own.
    pub fn say(&mut self, work: &mut Work, code: &str, args: String) -> Result<(), StoreError> {
        let id = EntryId(self.next_stamp());
        let args = RawValue::from_string(args)
            .map_err(|error| StoreError::Damaged(format!("a system entry: {error}")))?;
        let Some(state) = self.state(work.id)? else {
            return Err(StoreError::Damaged("a group without a state".to_owned()));
        };
        let entry = Arc::new(Entry {
            conversation: work.id,
            seq: state.head + 1,
            id,
            at: id.at_ms(),
            from: work.author,
            body: Body::System {
                code: code.to_owned(),
                args,
            },
            audience: None,
            made: None,
        });
        let header = next_header(&state.conversation, state.header, &entry);
        (state.head, state.head_id, state.header) = (entry.seq, id.0, header);
        state.generation = state.generation.max(work.record.generation);
        self.append_entry(EntryRow {
            entry: entry.clone(),
            record: work.record.clone(),
            header,
            edits: Vec::new(),
            recalled_by: 0,
            replaced: false,
            acked: None,
            holds: Vec::new(),
        });
        work.entries.push(entry);
        Ok(())
    }

    /// Makes members of users who are none. Their receipts start at the head, their past where the group says.
    pub fn join(&mut self, work: &mut Work, users: &[UserId]) -> Result<(), StoreError> {
        for user in users {
            let args = work.about(*user);
            self.say(work, "member_joined", args)?;
        }
        let Some(state) = self.state(work.id)? else {
            return Ok(());
        };
        let (head, ordinal) = (state.head, state.header.ordinal);
        let first = work.entries.first().map_or(head, |entry| entry.seq);
        let visible_from = match work.group.history {
            Past::FromJoining => first,
            Past::All => 1,
        };
        let stamp = work.newest();
        for user in users {
            let before = self.group_member(work.id, *user)?;
            let role = if *user == work.group.owner {
                Role::Owner
            } else {
                Role::Member
            };
            let mut member = Member::new(role, self.now, visible_from, head, ordinal, stamp);
            member.joined_seq = first;
            if let Some(before) = before {
                // Leaving and coming again lifts neither a mute nor slow mode.
                (member.muted_until, member.spoke_at) = (before.muted_until, before.spoke_at);
            }
            self.put_member(work.id, *user, member);
            self.put_row(key::membership(*user, work.id), Vec::new());
            self.moves.push((work.id, *user, Some(first)));
            self.settle_request(work, *user)?;
        }
        work.group.members += users.len() as u64;
        work.joined.extend_from_slice(users);
        Ok(())
    }

    /// The request of a user that waits, as the changes so far leave it.
    pub fn request_of(
        &self,
        id: ConversationId,
        user: UserId,
    ) -> Result<Option<JoinRequestId>, StoreError> {
        match self.requests.get(&(id, user)) {
            Some(known) => Ok(*known),
            None => self.engine.request_of(id, user),
        }
    }

    /// Takes away the request of a user, if one waits.
    pub fn settle_request(&mut self, work: &mut Work, user: UserId) -> Result<(), StoreError> {
        // Nearly every group has none: most who join are not looked for.
        if work.group.waiting == 0 {
            return Ok(());
        }
        if let Some(request) = self.request_of(work.id, user)? {
            self.remove_row(key::join_request(work.id, request));
            self.remove_row(key::request_of(work.id, user));
            self.requests.insert((work.id, user), None);
            work.group.waiting = work.group.waiting.saturating_sub(1);
            work.waits_changed = true;
        }
        Ok(())
    }

    /// Writes what the change leaves of the conversation, and what the plugins wanted written with it.
    pub fn end_work(&mut self, mut work: Work, effects: Vec<PluginWrite>) -> Applied {
        if !work.entries.is_empty() {
            work.changed = work.newest();
        }
        work.conversation.group = Some(work.group);
        let conversation = Arc::new(work.conversation);
        if !work.entries.is_empty() || work.waits_changed {
            self.put_conversation(&conversation, work.changed);
            if let Some(state) = self.state(work.id)? {
                (state.conversation, state.changed) = (conversation.clone(), work.changed);
            }
        }
        self.put_effects(effects)?;
        Ok(Ok(Outcome::Group(Box::new(GroupDone {
            conversation,
            entries: work.entries,
            joined: work.joined,
            left: work.left,
            touched: work.touched,
            shown: work.shown,
            request: work.request,
        }))))
    }
}
