//! Looking after the embedded log while no server runs: explaining damage, taking a damaged log back into use,
//! rewriting it so that erased content is gone from the disk.

use std::path::{Path, PathBuf};

use super::engine::ERASED;
use super::scrub;
use super::tables::unavailable;
use super::tables::{open_database, open_tables};
use crate::store::StoreError;
use crate::store::log::key;

/// Why a log could not be opened, and the command that mends it.
pub fn explain(folder: &Path, error: &fjall::Error) -> StoreError {
    match error {
        fjall::Error::JournalRecovery(why) => StoreError::Damaged(format!(
            "the journal of the message log in {} is damaged ({why:?}): stop the server and run `kith admin repair --data DIR`, \
             which keeps everything before the damage",
            folder.display()
        )),
        fjall::Error::Locked => StoreError::Unavailable(format!(
            "another process uses the message log in {}",
            folder.display()
        )),
        other => {
            StoreError::Unavailable(format!("the message log in {}: {other}", folder.display()))
        }
    }
}

/// Looks whether a log can be opened. `false`: another process has it open, and knows how it is.
pub fn check(folder: &Path) -> Result<bool, StoreError> {
    match open_database(folder) {
        Ok(_) => Ok(true),
        Err(fjall::Error::Locked) => Ok(false),
        Err(error) => Err(explain(folder, &error)),
    }
}

/// What a repair did.
#[derive(Debug)]
pub struct Repaired {
    /// Journals that were cut, with the bytes kept and lost of each; empty when nothing was damaged.
    pub cut: Vec<(PathBuf, u64, u64)>,
    /// Where the journals are kept as they were found.
    pub aside: Option<PathBuf>,
}

/// Cuts damaged journals before their damage, keeping them as they were beside the log.
pub fn repair(folder: &Path) -> Result<Repaired, StoreError> {
    match open_tables(folder) {
        Ok(_) => {
            return Ok(Repaired {
                cut: Vec::new(),
                aside: None,
            });
        }
        Err(StoreError::Damaged(_)) => {}
        Err(other) => return Err(other),
    }
    let journals = journals(folder)?;
    let aside = folder.with_extension("damaged");
    std::fs::create_dir_all(&aside).map_err(unavailable)?;
    for journal in &journals {
        if let Some(name) = journal.file_name() {
            std::fs::copy(journal, aside.join(name)).map_err(unavailable)?;
        }
    }
    let mut cut = Vec::new();
    for journal in &journals {
        let length = std::fs::metadata(journal).map_err(unavailable)?.len();
        // The longest prefix that opens: whether one opens only ever falls with its length past the damage.
        let (mut good, mut bad) = (0, length + 1);
        let original = std::fs::read(journal).map_err(unavailable)?;
        while bad - good > 1 {
            let middle = good.midpoint(bad);
            write_cut(journal, &original, middle)?;
            match open_tables(folder) {
                Ok(_) => good = middle,
                Err(StoreError::Damaged(_)) => bad = middle,
                Err(other) => return Err(other),
            }
            if good == length {
                break;
            }
        }
        write_cut(journal, &original, good)?;
        if good < length {
            cut.push((journal.clone(), good, length - good));
        }
        if open_tables(folder).is_ok() {
            break;
        }
    }
    open_tables(folder)?;
    Ok(Repaired {
        cut,
        aside: Some(aside),
    })
}

fn write_cut(journal: &Path, original: &[u8], length: u64) -> Result<(), StoreError> {
    let end = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(original.len());
    std::fs::write(journal, &original[..end]).map_err(unavailable)
}

/// The journals of a log, oldest first.
pub(super) fn journals(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unavailable)? {
        let path = entry.map_err(unavailable)?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            found.push(path);
        }
    }
    found.sort_by_key(|journal| number_of(journal));
    Ok(found)
}

/// The number that a journal is named by.
fn number_of(journal: &Path) -> Option<u64> {
    journal.file_stem()?.to_str()?.parse().ok()
}

/// Rewrites every table and empties the journal, so that content erased by recalls is gone from the disk; also the
/// journals a repair has set aside. No server may run.
pub fn compact(folder: &Path) -> Result<(), StoreError> {
    if !folder.is_dir() {
        return Err(unavailable(format!(
            "there is no message log in {}",
            folder.display()
        )));
    }
    let tables = open_tables(folder)?;
    scrub::rewrite(&tables)?;
    tables.rows.remove(key::meta(ERASED)).map_err(unavailable)?;
    scrub::flush(&tables)?;
    drop(tables);
    // Everything is in tables now; an empty journal says so and, unlike none, keeps the count of writes.
    let mut journals = journals(folder)?;
    if let Some(newest) = journals.pop() {
        std::fs::write(newest, []).map_err(unavailable)?;
    }
    for journal in journals {
        std::fs::remove_file(journal).map_err(unavailable)?;
    }
    let aside = folder.with_extension("damaged");
    if aside.is_dir() {
        std::fs::remove_dir_all(aside).map_err(unavailable)?;
    }
    // Opening takes away files that no table is made of any more.
    open_tables(folder).map(drop)
}
