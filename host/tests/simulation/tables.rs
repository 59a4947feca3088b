//! The rows of the simulated store that a majority has, and what is read from them. Rows look as in every engine; the
//! rules over them are the host's own (`kith::store::log`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use kith::conversation::{Conversation, Kind, Member, PeerReceipts, Summary};
use kith::entry::{Entry, Seq};
use kith::ids::{ConversationId, UserId};
use kith::store::log::answers::{AnswerRow, StoredAnswer};
use kith::store::log::batch::acked_content;
use kith::store::log::engine::Table;
use kith::store::log::floor::Floor;
use kith::store::log::heads::State;
use kith::store::log::key;
use kith::store::log::rows::EntryRow;
use kith::store::{FirstAnswer, Page, Span, Standing, StoreError};

/// One row of a commit; `None` takes it away.
#[derive(Debug, Clone)]
pub struct Put {
    pub table: Table,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Everything that is confirmed.
#[derive(Debug, Default)]
pub struct Tables {
    pub entries: Rows,
    pub answers: Rows,
    pub rows: Rows,
}

type Read<T> = Result<T, StoreError>;

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}

impl Tables {
    pub fn put(&mut self, put: &Put) {
        let rows = match put.table {
            Table::Entries => &mut self.entries,
            Table::Answers => &mut self.answers,
            Table::Rows => &mut self.rows,
            // The feed is a log of its own.
            Table::Feed => return,
        };
        match &put.value {
            Some(value) => rows.insert(put.key.clone(), value.clone()),
            None => rows.remove(&put.key),
        };
    }

    pub fn entry(&self, conversation: ConversationId, seq: Seq) -> Read<Option<EntryRow>> {
        let found = self.entries.get(&key::entry(conversation, seq)[..]);
        found
            .map(|bytes| EntryRow::decode(conversation, seq, bytes))
            .transpose()
    }

    pub fn answer(&self, key: &[u8]) -> Read<Option<AnswerRow>> {
        let found = self.answers.get(key);
        found.map(|bytes| AnswerRow::decode(bytes)).transpose()
    }

    pub fn member(&self, conversation: ConversationId, user: UserId) -> Read<Option<Member>> {
        let found = self.rows.get(&key::member(conversation, user)[..]);
        found
            .map(|bytes| rmp_serde::from_slice(bytes).map_err(|_| damaged("a member")))
            .transpose()
    }

    /// Everybody who is or was a member, by id.
    pub fn members(&self, conversation: ConversationId) -> Read<Vec<(UserId, Member)>> {
        let prefix = key::members(conversation);
        let mut members = Vec::new();
        for (found, bytes) in self.rows.range(prefix.clone()..) {
            if !found.starts_with(&prefix) {
                break;
            }
            let user = found[17..25].try_into().map(u64::from_be_bytes);
            let user = UserId(user.map_err(|_| damaged("a member's key"))?);
            let member = rmp_serde::from_slice(bytes).map_err(|_| damaged("a member"))?;
            members.push((user, member));
        }
        Ok(members)
    }

    pub fn memberships(&self, user: UserId) -> Vec<ConversationId> {
        let prefix = key::memberships(user);
        let rows = self.rows.range(prefix.clone()..);
        let keys = rows
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(&prefix));
        keys.filter_map(|key| key[9..25].try_into().ok())
            .map(|id| ConversationId(u128::from_be_bytes(id)))
            .collect()
    }

    pub fn keys(&self, range: Range<Vec<u8>>) -> Vec<Vec<u8>> {
        self.rows.range(range).map(|(key, _)| key.clone()).collect()
    }

    /// A conversation's state, from its newest rows.
    pub fn state(&self, id: ConversationId) -> Read<Option<State>> {
        let Some(bytes) = self.rows.get(&key::conversation(id)) else {
            return Ok(None);
        };
        let (conversation, changed): (Conversation, u64) =
            rmp_serde::from_slice(bytes).map_err(|_| damaged("a conversation"))?;
        let all = key::entry(id, 0)..=key::entry(id, Seq::MAX);
        let all = all.start().to_vec()..=all.end().to_vec();
        let newest = match self.entries.range(all).next_back() {
            Some((key, bytes)) => {
                let seq = key::seq_of(key).ok_or_else(|| damaged("an entry's key"))?;
                Some(EntryRow::decode(id, seq, bytes)?)
            }
            None => None,
        };
        let header = newest.as_ref().map(|row| row.header).unwrap_or_default();
        let last_message = match header.last_message {
            0 => None,
            seq => self.entry(id, seq)?.map(|row| row.entry),
        };
        let mut members = Vec::new();
        if conversation.kind != Kind::Group {
            for user in &conversation.users {
                members.push(self.member(id, *user)?.ok_or_else(|| damaged("a member"))?);
            }
        }
        Ok(Some(State {
            conversation: Arc::new(conversation),
            changed,
            head: newest.as_ref().map_or(0, |row| row.entry.seq),
            head_id: newest.as_ref().map_or(0, |row| row.entry.id.0),
            generation: newest.as_ref().map_or(0, |row| row.record.generation),
            header,
            floor: Floor::default(),
            last_message,
            members,
        }))
    }

    pub fn member_of(&self, state: &State, user: UserId) -> Read<Option<Member>> {
        match state.conversation.kind {
            Kind::Group => self.member(state.conversation.id, user),
            _ => Ok(state.member(user).cloned()),
        }
    }

    pub fn standing(&self, conversation: ConversationId, user: UserId) -> Read<Option<Standing>> {
        let Some(state) = self.state(conversation)? else {
            return Ok(None);
        };
        Ok(Some(Standing {
            member: self.member_of(&state, user)?,
            head: state.head,
            unanswered: state.unanswered(user),
            answered: state.answered(user),
            floor: state.floor.seq,
            conversation: state.conversation,
        }))
    }

    pub fn first_answer(
        &self,
        conversation: ConversationId,
        answer: StoredAnswer,
    ) -> Read<FirstAnswer> {
        Ok(match answer {
            StoredAnswer::Held(hold) => FirstAnswer::Held { hold },
            StoredAnswer::Dropped { .. } => FirstAnswer::Dropped,
            StoredAnswer::Command { reply, .. } => FirstAnswer::Command { reply },
            StoredAnswer::Refused { by, reason, .. } => FirstAnswer::Refused { by, reason },
            StoredAnswer::Committed { seq, id, replaced } => {
                let row = if replaced {
                    self.entry(conversation, seq)?
                } else {
                    None
                };
                FirstAnswer::Committed {
                    seq,
                    id,
                    replaced: row.and_then(acked_content),
                }
            }
        })
    }

    pub fn page(&self, conversation: ConversationId, reader: UserId, span: Span) -> Read<Page> {
        let Some(state) = self.state(conversation)? else {
            return Err(damaged("no such conversation"));
        };
        let member = self.member_of(&state, reader)?;
        let visible = member.map_or(Seq::MAX, |member| member.visible_from).max(1);
        let first = span
            .after
            .map_or(1, |after| after.saturating_add(1))
            .max(visible);
        let last = span.before.map_or(state.head, |before| {
            before.saturating_sub(1).min(state.head)
        });
        let (mut seqs, newest) = ((first..=last).collect::<Vec<_>>(), span.after.is_none());
        if newest {
            let surplus = seqs.len().saturating_sub(span.limit);
            seqs.drain(..surplus);
        }
        let mut entries = Vec::new();
        for seq in seqs.into_iter().take(span.limit) {
            let row = self.entry(conversation, seq)?;
            entries.push(row.ok_or_else(|| damaged("an entry is missing"))?.entry);
        }
        Ok(Page {
            entries,
            head: state.head,
            floor: visible,
        })
    }

    /// What a present member's list shows of a conversation. Nobody is mentioned here, and no audience narrowed.
    pub fn summary(&self, conversation: ConversationId, user: UserId) -> Read<Option<Summary>> {
        let Some(state) = self.state(conversation)? else {
            return Ok(None);
        };
        let member = self.member_of(&state, user)?;
        let Some(member) = member.filter(|member| member.left.is_none()) else {
            return Ok(None);
        };
        let unread = state.header.ordinal.saturating_sub(member.read_ordinal);
        let own = member.own_above.iter().filter(|own| **own > member.read);
        let last = self.last_for(&state, &member)?;
        let peer = state.conversation.peer_of(user).and_then(|peer| {
            let receipts = state.member(peer)?;
            Some(PeerReceipts {
                user: peer,
                received: receipts.received,
                read: receipts.read,
            })
        });
        Ok(Some(Summary {
            conversation: state.conversation.clone(),
            head: state.head,
            unread: unread.saturating_sub(own.count() as u64),
            mentions: 0,
            updated_at: last.as_ref().map_or(member.joined_at, |entry| entry.at),
            last,
            peer,
            member,
        }))
    }

    fn last_for(&self, state: &State, member: &Member) -> Read<Option<Arc<Entry>>> {
        let last = state.last_message.clone();
        Ok(last.filter(|entry| entry.seq >= member.visible_from))
    }

    /// A user's whole list, newest first.
    pub fn summaries(&self, user: UserId) -> Read<Vec<Summary>> {
        let mut list = Vec::new();
        for id in self.memberships(user) {
            list.extend(self.summary(id, user)?);
        }
        list.sort_by_key(|summary| {
            let newest = summary.last.as_ref().map_or(0, |entry| entry.id.0);
            std::cmp::Reverse((newest, summary.conversation.id))
        });
        Ok(list)
    }
}
