//! What is in memory and what is not: versions leave when nobody calls them and come back without a compiler; all
//! instances share one budget. What they answer meanwhile is right.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kith_runtime::{Generation, Hook, Outcome, Runtime, Scope, Text, Verdict, Version};
use serde_json::json;

use crate::guests::{Bench, bench, bench_with, bound, guests, no_config, settings};

const PATIENCE: Duration = Duration::from_secs(20);

fn quick() -> Bench {
    bench_with(|settings| {
        settings.idle_sweep = Duration::from_millis(5);
        settings.idle_after = Duration::from_millis(20);
    })
}

fn until(what: &str, met: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !met() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn filtering(version: &Arc<Version>) -> Generation {
    bound(version, Hook::ContentFilter, |_| {})
}

fn masked(generation: &Generation, text: &str) -> Option<String> {
    let place = "message";
    let ruling = generation.filter(Scope::Direct, &[Text { place, text }], 1);
    assert_eq!(ruling.verdict, Verdict::Pass);
    ruling.masked.into_iter().next().flatten()
}

#[test]
fn a_version_nobody_calls_leaves_the_memory_and_comes_back_with_the_next_call() {
    let bench = quick();
    let version = bench.version(json!({"word": "worse"}));
    let generation = filtering(&version);
    assert!(version.stats().resident && version.stats().live_instances > 0);
    for round in 1..=3 {
        until("it stays", || !version.stats().resident);
        let usage = bench.runtime.usage();
        assert_eq!(
            (usage.resident_versions, usage.instances, usage.memory_bytes),
            (0, 0, 0)
        );
        assert_eq!(masked(&generation, "no worse").as_deref(), Some("no *****"));
        assert_eq!(version.stats().cold_loads, round);
    }
    assert_eq!(version.stats().calls, 3, "its counts are its own for ever");
}

#[test]
fn a_pool_shrinks_to_nothing_before_its_version_leaves() {
    let bench = bench_with(|settings| settings.idle_sweep = Duration::from_millis(5));
    let version = bench.version(no_config());
    version.warm_up(16).expect("made");
    until("they stay", || version.stats().live_instances == 0);
    assert!(version.stats().resident, "its code waits longer");
    assert_eq!(
        masked(&filtering(&version), "so bad").as_deref(),
        Some("so ***")
    );
    assert_eq!(version.stats().cold_loads, 0);
}

#[test]
fn what_was_prepared_before_is_recalled_without_being_loaded() {
    let bench = bench();
    let config = json!({"word": "worse"});
    let digest = bench.version(config.clone()).inspection().digest.clone();
    let again = Runtime::new(settings(bench.folder.path())).expect("a runtime");
    let version = again.recall(&digest, &config).expect("it is known");
    assert!(!version.stats().resident && version.is_baked());
    let known = version.inspection();
    assert_eq!((known.name.as_str(), known.hooks.len()), ("obedient", 4));
    let commands: Vec<_> = version.commands().map(|(name, _)| name).collect();
    assert_eq!(commands, ["do", "say"]);
    assert_eq!(
        masked(&filtering(&version), "worse").as_deref(),
        Some("*****")
    );
    assert_eq!((again.compiled(), version.stats().cold_loads), (0, 1));
    assert!(again.recall(&digest, &json!({"word": "other"})).is_none());
    assert!(again.recall("sha256:none", &config).is_none());
}

#[test]
fn what_cannot_be_baked_is_recalled_with_its_configuration() {
    let bench = bench();
    let config = json!({"word": "worse"});
    let version = bench.runtime.prepare(&guests().unbakeable, &config);
    let digest = version.expect("prepared").inspection().digest.clone();
    let again = Runtime::new(settings(bench.folder.path())).expect("a runtime");
    let version = again.recall(&digest, &config).expect("it is known");
    assert!(!version.is_baked());
    assert_eq!(
        masked(&filtering(&version), "worse").as_deref(),
        Some("*****")
    );
}

#[test]
fn compiled_code_that_is_lost_is_made_again_and_what_is_lost_whole_fails_the_call() {
    let bench = bench();
    let version = bench.version(no_config());
    let generation = filtering(&version);
    let files = |end: &str| {
        let listed = std::fs::read_dir(bench.folder.path()).expect("the cache");
        let paths = listed.map(|entry| entry.expect("a file").path());
        let ending = paths.filter(|path| path.to_string_lossy().ends_with(end));
        ending.collect::<Vec<_>>()
    };
    let remove = |end: &str| {
        files(end)
            .iter()
            .for_each(|file| std::fs::remove_file(file).expect("removed"))
    };
    version.leave();
    remove(".cwasm");
    assert_eq!(masked(&generation, "so bad").as_deref(), Some("so ***"));
    version.leave();
    remove(".cwasm");
    remove(".baked.wasm");
    let place = "message";
    let ruling = generation.filter(
        Scope::Direct,
        &[Text {
            place,
            text: "so bad",
        }],
        1,
    );
    assert_eq!(ruling.records[0].outcome, Outcome::Failed);
    assert!(
        matches!(ruling.verdict, Verdict::Hold { .. }),
        "as a failure is"
    );
}

#[test]
fn calls_that_find_it_cold_at_once_load_it_once() {
    let bench = bench();
    let version = bench.version(no_config());
    let generation = filtering(&version);
    version.leave();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(masked(&generation, "so bad").as_deref(), Some("so ***")));
        }
    });
    assert_eq!(version.stats().cold_loads, 1);
}

#[test]
fn versions_come_and_go_under_calls_and_none_fails() {
    let bench = bench_with(|settings| {
        settings.resident_versions = 2;
        settings.total_instances = 4;
        settings.idle_sweep = Duration::from_millis(1);
        settings.idle_after = Duration::from_millis(1);
    });
    let words = ["one", "two", "three", "four", "five"];
    let versions = words.map(|word| bench.version(json!({"word": word})));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let versions = &versions;
            scope.spawn(move || {
                for turn in 0..200 {
                    let place = (thread + turn) % words.len();
                    let stars = "*".repeat(words[place].len());
                    let found = masked(&filtering(&versions[place]), words[place]);
                    assert_eq!(found, Some(stars));
                }
            });
        }
    });
    // A version has left before the memory of its last instance is given back.
    until("they stay", || {
        let usage = bench.runtime.usage();
        usage.resident_versions == 0 && usage.memory_bytes == 0
    });
}

#[test]
fn what_is_idle_gives_way_to_what_is_called_and_the_budget_holds() {
    let bench = bench_with(|settings| settings.memory_budget_bytes = 1 << 20);
    let versions: Vec<_> = (0..12)
        .map(|n| bench.version(json!({"word": format!("w{n}")})))
        .collect();
    for (n, version) in versions.iter().enumerate() {
        let word = format!("w{n}");
        assert_eq!(
            masked(&filtering(version), &word),
            Some("*".repeat(word.len()))
        );
        assert!(bench.runtime.usage().memory_bytes <= 1 << 20);
    }
    // More than the budget for one is the host's refusal, and no reason to keep a guest from being asked.
    let place = "message";
    let hungry = filtering(&versions[0]);
    let ruling = hungry.filter(
        Scope::Direct,
        &[Text {
            place,
            text: "do:hog",
        }],
        1,
    );
    assert_eq!(ruling.records[0].outcome, Outcome::Failed);
    assert_eq!(masked(&hungry, "w0").as_deref(), Some("**"));
    until("it is given back", || {
        bench.runtime.usage().memory_bytes <= 1 << 20
    });
}
