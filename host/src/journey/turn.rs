//! What an older generation judged is judged again by a newer one (I4): by the one in force, or by the one that is about to
//! be, which is waited for. A generation that takes over while a plugin's state is made anew first has older judgements
//! given back, so that nothing of them is written beside what was made.

use std::time::Duration;

use super::{Journey, overloaded};
use crate::refusal::Refusal;

/// Longest that one waits. A turn takes a few syncs and, at most, one call of a plugin.
const TURN_MOST: Duration = Duration::from_secs(10);

impl Journey {
    /// Returns when a generation above this one is in force.
    pub(crate) async fn wait_for_newer(&self, judged: u64) -> Result<(), Refusal> {
        let mut generations = self.plugins.generations();
        if *generations.borrow() <= judged {
            self.plugins.is_outdated();
        }
        let newer = generations.wait_for(|number| *number > judged);
        match tokio::time::timeout(TURN_MOST, newer).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(overloaded()),
        }
    }
}
