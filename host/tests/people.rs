//! Friends and their requests by the public protocol, and the `self` log both sides find them in;
//! each route for those it is for and for those it is not.

use serde_json::{Value, json};

use crate::support::{TestServer, TestUser};

async fn get(server: &TestServer, user: &TestUser, path: &str) -> Value {
    let (status, body) = server.call("GET", path, Some(&user.token), None).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

async fn ask(server: &TestServer, from: &TestUser, to: &str, text: Option<&str>) -> (u16, Value) {
    let mut body = json!({"user": to});
    if let Some(text) = text {
        body["text"] = text.into();
    }
    let token = Some(from.token.as_str());
    server
        .call("POST", "/v1/friend-requests", token, Some(body))
        .await
}

async fn answer(server: &TestServer, by: &TestUser, id: &str, accept: bool) -> (u16, Value) {
    let path = format!("/v1/friend-requests/{id}");
    let body = Some(json!({"accept": accept}));
    server.call("POST", &path, Some(&by.token), body).await
}

fn id(value: &Value) -> String {
    value["id"].as_str().expect("an id").to_owned()
}

/// The two are friends from now on.
async fn befriend(server: &TestServer, one: &TestUser, other: &TestUser) {
    let (status, request) = ask(server, one, &other.id, None).await;
    assert_eq!(status, 201, "{request}");
    let (status, accepted) = answer(server, other, &id(&request), true).await;
    assert_eq!(
        (status, accepted["state"].as_str()),
        (200, Some("accepted"))
    );
}

/// The entries of a user's own log, in order; nothing while the log is not listed.
async fn own_log(server: &TestServer, user: &TestUser) -> Vec<Value> {
    let list = get(server, user, "/v1/conversations").await;
    let list = list["conversations"].as_array().expect("a list").clone();
    let Some(own) = list.iter().find(|summary| summary["kind"] == "self") else {
        return Vec::new();
    };
    assert_eq!(own["unread"], 0, "only messages are unread: {own}");
    let path = format!("/v1/conversations/{}/entries?after=0", id(own));
    let page = get(server, user, &path).await;
    let entries = page["entries"].as_array().expect("entries").clone();
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!(entry["seq"], at + 1, "dense");
        assert_eq!(entry["kind"], "system");
    }
    entries
}

async fn codes(server: &TestServer, user: &TestUser) -> Vec<String> {
    let entries = own_log(server, user).await;
    let code = |entry: &Value| entry["code"].as_str().expect("a code").to_owned();
    entries.iter().map(code).collect()
}

async fn requests_of(server: &TestServer, user: &TestUser) -> Vec<Value> {
    let list = get(server, user, "/v1/friend-requests").await;
    list["friend_requests"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_friend_request_and_its_answer_stand_in_both_self_logs() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    assert!(own_log(&server, &ann).await.is_empty());
    let mut phone = server.session(&bob).await;

    let (status, request) = ask(&server, &ann, &bob.id, Some("it is me")).await;
    assert_eq!(status, 201, "{request}");
    assert_eq!(request["direction"], "sent");
    assert_eq!(request["state"], "waiting");
    assert_eq!(request["user"], bob.id);
    let given = phone.event("conversation").await;
    assert_eq!(given["conversation"]["kind"], "self");
    let entry = phone.event("entry").await["entry"].clone();
    assert_eq!(
        (&entry["kind"], &entry["seq"]),
        (&json!("system"), &json!(1))
    );
    assert_eq!(entry["code"], "friend_request");
    let args = json!({"id": request["id"], "user": ann.id, "text": "it is me"});
    assert_eq!(entry["args"], args);
    assert_eq!(entry["conversation"], given["conversation"]["id"]);

    let received = requests_of(&server, &bob).await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["direction"], "received");
    assert_eq!(received[0]["profile"]["username"], ann.username);
    let shown = get(&server, &bob, &format!("/v1/users/{}", ann.id)).await;
    assert_eq!(shown["relation"]["request"], "received");
    assert_eq!(shown["relation"]["request_id"], request["id"]);
    let shown = get(&server, &ann, &format!("/v1/users/{}", bob.id)).await;
    assert_eq!(shown["relation"]["request"], "sent");

    let (status, accepted) = answer(&server, &bob, &id(&request), true).await;
    assert_eq!(
        (status, accepted["state"].as_str()),
        (200, Some("accepted"))
    );
    let again = answer(&server, &bob, &id(&request), true).await;
    assert_eq!(again, (status, accepted), "again: the same answer");
    let entry = phone.event("entry").await["entry"].clone();
    assert_eq!(entry["code"], "friend_accepted");
    assert_eq!(entry["args"], json!({"user": ann.id}));
    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        assert_eq!(
            codes(&server, one).await,
            ["friend_request", "friend_accepted"]
        );
        let log = own_log(&server, one).await;
        assert!(log.iter().all(|entry| entry["args"]["user"] == other.id));
        let friends = get(&server, one, "/v1/friends").await;
        assert_eq!(friends["friends"][0]["id"], other.id);
        assert!(friends["friends"][0]["since"].is_u64());
        assert!(requests_of(&server, one).await.is_empty());
        let shown = get(&server, one, &format!("/v1/users/{}", other.id)).await;
        assert_eq!(shown["relation"]["friend"], true);
        assert_eq!(shown["relation"].get("request"), None);
    }
}

#[tokio::test]
async fn an_absent_user_finds_a_friend_request_by_sync() {
    let mut server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut phone = server.connect(None).await;
    let hello = phone.hello(&bob.token, "phone").await;
    drop(phone);
    assert_eq!(ask(&server, &ann, &bob.id, None).await.0, 201);
    server.restart().await;
    let mut phone = server.session(&bob).await;
    let since = json!({"since": hello["ok"]["since"]});
    let synced = phone.request("sync", since).await["ok"].clone();
    let own = &synced["changed"][0];
    assert_eq!((&own["kind"], &own["head"]), (&json!("self"), &json!(1)));
    assert_eq!(own["unread"], 0);
    let asked = json!({"conversation": own["id"], "after": 0});
    let page = phone.request("history", asked).await["ok"].clone();
    assert_eq!(page["entries"][0]["args"]["user"], ann.id);
    let read = json!({"conversation": own["id"], "seq": 1});
    assert_eq!(phone.request("read", read).await["ok"], json!({}));
    let after = phone
        .request("sync", json!({"since": synced["since"]}))
        .await;
    assert_eq!(after["ok"]["changed"][0]["read"], 1);
}

#[tokio::test]
async fn nobody_writes_to_a_self_log_or_reads_anothers() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    assert_eq!(ask(&server, &ann, &bob.id, None).await.0, 201);
    let own = own_log(&server, &bob).await[0]["conversation"].clone();
    let content = json!({"type": "text", "text": "x"});
    let send = json!({"to": {"conversation": own}, "client_id": "1", "content": content});
    for (user, code) in [(&bob, "forbidden"), (&ann, "not_found")] {
        let mut phone = server.session(user).await;
        let reply = phone.request("send", send.clone()).await;
        assert_eq!(reply["err"]["code"], code);
        let reply = phone
            .request("recall", json!({"conversation": own, "seq": 1}))
            .await;
        assert_eq!(reply["err"]["code"], code);
    }
    let path = format!("/v1/conversations/{}/entries", own.as_str().expect("an id"));
    let body = json!({"client_id": "1", "content": content});
    for (user, status) in [(&bob, 403), (&ann, 404)] {
        let token = Some(user.token.as_str());
        let sent = server.call("POST", &path, token, Some(body.clone())).await;
        assert_eq!(sent.0, status);
    }
    assert_eq!(
        server.call("GET", &path, Some(&ann.token), None).await.0,
        404
    );
}

#[tokio::test]
async fn asking_again_while_one_waits_changes_nothing() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (_, first) = ask(&server, &ann, &bob.id, Some("hello")).await;
    let (status, again) = ask(&server, &ann, &bob.id, Some("hello?")).await;
    assert_eq!((status, &again), (200, &first));
    assert_eq!(codes(&server, &bob).await, ["friend_request"]);
    assert_eq!(requests_of(&server, &ann).await.len(), 1);
}

#[tokio::test]
async fn two_who_ask_each_other_are_friends() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    ask(&server, &ann, &bob.id, None).await;
    let (status, made) = ask(&server, &bob, &ann.id, None).await;
    assert_eq!((status, made["state"].as_str()), (201, Some("accepted")));
    for user in [&ann, &bob] {
        assert_eq!(
            codes(&server, user).await,
            ["friend_request", "friend_accepted"]
        );
        assert!(requests_of(&server, user).await.is_empty());
    }
    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        let (status, refusal) = ask(&server, one, &other.id, None).await;
        assert_eq!((status, refusal["code"].as_str()), (409, Some("conflict")));
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let long = "好".repeat(301);
    for (to, text, status, code) in [
        (ann.id.as_str(), None, 400, "bad_request"),
        ("1", None, 404, "not_found"),
        ("nobody", None, 404, "not_found"),
        (bob.id.as_str(), Some(long.as_str()), 413, "too_large"),
    ] {
        let (found, refusal) = ask(&server, &ann, to, text).await;
        assert_eq!(
            (found, refusal["code"].as_str()),
            (status, Some(code)),
            "{to}"
        );
    }
    for wrong in [
        json!({}),
        json!({"user": 7}),
        json!({"user": bob.id, "text": 7}),
    ] {
        let token = Some(ann.token.as_str());
        let call = server.call("POST", "/v1/friend-requests", token, Some(wrong));
        assert_eq!(call.await.0, 400);
    }
    assert!(own_log(&server, &ann).await.is_empty());
    let fits = "好".repeat(300);
    assert_eq!(ask(&server, &ann, &bob.id, Some(&fits)).await.0, 201);
}

#[tokio::test]
async fn only_the_one_who_was_asked_answers() {
    let server = TestServer::bare().await;
    let (ann, bob, cid) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("cid").await,
    );
    let (_, request) = ask(&server, &ann, &bob.id, None).await;
    let request = id(&request);
    for accept in [true, false] {
        assert_eq!(answer(&server, &cid, &request, accept).await.0, 404);
        assert_eq!(answer(&server, &ann, &request, accept).await.0, 403);
    }
    for unknown in ["999999", "x"] {
        assert_eq!(answer(&server, &bob, unknown, true).await.0, 404);
    }
    assert!(requests_of(&server, &cid).await.is_empty());
    let friends = get(&server, &ann, "/v1/friends").await;
    assert_eq!(friends["friends"], json!([]));
    assert_eq!(answer(&server, &bob, &request, true).await.0, 200);
    let late = answer(&server, &bob, &request, false).await;
    assert_eq!((late.0, late.1["code"].as_str()), (409, Some("conflict")));
}

#[tokio::test]
async fn whoever_is_refused_is_not_told() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (_, first) = ask(&server, &ann, &bob.id, None).await;
    for refusals in 1..=3 {
        let (status, refused) = answer(&server, &bob, &id(&first), false).await;
        assert_eq!((status, refused["state"].as_str()), (200, Some("refused")));
        assert!(requests_of(&server, &bob).await.is_empty());
        let shown = get(&server, &bob, &format!("/v1/users/{}", ann.id)).await;
        assert_eq!(shown["relation"].get("request"), None);
        // To the asker nothing has changed: it waits, and asking again is answered as while it waits.
        assert_eq!(requests_of(&server, &ann).await[0]["state"], "waiting");
        let (status, again) = ask(&server, &ann, &bob.id, None).await;
        assert_eq!((status, &again["id"]), (200, &first["id"]));
        assert_eq!(again["state"], "waiting");
        assert_eq!(codes(&server, &ann).await, ["friend_request"]);
        // The other one is asked again, but not for ever.
        let waiting = requests_of(&server, &bob).await.len();
        assert_eq!(
            waiting,
            usize::from(refusals < 3),
            "after {refusals} refusals"
        );
    }
    assert_eq!(codes(&server, &bob).await.len(), 3);
    // One's own mind may change: asking whom one refused makes friends.
    assert_eq!(
        ask(&server, &bob, &ann.id, None).await.1["state"],
        "accepted"
    );
    assert_eq!(
        codes(&server, &ann).await,
        ["friend_request", "friend_accepted"]
    );
}

#[tokio::test]
async fn a_block_ends_asking_and_accepting() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (_, request) = ask(&server, &ann, &bob.id, None).await;
    let block = format!("/v1/blocks/{}", bob.id);
    let token = Some(ann.token.as_str());
    assert_eq!(server.call("PUT", &block, token, None).await.0, 204);
    let (status, refusal) = answer(&server, &bob, &id(&request), true).await;
    assert_eq!((status, refusal["code"].as_str()), (403, Some("blocked")));
    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        let (status, refusal) = ask(&server, one, &other.id, None).await;
        assert_eq!((status, refusal["code"].as_str()), (403, Some("blocked")));
    }
    assert_eq!(server.call("DELETE", &block, token, None).await.0, 204);
    assert_eq!(answer(&server, &bob, &id(&request), true).await.0, 200);
}

#[tokio::test]
async fn the_strategy_decides_who_may_ask_and_whether_friends_alone_may_write() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let configure = async |values: Value| {
        let body = Some(json!({"texts": values}));
        let path = "/plugins/direct-strategy/config";
        let (status, made) = server.admin("PATCH", path, body).await;
        assert_eq!(status, 200, "{made}");
    };
    configure(json!({"friend_requests": "nobody"})).await;
    let (status, refusal) = ask(&server, &ann, &bob.id, None).await;
    assert_eq!((status, refusal["code"].as_str()), (422, Some("rejected")));
    assert_eq!(refusal["reason"], "friend-requests-off");
    configure(json!({"friend_requests": "everyone", "strangers": "friends-only"})).await;
    let mut phone = server.session(&ann).await;
    let refused = phone.send_text(&bob.id, "1", "hello").await;
    assert_eq!(refused["err"]["reason"], "not-friends");
    befriend(&server, &ann, &bob).await;
    let sent = phone.send_text(&bob.id, "2", "hello").await;
    assert_eq!(sent["ok"]["seq"], 1, "{sent}");
    let path = format!("/v1/friends/{}", ann.id);
    let ended = server.call("DELETE", &path, Some(&bob.token), None).await;
    assert_eq!(ended.0, 204);
    let refused = phone.send_text(&bob.id, "3", "hello?").await;
    assert_eq!(refused["err"]["reason"], "not-friends");
}

#[tokio::test]
async fn the_text_of_a_request_passes_the_filters_and_is_never_held() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    for (word, level) in [("badger", "mask"), ("ferret", "hold"), ("weasel", "reject")] {
        let body = Some(json!({"words": [{"word": word, "level": level}]}));
        let (status, made) = server.admin("POST", "/words", body).await;
        assert_eq!(status, 200, "{made}");
    }
    for word in ["ferret", "weasel"] {
        let (status, refusal) = ask(&server, &ann, &bob.id, Some(word)).await;
        assert_eq!(
            (status, refusal["code"].as_str()),
            (422, Some("rejected")),
            "{word}"
        );
    }
    assert!(own_log(&server, &bob).await.is_empty());
    let (status, request) = ask(&server, &ann, &bob.id, Some("a badger")).await;
    assert_eq!((status, request["text"].as_str()), (201, Some("a ******")));
    let log = own_log(&server, &bob).await;
    assert_eq!(log[0]["args"]["text"], "a ******");
}

#[tokio::test]
async fn ending_a_friendship_is_told_to_both_and_starts_afresh() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    befriend(&server, &ann, &bob).await;
    let path = format!("/v1/friends/{}", bob.id);
    for _ in 0..2 {
        let ended = server.call("DELETE", &path, Some(&ann.token), None).await;
        assert_eq!(ended.0, 204);
    }
    let told = ["friend_request", "friend_accepted", "friend_removed"];
    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        assert_eq!(codes(&server, one).await, told, "once");
        let log = own_log(&server, one).await;
        assert_eq!(log[2]["args"], json!({"user": other.id}));
        let friends = get(&server, one, "/v1/friends").await;
        assert_eq!(friends["friends"], json!([]));
    }
    for unknown in ["1", "x"] {
        let path = format!("/v1/friends/{unknown}");
        let ended = server.call("DELETE", &path, Some(&ann.token), None).await;
        assert_eq!(ended.0, 404);
    }
    befriend(&server, &bob, &ann).await;
}

#[tokio::test]
async fn friends_and_requests_are_listed_by_pages() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let mut others = Vec::new();
    for _ in 0..5 {
        let other = server.user("other").await;
        ask(&server, &other, &ann.id, None).await;
        others.push(other);
    }
    let pages = async |path: &str, noun: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&server, &ann, &format!("{path}?limit=2{cursor}")).await;
            let rows = page[noun].as_array().expect("a list");
            assert!((1..=2).contains(&rows.len()));
            found.extend(rows.iter().map(id));
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    };
    let waiting = pages("/v1/friend-requests", "friend_requests").await;
    assert_eq!(waiting.len(), 5);
    for request in &waiting {
        assert_eq!(answer(&server, &ann, request, true).await.0, 200);
    }
    let friends = pages("/v1/friends", "friends").await;
    let mut expected: Vec<String> = others.iter().map(|other| other.id.clone()).collect();
    expected.sort_by_key(|id| id.parse::<u64>().expect("a number"));
    assert_eq!(friends, expected);
    for path in ["/v1/friends?cursor=x", "/v1/friend-requests?limit=0"] {
        let refused = server.call("GET", path, Some(&ann.token), None).await;
        assert_eq!(refused.0, 400, "{path}");
    }
}

#[tokio::test]
async fn waiting_requests_and_friends_are_bounded() {
    let server = TestServer::with(|config| {
        config.limits.friend_requests_waiting = 2;
        config.limits.friends = 1;
    })
    .await;
    let mut users = Vec::new();
    for _ in 0..4 {
        users.push(server.user("user").await);
    }
    let [ann, bob, cid, dan] = &users[..] else {
        panic!("four users");
    };
    let (_, to_bob) = ask(&server, ann, &bob.id, None).await;
    assert_eq!(ask(&server, ann, &cid.id, None).await.0, 201);
    let (status, refusal) = ask(&server, ann, &dan.id, None).await;
    assert_eq!(
        (status, refusal["code"].as_str()),
        (429, Some("rate_limited"))
    );
    assert!(refusal["retry_after_ms"].is_u64());
    // The full list is of those that wait: an answer makes room.
    assert_eq!(answer(&server, bob, &id(&to_bob), true).await.0, 200);
    let (status, refusal) = ask(&server, ann, &dan.id, None).await;
    assert_eq!(status, 201, "{refusal}");
    let (status, refusal) = answer(&server, dan, &id(&refusal), true).await;
    assert_eq!((status, refusal["code"].as_str()), (409, Some("conflict")));
}
