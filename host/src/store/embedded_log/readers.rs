//! How far the members of a conversation are with one entry.
//! Counts on demand; nothing of it is kept.

use super::EmbeddedLog;
use super::tables::{Tables, unavailable};
use crate::conversation::{Kind, Member};
use crate::entry::Entry;
use crate::ids::UserId;
use crate::store::log::key;
use crate::store::{Readers, StoreError};

/// How far the present members are with an entry.
pub async fn readers(
    log: &EmbeddedLog,
    entry: &Entry,
    after: Option<UserId>,
    limit: usize,
) -> Result<Readers, StoreError> {
    let Some(state) = log.state(entry.conversation)? else {
        return Ok(Readers::default());
    };
    if state.conversation.kind != Kind::Group {
        let mut count = Count::new(entry.clone(), after, limit);
        for (user, member) in state.conversation.users.iter().zip(&state.members) {
            count.one(*user, member);
        }
        return Ok(count.readers);
    }
    let (tables, entry) = (log.tables().clone(), entry.clone());
    // A large group has many rows to look at.
    tokio::task::spawn_blocking(move || of_group(&tables, entry, after, limit))
        .await
        .map_err(unavailable)?
}

fn of_group(
    tables: &Tables,
    entry: Entry,
    after: Option<UserId>,
    limit: usize,
) -> Result<Readers, StoreError> {
    let mut count = Count::new(entry, after, limit);
    let damaged = || StoreError::Damaged("a member could not be read".to_owned());
    for guard in tables.rows.prefix(key::members(count.entry.conversation)) {
        let (found, bytes) = guard.into_inner().map_err(unavailable)?;
        let member: Member = rmp_serde::from_slice(&bytes).map_err(|_| damaged())?;
        let user = found.get(17..25).and_then(|id| id.try_into().ok());
        let user = user.map(u64::from_be_bytes).ok_or_else(damaged)?;
        count.one(UserId(user), &member);
    }
    Ok(count.readers)
}

struct Count {
    entry: Entry,
    after: Option<UserId>,
    limit: usize,
    readers: Readers,
}

impl Count {
    fn new(entry: Entry, after: Option<UserId>, limit: usize) -> Self {
        Self {
            entry,
            after,
            limit,
            readers: Readers::default(),
        }
    }

    /// Members come by rising id.
    fn one(&mut self, user: UserId, member: &Member) {
        let seq = self.entry.seq;
        let sees = member.left.is_none() && member.visible_from <= seq && self.entry.is_for(user);
        if !sees {
            return;
        }
        let author = user == self.entry.from;
        let read = author || member.read >= seq;
        self.readers.received += u64::from(read || member.received >= seq);
        if !read {
            return;
        }
        self.readers.read += 1;
        if self.after.is_some_and(|after| user <= after) {
            return;
        }
        if self.readers.users.len() < self.limit {
            self.readers.users.push(user);
        } else {
            self.readers.more = true;
        }
    }
}
