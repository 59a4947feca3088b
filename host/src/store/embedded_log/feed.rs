//! The feed of the embedded log: one small row for each commit, beside the entry in the same write batch, in the
//! order of the stamps. It holds no content, only where the content stands.

use std::sync::atomic::Ordering;

use super::EmbeddedLog;
use super::lists;
use super::tables::{Tables, unavailable};
use crate::entry::Seq;
use crate::ids::ConversationId;
use crate::store::StoreError;
use crate::store::feed::{FeedItem, FeedPage, FeedPosition};
use crate::store::log::feed::{Row, Told, key};

/// The stamp of a row, and where the entry stands that it tells of.
pub(super) fn entry_at(key: &[u8], value: &[u8]) -> Option<(u64, Option<(ConversationId, Seq)>)> {
    let row = Row::read(key, value)?;
    let entry = (row.told == Told::Entry).then_some((row.conversation, row.seq));
    Some((row.stamp, entry))
}

/// A stretch of the feed.
pub fn page(log: &EmbeddedLog, after: &FeedPosition, limit: usize) -> Result<FeedPage, StoreError> {
    let stamp = stamp(log, after);
    let mut page = FeedPage {
        items: Vec::new(),
        places: Vec::new(),
        next: after.clone(),
        more: false,
        reset: stamp.is_none(),
    };
    let Some(after) = stamp else {
        page.next = FeedPosition::default();
        return Ok(page);
    };
    // What is on the disk and not settled yet is read next time: its place would be from the future.
    let settled = log.shared.settled.load(Ordering::Acquire);
    if let Some((entries, more)) = log.shared.tail.read(after, settled, limit) {
        page.more = more;
        page.places = entries.iter().map(|entry| entry.id.0).collect();
        if let Some(stamp) = page.places.last() {
            page.next = FeedPosition(lists::token(log.instance, *stamp));
        }
        page.items = entries.into_iter().map(FeedItem::Entry).collect();
        return Ok(page);
    }
    let tables = log.tables();
    let (mut read, mut last) = (0, None);
    for guard in tables.feed.range(key(after.saturating_add(1), 0)..) {
        if read == limit {
            page.more = true;
            break;
        }
        let (found, value) = guard.into_inner().map_err(unavailable)?;
        let row = Row::read(&found, &value)
            .ok_or_else(|| StoreError::Damaged("a row of the feed could not be read".to_owned()))?;
        if row.stamp > settled {
            break;
        }
        last = Some(row.stamp);
        read += 1;
        if let Some(item) = item(tables, &row)? {
            page.items.push(item);
            page.places.push(row.stamp);
        }
    }
    if let Some(stamp) = last {
        page.next = FeedPosition(lists::token(log.instance, stamp));
    }
    Ok(page)
}

fn item(tables: &Tables, row: &Row) -> Result<Option<FeedItem>, StoreError> {
    let conversation = row.conversation;
    Ok(match row.told {
        Told::Entry => tables
            .entry(conversation, row.seq)?
            .map(|row| FeedItem::Entry(row.entry)),
        Told::Erased => Some(FeedItem::Erased {
            conversation,
            below: row.seq,
        }),
        Told::Gone => Some(FeedItem::Gone { conversation }),
    })
}

/// The place so many rows before another one.
pub fn before(log: &EmbeddedLog, at: &FeedPosition, rows: u64) -> Result<FeedPosition, StoreError> {
    let Some(stamp) = stamp(log, at) else {
        return Ok(FeedPosition::default());
    };
    let skipped = usize::try_from(rows).unwrap_or(usize::MAX);
    let end = key(stamp.saturating_add(1), 0);
    let mut earlier = log.tables().feed.range(..end).rev().skip(skipped);
    let Some(guard) = earlier.next() else {
        return Ok(FeedPosition::default());
    };
    let found = guard.key().map_err(unavailable)?;
    let stamp = found.get(..8).and_then(|bytes| bytes.try_into().ok());
    let stamp = stamp.map(u64::from_be_bytes);
    let stamp = stamp.ok_or_else(|| StoreError::Damaged("a row of the feed".to_owned()))?;
    Ok(FeedPosition(lists::token(log.instance, stamp)))
}

/// The stamp in a position.
pub fn stamp(log: &EmbeddedLog, at: &FeedPosition) -> Option<u64> {
    match at.0.as_str() {
        "" => Some(0),
        token => lists::stamp_of(log, token),
    }
}
