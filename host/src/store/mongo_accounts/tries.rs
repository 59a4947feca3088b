//! Trying again what another node came before: after a short wait, longer each time and never the same as the others',
//! and not for ever.

use std::time::Duration;

use crate::store::StoreError;

/// How often one change is tried. A hundred that change the same document at once are done long before.
const MOST: u32 = 64;
/// The longest wait is two to the power of this, in milliseconds.
const LONGEST: u32 = 6;

/// How often it was tried to change something.
pub(super) struct Tries {
    what: &'static str,
    made: u32,
}

impl Tries {
    pub fn of(what: &'static str) -> Self {
        Self { what, made: 0 }
    }

    /// Waits for the next try.
    pub async fn again(&mut self) -> Result<(), StoreError> {
        self.made += 1;
        if self.made == MOST {
            let text = format!("accounts: too many change {} at once", self.what);
            return Err(StoreError::Unavailable(text));
        }
        let most = 1_u64 << self.made.min(LONGEST);
        let wait = rand::random::<u64>() % most;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        Ok(())
    }
}
