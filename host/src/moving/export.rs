//! Everything of a deployment as frames, of one moment: asked for one after another, so that whoever takes them sets the
//! pace. One that goes into a file and was cut goes on where the file ends, as long as nothing has changed meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use parking_lot::Mutex;

use super::frames::{self, Begin, End, FileError, Frame, Frames};
use super::track::{NO_MORE_MEDIA, Stage, Track};
use super::{Deployment, MoveError, Progress};
use crate::ids::MediaId;
use crate::media::blobs::{BlobError, Blobs, ByteStream};
use crate::store::StoreError;
use crate::store::media::MediaState;
use crate::store::portable::tables::{self, Row, TABLES, Table};
use crate::store::portable::{LogReader, RowsReader};

/// Bytes of records in one frame, about.
const FRAME_BYTES: usize = 1024 * 1024;
/// The file holds passwords' hashes, keys and everything that was said.
const OWNER_ONLY: u32 = 0o600;

/// What an export is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    pub with_media: bool,
    /// The time, milliseconds since 1970 UTC.
    pub now: u64,
}

/// A deployment as of one moment, on its way into frames.
pub struct Export {
    log: Box<dyn LogReader>,
    accounts: Box<dyn RowsReader>,
    blobs: Option<Arc<dyn Blobs>>,
    track: Track,
    begin: Begin,
    uploads: Uploads,
    bytes: u64,
}

/// A log that was asked to stand still.
type Still = Result<Box<dyn LogReader>, StoreError>;

/// Uploads that come next.
#[derive(Default)]
struct Uploads {
    /// Of the stretch of records at hand, last first: what to read of each, last first.
    records: Vec<(u64, Vec<Blob>)>,
    /// Where the next stretch begins; `None` after the last.
    next: Option<Vec<u8>>,
    begun: bool,
    reading: Option<(u64, u64, u64, ByteStream)>,
}

#[derive(Clone, Copy)]
struct Blob {
    media: u64,
    bytes: u64,
}

impl Export {
    /// Both stores stand still for each other: what one says of the other is there.
    pub async fn begin(from: &Deployment, wish: Wish) -> Result<Self, MoveError> {
        let read: Arc<Mutex<Option<Still>>> = Arc::default();
        let (log, put) = (from.log.clone(), read.clone());
        let meanwhile = Box::pin(async move {
            let still = log.read_still().await;
            *put.lock() = Some(still);
        });
        let accounts = from.accounts.rows_still(meanwhile).await?;
        let log = read.lock().take();
        let log =
            log.ok_or_else(|| StoreError::Unavailable("the log was not read".to_owned()))??;
        let blobs = from.blobs.clone().filter(|_| wish.with_media);
        let begin = Begin {
            file: format!("{:032x}", rand::random::<u128>()),
            at: wish.now,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            stamp: log.stamp(),
            with_media: blobs.is_some(),
            about: log.about() + accounts.about(),
        };
        Ok(Self {
            track: Track::new(begin.with_media),
            log,
            accounts,
            blobs,
            begin,
            uploads: Uploads::default(),
            bytes: frames::HEAD as u64,
        })
    }

    pub fn progress(&self) -> Progress {
        Progress {
            records: self.track.records(),
            about: self.begin.about,
            media: self.track.end.media,
            bytes: self.bytes,
        }
    }

    /// What there is in all, once it is done.
    pub fn end(&self) -> &End {
        &self.track.end
    }

    /// The next frame as it stands in the file; `None` behind the last one. It may be asked again after an error.
    pub async fn frame(&mut self) -> Result<Option<Vec<u8>>, MoveError> {
        let frame = match self.track.stage {
            Stage::Begin => Frame::Begin(self.begin.clone()),
            Stage::Log(part) => {
                let from = self.track.from.clone();
                let stretch = self.log.stretch(part, &from, FRAME_BYTES).await?;
                Frame::Log {
                    part,
                    records: stretch.records,
                    next: stretch.next.unwrap_or_default(),
                }
            }
            Stage::Media => self.upload().await?,
            Stage::Rows(place) => {
                let table = &TABLES[place];
                let from = self.track.from.clone();
                let stretch = self.accounts.rows(table, &from).await?;
                Frame::Rows {
                    table,
                    rows: stretch.records,
                    next: stretch.next.unwrap_or_default(),
                }
            }
            Stage::End => Frame::End(self.track.end.clone()),
            Stage::Done => return Ok(None),
        };
        let bytes = frame.encode(self.track.end.frames);
        self.track.saw(&frame);
        self.bytes += bytes.len() as u64;
        Ok(Some(bytes))
    }

    /// The next part of an upload's bytes, or the word that one is done with.
    async fn upload(&mut self) -> Result<Frame, MoveError> {
        loop {
            if let Some((media, offset, left, mut body)) = self.uploads.reading.take() {
                let mut bytes = Vec::new();
                while bytes.len() < FRAME_BYTES && (bytes.len() as u64) < left {
                    match body.next().await {
                        Some(chunk) => bytes.extend_from_slice(&chunk?),
                        None => return Err(broken(media)),
                    }
                }
                let left = left.saturating_sub(bytes.len() as u64);
                let read = bytes.len() as u64;
                if left > 0 {
                    self.uploads.reading = Some((media, offset + read, left, body));
                }
                return Ok(Frame::Media {
                    media,
                    offset,
                    is_last: left == 0,
                    bytes,
                });
            }
            if let Some((record, blobs)) = self.uploads.records.last_mut() {
                let record = *record;
                if let Some(blob) = blobs.pop() {
                    self.open(blob).await?;
                    continue;
                }
                self.uploads.records.pop();
                return Ok(Frame::MediaUpTo(record));
            }
            if !self.more_uploads().await? {
                return Ok(Frame::MediaUpTo(NO_MORE_MEDIA));
            }
        }
    }

    async fn open(&mut self, blob: Blob) -> Result<(), MoveError> {
        let Some(blobs) = &self.blobs else {
            return Ok(());
        };
        match blobs.read(MediaId(blob.media), 0..blob.bytes).await {
            Ok(body) => self.uploads.reading = Some((blob.media, 0, blob.bytes, body)),
            // It ended since: what named it is gone as well, or was never there.
            Err(BlobError::Missing) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether there was another stretch of records.
    async fn more_uploads(&mut self) -> Result<bool, MoveError> {
        let from = match (self.uploads.begun, self.uploads.next.take()) {
            (false, _) => self.track.from.clone(),
            (true, Some(next)) => next,
            (true, None) => return Ok(false),
        };
        self.uploads.begun = true;
        let table = media_table();
        let stretch = self.accounts.rows(table, &from).await?;
        self.uploads.next = stretch.next;
        let records = stretch.records.iter().rev();
        self.uploads.records = records.map(|row| kept_of(table, row)).collect();
        Ok(true)
    }
}

fn broken(media: u64) -> MoveError {
    let text = format!(
        "the bytes of media {} are shorter than they were",
        MediaId(media)
    );
    BlobError::Broken(text).into()
}

fn media_table() -> &'static Table {
    tables::named(tables::MEDIA.name).unwrap_or(&TABLES[0])
}

/// A record's id, and what is kept of it: its own bytes, and its small picture's.
fn kept_of(table: &Table, row: &Row) -> (u64, Vec<Blob>) {
    let int = |column: &str| {
        let cell = table.place(column).and_then(|place| row.get(place));
        cell.and_then(tables::Cell::int).map(i64::cast_unsigned)
    };
    let blob = |media: &str, bytes: &str| {
        let (media, bytes) = (int(media)?, int(bytes)?);
        Some(Blob { media, bytes })
    };
    let id = int("id").unwrap_or_default();
    if int("state") == Some(MediaState::Open as u64) {
        return (id, Vec::new());
    }
    let thumb = table.place("thumb_mime").and_then(|place| row.get(place));
    let has_thumb = thumb.is_some_and(|mime| mime.text().is_some());
    let small = blob("thumb", "thumb_bytes").filter(|_| has_thumb);
    (id, small.into_iter().chain(blob("id", "bytes")).collect())
}

/// What was made of a file.
#[derive(Debug)]
pub struct Exported {
    pub end: End,
    pub bytes: u64,
    /// Frames that were there from an earlier attempt.
    pub found: u64,
}

/// Writes an export into a file, behind what an earlier attempt left there. Stopped in between, it can go on.
pub async fn to_file(
    mut export: Export,
    file: &Path,
    mut shown: impl FnMut(Progress) -> bool,
) -> Result<Exported, MoveError> {
    let mut out = match export.go_on(file)? {
        Some(out) => out,
        None => {
            let mut out = new_file(file)?;
            out.write_all(&frames::head())?;
            out
        }
    };
    let found = export.track.end.frames;
    while let Some(frame) = export.frame().await? {
        out.write_all(&frame)?;
        if !shown(export.progress()) {
            out.sync_all()?;
            return Err(stopped());
        }
    }
    out.sync_all()?;
    Ok(Exported {
        end: export.track.end,
        bytes: export.bytes,
        found,
    })
}

/// What is said of a move that was interrupted.
pub fn stopped() -> MoveError {
    MoveError::Refused("stopped; the same command goes on from here".to_owned())
}

/// A new file, which nobody else can read.
pub fn new_file(file: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(OWNER_ONLY);
    options.open(file)
}

impl Export {
    /// Takes up a file that an earlier attempt left; `None` where there is none.
    fn go_on(&mut self, file: &Path) -> Result<Option<File>, MoveError> {
        let from = match File::open(file) {
            Ok(from) => from,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let name = file.display();
        if from.metadata()?.len() < frames::HEAD as u64 {
            drop(from);
            std::fs::remove_file(file)?;
            return Ok(None);
        }
        let mut from = Frames::begin(BufReader::new(from))?;
        let Some(Frame::Begin(begin)) = readable(from.frame())? else {
            std::fs::remove_file(file)?;
            return Ok(None);
        };
        let mut track = Track::new(begin.with_media);
        track.saw(&Frame::Begin(begin.clone()));
        let mut good = (from.bytes, track.clone());
        while let Some(frame) = readable(from.frame())? {
            if matches!(frame, Frame::End(_)) {
                let text = format!("{name} is a whole export already: give another name");
                return Err(MoveError::Refused(text));
            }
            if track.saw(&frame) {
                good = (from.bytes, track.clone());
            }
        }
        if begin.with_media != self.begin.with_media || !self.log.go_back(begin.stamp) {
            return Err(MoveError::Refused(format!(
                "{name} was begun from another state of this deployment, or with other flags: take it away to begin anew"
            )));
        }
        (self.bytes, self.track) = good;
        self.begin = begin;
        let mut options = OpenOptions::new();
        let out = options.append(true).open(file)?;
        out.set_len(self.bytes)?;
        Ok(Some(out))
    }
}

/// A frame that was not written to its end is where an export goes on.
fn readable(frame: Result<Option<Frame>, FileError>) -> Result<Option<Frame>, FileError> {
    match frame {
        Err(FileError::Cut(_) | FileError::Damaged(_)) => Ok(None),
        other => other,
    }
}
