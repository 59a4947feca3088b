//! Who finds what, where no server is needed: narrowed and edited messages, times of one's choice, an index that was
//! made of another log.

use std::sync::Arc;

use kith::entry::Body;
use kith::ids::{ConversationId, EntryId, UserId};
use kith::journey::search::Wanted;
use kith::search::{Document, IndexChange};
use kith::store::feed::FeedPosition;

use super::library::{BEGIN_MS, Library, change, content, message, texts};

const ANN: UserId = UserId(1);
const BOB: UserId = UserId(2);

#[tokio::test]
async fn a_narrowed_message_is_found_by_its_audience_alone() {
    let mut library = Library::open();
    let mut narrowed = message(ANN, BOB, "only a walrus");
    narrowed.audience = Some(Arc::from([]));
    library
        .commit([narrowed, message(ANN, BOB, "a walrus for both")])
        .await;
    assert_eq!(
        library.texts(ANN, "walrus").await,
        ["a walrus for both", "only a walrus"]
    );
    assert_eq!(library.texts(BOB, "walrus").await, ["a walrus for both"]);
    assert!(library.texts(UserId(3), "walrus").await.is_empty());
}

#[tokio::test]
async fn an_edited_message_is_found_by_what_it_says_now_and_a_recalled_one_not_at_all() {
    let mut library = Library::open();
    library
        .commit([message(ANN, BOB, "a walrus"), message(BOB, ANN, "an otter")])
        .await;
    assert_eq!(library.texts(ANN, "walrus").await.len(), 1);
    let edit = Body::Edit {
        target: 1,
        content: Some(content("a heron")),
    };
    library.commit([change(ANN, BOB, edit)]).await;
    assert!(library.texts(ANN, "walrus").await.is_empty());
    assert_eq!(library.texts(BOB, "heron").await, ["a heron"]);
    let recall = Body::Recall { target: 1, by: ANN };
    library.commit([change(ANN, BOB, recall)]).await;
    assert!(library.texts(ANN, "heron").await.is_empty());
    assert_eq!(library.texts(ANN, "otter").await, ["an otter"]);
}

#[tokio::test]
async fn what_was_said_in_a_dissolved_group_leaves_the_index() {
    let mut library = Library::open();
    let said = [
        message(ANN, BOB, "a walrus"),
        message(ANN, UserId(3), "a walrus"),
    ];
    library.commit(said).await;
    assert_eq!(library.texts(ANN, "walrus").await.len(), 2);
    let dissolved = Body::System {
        code: "dissolved".into(),
        args: serde_json::value::RawValue::from_string("{}".into()).expect("JSON"),
    };
    library.commit([change(ANN, BOB, dissolved)]).await;
    assert_eq!(library.texts(ANN, "walrus").await.len(), 1);
}

#[tokio::test]
async fn times_are_inclusive_on_both_sides() {
    let mut library = Library::open();
    for day in 0..5 {
        library
            .commit([message(ANN, BOB, &format!("day {day}"))])
            .await;
        library.clock.advance(86_400_000);
    }
    let at = |day: u64| BEGIN_MS + day * 86_400_000;
    for (after, before, expected) in [
        (Some(at(1)), Some(at(3)), vec!["day 3", "day 2", "day 1"]),
        (Some(at(4)), None, vec!["day 4"]),
        (None, Some(at(0)), vec!["day 0"]),
        (Some(at(1) + 1), Some(at(2) - 1), vec![]),
    ] {
        let wanted = Wanted {
            words: "day".into(),
            after_ms: after,
            before_ms: before,
            limit: 10,
            ..Wanted::default()
        };
        assert_eq!(texts(&library.find(ANN, wanted).await), expected);
    }
}

#[tokio::test]
async fn an_index_made_of_another_log_is_made_anew() {
    let mut library = Library::open();
    let engine = library.engine.clone();
    engine.open().await.expect("opens");
    let stranger = Document {
        id: EntryId(1),
        conversation: ConversationId::direct(ANN, BOB),
        seq: 1,
        from: ANN,
        texts: vec!["an otter".into()],
    };
    let changes = vec![IndexChange::Add(stranger)];
    engine.apply(changes).await.expect("applied");
    let elsewhere = FeedPosition("another log's".into());
    engine.commit(&elsewhere, 1).await.expect("committed");
    library.commit([message(ANN, BOB, "a walrus")]).await;
    assert_eq!(library.texts(BOB, "walrus").await, ["a walrus"]);
    assert!(library.texts(BOB, "otter").await.is_empty());
}
