//! Blobs in a bucket of any S3-compatible store. Every request is a signed URL, the store's own or a client's alike;
//! uploads and kept blobs have keys of their own. Knows no other adapter.

use std::fs::File;
use std::io::{Seek, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::header::{CONTENT_LENGTH, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use rusty_s3::actions::{DeleteObject, GetObject, HeadBucket, PutObject, S3Action};
use rusty_s3::{Bucket, Credentials, UrlStyle};

use super::blobs::{BlobError, Blobs, ByteStream, DirectUpload, Presentation};
use crate::ids::MediaId;

/// How long a request of the host's own is good for.
const OWN: Duration = Duration::from_secs(300);
const CONNECT: Duration = Duration::from_secs(5);
/// Longest silence of the store.
const SILENCE: Duration = Duration::from_secs(30);
const COPY_SOURCE: &str = "x-amz-copy-source";

/// Where the bucket is and how to get in.
#[derive(Clone)]
pub struct S3Settings {
    /// `s3://bucket`, or `s3://bucket/prefix`.
    pub url: String,
    /// Empty: the region's at Amazon.
    pub endpoint: String,
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
    /// Clients speak to the store themselves.
    pub direct: bool,
    /// Where copies to look at are put for a moment.
    pub staging: PathBuf,
}

/// Blobs in a bucket.
pub struct S3Blobs {
    bucket: Bucket,
    credentials: Credentials,
    prefix: String,
    direct: bool,
    staging: PathBuf,
    http: Client,
}

fn unavailable(error: impl std::fmt::Display) -> BlobError {
    BlobError::Unavailable(error.to_string())
}

/// The answer, if it is a good one. Errors of the client say their URL, which is as good as a key: left out.
async fn good(request: reqwest::RequestBuilder) -> Result<Response, BlobError> {
    let response = request
        .send()
        .await
        .map_err(|error| unavailable(error.without_url()))?;
    match response.status() {
        status if status.is_success() => Ok(response),
        StatusCode::NOT_FOUND => Err(BlobError::Missing),
        status => Err(unavailable(format!("the store answered {status}"))),
    }
}

impl S3Blobs {
    /// Speaks to no store yet. What is wrong with the settings is said in one line.
    pub fn new(settings: S3Settings) -> Result<Arc<Self>, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let place = settings
            .url
            .strip_prefix("s3://")
            .filter(|place| !place.is_empty());
        let place = place.ok_or("media.url must be s3://bucket")?;
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        let region = match settings.region.as_str() {
            "" => "us-east-1",
            region => region,
        };
        let (endpoint, style) = match settings.endpoint.as_str() {
            "" => (
                format!("https://s3.{region}.amazonaws.com"),
                UrlStyle::VirtualHost,
            ),
            endpoint => (endpoint.to_owned(), UrlStyle::Path),
        };
        let endpoint: Url = endpoint
            .parse()
            .map_err(|_| "media.endpoint must be an http or https URL")?;
        let bucket = Bucket::new(endpoint, style, name.to_owned(), region.to_owned())
            .map_err(|error| format!("media.endpoint and media.url: {error}"))?;
        let http = Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .build()
            .map_err(|error| error.to_string())?;
        let prefix = prefix.trim_end_matches('/');
        Ok(Arc::new(Self {
            bucket,
            credentials: Credentials::new(settings.access_key, settings.secret_key),
            prefix: if prefix.is_empty() {
                String::new()
            } else {
                format!("{prefix}/")
            },
            direct: settings.direct,
            staging: settings.staging,
            http,
        }))
    }

    /// Whether there is such a bucket, as far as the store lets us know.
    pub async fn has_bucket(&self) -> bool {
        let head = HeadBucket::new(&self.bucket, Some(&self.credentials));
        let looked = good(self.http.head(head.sign(OWN))).await;
        !matches!(looked, Err(BlobError::Missing))
    }

    fn upload_key(&self, media: MediaId) -> String {
        format!("{}uploads/{media}", self.prefix)
    }

    fn kept_key(&self, media: MediaId) -> String {
        format!("{}kept/{media}", self.prefix)
    }

    /// The length is signed: the store takes nothing shorter and nothing longer.
    fn put_url(&self, key: &str, bytes: u64, life: Duration) -> Url {
        let mut put = PutObject::new(&self.bucket, Some(&self.credentials), key);
        put.headers_mut()
            .insert("content-length", bytes.to_string());
        put.sign(life)
    }

    fn get(&self, key: &str) -> reqwest::RequestBuilder {
        let get = GetObject::new(&self.bucket, Some(&self.credentials), key);
        self.http.get(get.sign(OWN))
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let delete = DeleteObject::new(&self.bucket, Some(&self.credentials), key);
        match good(self.http.delete(delete.sign(OWN))).await {
            Ok(_) | Err(BlobError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Copies within the store; the bytes do not pass through here.
    async fn copy(&self, from: &str, to: &str) -> Result<(), BlobError> {
        let source = format!("/{}/{from}", self.bucket.name());
        let mut put = PutObject::new(&self.bucket, Some(&self.credentials), to);
        put.headers_mut().insert(COPY_SOURCE, source.as_str());
        let url = put.sign(OWN);
        let response = good(
            self.http
                .put(url)
                .header(COPY_SOURCE, source)
                .header(CONTENT_LENGTH, 0),
        )
        .await?;
        // A copy that fails half way is told in the body of a good answer.
        let body = response.bytes().await.map_err(unavailable)?;
        if body.windows(7).any(|window| window == b"<Error>") {
            return Err(unavailable("the store could not copy"));
        }
        Ok(())
    }

    /// A kept blob as a file without a name.
    async fn fetch(&self, media: MediaId, most: u64) -> Result<File, BlobError> {
        let mut response = good(self.get(&self.kept_key(media))).await?;
        let mut file = tempfile::tempfile_in(&self.staging).map_err(unavailable)?;
        let mut written = 0;
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| unavailable(error.without_url()))?
        {
            written += chunk.len() as u64;
            if written > most {
                return Err(BlobError::Broken(format!("more than {most} bytes")));
            }
            file = tokio::task::spawn_blocking(move || file.write_all(&chunk).map(|()| file))
                .await
                .map_err(unavailable)?
                .map_err(unavailable)?;
        }
        file.rewind().map_err(unavailable)?;
        Ok(file)
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    fn direct_upload(&self, media: MediaId, bytes: u64, life: Duration) -> Option<DirectUpload> {
        self.direct.then(|| DirectUpload {
            url: self
                .put_url(&self.upload_key(media), bytes, life)
                .to_string(),
            method: "PUT",
        })
    }

    fn direct_download(
        &self,
        media: MediaId,
        shown: &Presentation,
        life: Duration,
    ) -> Option<String> {
        let key = self.kept_key(media);
        let mut get = GetObject::new(&self.bucket, Some(&self.credentials), &key);
        let query = get.query_mut();
        query.insert("response-content-disposition", shown.disposition.as_str());
        query.insert("response-content-type", shown.mime.as_str());
        let url = get.sign(life);
        self.direct.then(|| url.to_string())
    }

    async fn receive(&self, media: MediaId, body: ByteStream, bytes: u64) -> Result<(), BlobError> {
        let url = self.put_url(&self.upload_key(media), bytes, OWN);
        let body = reqwest::Body::wrap_stream(body);
        good(self.http.put(url).header(CONTENT_LENGTH, bytes).body(body)).await?;
        Ok(())
    }

    async fn keep(&self, media: MediaId, most: u64) -> Result<File, BlobError> {
        let upload = self.upload_key(media);
        match self.copy(&upload, &self.kept_key(media)).await {
            Ok(()) => self.delete(&upload).await?,
            // Taken over before, or never there: the kept one says which.
            Err(BlobError::Missing) => {}
            Err(error) => return Err(error),
        }
        self.fetch(media, most).await
    }

    async fn put(&self, media: MediaId, bytes: Bytes) -> Result<(), BlobError> {
        let length = bytes.len() as u64;
        let url = self.put_url(&self.kept_key(media), length, OWN);
        good(
            self.http
                .put(url)
                .header(CONTENT_LENGTH, length)
                .body(bytes),
        )
        .await?;
        Ok(())
    }

    async fn read(&self, media: MediaId, range: Range<u64>) -> Result<ByteStream, BlobError> {
        if range.is_empty() {
            return Ok(Box::pin(futures_util::stream::empty()));
        }
        let asked = format!("bytes={}-{}", range.start, range.end - 1);
        let response = good(self.get(&self.kept_key(media)).header(RANGE, asked)).await?;
        let stream = response.bytes_stream();
        Ok(Box::pin(stream.map(|chunk| {
            chunk.map_err(|error| unavailable(error.without_url()))
        })))
    }

    async fn discard_upload(&self, media: MediaId) -> Result<(), BlobError> {
        self.delete(&self.upload_key(media)).await
    }

    async fn remove(&self, media: MediaId) -> Result<(), BlobError> {
        self.delete(&self.upload_key(media)).await?;
        self.delete(&self.kept_key(media)).await
    }
}
