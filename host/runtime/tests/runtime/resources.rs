//! What instances cost: shared memory, a fresh instance after a trap, a bounded pool. What they answer is in
//! `outcomes.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kith_runtime::{Hook, Isolation, Outcome, Scope, Text, Verdict};
use serde_json::json;

use crate::guests::{bench, bench_with, bound, no_config};

const MANY: usize = 64;

/// Anonymous memory of this process, bytes.
fn anonymous() -> usize {
    let rollup =
        std::fs::read_to_string("/proc/self/smaps_rollup").expect("a kernel with smaps_rollup");
    let line = rollup
        .lines()
        .find(|line| line.starts_with("Anonymous:"))
        .expect("the line");
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse::<usize>().ok())
        .expect("a number")
        * 1024
}

#[test]
fn sixty_four_instances_with_a_hundred_thousand_entries_share_their_memory() {
    // In a process of its own: other tests allocate meanwhile.
    if std::env::var_os("KITH_TEST_ALONE").is_none() {
        let alone = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "resources::sixty_four_instances_with_a_hundred_thousand_entries_share_their_memory"])
            .env("KITH_TEST_ALONE", "1")
            .output()
            .expect("it runs");
        assert!(
            alone.status.success(),
            "{}",
            String::from_utf8_lossy(&alone.stdout)
        );
        return;
    }
    let bench = bench();
    let version = bench.version(json!({"entries": 100_000}));
    assert!(version.is_baked(), "{:?}", version.not_baked());
    version.warm_up(1).expect("one");
    let one = anonymous();
    version.warm_up(MANY).expect("many");
    let generation = Arc::new(bound(&version, Hook::ContentFilter, |_| {}));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let text = Text {
                    place: "message",
                    text: "hello",
                };
                (0..1000).for_each(|_| {
                    drop(generation.filter(Scope::Direct, std::slice::from_ref(&text), 1))
                });
            });
        }
    });
    assert_eq!(version.stats().live_instances as usize, MANY);
    let added = anonymous().saturating_sub(one);
    assert!(added < 8 << 20, "{MANY} instances added {added} bytes");
}

#[test]
fn after_a_trap_the_next_call_waits_less_than_a_millisecond() {
    let bench = bench();
    let version = bench.version(json!({"entries": 100_000}));
    let text = |text| {
        [Text {
            place: "message",
            text,
        }]
    };
    let mut waits = Vec::new();
    for _ in 0..21 {
        // A new generation of the same: three traps would open the breaker of one version.
        let version = bench.version(json!({"entries": 100_000}));
        let generation = bound(&version, Hook::ContentFilter, |_| {});
        assert_eq!(
            generation
                .filter(Scope::Direct, &text("do:trap"), 1)
                .records[0]
                .outcome,
            Outcome::Failed
        );
        let began = Instant::now();
        assert_eq!(
            generation.filter(Scope::Direct, &text("well"), 1).verdict,
            Verdict::Pass
        );
        waits.push(began.elapsed());
    }
    waits.sort_unstable();
    assert!(
        waits[10] < Duration::from_millis(1),
        "median {:?}, all {waits:?}",
        waits[10]
    );
    drop(version);
}

#[test]
fn a_full_pool_makes_callers_wait_and_fails_none() {
    let bench = bench_with(|settings| {
        settings.instances_per_version = 2;
        settings.total_instances = 3;
    });
    let (first, second) = (
        bench.version(no_config()),
        bench.version(json!({"word": "x"})),
    );
    let [first, second] = [&first, &second].map(|version| {
        bound(version, Hook::ContentFilter, |binding| {
            binding.isolation = Isolation::Message
        })
    });
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let generation = if thread % 2 == 0 { &first } else { &second };
            scope.spawn(move || {
                for _ in 0..100 {
                    let ruling = generation.filter(
                        Scope::Direct,
                        &[Text {
                            place: "message",
                            text: "hello",
                        }],
                        1,
                    );
                    assert_eq!(ruling.records[0].outcome, Outcome::Passed);
                }
            });
        }
    });
}
