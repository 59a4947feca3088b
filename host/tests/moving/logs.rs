//! Logs with a history made up from a seed, moved from engine to engine: what can be read of each is the same, and so is
//! every record on its way back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kith::clock::{Clock, ManualClock};
use kith::store::embedded_log::EmbeddedLog;
use kith::store::feed::{Feed, FeedPosition};
use kith::store::kv::{KvChange, KvWrite};
use kith::store::portable::{Part, PortableLog, Record};
use kith::store::{Change, MessageLog, Outcome};
use tempfile::tempdir;

use super::{embedded, exported, imported, in_mongo, named, records, same};
use crate::mongo::server::shared;
use crate::mongo::twins::Twin;
use crate::mongo::twins::made_up::Source;
use crate::mongo::twins::told;

const STEPS: usize = 300;

fn clock() -> (Arc<ManualClock>, Arc<dyn Clock>) {
    let clock = Arc::new(ManualClock::at(1_790_000_000_000));
    (clock.clone(), clock)
}

/// A consumer that never said where it stands does now.
async fn note(log: &EmbeddedLog, consumer: &str, at: &FeedPosition) {
    let moved = log.move_cursor(consumer, None, at).await;
    assert!(moved.expect("noted"), "{consumer} had a place already");
}

/// A log with a history, and consumers of its feed in the middle of it.
async fn lived(folder: &Path, seed: u64) -> (Source, Arc<ManualClock>) {
    let (moved, clock) = clock();
    let opened = EmbeddedLog::open(&folder.join("log"), clock).expect("opens");
    let log = opened.0.clone();
    let mut twin = Twin::of(opened);
    let mut source = Source::new(seed);
    for step in 0..STEPS {
        moved.advance(source.below(2_000) + 1);
        let made = source.change(twin.holds.len(), twin.requests.len());
        let change = made(&twin);
        let _ = twin.settle(change).await;
        if step == STEPS / 2 {
            note(&log, "half", &log.feed_end()).await;
        }
    }
    let kept = KvWrite {
        key: "kept".to_owned(),
        value: Some(b"for long".to_vec()),
        expires_at: 0,
        expected: None,
    };
    let change = KvChange {
        namespace: "clerk".to_owned(),
        writes: vec![kept],
        quota: 10_000,
        cursor: None,
    };
    let kept = twin.settle(Change::Kv(Box::new(change))).await;
    assert!(matches!(kept, Ok(Outcome::Kv(_))), "{kept:?}");
    note(&log, "none", &FeedPosition::default()).await;
    note(&log, "time", &FeedPosition("1790".to_owned())).await;
    log.close().await;
    (source, moved)
}

/// Everything that is read of a log that was opened just now, its feed and what its consumers still have to see.
async fn said(mut twin: Twin, source: &Source, now: u64) -> Vec<String> {
    let mut said = told::everything(&mut twin, source, now).await;
    said.extend(told::feed(&twin, None).await);
    for consumer in ["half", "none"] {
        let at = twin
            .feed
            .cursor(consumer)
            .await
            .expect("a read")
            .expect("noted");
        let page = twin.feed.feed(&at, 10_000).await.expect("a page");
        assert!(!page.reset, "{consumer} stands in another feed");
        said.push(format!("{consumer} has {} before it", page.items.len()));
    }
    let time = twin.feed.cursor("time").await.expect("a read");
    said.push(format!("{time:?}"));
    said
}

async fn said_by_embedded(folder: &Path, source: &Source, clock: &Arc<ManualClock>) -> Vec<String> {
    let shared: Arc<dyn Clock> = clock.clone();
    let opened = EmbeddedLog::open(&folder.join("log"), shared).expect("opens");
    let log = opened.0.clone();
    let said = said(Twin::of(opened), source, clock.now_ms()).await;
    log.close().await;
    said
}

type Records = BTreeMap<&'static str, Vec<Record>>;

/// Parts whose records are the same byte for byte wherever they were. How high the stamp of a place may be is each engine's
/// to say, and whether the feed still tells of what was erased.
fn compared(mut of: Records) -> Records {
    for part in [Part::Feed, Part::Cursors] {
        of.remove(part.name());
    }
    of
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_moves_from_embedded_to_embedded_as_it_was() {
    for seed in [1, 2] {
        let (here, there, files) = (
            tempdir().expect("a"),
            tempdir().expect("b"),
            tempdir().expect("c"),
        );
        let (source, clock) = lived(here.path(), seed).await;
        let before = said_by_embedded(here.path(), &source, &clock).await;
        let shared: Arc<dyn Clock> = clock.clone();
        let file = named(&files, "a");
        let (log, from) = embedded(here.path(), &shared);
        exported(&from, &file).await.expect("exported");
        let all = records(&*log).await;
        for part in [
            Part::Entries,
            Part::Answers,
            Part::Members,
            Part::Rows,
            Part::Values,
        ] {
            assert!(!all[part.name()].is_empty(), "no {}", part.name());
        }
        {
            let (log, into) = embedded(there.path(), &shared);
            imported(&into, &file).await.expect("imported");
            log.close().await;
        }
        {
            // As a server opens it: what was imported is not served by the log that took it in.
            let (log, _) = embedded(there.path(), &shared);
            same(&all, &records(&*log).await);
            log.close().await;
        }
        assert_eq!(
            before,
            said_by_embedded(there.path(), &source, &clock).await
        );
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_moves_to_mongodb_and_back() {
    let server = shared().await;
    let (here, back, files) = (
        tempdir().expect("a"),
        tempdir().expect("b"),
        tempdir().expect("c"),
    );
    let (source, clock) = lived(here.path(), 3).await;
    let before = said_by_embedded(here.path(), &source, &clock).await;
    let shared_clock: Arc<dyn Clock> = clock.clone();
    let (first, second) = (named(&files, "a"), named(&files, "b"));
    let (log, from) = embedded(here.path(), &shared_clock);
    exported(&from, &first).await.expect("exported");
    let all = compared(records(&*log).await);
    log.close().await;
    let settings = server.database();
    {
        let (log, into) = in_mongo(&settings, &shared_clock).await;
        imported(&into, &first).await.expect("imported");
        same(&all, &compared(records(&*log).await));
        log.close().await;
    }
    let opened = kith::store::mongo_log::MongoLog::open(&settings, shared_clock.clone()).await;
    let opened = opened.expect("opens");
    let log = opened.0.clone();
    let twin = Twin::of(opened);
    assert_eq!(before, said(twin, &source, clock.now_ms()).await);
    log.close().await;
    let (log, from) = in_mongo(&settings, &shared_clock).await;
    exported(&from, &second).await.expect("exported again");
    log.close().await;
    {
        let (log, into) = embedded(back.path(), &shared_clock);
        imported(&into, &second).await.expect("imported back");
        same(&all, &compared(records(&*log).await));
        log.close().await;
    }
    assert_eq!(before, said_by_embedded(back.path(), &source, &clock).await);
}

/// What was moved in goes on as what grew there: the same changes have the same outcomes.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_goes_on_where_it_was_moved_to() {
    let server = shared().await;
    let (here, files) = (tempdir().expect("a"), tempdir().expect("b"));
    let (mut source, clock) = lived(here.path(), 4).await;
    let shared_clock: Arc<dyn Clock> = clock.clone();
    let file = named(&files, "a");
    let (log, from) = embedded(here.path(), &shared_clock);
    exported(&from, &file).await.expect("exported");
    log.close().await;
    drop((log, from));
    let settings = server.database();
    let (log, into) = in_mongo(&settings, &shared_clock).await;
    imported(&into, &file).await.expect("imported");
    log.close().await;
    let embedded = EmbeddedLog::open(&here.path().join("log"), shared_clock.clone());
    let mut one = Twin::of(embedded.expect("opens"));
    let opened = kith::store::mongo_log::MongoLog::open(&settings, shared_clock).await;
    let mut other = Twin::of(opened.expect("opens"));
    for step in 0..60 {
        clock.advance(source.below(2_000) + 1);
        let made = source.change(one.holds.len(), one.requests.len());
        let change = made(&one);
        let asked = format!("step {step}: {change:?}");
        let here = one.settle(change).await;
        let there = other.settle(made(&other)).await;
        assert_eq!(told::outcome(&here), told::outcome(&there), "{asked}");
    }
}

#[tokio::test]
async fn a_log_that_was_never_used_is_empty_and_no_other() {
    let folder = tempdir().expect("a folder");
    let (_, clock) = clock();
    let (log, _) = embedded(folder.path(), &clock);
    assert_eq!(log.holds_already().await.expect("a read"), None);
    note(&log, "one", &log.feed_end()).await;
    assert_eq!(
        log.holds_already().await.expect("a read").as_deref(),
        Some("rows")
    );
    assert_eq!(log.moving().await.expect("a read"), None);
}
