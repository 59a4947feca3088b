//! Who may work on uploads at the same moment: one at a time on one upload, so many of one user, so many in all.
//! Everything here is held by a guard and let go of with it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::ids::{MediaId, UserId};

/// Turns at uploads.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<MediaId, Arc<tokio::sync::Mutex<()>>>>);

/// One's turn at one upload.
pub struct Turn {
    turns: Arc<Turns>,
    media: MediaId,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn.
    pub async fn take(self: &Arc<Self>, media: MediaId) -> Turn {
        let mut turn = Turn {
            turns: self.clone(),
            media,
            guard: None,
        };
        let lock = self.0.lock().entry(media).or_default().clone();
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut turns = self.turns.0.lock();
        // One reference is the map's own: nobody else waits.
        if turns
            .get(&self.media)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            turns.remove(&self.media);
        }
    }
}

/// Places for uploads under way (I5).
pub struct Slots {
    taken: Arc<Mutex<Taken>>,
    most: usize,
    most_of_one: usize,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_user: HashMap<UserId, usize>,
}

/// A place, until it is dropped.
pub struct Slot {
    taken: Arc<Mutex<Taken>>,
    user: UserId,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSlot {
    All,
    OfOne,
}

impl Slots {
    pub fn new(most: usize, most_of_one: usize) -> Self {
        Self {
            taken: Arc::default(),
            most,
            most_of_one,
        }
    }

    pub fn enter(&self, user: UserId) -> Result<Slot, NoSlot> {
        let mut taken = self.taken.lock();
        if taken.all >= self.most {
            return Err(NoSlot::All);
        }
        let own = taken.by_user.entry(user).or_insert(0);
        if *own >= self.most_of_one {
            return Err(NoSlot::OfOne);
        }
        *own += 1;
        taken.all += 1;
        Ok(Slot {
            taken: self.taken.clone(),
            user,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.all -= 1;
        if let Some(own) = taken.by_user.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    #[test]
    fn places_are_counted_by_user_and_in_all_and_given_back() {
        let slots = Slots::new(3, 2);
        let first = slots.enter(UserId(1));
        let _second = slots.enter(UserId(1)).expect("a second");
        assert_eq!(slots.enter(UserId(1)).err(), Some(NoSlot::OfOne));
        let _third = slots.enter(UserId(2)).expect("another user's");
        assert_eq!(slots.enter(UserId(3)).err(), Some(NoSlot::All));
        drop(first);
        assert!(slots.enter(UserId(1)).is_ok());
    }

    #[tokio::test]
    async fn one_upload_is_worked_on_by_one_at_a_time() {
        let turns = Arc::new(Turns::default());
        let first = turns.take(MediaId(1)).await;
        let _other = turns.take(MediaId(2)).await;
        let mut second = std::pin::pin!(turns.take(MediaId(1)));
        let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(second.as_mut().poll(&mut nobody).is_pending());
        drop(first);
        drop(second.await);
        assert_eq!(turns.0.lock().len(), 1, "only the other upload's is left");
    }
}
