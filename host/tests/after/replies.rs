//! Replies: written while their reader watches, committed once,
//! and ended for the reader where the guest falls.

use kith::journey::retention::Retention;
use serde_json::{Value, json};

use super::{GRANTS, Stage};

/// Stream events up to the entry that carries the stream; and the entry.
async fn watched(stage: &mut Stage) -> (Vec<Value>, Value) {
    let mut pieces = Vec::new();
    loop {
        let frame = stage.socket.frame().await.expect("a session that lasts");
        if frame["ev"] == "stream" {
            pieces.push(frame);
        } else if frame["ev"] == "entry" && frame["entry"]["from"] == stage.bot.as_str() {
            return (pieces, frame["entry"].clone());
        }
    }
}

#[tokio::test]
async fn a_reply_is_watched_while_it_is_written_and_then_an_entry() {
    let mut stage = Stage::new(GRANTS).await;
    let seq = stage.say("answer one two three").await;
    let (pieces, entry) = watched(&mut stage).await;
    let deltas: Vec<_> = pieces
        .iter()
        .map(|piece| piece["delta"].as_str().expect("text"))
        .collect();
    assert_eq!(deltas, ["one ", "two ", "three", ""]);
    let numbers: Vec<_> = pieces
        .iter()
        .filter_map(|piece| piece["n"].as_u64())
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    let done: Vec<_> = pieces.iter().map(|piece| piece["done"] == true).collect();
    assert_eq!(done, [false, false, false, true]);
    assert_eq!(entry["content"]["text"], "one two three");
    assert_eq!(entry["reply_to"], seq);
    for piece in &pieces {
        assert_eq!(piece["stream"], entry["stream"], "{piece}");
        assert_eq!(piece["from"], stage.bot.as_str());
    }
}

#[tokio::test]
async fn a_reply_whose_guest_falls_is_written_again_and_stands_once() {
    let mut stage = Stage::new(GRANTS).await;
    stage.say("answer stand up and fall").await;
    let (pieces, entry) = watched(&mut stage).await;
    assert_eq!(entry["content"]["text"], "stand up and fall");
    let ends = pieces.iter().filter(|piece| piece["done"] == true).count();
    assert_eq!(ends, 2, "the one that fell was ended too: {pieces:?}");
    stage.server.restart().await;
    stage.reconnect().await;
    assert_eq!(stage.ask("total").await, "total 0");
    let log = stage.log().await;
    let replies = log
        .iter()
        .filter(|entry| !entry["stream"].is_null())
        .count();
    assert_eq!(replies, 1, "{log:?}");
}

#[tokio::test]
async fn a_reply_ends_for_its_reader_once_nobody_answers_any_more() {
    let (mut stage, _, piece) = lingering().await;
    let path = "/plugins/observant/disable";
    let (status, done) = stage.server.admin("POST", path, Some(json!({}))).await;
    assert_eq!(status, 200, "{done}");
    ends(&mut stage, &piece).await;
}

/// A stage whose calls may take as long as they like, and the first piece of an answer that never ends by itself.
async fn lingering() -> (Stage, u64, Value) {
    let patience = |config: &mut kith::config::Config| config.plugins.after_stop_ms = 600_000;
    let mut stage = Stage::with(GRANTS, patience).await;
    let asked = stage.say("answer wait and linger").await;
    let mut piece = stage.socket.event("stream").await;
    while piece["delta"] != "linger" {
        piece = stage.socket.event("stream").await;
    }
    (stage, asked, piece)
}

/// The end of a stream comes next, and no entry is made of it.
async fn ends(stage: &mut Stage, piece: &Value) {
    let end = stage.socket.event("stream").await;
    assert_eq!(
        (&end["done"], &end["stream"]),
        (&json!(true), &piece["stream"]),
        "{end}"
    );
    let log = stage.log().await;
    assert!(log.iter().all(|entry| entry["stream"].is_null()), "{log:?}");
}

#[tokio::test]
async fn a_recall_ends_the_answer_that_is_being_written_to_what_is_recalled() {
    let (mut stage, asked, piece) = lingering().await;
    let conversation = piece["conversation"].clone();
    // It waits behind the first, and is recalled before anybody is asked about it.
    let waits = stage.say("answer what nobody sees").await;
    let stands = stage.say("answer what stands").await;
    for seq in [waits, asked] {
        let target = json!({"conversation": conversation, "seq": seq});
        let recalled = stage.socket.request("recall", target).await;
        assert!(recalled["ok"].is_object(), "{recalled}");
    }
    let mut end = stage.socket.event("stream").await;
    assert_eq!(
        (&end["done"], &end["stream"]),
        (&json!(true), &piece["stream"]),
        "{end}"
    );
    // Whoever is left is answered at once: no call is waited for, and none is given up.
    while end["stream"] == piece["stream"] {
        end = stage.socket.event("stream").await;
    }
    assert_eq!(end["delta"], "what ");
    let entry = stage.entry().await;
    assert_eq!(
        (&entry["content"]["text"], &entry["reply_to"]),
        (&json!("what stands"), &json!(stands)),
        "{entry}"
    );
    let log = stage.log().await;
    let replies = log.iter().filter(|entry| !entry["stream"].is_null());
    assert_eq!(replies.count(), 1, "{log:?}");
    let report = stage.report().await;
    let consumers = report["consumers"].as_array().expect("consumers");
    let responder = consumers.iter().find(|row| row["hook"] == "responder");
    let responder = responder.expect("a row of the responder's");
    for (field, value) in [
        ("skipped", json!(0)),
        ("failures", json!(0)),
        ("waiting_for", Value::Null),
        ("notices", json!([])),
    ] {
        assert_eq!(responder[field], value, "{responder}");
    }
}

#[tokio::test]
async fn erasing_ends_the_answer_that_is_being_written_to_what_is_erased() {
    let (mut stage, _, piece) = lingering().await;
    stage.say("quite another thing").await;
    let newest = Retention { days: 0, count: 1 };
    let erased = stage.server.app().journey.retain(newest).await;
    assert!(erased.is_ok_and(|erased| erased > 0));
    ends(&mut stage, &piece).await;
}

#[tokio::test]
async fn a_responder_answers_for_the_service_account_it_is_bound_to() {
    let stage = Stage::new(GRANTS).await;
    let path = "/plugins/observant/bindings/responder";
    let bound = async |account: &str| {
        stage
            .server
            .admin("PATCH", path, Some(json!({"account": account})))
            .await
    };
    let (status, refused) = bound(&stage.ann.username).await;
    assert_eq!(
        status, 400,
        "a person's name is not to be spoken in: {refused}"
    );
    assert_eq!(bound("nobody-here").await.0, 404);
    let (status, done) = bound("observant").await;
    assert_eq!(
        (status, &done["binding"]["account"]),
        (200, &json!(stage.bot)),
        "{done}"
    );
    let policy = json!({"on_failed": "hold"});
    let (status, refused) = stage.server.admin("PATCH", path, Some(policy)).await;
    assert_eq!(status, 400, "{refused}");
}

#[tokio::test]
async fn a_conversation_handed_over_is_a_persons_until_it_is_given_back() {
    let mut stage = Stage::new(GRANTS).await;
    stage.say("person angry about a bill").await;
    assert_eq!(
        stage.entry().await["content"]["text"],
        "a person will answer"
    );
    let handed = async |stage: &Stage| {
        let (status, list) = stage.server.admin("GET", "/handovers", None).await;
        assert_eq!(status, 200, "{list}");
        list["handovers"].as_array().expect("a list").clone()
    };
    let waiting = async {
        loop {
            if let Some(row) = handed(&stage).await.first() {
                return row.clone();
            }
        }
    };
    let row = tokio::time::timeout(crate::support::PATIENCE, waiting).await;
    let row = row.expect("handed over in time");
    assert_eq!(
        (&row["plugin"], &row["reason"]),
        (&json!("observant"), &json!("angry about a bill"))
    );
    let (_, told) = stage.server.admin("GET", "/notices", None).await;
    let text = told["notices"][0]["text"].as_str().expect("a notice");
    assert!(
        text.ends_with("needs a person: angry about a bill"),
        "{told}"
    );
    // It is not called any more, its observer still is; nor is it after a restart.
    stage.say("answer me").await;
    assert_eq!(stage.ask("total").await, "total 0");
    stage.server.restart().await;
    stage.reconnect().await;
    stage.say("answer me again").await;
    assert_eq!(stage.ask("total").await, "total 0");
    let route = format!("/handovers/{}", row["id"].as_str().expect("an id"));
    let (status, _) = stage.server.admin("DELETE", &route, None).await;
    assert_eq!(status, 204);
    assert!(handed(&stage).await.is_empty());
    stage.say("answer what comes now").await;
    let (_, entry) = watched(&mut stage).await;
    assert_eq!(entry["content"]["text"], "what comes now");
    let log = stage.log().await;
    let replies = log
        .iter()
        .filter(|entry| !entry["stream"].is_null())
        .count();
    assert_eq!(
        replies, 2,
        "nothing that was said meanwhile is answered: {log:?}"
    );
}
