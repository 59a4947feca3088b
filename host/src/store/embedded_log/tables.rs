//! The keyspaces of the embedded log and the reads on them.
//! Every read sees what is committed, nothing else.

use std::path::Path;
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use crate::conversation::{Conversation, Kind};
use crate::entry::{Entry, Seq};
use crate::ids::{ConversationId, HoldId, UserId};
use crate::store::log::answers::AnswerRow;
use crate::store::log::engine::Table;
use crate::store::log::floor::Floor;
use crate::store::log::heads::State;
use crate::store::log::key;
use crate::store::log::rows::{EntryRow, Header, Reader};
use crate::store::{HeldMessage, StoreError};

/// Journal bytes before memtables are written out: keeps opening after a crash under three seconds.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;
/// The larger, the less is written again when tables are merged; together they hold no more than the journal.
const MEMTABLE_BYTES: u64 = 32 * 1024 * 1024;

/// Opens the database and its keyspaces; a damaged journal is named with the way to mend it.
pub fn open_database(folder: &Path) -> fjall::Result<Database> {
    Database::builder(folder)
        .max_journaling_size(JOURNAL_BYTES)
        .open()
}

/// Every keyspace of a folder, made where it is not there.
pub fn open_tables(folder: &Path) -> Result<Tables, StoreError> {
    let database = open_database(folder).map_err(|error| super::upkeep::explain(folder, &error))?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
    let keyspace = |name| database.keyspace(name, options).map_err(unavailable);
    let (entries, answers, rows, feed) = (
        keyspace("entries")?,
        keyspace("answers")?,
        keyspace("rows")?,
        keyspace("feed")?,
    );
    Ok(Tables {
        database,
        entries,
        answers,
        rows,
        feed,
    })
}

/// The open database.
#[derive(Clone)]
pub struct Tables {
    pub database: Database,
    pub entries: Keyspace,
    pub answers: Keyspace,
    pub rows: Keyspace,
    /// What was committed, by stamp.
    pub feed: Keyspace,
}

/// What fjall's troubles are to the host.
pub fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} could not be read"))
}

impl Tables {
    /// Every keyspace.
    pub fn all(&self) -> [&Keyspace; 4] {
        [&self.entries, &self.answers, &self.rows, &self.feed]
    }

    pub fn of(&self, table: Table) -> &Keyspace {
        match table {
            Table::Entries => &self.entries,
            Table::Answers => &self.answers,
            Table::Rows => &self.rows,
            Table::Feed => &self.feed,
        }
    }

    pub fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .rows
            .get(key)
            .map_err(unavailable)?
            .map(|value| value.to_vec()))
    }

    pub fn entry(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<EntryRow>, StoreError> {
        match self
            .entries
            .get(key::entry(conversation, seq))
            .map_err(unavailable)?
        {
            Some(bytes) => EntryRow::decode(conversation, seq, &bytes).map(Some),
            None => Ok(None),
        }
    }

    pub fn header(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<Header>, StoreError> {
        match self
            .entries
            .get(key::entry(conversation, seq))
            .map_err(unavailable)?
        {
            Some(bytes) => EntryRow::decode_header(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Entries `first..=last`, ascending, at most `limit`; or the last `limit` of them.
    pub fn stretch(
        &self,
        conversation: ConversationId,
        (first, last): (Seq, Seq),
        limit: usize,
        newest: bool,
    ) -> Result<Vec<Arc<Entry>>, StoreError> {
        if first > last {
            return Ok(Vec::new());
        }
        let mut range = self
            .entries
            .range(key::entry(conversation, first)..=key::entry(conversation, last));
        let mut entries = Vec::with_capacity(limit.min(256));
        while entries.len() < limit {
            let Some(guard) = (if newest {
                range.next_back()
            } else {
                range.next()
            }) else {
                break;
            };
            let (found, bytes) = guard.into_inner().map_err(unavailable)?;
            let seq = key::seq_of(&found).ok_or_else(|| damaged("an entry's key"))?;
            entries.push(EntryRow::decode(conversation, seq, &bytes)?.entry);
        }
        if newest {
            entries.reverse();
        }
        Ok(entries)
    }

    pub fn answer(
        &self,
        conversation: ConversationId,
        author: UserId,
        client_id: &str,
    ) -> Result<Option<AnswerRow>, StoreError> {
        self.answer_at(&key::answer(conversation, author, client_id))
    }

    /// The answer at a key of them.
    pub fn answer_at(&self, key: &[u8]) -> Result<Option<AnswerRow>, StoreError> {
        let found = self.answers.get(key).map_err(unavailable)?;
        found.map(|bytes| AnswerRow::decode(&bytes)).transpose()
    }

    pub fn conversation(
        &self,
        id: ConversationId,
    ) -> Result<Option<(Conversation, u64)>, StoreError> {
        let Some(bytes) = self.row(&key::conversation(id))? else {
            return Ok(None);
        };
        rmp_serde::from_slice(&bytes)
            .map(Some)
            .map_err(|_| damaged("a conversation"))
    }

    /// Every conversation a user is or was in.
    pub fn memberships(&self, user: UserId) -> Result<Vec<ConversationId>, StoreError> {
        let mut conversations = Vec::new();
        for guard in self.rows.prefix(key::memberships(user)) {
            let found = guard.key().map_err(unavailable)?;
            let id = found
                .get(9..25)
                .and_then(|id| id.try_into().ok())
                .map(u128::from_be_bytes);
            conversations.push(ConversationId(
                id.ok_or_else(|| damaged("a membership's key"))?,
            ));
        }
        Ok(conversations)
    }

    /// Direct conversations a user is in, after one. Reads rows, so that no conversation in use loses its place in memory.
    pub fn direct_conversations(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let first = after.map_or(0, |after| after.0.saturating_add(1));
        let range = key::membership(user, ConversationId(first))
            ..=key::membership(user, ConversationId(u128::MAX));
        let mut found = Vec::new();
        for guard in self.rows.range(range) {
            let row = guard.key().map_err(unavailable)?;
            let id = row
                .get(9..25)
                .and_then(|id| id.try_into().ok())
                .map(u128::from_be_bytes)
                .ok_or_else(|| damaged("a membership's key"))?;
            let conversation = self.conversation(ConversationId(id))?;
            if conversation.is_some_and(|(row, _)| row.kind == Kind::Direct) {
                found.push(ConversationId(id));
            }
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    /// A conversation's state, from its newest row.
    pub fn state(&self, id: ConversationId) -> Result<Option<State>, StoreError> {
        let Some((conversation, changed)) = self.conversation(id)? else {
            return Ok(None);
        };
        let newest = self.entries.prefix(id.to_bytes()).next_back();
        let newest = match newest {
            Some(guard) => {
                let (found, bytes) = guard.into_inner().map_err(unavailable)?;
                let seq = key::seq_of(&found).ok_or_else(|| damaged("an entry's key"))?;
                Some(EntryRow::decode(id, seq, &bytes)?)
            }
            None => None,
        };
        let floor = self.floor(id)?;
        let header = newest.as_ref().map_or(floor.header, |row| row.header);
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
            head: newest.as_ref().map_or(floor.seq - 1, |row| row.entry.seq),
            head_id: newest.as_ref().map_or(floor.id, |row| row.entry.id.0),
            generation: newest
                .as_ref()
                .map_or(floor.generation, |row| row.record.generation),
            header,
            floor,
            last_message,
            members,
        }))
    }

    /// Where a log begins.
    pub fn floor(&self, id: ConversationId) -> Result<Floor, StoreError> {
        match self.row(&key::floor(id))? {
            Some(bytes) => Floor::decode(&bytes),
            None => Ok(Floor::default()),
        }
    }

    pub fn held(&self, hold: HoldId) -> Result<Option<HeldMessage>, StoreError> {
        let Some(bytes) = self.row(&key::held(hold))? else {
            return Ok(None);
        };
        crate::store::log::held::decode(hold, &bytes).map(Some)
    }

    /// Held messages after one, oldest first.
    pub fn held_after(
        &self,
        after: Option<HoldId>,
        wanted: impl Fn(&HeldMessage) -> bool,
        limit: usize,
    ) -> Result<Vec<Arc<HeldMessage>>, StoreError> {
        let from = key::held(HoldId(after.map_or(0, |hold| hold.0.saturating_add(1))));
        let mut found = Vec::new();
        for guard in self.rows.range(from..=key::held(HoldId(u64::MAX))) {
            let (key, bytes) = guard.into_inner().map_err(unavailable)?;
            let id = Reader(key.get(1..).unwrap_or_default())
                .u64()
                .ok_or_else(|| damaged("a hold's key"))?;
            let held = crate::store::log::held::decode(HoldId(id), &bytes)?;
            if wanted(&held) {
                found.push(Arc::new(held));
            }
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    /// Others' messages in `after+1..=head` that mention a user, or everyone.
    pub fn mentions(
        &self,
        conversation: ConversationId,
        user: UserId,
        (after, head): (Seq, Seq),
    ) -> Result<u64, StoreError> {
        let mut seqs = std::collections::BTreeSet::new();
        for whom in [user, key::ALL] {
            let range = key::mention(conversation, whom, after + 1)
                ..=key::mention(conversation, whom, head);
            for guard in self.rows.range(range) {
                let (found, author) = guard.into_inner().map_err(unavailable)?;
                if Reader(&author).u64() != Some(user.0) {
                    seqs.insert(found.get(25..33).map(<[u8]>::to_vec));
                }
            }
        }
        Ok(seqs.len() as u64)
    }

    /// Others' messages in `after+1..=head` that leave a user out.
    pub fn left_out(
        &self,
        conversation: ConversationId,
        user: UserId,
        (after, head): (Seq, Seq),
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        let range = key::narrowed(conversation, after + 1)..=key::narrowed(conversation, head);
        for guard in self.rows.range(range) {
            let value = guard.value().map_err(unavailable)?;
            let mut users = Reader(&value);
            let author = users.u64();
            let mut among = author == Some(user.0);
            while let Some(other) = users.u64() {
                among |= other == user.0;
            }
            count += u64::from(!among);
        }
        Ok(count)
    }
}
