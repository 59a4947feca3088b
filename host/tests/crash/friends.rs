//! A friend request is in two stores. The process ends between them, on either side of the log's part:
//! whoever was asked finds the request once, and so does whoever asked.

use serde_json::{Value, json};

use super::process::ServerProcess;
use super::strace::Trace;
use crate::support::{PATIENCE, TestUser};

/// The codes of the entries of a user's own log.
async fn own_log(server: &ServerProcess, user: &TestUser) -> Vec<Value> {
    let mut socket = server.session(user).await;
    let list = socket.request("conversations", json!({})).await["ok"]["conversations"].clone();
    let list = list.as_array().expect("a list");
    let Some(own) = list.iter().find(|summary| summary["kind"] == "self") else {
        return Vec::new();
    };
    let asked = json!({"conversation": own["id"], "after": 0});
    let page = socket.request("history", asked).await;
    page["ok"]["entries"].as_array().expect("entries").clone()
}

/// Waits until a user's own log has an entry.
async fn first_of_own_log(server: &ServerProcess, user: &TestUser) -> Vec<Value> {
    let found = async {
        loop {
            let log = own_log(server, user).await;
            if !log.is_empty() {
                return log;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .expect("the request in its log")
}

/// Both logs hold the request once; answering it works.
async fn check(server: &ServerProcess, ann: &TestUser, bob: &TestUser) {
    let (_, request) = server.get_as(bob, "/v1/friend-requests").await;
    let request = request["friend_requests"][0]["id"].clone();
    for (user, other) in [(bob, ann), (ann, bob)] {
        let log = first_of_own_log(server, user).await;
        assert_eq!(log.len(), 1, "{log:?}");
        assert_eq!(log[0]["code"], "friend_request");
        assert_eq!(log[0]["args"], json!({"id": request, "user": other.id}));
    }
    let path = format!("/v1/friend-requests/{}", request.as_str().expect("an id"));
    let (status, accepted) = server.post_as(bob, &path, json!({"accept": true})).await;
    assert_eq!(
        (status, accepted["state"].as_str()),
        (200, Some("accepted"))
    );
    for user in [ann, bob] {
        let log = own_log(server, user).await;
        let codes: Vec<_> = log.iter().map(|entry| entry["code"].clone()).collect();
        assert_eq!(codes, ["friend_request", "friend_accepted"]);
    }
}

#[tokio::test]
async fn a_request_stored_before_a_crash_and_not_yet_in_the_logs_is_entered_at_start() {
    let mut server = ServerProcess::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    socket.send_text(&bob.id, "warm", "x").await;
    let journal = server.journal();
    let full = ["-e", "inject=write,pwrite64:error=ENOSPC"];
    let only = ["-P", journal.to_str().expect("a path")];
    let trace = Trace::attach(server.pid(), &[full, only].concat()).await;
    let body = json!({"user": bob.id});
    let (status, made) = server.post_as(&ann, "/v1/friend-requests", body).await;
    assert_eq!(status, 201, "{made}");
    assert!(
        own_log(&server, &bob).await.is_empty(),
        "the log takes nothing"
    );
    trace.finish().await;
    server.kill();
    server.restart().await;
    check(&server, &ann, &bob).await;
}

#[tokio::test]
async fn a_request_entered_before_a_crash_and_not_yet_marked_so_is_not_entered_again() {
    let mut server = ServerProcess::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut waiting = server.session(&bob).await;
    // Each commit of the accounts takes long, so the process dies before the mark after the entry is stored.
    let slow = ["-e", "inject=fdatasync,fsync:delay_enter=1500000"];
    let accounts = server.data().join("accounts.sqlite-wal");
    let only = ["-P", accounts.to_str().expect("a path")];
    let trace = Trace::attach(server.pid(), &[slow, only].concat()).await;
    let asking = server.begin_post_as(&ann, "/v1/friend-requests", json!({"user": bob.id}));
    let entered = waiting.event("entry").await;
    assert_eq!(entered["entry"]["code"], "friend_request");
    assert!(!asking.is_finished(), "the mark is not stored yet");
    server.kill();
    trace.abandon().await;
    let _ = asking.await;
    server.restart().await;
    check(&server, &ann, &bob).await;
}
