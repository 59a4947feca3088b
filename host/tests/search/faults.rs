//! Search servers that are gone, or slow: messages flow, searches are refused at once and in words, and what was said
//! meanwhile is found when the server is back. The servers are real, and really killed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kith::ids::ConversationId;
use kith::search::{Order, Query, Room, Search, terms};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::servers::{BOTH, Kind, SearchServer, alone, engine_at, fresh_prefix, shared};
use super::{ask, say, search, texts};
use crate::crash::process::ServerProcess;
use crate::support::{PATIENCE, TestServer, TestUser};

/// A server that was killed opens its indexes again.
const RETURNS: Duration = Duration::from_secs(60);

async fn ready(server: &TestServer) -> Value {
    let (status, ready) = server.call("GET", "/readyz", None, None).await;
    assert_eq!(status, 200, "messages flow: {ready}");
    ready
}

async fn until(server: &TestServer, search: &str) {
    let began = Instant::now();
    loop {
        let ready = ready(server).await;
        if ready["parts"]["search"] == search {
            let expected = if search == "ok" { "ready" } else { "degraded" };
            assert_eq!(ready["status"], expected);
            return;
        }
        assert!(began.elapsed() < RETURNS, "never {search}: {ready}");
        tokio::task::yield_now().await;
    }
}

/// How many messages with a word there are, by pages; none twice.
async fn count(server: &TestServer, user: &TestUser, word: &str) -> usize {
    let (mut cursor, mut seqs) = (String::new(), Vec::new());
    loop {
        let answer = search(server, user, &format!("q={word}&limit=100{cursor}")).await;
        let hits = answer["messages"].as_array().expect("messages");
        seqs.extend(hits.iter().map(|hit| hit["entry"]["seq"].as_u64()));
        match answer["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let all = seqs.len();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), all, "a message twice");
    all
}

#[tokio::test]
async fn messages_flow_while_the_search_server_is_gone_and_are_found_when_it_is_back() {
    for kind in BOTH {
        let lease = alone(kind).await;
        let server = TestServer::with(|config| lease.server.used_by(config)).await;
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let mut socket = server.session(&ann).await;
        let here = say(&mut socket, &bob, &["a walrus, recalled later", "a gnu"]).await;
        assert_eq!(count(&server, &bob, "walrus").await, 1);

        // In the middle: what was just said is on its way to the index.
        say(&mut socket, &bob, &["a walrus"; 50]).await;
        lease.server.kill();
        say(&mut socket, &bob, &["a walrus"; 50]).await;
        until(&server, "down").await;
        let asked = Instant::now();
        let (status, refused) = ask(&server, &bob, "q=walrus").await;
        assert_eq!((status, &refused["code"]), (503, &json!("unavailable")));
        assert!(asked.elapsed() < Duration::from_secs(1), "at once");
        let recalled = json!({"conversation": here, "seq": 1});
        let recalled = socket.request("recall", recalled).await;
        assert!(recalled["ok"].is_object(), "{recalled}");
        let edit = json!({"conversation": here, "seq": 2, "content": {"type": "text", "text": "an okapi"}});
        let edited = socket.request("edit", edit).await;
        assert!(edited["ok"].is_object(), "{edited}");

        let (_, ()) = tokio::join!(lease.server.start(), async {
            say(&mut socket, &bob, &["a walrus"; 50]).await;
        });
        until(&server, "ok").await;
        assert_eq!(count(&server, &bob, "walrus").await, 150, "{kind:?}");
        assert_eq!(texts(&search(&server, &bob, "q=okapi").await), ["an okapi"]);
        assert_eq!(count(&server, &bob, "gnu").await, 0);
    }
}

#[tokio::test]
async fn a_server_that_goes_while_nobody_says_anything_is_noticed() {
    let lease = alone(Kind::OpenSearch).await;
    let server = TestServer::with(|config| lease.server.used_by(config)).await;
    until(&server, "ok").await;
    lease.server.kill();
    until(&server, "down").await;
    lease.server.start().await;
    until(&server, "ok").await;
}

#[tokio::test]
async fn kill_nine_of_kith_skips_nothing_in_an_index_elsewhere() {
    let lease = shared(Kind::Elasticsearch).await;
    let mut server = ServerProcess::searching_at(&lease.server.url(), &fresh_prefix()).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut expected = 0;
    for round in 0..3 {
        let mut socket = server.session(&ann).await;
        for n in 0..40 {
            let id = format!("{round}-{n}");
            let ack = socket.send_text(&bob.id, &id, "a walrus").await;
            assert_eq!(ack["ok"]["state"], "committed");
            expected += 1;
        }
        server.kill();
        server.restart().await;
        let began = Instant::now();
        loop {
            let (status, answer) = server.get_as(&bob, "/v1/search?q=walrus&limit=200").await;
            let found = answer["messages"].as_array().map_or(0, Vec::len);
            assert!(found <= expected, "more than was said");
            if (status, found) == (200, expected) {
                break;
            }
            assert!(began.elapsed() < RETURNS, "{status}: {found} of {expected}");
            tokio::task::yield_now().await;
        }
    }
}

/// What lies between Kith and a server, and can hold everything back.
struct Between {
    url: String,
    stalled: watch::Sender<bool>,
}

impl Between {
    async fn stand_before(server: &SearchServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let behind = server.url().replace("http://", "");
        let (stalled, holds) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass(near, behind.clone(), holds.clone()));
            }
        });
        Self { url, stalled }
    }
}

/// Passes bytes on in both directions, none while everything is held back.
async fn pass(near: TcpStream, behind: String, holds: watch::Receiver<bool>) {
    let far = TcpStream::connect(behind).await.expect("the server");
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::join!(
        one_way(near_in, far_out, holds.clone()),
        one_way(far_in, near_out, holds)
    );
}

async fn one_way(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut holds: watch::Receiver<bool>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if holds.wait_for(|holds| !holds).await.is_err() {
            return;
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_slow_server_is_waited_for_three_times_and_then_left_alone_for_a_while() {
    const ASK: Duration = Duration::from_millis(400);
    let lease = shared(Kind::Elasticsearch).await;
    let between = Between::stand_before(&lease.server).await;
    let engine = Arc::new(engine_at(&between.url, &fresh_prefix(), ASK));
    engine.open().await.expect("opens");
    let query = || Query {
        terms: terms::terms("walrus"),
        rooms: vec![Room {
            conversation: ConversationId(1),
            from: 1,
        }],
        from: None,
        after_ms: None,
        before_ms: None,
        order: Order::Newest,
        below: None,
        limit: 10,
    };
    let began = Instant::now();
    while engine.find(query()).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "a first search takes longest");
    }
    between.stalled.send_replace(true);
    for _ in 0..3 {
        let asked = Instant::now();
        let refused = engine.find(query()).await.expect_err("no answer");
        assert!(
            refused.to_string().contains("did not answer within"),
            "{refused}"
        );
        assert!(asked.elapsed() >= ASK && asked.elapsed() < PATIENCE);
    }
    let refused = engine.find(query()).await.expect_err("not asked");
    assert!(
        refused.to_string().contains("has not answered lately"),
        "{refused}"
    );
    between.stalled.send_replace(false);
    let began = Instant::now();
    while let Err(refused) = engine.find(query()).await {
        assert!(began.elapsed() < PATIENCE, "never again: {refused}");
        tokio::task::yield_now().await;
    }
}
