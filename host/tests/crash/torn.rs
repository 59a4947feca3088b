//! The log cut at every byte of its last records: it opens again to a prefix that holds all that was acked before
//! the cut, whether the journal ends there or goes on with zeros.

use std::path::Path;
use std::sync::Arc;

use kith::clock::SystemClock;
use kith::content::Fingerprint;
use kith::conversation::Kind;
use kith::entry::{Body, DecisionRecord, Message};
use kith::ids::{ConversationId, UserId};
use kith::store::embedded_log::EmbeddedLog;
use kith::store::{Append, Change, MessageLog, Opening, Origin, ResendKey, Span, Submission};
use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::sync::oneshot;

const ANN: UserId = UserId(1);
const BOB: UserId = UserId(2);

/// Every how many bytes the log is cut: each one in the long run, else enough to meet every field of a record.
fn stride() -> usize {
    if std::env::var_os("KITH_LONG").is_some() {
        1
    } else {
        7
    }
}

/// Thousands of logs are opened: in memory where there is a file system for that, else where temporary files are.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    folder.expect("a folder")
}

fn message(n: u64) -> Change {
    let client_id = n.to_string();
    Change::Append(Box::new(Append {
        conversation: ConversationId::direct(ANN, BOB),
        opening: Some(Opening {
            kind: Kind::Direct,
            users: vec![ANN, BOB],
        }),
        author: ANN,
        key: Some(ResendKey {
            client_id: client_id.clone(),
            fingerprint: Fingerprint(u128::from(n)),
        }),
        body: Body::Message(Message {
            client_id,
            content: RawValue::from_string("{\"type\":\"text\",\"text\":\"x\"}".into()).ok(),
            reply_to: None,
            edited: false,
            recalled: false,
        }),
        audience: None,
        replaced: false,
        record: DecisionRecord::default(),
        effects: Vec::new(),
        moves_read: true,
        releases: None,
    }))
}

/// Appends a message and waits until it is settled.
async fn append(log: &EmbeddedLog, n: u64) {
    let (sender, receiver) = oneshot::channel();
    let submission = Submission {
        change: message(n),
        origin: Origin::Caller(sender),
    };
    log.submit(submission).expect("taken");
    receiver.await.expect("settled").expect("committed");
}

fn answering(log: &Path) -> (Arc<EmbeddedLog>, tokio::task::JoinHandle<()>) {
    let (log, mut settlements) = EmbeddedLog::open(log, Arc::new(SystemClock)).expect("opens");
    let answering = tokio::spawn(async move {
        while let Some(batch) = settlements.recv().await {
            for settlement in batch {
                if let Origin::Caller(waiting) = settlement.origin {
                    let _ = waiting.send(settlement.result);
                }
            }
        }
    });
    (log, answering)
}

/// The journal's bytes up to its last one that is not zero: the rest was only set aside.
fn written(journal: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(journal).expect("the journal");
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else if path.extension().is_none_or(|extension| extension != "jnl") {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

#[tokio::test]
async fn a_log_cut_anywhere_in_its_last_fifty_records_opens_to_a_prefix_with_all_that_was_acked() {
    let folder = scratch();
    let original = folder.path().join("log");
    let (log, _answering) = answering(&original);
    let journal = original.join("0.jnl");
    let mut ends = Vec::new();
    for n in 1..=60 {
        append(&log, n).await;
        ends.push(written(&journal).len());
    }
    let bytes = written(&journal);
    let at_an_end = |cut: usize| ends.iter().any(|end| cut.abs_diff(*end) <= 1);
    for cut in ends[9]..=bytes.len() {
        if cut % stride() > 0 && !at_an_end(cut) {
            continue;
        }
        let torn = bytes[..cut].to_vec();
        let zeroed = [torn.as_slice(), &vec![0; bytes.len() - cut]].concat();
        for journal in [torn, zeroed] {
            opens_to_a_prefix(&original, folder.path(), cut, &journal, &ends).await;
        }
    }
}

/// A log whose journal lost everything from a byte on has what was acked before it, in order, each once.
async fn opens_to_a_prefix(
    original: &Path,
    folder: &Path,
    cut: usize,
    journal: &[u8],
    ends: &[usize],
) {
    let torn = folder.join("torn");
    copy(original, &torn);
    std::fs::write(torn.join("0.jnl"), journal).expect("written");
    let (log, _) = EmbeddedLog::open(&torn, Arc::new(SystemClock))
        .unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
    let span = Span {
        after: Some(0),
        before: None,
        limit: 100,
    };
    let conversation = ConversationId::direct(ANN, BOB);
    let page = log.page(conversation, ANN, span).await.expect("reads");
    let acked = ends.iter().filter(|end| **end <= cut).count();
    assert!(
        page.entries.len() >= acked,
        "cut at {cut}: {} of {acked} acked",
        page.entries.len()
    );
    assert_eq!(page.head, page.entries.len() as u64, "cut at {cut}: dense");
    for (entry, seq) in page.entries.iter().zip(1..) {
        let client_id = entry.message().map(|message| message.client_id.clone());
        assert_eq!(
            (entry.seq, client_id),
            (seq, Some(seq.to_string())),
            "cut at {cut}"
        );
    }
    drop(log);
    std::fs::remove_dir_all(&torn).expect("taken away");
}
