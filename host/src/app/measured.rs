//! What `GET /metrics` looks at in the stores: their counts, and their bytes on disk, which are added up at most every
//! ten seconds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::stores::Log;
use crate::gateway::admin::metrics::Sources;
use crate::search::serving::Serving;

/// How long sizes are good for.
const FRESH: Duration = Duration::from_secs(10);

type Sizes = Vec<(&'static str, u64)>;

pub struct Stores {
    data: PathBuf,
    log: Arc<dyn Log>,
    index: Option<Arc<Serving>>,
    sizes: Mutex<Option<(Instant, Sizes)>>,
}

impl Stores {
    pub fn new(data: &Path, log: &Arc<dyn Log>, index: &Option<Arc<Serving>>) -> Arc<Self> {
        Arc::new(Self {
            data: data.to_owned(),
            log: log.clone(),
            index: index.clone(),
            sizes: Mutex::new(None),
        })
    }
}

impl Sources for Stores {
    fn flushes(&self) -> (u64, u64) {
        self.log.flushes()
    }

    fn round_trips(&self) -> Option<(u64, u64)> {
        self.log.round_trips()
    }

    fn index_lag_ms(&self) -> Option<u64> {
        let reached = self.index.as_ref()?.newest();
        Some(self.log.behind_ms(reached))
    }

    fn store_bytes(&self) -> Sizes {
        let mut sizes = self.sizes.lock();
        if let Some((at, known)) = &*sizes
            && at.elapsed() < FRESH
        {
            return known.clone();
        }
        let stores = [
            ("log", "log"),
            ("accounts", "accounts.sqlite"),
            ("search", "search"),
            ("media", "media"),
            ("plugins", "plugin-cache"),
        ];
        let measured = stores.map(|(store, name)| (store, bytes_of(&self.data.join(name))));
        let measured = Sizes::from(measured);
        *sizes = Some((Instant::now(), measured.clone()));
        measured
    }
}

/// Of a file, or of everything in a folder. What vanishes meanwhile is nothing.
fn bytes_of(path: &Path) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else {
        return 0;
    };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| bytes_of(&entry.path())).sum()
}
