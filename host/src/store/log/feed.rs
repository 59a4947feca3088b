//! How a row of the feed looks: one small row for each commit, in the order of the stamps. It holds no content, only where
//! the content stands.

use crate::entry::Seq;
use crate::ids::ConversationId;

/// What a feed's row is about. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Told {
    Entry = 0,
    Erased = 1,
    Gone = 2,
}

impl Told {
    pub fn from_stored(number: u8) -> Option<Self> {
        [Self::Entry, Self::Erased, Self::Gone]
            .into_iter()
            .find(|told| *told as u8 == number)
    }
}

/// The key of a row; what ends a range before a stamp, with 0 told.
pub fn key(stamp: u64, told: u8) -> [u8; 9] {
    let mut key = [0; 9];
    key[..8].copy_from_slice(&stamp.to_be_bytes());
    key[8] = told;
    key
}

/// A row: its key, its value, and how long that is.
///
/// Short enough to be held without an allocation: the seq goes without its leading zeros.
pub fn row_of(
    stamp: u64,
    told: Told,
    conversation: ConversationId,
    seq: Seq,
) -> ([u8; 9], [u8; 24], usize) {
    let mut value = [0; 24];
    value[..16].copy_from_slice(&conversation.to_bytes());
    let zeros = seq.leading_zeros() as usize / 8;
    value[16..24 - zeros].copy_from_slice(&seq.to_be_bytes()[zeros..]);
    (key(stamp, told as u8), value, 24 - zeros)
}

/// A row as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub stamp: u64,
    pub told: Told,
    pub conversation: ConversationId,
    pub seq: Seq,
}

impl Row {
    pub fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (conversation, seq) = value.split_at_checked(16)?;
        let mut wide = [0; 8];
        wide.get_mut(8_usize.checked_sub(seq.len())?..)?
            .copy_from_slice(seq);
        Some(Self {
            stamp: u64::from_be_bytes(key.get(..8)?.try_into().ok()?),
            told: Told::from_stored(*key.get(8)?)?,
            conversation: ConversationId(u128::from_be_bytes(conversation.try_into().ok()?)),
            seq: Seq::from_be_bytes(wide),
        })
    }
}
