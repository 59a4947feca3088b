//! Everything of a deployment as records that no engine has to itself, for moving it from one engine to another and for
//! backups. A message log gives rows as `log` encodes them, the accounts rows of `tables`; what follows from other
//! records is not among them. Taking a record in a second time changes nothing.

pub mod tables;

use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;

use super::StoreError;
use tables::{Row, Table};

/// What a message log is made of, in the order in which it is moved: each needs those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Part {
    /// Key and value as in `log::key` and `log::rows`.
    Entries = 0,
    /// First answers to client ids.
    Answers = 1,
    /// Where logs begin whose oldest entries are gone.
    Floors = 2,
    Conversations = 3,
    Members = 4,
    /// Mentions, reactions, join requests, held messages, uses of media, what hooks were shown.
    Rows = 5,
    /// Plugins' keys and values.
    Values = 6,
    /// What was committed, in order. The key is a number that counts from 1 without gaps, then the feed's own key.
    Feed = 7,
    /// Where the feed's consumers stand: the key is a name, the value a `Place`.
    Cursors = 8,
}

impl Part {
    pub const ALL: [Self; 9] = [
        Self::Entries,
        Self::Answers,
        Self::Floors,
        Self::Conversations,
        Self::Members,
        Self::Rows,
        Self::Values,
        Self::Feed,
        Self::Cursors,
    ];

    pub fn from_stored(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|part| *part as u8 == number)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Answers => "answers",
            Self::Floors => "floors",
            Self::Conversations => "conversations",
            Self::Members => "members",
            Self::Rows => "rows",
            Self::Values => "values",
            Self::Feed => "feed",
            Self::Cursors => "cursors",
        }
    }
}

/// One record of a message log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// A stretch of records. `next` is where the following one begins; `None` after the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch<T> {
    pub records: Vec<T>,
    pub next: Option<Vec<u8>>,
}

impl<T> Stretch<T> {
    pub fn last(records: Vec<T>) -> Self {
        let next = None;
        Self { records, next }
    }
}

/// Where a consumer of the feed stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Behind so many records of the feed; and the highest stamp up to which it has seen everything.
    Behind { records: u64, stamp: u64 },
    /// No place in the feed, but a text that its consumer understands.
    Text(String),
}

impl Place {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Behind { records, stamp } => {
                let mut out = vec![0];
                out.extend_from_slice(&records.to_be_bytes());
                out.extend_from_slice(&stamp.to_be_bytes());
                out
            }
            Self::Text(text) => {
                let mut out = vec![1];
                out.extend_from_slice(text.as_bytes());
                out
            }
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let read = || match bytes.split_first()? {
            (0, numbers) if numbers.len() == 16 => Some(Self::Behind {
                records: u64::from_be_bytes(numbers[..8].try_into().ok()?),
                stamp: u64::from_be_bytes(numbers[8..].try_into().ok()?),
            }),
            (1, text) => Some(Self::Text(String::from_utf8(text.to_vec()).ok()?)),
            _ => None,
        };
        read().ok_or_else(|| StoreError::Damaged("a consumer's place could not be read".to_owned()))
    }
}

/// The key of a record of the feed.
pub fn feed_key(number: u64, key: &[u8]) -> Vec<u8> {
    let mut out = number.to_be_bytes().to_vec();
    out.extend_from_slice(key);
    out
}

/// The number and the feed's own key in such a key.
pub fn read_feed_key(key: &[u8]) -> Result<(u64, &[u8]), StoreError> {
    let split = key.split_first_chunk::<8>();
    let (number, rest) = split.ok_or_else(|| {
        StoreError::Damaged("the key of a record of the feed could not be read".to_owned())
    })?;
    Ok((u64::from_be_bytes(*number), rest))
}

/// How far an import has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// Which file it is from.
    pub file: u128,
    /// Frames of it that are in.
    pub frames: u64,
}

/// A message log as of one moment.
#[async_trait]
pub trait LogReader: Send {
    /// No stamp of the log is higher; the same as long as nothing of the log changes.
    fn stamp(&self) -> u64;

    /// About how many records there are in all.
    fn about(&self) -> u64;

    /// Reads the log as of an earlier stamp of it instead; whether it can.
    fn go_back(&mut self, stamp: u64) -> bool {
        stamp == self.stamp()
    }

    /// Records of a part from a place on, about `bytes` of them; an empty place is the beginning. A feed is read from its
    /// beginning, and before the cursors.
    async fn stretch(
        &mut self,
        part: Part,
        from: &[u8],
        bytes: usize,
    ) -> Result<Stretch<Record>, StoreError>;
}

/// A message log that can be moved.
#[async_trait]
pub trait PortableLog: Send + Sync + 'static {
    /// The log as of now: everything that has settled is in it.
    async fn read_still(&self) -> Result<Box<dyn LogReader>, StoreError>;

    /// What is in it, in a word; `None` of one that was never used.
    async fn holds_already(&self) -> Result<Option<String>, StoreError>;

    /// The import that is not finished.
    async fn moving(&self) -> Result<Option<Moving>, StoreError>;

    /// Notes how far an import is: what was taken in before is noted no later than this.
    async fn note_moving(&self, moving: &Moving) -> Result<(), StoreError>;

    /// Takes records in, in the order of the parts. `stamp` is the reader's.
    async fn take(&self, part: Part, records: Vec<Record>, stamp: u64) -> Result<(), StoreError>;

    /// Everything is in: it is on stable storage when this returns, and no import is noted any more.
    async fn moved(&self, stamp: u64) -> Result<(), StoreError>;
}

/// Something to be done while nothing changes.
pub type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The accounts' tables as of one moment.
#[async_trait]
pub trait RowsReader: Send {
    /// About how many rows there are in all.
    fn about(&self) -> u64;

    /// Rows of a table from a place on; an empty place is the beginning.
    async fn rows(
        &mut self,
        table: &'static Table,
        from: &[u8],
    ) -> Result<Stretch<Row>, StoreError>;
}

/// Tables of accounts that can be moved.
#[async_trait]
pub trait PortableAccounts: Send + Sync + 'static {
    /// The tables as of the moment at which `meanwhile` is done; where this process alone writes them, none changes
    /// before it ends.
    async fn rows_still(&self, meanwhile: Meanwhile) -> Result<Box<dyn RowsReader>, StoreError>;

    /// Which table has rows already; `None` where none has.
    async fn rows_already(&self) -> Result<Option<&'static str>, StoreError>;

    /// Takes rows in; they are on stable storage when this returns.
    async fn take_rows(&self, table: &'static Table, rows: Vec<Row>) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_places_come_back_as_they_were() {
        for part in Part::ALL {
            assert_eq!(Part::from_stored(part as u8), Some(part));
        }
        assert_eq!(Part::from_stored(9), None);
        let places = [
            Place::Behind {
                records: 7,
                stamp: 1 << 60,
            },
            Place::Text("1790000000000".to_owned()),
        ];
        for place in places {
            assert_eq!(Place::decode(&place.encode()).expect("reads"), place);
        }
        assert!(Place::decode(&[0, 1]).is_err() && Place::decode(&[]).is_err());
        let key = feed_key(3, b"key");
        assert_eq!(read_feed_key(&key).expect("reads"), (3, &b"key"[..]));
    }
}
