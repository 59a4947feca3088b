//! What the message log knows of media: who sees an entry that names one, and what is noted when none does any more.
//! Against the engine itself, because narrowing is a plugin's to decide.

use std::sync::Arc;

use kith::clock::SystemClock;
use kith::content::Fingerprint;
use kith::conversation::Kind;
use kith::entry::{Body, DecisionRecord, Message};
use kith::ids::{ConversationId, HoldId, MediaId, UserId};
use kith::store::embedded_log::EmbeddedLog;
use kith::store::{
    Append, Change, Hold, HoldCause, MessageLog, Opening, Origin, Outcome, ResendKey, Submission,
};
use serde_json::value::RawValue;
use tempfile::TempDir;

const ANN: UserId = UserId(1);
const BOB: UserId = UserId(2);

struct Log {
    log: Arc<EmbeddedLog>,
    conversation: ConversationId,
    settlements: tokio::sync::mpsc::Receiver<Vec<kith::store::Settlement>>,
    _folder: TempDir,
}

impl Log {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (log, settlements) =
            EmbeddedLog::open(folder.path(), Arc::new(SystemClock)).expect("opens");
        Self {
            log,
            conversation: ConversationId::direct(ANN, BOB),
            settlements,
            _folder: folder,
        }
    }

    async fn change(&mut self, change: Change) -> Outcome {
        let origin = Origin::None;
        self.log
            .submit(Submission { change, origin })
            .expect("is taken");
        let mut settled = self.settlements.recv().await.expect("settles");
        let settled = settled.pop().expect("a settlement");
        settled.result.expect("is committed")
    }

    /// Holds a message, or holds one again.
    async fn hold(&mut self, again: Option<HoldId>, content: u64, sent: Option<u64>) -> HoldId {
        let outcome = self
            .change(Change::Hold(Box::new(Hold {
                conversation: self.conversation,
                opening: Some(opening()),
                author: ANN,
                key: Some(ResendKey {
                    client_id: content.to_string(),
                    fingerprint: Fingerprint::of(&content.into()),
                }),
                content: file(content).expect("a content"),
                sent: sent.and_then(file),
                replaced: sent.is_some(),
                audience: None,
                effects: Vec::new(),
                reply_to: None,
                edits: None,
                again,
                by: "filter".to_owned(),
                reason: "failed".to_owned(),
                cause: HoldCause::Failed,
                record: DecisionRecord::default(),
            })))
            .await;
        match outcome {
            Outcome::Held { hold, .. } => hold,
            other => panic!("{other:?}"),
        }
    }

    async fn left(&self) -> Vec<MediaId> {
        self.log.media_left(10).await.expect("answers")
    }

    async fn append(&mut self, body: Body, audience: Option<Arc<[UserId]>>) {
        self.change(Change::Append(Box::new(Append {
            conversation: self.conversation,
            opening: Some(opening()),
            author: ANN,
            key: None,
            body,
            audience,
            replaced: false,
            record: DecisionRecord::default(),
            effects: Vec::new(),
            moves_read: false,
            releases: None,
        })))
        .await;
    }

    async fn readable(&self, media: u64, user: UserId) -> bool {
        let readable = self.log.media_readable(MediaId(media), user).await;
        readable.expect("answers")
    }

    async fn used(&self, media: u64) -> bool {
        self.log.media_used(MediaId(media)).await.expect("answers")
    }
}

fn opening() -> Opening {
    Opening {
        kind: Kind::Direct,
        users: vec![ANN, BOB],
    }
}

fn file(media: u64) -> Option<Box<RawValue>> {
    let json = format!(r#"{{"bytes":1,"media":"{media}","mime":"a/b","type":"file"}}"#);
    Some(RawValue::from_string(json).expect("JSON"))
}

fn message(media: u64) -> Body {
    Body::Message(Message {
        client_id: "1".to_owned(),
        content: file(media),
        reply_to: None,
        edited: false,
        recalled: false,
    })
}

#[tokio::test]
async fn a_message_that_leaves_a_member_out_gives_the_member_no_media() {
    let mut log = Log::open();
    log.append(message(7), Some(Arc::from([]))).await;
    assert!(log.readable(7, ANN).await);
    assert!(!log.readable(7, BOB).await);
    assert!(!log.readable(7, UserId(3)).await);
    log.append(message(7), Some(Arc::from([BOB]))).await;
    assert!(log.readable(7, BOB).await);
    assert!(!log.readable(8, ANN).await);
}

#[tokio::test]
async fn an_edit_and_a_recall_let_go_of_media_and_note_it_until_the_note_is_taken_over() {
    let mut log = Log::open();
    log.append(message(7), None).await;
    let edit = Body::Edit {
        target: 1,
        content: file(8),
    };
    log.append(edit, None).await;
    assert!(!log.used(7).await && log.used(8).await);
    assert!(log.readable(8, BOB).await);
    let recall = Body::Recall { target: 1, by: ANN };
    log.append(recall, None).await;
    assert!(!log.used(8).await && !log.readable(8, BOB).await);
    assert_eq!(log.left().await, [MediaId(7), MediaId(8)]);
    log.change(Change::MediaSeen {
        media: vec![MediaId(7)],
    })
    .await;
    assert_eq!(log.left().await, [MediaId(8)]);
}

#[tokio::test]
async fn a_held_message_keeps_what_it_was_sent_with_for_as_long_as_it_waits() {
    let mut log = Log::open();
    // A plugin took the media out; what was sent is to be judged again.
    let first = log.hold(None, 7, Some(8)).await;
    assert!(log.used(8).await && !log.readable(8, BOB).await);
    log.hold(Some(first), 9, None).await;
    assert!(log.used(9).await && !log.used(8).await);
    assert_eq!(log.left().await, [MediaId(8)]);
    let reason = "no".to_owned();
    let refused = Change::Refuse {
        hold: first,
        reason,
    };
    log.change(refused).await;
    assert!(!log.used(9).await);
    assert_eq!(log.left().await, [MediaId(8), MediaId(9)]);
    log.change(Change::MediaSeen {
        media: log.left().await,
    })
    .await;
    log.change(Change::Forget { hold: first }).await;
    assert!(log.left().await.is_empty(), "it was let go of before");
}
