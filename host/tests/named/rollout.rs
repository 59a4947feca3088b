//! The administration's routes of trying versions and of the audit log, each by its name; `World::admin` sees to it that
//! nobody else is answered. No other routes.

use serde_json::json;

use super::{World, text};
use crate::support::BOOTSTRAP;
use crate::swap;

/// A server where `good` serves.
async fn world() -> World {
    let world = World::on(swap::server().await).await;
    swap::activate(&world.server, "good").await;
    world
}

#[tokio::test]
async fn post_admin_v1_plugins_name_shadow() {
    let world = world().await;
    let route = "POST /plugins/wayward/shadow";
    let wish = json!({"version": "1.0.0-other"});
    let done = world.admin(200, route, wish).await;
    assert_eq!(
        (&done["state"], &done["version"]),
        (&json!("shadow"), &json!("1.0.0-other"))
    );
    world.admin(404, route, json!({"version": "9.9.9"})).await;
    world
        .admin(409, route, json!({"version": "1.0.0-good"}))
        .await;
    world.admin(400, route, json!({"version": 9})).await;
}

#[tokio::test]
async fn post_admin_v1_plugins_name_canary() {
    let world = world().await;
    let route = "POST /plugins/wayward/canary";
    let wish = |version: &str, percent: u64| json!({"version": version, "percent": percent});
    let done = world.admin(200, route, wish("1.0.0-other", 5)).await;
    assert_eq!(
        (&done["state"], &done["percent"]),
        (&json!("canary"), &json!(5))
    );
    world.admin(400, route, wish("1.0.0-other", 0)).await;
    world.admin(404, route, wish("9.9.9", 5)).await;
    world.admin(409, route, wish("1.0.0-good", 5)).await;
}

#[tokio::test]
async fn get_admin_v1_plugins_name_rollout() {
    let world = world().await;
    let shown = world.admin(200, "GET /plugins/wayward/rollout", None).await;
    assert_eq!(shown["serves"]["version"], "1.0.0-good");
    assert!(shown["canary"].is_null() && shown["shadow"].is_null());
    world.admin(404, "GET /plugins/none/rollout", None).await;
}

#[tokio::test]
async fn get_admin_v1_audit() {
    let world = world().await;
    let page = world.admin(200, "GET /audit?limit=1", None).await;
    let line = &page["lines"][0];
    assert_eq!(
        (&line["action"], &line["actor"], &line["to"]),
        (
            &json!("plugin.activate"),
            &json!("bootstrap"),
            &json!("1.0.0-good")
        )
    );
    let other = world.admin(200, "GET /audit?prefix=ban.", None).await;
    assert_eq!(other["lines"], json!([]));
    world.admin(400, "GET /audit?limit=many", None).await;
}

#[tokio::test]
async fn get_admin_v1_events() {
    let world = world().await;
    let url = world.server.admin_url("/events?after=0");
    let ask = |token: String| world.server.http.get(&url).bearer_auth(token).send();
    for token in ["none", &world.ann.token] {
        let answer = ask(token.to_owned()).await.expect("an answer");
        assert_eq!(answer.status(), 401);
    }
    let mut answer = ask(BOOTSTRAP.to_owned()).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let chunk = answer.chunk().await.expect("bytes").expect("an event");
    let event = String::from_utf8_lossy(&chunk).into_owned();
    assert!(event.contains("event: plugin."), "{event}");
    let kind = answer.headers()["content-type"].to_str().expect("text");
    assert_eq!(text(&json!(kind)), "text/event-stream");
}
