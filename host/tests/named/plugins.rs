//! The administration's routes of plugins, each by its name; `World::admin` sees to it that nobody else is answered.
//! No other routes.

use serde_json::{Value, json};

use super::{World, text};
use crate::support::{BOOTSTRAP, TestServer, plugins_folder};
use crate::swap;

/// What the registry says of the word filter.
async fn filter(world: &World) -> Value {
    let list = world.admin(200, "GET /plugins", None).await;
    let rows = list["plugins"].as_array().expect("plugins");
    let found = rows.iter().find(|row| row["name"] == "word-filter");
    found.expect("the word filter").clone()
}

#[tokio::test]
async fn get_admin_v1_plugins() {
    let world = World::with_plugins().await;
    let row = filter(&world).await;
    assert_eq!(
        (&row["state"], &row["hooks"]),
        (&json!("active"), &json!(["content-filter"]))
    );
}

#[tokio::test]
async fn post_admin_v1_plugins() {
    let server = TestServer::bare().await;
    let file = plugins_folder().join("direct-strategy.wasm");
    let component = std::fs::read(file).expect("the plugin");
    let (status, pushed) = server.push(component).await;
    assert_eq!(
        (status, pushed["name"].as_str()),
        (201, Some("direct-strategy")),
        "{pushed}"
    );
    assert!(text(&pushed["digest"]).starts_with("sha256:"), "{pushed}");
    let (status, refused) = server.push(b"\0asm and no more".to_vec()).await;
    assert_eq!(
        (status, refused["code"].as_str()),
        (400, Some("bad_request"))
    );
    let request = server.http.post(server.admin_url("/plugins")).body("x");
    assert_eq!(request.send().await.expect("an answer").status(), 401);
}

#[tokio::test]
async fn get_admin_v1_plugins_name_versions_version() {
    let world = World::with_plugins().await;
    let version = text(&filter(&world).await["version"]);
    let route = |version: &str| format!("GET /plugins/word-filter/versions/{version}");
    let shown = world.admin(200, &route(&version), None).await;
    assert_eq!(shown["version"], version.as_str());
    assert_eq!(shown["name"], "word-filter");
    world.admin(404, &route("9.9.9"), None).await;
}

#[tokio::test]
async fn get_admin_v1_plugins_name_logs() {
    let world = World::with_plugins().await;
    world.admin(404, "GET /plugins/none/logs", None).await;
    let before = world
        .admin(200, "GET /plugins/word-filter/logs", None)
        .await;
    let all = before["lines"].as_array().expect("lines");
    assert!(!all.is_empty(), "{before}");
    // Configured anew, it tells how many forms it looks for; who waits for that is answered then.
    let next = before["next"].as_u64().expect("a number");
    let path = format!("/plugins/word-filter/logs?after={next}&wait_s=20");
    let follower = world.server.admin("GET", &path, None);
    let ((status, page), ()) = tokio::join!(follower, world.words());
    assert_eq!(status, 200, "{page}");
    let line = &page["lines"][0];
    let told = (&line["level"], &page["missed"]);
    assert_eq!(told, (&json!("info"), &json!(false)), "{page}");
    assert!(page["next"].as_u64() > Some(next), "{page}");
}

#[tokio::test]
async fn get_admin_v1_plugins_name_versions_version_component() {
    let world = World::with_plugins().await;
    let digest = text(&filter(&world).await["digest"]);
    let path = |version: &str| format!("/plugins/word-filter/versions/{version}/component");
    let url = world.server.admin_url(&path(&digest));
    let ask = |token: String| world.server.http.get(&url).bearer_auth(token).send();
    for token in ["none", &world.ann.token] {
        let answer = ask(token.to_owned()).await.expect("an answer");
        assert_eq!(answer.status(), 401);
    }
    let answer = ask(BOOTSTRAP.to_owned()).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/wasm");
    let file = plugins_folder().join("word-filter.wasm");
    let component = std::fs::read(file).expect("the plugin");
    assert!(
        answer.bytes().await.expect("a file") == component,
        "the file as it was pushed"
    );
    let none = format!("GET {}", path("9.9.9"));
    world.admin(404, &none, None).await;
}

#[tokio::test]
async fn post_admin_v1_plugins_prune() {
    let world = World::on(TestServer::bare().await).await;
    let file = plugins_folder().join("direct-strategy.wasm");
    let component = std::fs::read(file).expect("the plugin");
    let (_, pushed) = world.server.push(component).await;
    let route = "POST /plugins/prune";
    for (body, removed) in [
        (json!({"keep": 1}), 0),
        (json!({"dry_run": true}), 1),
        (json!({}), 1),
        (json!({}), 0),
    ] {
        let pruned = world.admin(200, route, body.clone()).await;
        let rows = pruned["removed"].as_array().expect("versions");
        assert_eq!(rows.len(), removed, "{body}: {pruned}");
        let all = rows.iter().all(|row| row["digest"] == pushed["digest"]);
        assert!(all, "{pruned}");
    }
    for wrong in [json!({"keep": -1}), json!({"kept": 1})] {
        world.admin(400, route, wrong).await;
    }
}

#[tokio::test]
async fn post_admin_v1_plugins_name_activate() {
    let world = World::with_plugins().await;
    let version = filter(&world).await["version"].clone();
    let route = "POST /plugins/word-filter/activate";
    let done = world.admin(200, route, json!({"version": version})).await;
    assert_eq!(
        (&done["state"], &done["version"]),
        (&json!("active"), &version)
    );
    world.admin(404, route, json!({"version": "9.9.9"})).await;
    world.admin(400, route, json!({"version": 9})).await;
}

#[tokio::test]
async fn post_admin_v1_plugins_name_rollback() {
    let world = World::on(swap::server().await).await;
    for kind in ["good", "other"] {
        swap::activate(&world.server, kind).await;
    }
    let route = "POST /plugins/wayward/rollback";
    let done = world.admin(200, route, json!({})).await;
    assert_eq!(done["version"], "1.0.0-good");
    world
        .admin(404, "POST /plugins/none/rollback", json!({}))
        .await;
}

#[tokio::test]
async fn post_admin_v1_plugins_name_disable() {
    let world = World::with_plugins().await;
    world.words().await;
    let route = "POST /plugins/word-filter/disable";
    world.admin(200, route, json!({})).await;
    let mut socket = world.session(&world.ann).await;
    super::ok(&socket.send_text(&world.bob.id, "1", "spam").await);
    world
        .admin(404, "POST /plugins/none/disable", json!({}))
        .await;
}

#[tokio::test]
async fn post_admin_v1_plugins_name_enable() {
    let world = World::with_plugins().await;
    world.words().await;
    for what in ["disable", "enable"] {
        let route = format!("POST /plugins/word-filter/{what}");
        world.admin(200, &route, json!({})).await;
    }
    let mut socket = world.session(&world.ann).await;
    let refused = socket.send_text(&world.bob.id, "1", "spam").await;
    assert_eq!(super::code(&refused), "rejected");
    world
        .admin(404, "POST /plugins/none/enable", json!({}))
        .await;
}

#[tokio::test]
async fn patch_admin_v1_plugins_name_bindings_hook() {
    let world = World::with_plugins().await;
    world.words().await;
    let route = "PATCH /plugins/word-filter/bindings/content-filter";
    world.admin(200, route, json!({"scope": "group"})).await;
    let mut socket = world.session(&world.ann).await;
    super::ok(&socket.send_text(&world.bob.id, "1", "spam").await);
    world.admin(400, route, json!({"scope": "moon"})).await;
    let none = "PATCH /plugins/none/bindings/content-filter";
    world.admin(404, none, json!({"scope": "all"})).await;
}

const CONFIG: &str = "/plugins/direct-strategy/config";

async fn window(world: &World) -> Value {
    let shown = world.admin(200, &format!("GET {CONFIG}"), None).await;
    shown["values"]["edit_window_s"].clone()
}

#[tokio::test]
async fn get_admin_v1_plugins_name_config() {
    let world = World::with_plugins().await;
    assert!(window(&world).await.is_u64(), "defaults are filled in");
    world.admin(404, "GET /plugins/none/config", None).await;
}

#[tokio::test]
async fn put_admin_v1_plugins_name_config() {
    let world = World::with_plugins().await;
    let route = format!("PUT {CONFIG}");
    let values = json!({"values": {"edit_window_s": 7}});
    world.admin(200, &route, values).await;
    assert_eq!(window(&world).await, 7);
    let unknown = json!({"values": {"moon": 1}});
    world.admin(400, &route, unknown).await;
}

#[tokio::test]
async fn patch_admin_v1_plugins_name_config() {
    let world = World::with_plugins().await;
    let route = format!("PATCH {CONFIG}");
    let texts = json!({"texts": {"edit_window_s": "7"}});
    world.admin(200, &route, texts).await;
    assert_eq!(window(&world).await, 7);
    let wrong = json!({"texts": {"edit_window_s": "soon"}});
    world.admin(400, &route, wrong).await;
}

#[tokio::test]
async fn post_admin_v1_plugins_name_config_rollback() {
    let world = World::with_plugins().await;
    for seconds in ["7", "9"] {
        let texts = json!({"texts": {"edit_window_s": seconds}});
        world.admin(200, &format!("PATCH {CONFIG}"), texts).await;
    }
    let route = format!("POST {CONFIG}/rollback");
    world.admin(200, &route, json!({})).await;
    assert_eq!(window(&world).await, 7);
    // The defaults were before the first change, and nothing before them.
    world.admin(200, &route, json!({})).await;
    world.admin(409, &route, json!({})).await;
    let none = "POST /plugins/none/config/rollback";
    world.admin(404, none, json!({})).await;
}

#[tokio::test]
async fn post_admin_v1_plugins_name_grants() {
    let world = World::with_plugins().await;
    let route = "POST /plugins/direct-strategy/grants";
    let change = json!({"grants": "http:host=example.org,random"});
    let done = world.admin(200, route, change).await;
    assert_eq!(done["grants"], "http:host=example.org,random");
    assert_eq!(done["wanted"], json!([]));
    let done = world.admin(200, route, json!({"revoke": ["random"]})).await;
    assert_eq!(done["grants"], "http:host=example.org");
    world.admin(400, route, json!({"grants": "moon"})).await;
    world.admin(404, route, json!({"revoke": ["kv"]})).await;
    world
        .admin(404, "POST /plugins/none/grants", json!({}))
        .await;
}

#[tokio::test]
async fn get_admin_v1_plugins_name_consumers() {
    let world = World::with_plugins().await;
    let route = "GET /plugins/direct-strategy/consumers";
    let shown = world.admin(200, route, None).await;
    assert_eq!(
        (&shown["consumers"], &shown["metrics"]),
        (&json!([]), &json!({}))
    );
    let values = json!({"bytes": 0, "quota": 1_048_576, "refused": 0});
    assert_eq!(shown["values"], values);
    world.admin(404, "GET /plugins/none/consumers", None).await;
}

#[tokio::test]
async fn get_admin_v1_consumers() {
    let world = World::with_plugins().await;
    let shown = world.admin(200, "GET /consumers", None).await;
    // None of these plugins follows the commits.
    assert_eq!(shown, json!({"consumers": []}));
}
