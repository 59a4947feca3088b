//! One replay and what has come of it so far.
//! Bounded: differences beyond a thousand are counted, not told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use kith_runtime::Hook;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::plugins::rollout::ToReplay;

/// Differences that are told one by one.
const TOLD: usize = 1_000;

/// Why a stored command could not be asked about again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skipped {
    /// It was taken back, or it took something back: the text is nowhere.
    Recalled,
    /// It was edited: the text it was judged with is nowhere.
    Edited,
    /// An entry its hooks were shown was changed or taken back since, or is not kept any more.
    Context,
    /// What its hooks were asked with was not kept, or is not any more.
    NotKept,
    /// Two hooks changed the content: what stood between them is not known.
    Between,
}

impl Skipped {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Recalled => "recalled",
            Self::Edited => "edited",
            Self::Context => "context",
            Self::NotKept => "not_kept",
            Self::Between => "between",
        }
    }
}

/// What a version is asked about, or does, when it serves, and no replay asks; by its hooks.
const NOT_COVERED: [(&str, &[Hook]); 7] = [
    (
        "system_entries",
        &[Hook::MessageStrategy, Hook::ContentFilter],
    ),
    ("recalls", &[Hook::MessageStrategy]),
    (
        "group_changes",
        &[Hook::MessageStrategy, Hook::ContentFilter],
    ),
    (
        "friend_requests",
        &[Hook::MessageStrategy, Hook::ContentFilter],
    ),
    ("names", &[Hook::ContentFilter]),
    ("observer", &[Hook::Observer]),
    ("responder", &[Hook::Responder]),
];

pub struct Job {
    pub id: u64,
    plugin: String,
    version: String,
    digest: String,
    pub last: usize,
    cancelled: AtomicBool,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    ended: Option<Result<(), String>>,
    not_covered: Vec<&'static str>,
    /// Judged with another configuration than today's.
    config_changed: usize,
    seen: usize,
    replayed: usize,
    /// Hooks that read what nobody had read then, or looked further back.
    approximate: usize,
    skipped: BTreeMap<&'static str, usize>,
    differing: usize,
    differ: Vec<Value>,
}

/// What came of one stored command.
#[derive(Default)]
pub struct Came {
    pub replayed: bool,
    pub approximate: bool,
    pub config_changed: bool,
    pub skipped: Option<Skipped>,
    pub differ: Vec<Value>,
}

impl Job {
    pub fn new(id: u64, wanted: &ToReplay, last: usize) -> Self {
        Self {
            id,
            plugin: wanted.plugin.clone(),
            version: wanted.version.clone(),
            digest: wanted.digest.clone(),
            last,
            cancelled: AtomicBool::new(false),
            found: Mutex::default(),
        }
    }

    /// The version has these hooks.
    pub fn asks(&self, hooks: &[Hook]) {
        let missing = NOT_COVERED.into_iter();
        let missing = missing.filter(|(_, of)| of.iter().any(|hook| hooks.contains(hook)));
        self.found.lock().not_covered = missing.map(|(what, _)| what).collect();
    }

    pub fn is_running(&self) -> bool {
        self.found.lock().ended.is_none()
    }

    pub fn cancel(&self) {
        let mut found = self.found.lock();
        if found.ended.is_none() {
            self.cancelled.store(true, Ordering::Relaxed);
            found.ended = Some(Ok(()));
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// It is over; the first end counts.
    pub fn end(&self, how: Result<(), String>) {
        self.found.lock().ended.get_or_insert(how);
    }

    /// Whether more is to be looked at.
    pub fn wants_more(&self) -> bool {
        let found = self.found.lock();
        found.ended.is_none() && found.seen < self.last
    }

    /// Takes what came of one; nothing once it is over.
    pub fn add(&self, came: Came) {
        let mut found = self.found.lock();
        if found.ended.is_some() || found.seen >= self.last {
            return;
        }
        found.seen += 1;
        found.replayed += usize::from(came.replayed);
        found.approximate += usize::from(came.approximate);
        found.config_changed += usize::from(came.replayed && came.config_changed);
        // Of each command one count: where one of its hooks was asked again it is replayed.
        if let (Some(skipped), false) = (came.skipped, came.replayed) {
            *found.skipped.entry(skipped.as_str()).or_default() += 1;
        }
        found.differing += came.differ.len();
        let room = TOLD.saturating_sub(found.differ.len());
        found.differ.extend(came.differ.into_iter().take(room));
    }

    pub fn json(&self) -> Value {
        let found = self.found.lock();
        let (state, error) = match &found.ended {
            None => ("running", None),
            Some(Ok(())) if self.is_cancelled() => ("cancelled", None),
            Some(Ok(())) => ("done", None),
            Some(Err(why)) => ("failed", Some(why)),
        };
        json!({
            "id": self.id.to_string(),
            "plugin": self.plugin,
            "version": self.version,
            "digest": self.digest,
            "state": state,
            "error": error,
            "last": self.last,
            "seen": found.seen,
            "replayed": found.replayed,
            "approximate": found.approximate,
            "config_changed": found.config_changed,
            "skipped": found.skipped,
            "not_covered": found.not_covered,
            "differing": found.differing,
            "differ": found.differ,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_counted_once() {
        let wanted = ToReplay {
            plugin: "tried".into(),
            version: "1.0.0".into(),
            digest: String::new(),
            component: Vec::new(),
            config: json!({}),
            config_print: String::new(),
        };
        let job = Job::new(1, &wanted, 10);
        for (replayed, skipped) in [
            (true, None),
            (true, Some(Skipped::Between)),
            (false, Some(Skipped::Between)),
        ] {
            job.add(Came {
                replayed,
                skipped,
                ..Came::default()
            });
        }
        let told = job.json();
        let counts = (&told["seen"], &told["replayed"], &told["skipped"]);
        assert_eq!(counts, (&json!(3), &json!(2), &json!({"between": 1})));
    }

    #[test]
    fn what_is_not_covered_follows_from_the_hooks() {
        let wanted = ToReplay {
            plugin: "tried".into(),
            version: "1.0.0".into(),
            digest: String::new(),
            component: Vec::new(),
            config: json!({}),
            config_print: String::new(),
        };
        let job = Job::new(1, &wanted, 10);
        for (hooks, missing) in [
            (&[Hook::Command, Hook::AdminRule][..], json!([])),
            (&[Hook::Observer][..], json!(["observer"])),
            (
                &[Hook::ContentFilter][..],
                json!([
                    "system_entries",
                    "group_changes",
                    "friend_requests",
                    "names"
                ]),
            ),
        ] {
            job.asks(hooks);
            assert_eq!(job.json()["not_covered"], missing, "{hooks:?}");
        }
    }
}
