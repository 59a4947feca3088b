//! What operators do to a database before and beside the nodes: collections made by several at once, checks of what is
//! wrong; and what a client is told that repeats itself to another node.

use std::path::Path;

use serde_json::{Value, json};

use super::Cluster;
use crate::crash::process::program;

/// A command on what the nodes of a cluster run on: status, standard output, standard error.
async fn run(
    cluster: &Cluster,
    command: &[&str],
    over: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let settings = cluster.environment();
    let run = tokio::process::Command::new(program())
        .args(command)
        .env("KITH_SEARCH__ENGINE", "none")
        .envs(settings)
        .envs(over.iter().copied())
        .output();
    let output = run.await.expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn several_migrate_one_database_at_once_and_again() {
    let cluster = Cluster::start(0).await;
    let unset = run(&cluster, &["doctor"], &[]).await;
    assert_eq!(unset.0, Some(0), "{unset:?}");
    assert!(unset.1.contains("kith admin migrate"), "{unset:?}");
    let migrate = ["admin", "migrate", "--json"];
    let (one, two, three) = tokio::join!(
        run(&cluster, &migrate, &[]),
        run(&cluster, &migrate, &[]),
        run(&cluster, &migrate, &[]),
    );
    for told in [one, two, three] {
        let parts: Value = serde_json::from_str(&told.1).unwrap_or_else(|_| panic!("{told:?}"));
        for part in ["message log", "accounts"] {
            assert!(parts[part]["to"].is_u64(), "{parts}");
        }
    }
    let again = run(&cluster, &["admin", "migrate"], &[]).await;
    assert_eq!(again.1.matches("already").count(), 2, "{again:?}");
    let set = run(&cluster, &["doctor"], &[]).await;
    assert!(set.1.starts_with("store: mongodb"), "{set:?}");
    assert!(!set.1.contains("kith admin migrate"), "{set:?}");
    assert!(set.1.contains("bus: redis"), "{set:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_store_is_told_in_one_line() {
    let cluster = Cluster::start(0).await;
    let nowhere = "mongodb://127.0.0.1:1/kith?directConnection=true&serverSelectionTimeoutMS=500";
    let credentials = format!(
        "mongodb://nobody:unsayable@{}/kith?directConnection=true&authMechanism=NOPE",
        cluster.mongo.address()
    );
    for (url, word) in [
        (nowhere, "store: "),
        ("mongodb://", "store.url"),
        ("mongodb://host:port/kith", "store: "),
        (&credentials, "store: "),
    ] {
        let told = run(&cluster, &["doctor"], &[("KITH_STORE__URL", url)]).await;
        assert_ne!(told.0, Some(0), "{told:?}");
        assert_eq!(told.2.lines().count(), 1, "{told:?}");
        assert!(told.2.contains(word), "{told:?}");
        assert!(!told.2.contains("unsayable"), "{told:?}");
    }
    let embedded = [
        ("KITH_STORE__ENGINE", "embedded"),
        ("KITH_BUS__ENGINE", "local"),
    ];
    let told = run(&cluster, &["admin", "migrate"], &embedded).await;
    assert_eq!(told.0, Some(1), "{told:?}");
    assert!(told.2.contains("store.engine"), "{told:?}");
    let told = run(&cluster, &["admin", "compact"], &[]).await;
    assert!(told.2.contains("compact"), "{told:?}");
    assert!(
        !Path::new("data").exists(),
        "nothing is made beside the tests"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_again_to_another_node_gets_the_first_answer() {
    let cluster = Cluster::start(2).await;
    let ann = cluster.nodes[0].user("ann").await;
    let bob = cluster.nodes[1].user("bob").await;
    let mut there = cluster.nodes[1].session(&bob).await;
    let mut here = cluster.nodes[0].session(&ann).await;
    let first = here.send_text(&bob.id, "once", "hello").await;
    assert_eq!(first["ok"]["seq"], 1, "{first}");
    let told = there.event("entry").await;
    assert_eq!(told["entry"]["content"]["text"], "hello", "{told}");
    // Her device moves to the other node.
    let mut moved = cluster.nodes[1].session(&ann).await;
    assert_eq!(here.end().await.0.as_deref(), Some("replaced"));
    let again = moved.send_text(&bob.id, "once", "hello").await;
    for field in ["seq", "id", "at", "conversation"] {
        assert_eq!(again["ok"][field], first["ok"][field], "{again}");
    }
    let read = json!({"conversation": first["ok"]["conversation"], "seq": 1});
    assert!(there.request("read", read).await["ok"].is_object());
    let receipt = moved.event("receipt").await;
    assert_eq!(receipt["read"], 1, "{receipt}");
    for (socket, unread) in [(&mut moved, 0), (&mut there, 0)] {
        let listed = socket.request("conversations", json!({})).await;
        assert_eq!(
            listed["ok"]["conversations"][0]["unread"], unread,
            "{listed}"
        );
    }
}
