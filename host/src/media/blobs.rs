//! The blobs seam: where the bytes of uploads are kept. One conformance suite, every engine.
//!
//! An upload arrives in a place of its own and is moved to where it is kept before anything looks at it, so that
//! whoever still may upload can change nothing that was checked. Adapters know neither users nor messages.

use std::fs::File;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use crate::ids::MediaId;

/// Bytes on their way; an error ends them.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BlobError>> + Send>>;

/// Why a blob could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The sender's stream ended too early, too late or with an error.
    #[error("the upload broke off: {0}")]
    Broken(String),
    /// There is no such blob.
    #[error("there is no such blob")]
    Missing,
    /// The store cannot do it now.
    #[error("the blob store is unavailable: {0}")]
    Unavailable(String),
}

/// An upload that goes to the store itself, not through this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectUpload {
    pub url: String,
    pub method: &'static str,
}

/// How a download is to be presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentation {
    pub mime: String,
    /// A `Content-Disposition` header's value.
    pub disposition: String,
}

#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Where a client may put exactly `bytes` bytes for as long as `life`; `None`: only through this host.
    fn direct_upload(&self, media: MediaId, bytes: u64, life: Duration) -> Option<DirectUpload>;

    /// Where a client may get a kept blob for as long as `life`; `None`: only through this host.
    fn direct_download(
        &self,
        media: MediaId,
        shown: &Presentation,
        life: Duration,
    ) -> Option<String>;

    /// Takes an upload of exactly `bytes` bytes in, whole or not at all; one that came before is replaced.
    async fn receive(&self, media: MediaId, body: ByteStream, bytes: u64) -> Result<(), BlobError>;

    /// Moves an upload to where it is kept, out of its sender's reach, and gives it to be read: a file that is the
    /// blob, or a copy that goes with its handle. Again: the kept one. `Missing` when nothing was uploaded; an
    /// upload of more than `most` bytes is `Broken`.
    async fn keep(&self, media: MediaId, most: u64) -> Result<File, BlobError>;

    /// Keeps bytes the host made itself.
    async fn put(&self, media: MediaId, bytes: Bytes) -> Result<(), BlobError>;

    /// A part of a kept blob.
    async fn read(&self, media: MediaId, range: Range<u64>) -> Result<ByteStream, BlobError>;

    /// Deletes an upload that came after another was kept; what is not there is no error.
    async fn discard_upload(&self, media: MediaId) -> Result<(), BlobError>;

    /// Deletes the upload and the kept blob; what is not there is no error.
    async fn remove(&self, media: MediaId) -> Result<(), BlobError>;
}
