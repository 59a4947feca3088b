//! Texts in a replay come from the log as it stands: what was recalled, edited or erased is not asked about, and nothing of
//! it is kept beside the log either.

use serde_json::json;

use super::{differing, place, readers, replay, say, serving, words};
use crate::erasure::{is_on_disk, unique};
use crate::support::TestServer;

#[tokio::test]
async fn a_recall_takes_what_was_kept_of_a_masked_text() {
    let mut server = TestServer::with_plugins().await;
    words(&server, &[("badger", "mask")]).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    let [gone, edited] = ["badger-gone", "badger-edited"].map(unique);
    // Client ids are remembered longer than contents: the texts stand in none.
    let mut placed = Vec::new();
    for (client_id, text) in [("first", &gone), ("second", &edited)] {
        let reply = a.send_text(&bob.id, client_id, text).await;
        let (conversation, seq) = (&reply["ok"]["conversation"], &reply["ok"]["seq"]);
        placed.push(json!({"conversation": conversation, "seq": seq}));
    }
    let [first, second] = <[_; 2]>::try_from(placed).expect("two");
    place(&mut a, &bob.id, "a badger stays").await;
    let version = serving(&server, "word-filter").await;
    let report = replay(&server, "word-filter", &version).await;
    assert_eq!(
        (&report["replayed"], differing(&report)),
        (&json!(3), vec![])
    );
    // The originals stand beside the log: they were masked in it.
    for text in [&gone, &edited] {
        assert!(
            is_on_disk(&server.data().join("log"), text.as_bytes()),
            "{text}"
        );
    }
    assert!(a.request("recall", first).await["ok"].is_object());
    let mut edit = second;
    edit["content"] = json!({"type": "text", "text": "better"});
    assert!(a.request("edit", edit).await["ok"].is_object());
    let report = replay(&server, "word-filter", &version).await;
    assert_eq!(differing(&report), []);
    // The recalled one and its recall; the edited one. What stays is the third and the edit.
    assert_eq!(
        report["skipped"],
        json!({"recalled": 2, "edited": 1}),
        "{report}"
    );
    assert_eq!(report["replayed"], 2, "{report}");
    drop(a);
    server.stop().await;
    server.compact().await;
    for text in [&gone, &edited] {
        assert!(!is_on_disk(&server.data(), text.as_bytes()), "{text}");
    }
    server.start().await;
    let report = replay(&server, "word-filter", &version).await;
    assert_eq!(
        (&report["replayed"], differing(&report)),
        (&json!(2), vec![])
    );
}

#[tokio::test]
async fn what_a_strategy_was_shown_is_not_shown_again_once_it_was_recalled() {
    let server = readers().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    let secret = place(&mut a, &bob.id, "secret").await;
    assert_eq!(say(&mut a, &bob.id, "secret ").await["ok"]["seq"], 2);
    place(&mut a, &bob.id, "three").await;
    for n in 4..=7 {
        place(&mut a, &bob.id, &format!("more {n}")).await;
    }
    assert!(a.request("recall", secret).await["ok"].is_object());
    let report = replay(&server, "attentive", "1.0.0").await;
    assert_eq!(differing(&report), [], "{report}");
    // The second to the fourth were judged with it; the recall and what it took are nowhere.
    assert_eq!(
        report["skipped"],
        json!({"context": 3, "recalled": 2}),
        "{report}"
    );
    assert_eq!(report["replayed"], 3, "{report}");
}

#[tokio::test]
async fn values_are_read_as_they_were_until_they_are_not_kept_any_more() {
    let server = readers().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    for note in ["one", "two", "three"] {
        place(&mut a, &bob.id, &format!("note {note}")).await;
        let read = a.send_text(&bob.id, note, "what is noted").await;
        assert_eq!(read["ok"]["content"]["text"], note, "{read}");
    }
    let report = replay(&server, "clerk", "1.0.0").await;
    assert_eq!(
        (&report["replayed"], differing(&report)),
        (&json!(6), vec![])
    );
    assert_eq!(report["approximate"], 0);
    let mut server = server;
    drop(a);
    server
        .restart_with(|config| config.plugins.replay_commands = 1)
        .await;
    let mut a = server.session(&ann).await;
    let read = a.send_text(&bob.id, "again", "what is noted").await;
    assert_eq!(read["ok"]["content"]["text"], "three", "{read}");
    server
        .restart_with(|config| config.plugins.replay_commands = 100)
        .await;
    let report = replay(&server, "clerk", "1.0.0").await;
    assert_eq!(differing(&report), [], "{report}");
    // Of the newest one alone what it read is kept.
    assert_eq!(report["skipped"], json!({"not_kept": 3}), "{report}");
    assert_eq!(report["replayed"], 4, "{report}");
}
