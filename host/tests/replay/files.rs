//! Files about calls that failed: written once a second try failed too, without what people wrote, and good for running
//! the same call again where the author sits.

use serde_json::{Value, json};

use super::{place, say};
use crate::after::{GRANTS, Stage};
use crate::erasure::is_on_disk;
use crate::registry::plugin;
use crate::support::{PATIENCE, TestServer};
use crate::swap;

/// The files of a plugin, once there is one.
async fn files(server: &TestServer, name: &str) -> Vec<Value> {
    let path = format!("/replay-files?plugin={name}");
    let found = async {
        loop {
            let (status, listed) = server.admin("GET", &path, None).await;
            assert_eq!(status, 200, "{listed}");
            let files = listed["files"].as_array().expect("files").clone();
            if !files.is_empty() {
                return files;
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, found);
    found.await.expect("a replay file")
}

fn component(kind: &str) -> std::path::PathBuf {
    let target = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("wayward");
    target.join(format!("{kind}.wasm"))
}

/// Runs a file on a component as its author would; what is printed, and whether it holds.
async fn run(file: &std::path::Path, component: &std::path::Path) -> (String, Result<(), String>) {
    let (file, component) = (file.to_owned(), component.to_owned());
    let ran = tokio::task::spawn_blocking(move || {
        let lines = std::cell::RefCell::new(String::new());
        let say = |line: &str| lines.borrow_mut().push_str(&format!("{line}\n"));
        let held = kith::guest::replay(&file, &component, None, &say);
        let held = held.and_then(|replayed| replayed.check());
        (lines.into_inner(), held.map_err(|error| error.to_string()))
    });
    ran.await.expect("it runs")
}

/// The same by the command line, as JSON.
async fn is_read_by_a_program(server: &TestServer, file: &std::path::Path) {
    let file = file.display().to_string();
    for (kind, status, counts) in [("trapping", 1, (0, 1)), ("good", 0, (1, 0))] {
        let component = component(kind).display().to_string();
        let arguments = ["test", &component, "--replay", &file, "--json"];
        let ended = plugin(server, &arguments).await;
        assert_eq!(ended.code, Some(status), "{ended:?}");
        let report: Value = serde_json::from_str(&ended.out).expect("JSON");
        let counted = (&report["passed"], &report["failed"]);
        assert_eq!(counted, (&json!(counts.0), &json!(counts.1)), "{report}");
        let case = &report["cases"][0];
        assert_eq!(case["name"], "content-filter", "{report}");
        assert_eq!(case["failure"].as_str(), (status == 1).then_some("trap"));
    }
}

#[tokio::test]
async fn a_call_that_trapped_traps_again_on_its_authors_machine() {
    let server = swap::server().await;
    swap::activate(&server, "good").await;
    swap::activate(&server, "trapping").await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    let held = say(&mut a, &bob.id, "geheimnis 3").await;
    assert_eq!(held["ok"]["state"], "held", "{held}");
    let file = files(&server, "wayward").await.remove(0);
    assert_eq!(
        (&file["hook"], &file["failure"], &file["version"]),
        (
            &json!("content-filter"),
            &json!("trap"),
            &json!("1.0.0-trapping")
        )
    );
    assert!(file["conversation"].is_string(), "{file}");
    // The folder has no words; an administrator may ask for them.
    assert!(!is_on_disk(
        &server.data().join("replay-files"),
        b"geheimnis"
    ));
    let id = file["id"].as_str().expect("an id").to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    let [bare, whole] = ["bare.json", "whole.json"].map(|name| folder.path().join(name));
    let out = |path: &std::path::Path| path.display().to_string();
    plugin(&server, &["replay", "--file", &id, "--out", &out(&bare)])
        .await
        .done();
    let with_text = [
        "replay",
        "--file",
        &id,
        "--with-text",
        "--out",
        &out(&whole),
    ];
    plugin(&server, &with_text).await.done();
    let read = |path| std::fs::read_to_string(path).expect("a file");
    assert!(!read(&bare).contains("geheimnis") && read(&whole).contains("geheimnis 3"));
    let (said, failed) = run(&whole, &component("trapping")).await;
    assert_eq!(
        failed,
        Err("it fails as it did on the server".to_owned()),
        "{said}"
    );
    assert!(
        said.contains("FAILED  trap: it trapped: ") && said.contains("told to trap"),
        "{said}"
    );
    let (said, mended) = run(&whole, &component("good")).await;
    assert_eq!(mended, Ok(()), "{said}");
    is_read_by_a_program(&server, &whole).await;
    let (said, _) = run(&bare, &component("trapping")).await;
    assert!(said.contains("x stands for every character"), "{said}");
    let listed = plugin(&server, &["replay", "wayward", "--files", "--json"])
        .await
        .json();
    assert!(
        listed
            .as_array()
            .is_some_and(|files| files.iter().any(|file| file["id"] == id.as_str()))
    );
    plugin(&server, &["replay", "--remove", &id]).await.done();
    assert_eq!(
        server
            .admin("GET", &format!("/replay-files/{id}"), None)
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn a_recall_in_the_conversation_ends_what_is_known_of_the_words() {
    let server = swap::server().await;
    swap::activate(&server, "good").await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    let earlier = place(&mut a, &bob.id, "earlier 1").await;
    swap::activate(&server, "trapping").await;
    say(&mut a, &bob.id, "geheimnis 3").await;
    let file = files(&server, "wayward").await.remove(0);
    let whole = format!(
        "/replay-files/{}?text=true",
        file["id"].as_str().expect("an id")
    );
    let (status, shown) = server.admin("GET", &whole, None).await;
    assert_eq!(status, 200, "{shown}");
    assert!(a.request("recall", earlier).await["ok"].is_object());
    let (status, gone) = server.admin("GET", &whole, None).await;
    assert_eq!(status, 404, "{gone}");
}

#[tokio::test]
async fn an_event_that_was_given_up_fails_again_with_the_words_of_the_log() {
    let mut stage = Stage::with(GRANTS, |config| config.plugins.after_stop_ms = 300).await;
    let seq = stage.say("trap").await;
    assert_eq!(stage.ask("total").await, "total 0");
    let file = files(&stage.server, "observant").await.remove(0);
    assert_eq!(
        (&file["hook"], &file["failure"], &file["seq"]),
        (&json!("observer"), &json!("trap"), &json!(seq))
    );
    let skipped = crate::rollout::told(&stage.server, "plugin.skipped").await;
    let detail = &skipped["detail"];
    assert_eq!(
        (&skipped["subject"], &detail["hook"], &detail["seq"]),
        (&json!("observant"), &json!("observer"), &json!(seq)),
        "{skipped}"
    );
    assert_eq!(detail["conversation"], file["conversation"], "{skipped}");
    let id = file["id"].as_str().expect("an id").to_owned();
    let (status, bare) = stage
        .server
        .admin("GET", &format!("/replay-files/{id}"), None)
        .await;
    assert_eq!(status, 200, "{bare}");
    assert_eq!(bare["asked"]["events"][0]["text"], json!({"chars": 4}));
    let whole = format!("/replay-files/{id}?text=true");
    let (_, shown) = stage.server.admin("GET", &whole, None).await;
    assert_eq!(shown["asked"]["events"][0]["text"], json!({"text": "trap"}));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file.json");
    std::fs::write(&path, shown.to_string()).expect("written");
    let component = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("observant");
    let (said, failed) = run(&path, &component.join("plain.wasm")).await;
    assert_eq!(
        failed,
        Err("it fails as it did on the server".to_owned()),
        "{said}"
    );
    // What was recalled since is not in it any more.
    let recall = json!({"conversation": file["conversation"], "seq": seq});
    assert!(stage.socket.request("recall", recall).await["ok"].is_object());
    let (_, shown) = stage.server.admin("GET", &whole, None).await;
    assert_eq!(
        shown["asked"]["events"][0]["text"],
        json!({"text": ""}),
        "{shown}"
    );
}
