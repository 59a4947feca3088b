//! Taking erased content off the disk: the tables rewritten, the journal that told of it gone. While the log is in
//! use, so that what a recall erased is nowhere a day later; also for `upkeep`, when no server runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::Rng;

use super::EmbeddedLog;
use super::engine::ERASED;
use super::tables::{Tables, unavailable};
use super::upkeep::journals;
use crate::store::StoreError;
use crate::store::log::key;

/// A journal is given up for a new one when it is longer than this; the engine has no other way.
const JOURNAL_FILLED: usize = 64_000_000;
const FILLER_BYTES: usize = 1 << 20;
/// How long the engine may take to let go of a journal that nothing needs any more.
const LETTING_GO: Duration = Duration::from_secs(30);

impl EmbeddedLog {
    /// Rewrites every table when something was erased `wait` ago or longer; whether it was.
    pub(super) fn scrub_after(&self, wait: Duration) -> Result<bool, StoreError> {
        let shared = &self.shared;
        let since = *shared.erased_since.lock();
        let waited = shared.clock.now_ms().saturating_sub(since);
        if since == 0 || u128::from(waited) < wait.as_millis() {
            return Ok(false);
        }
        // What is erased from here on waits for the next time; a crash meanwhile leaves the old row, and all is done again.
        *shared.erased_since.lock() = 0;
        let scrubbed = scrub(&shared.tables, &self.folder);
        let mut erased_since = shared.erased_since.lock();
        if scrubbed.is_err() {
            *erased_since = since;
        }
        let row = key::meta(ERASED);
        let kept = match *erased_since {
            0 => shared.tables.rows.remove(row),
            later => shared.tables.rows.insert(row, later.to_be_bytes()),
        };
        kept.map_err(unavailable)?;
        scrubbed.map(|()| true)
    }
}

fn scrub(tables: &Tables, folder: &Path) -> Result<(), StoreError> {
    let old = journals(folder)?;
    fill_journal(tables, folder, &old)?;
    rewrite(tables)?;
    let begun = Instant::now();
    while old.iter().any(|journal| journal.exists()) {
        if begun.elapsed() > LETTING_GO {
            return Err(unavailable(
                "an old journal of the message log is still in use",
            ));
        }
        flush(tables)?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Writes what nobody reads until the engine has begun another journal.
fn fill_journal(tables: &Tables, folder: &Path, old: &[PathBuf]) -> Result<(), StoreError> {
    let filler = key::meta("filler");
    let mut bytes = vec![0; FILLER_BYTES];
    for _ in 0..JOURNAL_FILLED.div_ceil(FILLER_BYTES) + 1 {
        rand::rng().fill_bytes(&mut bytes);
        let written = tables.rows.insert(filler.as_slice(), bytes.as_slice());
        written.map_err(unavailable)?;
        if journals(folder)?
            .iter()
            .any(|journal| !old.contains(journal))
        {
            break;
        }
    }
    tables.rows.remove(filler).map_err(unavailable)
}

/// Rewrites every table without what was overwritten or removed, and lets go of the files before.
pub(super) fn rewrite(tables: &Tables) -> Result<(), StoreError> {
    flush(tables)?;
    for keyspace in tables.all() {
        keyspace.major_compact().map_err(unavailable)?;
    }
    // The engine keeps the files of earlier forms of a table until a later write has come to rest.
    flush(tables)
}

/// Brings everything in memory into tables. The write before it makes room between the last erasure and the newest
/// write: the engine never drops what the newest write replaced.
pub(super) fn flush(tables: &Tables) -> Result<(), StoreError> {
    const NUDGE: [u8; 1] = [0];
    for keyspace in tables.all() {
        keyspace.insert(NUDGE, []).map_err(unavailable)?;
        keyspace.remove(NUDGE).map_err(unavailable)?;
    }
    for keyspace in tables.all() {
        keyspace.rotate_memtable_and_wait().map_err(unavailable)?;
    }
    Ok(())
}
