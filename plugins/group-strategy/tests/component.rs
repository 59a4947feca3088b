//! The real component in the test kit: its defaults,
//! and what it decides about a command.

use kith_testkit::{Command, Fact, Verdict, text_to_a_stranger};
use serde_json::json;

/// A command in a group whose sender has a role.
fn in_a_group<'a>(operation: &'a str, sender_role: &'a str) -> Command<'a> {
    Command {
        operation,
        conversation_kind: "group",
        sender_role,
        ..text_to_a_stranger("hello")
    }
}

/// The code a component refuses a command with.
fn refusal(config: serde_json::Value, command: &Command<'_>) -> Option<String> {
    let strategy = kith_testkit::load(kith_testkit::built("group-strategy"), config)
        .expect("built by `cargo xtask build`");
    match strategy.decide(command).expect("decides").verdict {
        Verdict::Pass => None,
        Verdict::Reject { reason, .. } => Some(reason.code),
        other => panic!("neither passed nor refused: {other:?}"),
    }
}

#[test]
fn the_component_alone_knows_who_may_do_what() {
    let remove = in_a_group("group-remove", "admin");
    assert_eq!(refusal(json!({}), &remove), None);
    let admin = Command {
        peer_role: "admin",
        ..in_a_group("group-remove", "admin")
    };
    assert_eq!(refusal(json!({}), &admin).as_deref(), Some("forbidden"));
}

#[test]
fn a_configured_component_decides_by_its_configuration() {
    let facts = [Fact {
        name: "mention-all",
        value: "true",
    }];
    let everyone = Command {
        facts: &facts,
        ..in_a_group("send", "member")
    };
    assert_eq!(refusal(json!({}), &everyone), None);
    let admins = json!({"mention_all": "admins"});
    assert_eq!(refusal(admins, &everyone).as_deref(), Some("forbidden"));
}
