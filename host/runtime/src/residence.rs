//! What of a version is in memory only while it is called: loaded by the first call that needs it, let go of when no
//! call did for a while. Whoever still uses it keeps it to the end of that use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use crate::error::LoadError;

pub(crate) struct Residence<T> {
    held: ArcSwapOption<T>,
    /// One load at a time: the others wait for it.
    loading: Mutex<()>,
    /// The keeper's time of the last use.
    used: AtomicU64,
    loads: AtomicU64,
}

impl<T> Residence<T> {
    pub fn cold() -> Self {
        Self {
            held: ArcSwapOption::empty(),
            loading: Mutex::new(()),
            used: AtomicU64::new(0),
            loads: AtomicU64::new(0),
        }
    }

    pub fn warm(part: T, now: u64) -> Self {
        let cold = Self::cold();
        cold.held.store(Some(Arc::new(part)));
        cold.used.store(now, Ordering::Relaxed);
        cold
    }

    /// What is in memory, or what `load` brings there. Blocks for as long as that takes.
    pub fn get(
        &self,
        now: u64,
        load: impl FnOnce() -> Result<T, LoadError>,
    ) -> Result<Arc<T>, LoadError> {
        if let Some(part) = self.present(now) {
            return Ok(part);
        }
        let _one = self.loading.lock();
        if let Some(part) = self.present(now) {
            return Ok(part);
        }
        let part = Arc::new(load()?);
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.used.store(now, Ordering::Relaxed);
        self.held.store(Some(part.clone()));
        Ok(part)
    }

    /// What is in memory, used now.
    pub fn present(&self, now: u64) -> Option<Arc<T>> {
        let part = self.held.load_full()?;
        // Seldom another value: no cache line is fought for.
        if self.used.load(Ordering::Relaxed) != now {
            self.used.store(now, Ordering::Relaxed);
        }
        Some(part)
    }

    /// What is in memory, looked at and not used.
    pub fn look(&self) -> Option<Arc<T>> {
        self.held.load_full()
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// How often it was loaded after it had not been in memory.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// Lets go of it; its end is the caller's to wait for.
    pub fn leave(&self) -> Option<Arc<T>> {
        self.held.swap(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_loaded_once_for_all_who_wait_and_again_after_it_left() {
        let residence = Residence::cold();
        let loads = AtomicU64::new(0);
        let load = || Ok(loads.fetch_add(1, Ordering::Relaxed) + 1);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(*residence.get(3, load).expect("loaded"), 1));
            }
        });
        assert_eq!(residence.used(), 3);
        assert!(residence.look().is_some() && residence.leave().is_some());
        assert!(residence.look().is_none());
        assert_eq!(*residence.get(4, load).expect("loaded"), 2);
        assert_eq!((residence.used(), residence.loads()), (4, 2));
    }

    #[test]
    fn a_load_that_fails_leaves_it_cold() {
        let residence: Residence<u8> = Residence::cold();
        let failed = residence.get(1, || Err(LoadError::Compile("gone".into())));
        assert!(failed.is_err() && residence.look().is_none());
        assert_eq!(*residence.get(1, || Ok(5)).expect("loaded"), 5);
    }
}
