//! The routes of the administration but those of plugins, each by its name; `World::admin` sees to it that nobody else
//! is answered. No other routes.

use serde_json::{Value, json};

use super::{World, code, ok, said, text};
use crate::support::TestSocket;

#[tokio::test]
async fn get_admin_v1_users() {
    let world = World::bare().await;
    let route = format!("GET /users?query={}", world.bob.username);
    let found = world.admin(200, &route, None).await;
    let user = &found["users"][0];
    assert_eq!(
        (&user["id"], &user["disabled"]),
        (&json!(world.bob.id), &json!(false))
    );
    world.admin(400, "GET /users?limit=0", None).await;
}

#[tokio::test]
async fn post_admin_v1_users_user_disable() {
    let world = World::bare().await;
    // By name or by id.
    let route = format!("POST /users/{}/disable", world.bob.username);
    let done = world.admin(200, &route, None).await;
    assert_eq!(
        (&done["id"], &done["disabled"]),
        (&json!(world.bob.id), &json!(true))
    );
    world.no("banned", &world.bob, "GET /v1/me", None).await;
    world.admin(404, "POST /users/nobody/disable", None).await;
}

#[tokio::test]
async fn post_admin_v1_users_user_enable() {
    let world = World::bare().await;
    let route = |what: &str| format!("POST /users/{}/{what}", world.bob.id);
    world.admin(200, &route("disable"), None).await;
    let done = world.admin(200, &route("enable"), None).await;
    assert_eq!(done["disabled"], false);
    world
        .no("unauthenticated", &world.bob, "GET /v1/me", None)
        .await;
    world.server.sign_in(&world.bob.username, "phone").await;
    world.admin(404, "POST /users/nobody/enable", None).await;
}

#[tokio::test]
async fn post_admin_v1_tokens() {
    let world = World::bare().await;
    world.admin(400, "POST /tokens", json!({"name": ""})).await;
    let made = world
        .admin(201, "POST /tokens", json!({"name": "ops"}))
        .await;
    // The first lasting token ends the one it was made with.
    assert_eq!(world.server.admin("GET", "/nodes", None).await.0, 401);
    let request = world.server.http.get(world.server.admin_url("/nodes"));
    let answer = request.bearer_auth(text(&made["token"])).send().await;
    assert_eq!(answer.expect("an answer").status(), 200);
}

#[tokio::test]
async fn get_admin_v1_reports() {
    let world = World::bare().await;
    let report = json!({"user": world.bob.id, "reason": "rude", "text": "he knows why"});
    world.ok(201, &world.ann, "POST /v1/reports", report).await;
    let reports = world.admin(200, "GET /reports", None).await;
    let filed = &reports["reports"][0];
    assert_eq!(
        (&filed["reporter"], &filed["user"], &filed["reason"]),
        (&json!(world.ann.id), &json!(world.bob.id), &json!("rude"))
    );
    world.admin(400, "GET /reports?cursor=x", None).await;
}

#[tokio::test]
async fn get_admin_v1_conversations_conversation_entries_seq() {
    let world = World::with_plugins().await;
    let conversation = world.direct().await;
    let route = |seq: &str| format!("GET /conversations/{conversation}/entries/{seq}");
    let told = world.admin(200, &route("1"), None).await;
    assert_eq!(told["entry"]["content"], said("hello"));
    let hooks = told["decision"]["hooks"].as_array().expect("hooks");
    let plugins: Vec<_> = hooks.iter().map(|hook| text(&hook["plugin"])).collect();
    assert_eq!(plugins, ["direct-strategy", "word-filter"]);
    world.admin(404, &route("2"), None).await;
    world.admin(400, &route("x"), None).await;
}

#[tokio::test]
async fn get_admin_v1_nodes() {
    let world = World::bare().await;
    let nodes = world.admin(200, "GET /nodes", None).await;
    assert_eq!(nodes[0]["state"], "ready");
    assert!(nodes[0]["name"].is_string() && nodes[0]["generation"].is_u64());
    assert_eq!(
        (&nodes[0]["ready"], &nodes[0]["lag"]),
        (&nodes[0]["generation"], &json!(0))
    );
}

async fn verdict(world: &World, words: &str) -> Value {
    let tried = world.admin(200, "POST /words/test", json!({"text": words}));
    tried.await["verdict"].clone()
}

#[tokio::test]
async fn get_admin_v1_words() {
    let world = World::with_plugins().await;
    let none = world.admin(200, "GET /words", None).await;
    assert_eq!(none["count"], 0);
    world.words().await;
    let words = world.admin(200, "GET /words", None).await;
    assert_eq!(words["count"], 3);
    let words = words["words"].as_array().expect("words");
    assert!(words.contains(&json!({"word": "spam", "level": "reject"})));
}

#[tokio::test]
async fn post_admin_v1_words() {
    let world = World::with_plugins().await;
    world.words().await;
    assert_eq!(verdict(&world, "a badger").await, "mask");
    let wrong = json!({"words": [{"word": "x", "level": "frown"}]});
    world.admin(400, "POST /words", wrong).await;
}

#[tokio::test]
async fn post_admin_v1_words_remove() {
    let world = World::with_plugins().await;
    world.words().await;
    let badger = || json!({"words": ["badger"]});
    world.admin(200, "POST /words/remove", badger()).await;
    assert_eq!(verdict(&world, "a badger").await, "pass");
    world.admin(404, "POST /words/remove", badger()).await;
}

#[tokio::test]
async fn post_admin_v1_words_import() {
    let world = World::with_plugins().await;
    let import = |csv: &'static str, token: &'static str| {
        let request = world
            .server
            .http
            .post(world.server.admin_url("/words/import"));
        let request = request
            .bearer_auth(token)
            .header("content-type", "text/csv");
        request.body(csv).send()
    };
    let good = "word,level,category\nbadger,mask,animals\nspam,reject,\n";
    for (csv, token, status) in [
        (good, "none", 401),
        (
            "word,level,category\nbadger,frown,\n",
            crate::support::BOOTSTRAP,
            400,
        ),
        (good, crate::support::BOOTSTRAP, 200),
    ] {
        let answer = import(csv, token).await.expect("an answer");
        assert_eq!(answer.status(), status, "{csv}");
    }
    assert_eq!(verdict(&world, "spam").await, "reject");
}

#[tokio::test]
async fn post_admin_v1_words_test() {
    let world = World::with_plugins().await;
    world.words().await;
    let tried = world.admin(200, "POST /words/test", json!({"text": "a badger"}));
    let tried = tried.await;
    assert_eq!(
        (&tried["verdict"], &tried["text"]),
        (&json!("mask"), &json!("a ******"))
    );
    assert_eq!(tried["hits"][0]["start"], 2);
    world
        .admin(400, "POST /words/test", json!({"text": 1}))
        .await;
}

/// Ann's message that waits for a decision: its hold, and where its fate is told.
async fn held(world: &World) -> (String, TestSocket) {
    world.words().await;
    let mut socket = world.session(&world.ann).await;
    let held = socket.send_text(&world.bob.id, "1", "maybe so").await;
    (text(&ok(&held)["hold"]), socket)
}

#[tokio::test]
async fn get_admin_v1_held() {
    let world = World::with_plugins().await;
    let (hold, _) = held(&world).await;
    let waiting = world.admin(200, "GET /held", None).await;
    let row = &waiting["held"][0];
    assert_eq!(
        (&row["hold"], &row["from"], &row["by"]),
        (&json!(hold), &json!(world.ann.id), &json!("word-filter"))
    );
    world.admin(400, "GET /held?limit=0", None).await;
}

#[tokio::test]
async fn post_admin_v1_held_hold_release() {
    let world = World::with_plugins().await;
    let (hold, mut sender) = held(&world).await;
    let mut other = world.session(&world.bob).await;
    let route = format!("POST /held/{hold}/release");
    let released = world.admin(200, &route, None).await;
    assert_eq!(released["seq"], 1);
    for socket in [&mut sender, &mut other] {
        let told = socket.event("entry").await;
        assert_eq!(told["entry"]["content"], said("maybe so"));
    }
    world.admin(404, &route, None).await;
}

#[tokio::test]
async fn post_admin_v1_held_hold_refuse() {
    let world = World::with_plugins().await;
    let (hold, mut sender) = held(&world).await;
    let route = format!("POST /held/{hold}/refuse");
    let spaced = json!({"reason": "not a code"});
    world.admin(400, &route, spaced).await;
    let reason = || json!({"reason": "off-topic"});
    world.admin(200, &route, reason()).await;
    let told = sender.event("held").await;
    assert_eq!(
        (&told["state"], &told["reason"]),
        (&json!("refused"), &json!("off-topic"))
    );
    let resent = sender.send_text(&world.bob.id, "1", "maybe so").await;
    assert_eq!(code(&resent), "rejected");
    world.admin(404, &route, reason()).await;
}
