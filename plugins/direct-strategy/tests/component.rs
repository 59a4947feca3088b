//! The real component in the test kit: what is decided is decided by the guest alone,
//! with no host around it.

use kith_testkit::{Command, Plugin, Verdict, text_to_a_stranger};
use serde_json::{Value, json};

fn strategy(config: Value) -> Plugin {
    kith_testkit::load(kith_testkit::built("direct-strategy"), config)
        .expect("built by `cargo xtask build`")
}

/// The reason of a rejection, or `pass`.
fn answer(strategy: &Plugin, command: &Command<'_>) -> String {
    match strategy.decide(command).expect("decides").verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Reject { by, reason } => {
            assert_eq!(by, "direct-strategy");
            reason.code
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_component_alone_decides_what_strangers_and_the_blocked_may_send() {
    let strategy =
        strategy(json!({"strangers": "first-message-only", "first_message_max_chars": 5}));
    let hello = text_to_a_stranger("hello");
    for (command, expected) in [
        (hello.clone(), "pass"),
        (text_to_a_stranger("hello there"), "first-message-too-long"),
        (
            Command {
                unanswered: 1,
                ..hello.clone()
            },
            "wait-for-answer",
        ),
        (
            Command {
                unanswered: 1,
                answered: true,
                ..hello.clone()
            },
            "pass",
        ),
        (
            Command {
                unanswered: 1,
                friends: true,
                ..hello.clone()
            },
            "pass",
        ),
        (
            Command {
                blocked: true,
                friends: true,
                ..hello.clone()
            },
            "blocked",
        ),
        (
            Command {
                blocking: true,
                ..hello.clone()
            },
            "blocked",
        ),
    ] {
        assert_eq!(answer(&strategy, &command), expected, "{command:?}");
    }
}

#[test]
fn the_component_alone_keeps_the_time_to_recall_and_edit() {
    let strategy = strategy(json!({"recall_window_s": 120, "edit_window_s": 60}));
    let target = |operation, age_s: u64, target_sender| Command {
        operation,
        target_sender,
        target_age_ms: age_s * 1000,
        ..text_to_a_stranger("")
    };
    for (command, expected) in [
        (target("recall", 120, "ann"), "pass"),
        (target("recall", 121, "ann"), "too-late"),
        (target("recall", 1, "bob"), "forbidden"),
        (target("edit", 60, "ann"), "pass"),
        (target("edit", 61, "ann"), "too-late"),
    ] {
        assert_eq!(answer(&strategy, &command), expected, "{command:?}");
    }
}

#[test]
fn a_configuration_the_schema_forbids_is_refused() {
    let file = kith_testkit::built("direct-strategy");
    assert!(kith_testkit::load(file, json!({"strangers": "sometimes"})).is_err());
}
