//! Erasing from the disk what was removed from the index: segments with removed documents are written anew without
//! them. Not a message's business: a large segment takes seconds.

use std::time::Duration;

use tantivy::index::SegmentId;

use super::{Note, Opened, trouble};
use crate::search::SearchError;

/// Rounds until merges that the index began by itself are out of the way.
const ROUNDS: u32 = 600;
const BETWEEN: Duration = Duration::from_millis(100);

impl Opened {
    /// Returns once nothing that was removed before is in the folder any more.
    pub fn purge(&self) -> Result<(), SearchError> {
        for _ in 0..ROUNDS {
            let stale = self.stale()?;
            if stale.is_empty() {
                return self.sweep();
            }
            for segment in stale {
                let merge = self.writing(|writing| Ok(writing.writer.merge(&[segment])))?;
                if merge.wait().is_err() {
                    // It is being merged already, and leaves what was removed behind in that.
                    std::thread::sleep(BETWEEN);
                }
            }
        }
        Err(SearchError::Unavailable(
            "merges did not come to an end".to_owned(),
        ))
    }

    fn stale(&self) -> Result<Vec<SegmentId>, SearchError> {
        let segments = self.index.searchable_segment_metas().map_err(trouble)?;
        let stale = segments.iter().filter(|segment| segment.has_deletes());
        Ok(stale.map(|segment| segment.id()).collect())
    }

    /// Notes that nothing is left to erase, and takes away the files nobody needs.
    fn sweep(&self) -> Result<(), SearchError> {
        self.writing(|writing| {
            let note = Note {
                removed_at: None,
                ..self.note.lock().clone()
            };
            self.write(writing, note)?;
            let swept = writing.writer.garbage_collect_files().wait();
            swept.map(|_| ()).map_err(trouble)
        })
    }
}
