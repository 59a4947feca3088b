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

pub async fn an_answered_command_is_remembered_with_what_was_written_and_leaves_no_entry(
    engine: impl Engine,
) {
    let mut open = engine.open().await;
    open.said(ANN, "a").await;
    let command = |value: &str, reply: Option<&str>| {
        Change::Command(Box::new(CommandAnswer {
            conversation: place(),
            author: ANN,
            key: key("c", "/count"),
            reply: reply.map(json),
            effects: vec![PluginWrite {
                quota: u64::MAX,
                namespace: "clerk".to_owned(),
                key: "count".to_owned(),
                value: Some(value.as_bytes().to_vec()),
            }],
            generation: 0,
        }))
    };
    let answered = open.settle(command("1", Some("one"))).await;
    assert!(
        matches!(&answered, Ok(Outcome::Command { reply: Some(reply) }) if reply.get() == json("one").get()),
        "{answered:?}"
    );
    // What a second run would answer and write comes too late.
    let again = open.settle(command("2", None)).await;
    assert!(
        matches!(&again, Ok(Outcome::Resent(FirstAnswer::Command { reply: Some(reply) })) if reply.get() == json("one").get()),
        "{again:?}"
    );
    open.log.close().await;
    drop(open);
    let open = engine.open().await;
    let known = open
        .log
        .first_answer(place(), ANN, &key("c", "/count"))
        .await;
    assert!(
        matches!(known, Ok(Some(Ok(FirstAnswer::Command { reply: Some(_) })))),
        "{known:?}"
    );
    let value = open.log.plugin_value("clerk", "count").await;
    assert_eq!(value.expect("a read").as_deref(), Some(&b"1"[..]));
    assert_eq!(open.entries(ANN).await.len(), 1);
}

pub async fn a_moment_of_plugin_values_stays_as_it_was(engine: impl Engine) {
    let mut open = engine.open().await;
    let values = open.values.clone();
    let read = |plugin: &str| {
        let moment = values.values().expect("a moment");
        moment.value(plugin, "count").expect("a read")
    };
    assert_eq!(read("clerk"), None);
    open.settle(counted("1", "one")).await.expect("commits");
    let before = values.values().expect("a moment");
    open.settle(counted("2", "two")).await.expect("commits");
    let kept = before.value("clerk", "count").expect("a read");
    assert_eq!(kept.as_deref(), Some(&b"one"[..]));
    assert_eq!(read("clerk").as_deref(), Some(&b"two"[..]));
    assert_eq!(read("cler"), None, "another plugin's are not to be read");
}

/// A command that writes the clerk's count.
fn counted(client_id: &str, value: &str) -> Change {
    Change::Command(Box::new(CommandAnswer {
        conversation: place(),
        author: ANN,
        key: key(client_id, client_id),
        reply: None,
        effects: vec![PluginWrite {
            quota: u64::MAX,
            namespace: "clerk".to_owned(),
            key: "count".to_owned(),
            value: Some(value.as_bytes().to_vec()),
        }],
        generation: 0,
    }))
}

pub async fn what_effects_and_the_plugin_itself_write_are_the_same_values(engine: impl Engine) {
    let mut open = engine.open().await;
    let (kv, values) = (open.kv.clone(), open.values.clone());
    let moment = || {
        let moment = values.values().expect("a moment");
        moment.value("clerk", "count").expect("a read")
    };
    open.settle(counted("1", "one")).await.expect("commits");
    let item = kv.kv("clerk", "count").await.expect("a read");
    let item = item.expect("what the effect wrote");
    assert_eq!(item.value, b"one");
    let own = |value: &str, expected, expires_at| {
        Change::Kv(Box::new(KvChange {
            namespace: "clerk".to_owned(),
            writes: vec![KvWrite {
                key: "count".to_owned(),
                value: Some(value.as_bytes().to_vec()),
                expected: Some(expected),
                expires_at,
            }],
            quota: 1 << 10,
            cursor: None,
        }))
    };
    let ends = engine.clock().now_ms() + 10;
    let written = open.settle(own("two", item.version, ends)).await;
    let Ok(Outcome::Kv(versions)) = written else {
        panic!("not written: {written:?}");
    };
    assert_eq!(moment().as_deref(), Some(&b"two"[..]));
    let log = open.log.clone();
    let stored = async || log.plugin_value("clerk", "count").await.expect("a read");
    assert_eq!(stored().await.as_deref(), Some(&b"two"[..]));
    let before_the_end = values.values().expect("a moment");
    engine.clock().advance(10);
    assert_eq!((moment(), stored().await), (None, None), "it has ended");
    let kept = before_the_end.value("clerk", "count").expect("a read");
    assert_eq!(kept.as_deref(), Some(&b"two"[..]), "then it had not");
    // An effect writes over it, and has another version than was seen.
    open.settle(counted("2", "three")).await.expect("commits");
    let refused = open.settle(own("four", versions[0], 0)).await;
    assert!(matches!(refused, Err(CommitError::Changed)), "{refused:?}");
    assert_eq!(moment().as_deref(), Some(&b"three"[..]));
}
