//! How much of each conversation is kept: what upkeep asks before it has entries erased.
//! Reads keys rather than rows, and no state into memory.

use std::sync::Arc;

use super::key;
use super::rows::EntryRow;
use super::tables::{Tables, unavailable};
use crate::entry::Seq;
use crate::ids::ConversationId;
use crate::store::{Extent, StoreError};

/// Conversations after one, by rising id.
pub fn extents(
    tables: &Tables,
    after: Option<ConversationId>,
    limit: usize,
) -> Result<Vec<Extent>, StoreError> {
    let first = match after {
        None => ConversationId(0),
        Some(ConversationId(u128::MAX)) => return Ok(Vec::new()),
        Some(after) => ConversationId(after.0 + 1),
    };
    let range = key::conversation(first)..=key::conversation(ConversationId(u128::MAX));
    let mut found = Vec::new();
    for guard in tables.rows.range(range).take(limit) {
        let bytes = guard.value().map_err(unavailable)?;
        let (conversation, _): (crate::conversation::Conversation, u64) =
            rmp_serde::from_slice(&bytes)
                .map_err(|_| StoreError::Damaged("a conversation could not be read".to_owned()))?;
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
    Ok(found)
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
