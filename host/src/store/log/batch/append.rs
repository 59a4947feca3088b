//! Appending: the next seq of a log,
//! and everything that is atomic with the new entry.

use std::sync::Arc;

use super::Batch;
use super::target::content_of;
use crate::conversation::{Conversation, Kind, Member, Role};
use crate::entry::{Body, Entry, Message, Seq};
use crate::ids::{ConversationId, EntryId, UserId};
use crate::store::log::answers::StoredAnswer;
use crate::store::log::batch::Applied;
use crate::store::log::floor::Floor;
use crate::store::log::heads::State;
use crate::store::log::key;
use crate::store::log::rows::{EntryRow, Header, Writer};
use crate::store::{Append, CommitError, Committed, Opening, Outcome};

impl Batch<'_> {
    pub(super) fn append(&mut self, append: &mut Append) -> Applied {
        let conversation = append.conversation;
        if let Some(key) = &append.key {
            match self.first_answer(conversation, append.author, key)? {
                Some(Err(conflict)) => return Ok(Err(conflict)),
                Some(Ok(StoredAnswer::Held(hold))) if append.releases == Some(hold) => {}
                Some(Ok(answer)) => {
                    return Ok(Ok(Outcome::Resent(self.resent(conversation, answer)?)));
                }
                None => {}
            }
        }
        if let Some(hold) = append.releases
            && self
                .held_row(hold)?
                .is_none_or(|held| held.refused.is_some())
        {
            return Ok(Err(CommitError::Gone("no such held message")));
        }
        let opened = match (self.state(conversation)?.is_some(), &append.opening) {
            (true, _) => false,
            (false, Some(opening)) => {
                let opening = opening.clone();
                self.open(conversation, &opening);
                true
            }
            (false, None) => return Ok(Err(CommitError::Gone("no such conversation"))),
        };
        let member = match self.member(conversation, append.author)? {
            Ok(member) => member,
            Err(error) => return Ok(Err(error)),
        };
        let now = self.now;
        let Some(state) = self.state(conversation)? else {
            return Ok(Err(CommitError::Gone("no such conversation")));
        };
        if append.record.generation > 0 && append.record.generation < state.generation {
            return Ok(Err(CommitError::Stale));
        }
        if append.moves_read
            && let Some(group) = &state.conversation.group
        {
            let wait_ms = group.wait_ms(&member, now);
            if wait_ms > 0 {
                return Ok(Err(CommitError::TooSoon { wait_ms }));
            }
        }
        let seq = state.head + 1;
        let before = Before {
            conversation: state.conversation.clone(),
            header: state.header,
        };
        if let Some(settled) = self.touch_target(conversation, seq, append)? {
            return Ok(settled);
        }
        self.write(append, before, member, seq, opened)
    }

    fn open(&mut self, id: ConversationId, opening: &Opening) {
        let stamp = self.next_stamp();
        let conversation = Conversation {
            id,
            kind: opening.kind,
            title: String::new(),
            avatar: None,
            users: opening.users.clone(),
            created_at: self.now,
            group: None,
        };
        self.put_conversation(&conversation, stamp);
        let members =
            vec![Member::new(Role::Member, self.now, 1, 0, 0, stamp); opening.users.len()];
        self.put_state(
            id,
            State {
                conversation: Arc::new(conversation),
                changed: stamp,
                head: 0,
                head_id: 0,
                generation: 0,
                header: Header::default(),
                floor: Floor::default(),
                last_message: None,
                members: members.clone(),
            },
        );
        for (user, member) in opening.users.iter().zip(members) {
            self.put_member(id, *user, member);
            self.put_row(key::membership(*user, id), Vec::new());
        }
    }

    fn write(
        &mut self,
        append: &mut Append,
        before: Before,
        mut member: Member,
        seq: Seq,
        opened: bool,
    ) -> Applied {
        let id = EntryId(self.next_stamp());
        let entry = Arc::new(Entry {
            conversation: append.conversation,
            seq,
            id,
            at: id.at_ms(),
            from: append.author,
            body: take_body(&mut append.body),
            audience: append.audience.take(),
            made: append.record.made.take(),
        });
        let header = next_header(&before.conversation, before.header, &entry);
        let record = self.without_beside(id, std::mem::take(&mut append.record));
        let row = EntryRow {
            entry: entry.clone(),
            record,
            header,
            edits: Vec::new(),
            recalled_by: 0,
            replaced: append.replaced,
            acked: None,
            holds: Vec::new(),
        };
        let generation = row.record.generation;
        self.append_entry(row);
        if let Some(state) = self.state(append.conversation)? {
            (state.head, state.head_id, state.header) = (seq, id.0, header);
            state.generation = state.generation.max(generation);
            if entry.message().is_some() {
                state.last_message = Some(entry.clone());
            }
        }
        if before.conversation.kind == Kind::Group {
            member.spoke_at = entry.at;
        }
        self.move_author(append, member, &entry, header);
        self.mark_media(&entry, content_of(&entry), true);
        if let Some(message) = entry.message() {
            self.mark_mentions(
                &entry,
                message.content.as_deref().map(|json| json.get()),
                true,
            );
            if let Some(audience) = &entry.audience {
                self.mark_narrowed(&entry, audience);
            }
        }
        self.put_effects(std::mem::take(&mut append.effects))?;
        if let Body::React { target, emoji, on } = &entry.body {
            self.put_reaction(&entry, *target, emoji, *on);
        }
        if let Some(key) = &append.key {
            let answer = StoredAnswer::Committed {
                seq,
                id,
                replaced: append.replaced,
            };
            self.put_answer(append.conversation, append.author, key, answer);
        }
        if let Some(hold) = append.releases {
            self.remove_held(hold)?;
        }
        Ok(Ok(Outcome::Committed(Committed {
            entry,
            replaced: append.replaced,
            conversation: before.conversation,
            opened,
            released: append.releases,
        })))
    }

    /// A send moves its author's own `read` to the entry; a release moves nobody's.
    fn move_author(&mut self, append: &Append, mut member: Member, entry: &Entry, header: Header) {
        if append.moves_read {
            member.received = entry.seq;
            member.read = entry.seq;
            member.read_ordinal = header.ordinal;
            member.own_above.clear();
            member.receipt_changed = entry.id.0;
        } else if entry.message().is_some() {
            member.own_above.push(entry.seq);
        } else {
            return;
        }
        member.changed = entry.id.0;
        self.put_member(append.conversation, append.author, member);
    }

    fn mark_narrowed(&mut self, entry: &Entry, audience: &[UserId]) {
        let mut users = Writer(Vec::with_capacity(8 + audience.len() * 8));
        users.u64(entry.from.0);
        for user in audience {
            users.u64(user.0);
        }
        self.put_row(key::narrowed(entry.conversation, entry.seq), users.0);
    }
}

/// The body moves into the entry; what stays behind only tells the kind of change that was asked for.
fn take_body(body: &mut Body) -> Body {
    match body {
        Body::Message(message) => {
            let left = Message {
                client_id: String::new(),
                content: None,
                reply_to: None,
                edited: false,
                recalled: false,
            };
            Body::Message(std::mem::replace(message, left))
        }
        other => other.clone(),
    }
}

/// What an entry follows.
struct Before {
    conversation: Arc<Conversation>,
    header: Header,
}

pub(super) fn next_header(
    conversation: &Conversation,
    mut header: Header,
    entry: &Entry,
) -> Header {
    if entry.message().is_none() {
        return header;
    }
    header.ordinal += 1;
    header.last_message = entry.seq;
    if conversation.kind == Kind::Direct {
        header.streak = if header.streak_author == entry.from.0 {
            header.streak.saturating_add(1)
        } else {
            1
        };
        header.streak_author = entry.from.0;
        if let Some(at) = conversation.index_of(entry.from) {
            header.written |= 1 << (at & 1);
        }
    }
    header
}
