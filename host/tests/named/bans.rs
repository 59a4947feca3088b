//! The administration's routes of bans, labels and notices, each by its name; `World::admin` sees to it that nobody else
//! is answered. What bans do is in `moderation.rs`.

use serde_json::{Value, json};

use super::{World, text};

async fn bans(world: &World) -> Vec<Value> {
    let list = world.admin(200, "GET /bans", None).await;
    list["bans"].as_array().expect("bans").clone()
}

#[tokio::test]
async fn get_admin_v1_bans() {
    let world = World::bare().await;
    assert!(bans(&world).await.is_empty());
    let wish = json!({"kind": "device", "subject": "burned", "reason": "stolen"});
    let made = world.admin(201, "POST /bans", wish).await;
    assert_eq!(bans(&world).await, [made]);
}

#[tokio::test]
async fn post_admin_v1_bans() {
    let world = World::bare().await;
    let route = "POST /bans";
    let wish =
        json!({"kind": "user", "subject": world.ann.username, "seconds": 60, "reason": "spam"});
    let made = world.admin(201, route, wish).await;
    assert_eq!(
        (&made["kind"], &made["subject"], &made["by"]),
        (&json!("user"), &json!(world.ann.id), &json!("bootstrap"))
    );
    let lasts = made["until"].as_u64().expect("an end") - made["at"].as_u64().expect("a time");
    assert_eq!(lasts, 60_000);
    // A second one of its kind takes its place.
    let wish = json!({"kind": "user", "subject": world.ann.id});
    let again = world.admin(201, route, wish).await;
    assert_eq!(again["id"], made["id"]);
    assert!(again["until"].is_null());
    assert_eq!(bans(&world).await, [again]);
    for (status, wrong) in [
        (400, json!({"kind": "moon", "subject": "x"})),
        (400, json!({"kind": "address", "subject": "nowhere"})),
        (400, json!({"kind": "device", "subject": ""})),
        (400, json!({"kind": "device", "subject": "x", "seconds": 0})),
        (
            400,
            json!({"kind": "device", "subject": "x", "reason": "y".repeat(501)}),
        ),
        (404, json!({"kind": "user", "subject": "nobody-at-all"})),
    ] {
        world.admin(status, route, wrong).await;
    }
}

#[tokio::test]
async fn delete_admin_v1_bans_id() {
    let world = World::bare().await;
    let wish = json!({"kind": "address", "subject": "::ffff:192.0.2.1"});
    let made = world.admin(201, "POST /bans", wish).await;
    assert_eq!(made["subject"], "192.0.2.1");
    let route = format!("DELETE /bans/{}", text(&made["id"]));
    world.admin(204, &route, None).await;
    assert!(bans(&world).await.is_empty());
    world.admin(404, &route, None).await;
    world.admin(404, "DELETE /bans/none", None).await;
}

async fn labels(world: &World) -> Value {
    let route = format!("GET /users?query={}", world.ann.username);
    world.admin(200, &route, None).await["users"][0]["labels"].clone()
}

#[tokio::test]
async fn put_admin_v1_users_user_labels_label() {
    let world = World::bare().await;
    assert_eq!(labels(&world).await, json!([]));
    for label in ["vip", "vip", "early"] {
        let route = format!("PUT /users/{}/labels/{label}", world.ann.username);
        world.admin(204, &route, None).await;
    }
    assert_eq!(labels(&world).await, json!(["early", "vip"]));
    let route = format!("PUT /users/{}/labels/Not%20A%20Code", world.ann.id);
    world.admin(400, &route, None).await;
    world.admin(404, "PUT /users/nobody/labels/vip", None).await;
}

#[tokio::test]
async fn delete_admin_v1_users_user_labels_label() {
    let world = World::bare().await;
    let path = format!("/users/{}/labels/vip", world.ann.id);
    world.admin(204, &format!("PUT {path}"), None).await;
    for _ in 0..2 {
        world.admin(204, &format!("DELETE {path}"), None).await;
    }
    assert_eq!(labels(&world).await, json!([]));
    world
        .admin(404, "DELETE /users/nobody/labels/vip", None)
        .await;
}

#[tokio::test]
async fn get_admin_v1_notices() {
    let world = World::on(crate::moderation::guarded().await).await;
    for name in ["tell1", "tell2", "tell3"] {
        let body = json!({"username": name, "password": "password-1"});
        let registered = world.server.call("POST", "/v1/users", None, Some(body));
        assert_eq!(registered.await.0, 201);
    }
    let page = world.admin(200, "GET /notices?limit=2", None).await;
    let rows = page["notices"].as_array().expect("notices");
    let told: Vec<String> = rows.iter().map(|row| text(&row["text"])).collect();
    assert_eq!(told, ["tell3 from 127.0.0.1", "tell2 from 127.0.0.1"]);
    assert_eq!(rows[0]["by"], "warden");
    let route = format!("GET /notices?cursor={}", text(&page["cursor"]));
    let rest = world.admin(200, &route, None).await;
    assert_eq!(rest["notices"][0]["text"], "tell1 from 127.0.0.1");
    assert!(rest["cursor"].is_null());
    world.admin(400, "GET /notices?cursor=x", None).await;
}
