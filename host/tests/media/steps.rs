//! The steps tests of media share: making files, uploading them, sending them, reading them back.
//! All of it through the public protocol, but for the sweep, which a server does by itself and tests call.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};
use serde_json::{Value, json};

use crate::support::{TestServer, TestSocket, TestUser};

/// A PNG with something in it.
pub fn picture(width: u32, height: u32) -> Vec<u8> {
    encoded(width, height, ImageFormat::Png)
}

pub fn jpeg(width: u32, height: u32) -> Vec<u8> {
    encoded(width, height, ImageFormat::Jpeg)
}

fn encoded(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let pixels = RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([x as u8, y as u8, (x ^ y) as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(pixels)
        .write_to(&mut bytes, format)
        .expect("encodes");
    bytes.into_inner()
}

/// A JPEG whose Exif says that it is to be turned by a quarter.
pub fn jpeg_on_its_side(width: u32, height: u32) -> Vec<u8> {
    let plain = jpeg(width, height);
    let tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = (tag.len() as u16 + 2).to_be_bytes();
    // Behind the mark every JPEG begins with.
    [&plain[..2], &[0xff, 0xe1], &length, tag, &plain[2..]].concat()
}

/// A PNG one can see through.
pub fn see_through(width: u32, height: u32) -> Vec<u8> {
    let pixels = RgbaImage::from_pixel(width, height, image::Rgba([9, 9, 9, 99]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgba8(pixels)
        .write_to(&mut bytes, ImageFormat::Png)
        .expect("encodes");
    bytes.into_inner()
}

/// A GIF whose header promises a size, with one pixel behind it.
pub fn gif_of_size(width: u16, height: u16) -> Vec<u8> {
    let mut gif = b"GIF89a".to_vec();
    gif.extend_from_slice(&width.to_le_bytes());
    gif.extend_from_slice(&height.to_le_bytes());
    gif.extend_from_slice(&[0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    gif.extend_from_slice(&[0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0, 0x3b]);
    gif
}

/// Silence: 8-bit mono at 8 kHz in a WAV.
pub fn sound(millis: u32) -> Vec<u8> {
    let samples = millis * 8;
    let mut wav = b"RIFF".to_vec();
    wav.extend_from_slice(&(36 + samples).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    for (value, bytes) in [
        (16, 4),
        (1, 2),
        (1, 2),
        (8000, 4),
        (8000, 4),
        (1, 2),
        (8, 2),
    ] {
        wav.extend_from_slice(&u32::to_le_bytes(value)[..bytes]);
    }
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&samples.to_le_bytes());
    wav.resize(wav.len() + samples as usize, 0x80);
    wav
}

pub async fn ticket(
    server: &TestServer,
    user: &TestUser,
    name: &str,
    mime: &str,
    bytes: usize,
) -> (u16, Value) {
    let body = json!({"name": name, "mime": mime, "bytes": bytes});
    server
        .call("POST", "/v1/media", Some(&user.token), Some(body))
        .await
}

/// Uploads as the ticket says.
pub async fn upload(server: &TestServer, ticket: &Value, bytes: Vec<u8>) -> (u16, Value) {
    put(server, ticket, reqwest::Body::from(bytes)).await
}

/// Uploads without saying how much there will be.
pub async fn upload_in_chunks(server: &TestServer, ticket: &Value, bytes: Vec<u8>) -> (u16, Value) {
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        bytes.chunks(40).map(|chunk| Ok(chunk.to_vec())).collect();
    let stream = futures_util::stream::iter(chunks);
    put(server, ticket, reqwest::Body::wrap_stream(stream)).await
}

async fn put(server: &TestServer, ticket: &Value, body: reqwest::Body) -> (u16, Value) {
    let upload = &ticket["upload"];
    let method = upload["method"].as_str().expect("a method");
    let url = upload["url"].as_str().expect("a URL");
    let mut request = server.http.request(method.parse().expect("a method"), url);
    for (name, value) in upload["headers"].as_object().expect("headers") {
        request = request.header(name, value.as_str().expect("text"));
    }
    let response = request.body(body).send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or_default())
}

pub async fn complete(server: &TestServer, user: &TestUser, id: &str) -> (u16, Value) {
    let path = format!("/v1/media/{id}/complete");
    server.call("POST", &path, Some(&user.token), None).await
}

/// All steps to a complete upload; what completing answered.
pub async fn uploaded(
    server: &TestServer,
    user: &TestUser,
    name: &str,
    mime: &str,
    bytes: Vec<u8>,
) -> Value {
    let (status, asked) = ticket(server, user, name, mime, bytes.len()).await;
    assert_eq!(status, 201, "{asked}");
    let (status, refusal) = upload(server, &asked, bytes).await;
    assert!(status < 300, "{refusal}");
    let id = asked["id"].as_str().expect("an id");
    let (status, done) = complete(server, user, id).await;
    assert_eq!(status, 200, "{done}");
    done
}

/// A content that says of a media what completing it answered.
pub fn content(kind: &str, media: &Value) -> Value {
    let mut content = media.clone();
    content["type"] = kind.into();
    content["media"] = media["id"].clone();
    content.as_object_mut().expect("an object").remove("id");
    content
}

pub async fn send(socket: &mut TestSocket, to: &str, client_id: &str, content: Value) -> Value {
    socket
        .request(
            "send",
            json!({"to": {"user": to}, "client_id": client_id, "content": content}),
        )
        .await
}

/// What a user gets for a media: the last status of the redirects, and the bytes.
pub async fn fetch(server: &TestServer, user: &TestUser, id: &Value) -> (u16, Vec<u8>) {
    let response = response(server, user, id).await;
    let status = response.status().as_u16();
    (status, response.bytes().await.expect("a body").to_vec())
}

pub async fn response(server: &TestServer, user: &TestUser, id: &Value) -> reqwest::Response {
    let id = id.as_str().expect("an id");
    let url = server.url(&format!("/v1/media/{id}"));
    let request = server.http.get(url).bearer_auth(&user.token);
    request.send().await.expect("an answer")
}

/// The two looks that end what nobody uses now, and one more: the server's own look may come between.
pub async fn sweep_whole(server: &TestServer) {
    let grace = kith::media::sweep::GRACE.as_millis() as u64 + 1;
    for look in 0..3 {
        sweep_at(server, look * grace).await;
    }
}

/// A look some time from now, milliseconds.
pub async fn sweep_at(server: &TestServer, later: u64) {
    use kith::clock::Clock;
    let now = kith::clock::SystemClock.now_ms();
    let swept = server.app().media.sweep(now + later).await.expect("sweeps");
    assert!(!swept.more);
}
