//! Administrators' rules: what each ruling comes to, in which order, with which actions; failures by what was asked.
//! What failures mean by policy is in `outcomes.rs`.

use kith_runtime::{Binding, Generation, Hook, Outcome, Rule, RuleAct, RuleRuling};
use serde_json::json;

use crate::guests::{asking, bench, bound, no_config};

fn outcomes(ruling: &RuleRuling) -> Vec<Outcome> {
    ruling.records.iter().map(|record| record.outcome).collect()
}

#[test]
fn rules_abstain_allow_deny_and_ask_for_approval() {
    let version = bench().version(no_config());
    let generation = bound(&version, Hook::AdminRule, |_| {});
    assert!(generation.has_rules());
    let rule = |what: &str| generation.rule(&asking(what), true);
    assert_eq!(rule("").rule, Rule::Abstain);
    assert_eq!(rule("do:allow").rule, Rule::Allow);
    let denied = rule("do:reject");
    assert!(
        matches!(&denied.rule, Rule::Deny { by, reason } if by == "obedient" && reason.code == "unwanted" && reason.text == "ann")
    );
    assert_eq!(outcomes(&denied), [Outcome::Rejected]);
    let waiting = rule("do:approve");
    assert!(matches!(waiting.rule, Rule::RequireApproval { .. }));
    assert_eq!(outcomes(&waiting), [Outcome::Held]);
    let acts = rule("do:ban").actions;
    let told: Vec<_> = acts
        .iter()
        .map(|act| (act.by.as_str(), act.act, act.for_ms, act.text.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("obedient", RuleAct::BanUser, 60_000, "why"),
            ("obedient", RuleAct::Notify, 60_000, "look")
        ]
    );
}

#[test]
fn the_first_that_does_not_abstain_decides() {
    let bench = bench();
    let binding = |word: &str| {
        let version = bench.version(json!({"word": word}));
        Binding::as_wished(&version, Hook::AdminRule).expect("bound")
    };
    let generation = Generation::new(1, vec![binding("one"), binding("two")]);
    let asked = |what: &str| generation.rule(&asking(what), true).records.len();
    assert_eq!(
        (asked(""), asked("do:allow"), asked("do:reject")),
        (2, 1, 1)
    );
    assert_eq!(generation.rule(&asking("do:ban"), true).actions.len(), 4);
}

#[test]
fn a_rule_that_fails_keeps_out_and_says_nothing_about_what_has_happened() {
    let bench = bench();
    for what in [
        "do:trap",
        "do:bad-code",
        "do:bad-act",
        "do:bad-label",
        "do:silence",
        "do:crowd",
    ] {
        let version = bench.version(no_config());
        let generation = bound(&version, Hook::AdminRule, |_| {});
        let asked = generation.rule(&asking(what), true);
        assert!(matches!(asked.rule, Rule::Deny { .. }), "{what}");
        let told = generation.rule(&asking(what), false);
        assert_eq!(told.rule, Rule::Abstain, "{what}");
        for ruling in [asked, told] {
            assert_eq!(outcomes(&ruling), [Outcome::Failed], "{what}");
            assert!(ruling.actions.is_empty(), "{what}");
        }
    }
}

#[test]
fn without_rules_nothing_is_asked() {
    let generation = Generation::new(1, Vec::new());
    assert!(!generation.has_rules());
    let ruling = generation.rule(&asking("do:reject"), true);
    assert_eq!(ruling.rule, Rule::Abstain);
    assert!(ruling.records.is_empty());
}
