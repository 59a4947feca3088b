//! The file everything of a deployment is moved in: a head with a version, then frames, each packed, numbered and with a
//! checksum of its own, the last of which says what there has to be. A file that was cut ends before it. No I/O but on what
//! it is given.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use crate::store::portable::tables::{self, Row, Table};
use crate::store::portable::{Part, Record};

/// What a file begins with, and the form that this program writes and reads.
const MAGIC: &[u8; 8] = b"kithmove";
pub const VERSION: u32 = 1;
/// Bytes before the first frame, and before what a frame holds.
pub const HEAD: usize = 12;
const FRAME_HEAD: usize = 8 + 4 + 4 + 4 + 1 + 16;
/// No frame that was written is larger: a component, or a row, is never cut.
const FRAME_MOST: u32 = 512 * 1024 * 1024;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("it is no file that `kith admin export` wrote")]
    Foreign,
    #[error(
        "it has version {0}, this program reads {VERSION}: use the program that wrote it, or a newer one"
    )]
    Version(u32),
    #[error("it is damaged: frame {0} is not what was written")]
    Damaged(u64),
    #[error(
        "it is not whole: it was cut, or its export did not end (frame {0} is the first that is missing)"
    )]
    Cut(u64),
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// What a file is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Tells files apart; hexadecimal.
    pub file: String,
    /// When the export began, milliseconds since 1970 UTC.
    pub at: u64,
    /// The program's version.
    pub program: String,
    /// The log's last stamp: as long as it is the same, an export can go on.
    pub stamp: u64,
    pub with_media: bool,
    /// About how many records there will be.
    pub about: u64,
}

/// What a whole file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Frames before this one.
    pub frames: u64,
    /// Records of each part of the log, rows of each table.
    pub records: std::collections::BTreeMap<String, u64>,
    /// Uploads whose bytes are in it, and these bytes.
    pub media: u64,
    pub media_bytes: u64,
}

/// What one frame holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    Begin(Begin),
    Log {
        part: Part,
        records: Vec<Record>,
        /// Where the next frame of this part goes on; nothing where it is the last one.
        next: Vec<u8>,
    },
    Rows {
        table: &'static Table,
        rows: Vec<Row>,
        next: Vec<u8>,
    },
    /// Bytes of one upload from an offset on.
    Media {
        media: u64,
        offset: u64,
        is_last: bool,
        bytes: Vec<u8>,
    },
    /// All uploads up to this record are done with.
    MediaUpTo(u64),
    End(End),
}

/// What a file begins with.
pub fn head() -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&VERSION.to_le_bytes());
    head
}

/// Reads what a file begins with.
pub fn read_head(from: &mut impl Read) -> Result<(), FileError> {
    let mut head = [0; HEAD];
    if fill(from, &mut head)? < HEAD || &head[..8] != MAGIC {
        return Err(FileError::Foreign);
    }
    match head[8..].try_into().map(u32::from_le_bytes) {
        Ok(VERSION) => Ok(()),
        Ok(other) => Err(FileError::Version(other)),
        Err(_) => Err(FileError::Foreign),
    }
}

/// As much as there is.
fn fill(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match from.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Self::Begin(_) => 0,
            Self::Log { .. } => 1,
            Self::Rows { .. } => 2,
            Self::Media { .. } => 3,
            Self::MediaUpTo(_) => 4,
            Self::End(_) => 255,
        }
    }

    /// Records or rows in it.
    pub fn count(&self) -> u64 {
        match self {
            Self::Log { records, .. } => records.len() as u64,
            Self::Rows { rows, .. } => rows.len() as u64,
            _ => 0,
        }
    }

    fn payload(&self) -> Vec<u8> {
        let mut out = Out::default();
        match self {
            Self::Begin(begin) => out.0 = serde_json::to_vec(begin).unwrap_or_default(),
            Self::End(end) => out.0 = serde_json::to_vec(end).unwrap_or_default(),
            Self::Log {
                part,
                records,
                next,
            } => {
                out.0.push(*part as u8);
                out.bytes(next).number(records.len());
                for record in records {
                    out.bytes(&record.key).bytes(&record.value);
                }
            }
            Self::Rows { table, rows, next } => {
                out.bytes(table.name.as_bytes()).bytes(next);
                out.number(rows.len());
                for row in rows {
                    out.bytes(&tables::encode(row));
                }
            }
            Self::Media {
                media,
                offset,
                is_last,
                bytes,
            } => {
                out.0.extend_from_slice(&media.to_le_bytes());
                out.0.extend_from_slice(&offset.to_le_bytes());
                out.0.push(u8::from(*is_last));
                out.bytes(bytes);
            }
            Self::MediaUpTo(media) => out.0.extend_from_slice(&media.to_le_bytes()),
        }
        out.0
    }

    /// The frame as it stands in a file, as the one with a number.
    pub fn encode(&self, number: u64) -> Vec<u8> {
        let payload = self.payload();
        // Pictures and films are packed already.
        let packed = match self {
            Self::Media { .. } => payload.clone(),
            _ => lz4_flex::block::compress(&payload),
        };
        let mut head = number.to_le_bytes().to_vec();
        head.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        head.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        head.extend_from_slice(&(self.count() as u32).to_le_bytes());
        head.push(self.kind());
        let sum = checksum(&head, &packed);
        head.extend_from_slice(&sum);
        head.extend_from_slice(&packed);
        head
    }

    fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        let mut from = In(payload);
        let frame = match kind {
            0 => return serde_json::from_slice(payload).ok().map(Self::Begin),
            255 => return serde_json::from_slice(payload).ok().map(Self::End),
            1 => {
                let part = Part::from_stored(from.take(1)?[0])?;
                let next = from.bytes()?.to_vec();
                let mut records = Vec::new();
                for _ in 0..from.number()? {
                    records.push(Record {
                        key: from.bytes()?.to_vec(),
                        value: from.bytes()?.to_vec(),
                    });
                }
                Self::Log {
                    part,
                    records,
                    next,
                }
            }
            2 => {
                let table = tables::named(std::str::from_utf8(from.bytes()?).ok()?)?;
                let next = from.bytes()?.to_vec();
                let mut rows = Vec::new();
                for _ in 0..from.number()? {
                    rows.push(tables::decode(from.bytes()?, table.columns.len()).ok()?);
                }
                Self::Rows { table, rows, next }
            }
            3 => Self::Media {
                media: from.wide()?,
                offset: from.wide()?,
                is_last: from.take(1)?[0] != 0,
                bytes: from.bytes()?.to_vec(),
            },
            4 => Self::MediaUpTo(from.wide()?),
            _ => return None,
        };
        from.0.is_empty().then_some(frame)
    }
}

fn checksum(head: &[u8], packed: &[u8]) -> [u8; 16] {
    let mut hash = blake3::Hasher::new();
    hash.update(head);
    hash.update(packed);
    let mut sum = [0; 16];
    sum.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    sum
}

/// Reads frames one after another.
pub struct Frames<R> {
    from: R,
    /// The next frame's number.
    pub number: u64,
    /// Bytes of the file up to it.
    pub bytes: u64,
}

impl<R: Read> Frames<R> {
    /// From behind the head of a file.
    pub fn begin(mut from: R) -> Result<Self, FileError> {
        read_head(&mut from)?;
        Ok(Self {
            from,
            number: 0,
            bytes: HEAD as u64,
        })
    }

    /// The next frame; `None` where the file ends between two.
    pub fn frame(&mut self) -> Result<Option<Frame>, FileError> {
        let mut head = [0; FRAME_HEAD];
        let found = fill(&mut self.from, &mut head)?;
        if found == 0 {
            return Ok(None);
        }
        if found < FRAME_HEAD {
            return Err(FileError::Cut(self.number));
        }
        let damaged = || FileError::Damaged(self.number);
        let narrow = |at: usize| {
            let four = head[at..at + 4].try_into().map_err(|_| damaged());
            four.map(u32::from_le_bytes)
        };
        let (packed, length, kind) = (narrow(8)?, narrow(12)?, head[20]);
        let number = head[..8].try_into().map_err(|_| damaged())?;
        if u64::from_le_bytes(number) != self.number || packed > FRAME_MOST || length > FRAME_MOST {
            return Err(damaged());
        }
        let mut body = Vec::new();
        let limit = u64::from(packed);
        (&mut self.from).take(limit).read_to_end(&mut body)?;
        if body.len() < packed as usize {
            return Err(FileError::Cut(self.number));
        }
        if checksum(&head[..21], &body) != head[21..] {
            return Err(damaged());
        }
        let payload = match kind {
            3 => body,
            _ => lz4_flex::block::decompress(&body, length as usize).map_err(|_| damaged())?,
        };
        let frame = Frame::decode(kind, &payload).ok_or_else(damaged)?;
        self.number += 1;
        self.bytes += (FRAME_HEAD + packed as usize) as u64;
        Ok(Some(frame))
    }
}

#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn number(&mut self, number: usize) -> &mut Self {
        self.0.extend_from_slice(&(number as u32).to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len());
        self.0.extend_from_slice(bytes);
        self
    }
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<usize> {
        let four = self.take(4)?.try_into().ok()?;
        Some(u32::from_le_bytes(four) as usize)
    }

    fn wide(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::portable::tables::Cell;

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Begin(Begin {
                file: "00ff".to_owned(),
                at: 1,
                program: "0.1.0".to_owned(),
                stamp: 9,
                with_media: true,
                about: 3,
            }),
            Frame::Log {
                part: Part::Entries,
                records: vec![Record {
                    key: b"k".to_vec(),
                    value: vec![7; 10_000],
                }],
                next: b"l".to_vec(),
            },
            Frame::Rows {
                table: tables::named("documents").expect("known"),
                rows: vec![vec![Cell::Text("a".into()), Cell::Text("b".into())]],
                next: Vec::new(),
            },
            Frame::Media {
                media: 5,
                offset: 0,
                is_last: true,
                bytes: vec![1, 2, 3],
            },
            Frame::MediaUpTo(5),
            Frame::End(End::default()),
        ]
    }

    fn file() -> Vec<u8> {
        let mut file = head();
        for (number, frame) in frames().iter().enumerate() {
            file.extend(frame.encode(number as u64));
        }
        file
    }

    fn read(file: &[u8]) -> Result<Vec<Frame>, FileError> {
        let mut from = Frames::begin(file)?;
        let mut found = Vec::new();
        while let Some(frame) = from.frame()? {
            found.push(frame);
        }
        assert_eq!(from.bytes, file.len() as u64);
        Ok(found)
    }

    #[test]
    fn frames_come_back_as_they_were_and_smaller() {
        let file = file();
        assert_eq!(read(&file).expect("reads"), frames());
        assert!(file.len() < 2_000, "{} bytes", file.len());
    }

    #[test]
    fn no_byte_may_change_and_none_be_missing() {
        let whole = file();
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 1;
            assert!(read(&other).is_err(), "byte {at}");
        }
        for length in 0..whole.len() {
            let cut = read(&whole[..length]);
            let has_end = cut.is_ok_and(|frames| matches!(frames.last(), Some(Frame::End(_))));
            assert!(!has_end, "cut at {length}");
        }
    }

    #[test]
    fn other_versions_and_other_files_are_told_apart() {
        let mut newer = file();
        newer[8] = 2;
        assert!(matches!(read(&newer), Err(FileError::Version(2))));
        assert!(matches!(read(b"something else"), Err(FileError::Foreign)));
        assert!(matches!(read(b""), Err(FileError::Foreign)));
    }
}
