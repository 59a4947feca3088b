//! Plugins' values in the log: versions that are compared, a quota that is kept, ends in time, and a consumer's place that
//! moves with them.

use std::sync::Arc;

use kith::clock::{Clock, ManualClock};
use kith::store::embedded_log::{EmbeddedLog, Opened};
use kith::store::feed::{Feed, FeedPosition};
use kith::store::kv::{KvChange, KvWrite, PluginKv};
use kith::store::{Change, CommitError, MessageLog, Origin, Outcome, Submission};

struct Store {
    log: Arc<EmbeddedLog>,
    settled: tokio::sync::mpsc::Receiver<Vec<kith::store::Settlement>>,
}

fn open(folder: &std::path::Path, clock: &Arc<ManualClock>) -> Store {
    let clock: Arc<dyn Clock> = clock.clone();
    let (log, settled): Opened = EmbeddedLog::open(folder, clock).expect("the log opens");
    Store { log, settled }
}

fn put(key: &str, value: &str) -> KvWrite {
    KvWrite {
        key: key.into(),
        value: Some(value.as_bytes().to_vec()),
        expected: None,
        expires_at: 0,
    }
}

impl Store {
    async fn write(&mut self, writes: Vec<KvWrite>, quota: u64) -> Result<Vec<u64>, CommitError> {
        self.change(writes, quota, None).await
    }

    async fn change(
        &mut self,
        writes: Vec<KvWrite>,
        quota: u64,
        cursor: Option<(String, FeedPosition)>,
    ) -> Result<Vec<u64>, CommitError> {
        let change = Change::Kv(Box::new(KvChange {
            plugin: "p".into(),
            writes,
            quota,
            cursor,
        }));
        let origin = Origin::None;
        self.log
            .submit(Submission { change, origin })
            .expect("the queue has room");
        let settled = self.settled.recv().await.expect("the log is open");
        match settled.into_iter().next().expect("one").result? {
            Outcome::Kv(versions) => Ok(versions),
            other => panic!("{other:?}"),
        }
    }

    async fn value(&self, key: &str) -> Option<String> {
        let found = self.log.kv("p", key).await.expect("a read")?;
        Some(String::from_utf8(found.value).expect("text"))
    }
}

#[tokio::test]
async fn values_are_written_over_the_version_that_is_expected_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::at(1_000));
    let mut store = open(folder.path(), &clock);
    let expecting = |version, value: &str| KvWrite {
        expected: Some(version),
        ..put("a", value)
    };
    let first = store
        .write(vec![expecting(0, "1")], 100)
        .await
        .expect("written")[0];
    let again = store
        .write(vec![put("b", "x"), expecting(0, "2")], 100)
        .await;
    assert!(matches!(again, Err(CommitError::Changed)), "{again:?}");
    assert_eq!(store.value("b").await, None, "all of a change or nothing");
    let second = store
        .write(vec![expecting(first, "2")], 100)
        .await
        .expect("written")[0];
    assert!(second > first);
    assert_eq!(store.value("a").await.as_deref(), Some("2"));
    assert_eq!(
        store.log.kv("q", "a").await.expect("a read"),
        None,
        "each plugin has its own"
    );
}

#[tokio::test]
async fn a_quota_is_kept_and_what_has_ended_makes_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::at(1_000));
    let mut store = open(folder.path(), &clock);
    let ending = KvWrite {
        expires_at: 2_000,
        ..put("a", "12345")
    };
    store
        .write(vec![ending, put("b", "123")], 10)
        .await
        .expect("ten bytes");
    let full = store.write(vec![put("c", "")], 10).await;
    assert!(matches!(full, Err(CommitError::Full(_))), "{full:?}");
    store
        .write(vec![put("b", "321")], 10)
        .await
        .expect("no more than before");
    clock.advance(1_000);
    assert_eq!(store.value("a").await, None, "it has ended");
    assert_eq!(
        store.log.kv_keys("p", "", "", 10).await.expect("keys"),
        ["b"]
    );
    store
        .write(vec![put("c", "1234")], 10)
        .await
        .expect("its room is free");
    let keys = store.log.kv_keys("p", "", "b", 10).await.expect("keys");
    assert_eq!(keys, ["c"]);
    store.log.close().await;
    drop(store);
    let mut store = open_again(folder.path(), &clock).await;
    let full = store.write(vec![put("d", "12")], 10).await;
    assert!(
        matches!(full, Err(CommitError::Full(_))),
        "what is kept is counted: {full:?}"
    );
}

#[tokio::test]
async fn a_consumers_place_moves_with_its_values_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::at(1_000));
    let mut store = open(folder.path(), &clock);
    let at = |text: &str| Some(("consumer".to_owned(), FeedPosition(text.to_owned())));
    store
        .change(vec![put("n", "1")], 100, at("one"))
        .await
        .expect("written");
    let full = store.change(vec![put("n", "22222")], 3, at("two")).await;
    assert!(matches!(full, Err(CommitError::Full(_))), "{full:?}");
    let cursor = store.log.cursor("consumer").await.expect("a read");
    assert_eq!(cursor, Some(FeedPosition("one".into())));
    assert_eq!(store.value("n").await.as_deref(), Some("1"));
}

async fn open_again(folder: &std::path::Path, clock: &Arc<ManualClock>) -> Store {
    loop {
        let with: Arc<dyn Clock> = clock.clone();
        if let Ok((log, settled)) = EmbeddedLog::open(folder, with) {
            return Store { log, settled };
        }
        tokio::task::yield_now().await;
    }
}
