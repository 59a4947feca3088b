//! What an administrator can see of the hooks after the commit: counts, the last trouble, notices, and the numbers plugins
//! keep themselves. In memory and bounded.

use std::collections::{BTreeMap, VecDeque};

use kith_runtime::{AbilityError, Hook};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::ids::EntryId;

const NOTICES: usize = 20;
const METRICS: usize = 64;
const NAME_CHARS: usize = 64;

/// A consumer in numbers.
pub struct Follower {
    pub plugin: String,
    pub hook: Hook,
    pub lag_ms: u64,
    pub delivered: u64,
    pub skipped: u64,
    pub failures: u64,
}

#[derive(Default)]
pub struct Ledger {
    consumers: Mutex<BTreeMap<(String, Hook), Row>>,
    metrics: Mutex<BTreeMap<String, BTreeMap<String, Metric>>>,
}

#[derive(Default)]
struct Row {
    delivered: u64,
    skipped: u64,
    refused: u64,
    failures: u64,
    waiting_for: Option<String>,
    notices: VecDeque<String>,
    /// The commit up to which everything was done, when it last had nothing to do.
    reached: u64,
}

/// A number a plugin keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginMetric {
    pub plugin: String,
    /// 1 to 64 of `a-z`, `0-9` and `_`.
    pub name: String,
    /// It only rises; else it is set.
    pub is_count: bool,
    pub value: f64,
}

#[derive(Clone, Copy)]
enum Metric {
    Count(u64),
    Value(f64),
}

impl Ledger {
    /// Events a hook is done with.
    pub fn delivered(&self, plugin: &str, hook: Hook, count: usize) {
        self.change(plugin, hook, |row| {
            row.delivered += count as u64;
            row.waiting_for = None;
        });
    }

    /// A call failed, or asked to be repeated.
    pub fn waits(&self, plugin: &str, hook: Hook, failed: bool, why: &str) {
        self.change(plugin, hook, |row| {
            row.failures += u64::from(failed);
            row.waiting_for = Some(why.to_owned());
        });
    }

    /// An event was given up.
    pub fn skipped(&self, plugin: &str, hook: Hook, notice: String) {
        tracing::warn!(plugin, hook = hook.as_str(), notice, "an event was skipped");
        self.change(plugin, hook, |row| {
            row.skipped += 1;
            row.waiting_for = None;
            note(row, notice);
        });
    }

    /// An effect was not carried out.
    pub fn refused(&self, plugin: &str, hook: Hook, notice: String) {
        tracing::warn!(
            plugin,
            hook = hook.as_str(),
            notice,
            "an effect was refused"
        );
        self.change(plugin, hook, |row| {
            row.refused += 1;
            note(row, notice);
        });
    }

    /// It has done everything up to a commit.
    pub fn reached(&self, plugin: &str, hook: Hook, commit: u64) {
        self.change(plugin, hook, |row| row.reached = commit);
    }

    /// Another node does its work.
    pub fn stands_by(&self, plugin: &str, hook: Hook) {
        self.change(plugin, hook, |row| {
            row.reached = 0;
            row.waiting_for = None;
        });
    }

    /// How far each is behind a commit, milliseconds of the log's own time; and what it did and did not do.
    pub fn followers(&self, newest: u64) -> Vec<Follower> {
        let consumers = self.consumers.lock();
        let follower = |((plugin, hook), row): (&(String, Hook), &Row)| Follower {
            plugin: plugin.clone(),
            hook: *hook,
            lag_ms: match row.reached >= newest || row.reached == 0 {
                true => 0,
                false => EntryId(newest)
                    .at_ms()
                    .saturating_sub(EntryId(row.reached).at_ms()),
            },
            delivered: row.delivered,
            skipped: row.skipped,
            failures: row.failures,
        };
        consumers.iter().map(follower).collect()
    }

    fn change(&self, plugin: &str, hook: Hook, change: impl FnOnce(&mut Row)) {
        let mut consumers = self.consumers.lock();
        change(consumers.entry((plugin.to_owned(), hook)).or_default());
    }

    /// What a hook did and did not do since this server started.
    pub fn counts(&self, plugin: &str, hook: Hook) -> Value {
        let consumers = self.consumers.lock();
        let row = consumers.get(&(plugin.to_owned(), hook));
        let count = |of: fn(&Row) -> u64| row.map_or(0, of);
        json!({
            "delivered": count(|row| row.delivered),
            "skipped": count(|row| row.skipped),
            "refused": count(|row| row.refused),
            "failures": count(|row| row.failures),
            "waiting_for": row.and_then(|row| row.waiting_for.clone()),
        })
    }

    pub fn consumers(&self, plugin: &str) -> Vec<Value> {
        let consumers = self.consumers.lock();
        let own = consumers.iter().filter(|((name, _), _)| name == plugin);
        own.map(|((_, hook), row)| {
            json!({
                "hook": hook.as_str(),
                "delivered": row.delivered,
                "skipped": row.skipped,
                "refused": row.refused,
                "failures": row.failures,
                "waiting_for": row.waiting_for,
                "notices": row.notices,
            })
        })
        .collect()
    }

    /// What went wrong with a plugin's hooks since this server started, as a sentence; none where nothing did.
    pub fn trouble(&self, plugin: &str) -> Option<String> {
        let consumers = self.consumers.lock();
        let own = consumers.iter().filter(|((name, _), _)| name == plugin);
        let told = own
            .filter_map(|((_, hook), row)| Some(format!("{}: {}", hook.as_str(), row.trouble()?)));
        Some(told.collect::<Vec<_>>().join("; ")).filter(|told| !told.is_empty())
    }

    pub fn count(&self, plugin: &str, name: &str, count: u64) -> Result<(), AbilityError> {
        self.metric(plugin, name, |before| match before {
            Some(Metric::Count(before)) => Metric::Count(before.saturating_add(count)),
            _ => Metric::Count(count),
        })
    }

    pub fn set(&self, plugin: &str, name: &str, value: f64) -> Result<(), AbilityError> {
        if !value.is_finite() {
            return Err(AbilityError::Invalid(
                "a value is a finite number".to_owned(),
            ));
        }
        self.metric(plugin, name, |_| Metric::Value(value))
    }

    fn metric(
        &self,
        plugin: &str,
        name: &str,
        change: impl FnOnce(Option<Metric>) -> Metric,
    ) -> Result<(), AbilityError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || name.len() > NAME_CHARS || !name.chars().all(plain) {
            return Err(AbilityError::Invalid(format!(
                "a metric's name has 1 to {NAME_CHARS} of a-z, 0-9 and _"
            )));
        }
        let mut metrics = self.metrics.lock();
        let own = metrics.entry(plugin.to_owned()).or_default();
        let before = own.get(name).copied();
        if before.is_none() && own.len() >= METRICS {
            return Err(AbilityError::Quota(format!(
                "at most {METRICS} metrics are kept"
            )));
        }
        own.insert(name.to_owned(), change(before));
        Ok(())
    }

    /// All plugins' numbers, by plugin and name: at most 64 of each plugin.
    pub fn every_metric(&self) -> Vec<PluginMetric> {
        let metrics = self.metrics.lock();
        let all = metrics.iter().flat_map(|(plugin, own)| {
            own.iter().map(move |(name, metric)| {
                let (is_count, value) = match *metric {
                    Metric::Count(count) => (true, count as f64),
                    Metric::Value(value) => (false, value),
                };
                PluginMetric {
                    plugin: plugin.clone(),
                    name: name.clone(),
                    is_count,
                    value,
                }
            })
        });
        all.collect()
    }

    pub fn metrics(&self, plugin: &str) -> Value {
        let metrics = self.metrics.lock();
        let own = metrics.get(plugin).into_iter().flatten();
        own.map(|(name, metric)| {
            let value = match metric {
                Metric::Count(count) => json!(count),
                Metric::Value(value) => json!(value),
            };
            (name.clone(), value)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
    }
}

impl Row {
    fn trouble(&self) -> Option<String> {
        let counts = [
            (self.failures, "calls failed"),
            (self.skipped, "events skipped"),
            (self.refused, "effects refused"),
        ];
        let mut told: Vec<String> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        told.extend(self.waiting_for.as_ref().map(|why| format!("waits: {why}")));
        if self.waiting_for.is_none() {
            told.extend(self.notices.back().map(|notice| format!("last: {notice}")));
        }
        Some(told.join(", ")).filter(|told| !told.is_empty())
    }
}

fn note(row: &mut Row, notice: String) {
    if row.notices.len() == NOTICES {
        row.notices.pop_front();
    }
    row.notices.push_back(notice);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_what_went_wrong_and_nothing_else() {
        let ledger = Ledger::default();
        ledger.delivered("words", Hook::Observer, 3);
        assert_eq!(ledger.trouble("words"), None);
        ledger.waits("words", Hook::Observer, true, "it trapped");
        let waits = "observer: 1 calls failed, waits: it trapped";
        assert_eq!(ledger.trouble("words").as_deref(), Some(waits));
        ledger.skipped("words", Hook::Observer, "entry 7 was skipped".to_owned());
        ledger.refused("words", Hook::Responder, "no account".to_owned());
        let all = "observer: 1 calls failed, 1 events skipped, last: entry 7 was skipped; \
                   responder: 1 effects refused, last: no account";
        assert_eq!(ledger.trouble("words").as_deref(), Some(all));
        assert_eq!(ledger.trouble("other"), None);
    }
}
