//! What plugins have written, as a call on a message's path reads it: the seam of `kv-snapshot`. Who keeps it is not
//! known here.

use std::sync::Arc;

use crate::bindings::kv_snapshot;

const KEY_BYTES_MAX: usize = 512;
/// Reads of one call.
const READS_MAX: u32 = 64;

/// Where plugins' values are kept. Asked on a message's path, by a thread that waits for the answer.
pub trait Values: Send + Sync + 'static {
    /// What is committed at this moment, until it is dropped.
    fn snapshot(&self) -> Result<Box<dyn ValuesSnapshot>, String>;
}

/// One moment of what is kept.
pub trait ValuesSnapshot: Send {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, String>;
}

/// For a runtime without a store: nothing is kept.
pub(crate) struct NoValues;

impl Values for NoValues {
    fn snapshot(&self) -> Result<Box<dyn ValuesSnapshot>, String> {
        Ok(Box::new(Self))
    }
}

impl ValuesSnapshot for NoValues {
    fn get(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}

/// What one instance may read in the call it is in. A snapshot is taken with the first read and let go with the call.
pub(crate) struct Reads {
    values: Arc<dyn Values>,
    namespace: Arc<str>,
    snapshot: Option<Box<dyn ValuesSnapshot>>,
    left: u32,
    /// What the call has read.
    seen: Vec<(String, Option<Vec<u8>>)>,
}

impl Reads {
    pub fn new(values: Arc<dyn Values>) -> Self {
        Self {
            values,
            namespace: "".into(),
            snapshot: None,
            left: 0,
            seen: Vec::new(),
        }
    }

    /// A call begins that reads in a namespace.
    pub fn open(&mut self, namespace: &Arc<str>) {
        if self.namespace != *namespace {
            self.namespace = namespace.clone();
        }
        self.left = READS_MAX;
    }

    /// It is over; what it has read.
    pub fn close(&mut self) -> Vec<(String, Option<Vec<u8>>)> {
        self.left = 0;
        self.snapshot = None;
        std::mem::take(&mut self.seen)
    }

    /// A value of a plugin's own.
    pub fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, kv_snapshot::Error> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(kv_snapshot::Error::BadKey);
        }
        if self.left == 0 {
            return Err(match self.snapshot {
                Some(_) => kv_snapshot::Error::TooMany,
                None => kv_snapshot::Error::Denied,
            });
        }
        self.left -= 1;
        let snapshot = match &self.snapshot {
            Some(snapshot) => snapshot,
            None => {
                let taken = self.values.snapshot();
                let taken = taken.map_err(kv_snapshot::Error::Unavailable)?;
                self.snapshot.insert(taken)
            }
        };
        let read = snapshot.get(&self.namespace, key);
        let value = read.map_err(kv_snapshot::Error::Unavailable)?;
        self.seen.push((key.to_owned(), value.clone()));
        Ok(value)
    }
}
