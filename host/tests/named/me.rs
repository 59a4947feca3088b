//! The routes of one's own account, of what one has held and of reports, each by its name.
//! No other routes.

use serde_json::json;

use super::{World, ok, said, text};

#[tokio::test]
async fn get_v1_me() {
    let world = World::bare().await;
    world.asks_for_a_token("GET /v1/me").await;
    let me = world.ok(200, &world.ann, "GET /v1/me", None).await;
    assert_eq!(me["id"], world.ann.id.as_str());
    assert_eq!(me["username"], world.ann.username.as_str());
}

#[tokio::test]
async fn patch_v1_me() {
    let world = World::bare().await;
    world.asks_for_a_token("PATCH /v1/me").await;
    let changed = json!({"display_name": "Ann A."});
    let changed = world.ok(200, &world.ann, "PATCH /v1/me", changed).await;
    assert_eq!(changed["display_name"], "Ann A.");
    let seen = format!("GET /v1/users/{}", world.ann.id);
    let seen = world.ok(200, &world.bob, &seen, None).await;
    assert_eq!(seen["display_name"], "Ann A.");
    let empty = json!({"display_name": ""});
    world
        .no("bad_request", &world.ann, "PATCH /v1/me", empty)
        .await;
}

#[tokio::test]
async fn put_v1_me_password() {
    let world = World::bare().await;
    let route = "PUT /v1/me/password";
    world.asks_for_a_token(route).await;
    let wrong = json!({"current": "not mine", "new": "password-2"});
    world.no("forbidden", &world.ann, route, wrong).await;
    let other = world.server.sign_in(&world.ann.username, "laptop").await;
    let right = json!({"current": "password-1", "new": "password-2"});
    world.ok(204, &world.ann, route, right).await;
    world.ok(200, &world.ann, "GET /v1/me", None).await;
    let other = text(&other["access_token"]);
    let (status, _) = world.server.call("GET", "/v1/me", Some(&other), None).await;
    assert_eq!(status, 401, "other devices are signed out");
}

#[tokio::test]
async fn get_v1_me_devices() {
    let world = World::bare().await;
    world.asks_for_a_token("GET /v1/me/devices").await;
    let _online = world.session(&world.ann).await;
    let devices = world.ok(200, &world.ann, "GET /v1/me/devices", None).await;
    let device = &devices["devices"][0];
    assert_eq!(
        (&device["id"], &device["kind"]),
        (&json!("phone"), &json!("web"))
    );
    assert_eq!(
        (&device["online"], &device["current"]),
        (&json!(true), &json!(true))
    );
}

#[tokio::test]
async fn delete_v1_me_devices_id() {
    let world = World::bare().await;
    world.server.sign_in(&world.ann.username, "laptop").await;
    let route = "DELETE /v1/me/devices/laptop";
    world.asks_for_a_token(route).await;
    world.no("not_found", &world.bob, route, None).await;
    world.ok(204, &world.ann, route, None).await;
    let left = world.ok(200, &world.ann, "GET /v1/me/devices", None).await;
    assert_eq!(left["devices"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn get_v1_held() {
    let world = World::with_plugins().await;
    world.asks_for_a_token("GET /v1/held").await;
    world.words().await;
    let mut socket = world.session(&world.ann).await;
    let held = socket.send_text(&world.bob.id, "1", "maybe so").await;
    assert_eq!(ok(&held)["state"], "held");
    let own = world.ok(200, &world.ann, "GET /v1/held", None).await;
    let row = &own["held"][0];
    assert_eq!(row["hold"], held["ok"]["hold"]);
    assert_eq!(
        (&row["content"], &row["state"]),
        (&said("maybe so"), &json!("held"))
    );
    let others = world.ok(200, &world.bob, "GET /v1/held", None).await;
    assert_eq!(others, json!({"held": []}));
}

#[tokio::test]
async fn post_v1_reports() {
    let world = World::bare().await;
    world.asks_for_a_token("POST /v1/reports").await;
    let conversation = world.direct().await;
    let report = json!({"conversation": conversation, "seq": 1, "reason": "rude"});
    let filed = world.ok(201, &world.bob, "POST /v1/reports", report.clone());
    assert!(filed.await["id"].is_string());
    let stranger = world.no("not_found", &world.cat, "POST /v1/reports", report);
    stranger.await;
}
