//! OCI layouts: a folder, or the same in a `.tar` file. Of a layout only the files it must have are read, by names that
//! are known beforehand; nothing is ever unpacked.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;

use super::archive::Archive;
use super::{Artifact, DOCUMENT_BYTES_MAX, Digest, OciError, Part, Source};

pub(super) const MARK: &str = "oci-layout";
pub(super) const MARK_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
pub(super) const INDEX_FILE: &str = "index.json";

/// A layout that can be read.
#[derive(Debug)]
pub enum Layout {
    Folder(PathBuf),
    Archive(Archive),
}

impl Layout {
    /// Opens a folder or a tar file that says it is a layout of a known form.
    pub fn open(path: &Path) -> Result<Self, OciError> {
        let what = || path.display().to_string();
        let kind = std::fs::metadata(path).map_err(|error| io_error(what(), error))?;
        let layout = if kind.is_dir() {
            Self::Folder(path.to_owned())
        } else if kind.is_file() {
            Self::Archive(Archive::open(path)?)
        } else {
            let why = "it is neither a folder nor a file".to_owned();
            return Err(OciError::NotALayout { place: what(), why });
        };
        let mark = layout.read(MARK, DOCUMENT_BYTES_MAX)?;
        check_mark(&what(), mark.as_deref())?;
        Ok(layout)
    }

    /// The index everything else is found from.
    pub fn index(&self) -> Result<Vec<u8>, OciError> {
        let index = self.read(INDEX_FILE, DOCUMENT_BYTES_MAX)?;
        index.ok_or_else(|| OciError::Missing {
            what: INDEX_FILE.to_owned(),
        })
    }

    /// A file of the layout; `None` when it is not there.
    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, OciError> {
        match self {
            Self::Folder(folder) => read_file(&folder.join(name), name, most),
            Self::Archive(archive) => archive.read(name, most),
        }
    }
}

#[async_trait]
impl Source for Layout {
    async fn fetch(&self, _: Part, digest: &Digest, most: u64) -> Result<Vec<u8>, OciError> {
        let bytes = self.read(&blob_name(digest), most)?;
        bytes.ok_or_else(|| OciError::Missing {
            what: format!("the blob {digest}"),
        })
    }
}

/// Writes a layout: into a folder, which may be one already, or as a new `.tar` file.
pub fn write(target: &Path, artifacts: &[Artifact]) -> Result<(), OciError> {
    if target
        .extension()
        .is_some_and(|extension| extension == "tar")
    {
        super::archive::write(target, artifacts)
    } else {
        super::folder::write(target, artifacts)
    }
}

pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    image_layout_version: String,
}

pub(super) fn check_mark(place: &str, mark: Option<&[u8]>) -> Result<(), OciError> {
    let place = place.to_owned();
    let Some(mark) = mark else {
        let why = format!("it has no file {MARK}");
        return Err(OciError::NotALayout { place, why });
    };
    match serde_json::from_slice::<Mark>(mark) {
        Ok(mark) if mark.image_layout_version.starts_with("1.") => Ok(()),
        _ => {
            let why = format!("its file {MARK} names no version 1");
            Err(OciError::NotALayout { place, why })
        }
    }
}

/// A plain file's bytes. A link is none: it may lead anywhere.
pub(super) fn read_file(path: &Path, name: &str, most: u64) -> Result<Option<Vec<u8>>, OciError> {
    let failed = |error| io_error(path.display().to_string(), error);
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !kind.is_file() {
        let (what, why) = (name.to_owned(), "a layout holds plain files only");
        return Err(OciError::Refused { what, why });
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    read_bounded(file, name, most).map(Some)
}

pub(super) fn read_bounded(from: impl Read, name: &str, most: u64) -> Result<Vec<u8>, OciError> {
    let mut bytes = Vec::new();
    from.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| io_error(name.to_owned(), error))?;
    if bytes.len() as u64 > most {
        let what = name.to_owned();
        return Err(OciError::TooLarge { what, most });
    }
    Ok(bytes)
}

pub(super) fn io_error(what: String, source: io::Error) -> OciError {
    OciError::Io { what, source }
}
