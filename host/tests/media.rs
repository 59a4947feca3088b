//! Media through the public protocol: tickets, uploads, what the bytes are, who may read and send them, how they end.
//! `media/` has the shared steps, the ends, and the stores.

mod ends;
mod groups;
mod log;
mod reading;
pub mod steps;
pub mod stores;

use serde_json::{Value, json};

use crate::support::TestServer;
use steps::{complete, gif_of_size, picture, sound, ticket, upload, uploaded};

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or("no code"))
}

#[tokio::test]
async fn a_picture_is_measured_and_gets_a_thumbnail_and_completing_again_says_the_same() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let bytes = picture(640, 480);
    let asked = ticket(&server, &ann, "cat.png", "image/png", bytes.len()).await;
    assert_eq!(asked.0, 201, "{}", asked.1);
    assert_eq!(asked.1["upload"]["method"], "PUT");
    assert!(asked.1["upload"]["headers"].is_object());
    assert!(asked.1["expires_at"].as_u64().is_some());
    assert_eq!(upload(&server, &asked.1, bytes.clone()).await.0, 204);
    let id = asked.1["id"].as_str().expect("an id");
    let done = complete(&server, &ann, id).await;
    assert_eq!(done.0, 200, "{}", done.1);
    assert_eq!(
        (&done.1["mime"], &done.1["bytes"]),
        (&json!("image/png"), &json!(bytes.len()))
    );
    assert_eq!(
        (&done.1["width"], &done.1["height"]),
        (&json!(640), &json!(480))
    );
    assert!(done.1["thumb"].is_string());
    assert_eq!(complete(&server, &ann, id).await, done);
    // What was checked cannot be changed by the link that is still good.
    let late = upload(&server, &asked.1, bytes).await;
    assert_eq!(code(&late), (409, "conflict"));
}

#[tokio::test]
async fn the_bytes_decide_what_a_file_is_and_others_may_be_uploaded_after_a_refusal() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let page = b"<!DOCTYPE html><script>alert(1)</script>".to_vec();
    let asked = ticket(&server, &ann, "cat.png", "image/png", page.len())
        .await
        .1;
    let id = asked["id"].as_str().expect("an id");
    assert_eq!(upload(&server, &asked, page.clone()).await.0, 204);
    assert_eq!(
        code(&complete(&server, &ann, id).await),
        (400, "bad_request")
    );
    assert_eq!(code(&complete(&server, &ann, id).await), (409, "conflict"));
    let mut gif = gif_of_size(2, 2);
    gif.resize(page.len(), 0);
    assert_eq!(upload(&server, &asked, gif).await.0, 204);
    // Another type of picture than declared is one all the same.
    let done = complete(&server, &ann, id).await;
    assert_eq!(
        (done.0, &done.1["mime"], &done.1["width"]),
        (200, &json!("image/gif"), &json!(2))
    );
    let jpeg = steps::jpeg(30, 20);
    let done = uploaded(&server, &ann, "cat.png", "image/png", jpeg).await;
    assert_eq!(
        (&done["mime"], &done["width"]),
        (&json!("image/jpeg"), &json!(30))
    );
    let zip = b"PK\x03\x04 not much of an archive".to_vec();
    let done = uploaded(&server, &ann, "notes.txt", "text/plain", zip).await;
    assert_eq!(done["mime"], "application/zip");
}

#[tokio::test]
async fn a_picture_that_would_explode_or_is_cut_off_is_refused() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let whole = picture(64, 64);
    let cut = whole[..whole.len() / 2].to_vec();
    for (bytes, mime, refused) in [
        (gif_of_size(60_000, 60_000), "image/gif", (413, "too_large")),
        (cut, "image/png", (400, "bad_request")),
    ] {
        let asked = ticket(&server, &ann, "a", mime, bytes.len()).await.1;
        assert_eq!(upload(&server, &asked, bytes).await.0, 204);
        let id = asked["id"].as_str().expect("an id");
        let answer = complete(&server, &ann, id).await;
        assert_eq!(code(&answer), refused, "{}", answer.1);
    }
}

#[tokio::test]
async fn sizes_are_held_to_at_the_ticket_and_on_the_bytes() {
    let server = TestServer::with(|config| config.media.image_bytes = 1000).await;
    let ann = server.user("ann").await;
    let over = ticket(&server, &ann, "a.png", "image/png", 1001).await;
    assert_eq!(code(&over), (413, "too_large"));
    assert_eq!(
        code(&ticket(&server, &ann, "a", "text/plain", 0).await),
        (400, "bad_request")
    );
    let asked = ticket(&server, &ann, "a", "text/plain", 100).await.1;
    let id = asked["id"].as_str().expect("an id");
    assert_eq!(code(&complete(&server, &ann, id).await), (409, "conflict"));
    let longer = upload(&server, &asked, vec![b'x'; 101]).await;
    assert_eq!(code(&longer), (413, "too_large"));
    let without_length = steps::upload_in_chunks(&server, &asked, vec![b'x'; 101]).await;
    assert_eq!(code(&without_length), (413, "too_large"));
    let shorter = upload(&server, &asked, vec![b'x'; 99]).await;
    assert_eq!(code(&shorter), (400, "bad_request"));
    assert_eq!(
        code(&complete(&server, &ann, id).await),
        (409, "conflict"),
        "nothing of a refused upload stays"
    );
    let in_chunks = steps::upload_in_chunks(&server, &asked, vec![b'x'; 100]).await;
    assert_eq!(in_chunks.0, 204);
    assert_eq!(complete(&server, &ann, id).await.0, 200);
}

#[tokio::test]
async fn a_declared_hash_is_checked() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for (sha256, status) in [(abc.to_owned(), 200), (abc.replace('b', "c"), 400)] {
        let body = json!({"name": "a", "mime": "text/plain", "bytes": 3, "sha256": sha256});
        let asked = server
            .call("POST", "/v1/media", Some(&ann.token), Some(body))
            .await;
        assert_eq!(asked.0, 201);
        assert_eq!(upload(&server, &asked.1, b"abc".to_vec()).await.0, 204);
        let id = asked.1["id"].as_str().expect("an id");
        assert_eq!(complete(&server, &ann, id).await.0, status);
    }
    let body = json!({"name": "a", "mime": "text/plain", "bytes": 3, "sha256": "abc"});
    let asked = server
        .call("POST", "/v1/media", Some(&ann.token), Some(body))
        .await;
    assert_eq!(code(&asked), (400, "bad_request"));
}

#[tokio::test]
async fn tickets_are_refused_for_what_is_not_one_and_what_is_not_taken() {
    let server = TestServer::with(|config| {
        config.media.types = vec!["image/*".to_owned(), "text/plain".to_owned()];
    })
    .await;
    let ann = server.user("ann").await;
    for body in [
        json!({}),
        json!({"name": "", "mime": "text/plain", "bytes": 1}),
        json!({"name": "a\u{7}", "mime": "text/plain", "bytes": 1}),
        json!({"name": "a", "mime": "text", "bytes": 1}),
        json!({"name": "a", "mime": "text/plain", "bytes": -1}),
        json!({"name": "a", "mime": "application/zip", "bytes": 1}),
    ] {
        let asked = server
            .call("POST", "/v1/media", Some(&ann.token), Some(body.clone()))
            .await;
        assert_eq!(code(&asked), (400, "bad_request"), "{body}");
    }
    // The list is held to on the bytes too.
    let zip = b"PK\x03\x04 not much of an archive".to_vec();
    let asked = ticket(&server, &ann, "a", "text/plain", zip.len()).await.1;
    assert_eq!(upload(&server, &asked, zip).await.0, 204);
    let id = asked["id"].as_str().expect("an id");
    assert_eq!(
        code(&complete(&server, &ann, id).await),
        (400, "bad_request")
    );
}

#[tokio::test]
async fn open_tickets_and_a_days_bytes_are_bounded() {
    let server = TestServer::with(|config| {
        config.media.open_tickets = 2;
        config.media.daily_bytes = 1000;
        config.limits.rate = true;
    })
    .await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    for _ in 0..2 {
        assert_eq!(ticket(&server, &ann, "a", "text/plain", 1).await.0, 201);
    }
    let third = ticket(&server, &ann, "a", "text/plain", 1).await;
    assert_eq!(code(&third), (429, "rate_limited"));
    assert!(third.1["retry_after_ms"].as_u64().is_some());
    assert_eq!(ticket(&server, &bob, "a", "text/plain", 600).await.0, 201);
    let over = ticket(&server, &bob, "a", "text/plain", 600).await;
    assert_eq!(code(&over), (429, "rate_limited"));
}

#[tokio::test]
async fn a_ticket_that_has_expired_takes_no_upload() {
    let server = TestServer::with(|config| config.media.ticket_ttl_s = 1).await;
    let ann = server.user("ann").await;
    let asked = ticket(&server, &ann, "a", "text/plain", 3).await.1;
    // Each of these is refused for its length, until the ticket is over.
    let refused = loop {
        let answer = upload(&server, &asked, b"ab".to_vec()).await;
        if answer.1["code"] != "bad_request" {
            break answer;
        }
    };
    assert_eq!(code(&refused), (401, "expired"));
    let mut forged = asked.clone();
    let url = asked["upload"]["url"].as_str().expect("a URL");
    forged["upload"]["url"] = url.replace("expires=", "expires=9").into();
    let refused = upload(&server, &forged, b"abc".to_vec()).await;
    assert_eq!(code(&refused), (401, "unauthenticated"));
}

#[tokio::test]
async fn the_hosts_facts_stand_over_the_senders_and_the_ack_says_so() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let image = uploaded(&server, &ann, "a.png", "image/png", picture(50, 40)).await;
    let wrong =
        json!({"type": "image", "media": image["id"], "mime": "image/gif", "bytes": 1, "width": 9});
    let ack = steps::send(&mut from, &bob.id, "1", wrong).await;
    let sent = &ack["ok"]["content"];
    for field in ["mime", "bytes", "width", "height", "thumb"] {
        assert_eq!(sent[field], image[field], "{field}: {ack}");
    }
    assert_eq!(&to.event("entry").await["entry"]["content"], sent);
    let ack = steps::send(&mut from, &bob.id, "2", steps::content("image", &image)).await;
    assert_eq!(ack["ok"]["state"], "committed");
    assert!(ack["ok"]["content"].is_null(), "nothing was changed: {ack}");
    let voice = uploaded(&server, &ann, "a.wav", "audio/wav", sound(1500)).await;
    assert_eq!(
        (&voice["mime"], &voice["duration_ms"]),
        (&json!("audio/wav"), &json!(1500))
    );
    let told = json!({"type": "voice", "media": voice["id"], "mime": "audio/wav", "bytes": voice["bytes"], "duration_ms": 7});
    let ack = steps::send(&mut from, &bob.id, "3", told).await;
    assert_eq!(ack["ok"]["content"]["duration_ms"], 1500);
}

#[tokio::test]
async fn a_message_carries_only_what_its_type_says_and_what_its_sender_may_use() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let text = uploaded(&server, &ann, "a.txt", "text/plain", b"abc".to_vec()).await;
    let image = uploaded(&server, &ann, "a.png", "image/png", picture(5, 4)).await;
    let foreign = uploaded(&server, &bob, "b.png", "image/png", picture(5, 4)).await;
    let open = ticket(&server, &ann, "a", "text/plain", 3).await.1;
    let mut with_thumb = steps::content("file", &text);
    with_thumb["thumb"] = foreign["id"].clone();
    let bare = |id: &Value| json!({"type": "file", "media": id, "mime": "a/b", "bytes": 1});
    for (n, (content, refused)) in [
        (steps::content("image", &text), "bad_request"),
        (steps::content("voice", &image), "bad_request"),
        (steps::content("image", &foreign), "not_found"),
        (with_thumb, "not_found"),
        (bare(&open["id"]), "not_found"),
        (bare(&json!("12345")), "not_found"),
        (bare(&json!("no id")), "not_found"),
        (bare(&image["thumb"]), "not_found"),
        (
            json!({"type": "card", "title": "t", "image": foreign["id"]}),
            "not_found",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = steps::send(&mut from, &bob.id, &n.to_string(), content).await;
        assert_eq!(reply["err"]["code"], refused, "{n}: {reply}");
    }
    // The first answer stands, whatever became of the media since.
    let content = steps::content("file", &text);
    let ack = steps::send(&mut from, &bob.id, "ok", content.clone()).await;
    let recall = json!({"conversation": ack["ok"]["conversation"], "seq": ack["ok"]["seq"]});
    from.request("recall", recall).await;
    steps::sweep_whole(&server).await;
    let again = steps::send(&mut from, &bob.id, "ok", content.clone()).await;
    assert_eq!(again["ok"], ack["ok"]);
    let anew = steps::send(&mut from, &bob.id, "new", content).await;
    assert_eq!(anew["err"]["code"], "not_found");
}
