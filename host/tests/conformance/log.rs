//! What every message log promises, whichever engine keeps it. Each function is one promise; it knows the seam alone and
//! opens the log again where lasting is part of the promise.

mod changed;
mod held;
mod lists;

pub use changed::*;
pub use held::*;
pub use lists::*;

use std::sync::Arc;
use std::time::Duration;

use kith::clock::{Clock, ManualClock};
use kith::content::Fingerprint;
use kith::conversation::Kind;
use kith::entry::{Body, DecisionRecord, Entry, Message, Seq};
use kith::ids::{ConversationId, HoldId, UserId};
use kith::store::kv::{KvChange, KvWrite, PluginKv};
use kith::store::values::PluginValues;
use kith::store::{
    Append, Change, CommandAnswer, CommitError, FirstAnswer, Hold, HoldCause, MessageLog, NotTaken,
    Opening, Origin, Outcome, PluginWrite, Prefs, ResendKey, Settlement, Span, Submission,
};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(20);
const ANN: UserId = UserId(11);
const BOB: UserId = UserId(22);

/// A log and what it settles.
pub struct Opened {
    pub log: Arc<dyn MessageLog>,
    pub values: Arc<dyn PluginValues>,
    pub kv: Arc<dyn PluginKv>,
    pub settlements: mpsc::Receiver<Vec<Settlement>>,
}

/// An engine with a store of its own, empty when it is made.
pub trait Engine {
    /// Opens the store; again after `close`.
    async fn open(&self) -> Opened;
    fn clock(&self) -> &ManualClock;
}

impl Opened {
    /// Submits one change and waits for its settlement.
    async fn settle(&mut self, change: Change) -> Result<Outcome, CommitError> {
        self.submit(change);
        self.settled(1).await.remove(0)
    }

    fn submit(&self, change: Change) {
        let origin = Origin::None;
        if self.log.submit(Submission { change, origin }).is_err() {
            panic!("the change was not taken");
        }
    }

    /// The next `count` settlements, in their order.
    async fn settled(&mut self, count: usize) -> Vec<Result<Outcome, CommitError>> {
        let mut results = Vec::new();
        while results.len() < count {
            let batch = tokio::time::timeout(PATIENCE, self.settlements.recv())
                .await
                .expect("a settlement in time")
                .expect("an open log");
            results.extend(batch.into_iter().map(|settlement| settlement.result));
        }
        results
    }

    async fn said(&mut self, from: UserId, client_id: &str) -> Arc<Entry> {
        match self.settle(message(from, client_id, client_id)).await {
            Ok(Outcome::Committed(committed)) => committed.entry,
            other => panic!("not committed: {other:?}"),
        }
    }

    async fn entries(&self, reader: UserId) -> Vec<Arc<Entry>> {
        let span = Span {
            limit: 1000,
            ..Span::default()
        };
        let page = self.log.page(place(), reader, span).await.expect("a page");
        page.entries
    }

    async fn unread(&self, user: UserId) -> u64 {
        let summary = self.log.summary(place(), user).await.expect("a read");
        summary.expect("a summary").unread
    }
}

fn place() -> ConversationId {
    ConversationId::direct(ANN, BOB)
}

fn opening() -> Option<Opening> {
    Some(Opening {
        kind: Kind::Direct,
        users: vec![ANN, BOB],
    })
}

fn json(text: &str) -> Box<RawValue> {
    let value = serde_json::json!({"type": "text", "text": text});
    RawValue::from_string(value.to_string()).expect("JSON")
}

fn key(client_id: &str, text: &str) -> ResendKey {
    ResendKey {
        client_id: client_id.to_owned(),
        fingerprint: Fingerprint::of(&serde_json::json!({"type": "text", "text": text})),
    }
}

fn append(from: UserId, body: Body) -> Append {
    Append {
        conversation: place(),
        opening: opening(),
        author: from,
        key: None,
        body,
        audience: None,
        replaced: false,
        record: DecisionRecord::default(),
        effects: Vec::new(),
        moves_read: false,
        releases: None,
    }
}

fn message_append(from: UserId, client_id: &str, text: &str) -> Append {
    let body = Body::Message(Message {
        client_id: client_id.to_owned(),
        content: Some(json(text)),
        reply_to: None,
        edited: false,
        recalled: false,
    });
    Append {
        key: Some(key(client_id, text)),
        moves_read: true,
        ..append(from, body)
    }
}

fn message(from: UserId, client_id: &str, text: &str) -> Change {
    Change::Append(Box::new(message_append(from, client_id, text)))
}

fn receipt(user: UserId, received: Seq, read: Seq) -> Change {
    Change::Receipt {
        conversation: place(),
        user,
        received,
        read,
    }
}

fn hold(client_id: &str, text: &str) -> Change {
    Change::Hold(Box::new(Hold {
        conversation: place(),
        opening: opening(),
        author: ANN,
        key: Some(key(client_id, text)),
        content: json(text),
        sent: None,
        replaced: false,
        audience: None,
        effects: Vec::new(),
        reply_to: None,
        edits: None,
        again: None,
        by: "a-filter".to_owned(),
        reason: "a-word".to_owned(),
        cause: HoldCause::Verdict,
        record: DecisionRecord::default(),
    }))
}

fn held(outcome: Result<Outcome, CommitError>) -> HoldId {
    match outcome {
        Ok(Outcome::Held { hold, .. }) => hold,
        other => panic!("not held: {other:?}"),
    }
}

fn text_of(entry: &Entry) -> Option<&str> {
    entry.message()?.content.as_deref().map(RawValue::get)
}

pub async fn a_log_is_dense_and_survives_being_opened_again(engine: impl Engine) {
    let mut open = engine.open().await;
    for n in 0..20 {
        open.submit(message(
            if n % 2 == 0 { ANN } else { BOB },
            &n.to_string(),
            "x",
        ));
    }
    open.settled(20).await;
    let before = open.entries(ANN).await;
    open.log.close().await;
    drop(open);
    let open = engine.open().await;
    let after = open.entries(ANN).await;
    let seqs: Vec<Seq> = after.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
    let ids = |entries: &[Arc<Entry>]| entries.iter().map(|entry| entry.id).collect::<Vec<_>>();
    assert_eq!(ids(&before), ids(&after));
    assert!(
        ids(&after).is_sorted_by(|one, next| one < next),
        "ids sort by time"
    );
}

pub async fn a_resend_settles_with_the_first_answer(engine: impl Engine) {
    let mut open = engine.open().await;
    let first = open.said(ANN, "a").await;
    open.said(BOB, "b").await;
    open.log.close().await;
    drop(open);
    let mut open = engine.open().await;
    match open.settle(message(ANN, "a", "a")).await {
        Ok(Outcome::Resent(FirstAnswer::Committed { seq, id, .. })) => {
            assert_eq!((seq, id), (first.seq, first.id)); // I2
        }
        other => panic!("not the first answer: {other:?}"),
    }
    let found = open.log.first_answer(place(), ANN, &key("a", "a")).await;
    assert!(matches!(
        found,
        Ok(Some(Ok(FirstAnswer::Committed { seq: 1, .. })))
    ));
    let others = open.log.first_answer(place(), BOB, &key("a", "a")).await;
    assert!(
        matches!(others, Ok(None)),
        "a client id is its sender's own"
    );
    assert_eq!(open.entries(ANN).await.len(), 2);
}

pub async fn another_content_under_a_used_client_id_is_a_conflict(engine: impl Engine) {
    let mut open = engine.open().await;
    open.said(ANN, "a").await;
    let again = open.settle(message(ANN, "a", "something else")).await;
    assert!(matches!(again, Err(CommitError::Conflict)), "{again:?}");
    let found = open.log.first_answer(place(), ANN, &key("a", "else")).await;
    assert!(matches!(found, Ok(Some(Err(CommitError::Conflict)))));
    assert_eq!(open.entries(ANN).await.len(), 1);
}

pub async fn two_of_one_client_id_in_one_flush_make_one_entry(engine: impl Engine) {
    let mut open = engine.open().await;
    open.submit(message(ANN, "a", "x"));
    open.submit(message(ANN, "a", "x"));
    let results = open.settled(2).await;
    assert!(matches!(results[0], Ok(Outcome::Committed(_))));
    assert!(matches!(
        results[1],
        Ok(Outcome::Resent(FirstAnswer::Committed { seq: 1, .. }))
    ));
    assert_eq!(open.entries(BOB).await.len(), 1);
}

pub async fn an_older_generation_than_the_heads_is_stale(engine: impl Engine) {
    let mut open = engine.open().await;
    let of_generation = |client_id: &str, generation| {
        let record = DecisionRecord {
            generation,
            ..DecisionRecord::default()
        };
        Change::Append(Box::new(Append {
            record,
            ..message_append(ANN, client_id, "x")
        }))
    };
    assert!(open.settle(of_generation("a", 7)).await.is_ok());
    open.log.close().await;
    drop(open);
    let mut open = engine.open().await;
    let submission = Submission {
        change: of_generation("b", 6),
        origin: Origin::None,
    };
    match open.log.submit(submission) {
        Err(NotTaken::Stale(_)) => {}
        Err(NotTaken::Full(_)) => panic!("there is room"),
        Ok(()) => {
            let result = open.settled(1).await.remove(0);
            assert!(matches!(result, Err(CommitError::Stale)), "{result:?}");
        }
    }
    assert!(open.settle(of_generation("c", 7)).await.is_ok());
    assert_eq!(open.entries(ANN).await.len(), 2);
}

pub async fn receipts_only_move_forward_and_end_at_the_head(engine: impl Engine) {
    let mut open = engine.open().await;
    for n in 0..5 {
        open.said(ANN, &n.to_string()).await;
    }
    let standing = async |open: &Opened| {
        let standing = open.log.standing(place(), BOB).await.expect("a read");
        let member = standing
            .and_then(|standing| standing.member)
            .expect("a member");
        (member.received, member.read)
    };
    open.settle(receipt(BOB, 3, 2)).await.expect("settles");
    assert_eq!(standing(&open).await, (3, 2));
    match open.settle(receipt(BOB, 1, 1)).await {
        Ok(Outcome::Member { moved, .. }) => assert!(!moved),
        other => panic!("{other:?}"),
    }
    assert_eq!(standing(&open).await, (3, 2)); // I6
    open.settle(receipt(BOB, 0, 4)).await.expect("settles");
    assert_eq!(standing(&open).await, (4, 4), "what is read was received");
    open.settle(receipt(BOB, 99, 99)).await.expect("settles");
    assert_eq!(standing(&open).await, (5, 5));
    open.log.close().await;
    drop(open);
    assert_eq!(standing(&engine.open().await).await, (5, 5));
}

pub async fn unread_counts_others_messages_above_read(engine: impl Engine) {
    let mut open = engine.open().await;
    for n in 0..4 {
        open.said(ANN, &n.to_string()).await;
    }
    assert_eq!((open.unread(ANN).await, open.unread(BOB).await), (0, 4));
    open.settle(receipt(BOB, 0, 3)).await.expect("settles");
    assert_eq!(open.unread(BOB).await, 1);
    let recall = append(ANN, Body::Recall { target: 4, by: ANN });
    open.settle(Change::Append(Box::new(recall)))
        .await
        .expect("settles");
    assert_eq!(open.unread(BOB).await, 1, "a recalled message counts on");
    open.said(BOB, "answer").await;
    assert_eq!((open.unread(ANN).await, open.unread(BOB).await), (1, 0));
}

pub async fn preferences_stay_and_a_new_message_shows_a_hidden_conversation(engine: impl Engine) {
    let mut open = engine.open().await;
    open.said(ANN, "a").await;
    let prefs = Prefs {
        pinned: Some(true),
        hidden: Some(true),
        draft: Some("half a sent".to_owned()),
        ..Prefs::default()
    };
    let change = Change::Prefs {
        conversation: place(),
        user: BOB,
        prefs,
    };
    assert!(matches!(
        open.settle(change).await,
        Ok(Outcome::Member { moved: true, .. })
    ));
    open.log.close().await;
    drop(open);
    let mut open = engine.open().await;
    let summary = open
        .log
        .summary(place(), BOB)
        .await
        .expect("a read")
        .expect("a summary");
    assert!(summary.member.pinned && summary.member.hidden && !summary.member.muted);
    assert_eq!(summary.member.draft.as_deref(), Some("half a sent"));
    let (listed, _) = open.log.summaries(BOB, None, 10).await.expect("a list");
    assert!(listed.is_empty(), "hidden");
    let (others, _) = open.log.summaries(ANN, None, 10).await.expect("a list");
    assert_eq!(others.len(), 1, "only for the one who hid it");
    open.said(ANN, "b").await;
    let (listed, _) = open.log.summaries(BOB, None, 10).await.expect("a list");
    assert_eq!(listed.len(), 1);
}

pub async fn plugin_writes_commit_with_their_entry(engine: impl Engine) {
    let mut open = engine.open().await;
    let with_write = |client_id: &str, value: Option<&[u8]>| {
        let effects = vec![PluginWrite {
            quota: 1 << 20,
            namespace: "counter".to_owned(),
            key: "n".to_owned(),
            value: value.map(<[u8]>::to_vec),
        }];
        Change::Append(Box::new(Append {
            effects,
            ..message_append(ANN, client_id, "x")
        }))
    };
    open.settle(with_write("a", Some(b"1")))
        .await
        .expect("settles");
    open.settle(with_write("a", Some(b"2")))
        .await
        .expect("settles");
    let value = async |open: &Opened| open.log.plugin_value("counter", "n").await.expect("a read");
    assert_eq!(
        value(&open).await.as_deref(),
        Some(&b"1"[..]),
        "a resend writes nothing"
    );
    open.log.close().await;
    drop(open);
    let mut open = engine.open().await;
    assert_eq!(value(&open).await.as_deref(), Some(&b"1"[..]));
    assert!(
        open.log
            .plugin_value("other", "n")
            .await
            .expect("a read")
            .is_none()
    );
    open.settle(with_write("b", None)).await.expect("settles");
    assert_eq!(value(&open).await, None);
}

pub async fn a_closed_log_takes_nothing(engine: impl Engine) {
    let mut open = engine.open().await;
    open.submit(message(ANN, "a", "a"));
    open.log.close().await;
    assert!(
        open.settled(1).await[0].is_ok(),
        "what was queued is committed"
    );
    assert!(open.log.health().is_err());
    let submission = Submission {
        change: message(ANN, "b", "b"),
        origin: Origin::None,
    };
    match open.log.submit(submission) {
        Err(NotTaken::Full(_)) => {}
        other => panic!("taken: {}", other.is_ok()),
    }
}
