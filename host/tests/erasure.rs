//! What a recall erases is gone from the disk: at once by `kith admin compact`, within a day by itself. Each test
//! finds the bytes first, so that not finding them means something.

use std::path::Path;
use std::time::Duration;

use kith::store::housekeeping::Housekeeping;
use serde_json::json;

use crate::parts::Parts;
use crate::support::TestServer;

/// Whether any file below a folder has these bytes.
pub fn is_on_disk(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return is_on_disk(&path, bytes);
        }
        // A file may go while the store tidies up after itself.
        let content = std::fs::read(&path).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

/// A text that stands nowhere else.
pub fn unique(mark: &str) -> String {
    format!("{mark}-{:032x}", rand::random::<u128>())
}

#[tokio::test]
async fn compact_takes_recalled_text_its_edits_and_held_edits_off_the_disk() {
    let mut server = TestServer::with_plugins().await;
    let words = json!({"words": [{"word": "heldback", "level": "hold"}]});
    assert_eq!(server.admin("POST", "/words", Some(words)).await.0, 200);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let [gone, edited, held, kept] = ["gone", "edited", "heldback", "kept"].map(unique);
    let ack = from.send_text(&bob.id, "1", &gone).await;
    let conversation = ack["ok"]["conversation"].clone();
    from.send_text(&bob.id, "2", &kept).await;
    for (id, text) in [("e", &edited), ("h", &held)] {
        let content = json!({"type": "text", "text": text});
        let fields =
            json!({"conversation": conversation, "seq": 1, "client_id": id, "content": content});
        let reply = from.request("edit", fields).await;
        assert!(reply["ok"].is_object(), "{reply}");
    }
    for text in [&gone, &edited, &held, &kept] {
        assert!(is_on_disk(&server.data(), text.as_bytes()), "{text}");
    }
    let recall = json!({"conversation": conversation, "seq": 1});
    assert!(from.request("recall", recall.clone()).await["ok"].is_object());
    drop(from);
    server.stop().await;
    server.compact().await;
    for text in [&gone, &edited, &held] {
        assert!(!is_on_disk(&server.data(), text.as_bytes()), "{text}");
    }
    // What was not recalled is all there, and the log goes on.
    server.start().await;
    let mut from = server.session(&ann).await;
    let page = from
        .request("history", json!({"conversation": conversation}))
        .await["ok"]
        .clone();
    assert_eq!(page["entries"][1]["content"]["text"], kept);
    assert_eq!(page["entries"][0]["recalled"], true);
    let head = page["head"].as_u64().expect("a head");
    assert_eq!(from.request("recall", recall).await["ok"]["seq"], head);
    assert_eq!(from.send_text(&bob.id, "1", &gone).await["ok"]["seq"], 1);
    assert_eq!(
        from.send_text(&bob.id, "3", "next").await["ok"]["seq"],
        head + 1
    );
}

#[tokio::test]
async fn recalled_text_leaves_the_disk_of_a_running_server_when_it_is_due() {
    let parts = Parts::open().await;
    let (ann, bob) = (parts.user("ann").await, parts.user("bob").await);
    let [gone, kept] = ["gone", "kept"].map(unique);
    let (conversation, seq) = parts.send(ann, bob, "1", &gone).await;
    parts.send(ann, bob, "2", &kept).await;
    parts.recall(ann, conversation, seq).await;
    let wait = Duration::from_secs(3600);
    assert!(
        !parts.log.scrub_when_due(wait).expect("looks"),
        "not due yet"
    );
    assert!(is_on_disk(parts.folder.path(), gone.as_bytes()));
    // It stays due over a restart.
    let parts = parts.reopen().await;
    parts.clock.advance(3_600_000);
    let log = parts.log.clone();
    let scrubbed = tokio::task::spawn_blocking(move || log.scrub_when_due(wait));
    assert!(scrubbed.await.expect("ends").expect("scrubs"));
    assert!(!is_on_disk(parts.folder.path(), gone.as_bytes()));
    assert!(is_on_disk(parts.folder.path(), kept.as_bytes()));
    assert!(
        !parts.log.scrub_when_due(Duration::ZERO).expect("looks"),
        "done once"
    );
    let (_, next) = parts.send(ann, bob, "3", "next").await;
    assert_eq!(next, 4);
    let parts = parts.reopen().await;
    assert_eq!(parts.summary(bob, conversation).await["head"], 4);
}
