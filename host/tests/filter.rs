//! The rules change while people talk: words, levels,
//! held messages, strategies, decisions; with the real plugins.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{TestServer, plugins_folder};

pub async fn add_words(server: &TestServer, level: &str, words: &[&str]) {
    let rows: Vec<Value> = words
        .iter()
        .map(|word| json!({"word": word, "level": level}))
        .collect();
    let (status, done) = server
        .admin("POST", "/words", Some(json!({"words": rows})))
        .await;
    assert_eq!(status, 200, "{done}");
}

#[tokio::test]
async fn a_word_added_takes_effect_on_the_next_message() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let plain = from.send_text(&bob.id, "1", "a badger").await;
    assert!(plain["ok"]["content"].is_null(), "{plain}");
    add_words(&server, "mask", &["badger", "赌博"]).await;
    let masked = from.send_text(&bob.id, "2", "BADGER 赌 博!").await;
    assert_eq!(masked["ok"]["content"]["text"], "****** ***!");
    to.event("entry").await;
    assert_eq!(
        to.event("entry").await["entry"]["content"]["text"],
        "****** ***!"
    );
    // The resend is compared with what was first sent, and answered with what is stored.
    assert_eq!(
        from.send_text(&bob.id, "2", "BADGER 赌 博!").await["ok"],
        masked["ok"]
    );
    let (status, _) = server
        .admin("POST", "/words/remove", Some(json!({"words": ["badger"]})))
        .await;
    assert_eq!(status, 200);
    assert!(from.send_text(&bob.id, "3", "a badger").await["ok"]["content"].is_null());
}

#[tokio::test]
async fn matching_is_the_guests_with_it_disabled_nothing_is_masked() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    add_words(&server, "mask", &["badger"]).await;
    let mut from = server.session(&ann).await;
    assert_eq!(
        from.send_text(&bob.id, "1", "badger").await["ok"]["content"]["text"],
        "******"
    );
    assert_eq!(
        server
            .admin("POST", "/plugins/word-filter/disable", Some(json!({})))
            .await
            .0,
        200
    );
    assert!(from.send_text(&bob.id, "2", "badger").await["ok"]["content"].is_null());
    assert_eq!(
        server
            .admin("POST", "/plugins/word-filter/enable", Some(json!({})))
            .await
            .0,
        200
    );
    assert_eq!(
        from.send_text(&bob.id, "3", "badger").await["ok"]["content"]["text"],
        "******"
    );
}

#[tokio::test]
async fn a_rejected_message_says_by_whom_and_its_client_id_is_free_again() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    add_words(&server, "reject", &["spam"]).await;
    let mut from = server.session(&ann).await;
    let refused = from.send_text(&bob.id, "1", "spam").await["err"].clone();
    assert_eq!(
        (refused["code"].as_str(), refused["by"].as_str()),
        (Some("rejected"), Some("word-filter"))
    );
    assert!(refused["reason"].is_string());
    assert_eq!(from.send_text(&bob.id, "1", "ham").await["ok"]["seq"], 1);
}

#[tokio::test]
async fn a_held_message_is_released_by_an_administrator() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    add_words(&server, "hold", &["maybe"]).await;
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let held = from.send_text(&bob.id, "1", "maybe one").await["ok"].clone();
    assert_eq!(
        (held["state"].as_str(), held["seq"].is_null()),
        (Some("held"), true)
    );
    assert_eq!(
        from.send_text(&bob.id, "1", "maybe one").await["ok"]["hold"],
        held["hold"]
    );
    from.send_text(&bob.id, "2", "maybe two").await;
    let (_, own) = server.call("GET", "/v1/held", Some(&ann.token), None).await;
    assert_eq!(
        (
            own["held"].as_array().map(Vec::len),
            own["held"][0]["state"].as_str()
        ),
        (Some(2), Some("held"))
    );
    assert_eq!(
        server
            .call("GET", "/v1/held", Some(&bob.token), None)
            .await
            .1["held"],
        json!([])
    );

    let hold = held["hold"].as_str().expect("a hold");
    let (status, released) = server
        .admin("POST", &format!("/held/{hold}/release"), Some(json!({})))
        .await;
    assert_eq!((status, &released["seq"]), (200, &json!(1)));
    assert_eq!(
        to.event("entry").await["entry"]["content"]["text"],
        "maybe one"
    );
    assert_eq!(
        from.event("entry").await["entry"]["client_id"],
        "1",
        "on the sending session too"
    );
    assert_eq!(
        from.send_text(&bob.id, "1", "maybe one").await["ok"]["seq"],
        1
    );
    assert_eq!(
        server
            .admin("POST", &format!("/held/{hold}/release"), Some(json!({})))
            .await
            .0,
        404
    );

    // A release moved nobody's `read`, and one's own message is not unread.
    let (_, list) = server
        .call("GET", "/v1/conversations", Some(&ann.token), None)
        .await;
    assert_eq!(list["conversations"][0]["unread"], 0);
    let (_, list) = server
        .call("GET", "/v1/conversations", Some(&bob.token), None)
        .await;
    assert_eq!(list["conversations"][0]["unread"], 1);
}

#[tokio::test]
async fn a_held_message_is_refused_by_an_administrator() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    add_words(&server, "hold", &["maybe"]).await;
    let mut from = server.session(&ann).await;
    let second = from.send_text(&bob.id, "2", "maybe two").await["ok"]["hold"].clone();
    let path = format!("/held/{}/refuse", second.as_str().expect("a hold"));
    assert_eq!(
        server
            .admin("POST", &path, Some(json!({"reason": "rude"})))
            .await
            .0,
        200
    );
    let told = from.event("held").await;
    assert_eq!(
        (told["state"].as_str(), told["reason"].as_str()),
        (Some("refused"), Some("rude"))
    );
    let resent = from.send_text(&bob.id, "2", "maybe two").await["err"].clone();
    assert_eq!(
        (resent["code"].as_str(), resent["reason"].as_str()),
        (Some("rejected"), Some("rude"))
    );
}

#[tokio::test]
async fn blocks_and_the_recall_window_are_the_strategys() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let first = from.send_text(&bob.id, "1", "x").await["ok"].clone();
    server
        .call(
            "PUT",
            &format!("/v1/blocks/{}", ann.id),
            Some(&bob.token),
            None,
        )
        .await;
    assert_eq!(
        from.send_text(&bob.id, "2", "x").await["err"]["code"],
        "blocked"
    );
    assert_eq!(
        from.send_text(&bob.id, "1", "x").await["ok"]["seq"],
        1,
        "a resend gets its first ack"
    );
    server
        .call(
            "DELETE",
            &format!("/v1/blocks/{}", ann.id),
            Some(&bob.token),
            None,
        )
        .await;
    let window = json!({"texts": {"recall_window_s": "0"}});
    let (status, _) = server
        .admin("PATCH", "/plugins/direct-strategy/config", Some(window))
        .await;
    assert_eq!(status, 200);
    // An age of more than no time: the clock must have moved on.
    let mut reply = Value::Null;
    for _ in 0..100 {
        reply = from
            .request(
                "recall",
                json!({"conversation": first["conversation"], "seq": 1}),
            )
            .await;
        if reply["err"].is_object() {
            break;
        }
        let again = from.send_text(&bob.id, "3", "x").await;
        assert!(again["ok"].is_object());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(reply["err"]["code"], "too_late");
    let (_, undone) = server
        .admin(
            "POST",
            "/plugins/direct-strategy/config/rollback",
            Some(json!({})),
        )
        .await;
    assert!(
        undone["code"].is_string() || undone["values"]["recall_window_s"] == 120,
        "{undone}"
    );
}

#[tokio::test]
async fn strangers_wait_for_an_answer_where_configured_even_when_they_hurry() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let only = json!({"texts": {"strangers": "first-message-only"}});
    assert_eq!(
        server
            .admin("PATCH", "/plugins/direct-strategy/config", Some(only))
            .await
            .0,
        200
    );
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let content = json!({"type": "text", "text": "x"});
    assert_eq!(from.send_text(&bob.id, "0", "x").await["ok"]["seq"], 1);
    let mut ids = Vec::new();
    for n in 1..5 {
        ids.push(
            from.start(
                "send",
                json!({"to": {"user": bob.id}, "client_id": n.to_string(), "content": content}),
            )
            .await,
        );
    }
    for id in ids {
        assert_eq!(from.reply(id).await["err"]["reason"], "wait-for-answer");
    }
    to.send_text(&ann.id, "1", "who are you?").await;
    assert!(from.send_text(&bob.id, "6", "x").await["ok"].is_object());
}

#[tokio::test]
async fn the_decision_behind_an_entry_is_told() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    add_words(&server, "mask", &["badger"]).await;
    let mut from = server.session(&ann).await;
    let ack = from.send_text(&bob.id, "1", "badger").await["ok"].clone();
    let path = format!(
        "/conversations/{}/entries/1",
        ack["conversation"].as_str().expect("an id")
    );
    let (status, told) = server.admin("GET", &path, None).await;
    assert_eq!((status, &told["entry"]["id"]), (200, &ack["id"]));
    let hooks = told["decision"]["hooks"].as_array().expect("hooks").clone();
    let outcomes: Vec<_> = hooks
        .iter()
        .map(|hook| (hook["plugin"].as_str(), hook["outcome"].as_str()))
        .collect();
    assert_eq!(
        outcomes,
        [
            (Some("direct-strategy"), Some("passed")),
            (Some("word-filter"), Some("replaced"))
        ]
    );
    assert!(hooks.iter().all(|hook| {
        hook["digest"]
            .as_str()
            .is_some_and(|digest| digest.starts_with("sha256:"))
    }));
    assert!(
        told["decision"]["generation"]
            .as_u64()
            .is_some_and(|generation| generation > 0)
    );
}

#[tokio::test]
async fn names_pass_the_filter_too() {
    let server = TestServer::with_plugins().await;
    add_words(&server, "mask", &["badger"]).await;
    let user = |name: &str, shown: &str| json!({"username": name, "password": "password-1", "display_name": shown});
    let (status, made) = server
        .call(
            "POST",
            "/v1/users",
            None,
            Some(user("somebody", "a badger")),
        )
        .await;
    assert_eq!(
        (status, made["display_name"].as_str()),
        (201, Some("a ******"))
    );
    let (status, refusal) = server
        .call("POST", "/v1/users", None, Some(user("badger", "x")))
        .await;
    assert_eq!((status, refusal["code"].as_str()), (422, Some("rejected")));
    assert_eq!(refusal["by"], "word-filter", "{refusal}");
}

#[tokio::test]
async fn a_file_that_is_no_plugin_is_refused_and_the_serving_generation_stays() {
    let server = TestServer::with_plugins().await;
    let before = server.app().rollout.generation();
    let good = std::fs::read(plugins_folder().join("word-filter.wasm")).expect("the plugin");
    let mut other = good.clone();
    other.extend_from_slice(&[0, 4, 3, b'x', b'y', b'z']);
    for (file, status) in [
        (Vec::new(), 400),
        (b"not wasm at all".to_vec(), 400),
        (b"\0asm\x01\0\0\0".to_vec(), 400),
        (good[..good.len() / 2].to_vec(), 400),
        (vec![0; 33 << 20], 413),
        (other, 409),
    ] {
        let (found, refusal) = server.push(file).await;
        assert_eq!(found, status, "{refusal}");
        assert!(
            refusal["message"]
                .as_str()
                .is_some_and(|message| message.len() > 10),
            "{refusal}"
        );
    }
    assert_eq!(server.push(good).await.0, 201, "the same version again");
    assert_eq!(
        server
            .admin(
                "POST",
                "/plugins/word-filter/activate",
                Some(json!({"version": "9.9.9"}))
            )
            .await
            .0,
        404
    );
    assert_eq!(server.app().rollout.generation(), before);
}

#[tokio::test]
async fn unsigned_plugins_are_refused_where_signatures_are_required() {
    let server = TestServer::with(|config| {
        config.plugins.signatures = kith::config::SignaturePolicy::Require
    })
    .await;
    let good = std::fs::read(plugins_folder().join("word-filter.wasm")).expect("the plugin");
    let (status, refusal) = server.push(good).await;
    assert_eq!(status, 400);
    assert!(
        refusal["message"]
            .as_str()
            .is_some_and(|message| message.contains("signature")),
        "{refusal}"
    );
}
