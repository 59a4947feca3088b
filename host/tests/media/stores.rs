//! The blob stores: one suite for all of them, and the whole way through a bucket. The S3 server is `s3s-fs` in this
//! process, which checks every signature.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use hyper_util::rt::TokioIo;
use kith::ids::MediaId;
use kith::media::blobs::{BlobError, Blobs, ByteStream, Presentation};
use kith::media::local::LocalBlobs;
use kith::media::s3::{S3Blobs, S3Settings};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::steps::{self, content, fetch, picture, sweep_whole, ticket, upload, uploaded};
use crate::support::TestServer;

const LIFE: Duration = Duration::from_secs(60);

/// An S3 server with one bucket; it ends with the test's runtime.
pub struct Bucket {
    folder: TempDir,
    endpoint: String,
}

impl Bucket {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("pictures")).expect("a bucket");
        let files = s3s_fs::FileSystem::new(folder.path()).expect("a file system");
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single("key", "secret"));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self {
            folder,
            endpoint: format!("http://{address}"),
        }
    }

    fn settings(&self, secret: &str) -> S3Settings {
        S3Settings {
            url: "s3://pictures/kith".to_owned(),
            endpoint: self.endpoint.clone(),
            region: String::new(),
            access_key: "key".to_owned(),
            secret_key: secret.to_owned(),
            direct: true,
            staging: self.folder.path().to_owned(),
        }
    }

    /// The settings of a server, as environment.
    pub fn environment(&self) -> [(&'static str, &str); 5] {
        [
            ("KITH_MEDIA__ENGINE", "s3"),
            ("KITH_MEDIA__URL", "s3://pictures/kith"),
            ("KITH_MEDIA__ENDPOINT", &self.endpoint),
            ("KITH_MEDIA__ACCESS_KEY", "key"),
            ("KITH_MEDIA__SECRET_KEY", "secret"),
        ]
    }

    fn blobs(&self) -> Arc<S3Blobs> {
        S3Blobs::new(self.settings("secret")).expect("good settings")
    }

    async fn server(&self, direct: bool) -> TestServer {
        TestServer::with(|config| {
            config.media.engine = kith::config::MediaEngine::S3;
            config.media.url = "s3://pictures".to_owned();
            config.media.endpoint = self.endpoint.clone();
            config.media.access_key = "key".to_owned();
            config.media.secret_key = "secret".to_owned();
            config.media.direct = direct;
        })
        .await
    }

    /// Objects with a beginning of their key.
    pub fn objects(&self, prefix: &str) -> usize {
        let folder = self.folder.path().join("pictures").join(prefix);
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries
            .flatten()
            .filter(|entry| entry.path().is_file())
            .count()
    }
}

fn stream(parts: &[&'static [u8]]) -> ByteStream {
    let parts: Vec<Result<bytes::Bytes, BlobError>> = parts
        .iter()
        .map(|part| Ok(bytes::Bytes::from_static(part)))
        .collect();
    Box::pin(futures_util::stream::iter(parts))
}

fn breaking() -> ByteStream {
    let first = Ok(bytes::Bytes::from_static(b"abc"));
    let broken = Err(BlobError::Broken("gone".to_owned()));
    Box::pin(futures_util::stream::iter([first, broken]))
}

async fn text(blobs: &dyn Blobs, id: MediaId, range: std::ops::Range<u64>) -> String {
    let stream = blobs.read(id, range).await.expect("reads");
    let chunks: Vec<bytes::Bytes> = stream.try_collect().await.expect("to the end");
    String::from_utf8(chunks.concat()).expect("text")
}

fn content_of(mut file: std::fs::File) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut file, &mut text).expect("reads");
    text
}

/// What every store keeps to.
async fn keeps_its_promises(blobs: &dyn Blobs) {
    let id = MediaId::random();
    assert!(matches!(blobs.keep(id, 9).await, Err(BlobError::Missing)));
    assert!(matches!(
        blobs.read(id, 0..1).await,
        Err(BlobError::Missing)
    ));
    blobs.remove(id).await.expect("nothing is no error");
    // Whole or not at all.
    assert!(blobs.receive(id, breaking(), 6).await.is_err());
    assert!(blobs.receive(id, stream(&[b"abc"]), 6).await.is_err());
    assert!(matches!(blobs.keep(id, 9).await, Err(BlobError::Missing)));
    // A later upload takes an earlier one's place until it is kept; then it changes nothing.
    let received = blobs.receive(id, stream(&[b"first"]), 5).await;
    received.expect("receives");
    assert!(matches!(
        blobs.read(id, 0..1).await,
        Err(BlobError::Missing)
    ));
    let received = blobs.receive(id, stream(&[b"sec", b"ond"]), 6).await;
    received.expect("receives");
    assert_eq!(
        content_of(blobs.keep(id, 6).await.expect("keeps")),
        "second"
    );
    assert_eq!(
        content_of(blobs.keep(id, 6).await.expect("again")),
        "second"
    );
    blobs
        .receive(id, stream(&[b"third"]), 5)
        .await
        .expect("receives");
    assert_eq!(text(blobs, id, 0..6).await, "second");
    blobs.discard_upload(id).await.expect("discards");
    assert_eq!(
        content_of(blobs.keep(id, 6).await.expect("keeps")),
        "second"
    );
    assert_eq!(text(blobs, id, 2..4).await, "co");
    assert_eq!(text(blobs, id, 3..3).await, "");
    // The host's own bytes, and the end.
    let own = MediaId::random();
    blobs.put(own, "small".into()).await.expect("puts");
    assert_eq!(text(blobs, own, 0..5).await, "small");
    for id in [id, own, own] {
        blobs.remove(id).await.expect("removes");
        assert!(matches!(
            blobs.read(id, 0..1).await,
            Err(BlobError::Missing)
        ));
    }
}

#[tokio::test]
async fn every_blob_store_keeps_its_promises() {
    let folder = tempfile::tempdir().expect("a folder");
    keeps_its_promises(&*LocalBlobs::open(folder.path()).expect("opens")).await;
    let bucket = Bucket::start().await;
    keeps_its_promises(&*bucket.blobs()).await;
}

#[tokio::test]
async fn a_local_store_forgets_what_a_crash_left_half_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let half = folder.path().join("uploads/7-0.part");
    drop(LocalBlobs::open(folder.path()).expect("opens"));
    std::fs::write(&half, b"half").expect("writes");
    drop(LocalBlobs::open(folder.path()).expect("opens"));
    assert!(!half.exists());
}

#[tokio::test]
async fn a_bucket_takes_from_clients_what_was_signed_and_nothing_else() {
    let bucket = Bucket::start().await;
    let blobs = bucket.blobs();
    let http = reqwest::Client::new();
    let id = MediaId::random();
    let signed = blobs.direct_upload(id, 3, LIFE).expect("a URL").url;
    let put = async |url: &str, body: &'static str| {
        let put = http.put(url).body(body).send().await;
        put.expect("an answer").status().as_u16()
    };
    let bare = signed.split('?').next().expect("a path");
    for (url, body) in [
        (signed.as_str(), "abcd"),
        (signed.as_str(), "ab"),
        (bare, "abc"),
        (&signed.replace(&id.to_string(), "7"), "abc"),
    ] {
        assert_eq!(put(url, body).await, 403, "{url} {body}");
    }
    assert_eq!(put(&signed, "abc").await, 200);
    assert_eq!(content_of(blobs.keep(id, 3).await.expect("keeps")), "abc");
    let shown = Presentation {
        mime: "text/plain".to_owned(),
        disposition: "attachment".to_owned(),
    };
    let signed = blobs.direct_download(id, &shown, LIFE).expect("a URL");
    let get = async |url: &str| {
        let answer = http.get(url).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    assert_eq!(get(&signed).await, (200, "abc".to_owned()));
    assert_eq!(get(signed.split('?').next().expect("a path")).await.0, 403);
    let stranger = S3Blobs::new(bucket.settings("wrong")).expect("good settings");
    let refused = stranger.read(id, 0..1).await.err();
    assert!(
        matches!(&refused, Some(BlobError::Unavailable(why)) if why.contains("403")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn media_go_their_whole_way_through_a_bucket() {
    for direct in [true, false] {
        let bucket = Bucket::start().await;
        let server = bucket.server(direct).await;
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let (_, asked) = ticket(&server, &ann, "a", "text/plain", 3).await;
        let url = asked["upload"]["url"].as_str().expect("a URL");
        assert_eq!(url.starts_with(&bucket.endpoint), direct, "{url}");
        let id = asked["id"].as_str().expect("an id");
        assert_eq!(steps::complete(&server, &ann, id).await.0, 409);
        assert!(upload(&server, &asked, b"longer".to_vec()).await.0 >= 400);
        assert_eq!(steps::complete(&server, &ann, id).await.0, 409);

        let bytes = picture(70, 50);
        let image = uploaded(&server, &ann, "a.png", "image/png", bytes.clone()).await;
        assert_eq!(
            (&image["width"], &image["height"]),
            (&json!(70), &json!(50))
        );
        assert_eq!(fetch(&server, &bob, &image["id"]).await.0, 404);
        let mut from = server.session(&ann).await;
        let ack = steps::send(&mut from, &bob.id, "1", content("image", &image)).await;
        assert_eq!(ack["ok"]["state"], "committed", "{ack}");
        assert_eq!(fetch(&server, &bob, &image["id"]).await, (200, bytes));
        assert_eq!(fetch(&server, &bob, &image["thumb"]).await.0, 200);
        let answer = steps::response(&server, &bob, &image["id"]).await;
        assert_eq!(answer.headers()["content-type"], "image/png");

        let page = b"<!DOCTYPE html><p>".to_vec();
        let asked = ticket(&server, &ann, "b.png", "image/png", page.len())
            .await
            .1;
        assert!(upload(&server, &asked, page).await.0 < 300);
        let id = asked["id"].as_str().expect("an id");
        assert_eq!(steps::complete(&server, &ann, id).await.0, 400);
        assert_eq!((bucket.objects("uploads"), bucket.objects("kept")), (0, 2));

        let recall = json!({"conversation": ack["ok"]["conversation"], "seq": ack["ok"]["seq"]});
        assert!(from.request("recall", recall).await["ok"].is_object());
        sweep_whole(&server).await;
        assert_eq!(bucket.objects("kept"), 0);
    }
}

#[tokio::test]
async fn a_client_of_the_protocol_follows_tickets_and_links_into_the_bucket() {
    let bucket = Bucket::start().await;
    let server = bucket.server(true).await;
    let ann = server.user("ann").await;
    let rest = kith::client::Rest::new(&server.url("")).expect("an address");
    let rest = rest.with_token(&ann.token);
    let ticket = rest.ticket("a", "text/plain", 3).await.expect("a ticket");
    let url = ticket["upload"]["url"].as_str().expect("a URL");
    assert!(url.starts_with(&bucket.endpoint), "{url}");
    let id = ticket["id"].as_str().expect("an id");
    let early = rest.complete(id).await.expect_err("nothing is there");
    assert_eq!(early.code(), "conflict");
    let uploaded = rest.upload(&ticket, &b"abc"[..], 3, |_| ()).await;
    uploaded.expect("uploads");
    let done = rest.complete(id).await.expect("completes");
    assert_eq!(
        (&done["mime"], &done["bytes"]),
        (&json!("text/plain"), &json!(3))
    );
    let mut download = rest.download(id).await.expect("a link");
    assert_eq!(download.bytes, Some(3));
    let mut bytes = Vec::new();
    while let Some(chunk) = download.chunk().await.expect("bytes") {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes, b"abc");
    let none = rest.download("7").await.expect_err("no such media");
    assert_eq!((none.code(), none.status()), ("not_found", Some(404)));
}

#[tokio::test]
async fn a_store_that_is_gone_is_unavailable_and_nothing_is_lost() {
    let bucket = Bucket::start().await;
    let server = TestServer::with(|config| {
        config.media.engine = kith::config::MediaEngine::S3;
        config.media.url = "s3://nowhere".to_owned();
        config.media.endpoint = bucket.endpoint.clone();
        config.media.access_key = "key".to_owned();
        config.media.secret_key = "wrong".to_owned();
    })
    .await;
    let ann = server.user("ann").await;
    let asked = ticket(&server, &ann, "a", "text/plain", 3).await.1;
    assert_eq!(upload(&server, &asked, b"abc".to_vec()).await.0, 403);
    let id = asked["id"].as_str().expect("an id");
    let refused = steps::complete(&server, &ann, id).await;
    assert_eq!(
        (refused.0, &refused.1["code"]),
        (503, &json!("unavailable"))
    );
}
