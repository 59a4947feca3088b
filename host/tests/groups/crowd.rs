//! Large groups: made, paged, written to; who is here gets everything at once, and each message is kept once.
//! At a tenth of the size; whole where `KITH_LONG` is set.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{call, group, history, say, summary};
use crate::support::{PATIENCE, TestServer, TestSocket, TestUser};

fn whole(long: usize, short: usize) -> usize {
    if std::env::var_os("KITH_LONG").is_some() {
        long
    } else {
        short
    }
}

/// Registers users who never sign in; their ids.
async fn register(server: &TestServer, count: usize) -> Vec<String> {
    let one = |n: usize| async move {
        let body = json!({"username": format!("crowd{n}"), "password": "password-1"});
        let (status, user) = server.call("POST", "/v1/users", None, Some(body)).await;
        assert_eq!(status, 201, "{user}");
        user["id"].as_str().expect("an id").to_owned()
    };
    futures_util::stream::iter((0..count).map(one))
        .buffer_unordered(32)
        .collect()
        .await
}

async fn add(server: &TestServer, owner: &TestUser, us: &str, users: &[String]) {
    for part in users.chunks(5_000) {
        let body = Some(json!({"users": part}));
        let (status, answer) = call(server, owner, "POST", us, "/members", body).await;
        assert_eq!(status, 201, "{}", answer["message"]);
        assert_eq!(answer["members"].as_array().map(Vec::len), Some(part.len()));
    }
}

/// How often something stands in the files of a folder.
fn copies(folder: &Path, wanted: &[u8]) -> usize {
    let mut found = 0;
    for item in std::fs::read_dir(folder).expect("a folder") {
        let path = item.expect("an item").path();
        if path.is_dir() {
            found += copies(&path, wanted);
        } else {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let at_each = bytes.windows(wanted.len());
            found += at_each.filter(|window| *window == wanted).count();
        }
    }
    found
}

/// When each of the messages marked by number came to a member, in their order.
async fn listen(mut socket: TestSocket, rounds: usize) -> (TestSocket, Vec<Instant>) {
    let mut came = Vec::with_capacity(rounds);
    while came.len() < rounds {
        let next = tokio::time::timeout(PATIENCE, socket.socket.next()).await;
        let message = next.expect("in time").expect("open").expect("a frame");
        let marked = format!("\"round-{}\"", came.len());
        if let Message::Text(text) = &message
            && text.contains("\"ev\":\"entry\"")
            && text.contains("round-")
        {
            assert!(text.contains(&marked), "in order: {marked} in {text}");
            came.push(Instant::now());
        }
    }
    (socket, came)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_reaches_everyone_who_is_here_at_once_and_is_stored_once() {
    let (members, online, rounds) = (whole(10_000, 1_000), whole(500, 50), whole(40, 20));
    let server = TestServer::with_plugins().await;
    let ann = server.user("ann").await;
    let mut here = Vec::with_capacity(online);
    for _ in 0..online {
        here.push(server.user("here").await);
    }
    let us = group(&server, &ann, &here.iter().collect::<Vec<_>>()).await;
    add(
        &server,
        &ann,
        &us,
        &register(&server, members - online - 1).await,
    )
    .await;
    let shown = call(&server, &ann, "GET", &us, "", None).await.1;
    assert_eq!(shown["members"], members);

    let mut from = server.session(&ann).await;
    let mut listeners = Vec::with_capacity(online);
    for user in &here {
        let socket = server.session(user).await;
        listeners.push(tokio::spawn(listen(socket, rounds)));
    }
    let mut sent = Vec::with_capacity(rounds);
    for round in 0..rounds {
        sent.push(Instant::now());
        let ack = say(
            &mut from,
            &us,
            &round.to_string(),
            &format!("round-{round}"),
        )
        .await;
        assert_eq!(ack["ok"]["state"], "committed", "{ack}");
    }
    let mut waits: Vec<Duration> = Vec::with_capacity(online * rounds);
    let mut sockets = Vec::with_capacity(online);
    for listener in listeners {
        let (socket, came) = listener.await.expect("a listener that got everything");
        waits.extend(came.iter().zip(&sent).map(|(came, sent)| *came - *sent));
        sockets.push(socket);
    }
    assert_eq!(waits.len(), online * rounds);
    waits.sort_unstable();
    let p99 = waits[waits.len() * 99 / 100];
    println!(
        "{members} members, {online} here: p99 {p99:?}, median {:?}",
        waits[waits.len() / 2]
    );
    assert!(p99 <= Duration::from_millis(250), "p99 {p99:?}");

    let mark = "a mark that stands nowhere else 7f3a9c";
    say(&mut from, &us, "mark", mark).await;
    assert_eq!(copies(&server.data().join("log"), mark.as_bytes()), 1);
    let socket = sockets.last_mut().expect("a member");
    let listed = summary(socket, &us).await.expect("listed");
    assert_eq!(listed["unread"], rounds + 1);
}

#[tokio::test]
async fn the_largest_group_is_made_paged_written_to_and_read() {
    let members = whole(100_000, 2_000);
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let last = server.user("last").await;
    let crowd = register(&server, members - 2).await;
    let first: Vec<&String> = crowd.iter().take(1_000).collect();
    let body = Some(json!({"title": "everyone", "members": first}));
    let (status, made) = server
        .call("POST", "/v1/groups", Some(&ann.token), body)
        .await;
    assert_eq!(status, 201, "{made}");
    let us = made["id"].as_str().expect("an id").to_owned();
    add(&server, &ann, &us, &crowd[1_000.min(crowd.len())..]).await;
    add(&server, &ann, &us, std::slice::from_ref(&last.id)).await;

    let mut listed = std::collections::HashSet::new();
    let mut below = "/members?limit=200".to_owned();
    loop {
        let (status, page) = call(&server, &last, "GET", &us, &below, None).await;
        assert_eq!(status, 200, "{page}");
        for member in page["members"].as_array().expect("members") {
            let user = member["user"].as_str().expect("an id").to_owned();
            assert!(listed.insert(user), "each once");
        }
        match page["cursor"].as_str() {
            Some(cursor) => below = format!("/members?limit=200&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(listed.len(), members);
    assert!(crowd.iter().all(|user| listed.contains(user)));

    let (mut from, mut to) = (server.session(&ann).await, server.session(&last).await);
    let ack = say(&mut from, &us, "1", "to everyone").await;
    assert_eq!(
        ack["ok"]["seq"],
        members + 1,
        "one entry for each who joined"
    );
    assert_eq!(
        to.event("entry").await["entry"]["content"]["text"],
        "to everyone"
    );
    let unread = summary(&mut to, &us).await.expect("listed")["unread"].clone();
    assert_eq!(unread, 1);
    let past = history(&mut to, &us).await;
    assert_eq!(
        past.last().expect("entries")["content"]["text"],
        "to everyone"
    );
    let full = Some(json!({"users": [server.user("one-more").await.id]}));
    let (status, _) = call(&server, &ann, "POST", &us, "/members", full).await;
    assert_eq!(status, if members == 100_000 { 413 } else { 201 });
}

#[tokio::test]
async fn of_many_who_come_at_once_the_newest_are_pushed_and_the_rest_is_read() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let us = group(&server, &ann, &[&bob]).await;
    let mut to = server.session(&bob).await;
    add(&server, &ann, &us, &register(&server, 240).await).await;
    let mut from = server.session(&ann).await;
    say(&mut from, &us, "1", "done").await;
    let mut pushed = Vec::new();
    loop {
        let entry = to.event("entry").await["entry"].clone();
        pushed.push(entry["seq"].as_u64().expect("a seq"));
        if entry["kind"] == "message" {
            break;
        }
    }
    assert_eq!(pushed, (143..=243).collect::<Vec<u64>>());
    let gap = json!({"conversation": us, "after": 2, "before": pushed[0], "limit": 200});
    let page = to.request("history", gap).await;
    let entries = page["ok"]["entries"].as_array().expect("entries").clone();
    assert_eq!(entries.len(), 140);
    assert!(entries.iter().all(|entry| entry["code"] == "member_joined"));
}
