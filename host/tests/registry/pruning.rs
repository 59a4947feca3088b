//! Pruning: what serves, what a rollback goes to and fallbacks stay; the rest goes with its code, and what is known of it
//! stays known.

use std::path::Path;

use kith::oci::Digest;
use serde_json::{Value, json};

use super::{audited, component, plugin, rebuilt, text, versions};
use crate::support::TestServer;
use crate::swap;

fn names(pruned: &Value) -> Vec<String> {
    let removed = pruned["removed"].as_array().expect("versions").iter();
    let version = |row: &Value| row["version"].as_str().expect("a version").to_owned();
    let mut names: Vec<String> = removed.map(version).collect();
    names.sort();
    names
}

/// Bytes of compiled code on the disk.
fn code(server: &TestServer) -> u64 {
    let folder = server.data().join("plugin-cache");
    let files = std::fs::read_dir(folder).expect("the cache").flatten();
    files
        .map(|file| file.metadata().map_or(0, |metadata| metadata.len()))
        .sum()
}

/// The states of a plugin's versions, by what is behind `1.0.0-`.
async fn wayward(server: &TestServer) -> Vec<String> {
    let all = versions(server).await;
    let own = all
        .iter()
        .filter_map(|row| row.strip_prefix("wayward 1.0.0-"));
    let mut own: Vec<String> = own.map(str::to_owned).collect();
    own.sort();
    own
}

/// What waits for its grants is needed by no plan: here it has them, and every shipped plugin serves.
async fn all_serve(server: &TestServer) {
    let granted = ["--grant", "http:host=nowhere.example,metrics"];
    let activate = [&["activate", "webhook-out@0.1.0"][..], &granted].concat();
    plugin(server, &activate).await.done();
}

#[tokio::test]
async fn what_serves_what_a_rollback_goes_to_and_fallbacks_stay() {
    let server = swap::server().await;
    all_serve(&server).await;
    for kind in ["good", "other"] {
        swap::activate(&server, kind).await;
    }
    let bound = [
        "bind",
        "wayward",
        "--hook",
        "content-filter",
        "--on-failed",
        "fallback",
    ];
    let bound = [&bound[..], &["--fallback", "1.0.0-slow"]].concat();
    plugin(&server, &bound).await.done();
    let generation = server.app().rollout.generation();
    // Looked at, so that there is code of what does not serve.
    plugin(&server, &["inspect", "wayward@1.0.0-looping"])
        .await
        .done();
    let unneeded = ["1.0.0-hoarding", "1.0.0-looping", "1.0.0-trapping"];
    let before = code(&server);

    let looked = plugin(&server, &["prune", "--dry-run", "--json"])
        .await
        .json();
    assert_eq!(names(&looked), unneeded);
    assert_eq!(looked["dry_run"], true);
    assert_eq!((code(&server), wayward(&server).await.len()), (before, 6));
    let kept = plugin(&server, &["prune", "--keep", "2", "--json"])
        .await
        .json();
    assert_eq!(names(&kept).len(), 1, "{kept}");
    let told = plugin(&server, &["prune"]).await.done();
    // A head, two versions, and what was freed.
    assert_eq!(told.lines().count(), 4, "{told}");
    assert!(told.contains("\nfreed "), "{told}");
    let again = plugin(&server, &["prune", "--json"]).await.json();
    assert_eq!(again["freed"], json!({"components": 0, "code": 0}));
    assert!(looked["freed"]["code"].as_u64() > Some(0), "{looked}");
    assert!(code(&server) < before);

    assert_eq!(
        wayward(&server).await,
        ["good available", "other active", "slow available"]
    );
    assert_eq!(
        server.app().rollout.generation(),
        generation,
        "nothing was switched"
    );
    let all = versions(&server).await;
    for name in ["direct-strategy", "group-strategy", "word-filter"] {
        assert!(all.contains(&format!("{name} 0.1.0 active")), "{all:?}");
    }
    let mut audit = audited(&server, "plugin.prune");
    audit.sort();
    audit.dedup();
    assert_eq!(audit.len(), 3, "one line for each: {audit:?}");

    let refused = plugin(&server, &["activate", "wayward@1.0.0-looping"])
        .await
        .refused();
    assert!(refused.contains("was pruned; push it again"), "{refused}");
    let refused = plugin(&server, &["inspect", "wayward@1.0.0-looping"])
        .await
        .refused();
    assert!(refused.contains("was pruned"), "{refused}");
    plugin(&server, &["rollback", "wayward"]).await.done();
    plugin(&server, &["prune"]).await.done();
    assert_eq!(
        wayward(&server).await,
        ["good active", "other available", "slow available"]
    );
}

/// Writes a component to a file and pushes it.
async fn push(server: &TestServer, folder: &Path, component: &[u8]) -> super::Ended {
    let file = folder.join("words.wasm");
    std::fs::write(&file, component).expect("written");
    plugin(server, &["push", text(&file)]).await
}

#[tokio::test]
async fn a_pruned_version_is_its_digest_for_ever_and_its_quarantine_stays() {
    let mut server = TestServer::bare().await;
    let folder = tempfile::tempdir().expect("a folder");
    let words = component("word-filter");
    let digest = Digest::of(&words);
    push(&server, folder.path(), &words).await.done();
    let tables = server.data().join("accounts.sqlite");
    let quarantine = || {
        let tables = rusqlite::Connection::open(tables).expect("the tables");
        let update = "UPDATE plugins SET quarantined = 1";
        assert_eq!(tables.execute(update, []).expect("updated"), 1);
    };
    server.restart_after(quarantine).await;
    assert_eq!(versions(&server).await, ["word-filter 0.1.0 quarantined"]);
    let pruned = plugin(&server, &["prune", "--json"]).await.json();
    assert_eq!(pruned["removed"][0]["digest"], digest.as_str());
    assert!(versions(&server).await.is_empty());

    let refused = push(&server, folder.path(), &rebuilt(&words))
        .await
        .refused();
    assert!(
        refused.contains("is known with another digest"),
        "{refused}"
    );
    server.restart().await;
    let refused = push(&server, folder.path(), &rebuilt(&words))
        .await
        .refused();
    assert!(refused.contains(digest.as_str()), "{refused}");
    push(&server, folder.path(), &words).await.done();
    assert_eq!(versions(&server).await, ["word-filter 0.1.0 quarantined"]);
    let by_digest = format!("word-filter@{digest}");
    let refused = plugin(&server, &["activate", &by_digest]).await.refused();
    assert!(
        refused.contains("is quarantined; activate it with --force"),
        "{refused}"
    );
    plugin(&server, &["activate", &by_digest, "--force"])
        .await
        .done();
    assert_eq!(versions(&server).await, ["word-filter 0.1.0 active"]);
}

#[tokio::test]
async fn a_disabled_plugin_keeps_its_version() {
    let server = TestServer::with_plugins().await;
    all_serve(&server).await;
    plugin(&server, &["disable", "word-filter"]).await.done();
    let pruned = plugin(&server, &["prune", "--json"]).await.json();
    assert_eq!(pruned["removed"], json!([]));
    plugin(&server, &["enable", "word-filter"]).await.done();
    assert!(
        versions(&server)
            .await
            .contains(&"word-filter 0.1.0 active".to_owned())
    );
}
