//! The embedded index: tantivy in a folder of its own. Implements `Search`; knows no other adapter. It keeps the tokens
//! of a text and never the text; the place in the feed stands in the index's own commit, so that what is indexed is
//! known exactly. A folder that cannot be used is taken away: the log has everything that was in it.

mod ask;
mod kept;
mod purge;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyError};

use self::kept::Fields;
use super::{Candidate, IndexChange, Query, Search, SearchError};
use crate::store::feed::FeedPosition;

/// Of the folder: what is kept of a text, and how. Another one's folder is made anew.
const FORMAT: u32 = 1;
/// Bytes of new documents held before they are written out.
const HEAP_BYTES: usize = 32 * 1024 * 1024;
/// Documents of a segment that is merged no further by itself.
const MERGED_MOST: usize = 5_000_000;
/// Segments of about the same size that are merged into one.
const MERGE_FROM: usize = 8;
/// A segment of which so much was removed is written anew.
const REMOVED_MOST: f32 = 0.3;

/// An index in a folder.
pub struct EmbeddedSearch {
    folder: PathBuf,
    opened: RwLock<Option<Arc<Opened>>>,
}

struct Opened {
    index: Index,
    fields: Fields,
    reader: IndexReader,
    writing: Mutex<Option<Writing>>,
    /// What the newest commit says of itself.
    note: Mutex<Note>,
}

struct Writing {
    writer: IndexWriter,
    /// Something was removed since the last commit.
    removed: bool,
}

/// What a commit says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    format: u32,
    position: String,
    /// When the oldest of what was removed and is still on the disk was committed, milliseconds.
    removed_at: Option<u64>,
}

impl EmbeddedSearch {
    /// An index that is not open yet.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            opened: RwLock::new(None),
        }
    }

    /// Does a thing with the open index where it may block. A panic below is damage: a broken file can cause one.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Opened) -> Result<T, SearchError> + Send + 'static,
    ) -> Result<T, SearchError> {
        let opened = self.opened.read().clone();
        let opened = opened.ok_or_else(|| SearchError::Unavailable("it is not open".to_owned()))?;
        blocking(move || work(&opened)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
) -> Result<T, SearchError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(SearchError::Damaged(panic.to_string())))
}

/// What the machine refuses can be tried again; whatever else goes wrong is the index's own state.
fn trouble(error: TantivyError) -> SearchError {
    use std::io::ErrorKind;
    let machine = |error: &std::io::Error| {
        error.raw_os_error().is_some() && error.kind() != ErrorKind::NotFound
    };
    let passes = match &error {
        TantivyError::LockFailure(..)
        | TantivyError::OpenWriteError(_)
        | TantivyError::SystemError(_)
        | TantivyError::ErrorInThread(_) => true,
        TantivyError::IoError(error) => machine(error),
        TantivyError::OpenReadError(tantivy::directory::error::OpenReadError::IoError {
            io_error,
            ..
        }) => machine(io_error),
        _ => false,
    };
    if passes {
        SearchError::Unavailable(error.to_string())
    } else {
        SearchError::Damaged(error.to_string())
    }
}

fn machine(error: std::io::Error) -> SearchError {
    SearchError::Unavailable(error.to_string())
}

/// Opens what is in the folder; `Damaged` when it cannot be used.
fn open(folder: &Path) -> Result<Opened, SearchError> {
    let (schema, fields) = kept::schema();
    let index = Index::open_in_dir(folder).map_err(trouble)?;
    let damaged = |why: &str| Err(SearchError::Damaged(why.to_owned()));
    if index.schema() != schema {
        return damaged("it is of another version");
    }
    let broken = index.validate_checksum().map_err(trouble)?;
    if let Some(file) = broken.iter().next() {
        return damaged(&format!("{} was changed", file.display()));
    }
    let note = match index.load_metas().map_err(trouble)?.payload {
        Some(payload) => serde_json::from_str(&payload).unwrap_or_default(),
        None => Note {
            format: FORMAT,
            ..Note::default()
        },
    };
    if note.format != FORMAT {
        return damaged("it is of another version");
    }
    opened(index, fields, note)
}

fn create(folder: &Path) -> Result<Opened, SearchError> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(machine)?;
    }
    std::fs::create_dir_all(folder).map_err(machine)?;
    let (schema, fields) = kept::schema();
    let index = Index::create_in_dir(folder, schema).map_err(trouble)?;
    let note = Note {
        format: FORMAT,
        ..Note::default()
    };
    opened(index, fields, note)
}

fn opened(index: Index, fields: Fields, note: Note) -> Result<Opened, SearchError> {
    tokens::register(&index);
    let reader = index
        .reader_builder()
        .reload_policy(ReloadPolicy::Manual)
        .try_into()
        .map_err(trouble)?;
    let options = IndexWriterOptions::builder()
        .num_worker_threads(1)
        .num_merge_threads(1)
        .memory_budget_per_thread(HEAP_BYTES)
        .build();
    let writer: IndexWriter = index.writer_with_options(options).map_err(trouble)?;
    let mut policy = LogMergePolicy::default();
    policy.set_min_num_segments(MERGE_FROM);
    policy.set_max_docs_before_merge(MERGED_MOST);
    policy.set_del_docs_ratio_before_merge(REMOVED_MOST);
    writer.set_merge_policy(Box::new(policy));
    Ok(Opened {
        index,
        fields,
        reader,
        writing: Mutex::new(Some(Writing {
            writer,
            removed: false,
        })),
        note: Mutex::new(note),
    })
}

impl Opened {
    fn writing<T>(
        &self,
        work: impl FnOnce(&mut Writing) -> Result<T, SearchError>,
    ) -> Result<T, SearchError> {
        let mut writing = self.writing.lock();
        let closed = || SearchError::Unavailable("it is closed".to_owned());
        work(writing.as_mut().ok_or_else(closed)?)
    }

    fn apply(&self, changes: Vec<IndexChange>) -> Result<(), SearchError> {
        self.writing(|writing| {
            writing.removed |= changes
                .iter()
                .any(|change| !matches!(change, IndexChange::Add(_)));
            self.fields.apply(&writing.writer, changes).map_err(trouble)
        })
    }

    fn commit(&self, position: &FeedPosition, now_ms: u64) -> Result<(), SearchError> {
        self.writing(|writing| {
            let before = self.note.lock().removed_at;
            let note = Note {
                format: FORMAT,
                position: position.0.clone(),
                removed_at: before.or(writing.removed.then_some(now_ms)),
            };
            self.write(writing, note)?;
            writing.removed = false;
            Ok(())
        })
    }

    fn write(&self, writing: &mut Writing, note: Note) -> Result<(), SearchError> {
        let payload = serde_json::to_string(&note).expect("a note encodes");
        let mut prepared = writing.writer.prepare_commit().map_err(trouble)?;
        prepared.set_payload(&payload);
        prepared.commit().map_err(trouble)?;
        *self.note.lock() = note;
        self.reader.reload().map_err(trouble)
    }
}

#[async_trait]
impl Search for EmbeddedSearch {
    async fn open(&self) -> Result<Option<FeedPosition>, SearchError> {
        self.close().await;
        let folder = self.folder.clone();
        let opened = blocking(move || match open(&folder) {
            Err(SearchError::Damaged(why)) => {
                if folder.exists() {
                    tracing::warn!(why, "the index cannot be used and is made anew");
                }
                create(&folder)
            }
            other => other,
        })
        .await?;
        let position = opened.note.lock().position.clone();
        *self.opened.write() = Some(Arc::new(opened));
        Ok(Some(position)
            .filter(|position| !position.is_empty())
            .map(FeedPosition))
    }

    async fn clear(&self) -> Result<(), SearchError> {
        let (before, folder) = (self.opened.write().take(), self.folder.clone());
        let opened = blocking(move || {
            if let Some(writing) = before.and_then(|opened| opened.writing.lock().take())
                // What it is still merging would be written into the new index's folder.
                && let Err(error) = writing.writer.wait_merging_threads()
            {
                tracing::warn!(%error, "the index was not closed cleanly");
            }
            create(&folder)
        })
        .await?;
        *self.opened.write() = Some(Arc::new(opened));
        Ok(())
    }

    async fn apply(&self, changes: Vec<IndexChange>) -> Result<(), SearchError> {
        self.with(move |opened| opened.apply(changes)).await
    }

    async fn commit(&self, at: &FeedPosition, now_ms: u64) -> Result<(), SearchError> {
        let at = at.clone();
        self.with(move |opened| opened.commit(&at, now_ms)).await
    }

    async fn find(&self, query: Query) -> Result<Vec<Candidate>, SearchError> {
        self.with(move |opened| {
            let searcher = opened.reader.searcher();
            ask::find(&searcher, &opened.fields, &query).map_err(trouble)
        })
        .await
    }

    fn removed_at(&self) -> Option<u64> {
        let opened = self.opened.read().clone()?;
        opened.note.lock().removed_at
    }

    async fn purge(&self) -> Result<(), SearchError> {
        self.with(Opened::purge).await
    }

    async fn close(&self) {
        let Some(opened) = self.opened.write().take() else {
            return;
        };
        // Searches that still run keep their reader; the lock on the folder goes with the writer.
        let closed = blocking(move || {
            drop(opened.writing.lock().take());
            Ok(())
        });
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the index was not closed cleanly");
        }
    }
}
