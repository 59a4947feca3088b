//! The routes of conversations, of search and the WebSocket's own, each by its name.
//! No other routes.

use kith::config::SearchEngine;
use serde_json::json;

use super::{World, said, text};
use crate::support::{PATIENCE, TestServer};

#[tokio::test]
async fn get_v1_conversations() {
    let world = World::bare().await;
    world.asks_for_a_token("GET /v1/conversations").await;
    let conversation = world.direct().await;
    let list = world.ok(200, &world.bob, "GET /v1/conversations", None);
    let summary = &list.await["conversations"][0];
    assert_eq!(
        (&summary["id"], &summary["unread"]),
        (&json!(conversation), &json!(1))
    );
    let others = world.ok(200, &world.cat, "GET /v1/conversations", None);
    assert_eq!(others.await, json!({"conversations": []}));
}

#[tokio::test]
async fn get_v1_conversations_conversation_entries() {
    let world = World::bare().await;
    let route = format!("GET /v1/conversations/{}/entries", world.direct().await);
    world.asks_for_a_token(&route).await;
    let page = world.ok(200, &world.bob, &route, None).await;
    assert_eq!((&page["head"], &page["floor"]), (&json!(1), &json!(1)));
    assert_eq!(page["entries"][0]["content"], said("hello"));
    let past = format!("{route}?after=1");
    let past = world.ok(200, &world.bob, &past, None).await;
    assert_eq!(past["entries"], json!([]));
    world.no("not_found", &world.cat, &route, None).await;
    let none = format!("{route}?limit=0");
    world.no("bad_request", &world.bob, &none, None).await;
}

#[tokio::test]
async fn post_v1_conversations_conversation_entries() {
    let world = World::bare().await;
    let route = format!("POST /v1/conversations/{}/entries", world.direct().await);
    world.asks_for_a_token(&route).await;
    let message = || json!({"client_id": "1", "content": said("yes"), "reply_to": 1});
    let made = world.ok(201, &world.bob, &route, message()).await;
    assert_eq!(
        (&made["seq"], &made["state"]),
        (&json!(2), &json!("committed"))
    );
    let again = world.ok(200, &world.bob, &route, message()).await;
    assert_eq!(again["id"], made["id"]);
    world.no("not_found", &world.cat, &route, message()).await;
    let other = json!({"client_id": "1", "content": said("no")});
    world.no("conflict", &world.bob, &route, other).await;
}

#[tokio::test]
async fn post_v1_conversations_conversation_read() {
    let world = World::bare().await;
    let conversation = world.direct().await;
    let route = format!("POST /v1/conversations/{conversation}/read");
    world.asks_for_a_token(&route).await;
    let read = || json!({"seq": 1});
    assert_eq!(world.ok(200, &world.bob, &route, read()).await, json!({}));
    let list = world.ok(200, &world.bob, "GET /v1/conversations", None);
    assert_eq!(list.await["conversations"][0]["unread"], 0);
    world.no("not_found", &world.cat, &route, read()).await;
    let wrong = json!({"seq": -1});
    world.no("bad_request", &world.bob, &route, wrong).await;
}

#[tokio::test]
async fn get_v1_search() {
    let embedded = |config: &mut kith::config::Config| {
        config.search.engine = SearchEngine::Embedded;
    };
    let world = World::on(TestServer::with(embedded).await).await;
    world.asks_for_a_token("GET /v1/search?q=hello").await;
    world.direct().await;
    let found = async {
        loop {
            let found = world.ok(200, &world.bob, "GET /v1/search?q=HELLO", None);
            let found = found.await;
            if found["messages"] != json!([]) {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    let hit = &found.expect("in time")["messages"][0];
    assert_eq!(hit["entry"]["content"], said("hello"));
    assert_eq!(hit["highlights"], json!([{"start": 0, "end": 5}]));
    let none = world.ok(200, &world.cat, "GET /v1/search?q=hello", None);
    assert_eq!(none.await["messages"], json!([]));
    let order = "GET /v1/search?q=hello&order=oldest";
    world.no("bad_request", &world.bob, order, None).await;
}

#[tokio::test]
async fn get_v1_ws() {
    let world = World::bare().await;
    // Whoever opens it says who it is inside, by `hello`.
    let mut socket = world.server.connect(Some("kith.v1.json")).await;
    let hello = socket.hello(&world.ann.token, "phone").await;
    assert_eq!(text(&hello["ok"]["user"]["id"]), world.ann.id);
    let (status, refused) = world.server.call("GET", "/v1/ws", None, None).await;
    assert_eq!(
        (status, refused["code"].as_str()),
        (400, Some("bad_request")),
        "it is no page"
    );
}
