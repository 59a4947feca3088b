//! Where a log begins once its oldest entries are gone, and how that looks on disk.
//! No I/O, no decision what is to go.

use super::rows::{Header, Reader, Writer, read_header, write_header};
use crate::entry::Seq;
use crate::store::StoreError;

/// Where a log begins: what its newest erased row told, so that counts stay exact and its head is known even when
/// nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// The lowest seq still kept; 1 in a whole log.
    pub seq: Seq,
    /// Of the entry below it.
    pub header: Header,
    pub id: u64,
    pub generation: u64,
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            seq: 1,
            header: Header::default(),
            id: 0,
            generation: 0,
        }
    }
}

impl Floor {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(56));
        out.u64(self.seq).u64(self.id).u64(self.generation);
        write_header(&mut out, &self.header);
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut from = Reader(bytes);
        let mut read = || {
            Some(Self {
                seq: from.u64()?,
                id: from.u64()?,
                generation: from.u64()?,
                header: read_header(&mut from)?,
            })
        };
        read().ok_or_else(|| StoreError::Damaged("where a log begins could not be read".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_comes_back_as_it_was() {
        let floor = Floor {
            seq: 8,
            header: Header {
                ordinal: 5,
                last_message: 6,
                streak: 1,
                streak_author: 3,
                written: 2,
            },
            id: 77,
            generation: 4,
        };
        assert_eq!(Floor::decode(&floor.encode()).expect("reads"), floor);
        assert!(Floor::decode(&floor.encode()[1..]).is_err());
    }
}
