//! Commands: which names a version has, what each answer comes to, and that nothing is asked where nothing is bound.
//! What failures mean by policy is in `outcomes.rs`.

use kith_runtime::{
    BindingScope, CommandOutcome, CommandRuling, EffectKind, Generation, Hook, LoadError, Outcome,
    Scope, read_plain_content,
};
use serde_json::json;

use crate::guests::{bench, bound, guests, no_config, typed};

fn run(generation: &Generation, name: &str, arguments: &str) -> CommandRuling {
    generation.command(Scope::Direct, &typed(name, arguments), &read_plain_content)
}

fn outcome(ruling: &CommandRuling) -> Outcome {
    assert_eq!(ruling.records.len(), 1, "{ruling:?}");
    ruling.records[0].outcome
}

#[test]
fn a_version_names_its_commands_once_it_is_configured() {
    let bench = bench();
    let version = bench.version(no_config());
    // The summary says what reading values answers meanwhile.
    let named: Vec<_> = version.commands().collect();
    assert_eq!(named, [("do", "denied"), ("say", "denied")]);
    let refused = |refuse: &str| {
        let config = json!({"refuse": refuse});
        let prepared = bench.runtime.prepare(&guests().obedient, &config);
        prepared.expect_err("refused")
    };
    assert!(matches!(refused("names"), LoadError::BadNames(why) if why.contains("Not A Name")));
    let fell = refused("names-trap").to_string();
    assert!(fell.contains("names fell over"), "{fell}");
}

#[test]
fn every_answer_is_what_the_guest_said() {
    let version = bench().version(no_config());
    let generation = bound(&version, Hook::Command, |_| {});
    let done = run(&generation, "do", "");
    assert_eq!(
        (&done.outcome, outcome(&done)),
        (&CommandOutcome::Done, Outcome::Passed)
    );
    let reply = run(&generation, "say", "do:reply");
    let said = r#"{"type":"text","text":"say by u1"}"#.to_owned();
    assert_eq!(
        (&reply.outcome, outcome(&reply)),
        (&CommandOutcome::Reply(said), Outcome::Passed)
    );
    let sent = run(&generation, "do", "do:send");
    assert!(matches!(sent.outcome, CommandOutcome::Send(_)));
    assert_eq!(outcome(&sent), Outcome::Replaced);
    let passed = run(&generation, "do", "do:pass");
    assert_eq!(passed.outcome, CommandOutcome::Pass);
    let refused = run(&generation, "do", "do:reject-effect");
    assert!(
        matches!(&refused.outcome, CommandOutcome::Reject { by, reason } if by == "obedient" && reason.code == "not-today")
    );
    assert!(refused.effects.is_empty(), "nothing is stored of a refusal");
    let effect = &run(&generation, "do", "do:effect").effects[0];
    assert_eq!(
        (&*effect.namespace, effect.kind, effect.key.as_str()),
        ("obedient", EffectKind::KvPut, "k")
    );
}

#[test]
fn an_answer_that_is_not_allowed_is_a_failure() {
    let bench = bench();
    for what in ["do:not-json", "do:bad-code", "do:bad-effect", "do:trap"] {
        let version = bench.version(no_config());
        let generation = bound(&version, Hook::Command, |_| {});
        let ruling = run(&generation, "do", what);
        assert_eq!(outcome(&ruling), Outcome::Failed, "{what}");
        assert!(
            matches!(ruling.outcome, CommandOutcome::Unavailable { .. }),
            "{what}: the default"
        );
        assert!(ruling.effects.is_empty(), "{what}");
    }
}

#[test]
fn a_name_that_is_not_bound_here_is_asked_of_nobody() {
    let version = bench().version(no_config());
    let generation = bound(&version, Hook::Command, |binding| {
        binding.scope = BindingScope::Group;
    });
    for (name, generation) in [
        ("do", &generation),
        ("other", &bound(&version, Hook::Command, |_| {})),
    ] {
        let ruling = run(generation, name, "do:trap");
        assert_eq!(ruling.outcome, CommandOutcome::Pass);
        assert!(ruling.records.is_empty());
    }
    assert_eq!(version.stats().calls, 0);
}
