//! The real component in the test kit: its defaults,
//! and what it decides about a command.

use kith_testkit::Ask;
use serde_json::json;

fn refusal(config: serde_json::Value, ask: &Ask<'_>) -> Option<String> {
    let strategy = kith_testkit::load(kith_testkit::built("group-strategy"), config)
        .expect("built by `cargo xtask build`");
    strategy.decide(ask).expect("decides")
}

#[test]
fn the_component_alone_knows_who_may_do_what() {
    let remove = Ask {
        operation: "group-remove",
        conversation_kind: "group",
        sender: "1",
        sender_role: "admin",
        peer: "2",
        peer_role: "member",
        ..Ask::default()
    };
    assert_eq!(refusal(json!({}), &remove), None);
    let admin = Ask {
        peer_role: "admin",
        ..remove.clone()
    };
    assert_eq!(refusal(json!({}), &admin).as_deref(), Some("forbidden"));
}

#[test]
fn a_configured_component_decides_by_its_configuration() {
    let everyone = Ask {
        operation: "send",
        conversation_kind: "group",
        sender: "1",
        sender_role: "member",
        facts: &[("mention-all", "true")],
        ..Ask::default()
    };
    assert_eq!(refusal(json!({}), &everyone), None);
    let admins = json!({"mention_all": "admins"});
    assert_eq!(refusal(admins, &everyone).as_deref(), Some("forbidden"));
}
