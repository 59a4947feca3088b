//! The errors, each by its name: provoked over the WebSocket and, where a route can give it, over REST, with the fields
//! that go with it. What needs a fault of the server's is in `seams`.

use serde_json::{Value, json};

use super::{World, code, ok, said, text};
use crate::support::{Ended, PATIENCE, TestServer, TestSocket};

/// A message to a conversation, over REST.
fn message(client_id: &str, words: &str) -> Value {
    json!({"client_id": client_id, "content": said(words)})
}

/// The same, over the WebSocket.
async fn say(socket: &mut TestSocket, conversation: &str, client_id: &str, words: &str) -> Value {
    let mut fields = message(client_id, words);
    fields["to"] = json!({"conversation": conversation});
    socket.request("send", fields).await
}

fn entries(conversation: &str) -> String {
    format!("POST /v1/conversations/{conversation}/entries")
}

#[tokio::test]
async fn error_bad_request() {
    let world = World::bare().await;
    let mut socket = world.session(&world.ann).await;
    for (op, fields) in [
        ("nothing", json!({})),
        (
            "send",
            json!({"to": {}, "client_id": "1", "content": said("x")}),
        ),
        ("history", json!({"conversation": 1})),
    ] {
        let refused = socket.request(op, fields).await;
        assert_eq!(code(&refused), "bad_request", "{op}");
        assert!(refused["err"]["message"].is_string(), "for a developer");
    }
    let group = json!({"title": 1});
    world
        .no("bad_request", &world.ann, "POST /v1/groups", group)
        .await;
}

#[tokio::test]
async fn error_unauthenticated() {
    let world = World::bare().await;
    world.asks_for_a_token("GET /v1/me").await;
    let mut stranger = world.server.connect(None).await;
    // Good, but another device's.
    let refused = stranger.hello(&world.ann.token, "laptop").await;
    assert_eq!(code(&refused), "unauthenticated");
    let end = stranger.end().await;
    assert_eq!(end, (Some("unauthenticated".into()), Ended::Closed(4401)));
}

#[tokio::test]
async fn error_expired() {
    let at_once = |config: &mut kith::config::Config| config.auth.access_ttl_s = 0;
    let world = World::on(TestServer::with(at_once).await).await;
    world.no("expired", &world.ann, "GET /v1/me", None).await;
    let mut socket = world.server.connect(None).await;
    let refused = socket.hello(&world.ann.token, "phone").await;
    assert_eq!(code(&refused), "expired");
    let end = socket.end().await;
    assert_eq!(end, (Some("expired".into()), Ended::Closed(4401)));
}

#[tokio::test]
async fn error_forbidden() {
    let world = World::bare().await;
    let group = world.group().await;
    let mut member = world.session(&world.bob).await;
    let mut owner = world.session(&world.ann).await;
    let seq = ok(&say(&mut owner, &group, "1", "mine").await)["seq"].clone();
    let target = json!({"conversation": group, "seq": seq});
    assert_eq!(code(&member.request("recall", target).await), "forbidden");
    let route = format!("DELETE /v1/groups/{group}");
    world.no("forbidden", &world.bob, &route, None).await;
}

#[tokio::test]
async fn error_not_member() {
    let world = World::bare().await;
    let group = world.group().await;
    let leave = format!("DELETE /v1/groups/{group}/members/{}", world.bob.id);
    world.ok(204, &world.bob, &leave, None).await;
    let mut socket = world.session(&world.bob).await;
    let refused = say(&mut socket, &group, "1", "still here").await;
    assert_eq!(code(&refused), "not_member");
    let route = entries(&group);
    let body = message("2", "still here");
    world.no("not_member", &world.bob, &route, body).await;
}

#[tokio::test]
async fn error_blocked() {
    let world = World::with_plugins().await;
    let conversation = world.direct().await;
    let block = format!("PUT /v1/blocks/{}", world.ann.id);
    world.ok(204, &world.bob, &block, None).await;
    let mut socket = world.session(&world.ann).await;
    let refused = say(&mut socket, &conversation, "1", "again").await;
    assert_eq!(code(&refused), "blocked");
    let body = message("2", "again");
    world
        .no("blocked", &world.ann, &entries(&conversation), body)
        .await;
}

#[tokio::test]
async fn error_muted() {
    let world = World::bare().await;
    let group = world.group().await;
    let member = format!("PATCH /v1/groups/{group}/members/{}", world.bob.id);
    let forever = json!({"muted_until": 4_102_444_800_000_u64});
    world.ok(200, &world.ann, &member, forever).await;
    let mut socket = world.session(&world.bob).await;
    let refused = say(&mut socket, &group, "1", "but").await;
    assert_eq!(code(&refused), "muted");
    let body = message("2", "but");
    world.no("muted", &world.bob, &entries(&group), body).await;
}

#[tokio::test]
async fn error_banned() {
    let world = World::bare().await;
    let mut socket = world.session(&world.bob).await;
    let route = format!("POST /users/{}/disable", world.bob.id);
    world.admin(200, &route, None).await;
    let end = socket.end().await;
    assert_eq!(end, (Some("banned".into()), Ended::Closed(4403)));
    world.no("banned", &world.bob, "GET /v1/me", None).await;
    let mut again = world.server.connect(None).await;
    let refused = again.hello(&world.bob.token, "phone").await;
    assert_eq!(code(&refused), "banned");
    let end = again.end().await;
    assert_eq!(end, (Some("banned".into()), Ended::Closed(4403)));
}

#[tokio::test]
async fn error_not_found() {
    let world = World::bare().await;
    let others = world.direct().await;
    let mut socket = world.session(&world.cat).await;
    for conversation in [others.as_str(), "1", "no id at all"] {
        let refused = say(&mut socket, conversation, "1", "hello?").await;
        assert_eq!(code(&refused), "not_found", "{conversation}");
    }
    let body = message("2", "hello?");
    world
        .no("not_found", &world.cat, &entries(&others), body)
        .await;
}

#[tokio::test]
async fn error_conflict() {
    let world = World::bare().await;
    let conversation = world.direct().await;
    let mut socket = world.session(&world.ann).await;
    ok(&say(&mut socket, &conversation, "1", "one").await);
    let refused = say(&mut socket, &conversation, "1", "another").await;
    assert_eq!(code(&refused), "conflict");
    let body = message("1", "yet another");
    world
        .no("conflict", &world.ann, &entries(&conversation), body)
        .await;
}

#[tokio::test]
async fn error_too_late() {
    let world = World::with_plugins().await;
    let conversation = world.direct().await;
    let windows = json!({"values": {"recall_window_s": 0, "edit_window_s": 0}});
    let route = "PUT /plugins/direct-strategy/config";
    world.admin(200, route, windows).await;
    let mut socket = world.session(&world.ann).await;
    let edit = json!({"conversation": conversation, "seq": 1, "content": said("late")});
    // Any age above none is too late, and an age is in milliseconds.
    let late = async {
        while ok_or_code(&socket.request("edit", edit.clone()).await) == "ok" {
            tokio::task::yield_now().await;
        }
        socket.request("edit", edit).await
    };
    let late = tokio::time::timeout(PATIENCE, late).await.expect("in time");
    assert_eq!(code(&late), "too_late");
    let target = json!({"conversation": conversation, "seq": 1});
    assert_eq!(code(&socket.request("recall", target).await), "too_late");
}

fn ok_or_code(reply: &Value) -> &str {
    if reply["ok"].is_object() {
        "ok"
    } else {
        code(reply)
    }
}

#[tokio::test]
async fn error_too_large() {
    let world = World::bare().await;
    let conversation = world.direct().await;
    let mut socket = world.session(&world.ann).await;
    let long = "x".repeat(8001);
    let refused = say(&mut socket, &conversation, "1", &long).await;
    assert_eq!(code(&refused), "too_large");
    let route = entries(&conversation);
    let body = message("2", &long);
    world.no("too_large", &world.ann, &route, body).await;
    let body = message("3", &long.repeat(40));
    world.no("too_large", &world.ann, &route, body).await;
}

#[tokio::test]
async fn error_rejected() {
    let world = World::with_plugins().await;
    let conversation = world.direct().await;
    world.words().await;
    let mut socket = world.session(&world.ann).await;
    let refused = say(&mut socket, &conversation, "1", "spam").await;
    assert_eq!(code(&refused), "rejected");
    let body = message("2", "spam");
    let route = entries(&conversation);
    let over_rest = world.no("rejected", &world.ann, &route, body).await;
    for refusal in [&refused["err"], &over_rest] {
        assert_eq!(refusal["by"], "word-filter");
        assert!(!text(&refusal["reason"]).is_empty());
    }
    ok(&say(&mut socket, &conversation, "1", "ham").await);
}

#[tokio::test]
async fn error_rate_limited() {
    let world = World::bare().await;
    let group = world.group_with(json!({"slow_mode_s": 60})).await;
    let mut socket = world.session(&world.bob).await;
    ok(&say(&mut socket, &group, "1", "one").await);
    let refused = say(&mut socket, &group, "2", "two").await;
    assert_eq!(code(&refused), "rate_limited");
    let body = message("3", "three");
    let route = entries(&group);
    let over_rest = world.no("rate_limited", &world.bob, &route, body).await;
    for refusal in [&refused["err"], &over_rest] {
        let wait = refusal["retry_after_ms"].as_u64().expect("a wait");
        assert!((1..=60_000).contains(&wait), "{refusal}");
    }
}
