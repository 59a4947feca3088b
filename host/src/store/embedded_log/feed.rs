//! The feed of the embedded log: one small row for each commit, beside the entry in the same write batch, in the
//! order of the stamps. It holds no content, only where the content stands.

use std::sync::atomic::Ordering;

use super::EmbeddedLog;
use super::batch::Batch;
use super::lists;
use super::tables::{Tables, unavailable};
use crate::entry::Seq;
use crate::ids::ConversationId;
use crate::store::StoreError;
use crate::store::feed::{FeedItem, FeedPage, FeedPosition};

/// What a feed's row is about. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Told {
    Entry = 0,
    Erased = 1,
    Gone = 2,
}

impl Told {
    fn from_stored(number: u8) -> Option<Self> {
        [Self::Entry, Self::Erased, Self::Gone]
            .into_iter()
            .find(|told| *told as u8 == number)
    }
}

fn key(stamp: u64, told: u8) -> [u8; 9] {
    let mut key = [0; 9];
    key[..8].copy_from_slice(&stamp.to_be_bytes());
    key[8] = told;
    key
}

impl Batch<'_> {
    /// Tells the feed; `stamp` is the change's own, so that rows never meet.
    ///
    /// Short enough to be held without an allocation: the seq goes without its leading zeros.
    pub(super) fn tell(&mut self, stamp: u64, told: Told, conversation: ConversationId, seq: Seq) {
        self.news.other |= told != Told::Entry;
        let mut value = [0; 24];
        value[..16].copy_from_slice(&conversation.to_bytes());
        let zeros = seq.leading_zeros() as usize / 8;
        value[16..24 - zeros].copy_from_slice(&seq.to_be_bytes()[zeros..]);
        self.put_feed(key(stamp, told as u8), &value[..24 - zeros]);
    }
}

/// What ends a range before a stamp.
pub(super) fn range_end(stamp: u64) -> [u8; 9] {
    key(stamp, 0)
}

/// The stamp of a row, and where the entry stands that it tells of.
pub(super) fn entry_at(key: &[u8], value: &[u8]) -> Option<(u64, Option<(ConversationId, Seq)>)> {
    let row = row(key, value)?;
    let entry = (row.told == Told::Entry).then_some((row.conversation, row.seq));
    Some((row.stamp, entry))
}

struct Row {
    stamp: u64,
    told: Told,
    conversation: ConversationId,
    seq: Seq,
}

fn row(key: &[u8], value: &[u8]) -> Option<Row> {
    let (conversation, seq) = value.split_at_checked(16)?;
    let mut wide = [0; 8];
    wide.get_mut(8_usize.checked_sub(seq.len())?..)?
        .copy_from_slice(seq);
    Some(Row {
        stamp: u64::from_be_bytes(key.get(..8)?.try_into().ok()?),
        told: Told::from_stored(*key.get(8)?)?,
        conversation: ConversationId(u128::from_be_bytes(conversation.try_into().ok()?)),
        seq: Seq::from_be_bytes(wide),
    })
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
        let row = row(&found, &value)
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
