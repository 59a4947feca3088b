//! The event feed of the message log: every commit once, in order, from any point, woken without asking;
//! cursors that last.

use std::sync::Arc;

use kith::clock::SystemClock;
use kith::entry::Body;
use kith::ids::{ConversationId, UserId};
use kith::store::embedded_log::EmbeddedLog;
use kith::store::feed::{Feed, FeedItem, FeedPage, FeedPosition};
use kith::store::{Change, MessageLog, Origin, Submission};

use crate::search::library::{Library, change, content, message};

const ANN: UserId = UserId(1);
const BOB: UserId = UserId(2);
const EVE: UserId = UserId(3);

/// Conversation and seq of each entry.
fn places(page: &FeedPage) -> Vec<(ConversationId, u64)> {
    let place = |item: &FeedItem| match item {
        FeedItem::Entry(entry) => (entry.conversation, entry.seq),
        other => panic!("{other:?}"),
    };
    page.items.iter().map(place).collect()
}

#[tokio::test]
async fn commits_of_all_conversations_come_once_and_in_their_order_from_any_point() {
    let mut library = Library::open();
    let sent = (0..30).map(|n| match n % 3 {
        0 => message(ANN, BOB, "one"),
        1 => message(EVE, ANN, "two"),
        _ => message(BOB, ANN, "three"),
    });
    library.commit(sent).await;
    let (with_bob, with_eve) = (
        ConversationId::direct(ANN, BOB),
        ConversationId::direct(ANN, EVE),
    );
    let mut expected = Vec::new();
    for round in 0..10 {
        expected.extend([
            (with_bob, round * 2 + 1),
            (with_eve, round + 1),
            (with_bob, round * 2 + 2),
        ]);
    }
    let log = &library.log;
    let (mut seen, mut at, mut points) = (Vec::new(), FeedPosition::default(), Vec::new());
    loop {
        let page = log.feed(&at, 7).await.expect("a page");
        assert!(!page.reset && page.items.len() <= 7);
        seen.extend(places(&page));
        points.push((seen.len(), page.next.clone()));
        at = page.next;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, expected);
    for (from, point) in points {
        let rest = log.feed(&point, 100).await.expect("a page");
        assert_eq!(places(&rest), expected[from..]);
    }
    assert!(log.feed_length().await.expect("a length") >= 30);
}

#[tokio::test]
async fn a_place_so_many_items_back_is_followed_by_so_many() {
    let mut library = Library::open();
    library
        .commit((0..10).map(|_| message(ANN, BOB, "one")))
        .await;
    let log = &library.log;
    let end = log.feed_end();
    for (back, first) in [
        (0, None),
        (1, Some(10)),
        (4, Some(7)),
        (10, Some(1)),
        (99, Some(1)),
    ] {
        let at = log.feed_before(&end, back).await.expect("a place");
        let page = log.feed(&at, 100).await.expect("a page");
        let found = places(&page).first().map(|(_, seq)| *seq);
        assert_eq!((found, page.reset), (first, false), "{back} back");
        let stamps = page.places.iter().copied();
        assert!(stamps.clone().all(|stamp| Some(stamp) > log.stamp(&at)));
        assert!(stamps.clone().all(|stamp| Some(stamp) <= log.stamp(&end)));
    }
    assert_eq!(log.stamp(&FeedPosition("elsewhere".into())), None);
}

#[tokio::test]
async fn an_entry_is_given_as_it_stands_when_it_is_read() {
    let mut library = Library::open();
    let edit = Body::Edit {
        target: 1,
        content: Some(content("after")),
    };
    library
        .commit([message(ANN, BOB, "before"), change(ANN, BOB, edit)])
        .await;
    let recall = Body::Recall { target: 1, by: ANN };
    library.commit([change(ANN, BOB, recall)]).await;
    let page = library
        .log
        .feed(&FeedPosition::default(), 10)
        .await
        .expect("a page");
    assert_eq!(page.items.len(), 3);
    for item in &page.items {
        let FeedItem::Entry(entry) = item else {
            panic!("{item:?}")
        };
        match &entry.body {
            Body::Message(message) => assert!(message.recalled && message.content.is_none()),
            Body::Edit { content, .. } => assert!(content.is_none()),
            other => assert!(matches!(other, Body::Recall { target: 1, .. })),
        }
    }
}

#[tokio::test]
async fn who_waits_is_woken_by_a_commit_and_then_finds_it() {
    let library = Library::open();
    let log = library.log.clone();
    let mut commits = log.commits();
    commits.borrow_and_update();
    let sent = Change::Append(Box::new(message(ANN, BOB, "hello")));
    let submission = Submission {
        change: sent,
        origin: Origin::None,
    };
    assert!(log.submit(submission).is_ok());
    let woken = tokio::time::timeout(crate::support::PATIENCE, commits.changed()).await;
    woken.expect("in time").expect("the log is open");
    let page = log.feed(&FeedPosition::default(), 10).await;
    assert_eq!(page.expect("a page").items.len(), 1);
}

#[tokio::test]
async fn cursors_last_and_positions_of_another_log_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |name: &str| EmbeddedLog::open(&folder.path().join(name), Arc::new(SystemClock));
    let (log, mut settled) = open("log").expect("a log");
    let sent = Change::Append(Box::new(message(ANN, BOB, "hello")));
    let submission = Submission {
        change: sent,
        origin: Origin::None,
    };
    assert!(log.submit(submission).is_ok());
    settled.recv().await.expect("settled");
    let page = log
        .feed(&FeedPosition::default(), 10)
        .await
        .expect("a page");
    assert_eq!(log.cursor("push").await.expect("read"), None);
    let beginning = FeedPosition::default();
    for (from, moves) in [
        (Some(&page.next), false),
        (None, true),
        (None, false),
        (Some(&beginning), false),
    ] {
        let moved = log.move_cursor("push", from, &page.next).await;
        assert_eq!(moved.expect("told"), moves, "{from:?}");
    }
    log.close().await;
    drop((log, settled));

    let (log, _settled) = open("log").expect("a log");
    let kept = log.cursor("push").await.expect("read");
    assert_eq!(kept.as_ref(), Some(&page.next));
    assert_eq!(log.cursor("other").await.expect("read"), None);
    let rest = log.feed(&page.next, 10).await.expect("a page");
    assert!(rest.items.is_empty() && !rest.more && !rest.reset);
    assert_eq!(rest.next, page.next);

    let (other, _settled) = open("other").expect("a log");
    for foreign in [page.next, FeedPosition("nonsense".into())] {
        let refused = other.feed(&foreign, 10).await.expect("a page");
        assert!(refused.reset && refused.items.is_empty());
        assert_eq!(refused.next, FeedPosition::default());
    }
}
