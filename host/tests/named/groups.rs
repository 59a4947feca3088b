//! The routes of groups, their members and those who ask to join, each by its name.
//! No other routes.

use serde_json::{Value, json};

use super::{World, text};

#[tokio::test]
async fn post_v1_groups() {
    let world = World::bare().await;
    world.asks_for_a_token("POST /v1/groups").await;
    let body = json!({"title": "us", "members": [world.bob.id]});
    let made = world.ok(201, &world.ann, "POST /v1/groups", body).await;
    assert_eq!(
        (&made["kind"], &made["title"], &made["role"]),
        (&json!("group"), &json!("us"), &json!("owner"))
    );
    let nameless = json!({"title": "", "members": []});
    world
        .no("bad_request", &world.ann, "POST /v1/groups", nameless)
        .await;
}

#[tokio::test]
async fn get_v1_groups_conversation() {
    let world = World::bare().await;
    let route = format!("GET /v1/groups/{}", world.group().await);
    world.asks_for_a_token(&route).await;
    let group = world.ok(200, &world.bob, &route, None).await;
    assert_eq!(
        (&group["join"], &group["members"], &group["owner"]),
        (&json!("invite"), &json!(2), &json!(world.ann.id))
    );
    world.no("not_found", &world.cat, &route, None).await;
}

#[tokio::test]
async fn patch_v1_groups_conversation() {
    let world = World::bare().await;
    let route = format!("PATCH /v1/groups/{}", world.group().await);
    world.asks_for_a_token(&route).await;
    let change = || json!({"title": "we", "slow_mode_s": 5});
    let changed = world.ok(200, &world.ann, &route, change()).await;
    assert_eq!(
        (&changed["title"], &changed["slow_mode_s"]),
        (&json!("we"), &json!(5))
    );
    let faster = json!({"slow_mode_s": 0});
    world.no("forbidden", &world.bob, &route, faster).await;
    world.no("not_found", &world.cat, &route, change()).await;
    let ages = json!({"slow_mode_s": 86_401});
    world.no("bad_request", &world.ann, &route, ages).await;
}

#[tokio::test]
async fn delete_v1_groups_conversation() {
    let world = World::bare().await;
    let route = format!("DELETE /v1/groups/{}", world.group().await);
    world.asks_for_a_token(&route).await;
    let mut member = world.session(&world.bob).await;
    world.no("not_found", &world.cat, &route, None).await;
    world.no("forbidden", &world.bob, &route, None).await;
    world.ok(204, &world.ann, &route, None).await;
    let gone = member.event("gone").await;
    assert!(route.ends_with(gone["conversation"].as_str().expect("an id")));
    world.no("not_found", &world.cat, &route, None).await;
}

#[tokio::test]
async fn get_v1_groups_conversation_members() {
    let world = World::bare().await;
    let route = format!("GET /v1/groups/{}/members", world.group().await);
    world.asks_for_a_token(&route).await;
    let first = format!("{route}?limit=1");
    let first = world.ok(200, &world.bob, &first, None).await;
    let cursor = text(&first["cursor"]);
    let rest = format!("{route}?limit=1&cursor={cursor}");
    let rest = world.ok(200, &world.bob, &rest, None).await;
    assert!(rest["cursor"].is_null());
    let mut roles = [&first, &rest].map(|page| text(&page["members"][0]["role"]));
    roles.sort();
    assert_eq!(roles, ["member", "owner"]);
    world.no("not_found", &world.cat, &route, None).await;
}

#[tokio::test]
async fn post_v1_groups_conversation_members() {
    let world = World::bare().await;
    let route = format!("POST /v1/groups/{}/members", world.group().await);
    world.asks_for_a_token(&route).await;
    let add = || json!({"users": [world.cat.id]});
    world.no("not_found", &world.cat, &route, add()).await;
    let added = world.ok(201, &world.bob, &route, add()).await;
    assert_eq!(added["members"][0]["user"], world.cat.id.as_str());
    world.ok(200, &world.ann, &route, add()).await;
    let nobody = json!({"users": ["1"]});
    world.no("not_found", &world.ann, &route, nobody).await;
}

#[tokio::test]
async fn patch_v1_groups_conversation_members_user() {
    let world = World::bare().await;
    let group = world.group().await;
    let route = format!("PATCH /v1/groups/{group}/members/{}", world.bob.id);
    world.asks_for_a_token(&route).await;
    let role = |role: &str| json!({"role": role});
    world
        .no("forbidden", &world.bob, &route, role("admin"))
        .await;
    world
        .no("not_found", &world.cat, &route, role("admin"))
        .await;
    let admin = world.ok(200, &world.ann, &route, role("admin")).await;
    assert_eq!(admin["role"], "admin");
    let named = json!({"nickname": "bobby"});
    let named = world.ok(200, &world.bob, &route, named).await;
    assert_eq!(named["nickname"], "bobby");
    let owner = world.ok(200, &world.ann, &route, role("owner")).await;
    assert_eq!(owner["role"], "owner");
    world
        .no("bad_request", &world.bob, &route, role("king"))
        .await;
}

#[tokio::test]
async fn delete_v1_groups_conversation_members_user() {
    let world = World::bare().await;
    let group = world.group().await;
    let route = |user: &str| format!("DELETE /v1/groups/{group}/members/{user}");
    world.asks_for_a_token(&route(&world.bob.id)).await;
    let (ann, bob) = (&world.ann, &world.bob);
    world.no("forbidden", bob, &route(&ann.id), None).await;
    world
        .no("not_found", &world.cat, &route(&bob.id), None)
        .await;
    world.ok(204, bob, &route(&bob.id), None).await;
    let path = format!("GET /v1/groups/{group}");
    world.no("not_member", bob, &path, None).await;
}

/// What Cat is answered when she asks to join.
async fn asked(world: &World, group: &str) -> Value {
    let route = format!("POST /v1/groups/{group}/join-requests");
    let wish = json!({"text": "let me in"});
    world.ok(201, &world.cat, &route, wish).await
}

#[tokio::test]
async fn post_v1_groups_conversation_join_requests() {
    let world = World::bare().await;
    let open = world.group_with(json!({"join": "open"})).await;
    let route = format!("POST /v1/groups/{open}/join-requests");
    world.asks_for_a_token(&route).await;
    assert_eq!(asked(&world, &open).await, json!({"state": "joined"}));
    world.ok(200, &world.cat, &route, None).await;
    let by_approval = world.group_with(json!({"join": "approval"})).await;
    let waiting = asked(&world, &by_approval).await;
    assert_eq!(waiting["state"], "waiting");
    assert_eq!(asked(&world, &by_approval).await["id"], waiting["id"]);
    let invited = world.group().await;
    let route = format!("POST /v1/groups/{invited}/join-requests");
    world.no("not_found", &world.cat, &route, None).await;
}

#[tokio::test]
async fn get_v1_groups_conversation_join_requests() {
    let world = World::bare().await;
    let group = world.group_with(json!({"join": "approval"})).await;
    let route = format!("GET /v1/groups/{group}/join-requests");
    world.asks_for_a_token(&route).await;
    let id = asked(&world, &group).await["id"].clone();
    let list = world.ok(200, &world.ann, &route, None).await;
    let request = &list["join_requests"][0];
    assert_eq!(
        (&request["id"], &request["user"]),
        (&id, &json!(world.cat.id))
    );
    world.no("forbidden", &world.bob, &route, None).await;
    world.no("not_found", &world.cat, &route, None).await;
}

#[tokio::test]
async fn post_v1_groups_conversation_join_requests_id() {
    let world = World::bare().await;
    let group = world.group_with(json!({"join": "approval"})).await;
    let id = text(&asked(&world, &group).await["id"]);
    let route = format!("POST /v1/groups/{group}/join-requests/{id}");
    world.asks_for_a_token(&route).await;
    let accept = || json!({"accept": true});
    world.no("forbidden", &world.bob, &route, accept()).await;
    world.no("not_found", &world.cat, &route, accept()).await;
    let answered = world.ok(200, &world.ann, &route, accept()).await;
    assert_eq!(answered, json!({"state": "joined"}));
    let shown = format!("GET /v1/groups/{group}");
    let shown = world.ok(200, &world.cat, &shown, None).await;
    assert_eq!(shown["members"], 3);
}
