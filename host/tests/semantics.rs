//! Promises that are easy to break unseen: contents no codec can carry, strangers in a hurry, resends of what became
//! no entry, and what of a judgement must outlast a hold. By the protocol alone.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::filter::add_words;
use crate::support::{TestServer, TestSocket, TestUser};
use crate::swap;

fn code(reply: &Value) -> &str {
    reply["err"]["code"].as_str().unwrap_or("no error")
}

/// A session that speaks MessagePack.
async fn packed_session(server: &TestServer, user: &TestUser, device: &str) -> TestSocket {
    let mut socket = server.connect(Some("kith.v1.msgpack")).await;
    let tokens = server.sign_in(&user.username, device).await;
    let device = json!({"id": device, "kind": "web"});
    let hello = json!({"id": 1, "op": "hello", "token": tokens["access_token"], "device": device});
    assert!(packed(&mut socket, 1, &hello).await["ok"].is_object());
    socket
}

async fn packed(socket: &mut TestSocket, id: u32, request: &Value) -> Value {
    let bytes = rmp_serde::to_vec_named(request).expect("encodes");
    socket.raw(Message::binary(bytes)).await;
    socket.reply(id).await
}

fn nested(to: &TestUser, client_id: &str, levels: usize) -> Value {
    let data = (1..levels).fold(json!({}), |inner, _| json!({"a": inner}));
    json!({
        "to": {"user": to.id}, "client_id": client_id,
        "content": {"type": "custom", "name": "n", "data": data},
    })
}

#[tokio::test]
async fn a_content_nested_too_deep_is_a_bad_request_in_either_codec_and_all_goes_on() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let mut packed_from = packed_session(&server, &ann, "laptop").await;
    let mut to = packed_session(&server, &bob, "tablet").await;
    let refused = from.request("send", nested(&bob, "deep", 124)).await;
    assert_eq!(code(&refused), "bad_request");
    let mut deeper = nested(&bob, "deeper", 124);
    (deeper["id"], deeper["op"]) = (2.into(), "send".into());
    assert_eq!(
        code(&packed(&mut packed_from, 2, &deeper).await),
        "bad_request"
    );
    let sent = from.request("send", nested(&bob, "fits", 32)).await;
    assert_eq!(sent["ok"]["seq"], 1, "{sent}");
    let entry = to.event("entry").await["entry"].clone();
    assert_eq!(
        entry["content"]["data"],
        nested(&bob, "", 32)["content"]["data"]
    );
    assert_eq!(from.send_text(&bob.id, "text", "x").await["ok"]["seq"], 2);
    assert_eq!(to.event("entry").await["entry"]["content"]["text"], "x");
}

#[tokio::test]
async fn of_a_strangers_first_messages_sent_at_once_one_is_committed() {
    let server = TestServer::with_plugins().await;
    let only = json!({"texts": {"strangers": "first-message-only"}});
    let (status, done) = server
        .admin("PATCH", "/plugins/direct-strategy/config", Some(only))
        .await;
    assert_eq!(status, 200, "{done}");
    for _ in 0..5 {
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let mut from = server.session(&ann).await;
        let mut ids = Vec::new();
        for n in 0..5 {
            let fields = json!({
                "to": {"user": bob.id}, "client_id": n.to_string(),
                "content": {"type": "text", "text": "x"},
            });
            ids.push(from.start("send", fields).await);
        }
        let mut answers = Vec::new();
        for id in ids {
            answers.push(from.reply(id).await);
        }
        assert_eq!(answers[0]["ok"]["seq"], 1, "{answers:?}");
        for refused in &answers[1..] {
            assert_eq!(refused["err"]["reason"], "wait-for-answer", "{answers:?}");
        }
    }
}

#[tokio::test]
async fn a_resend_behind_its_own_first_send_gets_the_first_answer_whatever_is_decided_by_then() {
    let server = TestServer::with_plugins().await;
    let only = json!({"texts": {"strangers": "first-message-only"}});
    let (status, done) = server
        .admin("PATCH", "/plugins/direct-strategy/config", Some(only))
        .await;
    assert_eq!(status, 200, "{done}");
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let fields = json!({
        "to": {"user": bob.id}, "client_id": "same",
        "content": {"type": "text", "text": "x"},
    });
    let first = from.start("send", fields.clone()).await;
    let again = from.start("send", fields).await;
    let first = from.reply(first).await["ok"].clone();
    assert_eq!(first["seq"], 1);
    assert_eq!(from.reply(again).await["ok"], first);
}

#[tokio::test]
async fn a_resend_to_a_conversation_that_was_never_opened_gets_its_first_answer() {
    let server = TestServer::with_plugins().await;
    add_words(&server, "hold", &["maybe"]).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let held = from.send_text(&bob.id, "1", "maybe").await["ok"].clone();
    assert_eq!(held["state"], "held", "{held}");
    let place = held["conversation"].as_str().expect("a conversation");
    let to_place = |client_id: &str, text: &str| {
        json!({
            "to": {"conversation": place}, "client_id": client_id,
            "content": {"type": "text", "text": text},
        })
    };
    assert_eq!(
        from.request("send", to_place("1", "maybe")).await["ok"],
        held
    );
    let path = format!("/v1/conversations/{place}/entries");
    let body = json!({"client_id": "1", "content": {"type": "text", "text": "maybe"}});
    let (status, again) = server
        .call("POST", &path, Some(&ann.token), Some(body.clone()))
        .await;
    assert_eq!((status, &again["hold"]), (200, &held["hold"]), "{again}");
    let other = from.request("send", to_place("1", "another")).await;
    assert_eq!(code(&other), "conflict");
    let new = from.request("send", to_place("2", "maybe")).await;
    assert_eq!(code(&new), "not_found", "a new message opens nothing there");
    let (status, _) = server
        .call("POST", &path, Some(&bob.token), Some(body))
        .await;
    assert_eq!(status, 404, "a client id is its sender's own");
}

#[tokio::test]
async fn what_is_masked_stays_masked_when_a_hold_is_released() {
    let server = TestServer::with_plugins().await;
    add_words(&server, "mask", &["badger"]).await;
    add_words(&server, "hold", &["maybe"]).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let held = from
        .send_text(&bob.id, "1", "maybe a badger and a weasel")
        .await["ok"]
        .clone();
    assert_eq!(held["state"], "held", "{held}");
    // A word that is known only by now is masked too.
    add_words(&server, "mask", &["weasel"]).await;
    let path = format!("/held/{}/release", held["hold"].as_str().expect("a hold"));
    let (status, released) = server.admin("POST", &path, Some(json!({}))).await;
    assert_eq!(status, 200, "{released}");
    let masked = "maybe a ****** and a ******";
    assert_eq!(to.event("entry").await["entry"]["content"]["text"], masked);
    let again = from
        .send_text(&bob.id, "1", "maybe a badger and a weasel")
        .await;
    assert_eq!(again["ok"]["content"]["text"], masked, "{again}");
}

#[tokio::test]
async fn a_word_that_is_refused_is_not_released() {
    let server = TestServer::with_plugins().await;
    add_words(&server, "hold", &["maybe"]).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let held = from.send_text(&bob.id, "1", "maybe spam").await["ok"].clone();
    add_words(&server, "reject", &["spam"]).await;
    let path = format!("/held/{}/release", held["hold"].as_str().expect("a hold"));
    let (status, refused) = server.admin("POST", &path, Some(json!({}))).await;
    assert_eq!(
        (status, refused["code"].as_str()),
        (422, Some("rejected")),
        "{refused}"
    );
}

#[tokio::test]
async fn a_message_held_for_a_failure_is_delivered_soon_after_another_version_took_over() {
    let server = swap::server().await;
    swap::activate(&server, "trapping").await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    // It traps on every third number; the default of a filter that fails is to hold.
    let held = from.send_text(&bob.id, "1", "left right 3").await["ok"].clone();
    assert_eq!(held["state"], "held", "{held}");
    let list = "/held?limit=200";
    let (_, waiting) = server.admin("GET", list, None).await;
    assert_eq!(waiting["held"][0]["cause"], "failed", "{waiting}");
    swap::activate(&server, "good").await;
    let recovered = std::time::Instant::now();
    let entry = to.event("entry").await["entry"].clone();
    assert!(recovered.elapsed() < std::time::Duration::from_secs(5));
    assert_eq!(entry["content"]["text"], "**** right 3");
    let again = from.send_text(&bob.id, "1", "left right 3").await;
    assert_eq!(again["ok"]["seq"], 1, "{again}");
    let (_, waiting) = server.admin("GET", list, None).await;
    assert_eq!(waiting["held"], json!([]));
}
