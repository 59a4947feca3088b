//! Where every hook after the commit stands: its durable place in the feed, and how far that is behind what was committed.
//! Looked at when somebody asks; counting goes no further than a page.

use kith_runtime::Hook;
use serde_json::{Value, json};

use super::{AfterCommit, consumer_name};
use crate::journey::store_refusal;
use crate::refusal::Refusal;
use crate::store::feed::{FeedItem, FeedPage};

/// Commits that are counted; more of them are said to be more.
const COUNTED_MOST: usize = 1000;

impl AfterCommit {
    /// `{plugin, hook, version, state, behind, more, behind_ms, …}` of each, by plugin; `node`, which of several does its work. What
    /// is counted is this node's.
    pub async fn consumers(&self) -> Result<Vec<Value>, Refusal> {
        let mut rows = Vec::new();
        for bound in self.rollout.after_commit().await {
            let standing = self.standing_of(&bound.plugin, bound.hook).await?;
            let mut row = json!({
                "plugin": bound.plugin,
                "hook": bound.hook.as_str(),
                "version": bound.version,
                "state": if bound.disabled { "disabled" } else { "active" },
            });
            if self.turns.are_shared() {
                let node = self.turns.whose(&consumer_name(&bound.plugin, bound.hook));
                row["node"] = json!(node.map(|node| node.to_string()));
            }
            for part in [standing, self.ledger.counts(&bound.plugin, bound.hook)] {
                if let (Value::Object(row), Value::Object(part)) = (&mut row, part) {
                    row.extend(part);
                }
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// How far a hook is behind: commits it has not looked at, and how long the first of them waits.
    async fn standing_of(&self, plugin: &str, hook: Hook) -> Result<Value, Refusal> {
        let stored = |error| store_refusal(&error);
        let consumer = consumer_name(plugin, hook);
        let Some(at) = self.feed.cursor(&consumer).await.map_err(stored)? else {
            return Ok(json!({"cursor": null, "behind": 0, "more": false, "behind_ms": 0}));
        };
        let page = self.feed.feed(&at, COUNTED_MOST).await.map_err(stored)?;
        Ok(json!({
            "cursor": at.0,
            "behind": page.items.len(),
            "more": page.more,
            "behind_ms": self.waits_ms(&page),
        }))
    }

    /// How long the first entry of a page has been waiting.
    fn waits_ms(&self, page: &FeedPage) -> u64 {
        let first = page.items.iter().find_map(|item| match item {
            FeedItem::Entry(entry) => Some(entry.at),
            FeedItem::Erased { .. } | FeedItem::Gone { .. } => None,
        });
        let now = self.journey.clock.now_ms();
        first.map_or(0, |first| now.saturating_sub(first))
    }
}
