//! Swapping generations while threads are judging: no call fails, and each is ruled by one generation.
//! The same over the wire is the host's test.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kith_runtime::{Generation, GenerationCell, Hook, Outcome, Scope, Text};
use serde_json::json;

use crate::guests::bench;

#[test]
fn swaps_under_load_fail_no_call_and_never_mix_generations() {
    let bench = bench();
    let versions = ["a", "b"].map(|word| bench.version(json!({"word": word})));
    let binding = |n: u64| {
        let version = &versions[(n % 2) as usize];
        kith_runtime::Binding::as_wished(version, Hook::ContentFilter).expect("bound")
    };
    // Both bindings are of the same version: a call that mixed generations would mask both letters.
    let cell = GenerationCell::new(Generation::new(1, vec![binding(1), binding(1)]));
    let (done, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    let pinned = cell.pin();
                    assert!(pinned.number >= newest, "generations only rise");
                    newest = pinned.number;
                    let ruling = pinned.filter(
                        Scope::Direct,
                        &[Text {
                            place: "message",
                            text: "ab",
                        }],
                        1,
                    );
                    let expected = if pinned.number.is_multiple_of(2) {
                        "*b"
                    } else {
                        "a*"
                    };
                    assert_eq!(ruling.masked, [Some(expected.to_owned())]);
                    assert!(
                        ruling
                            .records
                            .iter()
                            .all(|record| record.outcome != Outcome::Failed)
                    );
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for n in 2..300 {
            let before = calls.load(Ordering::Relaxed);
            assert!(cell.activate(Generation::new(n, vec![binding(n), binding(n)])));
            while calls.load(Ordering::Relaxed) < before + 3 {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(calls.load(Ordering::Relaxed) > 600);
}
