//! Blobs as files of a folder on this machine: `uploads` for what arrives, `kept` for what was taken over.
//! Files appear by renaming only, so a name never stands for half of something. Knows no other adapter.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::blobs::{BlobError, Blobs, ByteStream, DirectUpload, Presentation};
use crate::ids::MediaId;

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;
/// Folders the kept files are spread over.
const FOLDERS: u64 = 256;

/// Blobs in a folder.
pub struct LocalBlobs {
    folder: PathBuf,
}

fn unavailable(error: impl std::fmt::Display) -> BlobError {
    BlobError::Unavailable(error.to_string())
}

fn missing_or(error: io::Error) -> BlobError {
    if error.kind() == io::ErrorKind::NotFound {
        BlobError::Missing
    } else {
        unavailable(error)
    }
}

/// Off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(unavailable)?
}

impl LocalBlobs {
    /// Opens the folder, made when it is not there; takes away what a crash left half written.
    pub fn open(folder: &Path) -> io::Result<Arc<Self>> {
        let blobs = Self {
            folder: folder.to_owned(),
        };
        fs::create_dir_all(blobs.uploads())?;
        for number in 0..FOLDERS {
            fs::create_dir_all(blobs.kept(MediaId(number)).with_file_name(""))?;
        }
        for entry in fs::read_dir(blobs.uploads())? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "part")
            {
                fs::remove_file(path)?;
            }
        }
        Ok(Arc::new(blobs))
    }

    fn uploads(&self) -> PathBuf {
        self.folder.join("uploads")
    }

    fn upload(&self, media: MediaId) -> PathBuf {
        self.uploads().join(media.to_string())
    }

    fn part(&self, media: MediaId) -> PathBuf {
        let random: u64 = rand::random();
        self.uploads().join(format!("{media}-{random:016x}.part"))
    }

    fn kept(&self, media: MediaId) -> PathBuf {
        let folder = format!("{:02x}", media.0 % FOLDERS);
        self.folder
            .join("kept")
            .join(folder)
            .join(media.to_string())
    }
}

/// A file that is taken away again unless it was given its name.
struct Part(Option<PathBuf>);

impl Part {
    fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new(""))
    }

    fn name(mut self, to: &Path) -> io::Result<()> {
        fs::rename(self.path(), to)?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes the names in a file's folder last.
fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn remove_if_there(path: &Path) -> Result<(), BlobError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unavailable(error)),
        _ => Ok(()),
    }
}

#[async_trait]
impl Blobs for LocalBlobs {
    fn direct_upload(&self, _: MediaId, _: u64, _: Duration) -> Option<DirectUpload> {
        None
    }

    fn direct_download(&self, _: MediaId, _: &Presentation, _: Duration) -> Option<String> {
        None
    }

    async fn receive(
        &self,
        media: MediaId,
        mut body: ByteStream,
        bytes: u64,
    ) -> Result<(), BlobError> {
        let part = Part(Some(self.part(media)));
        let mut file = tokio::fs::File::create(part.path())
            .await
            .map_err(unavailable)?;
        let mut written = 0;
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            written += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(unavailable)?;
        }
        if written != bytes {
            return Err(BlobError::Broken(format!("{written} of {bytes} bytes")));
        }
        file.flush().await.map_err(unavailable)?;
        file.sync_all().await.map_err(unavailable)?;
        let to = self.upload(media);
        blocking(move || part.name(&to).map_err(unavailable)).await
    }

    async fn keep(&self, media: MediaId, most: u64) -> Result<File, BlobError> {
        let (upload, kept) = (self.upload(media), self.kept(media));
        blocking(move || {
            match fs::metadata(&upload) {
                Ok(about) if about.len() > most => {
                    return Err(BlobError::Broken(format!("more than {most} bytes")));
                }
                Ok(_) => {
                    fs::rename(&upload, &kept).map_err(unavailable)?;
                    sync_folder(&kept).map_err(unavailable)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unavailable(error)),
            }
            File::open(&kept).map_err(missing_or)
        })
        .await
    }

    async fn put(&self, media: MediaId, bytes: Bytes) -> Result<(), BlobError> {
        let (part, kept) = (Part(Some(self.part(media))), self.kept(media));
        blocking(move || {
            let write = || {
                let mut file = File::create(part.path())?;
                io::Write::write_all(&mut file, &bytes)?;
                file.sync_all()?;
                part.name(&kept)?;
                sync_folder(&kept)
            };
            write().map_err(unavailable)
        })
        .await
    }

    async fn read(&self, media: MediaId, range: Range<u64>) -> Result<ByteStream, BlobError> {
        let mut file = tokio::fs::File::open(self.kept(media))
            .await
            .map_err(missing_or)?;
        file.seek(io::SeekFrom::Start(range.start))
            .await
            .map_err(unavailable)?;
        let rest = file.take(range.end.saturating_sub(range.start));
        let stream = futures_util::stream::unfold(rest, |mut rest| async move {
            let mut chunk = bytes::BytesMut::with_capacity(CHUNK);
            match rest.read_buf(&mut chunk).await {
                Ok(0) => None,
                Ok(_) => Some((Ok(chunk.freeze()), rest)),
                Err(error) => Some((Err(unavailable(error)), rest)),
            }
        });
        Ok(Box::pin(stream))
    }

    async fn discard_upload(&self, media: MediaId) -> Result<(), BlobError> {
        let upload = self.upload(media);
        blocking(move || remove_if_there(&upload)).await
    }

    async fn remove(&self, media: MediaId) -> Result<(), BlobError> {
        let (upload, kept) = (self.upload(media), self.kept(media));
        blocking(move || {
            remove_if_there(&upload)?;
            remove_if_there(&kept)
        })
        .await
    }
}
