//! How media end: what nobody completes, names or keeps goes, bytes and all; what is in use stays, also when the
//! process dies in between. And a deployment without media.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::steps::{
    self, content, fetch, picture, sweep_at, sweep_whole, ticket, upload, uploaded,
};
use crate::crash::process::ServerProcess;
use crate::support::TestServer;

const DAY: u64 = 24 * 60 * 60 * 1000;

/// A server and where its media are.
async fn server() -> (TestServer, PathBuf) {
    let mut folder = PathBuf::new();
    let server = TestServer::with(|config| {
        folder = Path::new(&config.server.data).join("media");
    })
    .await;
    (server, folder)
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn an_upload_that_is_never_completed_goes_with_its_ticket() {
    let (server, folder) = server().await;
    let ann = server.user("ann").await;
    let asked = ticket(&server, &ann, "a", "text/plain", 3).await.1;
    assert_eq!(upload(&server, &asked, b"abc".to_vec()).await.0, 204);
    assert_eq!(files(&folder).len(), 1);
    sweep_at(&server, 1000).await;
    assert_eq!(files(&folder).len(), 1, "the ticket is still good");
    sweep_at(&server, DAY).await;
    assert_eq!(files(&folder).len(), 0);
    let id = asked["id"].as_str().expect("an id");
    assert_eq!(steps::complete(&server, &ann, id).await.0, 404);
    assert_eq!(upload(&server, &asked, b"abc".to_vec()).await.0, 404);
}

#[tokio::test]
async fn what_no_message_names_goes_after_a_while_and_what_one_names_stays() {
    let (server, folder) = server().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let sent = uploaded(&server, &ann, "a.png", "image/png", picture(9, 9)).await;
    let unsent = uploaded(&server, &ann, "b.png", "image/png", picture(9, 9)).await;
    let mut from = server.session(&ann).await;
    steps::send(&mut from, &bob.id, "1", content("image", &sent)).await;
    assert_eq!(files(&folder).len(), 4, "two pictures, two thumbnails");
    sweep_at(&server, 1000).await;
    assert_eq!(fetch(&server, &ann, &unsent["id"]).await.0, 200);
    sweep_at(&server, 2 * DAY).await;
    let late = steps::send(&mut from, &bob.id, "2", content("image", &unsent)).await;
    assert_eq!(late["err"]["code"], "not_found", "it is leaving");
    assert_eq!(files(&folder).len(), 4);
    sweep_at(&server, 3 * DAY).await;
    assert_eq!(files(&folder).len(), 2);
    assert_eq!(fetch(&server, &ann, &unsent["id"]).await.0, 404);
    assert_eq!(fetch(&server, &bob, &sent["id"]).await.0, 200);
    sweep_at(&server, 300 * DAY).await;
    assert_eq!(fetch(&server, &bob, &sent["id"]).await.0, 200);
}

#[tokio::test]
async fn a_recall_takes_the_bytes_with_the_last_message_that_named_them() {
    let (mut server, folder) = server().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let image = uploaded(&server, &ann, "a.png", "image/png", picture(9, 9)).await;
    let mut from = server.session(&ann).await;
    let mut acks = Vec::new();
    for n in ["1", "2"] {
        acks.push(steps::send(&mut from, &bob.id, n, content("image", &image)).await["ok"].clone());
    }
    sweep_at(&server, 2 * DAY).await;
    for (ack, left) in acks.iter().zip([2, 0]) {
        let recall = json!({"conversation": ack["conversation"], "seq": ack["seq"]});
        assert!(from.request("recall", recall).await["ok"].is_object());
        if left == 0 {
            // The note of the recall outlives the process.
            server.restart().await;
        }
        sweep_whole(&server).await;
        assert_eq!(files(&folder).len(), left);
    }
    assert_eq!(fetch(&server, &ann, &image["id"]).await.0, 404);
}

#[tokio::test]
async fn compacting_takes_the_bytes_of_recalled_media_at_once() {
    let (mut server, folder) = server().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let kept = uploaded(&server, &ann, "k.png", "image/png", picture(7, 7)).await;
    let image = uploaded(&server, &ann, "a.png", "image/png", picture(9, 9)).await;
    let mut from = server.session(&ann).await;
    steps::send(&mut from, &bob.id, "1", content("image", &kept)).await;
    let ack = steps::send(&mut from, &bob.id, "2", content("image", &image)).await["ok"].clone();
    let recall = json!({"conversation": ack["conversation"], "seq": ack["seq"]});
    assert!(from.request("recall", recall).await["ok"].is_object());
    server.stop().await;
    server.compact().await;
    assert_eq!(files(&folder).len(), 2);
    server.start().await;
    assert_eq!(fetch(&server, &bob, &kept["id"]).await.0, 200);
    assert_eq!(fetch(&server, &ann, &image["id"]).await.0, 404);
}

#[tokio::test]
async fn a_held_message_keeps_its_media_until_it_is_refused() {
    let mut folder = PathBuf::new();
    let server = TestServer::with(|config| {
        folder = Path::new(&config.server.data).join("media");
        config.server.plugins = crate::support::plugins_folder().display().to_string();
    })
    .await;
    let words = json!({"words": [{"word": "badger", "level": "hold"}]});
    assert!(server.admin("POST", "/words", Some(words)).await.0 < 300);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let mut holds = Vec::new();
    let mut media = Vec::new();
    for n in ["1", "2"] {
        let image = uploaded(&server, &ann, "a.png", "image/png", picture(9, 9)).await;
        let mut named = content("image", &image);
        named["name"] = "badger.png".into();
        let ack = steps::send(&mut from, &bob.id, n, named).await;
        assert_eq!(ack["ok"]["state"], "held", "{ack}");
        holds.push(ack["ok"]["hold"].as_str().expect("a hold").to_owned());
        media.push(image);
    }
    sweep_at(&server, 2 * DAY).await;
    sweep_at(&server, 3 * DAY).await;
    assert_eq!(files(&folder).len(), 4);
    assert_eq!(fetch(&server, &bob, &media[0]["id"]).await.0, 404);
    let release = format!("/held/{}/release", holds[0]);
    assert!(server.admin("POST", &release, None).await.0 < 300);
    let refuse = format!("/held/{}/refuse", holds[1]);
    let reason = json!({"reason": "spam"});
    assert!(server.admin("POST", &refuse, Some(reason)).await.0 < 300);
    sweep_whole(&server).await;
    assert_eq!(fetch(&server, &bob, &media[0]["id"]).await.0, 200);
    assert_eq!(fetch(&server, &ann, &media[1]["id"]).await.0, 404);
    assert_eq!(files(&folder).len(), 2);
}

#[tokio::test]
async fn a_server_killed_between_upload_and_completion_completes_after_it() {
    let mut server = ServerProcess::start().await;
    let ann = server.user("ann").await;
    let bytes = picture(8, 8);
    let new = json!({"name": "a.png", "mime": "image/png", "bytes": bytes.len()});
    let (status, asked) = server.post("/v1/media", &ann.token, Some(new)).await;
    assert_eq!(status, 201, "{asked}");
    let url = asked["upload"]["url"].as_str().expect("a URL");
    let put = reqwest::Client::new().put(url).body(bytes).send().await;
    assert_eq!(put.expect("an answer").status(), 204);
    server.kill();
    server.restart().await;
    let path = format!(
        "/v1/media/{}/complete",
        asked["id"].as_str().expect("an id")
    );
    let first = server.post(&path, &ann.token, None).await;
    assert_eq!(
        (first.0, &first.1["width"]),
        (200, &json!(8)),
        "{}",
        first.1
    );
    server.kill();
    server.restart().await;
    assert_eq!(server.post(&path, &ann.token, None).await, first);
}

#[tokio::test]
async fn a_deployment_without_media_says_so_and_still_carries_texts() {
    let server = TestServer::with(|config| {
        config.media.engine = kith::config::MediaEngine::None;
    })
    .await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let asked = ticket(&server, &ann, "a", "text/plain", 3).await;
    assert_eq!((asked.0, &asked.1["code"]), (503, &json!("unavailable")));
    assert!(asked.1["retry_after_ms"].is_number());
    assert_eq!(steps::complete(&server, &ann, "1").await.0, 503);
    assert_eq!(fetch(&server, &ann, &json!("1")).await.0, 503);
    let mut from = server.session(&ann).await;
    let file = json!({"type": "file", "media": "1", "mime": "a/b", "bytes": 1});
    let refused = steps::send(&mut from, &bob.id, "1", file).await;
    assert_eq!(refused["err"]["code"], "not_found");
    assert_eq!(from.send_text(&bob.id, "2", "hi").await["ok"]["seq"], 1);
}
