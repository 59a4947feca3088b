//! Files on their way, beside the talk: they move while lines are typed and arrive. A bounded number at once; each ends
//! with what became of it. It knows files and the client, and nothing of conversations.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::render;
use super::requests::cannot;
use crate::client::{Download, Rest, To, WireError};

/// Files on their way at once.
const MOST: usize = 4;
/// Lines about them that may wait to be shown.
const TOLD: usize = 64;
/// Of a file this large it is told how far it has come, each time another tenth has moved. Bytes.
const TOLD_FROM: u64 = 1_000_000;
/// Bytes a type is known by.
const BEGINNING: u64 = 8192;

pub(super) struct Transfers {
    running: FuturesUnordered<Running>,
    tell: mpsc::Sender<String>,
    told: mpsc::Receiver<String>,
}

type Running = Pin<Box<dyn Future<Output = Ended> + Send>>;

pub(super) enum News {
    /// A line that says how far a file has come.
    Moved(String),
    Ended(Ended),
}

/// What an upload is for.
pub(super) enum Purpose {
    /// To be sent.
    Message(To),
    /// To be shown for a group, or for oneself.
    Avatar(Option<String>),
}

/// What became of a file.
pub(super) enum Ended {
    /// The bytes are where the ticket led, and nobody has looked at them yet.
    Uploaded {
        purpose: Purpose,
        name: String,
        media: String,
    },
    Saved {
        file: PathBuf,
        bytes: u64,
    },
    Failed {
        name: String,
        error: WireError,
    },
}

impl Default for Transfers {
    fn default() -> Self {
        let (tell, told) = mpsc::channel(TOLD);
        Self {
            running: FuturesUnordered::new(),
            tell,
            told,
        }
    }
}

impl Transfers {
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Refuses one file more than may be on their way.
    pub(super) fn admit(&self) -> Result<(), WireError> {
        if self.running.len() < MOST {
            return Ok(());
        }
        let many = format!("{MOST} files are on their way: wait until one has arrived");
        Err(cannot(many))
    }

    /// Sends a file to where a ticket leads.
    pub(super) fn upload(&mut self, rest: Rest, ticket: Value, file: Outgoing, purpose: Purpose) {
        let teller = self.teller(&file.name, file.bytes);
        let Outgoing {
            name, bytes, file, ..
        } = file;
        let media = ticket["id"].as_str().unwrap_or_default().to_owned();
        self.running.push(Box::pin(async move {
            let sent = move |bytes| teller.moved(bytes);
            match rest.upload(&ticket, file, bytes, sent).await {
                Ok(()) => Ended::Uploaded {
                    purpose,
                    name,
                    media,
                },
                Err(error) => Ended::Failed { name, error },
            }
        }));
    }

    /// Keeps a download as a new file.
    pub(super) fn save(&mut self, download: Download, file: PathBuf) {
        let name = name_of(&file);
        let teller = self.teller(&name, download.bytes.unwrap_or_default());
        self.running.push(Box::pin(async move {
            match keep(download, &file, &teller).await {
                Ok(bytes) => Ended::Saved { file, bytes },
                Err(error) => Ended::Failed { name, error },
            }
        }));
    }

    /// What happens next; nothing, ever, while no file is on its way.
    pub(super) async fn next(&mut self) -> News {
        tokio::select! {
            biased;
            Some(line) = self.told.recv() => News::Moved(line),
            Some(ended) = self.running.next(), if !self.running.is_empty() => News::Ended(ended),
        }
    }

    fn teller(&self, name: &str, of: u64) -> Teller {
        Teller {
            name: name.to_owned(),
            of,
            tenths: AtomicU64::new(0),
            tell: self.tell.clone(),
        }
    }
}

/// Says how far a large file has come.
struct Teller {
    name: String,
    of: u64,
    tenths: AtomicU64,
    tell: mpsc::Sender<String>,
}

impl Teller {
    fn moved(&self, bytes: u64) {
        if self.of < TOLD_FROM {
            return;
        }
        let tenths = bytes.saturating_mul(10) / self.of;
        let before = self.tenths.fetch_max(tenths, Ordering::Relaxed);
        if before < tenths && tenths < 10 {
            let (name, of) = (render::label(&self.name), render::size(self.of));
            // Where the lines are not shown in time, a later one says more.
            let _ = self
                .tell
                .try_send(format!("… {name}: {} % of {of}", tenths * 10));
        }
    }
}

/// A file that is to be sent.
pub(super) struct Outgoing {
    pub name: String,
    /// As its beginning looks.
    pub mime: &'static str,
    pub bytes: u64,
    file: File,
}

impl Outgoing {
    /// The error says what is wrong with the file.
    pub(super) async fn open(path: &Path) -> Result<Self, WireError> {
        let shown = render::label(&path.to_string_lossy());
        let unreadable = |error: std::io::Error| {
            cannot(match error.kind() {
                ErrorKind::NotFound => format!("there is no file {shown}"),
                _ => format!("{shown} cannot be read: {error}"),
            })
        };
        // Before it is opened: some that are no files never open.
        let found = tokio::fs::metadata(path).await.map_err(unreadable)?;
        if found.is_dir() {
            return Err(cannot(format!("{shown} is a folder")));
        }
        if !found.is_file() {
            return Err(cannot(format!("{shown} is no ordinary file")));
        }
        let mut file = File::open(path).await.map_err(unreadable)?;
        let bytes = file.metadata().await.map_err(unreadable)?.len();
        if bytes == 0 {
            return Err(cannot(format!("{shown} is empty")));
        }
        let mut beginning = Vec::new();
        let mut first = (&mut file).take(BEGINNING);
        let read = first.read_to_end(&mut beginning).await;
        read.map_err(unreadable)?;
        file.rewind().await.map_err(unreadable)?;
        Ok(Self {
            name: name_of(path),
            mime: mime_of(&beginning),
            bytes,
            file,
        })
    }
}

/// The last part of a path, without what no name may have.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.replace(char::is_control, "_")
}

/// The type of what begins like this.
fn mime_of(beginning: &[u8]) -> &'static str {
    if let Some(found) = infer::get(beginning) {
        return found.mime_type();
    }
    let is_text = match std::str::from_utf8(beginning) {
        Ok(_) => true,
        // The last character may be cut.
        Err(error) => error.error_len().is_none(),
    };
    if is_text && !beginning.contains(&0) {
        "text/plain"
    } else {
        "application/octet-stream"
    }
}

/// Refuses a path where no new file can be.
pub(super) fn is_free(path: &Path) -> Result<(), WireError> {
    let shown = render::label(&path.to_string_lossy());
    let folder = folder_of(path);
    if path.is_dir() {
        return Err(cannot(format!("{shown} is a folder: name a file in it")));
    }
    if path.symlink_metadata().is_ok() {
        return Err(taken(&shown));
    }
    if !folder.is_dir() {
        let folder = render::label(&folder.to_string_lossy());
        return Err(cannot(format!("there is no folder {folder}")));
    }
    Ok(())
}

fn taken(shown: &str) -> WireError {
    cannot(format!("{shown} is there already: name another file"))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Writes it all beside its place first: a file of that name is whole, and none is written over.
async fn keep(mut download: Download, path: &Path, teller: &Teller) -> Result<u64, WireError> {
    let shown = render::label(&path.to_string_lossy());
    let unwritable = |error: std::io::Error| cannot(format!("{shown} cannot be written: {error}"));
    let beside = tempfile::Builder::new()
        .prefix(".kith-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder_of(path))
        .map_err(unwritable)?;
    let mut file = File::from_std(beside.reopen().map_err(unwritable)?);
    let mut bytes = 0;
    while let Some(chunk) = download.chunk().await? {
        file.write_all(&chunk).await.map_err(unwritable)?;
        bytes += chunk.len() as u64;
        teller.moved(bytes);
    }
    file.flush().await.map_err(unwritable)?;
    match beside.persist_noclobber(path) {
        Ok(_) => Ok(bytes),
        Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => Err(taken(&shown)),
        Err(refused) => Err(unwritable(refused.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_told_of_once_for_each_tenth_and_a_small_one_never() {
        let mut transfers = Transfers::default();
        let small = transfers.teller("small", TOLD_FROM - 1);
        small.moved(TOLD_FROM / 2);
        let large = transfers.teller("large", 2_000_000);
        for bytes in [
            1, 199_999, 200_000, 399_999, 1_000_001, 1_100_000, 2_000_000,
        ] {
            large.moved(bytes);
        }
        let lines: Vec<_> = std::iter::from_fn(|| transfers.told.try_recv().ok()).collect();
        assert_eq!(
            lines,
            ["… large: 10 % of 2.0 MB", "… large: 50 % of 2.0 MB"]
        );
    }

    #[test]
    fn a_type_is_seen_at_the_beginning() {
        let cut = &"你好".as_bytes()[..5];
        for (beginning, mime) in [
            (b"\x89PNG\r\n\x1a\n".as_slice(), "image/png"),
            (b"hello", "text/plain"),
            (cut, "text/plain"),
            (b"a\0b", "application/octet-stream"),
            (b"\xff\xfe\xfd", "application/octet-stream"),
        ] {
            assert_eq!(mime_of(beginning), mime, "{beginning:?}");
        }
    }

    #[test]
    fn a_new_file_stands_where_none_is_in_a_folder_that_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("there"), "x").expect("writes");
        std::os::unix::fs::symlink("nowhere", at("link")).expect("links");
        assert_eq!(is_free(&at("new")), Ok(()));
        assert_eq!(is_free(Path::new("no such file here")), Ok(()));
        for (path, why) in [
            (at("there"), "is there already"),
            (at("link"), "is there already"),
            (folder.path().to_owned(), "is a folder"),
            (at("none/new"), "there is no folder"),
        ] {
            let error = is_free(&path).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_name_is_the_last_part_of_a_path() {
        assert_eq!(name_of(Path::new("/a/b/我的 c\n.png")), "我的 c_.png");
    }
}
