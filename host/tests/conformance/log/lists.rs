//! What every message log promises of lists and stretches: pages, changes since a token, previews. As its siblings it
//! knows the seam alone.

use super::*;

pub async fn changes_since_a_token_are_told_once_each(engine: impl Engine) {
    let mut open = engine.open().await;
    let before = open.log.now_token();
    open.said(ANN, "a").await;
    engine.clock().advance(5);
    open.said(ANN, "b").await;
    open.log.close().await;
    drop(open);
    let mut open = engine.open().await;
    let changes = open.log.changes(BOB, &before, 10).await.expect("changes");
    assert!(!changes.reset && !changes.more);
    assert_eq!(
        changes.changed.len(),
        1,
        "one conversation, however much was said"
    );
    assert_eq!((changes.changed[0].head, changes.changed[0].unread), (2, 2));
    let none = open
        .log
        .changes(BOB, &changes.since, 10)
        .await
        .expect("changes");
    assert!(none.changed.is_empty() && none.gone.is_empty());
    open.settle(receipt(BOB, 2, 1)).await.expect("settles");
    for user in [ANN, BOB] {
        let told = open
            .log
            .changes(user, &none.since, 10)
            .await
            .expect("changes");
        assert_eq!(told.changed.len(), 1, "a receipt changes both summaries");
    }
}

pub async fn a_token_of_elsewhere_asks_to_start_again(engine: impl Engine) {
    let open = engine.open().await;
    for nonsense in ["", "x", "0", "\u{1F600}", &"f".repeat(200)] {
        let changes = open.log.changes(ANN, nonsense, 10).await.expect("changes");
        assert!(changes.reset && changes.changed.is_empty(), "{nonsense:?}");
        let usable = open
            .log
            .changes(ANN, &changes.since, 10)
            .await
            .expect("changes");
        assert!(!usable.reset);
    }
}

pub async fn pages_are_cut_where_they_are_asked_to_be(engine: impl Engine) {
    let mut open = engine.open().await;
    for n in 0..10 {
        open.said(ANN, &n.to_string()).await;
    }
    let seqs = async |after: Option<Seq>, before: Option<Seq>, limit: usize| {
        let span = Span {
            after,
            before,
            limit,
        };
        let page = open.log.page(place(), BOB, span).await.expect("a page");
        assert_eq!((page.head, page.floor), (10, 1));
        page.entries
            .iter()
            .map(|entry| entry.seq)
            .collect::<Vec<_>>()
    };
    assert_eq!(seqs(None, None, 3).await, [8, 9, 10]);
    assert_eq!(seqs(Some(3), None, 3).await, [4, 5, 6]);
    assert_eq!(seqs(None, Some(3), 9).await, [1, 2]);
    assert_eq!(seqs(None, Some(8), 2).await, [6, 7]);
    assert_eq!(seqs(Some(2), Some(9), 3).await, [3, 4, 5]);
    assert_eq!(seqs(Some(10), None, 3).await, [0; 0]);
    assert_eq!(seqs(Some(Seq::MAX), Some(0), 3).await, [0; 0]);
}

pub async fn lists_page_without_gaps_and_doubles(engine: impl Engine) {
    let mut open = engine.open().await;
    let others: Vec<UserId> = (100..107).map(UserId).collect();
    for other in &others {
        engine.clock().advance(1);
        let change = Append {
            conversation: ConversationId::direct(ANN, *other),
            opening: Some(Opening {
                kind: Kind::Direct,
                users: vec![ANN, *other],
            }),
            ..message_append(*other, "a", "x")
        };
        open.settle(Change::Append(Box::new(change)))
            .await
            .expect("settles");
    }
    let pin = Change::Prefs {
        conversation: ConversationId::direct(ANN, others[2]),
        user: ANN,
        prefs: Prefs {
            pinned: Some(true),
            ..Prefs::default()
        },
    };
    open.settle(pin).await.expect("settles");
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next) = open
            .log
            .summaries(ANN, cursor.as_deref(), 3)
            .await
            .expect("a page");
        assert!(page.len() <= 3);
        seen.extend(page.iter().map(|summary| summary.conversation.id));
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let newest_first = [2, 6, 5, 4, 3, 1, 0].map(|at| ConversationId::direct(ANN, others[at]));
    assert_eq!(seen, newest_first);
}

pub async fn a_narrowed_entry_is_neither_unread_nor_last_for_those_it_leaves_out(
    engine: impl Engine,
) {
    let mut open = engine.open().await;
    open.said(ANN, "for both").await;
    let narrowed = Append {
        audience: Some(Arc::from([])),
        ..message_append(ANN, "n", "for nobody else")
    };
    open.settle(Change::Append(Box::new(narrowed)))
        .await
        .expect("settles");
    let summary = open
        .log
        .summary(place(), BOB)
        .await
        .expect("a read")
        .expect("a summary");
    assert_eq!((summary.head, summary.unread), (2, 1));
    assert_eq!(summary.last.map(|last| last.seq), Some(1));
    let own = open
        .log
        .summary(place(), ANN)
        .await
        .expect("a read")
        .expect("a summary");
    assert_eq!(own.last.map(|last| last.seq), Some(2));
}
