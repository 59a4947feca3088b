//! Files over REST: leave to upload one, its bytes to where the leave says, what the server found in them; and back.
//! Bytes are streamed, never held whole; a transfer that stands still ends. Nothing here touches a disk.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use reqwest::header::{CONTENT_LENGTH, LOCATION};
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Answer, Rest, encoded};
use crate::client::{WireError, root_cause};

/// Longest time in which no byte moves.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes sent at a time.
const CHUNK: usize = 64 * 1024;

/// The bytes of a media, as they come.
#[derive(Debug)]
pub struct Download {
    response: Response,
    /// How many there will be, where the answer says so.
    pub bytes: Option<u64>,
}

impl Rest {
    /// Leave to upload a file: `{id, upload, expires_at}`.
    pub async fn ticket(&self, name: &str, mime: &str, bytes: u64) -> Result<Value, WireError> {
        let new = json!({"name": name, "mime": mime, "bytes": bytes});
        self.post("/v1/media", new).await
    }

    /// Sends as many bytes as the ticket was asked for to where it says; `sent` hears how many are on their way.
    pub async fn upload(
        &self,
        ticket: &Value,
        source: impl AsyncRead + Send + Unpin + 'static,
        bytes: u64,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<(), WireError> {
        let upload = &ticket["upload"];
        let nowhere = || WireError::Unintelligible("a ticket that leads nowhere".to_owned());
        let url = upload["url"].as_str().ok_or_else(nowhere)?;
        let method = upload["method"].as_str().ok_or_else(nowhere)?;
        let method: Method = method.parse().map_err(|_| nowhere())?;
        // The link is the right to upload: the token stays here.
        let mut request = self.http.request(method, url).header(CONTENT_LENGTH, bytes);
        for (name, value) in upload["headers"].as_object().into_iter().flatten() {
            request = request.header(name, value.as_str().ok_or_else(nowhere)?);
        }
        let moved = Arc::new(AtomicU64::new(0));
        let body = Body::wrap_stream(chunks(source, bytes, moved.clone(), sent));
        let sending = request.body(body).send();
        let answered = while_it_moves(sending, &moved, SILENCE).await?;
        let response = answered.map_err(|error| broken(&error))?;
        answer(response).await?.good().map(drop)
    }

    /// Has the server check what was uploaded; what it found: `{id, mime, bytes, …}`.
    pub async fn complete(&self, media: &str) -> Result<Value, WireError> {
        let path = format!("/v1/media/{}/complete", encoded(media));
        self.call(Method::POST, &path, None).await?.good()
    }

    /// The bytes of a media, or of a thumbnail by its id.
    pub async fn download(&self, media: &str) -> Result<Download, WireError> {
        let path = format!("/v1/media/{}", encoded(media));
        let asked = self.request(Method::GET, &path).send().await;
        let led = asked.map_err(|error| self.unreachable(&error))?;
        let there = led.headers().get(LOCATION);
        let there = there.and_then(|there| led.url().join(there.to_str().ok()?).ok());
        let Some(there) = there.filter(|_| led.status().is_redirection()) else {
            return Err(refused(led).await);
        };
        let response = self.http.get(there).send().await;
        let response = response.map_err(|error| broken(&error))?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        Ok(Download {
            bytes: response.content_length(),
            response,
        })
    }
}

impl Download {
    /// The next of them; `None` after the last.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, WireError> {
        let next = tokio::time::timeout(SILENCE, self.response.chunk()).await;
        next.map_err(|_| still())?.map_err(|error| broken(&error))
    }
}

/// Exactly so many bytes of a source; one that ends before is an error.
fn chunks(
    source: impl AsyncRead + Send + Unpin + 'static,
    bytes: u64,
    moved: Arc<AtomicU64>,
    sent: impl Fn(u64) + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let begin = (source.take(bytes), sent);
    futures_util::stream::try_unfold(begin, move |(mut source, sent)| {
        let moved = moved.clone();
        async move {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            let read = source.read_buf(&mut chunk).await? as u64;
            let all = moved.fetch_add(read, Ordering::Relaxed) + read;
            if read > 0 {
                sent(all);
                return Ok(Some((chunk.freeze(), (source, sent))));
            }
            if all < bytes {
                let why = "the file has become shorter";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            Ok(None)
        }
    })
}

/// Waits for as long as the count grows within each such time.
async fn while_it_moves<T>(
    work: impl Future<Output = T>,
    moved: &AtomicU64,
    silence: Duration,
) -> Result<T, WireError> {
    let mut work = pin!(work);
    let mut before = None;
    loop {
        if let Ok(done) = tokio::time::timeout(silence, work.as_mut()).await {
            return Ok(done);
        }
        let now = Some(moved.load(Ordering::Relaxed));
        if now == before {
            return Err(still());
        }
        before = now;
    }
}

async fn answer(response: Response) -> Result<Answer, WireError> {
    let status = response.status().as_u16();
    let bytes = response.bytes().await.map_err(|error| broken(&error))?;
    Answer::read(status, &bytes)
}

/// Why there are no bytes.
async fn refused(response: Response) -> WireError {
    match answer(response).await.and_then(Answer::good) {
        Err(error) => error,
        Ok(_) => WireError::Unintelligible("an answer without a link".to_owned()),
    }
}

fn broken(error: &reqwest::Error) -> WireError {
    WireError::Broken(root_cause(error))
}

fn still() -> WireError {
    WireError::Broken(format!("nothing moved for {} s", SILENCE.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::StreamExt;
    use parking_lot::Mutex;

    use super::*;

    async fn taken(source: &'static [u8], bytes: u64) -> (io::Result<Vec<u8>>, Vec<u64>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = told.clone();
        let sent = move |all| hears.lock().push(all);
        let chunks = chunks(source, bytes, Arc::default(), sent);
        let all: Vec<io::Result<Bytes>> = chunks.collect().await;
        let all: io::Result<Vec<Bytes>> = all.into_iter().collect();
        let all = all.map(|parts| parts.concat());
        let told = told.lock().clone();
        (all, told)
    }

    #[tokio::test]
    async fn as_many_bytes_are_sent_as_were_said_or_the_upload_ends() {
        let (all, told) = taken(b"abcdef", 4).await;
        assert_eq!((all.expect("reads"), told), (b"abcd".to_vec(), vec![4]));
        let (short, _) = taken(b"ab", 4).await;
        let kind = short.expect_err("too short").kind();
        assert_eq!(kind, io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_transfer_that_stands_still_ends_and_one_that_moves_does_not() {
        let moved = AtomicU64::new(0);
        let stands = std::future::pending::<()>();
        let ended = while_it_moves(stands, &moved, Duration::ZERO).await;
        assert_eq!(ended.expect_err("ends").code(), "broken");
        let moves = std::future::poll_fn(|_| match moved.fetch_add(1, Ordering::Relaxed) {
            0..10 => Poll::Pending,
            _ => Poll::Ready(()),
        });
        assert_eq!(while_it_moves(moves, &moved, Duration::ZERO).await, Ok(()));
    }
}
