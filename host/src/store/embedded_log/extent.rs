//! How much of each conversation is kept: what upkeep asks before it has entries erased.
//! Reads keys rather than rows, and no state into memory.

use std::sync::Arc;

use super::tables::{Tables, unavailable};
use crate::entry::Seq;
use crate::ids::ConversationId;
use crate::store::log::key;
use crate::store::log::rows::EntryRow;
use crate::store::{Extent, StoreError};

/// Of the next conversations after one, by rising id: all, or those that have a retention of their own. With the last
/// one looked at.
pub fn extents(
    tables: &Tables,
    after: Option<ConversationId>,
    limit: usize,
    all: bool,
) -> Result<(Vec<Extent>, Option<ConversationId>), StoreError> {
    let first = match after {
        None => ConversationId(0),
        Some(ConversationId(u128::MAX)) => return Ok((Vec::new(), None)),
        Some(after) => ConversationId(after.0 + 1),
    };
    let range = key::conversation(first)..=key::conversation(ConversationId(u128::MAX));
    let (mut found, mut last) = (Vec::new(), None);
    for guard in tables.rows.range(range).take(limit) {
        let bytes = guard.value().map_err(unavailable)?;
        let (conversation, _): (crate::conversation::Conversation, u64) =
            rmp_serde::from_slice(&bytes)
                .map_err(|_| StoreError::Damaged("a conversation could not be read".to_owned()))?;
        last = Some(conversation.id);
        let own = conversation
            .group
            .as_ref()
            .and_then(|group| group.retention);
        if !all && own.is_none() {
            continue;
        }
        let floor = tables.floor(conversation.id)?.seq;
        let newest = tables
            .entries
            .prefix(conversation.id.to_bytes())
            .next_back();
        let head = match newest {
            Some(guard) => key::seq_of(&guard.key().map_err(unavailable)?),
            None => None,
        };
        found.push(Extent {
            conversation: Arc::new(conversation),
            floor,
            head: head.unwrap_or(floor - 1),
        });
    }
    Ok((found, last))
}

/// The first entry at or after `from` committed at `since_ms` or later, among `most` entries; else the seq after.
pub fn first_since(
    tables: &Tables,
    conversation: ConversationId,
    from: Seq,
    since_ms: u64,
    most: usize,
) -> Result<Seq, StoreError> {
    let range = key::entry(conversation, from)..=key::entry(conversation, Seq::MAX);
    let mut next = from;
    for guard in tables.entries.range(range).take(most) {
        let (found, bytes) = guard.into_inner().map_err(unavailable)?;
        let damaged = || StoreError::Damaged("an entry's key could not be read".to_owned());
        let seq = key::seq_of(&found).ok_or_else(damaged)?;
        if EntryRow::decode_time(&bytes)? >= since_ms {
            return Ok(seq);
        }
        next = seq + 1;
    }
    Ok(next)
}
