//! How a plugin's value looks as a row. What has ended is as good as gone; its row goes when the room is needed.
//! No I/O.

use super::rows::{Reader, Writer};
use crate::store::StoreError;

/// A value's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvRow {
    pub version: u64,
    /// Milliseconds since 1970 UTC; 0 for never.
    pub expires_at: u64,
    pub value: Vec<u8>,
}

impl KvRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(16 + self.value.len()));
        out.u64(self.version).u64(self.expires_at);
        out.0.extend_from_slice(&self.value);
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut from = Reader(bytes);
        let heads = (from.u64(), from.u64());
        let (Some(version), Some(expires_at)) = heads else {
            return Err(StoreError::Damaged(
                "a plugin's value could not be read".to_owned(),
            ));
        };
        Ok(Self {
            version,
            expires_at,
            value: from.0.to_vec(),
        })
    }

    pub fn has_ended(&self, now: u64) -> bool {
        self.expires_at != 0 && self.expires_at <= now
    }
}

/// What a key counts for.
pub fn bytes(name: &str, value: &[u8]) -> u64 {
    (name.len() + value.len()) as u64
}
