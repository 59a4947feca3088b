//! What an index survives: restarts, kills, damage of every kind; and the commands that make it anew and erase from it.
//! Whatever happens to it, the log has everything that was in it.

use std::time::Instant;

use serde_json::{Value, json};

use super::{say, search, searching, texts};
use crate::crash::process::{ServerProcess, program};
use crate::support::PATIENCE;

#[tokio::test]
async fn an_index_goes_on_after_a_restart_and_a_broken_one_is_made_anew() {
    let mut server = searching().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    say(&mut socket, &bob, &["a walrus", "an otter"]).await;
    server.app().indexed().await;
    server.restart().await;
    assert_eq!(
        texts(&search(&server, &bob, "q=walrus").await),
        ["a walrus"]
    );
    let (_, ready) = server.call("GET", "/readyz", None, None).await;
    assert_eq!(
        (ready["status"].as_str(), ready["parts"]["search"].as_str()),
        (Some("ready"), Some("ok"))
    );
    let folder = server.data().join("search");
    let damages: [fn(&std::path::Path); 3] = [cut_in_half, overwrite, |file| {
        std::fs::remove_file(file).expect("removed");
    }];
    for damage in damages {
        let damaged = || {
            for file in std::fs::read_dir(&folder).expect("the index").flatten() {
                damage(&file.path());
            }
        };
        server.restart_after(damaged).await;
        let mut socket = server.session(&ann).await;
        say(&mut socket, &bob, &["a walrus again"]).await;
        let answer = search(&server, &bob, "q=otter").await;
        assert_eq!(texts(&answer), ["an otter"]);
    }
    assert_eq!(texts(&search(&server, &bob, "q=walrus").await).len(), 4);
}

fn cut_in_half(file: &std::path::Path) {
    let bytes = std::fs::read(file).expect("a file");
    std::fs::write(file, &bytes[..bytes.len() / 2]).expect("written");
}

/// Keeps the file's length and end, where its own check stands.
fn overwrite(file: &std::path::Path) {
    let mut bytes = std::fs::read(file).expect("a file");
    if let Some(first) = bytes.first_mut() {
        *first ^= 0xff;
    }
    std::fs::write(file, bytes).expect("written");
}

#[tokio::test]
async fn kill_nine_loses_nothing_of_the_index_for_good() {
    let mut server = ServerProcess::searching().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut expected = 0;
    for round in 0..5 {
        let mut socket = server.session(&ann).await;
        for n in 0..20 {
            let ack = socket
                .send_text(&bob.id, &format!("{round}-{n}"), "a walrus")
                .await;
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
            assert!(
                began.elapsed() < PATIENCE,
                "{status}: {found} of {expected}"
            );
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn reindex_makes_the_index_anew_and_compact_erases_what_was_recalled() {
    let mut server = ServerProcess::searching().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    let ack = socket.send_text(&bob.id, "1", "the word is zyzzyva").await;
    socket.send_text(&bob.id, "2", "a walrus").await;
    let began = Instant::now();
    while server.get_as(&bob, "/v1/search?q=zyzzyva").await.1["messages"][0].is_null() {
        assert!(began.elapsed() < PATIENCE, "never found");
        tokio::task::yield_now().await;
    }
    let fields = json!({"conversation": ack["ok"]["conversation"], "seq": 1});
    assert!(socket.request("recall", fields).await["ok"].is_object());
    server.stop().await;
    assert!(keeps(&server, "zyzzyva"), "nothing to erase");
    let (ended, _) = admin(&server, &["compact"]).await;
    assert!(ended);
    assert!(!keeps(&server, "zyzzyva"), "still on the disk");
    assert!(keeps(&server, "walrus"));

    std::fs::remove_dir_all(server.data().join("search")).expect("removed");
    let (ended, printed) = admin(&server, &["reindex", "--json"]).await;
    assert!(ended);
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(printed["indexed"], 3, "{printed}");
    server.restart().await;
    let began = Instant::now();
    loop {
        let (_, answer) = server.get_as(&bob, "/v1/search?q=walrus").await;
        if answer["messages"][0]["entry"]["seq"] == 2 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{answer}");
        tokio::task::yield_now().await;
    }
}

/// Runs `kith admin` on a stopped server's data; whether it ended well, and what it printed.
async fn admin(server: &ServerProcess, command: &[&str]) -> (bool, String) {
    let run = tokio::process::Command::new(program())
        .arg("admin")
        .args(command)
        .arg("--data")
        .arg(server.data())
        .output();
    let output = run.await.expect("the program runs");
    if command.contains(&"reindex") {
        let progress = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(progress.contains("indexed"), "{progress}");
    }
    let printed = String::from_utf8(output.stdout).expect("text");
    (output.status.success(), printed)
}

/// Whether a word stands in the index's files, of a removed message too: they are read as what they are, since
/// dictionaries are compressed.
fn keeps(server: &ServerProcess, word: &str) -> bool {
    let index = tantivy::Index::open_in_dir(server.data().join("search")).expect("an index");
    let text = index.schema().get_field("text").expect("the texts' field");
    let searcher = index.reader().expect("a reader").searcher();
    searcher.segment_readers().iter().any(|segment| {
        let words = segment.inverted_index(text).expect("its words");
        words.terms().get(word).expect("looked up").is_some()
    })
}
