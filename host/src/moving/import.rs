//! A file into a deployment that is empty. The file is read to its end before anything is put anywhere; then frame by frame,
//! with a note in the log how far it is, so that whatever ends it, it goes on from there.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use bytes::Bytes;

use super::export::stopped;
use super::frames::{Begin, End, FileError, Frame, Frames};
use super::track::Track;
use super::{Deployment, MoveError, Progress};
use crate::ids::MediaId;
use crate::store::portable::Moving;

/// What a whole file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    pub begin: Begin,
    pub end: End,
    pub bytes: u64,
}

impl Contents {
    pub fn records(&self) -> u64 {
        self.end.records.values().sum()
    }
}

/// Reads a file to its end: every frame is what was written, and all are there.
pub fn check(file: &Path, mut shown: impl FnMut(u64)) -> Result<Contents, MoveError> {
    let mut frames = Frames::begin(BufReader::new(File::open(file)?))?;
    let Some(Frame::Begin(begin)) = frames.frame()? else {
        return Err(FileError::Cut(0).into());
    };
    let mut track = Track::new(begin.with_media);
    track.saw(&Frame::Begin(begin.clone()));
    loop {
        let Some(frame) = frames.frame()? else {
            return Err(FileError::Cut(frames.number).into());
        };
        if let Frame::End(end) = frame {
            if end != track.end || frames.frame()?.is_some() {
                return Err(FileError::Damaged(frames.number).into());
            }
            let bytes = frames.bytes;
            return Ok(Contents { begin, end, bytes });
        }
        track.saw(&frame);
        shown(frames.bytes);
    }
}

/// What an import is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    pub with_media: bool,
}

/// What became of an import.
#[derive(Debug)]
pub struct Imported {
    pub contents: Contents,
    /// Frames that an earlier attempt had put in.
    pub found: u64,
}

/// Puts a file that was checked into a deployment.
pub async fn from_file(
    into: &Deployment,
    (file, contents): (&Path, Contents),
    wish: Wish,
    mut shown: impl FnMut(Progress) -> bool,
) -> Result<Imported, MoveError> {
    let id = u128::from_str_radix(&contents.begin.file, 16);
    let id = id.map_err(|_| FileError::Damaged(0))?;
    if contents.end.media > 0 && wish.with_media && into.blobs.is_none() {
        return Err(MoveError::Refused(format!(
            "the file holds {} uploads, and this deployment keeps none (media.engine): give --without-media to leave them out",
            contents.end.media
        )));
    }
    let found = admitted(into, id).await?;
    let mut import = Import {
        into,
        with_media: wish.with_media,
        stamp: contents.begin.stamp,
        upload: Vec::new(),
    };
    let mut frames = Frames::begin(BufReader::new(File::open(file)?))?;
    let mut track = Track::new(contents.begin.with_media);
    while let Some(frame) = frames.frame()? {
        track.saw(&frame);
        if frames.number <= found {
            continue;
        }
        let is_between = import.take(frame).await?;
        if is_between {
            let frames = frames.number;
            into.log.note_moving(&Moving { file: id, frames }).await?;
        }
        let progress = Progress {
            records: track.records(),
            about: contents.records(),
            media: track.end.media,
            bytes: frames.bytes,
        };
        if !shown(progress) {
            return Err(stopped());
        }
    }
    into.log.moved(import.stamp).await?;
    Ok(Imported { contents, found })
}

/// Frames that are in from an earlier attempt; refuses a deployment that holds anything else.
async fn admitted(into: &Deployment, file: u128) -> Result<u64, MoveError> {
    match into.log.moving().await? {
        Some(moving) if moving.file == file => return Ok(moving.frames),
        Some(_) => {
            return Err(MoveError::Refused(
                "an import of another file into this deployment is not finished".to_owned(),
            ));
        }
        None => {}
    }
    if let Some(what) = into.log.holds_already().await? {
        return Err(not_empty("message log", &what));
    }
    if let Some(table) = into.accounts.rows_already().await? {
        return Err(not_empty("accounts", table));
    }
    into.log.note_moving(&Moving { file, frames: 0 }).await?;
    Ok(0)
}

fn not_empty(store: &str, what: &str) -> MoveError {
    MoveError::Refused(format!(
        "this deployment is not empty: its {store} hold {what} already; an import needs one that was never started"
    ))
}

/// An import under way.
struct Import<'a> {
    into: &'a Deployment,
    with_media: bool,
    stamp: u64,
    /// Of the upload whose bytes are coming.
    upload: Vec<u8>,
}

impl Import<'_> {
    /// Puts a frame in; whether an import may go on behind it.
    async fn take(&mut self, frame: Frame) -> Result<bool, MoveError> {
        match frame {
            Frame::Log { part, records, .. } => {
                self.into.log.take(part, records, self.stamp).await?;
            }
            Frame::Rows { table, rows, .. } if !rows.is_empty() => {
                self.into.accounts.take_rows(table, rows).await?;
            }
            Frame::Media {
                media,
                offset,
                is_last,
                bytes,
            } => {
                if offset == 0 {
                    self.upload.clear();
                }
                self.upload.extend_from_slice(&bytes);
                if !is_last {
                    return Ok(false);
                }
                let whole = Bytes::from(std::mem::take(&mut self.upload));
                if let Some(blobs) = self.into.blobs.as_ref().filter(|_| self.with_media) {
                    blobs.put(MediaId(media), whole).await?;
                }
            }
            Frame::Begin(_) | Frame::MediaUpTo(_) | Frame::Rows { .. } | Frame::End(_) => {}
        }
        Ok(true)
    }
}
