//! Speaking in a group: who hears it, mutes with an end, slow mode, mentions, receipts.
//! By the protocol.

use serde_json::{Value, json};

use super::{call, code, group, group_with, say, summary};
use crate::support::{PATIENCE, TestServer, TestSocket};

/// Says something until it is taken; every refusal on the way has the code.
async fn insist(socket: &mut TestSocket, group: &str, refusal: &str) -> Value {
    let trying = async {
        for attempt in 0_u64.. {
            let reply = say(socket, group, &format!("try-{attempt}"), "at last").await;
            if reply["ok"].is_object() {
                return reply;
            }
            assert_eq!(code(&reply), refusal, "{reply}");
        }
        Value::Null
    };
    tokio::time::timeout(PATIENCE, trying)
        .await
        .expect("it is lifted in time")
}

#[tokio::test]
async fn a_message_reaches_every_member_who_is_here_and_the_others_by_sync() {
    let server = TestServer::with_plugins().await;
    let (ann, bob, cat) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("cat").await,
    );
    let us = group(&server, &ann, &[&bob, &cat]).await;
    let laptop = server.sign_in(&ann.username, "laptop").await;
    let laptop = laptop["access_token"].as_str().expect("a token");
    let mut other = server.session_of(laptop, "laptop").await;
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let ack = say(&mut from, &us, "1", "hello").await;
    assert_eq!(ack["ok"]["state"], "committed", "{ack}");
    let entry = to.event("entry").await["entry"].clone();
    assert_eq!(
        (&entry["seq"], &entry["content"]["text"]),
        (&ack["ok"]["seq"], &json!("hello"))
    );
    assert!(entry["client_id"].is_null());
    assert_eq!(other.event("entry").await["entry"]["client_id"], "1");
    assert_eq!(
        say(&mut from, &us, "1", "hello").await["ok"]["seq"],
        ack["ok"]["seq"],
        "a resend gets the first ack"
    );
    let mut late = server.session(&cat).await;
    let listed = summary(&mut late, &us).await.expect("listed");
    assert_eq!(
        (&listed["unread"], &listed["last"]["id"]),
        (&json!(1), &ack["ok"]["id"])
    );
    late.request("read", json!({"conversation": us, "seq": ack["ok"]["seq"]}))
        .await;
    let receipt = from.event("receipt").await;
    assert_eq!(
        (&receipt["user"], &receipt["read"]),
        (&json!(cat.id), &ack["ok"]["seq"])
    );
    assert_eq!(summary(&mut late, &us).await.expect("listed")["unread"], 0);
}

#[tokio::test]
async fn a_large_group_is_sent_no_receipts() {
    let server = TestServer::with(|config| config.limits.receipt_members = 2).await;
    let (ann, bob, cat) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("cat").await,
    );
    let us = group(&server, &ann, &[&bob, &cat]).await;
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let seq = say(&mut from, &us, "1", "hello").await["ok"]["seq"].clone();
    to.request("read", json!({"conversation": us, "seq": seq}))
        .await;
    assert_eq!(summary(&mut to, &us).await.expect("listed")["read"], seq);
    say(&mut to, &us, "2", "read").await;
    let next = from.frame().await.expect("an event");
    assert_eq!(
        (&next["ev"], &next["entry"]["content"]["text"]),
        (&json!("entry"), &json!("read")),
        "no receipt comes before it"
    );
}

#[tokio::test]
async fn whoever_is_muted_is_silent_until_the_end_of_it() {
    for server in [TestServer::bare().await, TestServer::with_plugins().await] {
        let (ann, bob, cat) = (
            server.user("ann").await,
            server.user("bob").await,
            server.user("cat").await,
        );
        let us = group(&server, &ann, &[&bob, &cat]).await;
        let mut owner = server.session(&ann).await;
        let (mut muted, mut free) = (server.session(&bob).await, server.session(&cat).await);
        let alone = format!("/members/{}", bob.id);
        let forever = json!({"muted_until": 4_102_444_800_000_u64});
        let change = |below: &str, body: Value| {
            let below = below.to_owned();
            let (server, ann, us) = (&server, &ann, &us);
            async move { call(server, ann, "PATCH", us, &below, Some(body)).await }
        };
        assert_eq!(change(&alone, forever.clone()).await.0, 200);
        assert_eq!(code(&say(&mut muted, &us, "1", "x").await), "muted");
        assert!(say(&mut free, &us, "1", "x").await["ok"].is_object());
        // Leaving and coming again does not lift it.
        assert_eq!(
            call(&server, &bob, "DELETE", &us, &alone, None).await.0,
            204
        );
        let add = Some(json!({"users": [bob.id]}));
        assert_eq!(
            call(&server, &cat, "POST", &us, "/members", add).await.0,
            201
        );
        assert_eq!(code(&say(&mut muted, &us, "2", "x").await), "muted");
        let now = muted.request("ping", json!({})).await["ok"]["now"].clone();
        let soon = json!({"muted_until": now.as_u64().expect("a time") + 300});
        assert_eq!(change(&alone, soon).await.0, 200);
        insist(&mut muted, &us, "muted").await;
        // Everyone but owner and admins.
        assert_eq!(change("", forever).await.0, 200);
        for socket in [&mut muted, &mut free] {
            assert_eq!(code(&say(socket, &us, "3", "x").await), "muted");
        }
        assert!(say(&mut owner, &us, "3", "x").await["ok"].is_object());
        assert_eq!(change("", json!({"muted_until": null})).await.0, 200);
        assert!(say(&mut free, &us, "4", "x").await["ok"].is_object());
        assert!(
            say(&mut free, &us, "1", "x").await["ok"].is_object(),
            "what was sent before keeps its ack"
        );
    }
}

#[tokio::test]
async fn slow_mode_makes_plain_members_wait_and_tells_how_long() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let us = group_with(&server, &ann, &[&bob], json!({"slow_mode_s": 3600})).await;
    let (mut owner, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let text = |id: &str| {
        let content = json!({"type": "text", "text": "x"});
        json!({"to": {"conversation": us}, "client_id": id, "content": content})
    };
    // Two at once: the second one is too soon though the first was not yet committed when it came.
    let one = to.start("send", text("1")).await;
    let two = to.start("send", text("2")).await;
    let (one, two) = (to.reply(one).await, to.reply(two).await);
    assert_eq!(one["ok"]["state"], "committed", "{one}");
    for refused in [two, say(&mut to, &us, "3", "y").await] {
        assert_eq!(code(&refused), "rate_limited", "{refused}");
        let wait = refused["err"]["retry_after_ms"].as_u64().expect("a wait");
        assert!((3_500_000..=3_600_000).contains(&wait), "{wait}");
    }
    assert_eq!(to.request("send", text("1")).await["ok"], one["ok"]);
    let path = format!("/v1/conversations/{us}/entries");
    let body = Some(json!({"client_id": "4", "content": {"type": "text", "text": "z"}}));
    let (status, refused) = server.call("POST", &path, Some(&bob.token), body).await;
    assert_eq!((status, &refused["code"]), (429, &json!("rate_limited")));
    for id in ["1", "2"] {
        assert!(say(&mut owner, &us, id, "x").await["ok"].is_object());
    }
    let shorter = Some(json!({"slow_mode_s": 1}));
    assert_eq!(call(&server, &ann, "PATCH", &us, "", shorter).await.0, 200);
    insist(&mut to, &us, "rate_limited").await;
}

#[tokio::test]
async fn mentions_of_one_and_of_all_are_counted_until_they_are_read() {
    let server = TestServer::with_plugins().await;
    let (ann, bob, cat) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("cat").await,
    );
    let us = group(&server, &ann, &[&bob]).await;
    let mut from = server.session(&ann).await;
    let (mut to, mut third) = (server.session(&bob).await, server.session(&cat).await);
    let mention = |id: &str, whom: Value| {
        let content = json!({"type": "text", "text": "hey", "mentions": whom});
        json!({"to": {"conversation": us}, "client_id": id, "content": content})
    };
    from.request("send", mention("0", json!(["all"]))).await;
    let add = Some(json!({"users": [cat.id]}));
    call(&server, &ann, "POST", &us, "/members", add).await;
    let mut last = Value::Null;
    for (id, whom) in [
        ("1", json!([bob.id])),
        ("2", json!(["all"])),
        ("3", json!([bob.id, "all"])),
        ("4", json!([ann.id])),
    ] {
        last = from.request("send", mention(id, whom)).await["ok"]["seq"].clone();
    }
    let mut counts = Vec::new();
    for socket in [&mut from, &mut to, &mut third] {
        let listed = summary(socket, &us).await.expect("listed");
        counts.push((
            listed["unread"].as_u64().expect("a count"),
            listed["mentions"].as_u64().expect("a count"),
        ));
    }
    assert_eq!(counts, [(0, 0), (5, 4), (4, 2)]);
    let gone = json!({"conversation": us, "seq": last.as_u64().expect("a seq") - 1});
    from.request("recall", gone).await;
    let listed = summary(&mut third, &us).await.expect("listed");
    assert_eq!(
        (&listed["unread"], &listed["mentions"]),
        (&json!(4), &json!(1)),
        "who was mentioned is erased with the rest"
    );
    to.request("read", json!({"conversation": us, "seq": last}))
        .await;
    let listed = summary(&mut to, &us).await.expect("listed");
    assert_eq!(
        (&listed["unread"], &listed["mentions"]),
        (&json!(0), &json!(0))
    );
}

#[tokio::test]
async fn who_leaves_meanwhile_is_answered_a_summary_or_that_it_is_no_member() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let us = group(&server, &ann, &[]).await;
    let mut to = server.session(&bob).await;
    let member = format!("/members/{}", bob.id);
    for round in 0..40 {
        let body = Some(json!({"users": [bob.id]}));
        let (status, _) = call(&server, &ann, "POST", &us, "/members", body).await;
        assert_eq!(status, 201);
        let prefs = json!({"conversation": us, "pinned": round % 2 == 0});
        let asked = to.start("prefs", prefs).await;
        let left = call(&server, &bob, "DELETE", &us, &member, None);
        let (reply, left) = tokio::join!(to.reply(asked), left);
        assert_eq!(left.0, 204);
        match code(&reply) {
            "no error" => assert_eq!(reply["ok"]["id"], us, "{reply}"),
            other => assert_eq!(other, "not_member", "{reply}"),
        }
    }
}
