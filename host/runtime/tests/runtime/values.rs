//! What guests read of what they wrote: a value of their own, one moment a call, so many reads and no more.
//! The store behind it is the test's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kith_runtime::{
    CommandOutcome, Hook, Runtime, Scope, Values, ValuesSnapshot, Verdict, read_plain_content,
};

use crate::guests::{bound, guests, no_config, saying, settings, typed};

#[derive(Default)]
struct Kept {
    values: HashMap<(String, String), Vec<u8>>,
    moments: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    broken: bool,
}

struct Moment {
    values: HashMap<(String, String), Vec<u8>>,
    open: Arc<AtomicUsize>,
}

impl Values for Kept {
    fn snapshot(&self) -> Result<Box<dyn ValuesSnapshot>, String> {
        if self.broken {
            return Err("the disk is gone".into());
        }
        self.moments.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Moment {
            values: self.values.clone(),
            open: self.open.clone(),
        }))
    }
}

impl ValuesSnapshot for Moment {
    fn get(&self, plugin: &str, key: &str) -> Result<Option<Vec<u8>>, String> {
        let place = (plugin.to_owned(), key.to_owned());
        Ok(self.values.get(&place).cloned())
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the guest read, as its command's answer says.
fn read(kept: Kept, arguments: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = Runtime::with_values(settings(folder.path()), Arc::new(kept)).expect("a runtime");
    let version = runtime.prepare(&guests().obedient, &no_config());
    let generation = bound(&version.expect("prepared"), Hook::Command, |_| {});
    let ruling = generation.command(Scope::Direct, &typed("do", arguments), &read_plain_content);
    match ruling.outcome {
        CommandOutcome::Reply(content) => read_plain_content(&content).expect("a text").text,
        other => panic!("{other:?}"),
    }
}

fn kept(plugin: &str, value: &str) -> Kept {
    let place = (plugin.to_owned(), "k".to_owned());
    Kept {
        values: [(place, value.into())].into(),
        ..Kept::default()
    }
}

#[test]
fn a_guest_reads_its_own_values_and_no_other_plugins() {
    assert_eq!(read(kept("obedient", "seven"), "do:read"), "seven bad-key");
    assert_eq!(read(kept("other", "seven"), "do:read"), "nothing bad-key");
    let broken = Kept {
        broken: true,
        ..Kept::default()
    };
    assert_eq!(read(broken, "do:read"), "unavailable bad-key");
}

#[test]
fn reads_of_one_call_share_a_moment_and_have_an_end() {
    let store = kept("obedient", "seven");
    let (moments, open) = (store.moments.clone(), store.open.clone());
    assert_eq!(read(store, "do:read-much"), "seven too-many");
    assert_eq!(moments.load(Ordering::Relaxed), 1);
    assert_eq!(
        open.load(Ordering::Relaxed),
        0,
        "the moment ends with the call"
    );
}

#[test]
fn a_strategy_reads_too_and_who_reads_nothing_opens_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = kept("obedient", "seven");
    let moments = store.moments.clone();
    let runtime = Runtime::with_values(settings(folder.path()), Arc::new(store));
    let runtime = runtime.expect("a runtime");
    let version = runtime.prepare(&guests().obedient, &no_config());
    let generation = bound(&version.expect("prepared"), Hook::MessageStrategy, |_| {});
    let decide = |text| {
        let ruling = generation.strategy(Scope::Direct, &saying(text), &read_plain_content);
        ruling.verdict
    };
    assert_eq!(decide("hello"), Verdict::Pass);
    assert_eq!(moments.load(Ordering::Relaxed), 0);
    assert!(matches!(decide("do:read"), Verdict::Reject { reason, .. } if reason.code == "seven"));
}
