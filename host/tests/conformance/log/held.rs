//! What every message log promises of messages it keeps back or does not keep. As its siblings it knows the seam
//! alone.

use super::*;

pub async fn a_held_message_is_released_once(engine: impl Engine) {
    let mut open = engine.open().await;
    open.said(BOB, "hello").await;
    let id = held(open.settle(hold("h", "held")).await);
    assert_eq!(
        open.entries(ANN).await.len(),
        1,
        "a held message is no entry"
    );
    let again = open.settle(hold("h", "held")).await;
    assert!(matches!(again, Ok(Outcome::Resent(FirstAnswer::Held { hold })) if hold == id));
    open.log.close().await;
    drop(open);
    let mut open = engine.open().await;
    let listed = open
        .log
        .held_page(Some(ANN), None, 10)
        .await
        .expect("a list");
    assert_eq!(listed.iter().map(|held| held.id).collect::<Vec<_>>(), [id]);
    assert!(
        open.log
            .held_page(Some(BOB), None, 10)
            .await
            .expect("a list")
            .is_empty()
    );
    let release = || {
        Change::Append(Box::new(Append {
            moves_read: false,
            releases: Some(id),
            ..message_append(ANN, "h", "held")
        }))
    };
    match open.settle(release()).await {
        Ok(Outcome::Committed(committed)) => {
            assert_eq!((committed.entry.seq, committed.released), (2, Some(id)));
        }
        other => panic!("{other:?}"),
    }
    match open.settle(release()).await {
        Ok(Outcome::Resent(FirstAnswer::Committed { seq: 2, .. })) | Err(CommitError::Gone(_)) => {}
        other => panic!("released twice: {other:?}"),
    }
    assert!(open.log.held(id).await.expect("a read").is_none());
    assert_eq!(
        (open.entries(BOB).await.len(), open.unread(ANN).await),
        (2, 1)
    );
    assert_eq!(open.unread(BOB).await, 1, "a release moves nobody's read");
}

pub async fn a_refused_hold_answers_its_client_id_with_the_reason(engine: impl Engine) {
    let mut open = engine.open().await;
    let id = held(open.settle(hold("h", "held")).await);
    let refuse = || Change::Refuse {
        hold: id,
        reason: "spam".to_owned(),
    };
    assert!(matches!(
        open.settle(refuse()).await,
        Ok(Outcome::Refused(_))
    ));
    assert!(matches!(
        open.settle(refuse()).await,
        Err(CommitError::Gone(_))
    ));
    let resent = open.log.first_answer(place(), ANN, &key("h", "held")).await;
    match resent {
        Ok(Some(Ok(FirstAnswer::Refused { by, reason }))) => {
            assert_eq!((by.as_str(), reason.as_str()), ("a-filter", "spam"));
        }
        other => panic!("{other:?}"),
    }
    let missing = open.settle(Change::Refuse {
        hold: HoldId(1),
        reason: String::new(),
    });
    assert!(matches!(missing.await, Err(CommitError::Gone(_))));
}

pub async fn a_dropped_message_is_remembered_and_leaves_no_entry(engine: impl Engine) {
    let mut open = engine.open().await;
    open.said(ANN, "a").await;
    let drop_it = || Change::Drop {
        conversation: place(),
        author: ANN,
        key: key("d", "d"),
    };
    assert!(matches!(open.settle(drop_it()).await, Ok(Outcome::Dropped)));
    let again = open.settle(drop_it()).await;
    assert!(
        matches!(again, Ok(Outcome::Resent(FirstAnswer::Dropped))),
        "{again:?}"
    );
    assert_eq!(open.entries(ANN).await.len(), 1);
}
