//! The routes of users, blocks, tokens and health, each by its name.
//! No other routes.

use serde_json::{Value, json};

use super::{World, text};

#[tokio::test]
async fn post_v1_users() {
    let world = World::bare().await;
    let register = |body: Value| world.server.call("POST", "/v1/users", None, Some(body));
    let body = json!({"username": "dora", "password": "password-1", "display_name": "Dora"});
    let (status, made) = register(body.clone()).await;
    assert_eq!((status, made["display_name"].as_str()), (201, Some("Dora")));
    let (status, taken) = register(body).await;
    assert_eq!((status, taken["code"].as_str()), (409, Some("conflict")));
    let short = json!({"username": "eve", "password": "short"});
    assert_eq!(register(short).await.0, 400);
}

#[tokio::test]
async fn get_v1_users() {
    let world = World::bare().await;
    world.asks_for_a_token("GET /v1/users?query=bob").await;
    let found = world.ok(200, &world.ann, "GET /v1/users?query=bob", None);
    let found = found.await;
    assert_eq!(found["users"][0]["id"], world.bob.id.as_str());
    let none = world.ok(200, &world.ann, "GET /v1/users?query=nobody", None);
    assert_eq!(none.await["users"], json!([]));
    world
        .no("bad_request", &world.ann, "GET /v1/users", None)
        .await;
}

#[tokio::test]
async fn get_v1_users_id() {
    let world = World::bare().await;
    let route = format!("GET /v1/users/{}", world.bob.id);
    world.asks_for_a_token(&route).await;
    let shown = world.ok(200, &world.ann, &route, None).await;
    assert_eq!(shown["username"], world.bob.username.as_str());
    let relation = json!({"self": false, "blocked": false, "friend": false});
    assert_eq!(shown["relation"], relation);
    world
        .no("not_found", &world.ann, "GET /v1/users/1", None)
        .await;
}

#[tokio::test]
async fn put_v1_blocks_user() {
    let world = World::with_plugins().await;
    let route = format!("PUT /v1/blocks/{}", world.bob.id);
    world.asks_for_a_token(&route).await;
    for _ in 0..2 {
        world.ok(204, &world.ann, &route, None).await;
    }
    let mut socket = world.session(&world.bob).await;
    let refused = socket.send_text(&world.ann.id, "1", "hello").await;
    assert_eq!(super::code(&refused), "blocked");
    let oneself = format!("PUT /v1/blocks/{}", world.ann.id);
    world.no("bad_request", &world.ann, &oneself, None).await;
    world
        .no("not_found", &world.ann, "PUT /v1/blocks/1", None)
        .await;
}

#[tokio::test]
async fn get_v1_blocks() {
    let world = World::bare().await;
    world.asks_for_a_token("GET /v1/blocks").await;
    let block = format!("PUT /v1/blocks/{}", world.bob.id);
    world.ok(204, &world.ann, &block, None).await;
    let own = world.ok(200, &world.ann, "GET /v1/blocks", None).await;
    assert_eq!(own["blocks"][0]["id"], world.bob.id.as_str());
    let others = world.ok(200, &world.bob, "GET /v1/blocks", None).await;
    assert_eq!(others, json!({"blocks": []}));
}

#[tokio::test]
async fn delete_v1_blocks_user() {
    let world = World::with_plugins().await;
    let route = format!("DELETE /v1/blocks/{}", world.bob.id);
    world.asks_for_a_token(&route).await;
    let block = format!("PUT /v1/blocks/{}", world.bob.id);
    world.ok(204, &world.ann, &block, None).await;
    for _ in 0..2 {
        world.ok(204, &world.ann, &route, None).await;
    }
    let mut socket = world.session(&world.bob).await;
    super::ok(&socket.send_text(&world.ann.id, "1", "hello").await);
    world
        .no("not_found", &world.ann, "DELETE /v1/blocks/1", None)
        .await;
}

#[tokio::test]
async fn post_v1_oauth_token() {
    let world = World::bare().await;
    let refresh = text(&world.ann.tokens["refresh_token"]);
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let (status, tokens) = world.server.token_call(&form).await;
    assert_eq!(
        (status, tokens["token_type"].as_str()),
        (200, Some("Bearer"))
    );
    assert_ne!(tokens["refresh_token"], refresh.as_str());
    let wrong = [
        ("grant_type", "password"),
        ("username", world.ann.username.as_str()),
        ("password", "another password"),
        ("device_id", "phone"),
        ("device_kind", "web"),
    ];
    let (status, refused) = world.server.token_call(&wrong).await;
    assert_eq!(
        (status, refused["error"].as_str()),
        (400, Some("invalid_grant"))
    );
}

#[tokio::test]
async fn post_v1_oauth_revoke() {
    let world = World::bare().await;
    let refresh = text(&world.ann.tokens["refresh_token"]);
    let revoke = |token: String| {
        let request = world.server.http.post(world.server.url("/v1/oauth/revoke"));
        request.form(&[("token", token)]).send()
    };
    assert_eq!(revoke(refresh).await.expect("an answer").status(), 200);
    world.asks_for_a_token("GET /v1/me").await;
    world
        .no("unauthenticated", &world.ann, "GET /v1/me", None)
        .await;
    world.ok(200, &world.bob, "GET /v1/me", None).await;
    let unknown = revoke("unknown".into()).await.expect("an answer");
    assert_eq!(unknown.status(), 200);
}

#[tokio::test]
async fn get_well_known_jwks_json() {
    let world = World::bare().await;
    let keys = world
        .server
        .call("GET", "/.well-known/jwks.json", None, None);
    let (status, keys) = keys.await;
    assert_eq!(
        (status, keys["keys"][0]["kty"].as_str()),
        (200, Some("OKP"))
    );
    assert!(keys["keys"][0]["d"].is_null(), "the secret half stays here");
}

#[tokio::test]
async fn get_healthz() {
    let world = World::bare().await;
    let answer = world.server.call("GET", "/healthz", None, None).await;
    assert_eq!(answer, (200, json!({"status": "ok"})));
}

#[tokio::test]
async fn get_readyz() {
    let world = World::bare().await;
    let (status, ready) = world.server.call("GET", "/readyz", None, None).await;
    assert_eq!((status, ready["status"].as_str()), (200, Some("ready")));
}
