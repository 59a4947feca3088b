//! What a hook reads of its plugin's values while it is asked again: what it read then; what nobody read then is as it is
//! now, and that is counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kith_runtime::{Values, ValuesSnapshot};
use parking_lot::Mutex;

use crate::entry::HookRead;
use crate::plugins::values::StoredValues;

/// The values of the command that is asked about.
pub struct Recorded {
    now: StoredValues,
    then: Mutex<Arc<HashMap<String, Option<Vec<u8>>>>>,
    missed: Arc<AtomicBool>,
}

struct Moment {
    now: Box<dyn ValuesSnapshot>,
    then: Arc<HashMap<String, Option<Vec<u8>>>>,
    missed: Arc<AtomicBool>,
}

impl Recorded {
    pub fn new(now: StoredValues) -> Self {
        Self {
            now,
            then: Mutex::default(),
            missed: Arc::default(),
        }
    }

    /// From now on what a binding's hook read is read again.
    pub fn set(&self, reads: &[HookRead], binding: Option<u16>) {
        let own = reads.iter().filter(|read| Some(read.binding) == binding);
        let then = own.map(|read| (read.key.clone(), read.value.clone()));
        *self.then.lock() = Arc::new(then.collect());
        self.missed.store(false, Ordering::Relaxed);
    }

    /// Whether something was read that nobody read then.
    pub fn missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }
}

impl Values for Recorded {
    fn snapshot(&self) -> Result<Box<dyn ValuesSnapshot>, String> {
        Ok(Box::new(Moment {
            now: self.now.snapshot()?,
            then: self.then.lock().clone(),
            missed: self.missed.clone(),
        }))
    }
}

impl ValuesSnapshot for Moment {
    fn get(&self, plugin: &str, key: &str) -> Result<Option<Vec<u8>>, String> {
        match self.then.get(key) {
            Some(value) => Ok(value.clone()),
            None => {
                self.missed.store(true, Ordering::Relaxed);
                self.now.get(plugin, key)
            }
        }
    }
}
