//! Whole servers on a bus of Redis, each with a store of its own: what does not need a common store works between them, and
//! what happens to Redis does not happen to those who talk.

use kith::config::BusEngine;
use serde_json::{Value, json};

use crate::conformance::bus::eventually;
use crate::conformance::bus::servers::{Kind, Servers};
use crate::support::TestServer;

async fn server_on(redis: &Servers, name: &str) -> TestServer {
    let url = redis.url();
    TestServer::with(|config| {
        config.bus.engine = BusEngine::Redis;
        config.bus.url = url;
        config.node.name = name.to_owned();
        config.session.lease_ms = 1500;
    })
    .await
}

async fn readyz(server: &TestServer) -> Value {
    let (status, ready) = server.call("GET", "/readyz", None, None).await;
    assert_eq!(status, 200, "{ready}");
    ready
}

async fn bus_is(server: &TestServer, how: &str) {
    eventually(async || (readyz(server).await["parts"]["bus"] == how).then_some(())).await;
}

/// Names and states of the nodes, as a server's administrators see them.
async fn nodes(server: &TestServer) -> Vec<(String, String)> {
    let (status, nodes) = server.admin("GET", "/nodes", None).await;
    assert_eq!(status, 200, "{nodes}");
    let text = |node: &Value, field: &str| node[field].as_str().expect("a text").to_owned();
    let nodes = nodes.as_array().expect("a list").iter();
    nodes
        .map(|node| (text(node, "name"), text(node, "state")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_see_each_other_and_end_each_others_sessions() {
    let redis = Servers::start(Kind::Single).await;
    let (one, mut other) = (
        server_on(&redis, "one").await,
        server_on(&redis, "other").await,
    );
    let named = |states: [&str; 2]| {
        let each = ["one", "other"].into_iter().zip(states);
        each.map(|(name, state)| (name.to_owned(), state.to_owned()))
            .collect::<Vec<_>>()
    };
    for server in [&one, &other] {
        eventually(async || (nodes(server).await == named(["ready", "ready"])).then_some(())).await;
        assert_eq!(readyz(server).await["status"], "ready");
    }
    let ann = other.user("ann").await;
    let tokens = other.sign_in(&ann.username, "stolen-phone").await;
    let mut stolen = other
        .session_of(
            tokens["access_token"].as_str().expect("a token"),
            "stolen-phone",
        )
        .await;
    let mut socket = other.session(&ann).await;
    let ban = json!({"kind": "device", "subject": "stolen-phone"});
    let (status, made) = one.admin("POST", "/bans", Some(ban)).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(stolen.end().await.0.as_deref(), Some("banned"));
    assert!(socket.request("ping", json!({})).await["ok"].is_object());
    drop(socket);
    other.stop().await;
    eventually(async || (nodes(&one).await == named(["ready", "gone"])).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_without_its_redis_and_tells_its_sessions_when_it_is_back() {
    let redis = Servers::start(Kind::Single).await;
    let server = server_on(&redis, "one").await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut sender, mut receiver) = (server.session(&ann).await, server.session(&bob).await);
    let ack = sender.send_text(&bob.id, "1", "before").await;
    assert_eq!(ack["ok"]["seq"], 1, "{ack}");
    assert_eq!(receiver.event("entry").await["entry"]["seq"], 1);
    tokio::task::block_in_place(|| redis.kill_master());
    bus_is(&server, "degraded").await;
    let ack = sender.send_text(&bob.id, "2", "without").await;
    assert_eq!(ack["ok"]["seq"], 2, "{ack}");
    assert_eq!(receiver.event("entry").await["entry"]["seq"], 2);
    // Who comes now is let in, and found once it can be.
    let cid = server.user("cid").await;
    let mut late = server.session(&cid).await;
    tokio::task::block_in_place(|| redis.restart());
    bus_is(&server, "ok").await;
    late.event("behind").await;
    receiver.event("behind").await;
    let ack = sender.send_text(&bob.id, "3", "after").await;
    assert_eq!(ack["ok"]["seq"], 3, "{ack}");
    assert_eq!(receiver.event("entry").await["entry"]["seq"], 3);
    // A device that comes again replaces its older session, as ever.
    let mut again = server.session(&bob).await;
    assert_eq!(receiver.end().await.0.as_deref(), Some("replaced"));
    assert!(again.request("ping", json!({})).await["ok"].is_object());
}
