//! A log with its index and a finder, without a server: what the protocol cannot bring about alone (narrowed messages,
//! times of one's choice, very many messages) is appended to the log as the journey would.

use std::sync::Arc;

use kith::clock::ManualClock;
use kith::content::{Content, ContentLimits};
use kith::conversation::Kind;
use kith::entry::{Body, DecisionRecord, Message};
use kith::ids::{ConversationId, UserId};
use kith::journey::search::{Finder, Found, Wanted};
use kith::search::Search;
use kith::search::embedded::EmbeddedSearch;
use kith::search::indexer::{Indexer, always};
use kith::search::serving::Serving;
use kith::store::embedded_log::EmbeddedLog;
use kith::store::feed::Feed;
use kith::store::{Append, Change, MessageLog, Opening, Origin, Outcome, Settlement, Submission};
use serde_json::json;
use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The time everything begins at.
pub const BEGIN_MS: u64 = 1_700_000_000_000;
/// Changes submitted before their settlements are waited for.
const AT_ONCE: usize = 8_000;

pub struct Library {
    pub log: Arc<EmbeddedLog>,
    pub clock: Arc<ManualClock>,
    pub engine: Arc<dyn Search>,
    pub serving: Arc<Serving>,
    pub finder: Finder,
    settled: mpsc::Receiver<Vec<Settlement>>,
    indexing: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl Library {
    /// Open and empty; nothing is indexed before `index`.
    pub fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(BEGIN_MS));
        let (log, settled) =
            EmbeddedLog::open(&folder.path().join("log"), clock.clone()).expect("a log");
        let engine: Arc<dyn Search> = Arc::new(EmbeddedSearch::new(&folder.path().join("search")));
        let serving = Arc::new(Serving::new(engine.clone()));
        Self {
            finder: Finder::new(log.clone(), Some(serving.clone())),
            log,
            clock,
            engine,
            serving,
            settled,
            indexing: None,
            _folder: folder,
        }
    }

    /// Follows the log from now on; returns once the index is up to date.
    pub async fn index(&mut self) {
        let indexer = Indexer {
            log: self.log.clone(),
            feed: self.log.clone(),
            serving: self.serving.clone(),
            clock: self.clock.clone(),
            turn: always(),
        };
        self.indexing
            .get_or_insert_with(|| tokio::spawn(indexer.run()));
        let newest = *self.log.commits().borrow();
        self.serving.reached(newest).await;
    }

    /// Commits changes, in order.
    pub async fn commit(&mut self, changes: impl IntoIterator<Item = Append>) {
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let mut waiting = 0;
            for append in changes.by_ref().take(AT_ONCE) {
                let change = Change::Append(Box::new(append));
                let origin = Origin::None;
                self.log
                    .submit(Submission { change, origin })
                    .expect("the queue has room");
                waiting += 1;
            }
            while waiting > 0 {
                let settled = self.settled.recv().await.expect("the log is open");
                waiting -= settled.len();
                for settlement in settled {
                    let committed = matches!(settlement.result, Ok(Outcome::Committed(_)));
                    assert!(committed, "{:?}", settlement.result);
                }
            }
        }
    }

    /// What a user finds; everything committed is indexed first.
    pub async fn find(&mut self, user: UserId, wanted: Wanted) -> Found {
        self.index().await;
        self.finder.find(user, &wanted).await.expect("found")
    }

    /// The texts a user finds for words, newest first.
    pub async fn texts(&mut self, user: UserId, words: &str) -> Vec<String> {
        let wanted = Wanted {
            words: words.into(),
            limit: 50,
            ..Wanted::default()
        };
        texts(&self.find(user, wanted).await)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        if let Some(indexing) = &self.indexing {
            indexing.abort();
        }
    }
}

pub fn texts(found: &Found) -> Vec<String> {
    let text = |hit: &kith::journey::search::Hit| {
        let message = hit.entry.message().expect("a message");
        let json = message.content.as_deref().expect("a content").get();
        let content = Content::from_stored(json).expect("a content");
        content.text().to_owned()
    };
    found.hits.iter().map(text).collect()
}

pub fn content(text: &str) -> Box<RawValue> {
    let value = json!({"type": "text", "text": text});
    let content = Content::parse(value, &ContentLimits::default()).expect("a content");
    RawValue::from_string(content.to_json()).expect("JSON")
}

/// A text from one user to another, opening their conversation when it is not there.
pub fn message(from: UserId, to: UserId, text: &str) -> Append {
    let message = Message {
        client_id: String::new(),
        content: Some(content(text)),
        reply_to: None,
        edited: false,
        recalled: false,
    };
    let mut append = change(from, to, Body::Message(message));
    append.moves_read = true;
    append
}

pub fn change(from: UserId, to: UserId, body: Body) -> Append {
    let mut users = vec![from, to];
    users.sort_unstable();
    Append {
        conversation: ConversationId::direct(from, to),
        opening: Some(Opening {
            kind: Kind::Direct,
            users,
        }),
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
