//! Every outcome by every failure policy, and what a ruling carries. What it costs is in
//! `resources.rs`.

use kith_runtime::{
    BindingScope, BreakerState, Command, CommandOutcome, FilterRuling, Generation, HealthChange,
    HoldCause, Hook, Isolation, Level, Outcome, Policy, Rule, Scope, StrategyRuling, Text, Verdict,
    read_plain_content,
};
use serde_json::json;

use crate::guests::{Bench, asking, bench, bench_with, bound, no_config, saying, typed};

fn decide(generation: &Generation, text: &str) -> StrategyRuling {
    generation.strategy(Scope::Direct, &saying(text), &read_plain_content)
}

fn scan(generation: &Generation, text: &str) -> FilterRuling {
    generation.filter(
        Scope::Direct,
        &[Text {
            place: "message",
            text,
        }],
        1,
    )
}

fn outcomes(records: &[kith_runtime::HookRecord]) -> Vec<Outcome> {
    records.iter().map(|record| record.outcome).collect()
}

fn quick() -> Bench {
    bench_with(|settings| settings.hard_stop = std::time::Duration::from_millis(20))
}

#[test]
fn a_strategy_passes_replaces_rejects_holds_and_drops() {
    let bench = bench();
    let generation = bound(&bench.version(no_config()), Hook::MessageStrategy, |_| {});
    let passed = decide(&generation, "hello");
    assert_eq!(
        (passed.verdict, outcomes(&passed.records)),
        (Verdict::Pass, vec![Outcome::Passed])
    );
    let replaced = decide(&generation, "do:replace");
    assert_eq!(
        replaced.content.as_deref(),
        Some(r#"{"type":"text","text":"do:reject"}"#)
    );
    assert_eq!(outcomes(&replaced.records), [Outcome::Replaced]);
    let rejected = decide(&generation, "do:reject");
    assert!(
        matches!(&rejected.verdict, Verdict::Reject { by, reason } if by == "obedient" && reason.code == "blocked")
    );
    assert!(
        matches!(&rejected.verdict, Verdict::Reject { reason, .. } if reason.text.contains(r#""word":"bad""#))
    );
    let held = decide(&generation, "do:hold");
    assert!(matches!(
        held.verdict,
        Verdict::Hold {
            cause: HoldCause::Verdict,
            ..
        }
    ));
    assert!(matches!(
        decide(&generation, "do:drop").verdict,
        Verdict::Drop { .. }
    ));
    assert_eq!(
        decide(&generation, "do:audience").audience,
        Some(vec!["u1".to_owned()])
    );
    assert!(decide(&generation, "do:silent").silent);
    assert_eq!(decide(&generation, "do:window").recall_window_ms, Some(5));
    assert_eq!(decide(&generation, "do:effect").effects[0].key, "k");
    let now = decide(&generation, "do:now").verdict;
    assert!(
        matches!(&now, Verdict::Reject { reason, .. } if reason.code == "at-1234"),
        "{now:?}"
    );
}

#[test]
fn a_strategy_sees_as_many_of_the_newest_entries_as_it_asks_for() {
    let bench = bench();
    let generation = bound(&bench.version(no_config()), Hook::MessageStrategy, |_| {});
    assert_eq!(generation.recent(Scope::Direct), 3);
    let entry = |seq| kith_runtime::RecentEntry {
        seq,
        sender: "u1",
        at_ms: 1,
        kind: "text",
        text: "so it was",
    };
    let recent: Vec<_> = (4..=8).map(entry).collect();
    let command = Command {
        recent: &recent,
        ..saying("do:recent")
    };
    let ruling = generation.strategy(Scope::Direct, &command, &read_plain_content);
    assert!(
        matches!(&ruling.verdict, Verdict::Reject { reason, .. } if reason.code == "saw-6-7-8"),
        "{:?}",
        ruling.verdict
    );
}

#[test]
fn the_next_strategy_sees_the_replacement() {
    let version = bench().version(no_config());
    let binding = kith_runtime::Binding::as_wished(&version, Hook::MessageStrategy).expect("bound");
    let generation = Generation::new(1, vec![binding.clone(), binding]);
    let ruling = decide(&generation, "do:replace");
    assert_eq!(
        outcomes(&ruling.records),
        [Outcome::Replaced, Outcome::Rejected]
    );
    let stopped = decide(&generation, "do:drop");
    assert_eq!(
        outcomes(&stopped.records),
        [Outcome::Dropped],
        "a drop ends the chain"
    );
}

#[test]
fn every_way_to_fail_is_a_failure_of_that_instance_only() {
    let bench = quick();
    for what in [
        "do:trap",
        "do:loop",
        "do:hog",
        "do:recurse",
        "do:not-json",
        "do:bad-code",
        "do:bad-effect",
        "do:large",
    ] {
        let version = bench.version(no_config());
        let ruling = decide(&bound(&version, Hook::MessageStrategy, |_| {}), what);
        assert_eq!(outcomes(&ruling.records), [Outcome::Failed], "{what}");
        assert!(
            matches!(ruling.verdict, Verdict::Unavailable { .. }),
            "{what}: a strategy's default"
        );
        assert!(
            ruling.content.is_none() && ruling.effects.is_empty(),
            "{what}"
        );
        assert_eq!(
            decide(&bound(&version, Hook::MessageStrategy, |_| {}), "well").verdict,
            Verdict::Pass,
            "{what}"
        );
    }
    for what in [
        "do:trap",
        "do:loop",
        "do:hog",
        "do:recurse",
        "do:lie",
        "do:backwards",
        "do:few",
        "do:level",
    ] {
        let version = bench.version(no_config());
        let ruling = scan(&bound(&version, Hook::ContentFilter, |_| {}), what);
        assert_eq!(outcomes(&ruling.records), [Outcome::Failed], "{what}");
        assert!(
            matches!(
                ruling.verdict,
                Verdict::Hold {
                    cause: HoldCause::Failed,
                    ..
                }
            ),
            "{what}: a filter's default"
        );
        assert_eq!(
            scan(&bound(&version, Hook::ContentFilter, |_| {}), "well").verdict,
            Verdict::Pass,
            "{what}"
        );
    }
}

#[test]
fn a_failure_names_its_cause() {
    let bench = bench();
    let why = |what: &str| match decide(
        &bound(&bench.version(no_config()), Hook::MessageStrategy, |_| {}),
        what,
    )
    .verdict
    {
        Verdict::Unavailable { reason, .. } => reason.text,
        other => panic!("{other:?}"),
    };
    assert!(why("do:trap").contains("told to trap"));
    assert!(why("do:loop").contains("in time"));
    assert!(why("do:hog").contains("memory"));
    assert!(why("do:not-json").contains("JSON object"));
    assert!(why("do:bad-effect").contains("send-money"));
}

#[test]
fn each_policy_means_what_it_says_for_failed_and_for_absent() {
    let bench = bench();
    let version = bench.version(no_config());
    for hook in Hook::ALL.into_iter().filter(|hook| !hook.is_after_commit()) {
        for policy in [
            Policy::Pass,
            Policy::Reject,
            Policy::Unavailable,
            Policy::Hold,
            Policy::Fallback,
        ] {
            for absent in [false, true] {
                let fresh = bench.version(no_config());
                let generation = bound(&fresh, hook, |binding| {
                    (binding.on_failed, binding.on_absent) = (policy, policy);
                    if absent {
                        binding.loaded = Err("its file is gone".into());
                    }
                });
                let (verdict, records) = judge(&generation, hook, "do:trap");
                let cause = if absent {
                    HoldCause::Absent
                } else {
                    HoldCause::Failed
                };
                assert_eq!(
                    outcomes(&records),
                    [if absent {
                        Outcome::Absent
                    } else {
                        Outcome::Failed
                    }]
                );
                let default = if policy == Policy::Fallback {
                    default_of(hook)
                } else {
                    policy
                };
                let right = match (default, &verdict) {
                    (Policy::Pass, Verdict::Pass)
                    | (Policy::Unavailable, Verdict::Unavailable { .. }) => true,
                    // What is never stored cannot be held.
                    (Policy::Hold, Verdict::Unavailable { .. }) => hook == Hook::Command,
                    (Policy::Reject, Verdict::Reject { reason, .. }) => {
                        reason.code == if absent { "absent" } else { "failed" }
                    }
                    (Policy::Hold, Verdict::Hold { cause: held, .. }) => *held == cause,
                    _ => false,
                };
                assert!(right, "{hook:?} {policy:?} absent: {absent}: {verdict:?}");
            }
        }
        let generation = bound(&version, hook, |binding| {
            binding.loaded = Err("its file is gone".into());
            binding.on_absent = Policy::Fallback;
            binding.fallback = Some(bench.version(json!({"word": "else"})));
        });
        let (verdict, records) = judge(&generation, hook, "do:reject");
        assert!(
            matches!(verdict, Verdict::Reject { .. }),
            "the fallback rules"
        );
        assert_eq!(outcomes(&records), [Outcome::Absent, Outcome::Rejected]);
    }
}

fn default_of(hook: Hook) -> Policy {
    match hook {
        Hook::ContentFilter => Policy::Hold,
        Hook::AdminRule => Policy::Reject,
        _ => Policy::Unavailable,
    }
}

fn judge(
    generation: &Generation,
    hook: Hook,
    text: &str,
) -> (Verdict, Vec<kith_runtime::HookRecord>) {
    match hook {
        Hook::MessageStrategy => {
            let ruling = decide(generation, text);
            (ruling.verdict, ruling.records)
        }
        Hook::ContentFilter => {
            let ruling = scan(generation, text);
            (ruling.verdict, ruling.records)
        }
        Hook::Command => {
            let ruling = generation.command(Scope::Direct, &typed("do", text), &read_plain_content);
            let verdict = match ruling.outcome {
                CommandOutcome::Reject { by, reason } => Verdict::Reject { by, reason },
                CommandOutcome::Unavailable { by, reason } => Verdict::Unavailable { by, reason },
                _ => Verdict::Pass,
            };
            (verdict, ruling.records)
        }
        Hook::AdminRule => {
            let ruling = generation.rule(&asking(text), true);
            let verdict = match ruling.rule {
                Rule::Abstain | Rule::Allow => Verdict::Pass,
                Rule::Deny { by, reason } => Verdict::Reject { by, reason },
                Rule::RequireApproval { by, reason } => {
                    let cause = match reason.code.as_str() {
                        "absent" => HoldCause::Absent,
                        _ => HoldCause::Failed,
                    };
                    Verdict::Hold { by, reason, cause }
                }
                Rule::Unavailable { by, reason } => Verdict::Unavailable { by, reason },
            };
            (verdict, ruling.records)
        }
        Hook::Observer | Hook::Responder => panic!("nothing judges after the commit"),
    }
}

#[test]
fn a_filter_masks_by_scalars_and_levels_may_be_mapped() {
    let bench = bench();
    let version = bench.version(json!({"word": "坏😀"}));
    let generation = bound(&version, Hook::ContentFilter, |_| {});
    let texts = ["好坏😀人", "plain", "坏😀坏😀"].map(|text| Text {
        place: "message",
        text,
    });
    let ruling = generation.filter(Scope::Outside, &texts, 0);
    assert_eq!(
        ruling.masked,
        [Some("好**人".to_owned()), None, Some("****".to_owned())]
    );
    assert_eq!(
        (ruling.verdict, outcomes(&ruling.records)),
        (Verdict::Pass, vec![Outcome::Replaced])
    );
    assert_eq!(ruling.hits.len(), 3);
    let rejected = scan(&generation, "do:reject");
    assert!(matches!(&rejected.verdict, Verdict::Reject { reason, .. } if reason.text == "rule"));
    let mapped = bound(&version, Hook::ContentFilter, |binding| {
        binding.levels = [
            ("reject".to_owned(), Level::Mask),
            ("scold".to_owned(), Level::Hold),
        ]
        .into();
    });
    assert_eq!(
        scan(&mapped, "do:reject").masked,
        [Some("**:reject".to_owned())]
    );
    assert!(matches!(
        scan(&mapped, "do:level").verdict,
        Verdict::Hold {
            cause: HoldCause::Verdict,
            ..
        }
    ));
}

#[test]
fn the_next_filter_sees_what_was_masked() {
    let bench = bench();
    let [first, second] = ["bad", "*"].map(|word| {
        let version = bench.version(json!({"word": word}));
        kith_runtime::Binding::as_wished(&version, Hook::ContentFilter).expect("bound")
    });
    let ruling = scan(&Generation::new(1, vec![first, second]), "a bad day");
    assert_eq!(
        outcomes(&ruling.records),
        [Outcome::Replaced, Outcome::Replaced]
    );
    assert_eq!(ruling.hits.iter().filter(|hit| hit.binding == 1).count(), 3);
}

#[test]
fn a_binding_outside_its_scope_is_not_asked() {
    let version = bench().version(no_config());
    let generation = bound(&version, Hook::ContentFilter, |binding| {
        binding.scope = BindingScope::Group
    });
    assert!(scan(&generation, "do:reject").records.is_empty());
}

#[test]
fn a_trapped_call_is_tried_once_more_on_a_fresh_instance() {
    let bench = bench();
    // Every instance of this one falls over when it is used a second time.
    let version = bench.version(json!({"refuse": "reuse"}));
    let generation = bound(&version, Hook::ContentFilter, |_| {});
    for _ in 0..10 {
        assert_eq!(
            outcomes(&scan(&generation, "hello").records),
            [Outcome::Passed]
        );
    }
    assert!(version.stats().retired >= 4, "{:?}", version.stats());
    assert_eq!(version.breaker(Hook::ContentFilter), BreakerState::Closed);
}

#[test]
fn with_isolation_by_message_nothing_is_remembered() {
    let version = bench().version(no_config());
    let reused = bound(&version, Hook::ContentFilter, |_| {});
    scan(&reused, "once");
    scan(&reused, "twice");
    assert!(
        matches!(scan(&reused, "do:count").verdict, Verdict::Reject { .. }),
        "an instance is reused"
    );
    let isolated = bound(&version, Hook::ContentFilter, |binding| {
        binding.isolation = Isolation::Message
    });
    for _ in 0..20 {
        assert_eq!(scan(&isolated, "do:count").verdict, Verdict::Pass);
    }
}

#[test]
fn three_failures_open_the_breaker_and_a_good_call_closes_it() {
    let bench = bench();
    let version = bench.version(no_config());
    let mut heard = bench.runtime.health();
    let generation = bound(&version, Hook::ContentFilter, |_| {});
    for _ in 0..3 {
        scan(&generation, "do:trap");
    }
    assert_eq!(version.breaker(Hook::ContentFilter), BreakerState::Open);
    assert_eq!(
        version.breaker(Hook::MessageStrategy),
        BreakerState::Closed,
        "each hook has its own"
    );
    let calls = version.stats().calls;
    let refused = scan(&generation, "well");
    assert!(matches!(
        &refused.verdict,
        Verdict::Hold {
            cause: HoldCause::Failed,
            ..
        }
    ));
    assert_eq!(version.stats().calls, calls, "an open breaker asks nothing");
    assert!(matches!(
        heard.try_recv().expect("told").change,
        HealthChange::Opened(_)
    ));
    assert_eq!(
        heard.blocking_recv().expect("told").change,
        HealthChange::ProbeDue
    );
    assert_eq!(scan(&generation, "well").verdict, Verdict::Pass);
    assert_eq!(
        heard.blocking_recv().expect("told").change,
        HealthChange::Closed
    );
    assert_eq!(version.breaker(Hook::ContentFilter), BreakerState::Closed);
}

#[test]
fn a_flood_of_log_lines_is_cut() {
    let version = bench().version(no_config());
    let ruling = scan(&bound(&version, Hook::ContentFilter, |_| {}), "do:flood");
    let stats = version.stats();
    assert!(
        stats.log_lines <= 200 && stats.log_lines_lost > 100,
        "{stats:?} {:?}",
        ruling.records
    );
}
