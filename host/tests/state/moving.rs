//! Versions that want the state in another form: a copy is migrated or a new one is built, it serves with the version, and a
//! rollback returns to the old one.

use serde_json::json;
use tokio::sync::watch;

use super::{Stage, activate};
use crate::support::PATIENCE;

#[tokio::test]
async fn a_migrated_state_serves_with_its_version_and_a_rollback_returns_to_the_old_one() {
    let mut stage = Stage::new().await;
    for n in 0..10 {
        stage.say(&format!("put {n}")).await;
    }
    stage.say("take 3").await;
    assert_eq!(stage.ask("list").await, "k 9 m 0 r 0 odd 0");
    let (status, done) = activate(&stage.server, "two", "").await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(stage.ask("list").await, "k 0 m 9 r 0 odd 0");
    stage.say("put new").await;
    assert_eq!(stage.ask("list").await, "k 0 m 10 r 0 odd 0");
    stage.server.restart().await;
    stage.reconnect().await;
    assert_eq!(stage.ask("list").await, "k 0 m 10 r 0 odd 0");
    let (status, done) = stage.rollback().await;
    assert_eq!((status, &done["version"]), (200, &json!("0.1.0-one")));
    assert_eq!(
        stage.ask("list").await,
        "k 9 m 0 r 0 odd 0",
        "as it was when the version took over"
    );
    let (status, refused) = stage.rollback().await;
    assert_eq!(status, 409, "the copy is gone: {refused}");
    stage.server.restart().await;
    stage.reconnect().await;
    let (status, done) = activate(&stage.server, "two", "").await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(stage.ask("list").await, "k 0 m 9 r 0 odd 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_while_a_state_is_migrated_is_migrated_too() {
    let mut stage = Stage::new().await;
    for n in 0..700 {
        stage.say(&format!("put old{n}")).await;
    }
    let (bob, cat) = (
        stage.server.user("bob").await,
        stage.server.user("cat").await,
    );
    let mut answer = stage.server.session(&cat).await;
    answer.send_text(&bob.id, "hello", "hello").await;
    let mut socket = stage.server.session(&bob).await;
    let (stop, stopped) = watch::channel(false);
    // It writes without a pause, and no message of it may be refused.
    let writing = tokio::spawn(async move {
        let mut written = 0;
        while !*stopped.borrow() {
            let (put, take) = (format!("put new{written}"), format!("take old{written}"));
            for text in [put, take] {
                let reply = socket.send_text(&cat.id, &text, &text).await;
                assert!(reply["ok"]["seq"].is_u64(), "{text}: {reply}");
            }
            written += 1;
        }
        written
    });
    let (status, done) = activate(&stage.server, "slow", "").await;
    assert_eq!(status, 200, "{done}");
    stop.send_replace(true);
    let written: usize = writing.await.expect("nothing was refused");
    assert!(written > 0, "something was written meanwhile");
    let (left, expected) = (700_usize.saturating_sub(written), written);
    assert_eq!(
        stage.ask("list").await,
        format!("k 0 m {} r 0 odd 0", left + expected)
    );
}

#[tokio::test]
async fn a_version_that_cannot_migrate_changes_nothing() {
    let mut stage = Stage::new().await;
    for n in 0..5 {
        stage.say(&format!("put {n}")).await;
    }
    for (kind, why) in [
        ("refusing", "it is not to be had"),
        ("trapping", "told to trap"),
        ("never", "not from there"),
    ] {
        let (status, refused) = activate(&stage.server, kind, "").await;
        assert_eq!(status, 400, "{kind}: {refused}");
        let says = refused["message"].as_str().expect("a message");
        assert!(says.contains(why), "{says}");
        stage.say(&format!("put {kind}")).await;
    }
    assert_eq!(stage.ask("list").await, "k 8 m 0 r 0 odd 0");
    let (_, list) = stage.server.admin("GET", "/plugins", None).await;
    let rows = list["plugins"].as_array().expect("plugins");
    let active = rows.iter().find(|row| row["state"] == "active");
    assert_eq!(active.expect("one serves")["version"], "0.1.0-one");
}

#[tokio::test]
async fn a_state_that_has_no_room_when_it_is_migrated_refuses_the_version() {
    let mut stage = Stage::new().await;
    for n in 0..4 {
        stage.say(&format!("put {n}")).await;
    }
    let bytes = stage.report().await["values"]["bytes"].as_u64();
    let exactly = json!({"grants": format!("kv:bytes={}", bytes.expect("bytes"))});
    let path = "/plugins/keeper/grants";
    let (status, _) = stage.server.admin("POST", path, Some(exactly)).await;
    assert_eq!(status, 200);
    let (status, refused) = activate(&stage.server, "two", "").await;
    assert_eq!(status, 409, "{refused}");
    let says = refused["message"].as_str().expect("a message");
    assert!(says.contains("--grant kv:bytes=N"), "{says}");
    // Messages that waited for it went on with the version before.
    stage.say("take 0").await;
    stage.say("put 5").await;
    assert_eq!(stage.ask("list").await, "k 4 m 0 r 0 odd 0");
    let (status, done) = activate(&stage.server, "two", "kv:bytes=1000").await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(stage.ask("list").await, "k 0 m 4 r 0 odd 0");
}

#[tokio::test]
async fn a_state_is_rebuilt_from_what_was_said_and_nothing_else_happens() {
    let mut stage = Stage::new().await;
    for text in ["put a", "put loud", "hello", "put b", "put a"] {
        stage.say(text).await;
    }
    assert_eq!(stage.ask("list").await, "k 3 m 0 r 0 odd 0");
    let (status, done) = activate(&stage.server, "again", "").await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(
        stage.ask("list").await,
        "k 0 m 0 r 3 odd 0",
        "and nothing was heard of it"
    );
    stage.say("put c").await;
    stage.comes_to("k 0 m 0 r 4 odd 0").await;
    let (status, _) = stage.rollback().await;
    assert_eq!(status, 200);
    assert_eq!(stage.ask("list").await, "k 3 m 0 r 0 odd 0");
}

#[tokio::test]
async fn while_a_state_is_migrated_its_progress_is_shown() {
    let mut stage = Stage::new().await;
    for n in 0..600 {
        stage.say(&format!("put {n}")).await;
    }
    let url = stage.server.admin_url("/plugins/keeper/activate");
    let http = stage.server.http.clone();
    let body = json!({"version": "0.1.0-slow"});
    let activating = tokio::spawn(async move {
        let request = http.post(url).bearer_auth(crate::support::BOOTSTRAP);
        request
            .json(&body)
            .send()
            .await
            .expect("an answer")
            .status()
    });
    let seen = async {
        loop {
            let moving = stage.report().await["moving"].clone();
            if moving["done"].as_u64() > Some(0) {
                return moving;
            }
        }
    };
    let moving = tokio::time::timeout(PATIENCE, seen).await;
    let moving = moving.expect("it is seen on its way");
    assert_eq!(
        (&moving["from"], &moving["to"], &moving["what"]),
        (&json!("0.1.0-one"), &json!("0.1.0-slow"), &json!("migrate"))
    );
    assert!(moving["of"].as_u64() >= moving["done"].as_u64(), "{moving}");
    assert_eq!(activating.await.expect("ends"), 200);
    assert!(stage.report().await["moving"].is_null());
}
