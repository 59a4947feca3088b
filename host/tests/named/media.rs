//! The routes of media, each by its name: tickets and what follows them, and the two that a signed link leads to.
//! No other routes.

use serde_json::{Value, json};

use super::{World, text};
use crate::media::steps::{self, content};

/// What Ann's ticket for three bytes of text says.
async fn ticket(world: &World) -> Value {
    let new = json!({"name": "a.txt", "mime": "text/plain", "bytes": 3});
    world.ok(201, &world.ann, "POST /v1/media", new).await
}

/// A complete text of Ann's.
async fn uploaded(world: &World) -> Value {
    let (server, ann) = (&world.server, &world.ann);
    steps::uploaded(server, ann, "a.txt", "text/plain", b"abc".to_vec()).await
}

/// The status and the body of a request without any token.
async fn bare(world: &World, method: &str, url: &str, body: &'static str) -> (u16, String) {
    let method = method.parse().expect("a method");
    let request = world.server.http.request(method, url).body(body);
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

/// The same, refused: the code.
async fn refused(world: &World, method: &str, url: &str) -> String {
    let (status, body) = bare(world, method, url, "abc").await;
    let refusal: Value = serde_json::from_str(&body).expect("JSON");
    let known = kith::refusal::Code::ALL.iter();
    let known = known
        .clone()
        .find(|known| refusal["code"] == known.as_str());
    assert_eq!(known.expect("a code").status(), status, "{url}: {refusal}");
    text(&refusal["code"])
}

#[tokio::test]
async fn post_v1_media() {
    let world = World::bare().await;
    world.asks_for_a_token("POST /v1/media").await;
    let asked = ticket(&world).await;
    assert!(asked["id"].is_string() && asked["expires_at"].is_u64());
    let upload = &asked["upload"];
    assert_eq!(
        (&upload["method"], &upload["headers"]["content-type"]),
        (&json!("PUT"), &json!("text/plain"))
    );
    let url = text(&upload["url"]);
    assert!(url.starts_with(&world.server.url("/v1/media/")), "{url}");
    for (wrong, code) in [
        (
            json!({"name": "a", "mime": "text/plain", "bytes": 0}),
            "bad_request",
        ),
        (
            json!({"name": "a", "mime": "text", "bytes": 3}),
            "bad_request",
        ),
        (
            json!({"name": "a", "mime": "text/plain", "bytes": 1_u64 << 40}),
            "too_large",
        ),
    ] {
        world.no(code, &world.ann, "POST /v1/media", wrong).await;
    }
}

#[tokio::test]
async fn post_v1_media_id_complete() {
    let world = World::bare().await;
    let asked = ticket(&world).await;
    let route = format!("POST /v1/media/{}/complete", text(&asked["id"]));
    world.asks_for_a_token(&route).await;
    world.no("conflict", &world.ann, &route, None).await;
    let put = steps::upload(&world.server, &asked, b"abc".to_vec()).await;
    assert_eq!(put.0, 204);
    world.no("not_found", &world.bob, &route, None).await;
    let done = world.ok(200, &world.ann, &route, None).await;
    assert_eq!(
        done,
        json!({"id": asked["id"], "mime": "text/plain", "bytes": 3})
    );
    assert_eq!(world.ok(200, &world.ann, &route, None).await, done);
    world.no("not_found", &world.bob, &route, None).await;
    let none = "POST /v1/media/7/complete";
    world.no("not_found", &world.ann, none, None).await;
}

#[tokio::test]
async fn get_v1_media_id() {
    let world = World::bare().await;
    let file = uploaded(&world).await;
    let route = format!("GET /v1/media/{}", text(&file["id"]));
    world.asks_for_a_token(&route).await;
    let redirect = reqwest::redirect::Policy::none();
    let http = reqwest::Client::builder().redirect(redirect).build();
    let url = world.server.url(&route["GET ".len()..]);
    let request = http.expect("a client").get(url);
    let answer = request.bearer_auth(&world.ann.token).send().await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 302);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let there = answer.headers()["location"].to_str().expect("text");
    let (status, body) = bare(&world, "GET", &world.server.url(there), "").await;
    assert_eq!((status, body.as_str()), (200, "abc"));
    world.no("not_found", &world.bob, &route, None).await;
    let mut socket = world.session(&world.ann).await;
    steps::send(&mut socket, &world.bob.id, "1", content("file", &file)).await;
    let read = steps::fetch(&world.server, &world.bob, &file["id"]).await;
    assert_eq!(read, (200, b"abc".to_vec()));
    world.no("not_found", &world.cat, &route, None).await;
}

#[tokio::test]
async fn put_v1_media_uploads_id() {
    let world = World::bare().await;
    let (asked, other) = (ticket(&world).await, ticket(&world).await);
    let url = text(&asked["upload"]["url"]);
    let (id, other) = (text(&asked["id"]), text(&other["id"]));
    let plain = url.split('?').next().expect("a path").to_owned();
    for forged in [
        plain,
        url.replace(&id, &other),
        url.replace("expires=", "expires=1"),
        url.replace("signature=", "signature=0"),
    ] {
        assert_eq!(refused(&world, "PUT", &forged).await, "unauthenticated");
    }
    // Nothing of it arrived, at either.
    for id in [&id, &other] {
        let route = format!("POST /v1/media/{id}/complete");
        world.no("conflict", &world.ann, &route, None).await;
    }
    assert_eq!(bare(&world, "PUT", &url, "abc").await.0, 204);
    let route = format!("POST /v1/media/{id}/complete");
    world.ok(200, &world.ann, &route, None).await;
    assert_eq!(refused(&world, "PUT", &url).await, "conflict");
}

#[tokio::test]
async fn get_v1_media_blobs_id() {
    let world = World::bare().await;
    let (file, other) = (uploaded(&world).await, uploaded(&world).await);
    let answer = steps::response(&world.server, &world.ann, &file["id"]).await;
    let url = answer.url().to_string();
    assert!(url.starts_with(&world.server.url("/v1/media/blobs/")));
    let part = world.server.http.get(&url).header("range", "bytes=1-1");
    let part = part.send().await.expect("an answer");
    assert_eq!(part.status(), 206);
    assert_eq!(part.text().await.expect("text"), "b");
    let plain = url.split('?').next().expect("a path").to_owned();
    let (id, other) = (text(&file["id"]), text(&other["id"]));
    for forged in [
        plain,
        url.replace(&id, &other),
        url.replace("expires=", "expires=1"),
        url.replace("signature=", "signature=0"),
    ] {
        assert_eq!(refused(&world, "GET", &forged).await, "unauthenticated");
    }
    // A link to upload is none to download.
    let asked = ticket(&world).await;
    let upload = text(&asked["upload"]["url"]);
    let turned = upload.replace("/uploads/", "/blobs/");
    assert_eq!(refused(&world, "GET", &turned).await, "unauthenticated");
}
