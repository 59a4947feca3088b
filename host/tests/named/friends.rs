//! The routes of friends and of asking to be one, each by its name.
//! No other routes.

use serde_json::json;

use super::{World, text};
use crate::support::TestUser;

async fn asked(world: &World) -> String {
    let body = json!({"user": world.bob.id, "text": "it is me"});
    let made = world.ok(201, &world.ann, "POST /v1/friend-requests", body);
    text(&made.await["id"])
}

async fn befriended(world: &World) {
    let route = format!("POST /v1/friend-requests/{}", asked(world).await);
    world
        .ok(200, &world.bob, &route, json!({"accept": true}))
        .await;
}

async fn friends_of(world: &World, who: &TestUser) -> usize {
    let list = world.ok(200, who, "GET /v1/friends", None).await;
    list["friends"].as_array().expect("friends").len()
}

#[tokio::test]
async fn post_v1_friend_requests() {
    let world = World::bare().await;
    let route = "POST /v1/friend-requests";
    world.asks_for_a_token(route).await;
    let id = asked(&world).await;
    let again = world.ok(200, &world.ann, route, json!({"user": world.bob.id}));
    assert_eq!(again.await["id"], id.as_str());
    let oneself = json!({"user": world.ann.id});
    world.no("bad_request", &world.ann, route, oneself).await;
    world
        .no("not_found", &world.ann, route, json!({"user": "1"}))
        .await;
}

#[tokio::test]
async fn get_v1_friend_requests() {
    let world = World::bare().await;
    let route = "GET /v1/friend-requests";
    world.asks_for_a_token(route).await;
    let id = asked(&world).await;
    for (who, direction) in [(&world.ann, "sent"), (&world.bob, "received")] {
        let list = world.ok(200, who, route, None).await;
        let request = &list["friend_requests"][0];
        assert_eq!(
            (&request["id"], &request["direction"]),
            (&json!(id), &json!(direction))
        );
        assert_eq!(request["text"], "it is me");
    }
    let others = world.ok(200, &world.cat, route, None).await;
    assert_eq!(others, json!({"friend_requests": []}));
}

#[tokio::test]
async fn post_v1_friend_requests_id() {
    let world = World::bare().await;
    let route = format!("POST /v1/friend-requests/{}", asked(&world).await);
    world.asks_for_a_token(&route).await;
    let accept = || json!({"accept": true});
    world.no("not_found", &world.cat, &route, accept()).await;
    world
        .no("bad_request", &world.bob, &route, json!({"accept": 1}))
        .await;
    let answered = world.ok(200, &world.bob, &route, accept()).await;
    assert_eq!(answered["state"], "accepted");
    assert_eq!(friends_of(&world, &world.ann).await, 1);
}

#[tokio::test]
async fn get_v1_friends() {
    let world = World::bare().await;
    world.asks_for_a_token("GET /v1/friends").await;
    befriended(&world).await;
    let list = world.ok(200, &world.ann, "GET /v1/friends", None).await;
    assert_eq!(list["friends"][0]["id"], world.bob.id.as_str());
    assert!(list["friends"][0]["since"].is_u64());
    assert_eq!(friends_of(&world, &world.bob).await, 1);
    assert_eq!(friends_of(&world, &world.cat).await, 0);
}

#[tokio::test]
async fn delete_v1_friends_user() {
    let world = World::bare().await;
    befriended(&world).await;
    let route = format!("DELETE /v1/friends/{}", world.bob.id);
    world.asks_for_a_token(&route).await;
    world.ok(204, &world.cat, &route, None).await;
    assert_eq!(friends_of(&world, &world.ann).await, 1, "not cat's to end");
    for _ in 0..2 {
        world.ok(204, &world.ann, &route, None).await;
    }
    assert_eq!(friends_of(&world, &world.bob).await, 0);
}
