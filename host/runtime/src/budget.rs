//! The one budget of all instances: how many the engine may hold at once, and how many bytes they may take together.
//! The engine's own limit is an error, this one a wait. What is idle elsewhere gives way to what is needed.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// What an instance takes besides what it grows by: its store, and what is kept resident of its memories and tables. A
/// baked one shares the rest.
pub(crate) const INSTANCE_BYTES: usize = 128 << 10;
/// How often room is made anew while nothing was freed.
pub(crate) const ROOM_LOOK: Duration = Duration::from_millis(1);

/// Lets idle instances go, those not used longest first, until told that it is enough.
type Evict = Box<dyn Fn(&dyn Fn() -> bool) + Send + Sync>;

pub(crate) struct Budget {
    instances: u32,
    bytes: usize,
    free: Mutex<Free>,
    freed: Condvar,
    evict: OnceLock<Evict>,
}

#[derive(Clone, Copy)]
struct Free {
    instances: u32,
    bytes: usize,
}

impl Budget {
    pub fn new(instances: u32, bytes: usize) -> Arc<Self> {
        // One instance must fit, or none could ever be made.
        let bytes = bytes.max(INSTANCE_BYTES);
        Arc::new(Self {
            instances,
            bytes,
            free: Mutex::new(Free { instances, bytes }),
            freed: Condvar::new(),
            evict: OnceLock::new(),
        })
    }

    /// Who makes room; the first one stays.
    pub fn evict_with(&self, evict: impl Fn(&dyn Fn() -> bool) + Send + Sync + 'static) {
        drop(self.evict.set(Box::new(evict)));
    }

    /// The right to one instance, where there is room or can be made.
    pub fn try_take(self: &Arc<Self>) -> Option<Share> {
        if let Some(share) = self.take_now() {
            return Some(share);
        }
        self.make_room(INSTANCE_BYTES, 1);
        self.take_now()
    }

    /// The right to one instance. Waits for room.
    pub fn take(self: &Arc<Self>) -> Share {
        loop {
            if let Some(share) = self.try_take() {
                return share;
            }
            let mut free = self.free.lock();
            if free.instances == 0 || free.bytes < INSTANCE_BYTES {
                self.freed.wait_for(&mut free, ROOM_LOOK);
            }
        }
    }

    /// What instances take of it: how many, and bytes.
    pub fn used(&self) -> (u32, usize) {
        let free = *self.free.lock();
        (self.instances - free.instances, self.bytes - free.bytes)
    }

    fn take_now(self: &Arc<Self>) -> Option<Share> {
        let mut free = self.free.lock();
        if free.instances == 0 || free.bytes < INSTANCE_BYTES {
            return None;
        }
        free.instances -= 1;
        free.bytes -= INSTANCE_BYTES;
        Some(Share(self.clone()))
    }

    fn grow(&self, bytes: usize) -> bool {
        let taken = || {
            let mut free = self.free.lock();
            let left = free.bytes.checked_sub(bytes);
            left.map(|left| free.bytes = left).is_some()
        };
        if taken() {
            return true;
        }
        self.make_room(bytes, 0);
        taken()
    }

    fn make_room(&self, bytes: usize, instances: u32) {
        if let Some(evict) = self.evict.get() {
            evict(&|| {
                let free = *self.free.lock();
                free.bytes >= bytes && free.instances >= instances
            });
        }
    }

    fn give_back(&self, instances: u32, bytes: usize) {
        let mut free = self.free.lock();
        free.instances += instances;
        free.bytes += bytes;
        drop(free);
        self.freed.notify_one();
    }
}

/// The right to one instance of the engine.
pub(crate) struct Share(Arc<Budget>);

impl Share {
    /// What this instance grows by is counted here.
    pub fn growth(&self) -> Growth {
        Growth {
            budget: self.0.clone(),
            bytes: 0,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.give_back(1, INSTANCE_BYTES);
    }
}

/// What one instance has grown by since it was made.
pub(crate) struct Growth {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Growth {
    /// False, and nothing is taken, when there is no room and none can be made.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let grown = self.budget.grow(bytes);
        if grown {
            self.bytes += bytes;
        }
        grown
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give_back(0, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_counted_and_given_back_with_the_instance() {
        let budget = Budget::new(2, INSTANCE_BYTES * 3);
        let share = budget.take();
        let mut growth = share.growth();
        assert!(growth.grow(INSTANCE_BYTES));
        assert!(!growth.grow(INSTANCE_BYTES * 2), "more than there is");
        assert_eq!(budget.used(), (1, INSTANCE_BYTES * 2));
        let second = budget.try_take().expect("room for one more");
        assert!(budget.try_take().is_none(), "neither a place nor bytes");
        drop((growth, share, second));
        assert_eq!(budget.used(), (0, 0));
    }

    #[test]
    fn room_is_made_by_what_is_idle_and_no_more_than_needed() {
        let budget = Budget::new(8, INSTANCE_BYTES * 4);
        let idle = Mutex::new((0..4).map(|_| budget.take()).collect::<Vec<_>>());
        let idle = Arc::new(idle);
        let held = idle.clone();
        budget.evict_with(move |enough| {
            while !enough() {
                let Some(oldest) = held.lock().pop() else {
                    return;
                };
                drop(oldest);
            }
        });
        let share = budget.try_take().expect("room was made");
        assert_eq!(idle.lock().len(), 3);
        assert!(share.growth().grow(INSTANCE_BYTES * 2));
        assert_eq!(idle.lock().len(), 1);
    }
}
