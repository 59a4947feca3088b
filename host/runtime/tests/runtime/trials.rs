//! Shares and shadows: which of two bindings is asked in a conversation, and what comes of showing a version what another
//! decides about. How they begin and end is the host's test.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kith_runtime::{
    Binding, Command, Generation, Hook, HookCounts, Invocation, Lot, Outcome, Scope, Shadow,
    Shadowing, Share, Site, Text, Version, read_plain_content,
};
use serde_json::json;

use crate::guests::{asking, bench, bound, no_config, saying, typed};

fn text(text: &str) -> [Text<'_>; 1] {
    let place = "message";
    [Text { place, text }]
}

/// A generation of one binding with a version in its shadow.
fn shadowed(serving: &Arc<Version>, shown: &Arc<Version>, hook: Hook) -> (Generation, Arc<Shadow>) {
    let shadow = Shadow::start("obedient", Arc::new(read_plain_content)).expect("a thread");
    let binding = Binding::as_wished(shown, hook).expect("it exports the hook");
    let shadowing = Shadowing {
        binding,
        shadow: shadow.clone(),
    };
    let generation = bound(serving, hook, |_| {});
    let generation = generation.with_shadows(vec![Arc::new(shadowing)]);
    (generation, shadow)
}

/// The counts of a hook, once so much was compared or failed.
fn counts(shadow: &Shadow, hook: Hook, least: u64) -> HookCounts {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let counts = shadow.counts();
        let own = counts.into_iter().find(|counts| counts.hook == hook);
        if let Some(own) = own.filter(|own| own.agreed + own.differed + own.failed >= least) {
            return own;
        }
        assert!(Instant::now() < until, "{:?}", shadow.counts());
        std::thread::yield_now();
    }
}

#[test]
fn a_version_agrees_with_itself_at_every_hook() {
    let bench = bench();
    let version = bench.version(no_config());
    for hook in [
        Hook::MessageStrategy,
        Hook::ContentFilter,
        Hook::Command,
        Hook::AdminRule,
    ] {
        let (generation, shadow) = shadowed(&version, &version, hook);
        let asked = [
            "",
            "do:reject",
            "do:replace",
            "do:effect",
            "do:reply",
            "do:ban",
            "bad",
        ];
        for what in asked {
            match hook {
                Hook::MessageStrategy => {
                    drop(generation.strategy(Scope::Direct, &saying(what), &read_plain_content));
                }
                Hook::ContentFilter => drop(generation.filter(Scope::Direct, &text(what), 1)),
                Hook::Command => {
                    let typed = typed("do", what);
                    drop(generation.command(Scope::Direct, &typed, &read_plain_content));
                }
                _ => drop(generation.rule(&asking(what), true)),
            }
        }
        let all = asked.len() as u64;
        let counts = counts(&shadow, hook, all);
        assert_eq!((counts.agreed, counts.differed), (all, 0), "{counts:?}");
    }
}

#[test]
fn what_differs_is_named_and_what_fails_is_counted() {
    let bench = bench();
    let serving = bench.version(no_config());
    let shown = bench.version(json!({"word": "good"}));
    let (generation, shadow) = shadowed(&serving, &shown, Hook::ContentFilter);
    let site = Site {
        scope: Scope::Direct,
        conversation: "c7",
    };
    let ruling = generation.filter(site, &text("bad and good"), 5);
    assert_eq!(ruling.masked, [Some("*** and good".to_owned())]);
    assert_eq!(ruling.records.len(), 1, "a shadow stands in no record");
    drop(generation.filter(site, &text("do:trap"), 6));
    let counts = counts(&shadow, Hook::ContentFilter, 2);
    assert_eq!(
        (counts.agreed, counts.differed, counts.failed),
        (0, 1, 1),
        "{counts:?}"
    );
    let example = &counts.examples[0];
    assert_eq!(example.differs, ["hits"], "both mask, something else");
    assert_eq!((example.conversation.as_str(), example.at_ms), ("c7", 5));
    assert_eq!(
        (example.served, example.shadow),
        (Outcome::Replaced, Outcome::Replaced)
    );
    shadow.end();
    drop(generation.filter(site, &text("bad and good"), 7));
    let after = shadow.counts().remove(0);
    assert_eq!((after.differed, after.failed), (1, 1), "it has ended");
}

#[test]
fn one_of_two_versions_is_asked_in_a_conversation() {
    let bench = bench();
    let lot = Lot::new("obedient@b", 50);
    let binding = |word: &str, hook, share| Binding {
        share,
        ..Binding::as_wished(&bench.version(json!({"word": word})), hook).expect("bound")
    };
    let both = |hook| {
        vec![
            binding("a", hook, Share::Without(lot.clone())),
            binding("b", hook, Share::Within(lot.clone())),
        ]
    };
    let filters = Generation::new(1, both(Hook::ContentFilter));
    let strategies = Generation::new(1, both(Hook::MessageStrategy));
    let commands = Generation::new(1, both(Hook::Command));
    let mut seen = [0, 0];
    for n in 0..40 {
        let conversation = format!("c{n}");
        let conversation = conversation.as_str();
        let place = u16::from(lot.holds(conversation));
        let scope = Scope::Direct;
        let site = Site {
            scope,
            conversation,
        };
        let ruling = filters.filter(site, &text("ab"), 1);
        let expected = ["*b", "a*"][usize::from(place)];
        assert_eq!(ruling.masked, [Some(expected.to_owned())]);
        assert_eq!(ruling.records[0].binding, place);
        let command = Command {
            conversation,
            ..saying("ab")
        };
        let ruling = strategies.strategy(scope, &command, &read_plain_content);
        let asked: Vec<u16> = ruling.records.iter().map(|record| record.binding).collect();
        assert_eq!(asked, [place]);
        let invocation = Invocation {
            conversation,
            ..typed("do", "")
        };
        let ruling = commands.command(scope, &invocation, &read_plain_content);
        assert_eq!(ruling.records[0].binding, place);
        seen[usize::from(place)] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    // In no conversation it is the one that serves.
    let nowhere = filters.filter(Scope::Outside, &text("ab"), 1);
    assert_eq!(nowhere.masked, [Some("*b".to_owned())]);
    let counted = filters.bindings()[1].tally.counted();
    assert_eq!(counted.of(Outcome::Replaced), seen[1]);
}
