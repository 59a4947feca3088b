//! Which times of plugins' schedules are due: the last one of each is kept beside the places of the feed's consumers, so that
//! a time comes once, also across restarts. What is done when it comes is not known here.

use std::collections::HashMap;

use kith_runtime::When;

use crate::store::StoreError;
use crate::store::feed::{Feed, FeedPosition};

/// Under which name the last time of a schedule is kept.
fn mark(plugin: &str, hook: &str, name: &str) -> String {
    format!("schedule/{plugin}/{hook}/{name}")
}

/// The last times of one hook's schedules, by name.
#[derive(Default)]
pub struct Marks(HashMap<String, u64>);

/// A time that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub name: String,
    pub at_ms: u64,
    /// Under which name it is kept that it was.
    pub mark: String,
    /// What is kept there while it was not.
    pub from: FeedPosition,
}

impl Marks {
    /// The first of some schedules whose time has come; one that is seen for the first time begins now.
    pub async fn due(
        &mut self,
        feed: &dyn Feed,
        (plugin, hook): (&str, &str),
        schedules: &[(String, When)],
        now: u64,
    ) -> Result<Option<Due>, StoreError> {
        for (name, when) in schedules {
            let last = match self.0.get(name) {
                Some(last) => *last,
                None => {
                    let mark = mark(plugin, hook, name);
                    let last = match last(feed, (plugin, hook), name).await? {
                        Some(last) => last,
                        None if feed.move_cursor(&mark, None, &at(now)).await? => now,
                        None => continue, // another node was faster
                    };
                    self.0.insert(name.clone(), last);
                    last
                }
            };
            if let Some(at_ms) = when.after(last).filter(|due| *due <= now) {
                return Ok(Some(Due {
                    name: name.clone(),
                    at_ms,
                    mark: mark(plugin, hook, name),
                    from: at(last),
                }));
            }
        }
        Ok(None)
    }

    /// What was due up to now is done with.
    pub fn done(&mut self, due: &Due, now: u64) {
        self.0.insert(due.name.clone(), now);
    }
}

/// Up to when a schedule was looked at; none where it never was.
pub async fn last(
    feed: &dyn Feed,
    (plugin, hook): (&str, &str),
    name: &str,
) -> Result<Option<u64>, StoreError> {
    let kept = feed.cursor(&mark(plugin, hook, name)).await?;
    Ok(kept.and_then(|at| at.0.parse().ok()))
}

/// A time as a place that is kept.
pub fn at(ms: u64) -> FeedPosition {
    FeedPosition(ms.to_string())
}
