//! Connections: hello, bad frames, limits, replacement,
//! silence, slow readers, draining; by the protocol.

use futures_util::StreamExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Ended, TestServer};

#[tokio::test]
async fn another_op_before_hello_is_unauthenticated() {
    let server = TestServer::bare().await;
    let mut socket = server.connect(Some("kith.v1.json")).await;
    let reply = socket.request("ping", json!({})).await;
    assert_eq!(reply["err"]["code"], "unauthenticated");
    assert_eq!(
        socket.end().await,
        (Some("unauthenticated".into()), Ended::Closed(4401))
    );
}

#[tokio::test]
async fn a_bad_token_or_another_devices_ends_the_connection() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    for (token, device) in [("nonsense", "phone"), (ann.token.as_str(), "laptop")] {
        let mut socket = server.connect(Some("kith.v1.json")).await;
        assert_eq!(
            socket.hello(token, device).await["err"]["code"],
            "unauthenticated"
        );
        assert_eq!(
            socket.end().await,
            (Some("unauthenticated".into()), Ended::Closed(4401))
        );
    }
}

#[tokio::test]
async fn hello_says_who_one_is_and_the_limits() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    for subprotocol in [None, Some("kith.v1.json")] {
        let mut socket = server.connect(subprotocol).await;
        let ok = socket.hello(&ann.token, "phone").await["ok"].clone();
        assert_eq!(
            (&ok["user"]["id"], &ok["user"]["username"]),
            (&json!(ann.id), &json!(ann.username))
        );
        assert_eq!(
            ok["limits"],
            json!({"frame_bytes": 65536, "text_chars": 8000, "batch": 200})
        );
        assert!(ok["session"].is_string() && ok["since"].is_string() && ok["now"].is_u64());
        assert_eq!(ok["heartbeat_ms"], 30000);
    }
}

#[tokio::test]
async fn a_connection_that_says_no_hello_is_closed() {
    let server = TestServer::with(|config| config.session.hello_ms = 50).await;
    let mut socket = server.connect(Some("kith.v1.json")).await;
    assert_eq!(
        socket.end().await,
        (Some("idle".into()), Ended::Closed(4408))
    );
}

#[tokio::test]
async fn a_frame_that_is_no_request_ends_the_connection() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    for bad in [
        Message::text("{"),
        Message::text("[1]"),
        Message::text("{\"op\":\"ping\"}"),
        Message::text("{\"id\":-1,\"op\":\"ping\"}"),
        Message::text("{\"id\":1}"),
        Message::binary(b"{\"id\":1,\"op\":\"ping\"}".to_vec()),
    ] {
        let mut socket = server.session(&ann).await;
        socket.raw(bad.clone()).await;
        assert_eq!(
            socket.end().await,
            (Some("bad_frame".into()), Ended::Closed(4400)),
            "{bad:?}"
        );
    }
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_connection() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let mut socket = server.session(&ann).await;
    socket.raw(Message::text("x".repeat(65537))).await;
    assert_eq!(
        socket.end().await,
        (Some("too_large".into()), Ended::Closed(4413))
    );
}

#[tokio::test]
async fn msgpack_speaks_the_same_protocol() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let pack = |value: serde_json::Value| {
        Message::binary(rmp_serde::to_vec_named(&value).expect("encodes"))
    };
    let mut socket = server.connect(Some("kith.v1.msgpack")).await;
    let device = json!({"id": "phone", "kind": "web", "name": "x"});
    socket
        .raw(pack(
            json!({"id": 1, "op": "hello", "token": ann.token, "device": device}),
        ))
        .await;
    assert_eq!(socket.reply(1).await["ok"]["user"]["id"], ann.id);
    let content = json!({"type": "text", "text": "packed"});
    socket.raw(pack(json!({"id": 2, "op": "send", "to": {"user": bob.id}, "client_id": "1", "content": content}))).await;
    assert_eq!(socket.reply(2).await["ok"]["seq"], 1);
    let mut other = server.session(&bob).await;
    other.send_text(&ann.id, "1", "answer").await;
    assert_eq!(
        socket.event("entry").await["entry"]["content"]["text"],
        "answer"
    );
    socket
        .raw(Message::text("{\"id\":1,\"op\":\"ping\"}"))
        .await;
    assert_eq!(
        socket.end().await,
        (Some("bad_frame".into()), Ended::Closed(4400))
    );
}

#[tokio::test]
async fn a_device_that_connects_again_replaces_its_older_session() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let mut older = server.session(&ann).await;
    let mut newer = server.session(&ann).await;
    assert_eq!(
        older.end().await,
        (Some("replaced".into()), Ended::Closed(4409))
    );
    assert!(newer.request("ping", json!({})).await["ok"]["now"].is_u64());
}

#[tokio::test]
async fn of_too_many_devices_of_a_kind_one_goes() {
    let server = TestServer::with(|config| config.devices.per_kind = 1).await;
    let ann = server.user("ann").await;
    let laptop = server.sign_in(&ann.username, "laptop").await;
    let mut phone = server.session(&ann).await;
    let _laptop = server
        .session_of(laptop["access_token"].as_str().expect("a token"), "laptop")
        .await;
    assert_eq!(
        phone.end().await,
        (Some("replaced".into()), Ended::Closed(4409))
    );
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_a_ping_keeps_one() {
    let server = TestServer::with(|config| config.session.heartbeat_ms = 200).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut silent, mut lively) = (server.session(&ann).await, server.session(&bob).await);
    let (ended, ()) = tokio::join!(silent.end(), async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
        for _ in 0..20 {
            ticks.tick().await;
            lively.request("ping", json!({})).await;
        }
    });
    assert_eq!(ended, (Some("idle".into()), Ended::Closed(4408)));
    assert!(lively.request("ping", json!({})).await["ok"].is_object());
}

#[tokio::test]
async fn signing_a_device_out_a_new_password_and_disabling_end_sessions() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let laptop = server.sign_in(&ann.username, "laptop").await;
    let laptop = laptop["access_token"].as_str().expect("a token").to_owned();
    let mut other = server.session_of(&laptop, "laptop").await;
    let gone = server
        .call("DELETE", "/v1/me/devices/laptop", Some(&ann.token), None)
        .await;
    assert_eq!(gone.0, 204);
    assert_eq!(
        other.end().await,
        (Some("unauthenticated".into()), Ended::Closed(4401))
    );

    let laptop = server.sign_in(&ann.username, "laptop").await;
    let mut other = server
        .session_of(laptop["access_token"].as_str().expect("a token"), "laptop")
        .await;
    let mut own = server.session(&ann).await;
    let change = json!({"current": "password-1", "new": "password-2"});
    assert_eq!(
        server
            .call("PUT", "/v1/me/password", Some(&ann.token), Some(change))
            .await
            .0,
        204
    );
    assert_eq!(
        other.end().await,
        (Some("unauthenticated".into()), Ended::Closed(4401))
    );

    assert_eq!(
        server
            .admin(
                "POST",
                &format!("/users/{}/disable", ann.id),
                Some(json!({}))
            )
            .await
            .0,
        200
    );
    assert_eq!(
        own.end().await,
        (Some("banned".into()), Ended::Closed(4403))
    );
    let mut socket = server.connect(None).await;
    assert_eq!(
        socket.hello(&ann.token, "phone").await["err"]["code"],
        "banned"
    );
    assert_eq!(
        socket.end().await,
        (Some("banned".into()), Ended::Closed(4403))
    );
    assert_eq!(
        server.call("GET", "/v1/me", Some(&ann.token), None).await.0,
        403
    );
}

#[tokio::test]
async fn too_many_connections_of_an_address_are_refused_at_the_handshake() {
    let server = TestServer::with(|config| config.limits.connections_per_address = 2).await;
    let _held = (server.connect(None).await, server.connect(None).await);
    let url = format!("ws://{}/v1/ws", server.app().address);
    match tokio_tungstenite::connect_async(url).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
            assert_eq!(response.status(), 429)
        }
        other => panic!("the third connection: {other:?}"),
    }
}

#[tokio::test]
async fn a_reader_that_falls_behind_is_told_and_catches_up_by_sync() {
    let server = TestServer::with(|config| config.session.queue_bytes = 20_000).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut to = server.connect(None).await;
    let since = to.hello(&bob.token, "phone").await["ok"]["since"].clone();
    let mut from = server.session(&ann).await;
    // Far more than the socket's buffers and the queue hold together.
    let text = "x".repeat(8000);
    let mut head = 0;
    for n in 0..1500 {
        head = from.send_text(&bob.id, &n.to_string(), &text).await["ok"]["seq"]
            .as_u64()
            .expect("an ack");
    }
    to.event("behind").await;
    let changes = to.request("sync", json!({"since": since})).await["ok"].clone();
    assert_eq!(changes["changed"][0]["head"].as_u64(), Some(head));
    assert_eq!(changes["changed"][0]["unread"].as_u64(), Some(head));
}

#[tokio::test]
async fn draining_says_goodbye() {
    let mut server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let mut socket = server.session(&ann).await;
    let app = server.app.take().expect("running");
    let (end, ()) = tokio::join!(socket.end(), app.drain());
    assert_eq!(end, (Some("draining".into()), Ended::Closed(4503)));
    assert!(socket.socket.next().await.is_none());
}
