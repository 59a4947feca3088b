//! Plugins' values in the log: versions that are compared, a quota that is kept, ends in time, and a consumer's place that
//! moves with them.

use std::sync::Arc;

use kith::clock::{Clock, ManualClock};
use kith::content::Fingerprint;
use kith::ids::{ConversationId, UserId};
use kith::store::embedded_log::{EmbeddedLog, Opened};
use kith::store::feed::{Feed, FeedPosition};
use kith::store::kv::{Advance, KvChange, KvWrite, PluginKv};
use kith::store::{
    Change, CommandAnswer, CommitError, MessageLog, NotTaken, Origin, Outcome, ResendKey,
    Submission,
};

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
        cursor: Option<Advance>,
    ) -> Result<Vec<u64>, CommitError> {
        let change = Change::Kv(Box::new(KvChange {
            namespace: "p".into(),
            writes,
            quota,
            cursor,
        }));
        match self.settle(change).await? {
            Outcome::Kv(versions) => Ok(versions),
            other => panic!("{other:?}"),
        }
    }

    async fn settle(&mut self, change: Change) -> Result<Outcome, CommitError> {
        let origin = Origin::None;
        self.log
            .submit(Submission { change, origin })
            .expect("the queue has room");
        let settled = self.settled.recv().await.expect("the log is open");
        settled.into_iter().next().expect("one").result
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
    let at = |text: &str| FeedPosition(text.to_owned());
    let on = |from: Option<FeedPosition>, to: &str| {
        Some(Advance {
            consumer: "consumer".to_owned(),
            from,
            to: at(to),
        })
    };
    store
        .change(vec![put("n", "1")], 100, on(None, "one"))
        .await
        .expect("written");
    let advance = on(Some(at("one")), "two");
    let full = store.change(vec![put("n", "22222")], 3, advance).await;
    assert!(matches!(full, Err(CommitError::Full(_))), "{full:?}");
    for from in [None, Some(at("two"))] {
        let elsewhere = store.change(vec![put("n", "2")], 100, on(from, "three"));
        let elsewhere = elsewhere.await;
        assert!(
            matches!(elsewhere, Err(CommitError::Changed)),
            "{elsewhere:?}"
        );
    }
    let cursor = store.log.cursor("consumer").await.expect("a read");
    assert_eq!(cursor, Some(FeedPosition("one".into())));
    assert_eq!(store.value("n").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_namespace_is_read_in_pages_its_changes_are_noted_and_it_is_dropped_in_steps() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::at(1_000));
    let mut store = open(folder.path(), &clock);
    let ending = KvWrite {
        expires_at: 1_001,
        ..put("a0", "gone soon")
    };
    let keys = ["a", "b", "c", "d", "e"];
    let mut writes: Vec<KvWrite> = keys.iter().map(|key| put(key, "12345")).collect();
    writes.push(ending);
    store.write(writes, 1000).await.expect("written");
    clock.advance(10);
    let log = store.log.clone();
    let page = async |after: &str, bounds| {
        let page = log.kv_page("p", after, bounds).await.expect("a page");
        page.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(page("", (2, 1000)).await, ["a", "b"]);
    assert_eq!(page("b", (9, 1000)).await, ["c", "d", "e"]);
    assert_eq!(page("", (9, 12)).await, ["a", "b"], "twelve bytes are full");
    assert!(page("e", (9, 1000)).await.is_empty());

    store.log.kv_watch("p");
    let taken = KvWrite {
        value: None,
        ..put("e", "")
    };
    let full = store.write(vec![put("x", "12345")], 10).await;
    assert!(matches!(full, Err(CommitError::Full(_))), "{full:?}");
    for writes in [vec![put("b", "6"), taken], vec![put("b", "7")]] {
        store.write(writes, 1000).await.expect("written");
    }
    // What had ended made room, and is gone from a copy too.
    let changed = async || store.log.kv_changed("p").await.expect("keys");
    let keys = changed().await;
    assert_eq!(keys, ["a0", "b", "e"]);
    assert!(changed().await.is_empty(), "each once");
    let items = store.log.kv_of("p", &keys).await.expect("values");
    let held = items
        .iter()
        .map(|item| item.as_ref().map(|item| &*item.value));
    assert_eq!(held.collect::<Vec<_>>(), [None, Some(&b"7"[..]), None]);
    store.log.kv_unwatch("p");
    store
        .write(vec![put("c", "8")], 1000)
        .await
        .expect("written");
    assert!(store.log.kv_changed("p").await.expect("keys").is_empty());

    let mut steps = Vec::new();
    while steps.last() != Some(&false) {
        let namespace = "p".to_owned();
        let settled = store.settle(Change::KvDrop { namespace, most: 2 }).await;
        let Ok(Outcome::KvDropped { more }) = settled else {
            panic!("{settled:?}");
        };
        steps.push(more);
    }
    assert_eq!(steps, [true, false], "four keys, two at a time");
    assert!(page("", (9, 1000)).await.is_empty());
    assert_eq!(store.log.kv_used("p").await.expect("a read"), 0);
    assert!(store.log.kv_namespaces().await.expect("a list").is_empty());
}

#[tokio::test]
async fn behind_a_turn_what_an_older_generation_judged_is_given_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::at(1_000));
    let mut store = open(folder.path(), &clock);
    let judged_by = |generation| Submission {
        change: Change::Command(Box::new(CommandAnswer {
            conversation: ConversationId(1),
            author: UserId(1),
            key: ResendKey {
                client_id: "1".to_owned(),
                fingerprint: Fingerprint(0),
            },
            reply: None,
            effects: Vec::new(),
            generation,
        })),
        origin: Origin::None,
    };
    store.log.submit(judged_by(4)).expect("nothing is newer");
    store.settled.recv().await.expect("settled");
    let turned = store.settle(Change::Turn { generation: 5 }).await;
    assert!(matches!(turned, Ok(Outcome::Done)), "{turned:?}");
    let stale = store.log.submit(judged_by(4));
    assert!(matches!(stale, Err(NotTaken::Stale(_))), "{stale:?}");
    store.log.submit(judged_by(5)).expect("it is the newest");
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
