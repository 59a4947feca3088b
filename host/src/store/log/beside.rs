//! What hooks were shown and read that no entry holds, as rows of their own: so many, so many bytes, for so long. The
//! oldest go first; which there are is known in memory.

use std::collections::VecDeque;

use super::rows::{Reader, Writer};
use crate::entry::{Beside, HookRead};
use crate::ids::EntryId;
use crate::store::judged::BesideLimits;

/// A larger one is not kept.
const ROW_BYTES: usize = 256 * 1024;

/// Which rows there are.
#[derive(Debug, Default)]
pub struct Rows {
    pub limits: BesideLimits,
    /// Id and bytes, oldest first.
    rows: VecDeque<(u64, u32)>,
    bytes: u64,
}

impl Rows {
    pub fn add(&mut self, id: u64, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.rows.push_back((id, bytes));
        self.bytes += u64::from(bytes);
    }

    /// Whether it was there.
    pub fn remove(&mut self, id: u64) -> bool {
        let Ok(place) = self.rows.binary_search_by_key(&id, |(id, _)| *id) else {
            return false;
        };
        if let Some((_, bytes)) = self.rows.remove(place) {
            self.bytes -= u64::from(bytes);
        }
        true
    }

    /// The oldest, where it is one too many or was written before `now` by too much.
    pub fn pop(&mut self, now: u64) -> Option<EntryId> {
        let (id, bytes) = *self.rows.front()?;
        let age = now.saturating_sub(EntryId(id).at_ms());
        let over = self.rows.len() > self.limits.count
            || self.bytes > self.limits.bytes
            || age > self.limits.for_ms;
        if !over {
            return None;
        }
        self.rows.pop_front();
        self.bytes -= u64::from(bytes);
        Some(EntryId(id))
    }
}

/// The row of one; `None` where it is too large to be kept.
pub fn encode(beside: &Beside) -> Option<Vec<u8>> {
    let mut out = Writer::default();
    match &beside.sent {
        Some(sent) => out.u8(1).bytes(sent.as_bytes()),
        None => out.u8(0),
    };
    for read in &beside.reads {
        out.u16(read.binding).bytes(read.key.as_bytes());
        match &read.value {
            Some(value) => out.u8(1).bytes(value),
            None => out.u8(0),
        };
    }
    Some(out.0).filter(|row| row.len() <= ROW_BYTES)
}

pub fn decode(bytes: &[u8]) -> Option<Beside> {
    let mut from = Reader(bytes);
    let sent = match from.u8()? {
        0 => None,
        _ => Some(from.text()?),
    };
    let mut reads = Vec::new();
    while !from.0.is_empty() {
        reads.push(HookRead {
            binding: from.u16()?,
            key: from.text()?,
            value: match from.u8()? {
                0 => None,
                _ => Some(from.bytes()?.to_vec()),
            },
        });
    }
    Some(Beside { sent, reads })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_comes_back_and_a_row_cut_off_is_damaged() {
        let read = |value: Option<&[u8]>| HookRead {
            binding: 7,
            key: "count".to_owned(),
            value: value.map(<[u8]>::to_vec),
        };
        let beside = Beside {
            sent: Some("{}".to_owned()),
            reads: vec![read(None), read(Some(b"1"))],
        };
        let row = encode(&beside).expect("small");
        assert_eq!(decode(&row), Some(beside.clone()));
        assert_eq!(decode(&row[..row.len() - 1]), None);
        let large = Beside {
            sent: Some("x".repeat(ROW_BYTES)),
            ..beside
        };
        assert_eq!(encode(&large), None);
    }

    #[test]
    fn the_oldest_go_first_by_count_bytes_and_age() {
        let id = |ms: u64| ms << 20;
        let mut rows = Rows {
            limits: BesideLimits {
                count: 2,
                bytes: 100,
                for_ms: 1_000,
            },
            ..Rows::default()
        };
        for ms in [1, 2, 3] {
            rows.add(id(ms), 10);
        }
        assert_eq!(rows.pop(3), Some(EntryId(id(1))));
        assert_eq!(rows.pop(3), None);
        assert!(rows.remove(id(3)) && !rows.remove(id(3)));
        rows.add(id(4), 95);
        assert_eq!(rows.pop(4), Some(EntryId(id(2))));
        assert_eq!(rows.pop(4), None);
        assert_eq!(rows.pop(1_005), Some(EntryId(id(4))));
        assert_eq!(rows.bytes, 0);
    }
}
