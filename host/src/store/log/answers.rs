//! How first answers look on disk: what a client id was answered with, kept so that a resend gets the same again (I2).
//! No I/O.

use serde_json::value::RawValue;

use super::rows::{Reader, Writer};
use crate::content::Fingerprint;
use crate::entry::Seq;
use crate::ids::{EntryId, HoldId};
use crate::store::StoreError;

const VERSION: u8 = 1;

/// What a client id was answered with.
#[derive(Debug, Clone)]
pub struct AnswerRow {
    pub fingerprint: Fingerprint,
    pub answer: StoredAnswer,
}

#[derive(Debug, Clone)]
pub enum StoredAnswer {
    Committed {
        seq: Seq,
        id: EntryId,
        replaced: bool,
    },
    Held(HoldId),
    Dropped {
        id: u64,
    },
    Refused {
        id: u64,
        by: String,
        reason: String,
    },
    Command {
        id: u64,
        reply: Option<Box<RawValue>>,
    },
}

impl AnswerRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(40));
        let kind = match &self.answer {
            StoredAnswer::Committed { .. } => 0,
            StoredAnswer::Held(_) => 1,
            StoredAnswer::Dropped { .. } => 2,
            StoredAnswer::Refused { .. } => 3,
            StoredAnswer::Command { .. } => 4,
        };
        out.u8(VERSION).u8(kind);
        out.0.extend_from_slice(&self.fingerprint.0.to_be_bytes());
        match &self.answer {
            StoredAnswer::Committed { seq, id, replaced } => {
                out.u64(id.0).u64(*seq).u8(u8::from(*replaced))
            }
            StoredAnswer::Held(hold) => out.u64(hold.0),
            StoredAnswer::Dropped { id } => out.u64(*id),
            StoredAnswer::Refused { id, by, reason } => {
                out.u64(*id).bytes(by.as_bytes()).bytes(reason.as_bytes())
            }
            StoredAnswer::Command { id, reply } => out.u64(*id).content(reply.as_deref()),
        };
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::read(bytes)
            .ok_or_else(|| StoreError::Damaged("a first answer could not be read".to_owned()))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let (VERSION, kind) = (from.u8()?, from.u8()?) else {
            return None;
        };
        let fingerprint = Fingerprint(u128::from_be_bytes(from.take(16)?.try_into().ok()?));
        let id = from.u64()?;
        let answer = match kind {
            0 => StoredAnswer::Committed {
                id: EntryId(id),
                seq: from.u64()?,
                replaced: from.u8()? != 0,
            },
            1 => StoredAnswer::Held(HoldId(id)),
            2 => StoredAnswer::Dropped { id },
            3 => StoredAnswer::Refused {
                id,
                by: from.text()?,
                reason: from.text()?,
            },
            4 => StoredAnswer::Command {
                id,
                reply: from.content()?,
            },
            _ => return None,
        };
        Some(Self {
            fingerprint,
            answer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_answer_comes_back_as_it_was() {
        for answer in [
            StoredAnswer::Committed {
                seq: 4,
                id: EntryId(5),
                replaced: true,
            },
            StoredAnswer::Held(HoldId(6)),
            StoredAnswer::Dropped { id: 7 },
            StoredAnswer::Refused {
                id: 8,
                by: "word-filter".into(),
                reason: "spam".into(),
            },
            StoredAnswer::Command { id: 9, reply: None },
            StoredAnswer::Command {
                id: 9,
                reply: RawValue::from_string("{}".to_owned()).ok(),
            },
        ] {
            let row = AnswerRow {
                fingerprint: Fingerprint(99),
                answer,
            };
            let read = AnswerRow::decode(&row.encode()).expect("reads back");
            assert_eq!(format!("{read:?}"), format!("{row:?}"));
        }
    }
}
