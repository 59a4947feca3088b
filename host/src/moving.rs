//! Moving everything of a deployment: out of whichever engines keep it into one file, and from such a file into engines that
//! are empty. Also how a backup is taken while people talk. Knows stores and blobs by their traits alone.
//!
//! What is promised of a file: `host/decisions/0022-a-deployment-moves-as-rows-in-one-file.md`.

pub mod export;
pub mod frames;
pub mod import;
mod track;

use std::sync::Arc;

use crate::media::blobs::{BlobError, Blobs};
use crate::store::StoreError;
use crate::store::portable::{PortableAccounts, PortableLog};
use frames::FileError;

/// What is moved out of, or into.
#[derive(Clone)]
pub struct Deployment {
    pub log: Arc<dyn PortableLog>,
    pub accounts: Arc<dyn PortableAccounts>,
    /// `None`: it keeps no media.
    pub blobs: Option<Arc<dyn Blobs>>,
}

/// Why a deployment was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// It would not be what was asked for.
    #[error("{0}")]
    Refused(String),
}

impl From<std::io::Error> for MoveError {
    fn from(error: std::io::Error) -> Self {
        Self::File(FileError::Io(error))
    }
}

/// How far a move is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records of the log and rows of the accounts.
    pub records: u64,
    /// About how many there are.
    pub about: u64,
    /// Uploads, and the file's bytes up to here.
    pub media: u64,
    pub bytes: u64,
}
