//! What every message log promises of messages that are changed or taken back where they stand. As its siblings it
//! knows the seam alone.

use super::*;

pub async fn a_recall_erases_message_and_edits_and_answers_again_the_same(engine: impl Engine) {
    let mut open = engine.open().await;
    open.said(ANN, "secret").await;
    let edit = Body::Edit {
        target: 1,
        content: Some(json("another secret")),
    };
    open.settle(Change::Append(Box::new(append(ANN, edit))))
        .await
        .expect("settles");
    let recall = || Change::Append(Box::new(append(ANN, Body::Recall { target: 1, by: ANN })));
    let first = match open.settle(recall()).await {
        Ok(Outcome::Committed(committed)) => committed.entry,
        other => panic!("{other:?}"),
    };
    match open.settle(recall()).await {
        Ok(Outcome::Resent(FirstAnswer::Committed { seq, id, .. })) => {
            assert_eq!((seq, id), (first.seq, first.id));
        }
        other => panic!("{other:?}"),
    }
    open.log.close().await;
    drop(open);
    let open = engine.open().await;
    let entries = open.entries(BOB).await;
    assert_eq!(entries.len(), 3);
    assert!(
        entries[0]
            .message()
            .is_some_and(|m| m.recalled && m.content.is_none())
    );
    assert!(matches!(&entries[1].body, Body::Edit { content: None, .. }));
    let summary = open
        .log
        .summary(place(), BOB)
        .await
        .expect("a read")
        .expect("a summary");
    assert_eq!(
        summary.last.as_deref().and_then(text_of),
        None,
        "no preview either"
    );
}

pub async fn an_edit_changes_the_message_where_it_stands(engine: impl Engine) {
    let mut open = engine.open().await;
    open.said(ANN, "before").await;
    let edit = |target, text| {
        let body = Body::Edit {
            target,
            content: Some(json(text)),
        };
        Change::Append(Box::new(append(ANN, body)))
    };
    open.settle(edit(1, "after")).await.expect("settles");
    let missing = open.settle(edit(9, "nothing")).await;
    assert!(matches!(missing, Err(CommitError::Gone(_))), "{missing:?}");
    let of_an_edit = open.settle(edit(2, "nothing")).await;
    assert!(
        matches!(of_an_edit, Err(CommitError::Gone(_))),
        "{of_an_edit:?}"
    );
    let entries = open.entries(BOB).await;
    assert_eq!(entries.len(), 2);
    assert!(entries[0].message().is_some_and(|message| message.edited));
    assert!(text_of(&entries[0]).is_some_and(|text| text.contains("after")));
}
