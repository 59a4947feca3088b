//! Where in the order of a file an export is, told by the frames so far: the same whether they are written just now or found
//! in a file that was begun earlier.

use super::frames::{End, Frame};
use crate::store::portable::Part;
use crate::store::portable::tables::{Cell, TABLES, encode};

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Begin,
    Log(Part),
    Media,
    /// By its place among the tables.
    Rows(usize),
    End,
    Done,
}

/// How far a file is.
#[derive(Debug, Clone)]
pub struct Track {
    pub stage: Stage,
    /// Where the stage goes on.
    pub from: Vec<u8>,
    /// What there is so far.
    pub end: End,
    pub with_media: bool,
}

/// Uploads are done with.
pub const NO_MORE_MEDIA: u64 = u64::MAX;

impl Track {
    pub fn new(with_media: bool) -> Self {
        Self {
            stage: Stage::Begin,
            from: Vec::new(),
            end: End::default(),
            with_media,
        }
    }

    /// Large things that never change their minds come first; where consumers stand, and the accounts, are of the same
    /// moment as the rest only if they are read in one go: they come last.
    fn after(&self, part: Part) -> Stage {
        match part {
            Part::Values if self.with_media => Stage::Media,
            Part::Values => Stage::Log(Part::Feed),
            Part::Cursors => Stage::Rows(0),
            part => Part::from_stored(part as u8 + 1).map_or(Stage::Rows(0), Stage::Log),
        }
    }

    fn go(&mut self, stage: Stage) {
        self.stage = stage;
        self.from.clear();
    }

    /// Takes note of the next frame; whether an export that was cut may go on behind it.
    pub fn saw(&mut self, frame: &Frame) -> bool {
        // The last one counts those before it.
        self.end.frames += u64::from(!matches!(frame, Frame::End(_)));
        match frame {
            Frame::Begin(_) => {
                self.go(Stage::Log(Part::Entries));
                true
            }
            Frame::Log { part, next, .. } => {
                self.count(part.name(), frame.count());
                match next.is_empty() {
                    true => self.go(self.after(*part)),
                    false => self.from.clone_from(next),
                }
                *part < Part::Feed
            }
            Frame::Media { is_last, bytes, .. } => {
                self.end.media += u64::from(*is_last);
                self.end.media_bytes += bytes.len() as u64;
                false
            }
            Frame::MediaUpTo(NO_MORE_MEDIA) => {
                self.go(Stage::Log(Part::Feed));
                true
            }
            Frame::MediaUpTo(media) => {
                self.from = encode(&[Cell::Int(media.cast_signed())]);
                true
            }
            Frame::Rows { table, next, .. } => {
                self.count(table.name, frame.count());
                let place = TABLES.iter().position(|one| one.name == table.name);
                let place = place.unwrap_or(TABLES.len()) + 1;
                match next.is_empty() {
                    true if place < TABLES.len() => self.go(Stage::Rows(place)),
                    true => self.go(Stage::End),
                    false => self.from.clone_from(next),
                }
                false
            }
            Frame::End(_) => {
                self.go(Stage::Done);
                false
            }
        }
    }

    fn count(&mut self, what: &str, records: u64) {
        let counted = self.end.records.entry(what.to_owned()).or_default();
        *counted += records;
    }

    /// Records and rows so far.
    pub fn records(&self) -> u64 {
        self.end.records.values().sum()
    }
}
