//! The index on a server of its own: Elasticsearch or OpenSearch, by the calls both understand. Implements `Search`;
//! knows no other adapter. How far it has come stands in the index itself, written after what it speaks of: after a
//! crash some changes come again, under the same ids and with higher versions, and none is skipped.

mod ask;
mod kept;
mod server;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use elasticsearch::http::Method;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::server::{Server, Trouble};
use self::writing::{Writing, place};
use super::{Candidate, IndexChange, Query, Search, SearchError};
use crate::breaker::{Breaker, BreakerRules};
use crate::clock::Clock;
use crate::store::feed::FeedPosition;

/// How long a search may take.
pub const ASK: Duration = Duration::from_secs(3);
/// The same of small requests that do not look through anything, and of large ones.
const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(60);
const BREAKER: BreakerRules = BreakerRules {
    failures: 3,
    spread: Duration::ZERO,
    pause: Duration::from_secs(5),
};

/// Where the server is, and what the index is called.
#[derive(Debug, Clone)]
pub struct ElasticSettings {
    pub url: String,
    /// Empty: as the url says.
    pub user: String,
    pub password: String,
    pub prefix: String,
    /// How long a search may take.
    pub ask: Duration,
}

/// An index on a server.
pub struct ElasticSearch {
    server: Server,
    clock: Arc<dyn Clock>,
    /// By which the index is reached.
    alias: String,
    ask: Duration,
    breaker: Breaker,
    opened: AtomicBool,
    removed_at: Mutex<Option<u64>>,
    writing: tokio::sync::Mutex<Option<Writing>>,
}

/// What the index says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    position: String,
    /// When the oldest of what was removed and is still on the disk was committed, milliseconds.
    removed_at: Option<u64>,
    /// Grows each time somebody opens the index to write: what an earlier one still has on the way changes nothing that
    /// a later one has written.
    term: u64,
}

/// What stands under the index's name.
enum Standing {
    Nothing,
    /// Of this format, or of another one.
    Ours {
        index: String,
        usable: bool,
    },
}

fn not_open() -> SearchError {
    SearchError::Unavailable("it is not open".to_owned())
}

impl ElasticSearch {
    /// Speaks to nobody yet. What is wrong with the settings is said in one line.
    pub fn new(settings: &ElasticSettings, clock: Arc<dyn Clock>) -> Result<Self, String> {
        Ok(Self {
            server: Server::new(&settings.url, &settings.user, &settings.password)?,
            clock,
            alias: format!("{}-messages", settings.prefix),
            ask: settings.ask,
            breaker: Breaker::new(BREAKER),
            opened: AtomicBool::new(false),
            removed_at: Mutex::new(None),
            writing: tokio::sync::Mutex::new(None),
        })
    }

    /// Which server it is and how its index stands, in a few words; or what is wrong.
    pub async fn check_up(&self) -> Result<String, SearchError> {
        let server = self.server.get("", self.ask).await.map_err(|trouble| {
            // That there is nothing at all says what it is.
            SearchError::Unavailable(match trouble {
                Trouble::Missing(_) => format!("{} is no search server", self.server.shown),
                other => other.to_string(),
            })
        })?;
        let version = &server["version"];
        let (kind, number) = (
            version["distribution"].as_str().unwrap_or("elasticsearch"),
            version["number"].as_str().unwrap_or("of no version"),
        );
        let alias = &self.alias;
        let index = match self.standing().await? {
            Standing::Nothing => format!("no index {alias} yet"),
            Standing::Ours { usable: false, .. } => {
                format!("{alias} is of another version and will be made anew")
            }
            Standing::Ours { .. } => {
                let count = self
                    .server
                    .get(&format!("{alias}/_count"), self.ask)
                    .await?;
                // The note is none.
                let messages = count["count"].as_u64().unwrap_or(0).saturating_sub(1);
                format!("{messages} messages in {alias}")
            }
        };
        Ok(format!("{kind} {number} at {}, {index}", self.server.shown))
    }

    async fn standing(&self) -> Result<Standing, SearchError> {
        let alias = &self.alias;
        let found = match self.server.get(alias, SHORT).await {
            Err(Trouble::Missing(_)) => return Ok(Standing::Nothing),
            found => found?,
        };
        let foreign = |what: &str| {
            let why = format!("{alias} at {} {what}", self.server.shown);
            Err(SearchError::Unavailable(format!(
                "{why}: delete it, or set another search.prefix"
            )))
        };
        let mut indexes = found.as_object().into_iter().flatten();
        let (Some((index, about)), None) = (indexes.next(), indexes.next()) else {
            return foreign("leads to more than one index");
        };
        match about["mappings"]["_meta"]["kith"].as_u64() {
            Some(format) if index != alias => Ok(Standing::Ours {
                index: index.clone(),
                usable: format == kept::FORMAT,
            }),
            _ => foreign("is an index that Kith did not make"),
        }
    }

    async fn create(&self) -> Result<(), SearchError> {
        let index = format!("{}-{}", self.alias, kept::FORMAT);
        let created = self
            .server
            .put(&index, &kept::creation(&self.alias), LONG)
            .await;
        match created {
            Ok(_) => Ok(()),
            Err(Trouble::Refused(why)) => match self.standing().await? {
                // Another node was quicker, or a request of one that has ended came late.
                Standing::Ours { usable: true, .. } => Ok(()),
                _ => Err(SearchError::Unavailable(format!(
                    "the index {index} cannot be made: {why}"
                ))),
            },
            Err(other) => Err(other.into()),
        }
    }

    async fn delete(&self, index: &str) -> Result<(), SearchError> {
        match self.server.call(Method::Delete, index, None, LONG).await {
            Ok(_) | Err(Trouble::Missing(_)) => Ok(()),
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// The note as it stands, and where it was written.
    async fn note(&self) -> Result<(Note, Option<(u64, u64)>), SearchError> {
        let path = format!("{}/_doc/{}", self.alias, kept::NOTE);
        let found = match self.server.get(&path, SHORT).await {
            Err(Trouble::Missing(_)) => return Ok((Note::default(), None)),
            found => found?,
        };
        let note = serde_json::from_value(found["_source"]["note"].clone())
            .map_err(|_| SearchError::Damaged("its note cannot be read".to_owned()))?;
        Ok((note, place(&found)))
    }

    async fn put_note(&self, writing: &mut Writing) -> Result<(), SearchError> {
        let only = match writing.written {
            None => "op_type=create".to_owned(),
            Some((seq, term)) => format!("if_seq_no={seq}&if_primary_term={term}"),
        };
        let path = format!(
            "{}/_doc/{}?require_alias=true&{only}",
            self.alias,
            kept::NOTE
        );
        let put = self
            .server
            .put(&path, &json!({"note": writing.note}), SHORT)
            .await?;
        writing.written = place(&put);
        *self.removed_at.lock() = writing.note.removed_at;
        Ok(())
    }

    /// Begins to write: in a term later than any before, also than those of an index that is gone.
    async fn begin(&self, note: Note, written: Option<(u64, u64)>) -> Result<Writing, SearchError> {
        let mut writing = Writing::of(note, written);
        let minutes = self.clock.now_ms() / 60_000;
        writing.note.term = (writing.note.term + 1).max(minutes);
        self.put_note(&mut writing).await?;
        Ok(writing)
    }
}

#[async_trait]
impl Search for ElasticSearch {
    async fn open(&self) -> Result<Option<FeedPosition>, SearchError> {
        self.close().await;
        let mut opened = self.writing.lock().await;
        match self.standing().await? {
            Standing::Ours { usable: true, .. } => {}
            Standing::Ours { index, .. } => {
                tracing::warn!(index, "the index is of another version and is made anew");
                self.delete(&index).await?;
                self.create().await?;
            }
            Standing::Nothing => self.create().await?,
        }
        let (note, written) = self.note().await?;
        let writing = self.begin(note, written).await?;
        self.breaker.went(true);
        let position = writing.note.position.clone();
        *opened = Some(writing);
        self.opened.store(true, Ordering::Release);
        Ok(Some(position)
            .filter(|position| !position.is_empty())
            .map(FeedPosition))
    }

    async fn look(&self) -> Result<Option<FeedPosition>, SearchError> {
        self.writing.lock().await.take();
        let usable = matches!(self.standing().await?, Standing::Ours { usable: true, .. });
        self.opened.store(usable, Ordering::Release);
        if !usable {
            let why = "the node that writes the index is making it anew";
            return Err(SearchError::Unavailable(why.to_owned()));
        }
        let (note, _) = self.note().await?;
        Ok(Some(note.position)
            .filter(|position| !position.is_empty())
            .map(FeedPosition))
    }

    async fn clear(&self) -> Result<(), SearchError> {
        let mut opened = self.writing.lock().await;
        let before = match opened.take() {
            Some(writing) => writing.note.term,
            None => self.note().await.map_or(0, |(note, _)| note.term),
        };
        if let Standing::Ours { index, .. } = self.standing().await? {
            self.delete(&index).await?;
        }
        self.create().await?;
        let note = Note {
            term: before,
            ..Note::default()
        };
        *opened = Some(self.begin(note, None).await?);
        self.opened.store(true, Ordering::Release);
        Ok(())
    }

    async fn apply(&self, changes: Vec<IndexChange>) -> Result<(), SearchError> {
        let mut opened = self.writing.lock().await;
        let mut writing = opened.take().ok_or_else(not_open)?;
        if writing.take(changes) {
            self.send(&mut writing).await?;
        }
        // After an error nothing can be written until it is opened again.
        *opened = Some(writing);
        Ok(())
    }

    async fn commit(&self, at: &FeedPosition, now_ms: u64) -> Result<(), SearchError> {
        let mut opened = self.writing.lock().await;
        let mut writing = opened.take().ok_or_else(not_open)?;
        self.commit_of(&mut writing, at, now_ms).await?;
        *opened = Some(writing);
        Ok(())
    }

    async fn find(&self, query: Query) -> Result<Vec<Candidate>, SearchError> {
        if !self.opened.load(Ordering::Acquire) {
            return Err(not_open());
        }
        if query.limit == 0 || query.rooms.is_empty() {
            return Ok(Vec::new());
        }
        if !self.breaker.admits() {
            let why = format!("{} has not answered lately", self.server.shown);
            return Err(SearchError::Unavailable(why));
        }
        let path = format!("{}/_search?allow_partial_search_results=false", self.alias);
        let answer = self.server.post(&path, &ask::body(&query), self.ask).await;
        self.breaker.went(!matches!(answer, Err(Trouble::Away(_))));
        ask::candidates(&answer?, query.order)
    }

    fn removed_at(&self) -> Option<u64> {
        *self.removed_at.lock()
    }

    async fn purge(&self) -> Result<(), SearchError> {
        let mut opened = self.writing.lock().await;
        let mut writing = opened.take().ok_or_else(not_open)?;
        self.keep_removed("1s").await?;
        let expunged = self.expunge().await;
        self.keep_removed(kept::LEASE).await?;
        expunged?;
        writing.note.removed_at = None;
        self.put_note(&mut writing).await?;
        *opened = Some(writing);
        Ok(())
    }

    async fn check(&self) -> Result<(), SearchError> {
        let path = format!("{}/_search?allow_partial_search_results=false", self.alias);
        let query = json!({"size": 0, "query": {"ids": {"values": [kept::NOTE]}}});
        self.server.post(&path, &query, self.ask).await?;
        Ok(())
    }

    async fn close(&self) {
        self.opened.store(false, Ordering::Release);
        self.writing.lock().await.take();
    }
}
