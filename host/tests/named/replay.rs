//! The administration's routes of replays, each by its name; `World::admin` sees to it that nobody else is answered.
//! No other routes.

use serde_json::json;

use super::{World, text};
use crate::replay::{ended, serving};
use crate::rollout::told;

async fn begun(world: &World) -> String {
    let version = serving(&world.server, "direct-strategy").await;
    let body = json!({"version": version, "last": 10});
    let route = "POST /plugins/direct-strategy/replays";
    text(&world.admin(201, route, body).await["id"])
}

#[tokio::test]
async fn post_admin_v1_plugins_name_replays() {
    let world = World::with_plugins().await;
    world.direct().await;
    let report = ended(&world.server, &begun(&world).await).await;
    assert_eq!(
        (&report["replayed"], &report["differ"]),
        (&json!(1), &json!([]))
    );
    let route = "POST /plugins/direct-strategy/replays";
    world.admin(404, route, json!({"version": "9.9.9"})).await;
    let none = "POST /plugins/none/replays";
    world.admin(404, none, json!({"version": "1.0.0"})).await;
    let version = serving(&world.server, "direct-strategy").await;
    let wrong = json!({"version": version, "last": 0});
    world.admin(400, route, wrong).await;
}

#[tokio::test]
async fn get_admin_v1_replays_id() {
    let world = World::with_plugins().await;
    let id = begun(&world).await;
    let report = world.admin(200, &format!("GET /replays/{id}"), None).await;
    assert_eq!(report["plugin"], "direct-strategy");
    for none in ["99", "moon"] {
        world
            .admin(404, &format!("GET /replays/{none}"), None)
            .await;
    }
}

#[tokio::test]
async fn delete_admin_v1_replays_id() {
    let world = World::with_plugins().await;
    let id = begun(&world).await;
    let done = ended(&world.server, &id).await;
    // What has ended stays as it is.
    let report = world
        .admin(200, &format!("DELETE /replays/{id}"), None)
        .await;
    assert_eq!(report, done);
    for action in ["plugin.replay", "plugin.replay.cancel"] {
        let line = told(&world.server, action).await;
        let told = (&line["subject"], &line["detail"]["replay"]);
        assert_eq!(told, (&json!("direct-strategy"), &json!(id)), "{line}");
        assert_eq!(line["detail"]["digest"], report["digest"], "{line}");
    }
    world.admin(404, "DELETE /replays/99", None).await;
}

#[tokio::test]
async fn get_admin_v1_replay_files() {
    let world = World::bare().await;
    let listed = world.admin(200, "GET /replay-files", None).await;
    assert_eq!(listed, json!({"files": []}));
}

#[tokio::test]
async fn get_admin_v1_replay_files_id() {
    let world = World::bare().await;
    for none in ["1-1", "..%2Faccounts", "moon"] {
        world
            .admin(404, &format!("GET /replay-files/{none}"), None)
            .await;
    }
}

#[tokio::test]
async fn delete_admin_v1_replay_files_id() {
    let world = World::bare().await;
    for none in ["1-1", "..%2Faccounts"] {
        world
            .admin(404, &format!("DELETE /replay-files/{none}"), None)
            .await;
    }
}
