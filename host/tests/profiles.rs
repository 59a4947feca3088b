//! One's own account and others', by the public protocol: profiles, search, devices, passwords, reports;
//! each route for those it is for and for those it is not.

use serde_json::{Value, json};

use crate::support::{TestServer, TestSocket, TestUser};

fn id(value: &Value) -> String {
    value["id"].as_str().expect("an id").to_owned()
}

async fn get(server: &TestServer, user: &TestUser, path: &str) -> Value {
    let (status, body) = server.call("GET", path, Some(&user.token), None).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

#[tokio::test]
async fn a_changed_profile_reaches_those_one_talks_with() {
    let mut server = TestServer::bare().await;
    let (ann, bob, cid) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("cid").await,
    );
    let mut annas = server.session(&ann).await;
    annas.send_text(&bob.id, "1", "hello").await;
    annas.send_text(&cid.id, "1", "hello").await;
    let mut bobs = server.connect(None).await;
    bobs.hello(&bob.token, "phone").await;
    let mut cids = server.connect(None).await;
    let since = cids.hello(&cid.token, "phone").await["ok"]["since"].clone();
    drop(cids);
    let own = annas.request("conversations", json!({})).await;
    let own_since = {
        let mut again = server.connect(None).await;
        again.hello(&ann.token, "phone").await["ok"]["since"].clone()
    };
    assert_eq!(own["ok"]["conversations"].as_array().map(Vec::len), Some(2));

    let change = Some(json!({"display_name": "Anna"}));
    let (status, me) = server
        .call("PATCH", "/v1/me", Some(&ann.token), change)
        .await;
    assert_eq!((status, me["display_name"].as_str()), (200, Some("Anna")));
    let told = bobs.event("conversation").await["conversation"].clone();
    assert_eq!(told["title"], "Anna");
    assert_eq!(told["peer"]["display_name"], "Anna");

    // An absent one learns of it by sync, though the server has stopped in between.
    server.restart().await;
    let mut cids = server.session(&cid).await;
    let since = json!({"since": since});
    let synced = cids.request("sync", since).await["ok"].clone();
    assert_eq!(synced["changed"][0]["title"], "Anna", "{synced}");
    // One's own list shows nothing else than before.
    let mut annas = server.session(&ann).await;
    let synced = annas.request("sync", json!({"since": own_since})).await;
    assert_eq!(synced["ok"]["changed"], json!([]));
}

#[tokio::test]
async fn a_profile_that_stays_as_it_was_is_told_to_nobody() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut annas = server.session(&ann).await;
    annas.send_text(&bob.id, "1", "hello").await;
    let mut bobs = server.session(&bob).await;
    for name in ["ann", "ann", "Anna"] {
        let change = Some(json!({"display_name": name, "avatar": null}));
        let (status, me) = server
            .call("PATCH", "/v1/me", Some(&ann.token), change)
            .await;
        assert_eq!((status, me.get("avatar")), (200, None));
    }
    // The first event is of the only change.
    let told = bobs.event("conversation").await["conversation"].clone();
    assert_eq!(told["title"], "Anna");
    let wrong = Some(json!({"avatar": "no-such-media"}));
    let refused = server.call("PATCH", "/v1/me", Some(&ann.token), wrong);
    assert_eq!(refused.await.0, 404);
    for wrong in [
        json!({"display_name": ""}),
        json!({"display_name": "x".repeat(65)}),
    ] {
        let refused = server.call("PATCH", "/v1/me", Some(&ann.token), Some(wrong));
        assert_eq!(refused.await.0, 400);
    }
}

#[tokio::test]
async fn users_are_found_by_name_in_any_case_and_width() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("annabel").await, server.user("bob").await);
    let change = Some(json!({"display_name": "Ａｎｎ 王小明_100%"}));
    server
        .call("PATCH", "/v1/me", Some(&ann.token), change)
        .await;
    let found = async |query: &str| -> Vec<String> {
        let request = server.http.get(server.url("/v1/users"));
        let request = request.query(&[("query", query)]).bearer_auth(&bob.token);
        let body: Value = request
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        let users = body["users"].as_array().expect("users").clone();
        users.iter().map(id).collect()
    };
    for query in [
        "annabel",
        "ANNABEL",
        "ａｎｎａｂｅｌ",
        "ann",
        "ANN 王",
        "小",
        "小明",
        "王小明",
        "%",
        "_100",
    ] {
        assert_eq!(found(query).await, [ann.id.as_str()], "{query}");
    }
    for query in ["nnabel", "明小", "an_", "王%明"] {
        assert!(found(query).await.is_empty(), "{query}");
    }
    let long = format!("/v1/users?query={}", "x".repeat(65));
    let refused = server.call("GET", &long, Some(&bob.token), None).await;
    assert_eq!(refused.0, 400);
}

async fn devices(server: &TestServer, user: &TestUser) -> Vec<Value> {
    let list = get(server, user, "/v1/me/devices").await;
    list["devices"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn signing_a_device_out_from_another_ends_what_lives_of_it() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let laptop = server.sign_in(&ann.username, "laptop").await;
    let token = laptop["access_token"].as_str().expect("a token");
    let mut socket = server.connect(None).await;
    let device = json!({"id": "laptop", "kind": "desktop", "name": "Ann's laptop"});
    let hello = json!({"token": token, "device": device});
    assert!(socket.request("hello", hello).await["ok"].is_object());
    let listed = devices(&server, &ann).await;
    let names: Vec<_> = listed.iter().map(|device| &device["id"]).collect();
    assert_eq!(names, ["laptop", "phone"]);
    assert_eq!(listed[0]["name"], "Ann's laptop");
    assert_eq!(
        (&listed[0]["online"], &listed[0]["current"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        (&listed[1]["online"], &listed[1]["current"]),
        (&json!(false), &json!(true))
    );
    assert!(listed[0]["seen_at"].as_u64() >= listed[0]["created_at"].as_u64());

    let path = "/v1/me/devices/laptop";
    let foreign = server.call("DELETE", path, Some(&bob.token), None).await;
    assert_eq!(foreign.0, 404, "another's device is nobody else's business");
    let ended = server.call("DELETE", path, Some(&ann.token), None).await;
    assert_eq!(ended.0, 204);
    let (bye, _) = socket.end().await;
    assert_eq!(bye.as_deref(), Some("unauthenticated"));
    assert_eq!(server.call("GET", "/v1/me", Some(token), None).await.0, 401);
    let refresh = laptop["refresh_token"].as_str().expect("a token");
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    assert_eq!(server.token_call(&form).await.1["error"], "invalid_grant");
    assert_eq!(devices(&server, &ann).await.len(), 1);
    let again = server.call("DELETE", path, Some(&ann.token), None).await;
    assert_eq!(again.0, 404);
}

#[tokio::test]
async fn a_new_password_ends_every_other_device() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let laptop = server.sign_in(&ann.username, "laptop").await;
    let token = laptop["access_token"].as_str().expect("a token");
    let (mut phone, mut other) = (
        server.session(&ann).await,
        server.session_of(token, "laptop").await,
    );
    let change = async |current: &str, new: &str| {
        let body = Some(json!({"current": current, "new": new}));
        let token = Some(ann.token.as_str());
        server.call("PUT", "/v1/me/password", token, body).await
    };
    let (status, refusal) = change("wrong", "password-2").await;
    assert_eq!((status, refusal["code"].as_str()), (403, Some("forbidden")));
    assert_eq!(change("password-1", "short").await.0, 400);
    assert_eq!(change("password-1", "password-2").await.0, 204);
    assert_eq!(other.end().await.0.as_deref(), Some("unauthenticated"));
    assert!(phone.request("ping", json!({})).await["ok"]["now"].is_u64());
    assert_eq!(server.call("GET", "/v1/me", Some(token), None).await.0, 401);
    let refresh = laptop["refresh_token"].as_str().expect("a token");
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    assert_eq!(server.token_call(&form).await.0, 400);
    for (password, status) in [("password-1", 400), ("password-2", 200)] {
        let form = [
            ("grant_type", "password"),
            ("username", ann.username.as_str()),
            ("password", password),
            ("device_id", "tablet"),
            ("device_kind", "ios"),
        ];
        assert_eq!(server.token_call(&form).await.0, status, "{password}");
    }
}

async fn hello_as(server: &TestServer, user: &TestUser, device: &str, kind: &str) -> TestSocket {
    let tokens = server.sign_in(&user.username, device).await;
    let mut socket = server.connect(None).await;
    let device = json!({"id": device, "kind": kind, "name": device});
    let hello = json!({"token": tokens["access_token"], "device": device});
    let reply = socket.request("hello", hello).await;
    assert!(reply["ok"].is_object(), "{reply}");
    socket
}

#[tokio::test]
async fn of_too_many_devices_of_a_kind_one_is_replaced_and_stays_signed_in() {
    let server = TestServer::with(|config| config.devices.per_kind = 2).await;
    let ann = server.user("ann").await;
    let mut first = hello_as(&server, &ann, "one", "web").await;
    let mut second = hello_as(&server, &ann, "two", "web").await;
    let mut tablet = hello_as(&server, &ann, "tablet", "ios").await;
    let mut third = hello_as(&server, &ann, "three", "web").await;
    let gone = tokio::select! {
        (bye, _) = first.end() => bye,
        (bye, _) = second.end() => bye,
    };
    assert_eq!(gone.as_deref(), Some("replaced"));
    for alive in [&mut tablet, &mut third] {
        assert!(alive.request("ping", json!({})).await["ok"].is_object());
    }
    let online = devices(&server, &ann).await;
    let online = online.iter().filter(|device| device["online"] == true);
    assert_eq!(online.count(), 3);
}

#[tokio::test]
async fn reports_reach_the_administrators() {
    let server = TestServer::bare().await;
    let (ann, bob, cid) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("cid").await,
    );
    let mut phone = server.session(&bob).await;
    let sent = phone.send_text(&ann.id, "1", "nonsense").await["ok"].clone();
    let entry =
        json!({"conversation": sent["conversation"], "seq": 1, "reason": "spam", "text": "again"});
    let file = async |user: &TestUser, body: Value| {
        let token = Some(user.token.as_str());
        server.call("POST", "/v1/reports", token, Some(body)).await
    };
    let (status, first) = file(&ann, entry.clone()).await;
    assert_eq!((status, first["id"].is_string()), (201, true), "{first}");
    let (status, second) = file(&cid, json!({"user": bob.id, "reason": "abuse"})).await;
    assert_eq!(status, 201, "{second}");

    let (foreign, _) = file(&cid, entry.clone()).await;
    assert_eq!(foreign, 404, "one reports only what one may see");
    for (wrong, status) in [
        (
            json!({"conversation": sent["conversation"], "seq": 2, "reason": "spam"}),
            404,
        ),
        (
            json!({"conversation": sent["conversation"], "seq": 0, "reason": "spam"}),
            404,
        ),
        (json!({"user": "1", "reason": "spam"}), 404),
        (json!({"seq": 1, "reason": "spam"}), 400),
        (json!({"reason": "spam"}), 400),
        (json!({"user": bob.id}), 400),
        (json!({"user": bob.id, "reason": ""}), 400),
        (json!({"user": bob.id, "reason": "x".repeat(65)}), 400),
        (
            json!({"user": bob.id, "reason": "spam", "text": "x".repeat(2001)}),
            413,
        ),
    ] {
        assert_eq!(file(&ann, wrong.clone()).await.0, status, "{wrong}");
    }

    let (status, newest) = server.admin("GET", "/reports?limit=1", None).await;
    assert_eq!((status, &newest["reports"][0]["id"]), (200, &second["id"]));
    assert_eq!(newest["reports"][0]["reporter"], cid.id);
    assert_eq!(newest["reports"][0]["user"], bob.id);
    let cursor = newest["cursor"].as_str().expect("more");
    let path = format!("/reports?limit=1&cursor={cursor}");
    let (_, older) = server.admin("GET", &path, None).await;
    let report = &older["reports"][0];
    assert_eq!((&report["id"], older.get("cursor")), (&first["id"], None));
    assert_eq!(report["conversation"], sent["conversation"]);
    assert_eq!(
        (&report["seq"], &report["reason"]),
        (&json!(1), &json!("spam"))
    );
    assert_eq!(
        (&report["user"], &report["text"]),
        (&json!(bob.id), &json!("again"))
    );
    assert_eq!(server.admin("GET", "/reports?cursor=x", None).await.0, 400);
}

#[tokio::test]
async fn of_too_many_signed_in_devices_the_one_longest_unseen_is_signed_out() {
    let server = TestServer::with(|config| config.devices.signed_in = 2).await;
    let ann = server.user("ann").await;
    let mut phone = server.session(&ann).await;
    let second = server.sign_in(&ann.username, "second").await;
    let token = second["access_token"].as_str().expect("a token");
    let third = server.sign_in(&ann.username, "third").await;
    assert_eq!(phone.end().await.0.as_deref(), Some("unauthenticated"));
    for (token, status) in [
        (Some(ann.token.as_str()), 401),
        (Some(token), 200),
        (third["access_token"].as_str(), 200),
    ] {
        assert_eq!(server.call("GET", "/v1/me", token, None).await.0, status);
    }
    // Signing in again on a device takes no other's place.
    server.sign_in(&ann.username, "third").await;
    assert_eq!(server.call("GET", "/v1/me", Some(token), None).await.0, 200);
}
