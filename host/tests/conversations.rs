//! Two people talk: send, resend, receipts, history,
//! the list, sync, recall; by the protocol.

use serde_json::{Value, json};

use crate::support::TestServer;

fn code(reply: &Value) -> &str {
    reply["err"]["code"].as_str().unwrap_or("no error")
}

#[tokio::test]
async fn a_message_is_acked_with_its_place_and_reaches_the_other_one() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let ack = from.send_text(&bob.id, "1", "hello").await;
    assert_eq!(
        (ack["ok"]["seq"].as_u64(), ack["ok"]["state"].as_str()),
        (Some(1), Some("committed"))
    );
    let given = to.event("conversation").await;
    assert_eq!(given["conversation"]["peer"]["id"], ann.id);
    let entry = to.event("entry").await["entry"].clone();
    assert_eq!(entry["id"], ack["ok"]["id"]);
    assert_eq!(entry["content"]["text"], "hello");
    assert_eq!(entry["from"], ann.id);
    assert!(
        entry["client_id"].is_null(),
        "the sender's own id is the sender's: {entry}"
    );
}

#[tokio::test]
async fn the_senders_other_device_gets_the_entry_with_its_client_id() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let laptop = server.sign_in(&ann.username, "laptop").await;
    let mut phone = server.session(&ann).await;
    let mut other = server
        .session_of(laptop["access_token"].as_str().expect("a token"), "laptop")
        .await;
    phone.send_text(&bob.id, "mine", "hello").await;
    assert_eq!(other.event("entry").await["entry"]["client_id"], "mine");
}

#[tokio::test]
async fn resend_returns_the_first_ack_and_another_content_is_a_conflict() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let first = from.send_text(&bob.id, "1", "hello").await;
    let again = from.send_text(&bob.id, "1", "hello").await;
    assert_eq!(first["ok"], again["ok"]);
    let number = |n: Value| json!({"to": {"user": bob.id}, "client_id": "n", "content": {"type": "custom", "name": "x", "data": {"n": n}}});
    let first = from.request("send", number(json!(1))).await;
    assert_eq!(
        from.request("send", number(json!(1.0))).await["ok"],
        first["ok"]
    );
    assert_eq!(
        code(&from.send_text(&bob.id, "1", "other").await),
        "conflict"
    );
    // Whatever happened to the entry since.
    let conversation = first["ok"]["conversation"].clone();
    from.request("recall", json!({"conversation": conversation, "seq": 1}))
        .await;
    assert_eq!(from.send_text(&bob.id, "1", "hello").await["ok"]["seq"], 1);
}

#[tokio::test]
async fn pipelined_sends_are_committed_in_their_order_and_acked_in_it() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let mut ids = Vec::new();
    for n in 0..200 {
        let content = json!({"type": "text", "text": format!("{n}")});
        let fields =
            json!({"to": {"user": bob.id}, "client_id": format!("{n}"), "content": content});
        ids.push(from.start("send", fields).await);
    }
    for (n, id) in ids.into_iter().enumerate() {
        let frame = from.frame().await.expect("an ack");
        assert_eq!(
            (frame["re"].as_u64(), frame["ok"]["seq"].as_u64()),
            (Some(u64::from(id)), Some(n as u64 + 1))
        );
    }
    for n in 0..200 {
        let entry = to.event("entry").await["entry"].clone();
        assert_eq!(
            (entry["seq"].as_u64(), entry["content"]["text"].as_str()),
            (Some(n + 1), Some(&*n.to_string()))
        );
    }
}

#[tokio::test]
async fn receipts_go_forward_only_and_are_told_to_the_peer_and_ones_other_devices() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let laptop = server.sign_in(&bob.username, "laptop").await;
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let mut other = server
        .session_of(laptop["access_token"].as_str().expect("a token"), "laptop")
        .await;
    let conversation = from.send_text(&bob.id, "1", "a").await["ok"]["conversation"].clone();
    from.send_text(&bob.id, "2", "b").await;
    to.request("received", json!({"conversation": conversation, "seq": 1}))
        .await;
    let receipt = from.event("receipt").await;
    assert_eq!(
        (&receipt["received"], &receipt["read"]),
        (&json!(1), &json!(0))
    );
    // Beyond the head is cut to it; read implies received.
    to.request("read", json!({"conversation": conversation, "seq": 99}))
        .await;
    let receipt = from.event("receipt").await;
    assert_eq!(
        (&receipt["received"], &receipt["read"], &receipt["user"]),
        (&json!(2), &json!(2), &json!(bob.id))
    );
    to.request("read", json!({"conversation": conversation, "seq": 1}))
        .await;
    let list = to.request("conversations", json!({})).await["ok"]["conversations"][0].clone();
    assert_eq!((&list["read"], &list["unread"]), (&json!(2), &json!(0)));
    loop {
        let summary = other.event("conversation").await["conversation"].clone();
        if summary["read"] == 2 {
            assert_eq!(summary["unread"], 0);
            break;
        }
    }
}

#[tokio::test]
async fn history_pages_by_exclusive_bounds() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let mut conversation = Value::Null;
    for n in 1..=7 {
        conversation =
            from.send_text(&bob.id, &n.to_string(), "x").await["ok"]["conversation"].clone();
    }
    for (asked, expected) in [
        (json!({"limit": 3}), vec![5, 6, 7]),
        (json!({"after": 2, "limit": 3}), vec![3, 4, 5]),
        (json!({"before": 4, "limit": 2}), vec![2, 3]),
        (json!({"after": 1, "before": 6, "limit": 3}), vec![2, 3, 4]),
        (json!({"after": 7}), vec![]),
        (json!({"before": 1}), vec![]),
        (json!({"limit": 100_000}), vec![1, 2, 3, 4, 5, 6, 7]),
    ] {
        let mut fields = asked.clone();
        fields["conversation"] = conversation.clone();
        let page = from.request("history", fields).await["ok"].clone();
        let seqs: Vec<u64> = page["entries"]
            .as_array()
            .expect("entries")
            .iter()
            .filter_map(|e| e["seq"].as_u64())
            .collect();
        assert_eq!(seqs, expected, "{asked}");
        assert_eq!((&page["head"], &page["floor"]), (&json!(7), &json!(1)));
    }
    let refused = from
        .request("history", json!({"conversation": conversation, "limit": 0}))
        .await;
    assert_eq!(code(&refused), "bad_request");
}

#[tokio::test]
async fn sync_tells_what_changed_since_and_nothing_else() {
    let server = TestServer::bare().await;
    let (ann, bob, cat) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("cat").await,
    );
    let mut from = server.session(&ann).await;
    let start = from.request("ping", json!({})).await;
    assert!(start["ok"]["now"].is_u64());
    let mut to = server.connect(None).await;
    let since = to.hello(&bob.token, "phone").await["ok"]["since"].clone();
    let conversation = from.send_text(&bob.id, "1", "a").await["ok"]["conversation"].clone();
    let changes = to.request("sync", json!({"since": since})).await["ok"].clone();
    assert_eq!(changes["changed"][0]["id"], conversation);
    assert_eq!(
        (
            changes["changed"][0]["unread"].as_u64(),
            changes["more"].as_bool()
        ),
        (Some(1), Some(false))
    );
    let quiet = to.request("sync", json!({"since": changes["since"]})).await["ok"].clone();
    assert_eq!(quiet["changed"], json!([]));
    // The peer's reading is a change of the summary too; a stranger's conversation is not.
    to.request("read", json!({"conversation": conversation, "seq": 1}))
        .await;
    let mut third = server.session(&cat).await;
    third.send_text(&bob.id, "1", "b").await;
    let at_ann = from
        .request("sync", json!({"since": changes["since"]}))
        .await["ok"]
        .clone();
    assert_eq!(at_ann["changed"].as_array().map(Vec::len), Some(1));
    assert_eq!(at_ann["changed"][0]["peer_read"], 1);
    for useless in ["", "nonsense", "00000000000000000000000000000000"] {
        assert_eq!(
            to.request("sync", json!({"since": useless})).await["ok"]["reset"],
            true,
            "{useless}"
        );
    }
}

#[tokio::test]
async fn a_recall_erases_the_content_for_everyone_and_again_gives_the_same() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let conversation = from.send_text(&bob.id, "1", "secret").await["ok"]["conversation"].clone();
    let target = json!({"conversation": conversation, "seq": 1});
    assert_eq!(
        code(&to.request("recall", target.clone()).await),
        "forbidden"
    );
    let recall = from.request("recall", target.clone()).await;
    assert_eq!(recall["ok"]["seq"], 2);
    assert_eq!(from.request("recall", target).await["ok"], recall["ok"]);
    loop {
        let entry = to.event("entry").await["entry"].clone();
        if entry["kind"] == "recall" {
            assert_eq!(
                (&entry["target"], &entry["by"]),
                (&json!(1), &json!(ann.id))
            );
            break;
        }
    }
    let page = to
        .request("history", json!({"conversation": conversation}))
        .await
        .to_string();
    assert!(
        !page.contains("secret") && page.contains("\"recalled\":true"),
        "{page}"
    );
    let list = to.request("conversations", json!({})).await;
    assert!(!list.to_string().contains("secret"));
    assert_eq!(
        list["ok"]["conversations"][0]["unread"], 1,
        "recalled ones count"
    );
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let mut server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let first = {
        let mut from = server.session(&ann).await;
        from.send_text(&bob.id, "1", "kept").await
    };
    server.restart().await;
    let mut from = server.session(&ann).await;
    assert_eq!(
        from.send_text(&bob.id, "1", "kept").await["ok"],
        first["ok"]
    );
    assert_eq!(from.send_text(&bob.id, "2", "next").await["ok"]["seq"], 2);
    let mut to = server.session(&bob).await;
    assert_eq!(
        to.request("conversations", json!({})).await["ok"]["conversations"][0]["unread"],
        2
    );
}

#[tokio::test]
async fn wrong_sends_get_their_documented_error() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let text = |text: &str| json!({"type": "text", "text": text});
    for (fields, expected) in [
        (
            json!({"client_id": "1", "content": text("x")}),
            "bad_request",
        ),
        (
            json!({"to": {"user": bob.id}, "content": text("x")}),
            "bad_request",
        ),
        (
            json!({"to": {"user": bob.id}, "client_id": "", "content": text("x")}),
            "bad_request",
        ),
        (
            json!({"to": {"user": bob.id}, "client_id": "x".repeat(65), "content": text("x")}),
            "bad_request",
        ),
        (
            json!({"to": {"user": bob.id}, "client_id": "1"}),
            "bad_request",
        ),
        (
            json!({"to": {"user": bob.id}, "client_id": "1", "content": {"type": "song"}}),
            "bad_request",
        ),
        (
            json!({"to": {"user": bob.id}, "client_id": "1", "content": text(&"好".repeat(8001))}),
            "too_large",
        ),
        (
            json!({"to": {"user": ann.id}, "client_id": "1", "content": text("x")}),
            "bad_request",
        ),
        (
            json!({"to": {"user": "1"}, "client_id": "1", "content": text("x")}),
            "not_found",
        ),
        (
            json!({"to": {"user": "nobody"}, "client_id": "1", "content": text("x")}),
            "not_found",
        ),
        (
            json!({"to": {"conversation": "0".repeat(32)}, "client_id": "1", "content": text("x")}),
            "not_found",
        ),
        (
            json!({"to": {"user": bob.id}, "client_id": "1", "content": text("x"), "reply_to": 5}),
            "not_found",
        ),
        (
            json!({"to": {"user": bob.id, "conversation": "x"}, "client_id": "1", "content": text("x")}),
            "bad_request",
        ),
    ] {
        assert_eq!(
            code(&from.request("send", fields.clone()).await),
            expected,
            "{fields}"
        );
    }
}

#[tokio::test]
async fn wrong_operations_get_their_documented_error() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let mut from = server.session(&ann).await;
    for (op, fields, expected) in [
        (
            "history",
            json!({"conversation": "0".repeat(32)}),
            "not_found",
        ),
        ("history", json!({}), "bad_request"),
        (
            "read",
            json!({"conversation": "0".repeat(32), "seq": 1}),
            "not_found",
        ),
        (
            "received",
            json!({"conversation": "x", "seq": 1}),
            "not_found",
        ),
        (
            "recall",
            json!({"conversation": "0".repeat(32), "seq": 1}),
            "not_found",
        ),
        ("sync", json!({}), "bad_request"),
        ("conversations", json!({"limit": 0}), "bad_request"),
        ("sing", json!({}), "bad_request"),
        ("hello", json!({}), "bad_request"),
    ] {
        assert_eq!(
            code(&from.request(op, fields.clone()).await),
            expected,
            "{op} {fields}"
        );
    }
}

#[tokio::test]
async fn a_strangers_conversation_is_not_found_in_every_operation() {
    let server = TestServer::bare().await;
    let (ann, bob, eve) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let (mut from, mut stranger) = (server.session(&ann).await, server.session(&eve).await);
    let conversation = from.send_text(&bob.id, "1", "x").await["ok"]["conversation"].clone();
    let id = conversation.as_str().expect("an id").to_owned();
    let content = json!({"type": "text", "text": "x"});
    for (op, fields) in [
        (
            "send",
            json!({"to": {"conversation": id}, "client_id": "1", "content": content}),
        ),
        ("history", json!({"conversation": id})),
        ("read", json!({"conversation": id, "seq": 1})),
        ("received", json!({"conversation": id, "seq": 1})),
        ("recall", json!({"conversation": id, "seq": 1})),
        ("prefs", json!({"conversation": id, "pinned": true})),
    ] {
        assert_eq!(
            code(&stranger.request(op, fields).await),
            "not_found",
            "{op}"
        );
    }
    for (method, path, body) in [
        ("GET", format!("/v1/conversations/{id}/entries"), None),
        (
            "POST",
            format!("/v1/conversations/{id}/entries"),
            Some(json!({"client_id": "1", "content": content})),
        ),
        (
            "POST",
            format!("/v1/conversations/{id}/read"),
            Some(json!({"seq": 1})),
        ),
    ] {
        assert_eq!(
            server.call(method, &path, Some(&eve.token), body).await.0,
            404,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn rest_sends_answer_201_then_200() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let conversation = from.send_text(&bob.id, "1", "x").await["ok"]["conversation"].clone();
    let path = format!(
        "/v1/conversations/{}/entries",
        conversation.as_str().expect("an id")
    );
    let message = json!({"client_id": "rest", "content": {"type": "text", "text": "by REST"}});
    let (status, sent) = server
        .call("POST", &path, Some(&ann.token), Some(message.clone()))
        .await;
    assert_eq!((status, &sent["seq"]), (201, &json!(2)));
    assert_eq!(from.event("entry").await["entry"]["client_id"], "rest");
    assert_eq!(
        server
            .call("POST", &path, Some(&ann.token), Some(message))
            .await,
        (200, sent)
    );
    let (status, page) = server
        .call("GET", &format!("{path}?after=1"), Some(&bob.token), None)
        .await;
    assert_eq!(
        (status, page["entries"][0]["content"]["text"].as_str()),
        (200, Some("by REST"))
    );
    let read = format!(
        "/v1/conversations/{}/read",
        conversation.as_str().expect("an id")
    );
    assert_eq!(
        server
            .call("POST", &read, Some(&bob.token), Some(json!({"seq": 2})))
            .await
            .0,
        200
    );
    let (_, list) = server
        .call("GET", "/v1/conversations", Some(&bob.token), None)
        .await;
    assert_eq!(list["conversations"][0]["unread"], 0);
}
