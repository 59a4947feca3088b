//! Beside messages: who types, who is here, what is being written, what each has set for itself.
//! By the protocol; nothing here waits but for what must come.

use serde_json::{Value, json};

use crate::support::{TestServer, TestSocket, TestUser};

fn code(reply: &Value) -> &str {
    reply["err"]["code"].as_str().unwrap_or("no error")
}

async fn second_device(server: &TestServer, user: &TestUser) -> TestSocket {
    let tokens = server.sign_in(&user.username, "laptop").await;
    let token = tokens["access_token"].as_str().expect("a token");
    server.session_of(token, "laptop").await
}

async fn talk(from: &mut TestSocket, to: &TestUser) -> Value {
    from.send_text(&to.id, "1", "hello").await["ok"]["conversation"].clone()
}

#[tokio::test]
async fn typing_reaches_the_others_and_is_kept_nowhere() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let mut own = second_device(&server, &ann).await;
    let conversation = talk(&mut from, &bob).await;
    for on in [true, false] {
        let typing = json!({"conversation": conversation, "on": on});
        assert_eq!(from.request("typing", typing).await["ok"], json!({}));
        let event = to.event("typing").await;
        assert_eq!(
            event,
            json!({"ev": "typing", "conversation": conversation, "user": ann.id, "on": on})
        );
    }
    // One's own devices are not told: the message after it is the next thing they hear.
    from.send_text(&bob.id, "2", "there").await;
    loop {
        let frame = own.frame().await.expect("an event");
        assert_ne!(frame["ev"], "typing");
        if frame["entry"]["seq"] == 2 {
            break;
        }
    }
    let page = to
        .request("history", json!({"conversation": conversation}))
        .await;
    assert_eq!(page["ok"]["head"], 2);
    for fields in [json!({"conversation": conversation}), json!({"on": true})] {
        assert_eq!(code(&from.request("typing", fields).await), "bad_request");
    }
}

#[tokio::test]
async fn signals_and_messages_past_their_rate_are_told_when_to_come_again() {
    let server = TestServer::with(|config| {
        config.limits.rate = true;
        (config.limits.sends_per_s, config.limits.sends_burst) = (1, 5);
    })
    .await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let conversation = talk(&mut from, &bob).await;
    for (op, fields) in [
        ("typing", json!({"conversation": conversation, "on": true})),
        ("draft", json!({"conversation": conversation, "text": "x"})),
        ("presence", json!({"users": [bob.id]})),
        ("readers", json!({"conversation": conversation, "seq": 1})),
        (
            "react",
            json!({"conversation": conversation, "seq": 1, "emoji": "👍", "on": true}),
        ),
        (
            "edit",
            json!({"conversation": conversation, "seq": 1, "content": {"type": "text", "text": "x"}}),
        ),
    ] {
        let mut refused = None;
        for _ in 0..200 {
            let reply = from.request(op, fields.clone()).await;
            if code(&reply) == "rate_limited" {
                refused = reply["err"]["retry_after_ms"].as_u64();
                break;
            }
            assert!(reply["ok"].is_object(), "{reply}");
        }
        assert!(refused.is_some_and(|wait| wait > 0), "{op}");
    }
}

#[tokio::test]
async fn presence_says_who_is_here_on_what_and_tells_watchers_who_comes_and_goes() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut watcher = server.session(&ann).await;
    let look = json!({"users": [bob.id, ann.id, "1", "nobody"], "watch": true});
    let users = watcher.request("presence", look).await["ok"]["users"].clone();
    assert_eq!(
        users.as_object().map(serde_json::Map::len),
        Some(2),
        "{users}"
    );
    assert_eq!(
        users[&bob.id],
        json!({"online": false, "kinds": [], "last_seen": null})
    );
    assert_eq!(
        (&users[&ann.id]["online"], &users[&ann.id]["kinds"]),
        (&json!(true), &json!(["web"]))
    );
    let phone = server.session(&bob).await;
    let event = watcher.event("presence").await;
    assert_eq!(
        (&event["user"], &event["online"], &event["kinds"]),
        (&json!(bob.id), &json!(true), &json!(["web"]))
    );
    drop(phone);
    let event = watcher.event("presence").await;
    assert_eq!(
        (&event["online"], &event["kinds"]),
        (&json!(false), &json!([]))
    );
    assert!(event["last_seen"].is_u64());
    let look = json!({"users": [bob.id], "watch": false});
    let seen = watcher.request("presence", look).await["ok"]["users"][&bob.id].clone();
    assert_eq!(
        (&seen["online"], &seen["last_seen"]),
        (&json!(false), &event["last_seen"])
    );
    // Watched no more: what comes next is something else.
    let mut phone = server.session(&bob).await;
    phone.send_text(&ann.id, "1", "hello").await;
    loop {
        let frame = watcher.frame().await.expect("an event");
        assert_ne!(frame["ev"], "presence", "{frame}");
        if frame["ev"] == "entry" {
            break;
        }
    }
}

#[tokio::test]
async fn a_blocked_watcher_sees_nobody() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut watcher, mut phone) = (server.session(&ann).await, server.session(&bob).await);
    let look = json!({"users": [bob.id], "watch": true});
    let seen = watcher.request("presence", look.clone()).await["ok"]["users"][&bob.id].clone();
    assert_eq!(seen["online"], true);
    let path = format!("/v1/blocks/{}", ann.id);
    assert_eq!(
        server.call("PUT", &path, Some(&bob.token), None).await.0,
        204
    );
    let unseen = json!({"online": false, "kinds": [], "last_seen": null});
    let seen = watcher.request("presence", look).await["ok"]["users"][&bob.id].clone();
    assert_eq!(seen, unseen);
    phone.request("ping", json!({})).await;
    drop(phone);
    let event = watcher.event("presence").await;
    assert_eq!(
        (&event["online"], &event["last_seen"]),
        (&json!(false), &Value::Null)
    );
}

#[tokio::test]
async fn when_somebody_was_last_seen_survives_a_restart() {
    let mut server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    drop(server.session(&bob).await);
    server.restart().await;
    let mut from = server.session(&ann).await;
    let look = json!({"users": [bob.id]});
    let seen = from.request("presence", look).await["ok"]["users"][&bob.id].clone();
    assert_eq!(seen["online"], false);
    assert!(seen["last_seen"].is_u64(), "{seen}");
}

#[tokio::test]
async fn wrong_looks_at_presence_get_their_documented_error() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let mut from = server.session(&ann).await;
    let many: Vec<String> = (0..201).map(|n| n.to_string()).collect();
    for fields in [
        json!({}),
        json!({"users": "1"}),
        json!({"users": [1]}),
        json!({"users": many}),
        json!({"users": [], "watch": 1}),
    ] {
        assert_eq!(
            code(&from.request("presence", fields.clone()).await),
            "bad_request",
            "{fields}"
        );
    }
    assert_eq!(
        from.request("presence", json!({"users": []})).await["ok"]["users"],
        json!({})
    );
}

#[tokio::test]
async fn a_draft_is_in_the_summary_on_every_device_and_nobody_elses() {
    let mut server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut from, mut to) = (server.session(&ann).await, server.connect(None).await);
    let mut other = second_device(&server, &ann).await;
    let conversation = talk(&mut from, &bob).await;
    let since = to.hello(&bob.token, "phone").await["ok"]["since"].clone();
    let draft = |text: &str| json!({"conversation": conversation, "text": text});
    assert_eq!(
        from.request("draft", draft("half a th")).await["ok"],
        json!({})
    );
    loop {
        let summary = other.event("conversation").await["conversation"].clone();
        if summary["draft"] == "half a th" {
            assert_eq!(summary["id"], conversation);
            break;
        }
    }
    // Nothing of it shows that the other one writes.
    let changes = to.request("sync", json!({"since": since})).await["ok"].clone();
    assert_eq!(changes["changed"], json!([]));
    let list = to.request("conversations", json!({})).await.to_string();
    assert!(!list.contains("half a th"));
    let long = draft(&"x".repeat(8001));
    assert_eq!(code(&from.request("draft", long).await), "too_large");
    assert_eq!(
        code(
            &from
                .request("draft", json!({"conversation": conversation}))
                .await
        ),
        "bad_request"
    );
    drop((from, to, other));
    server.restart().await;
    let mut from = server.session(&ann).await;
    let list = from.request("conversations", json!({})).await["ok"]["conversations"].clone();
    assert_eq!(list[0]["draft"], "half a th");
    from.request("draft", draft("")).await;
    let list = from.request("conversations", json!({})).await["ok"]["conversations"].clone();
    assert!(list[0]["draft"].is_null());
}

#[tokio::test]
async fn prefs_order_and_hide_the_list_on_every_device() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let others = [
        server.user("bob").await,
        server.user("cat").await,
        server.user("dan").await,
    ];
    let mut from = server.session(&ann).await;
    let mut other = second_device(&server, &ann).await;
    let mut ids = Vec::new();
    for to in &others {
        ids.push(talk(&mut from, to).await);
    }
    let list = async |socket: &mut TestSocket| {
        let list = socket.request("conversations", json!({})).await["ok"]["conversations"].clone();
        let items = list.as_array().expect("a list").clone();
        items
            .iter()
            .map(|item| item["id"].clone())
            .collect::<Vec<_>>()
    };
    let order = |places: [usize; 3]| places.map(|place| ids[place].clone()).to_vec();
    assert_eq!(
        list(&mut from).await,
        order([2, 1, 0]),
        "the newest message first"
    );
    let pin = json!({"conversation": ids[0], "pinned": true, "muted": true});
    let summary = from.request("prefs", pin).await["ok"].clone();
    assert_eq!(
        (&summary["pinned"], &summary["muted"]),
        (&json!(true), &json!(true))
    );
    loop {
        let told = other.event("conversation").await["conversation"].clone();
        if told["id"] == ids[0] && told["pinned"] == true {
            assert_eq!(told["muted"], true);
            break;
        }
    }
    assert_eq!(list(&mut other).await, order([0, 2, 1]), "pinned first");
    from.request("prefs", json!({"conversation": ids[2], "hidden": true}))
        .await;
    let shown = [ids[0].clone(), ids[1].clone()];
    assert_eq!(list(&mut other).await, shown, "hidden ones are left out");
    let mut writer = server.session(&others[2]).await;
    writer.send_text(&ann.id, "back", "again").await;
    assert_eq!(
        list(&mut other).await,
        order([0, 2, 1]),
        "a new message shows it again"
    );
    for fields in [
        json!({"conversation": ids[0]}),
        json!({"conversation": ids[0], "pinned": "yes"}),
    ] {
        assert_eq!(code(&from.request("prefs", fields).await), "bad_request");
    }
}
