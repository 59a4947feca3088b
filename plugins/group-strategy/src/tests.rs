//! What the strategy decides, natively,
//! rule by rule.

use kith_plugin::{Command, Decision, Fact, MessageStrategy, Plugin, Verdict};

use crate::GroupStrategy;

fn strategy(change: &str) -> GroupStrategy {
    let schema: serde_json::Value =
        serde_json::from_str(GroupStrategy::CONFIG_SCHEMA).expect("the schema is JSON");
    let mut config = serde_json::Map::new();
    for (name, property) in schema["properties"].as_object().expect("properties") {
        config.insert(name.clone(), property["default"].clone());
    }
    let change: serde_json::Value = serde_json::from_str(change).expect("JSON");
    config.extend(change.as_object().expect("an object").clone());
    let config = serde_json::to_vec(&config).expect("encodes");
    GroupStrategy::configure(&config).expect("a good configuration")
}

fn command(operation: &str, role: &str) -> Command {
    Command {
        operation: operation.into(),
        conversation_kind: "group".into(),
        sender: "1".into(),
        sender_role: role.into(),
        ..Command::default()
    }
}

/// About another member.
fn about(operation: &str, role: &str, peer_role: &str) -> Command {
    Command {
        peer: "2".into(),
        peer_role: peer_role.into(),
        ..command(operation, role)
    }
}

fn with_fact(mut command: Command, name: &str, value: &str) -> Command {
    command.facts.push(Fact {
        name: name.into(),
        value: value.into(),
    });
    command
}

fn code(decision: &Decision) -> Option<&str> {
    match &decision.verdict {
        Verdict::Reject(reason) => Some(&reason.code),
        _ => None,
    }
}

#[test]
fn those_in_charge_remove_and_mute_lower_roles_alone() {
    let strategy = strategy("{}");
    for operation in ["group-remove", "group-mute"] {
        for (role, peer, expected) in [
            ("owner", "admin", None),
            ("owner", "member", None),
            ("admin", "member", None),
            ("admin", "admin", Some("forbidden")),
            ("admin", "owner", Some("forbidden")),
            ("member", "member", Some("forbidden")),
            ("", "member", Some("forbidden")),
        ] {
            let decision = strategy.decide(&about(operation, role, peer));
            assert_eq!(code(&decision), expected, "{operation} {role} {peer}");
        }
    }
}

#[test]
fn one_leaves_and_names_oneself_whatever_the_role() {
    let strategy = strategy("{}");
    for operation in ["group-remove", "group-settings"] {
        let oneself = Command {
            peer: "1".into(),
            ..about(operation, "member", "member")
        };
        assert_eq!(code(&strategy.decide(&oneself)), None, "{operation}");
        let other = about(operation, "member", "member");
        assert_eq!(code(&strategy.decide(&other)), Some("forbidden"));
    }
}

#[test]
fn settings_take_an_admin_roles_and_the_end_take_the_owner() {
    let strategy = strategy("{}");
    for (operation, least) in [
        ("group-title", "admin"),
        ("group-settings", "admin"),
        ("group-mute", "admin"),
        ("group-role", "owner"),
        ("group-dissolve", "owner"),
    ] {
        for role in ["member", "admin", "owner"] {
            let allowed = role == "owner" || role == least;
            let decision = strategy.decide(&command(operation, role));
            assert_eq!(code(&decision).is_none(), allowed, "{operation} {role}");
        }
    }
}

#[test]
fn any_member_adds_unless_a_block_an_approval_or_the_configuration_stands_against_it() {
    let add = about("group-add", "member", "");
    assert_eq!(code(&strategy("{}").decide(&add)), None);
    for blocked in [
        Command {
            blocked: true,
            ..add.clone()
        },
        Command {
            blocking: true,
            ..add.clone()
        },
    ] {
        assert_eq!(code(&strategy("{}").decide(&blocked)), Some("blocked"));
    }
    let approval = with_fact(add.clone(), "join", "approval");
    assert_eq!(code(&strategy("{}").decide(&approval)), Some("forbidden"));
    let admins = strategy(r#"{"add":"admins"}"#);
    assert_eq!(code(&admins.decide(&add)), Some("forbidden"));
    let friends = strategy(r#"{"strangers":"friends-only"}"#);
    assert_eq!(code(&friends.decide(&add)), Some("not-friends"));
    let friend = Command {
        friends: true,
        ..add
    };
    assert_eq!(code(&friends.decide(&friend)), None);
}

#[test]
fn whoever_asked_is_let_in_by_an_admin_though_the_two_have_blocked_each_other() {
    let asked = |role| {
        let command = Command {
            blocked: true,
            ..about("group-add", role, "")
        };
        with_fact(command, "requested", "true")
    };
    assert_eq!(code(&strategy("{}").decide(&asked("admin"))), None);
    let decision = strategy("{}").decide(&asked("member"));
    assert_eq!(code(&decision), Some("forbidden"));
}

#[test]
fn mentioning_everyone_is_for_whom_the_configuration_says() {
    let all = |role| with_fact(command("send", role), "mention-all", "true");
    assert_eq!(code(&strategy("{}").decide(&all("member"))), None);
    let admins = strategy(r#"{"mention_all":"admins"}"#);
    assert_eq!(code(&admins.decide(&all("member"))), Some("forbidden"));
    assert_eq!(code(&admins.decide(&all("admin"))), None);
    assert_eq!(code(&admins.decide(&command("send", "member"))), None);
}

#[test]
fn who_is_muted_neither_sends_nor_edits_nor_reacts() {
    for operation in ["send", "edit", "react"] {
        let muted = Command {
            muted: true,
            ..command(operation, "member")
        };
        assert_eq!(code(&strategy("{}").decide(&muted)), Some("muted"));
    }
}

#[test]
fn a_member_recalls_its_own_in_time_and_those_in_charge_anything_at_any_time() {
    let recall = |role: &str, target: &str, age| Command {
        target_sender: target.into(),
        target_age_ms: age,
        ..command("recall", role)
    };
    let strategy = strategy("{}");
    assert_eq!(
        code(&strategy.decide(&recall("member", "1", 120_000))),
        None
    );
    let late = strategy.decide(&recall("member", "1", 120_001));
    assert_eq!(code(&late), Some("too-late"));
    let others = strategy.decide(&recall("member", "2", 1));
    assert_eq!(code(&others), Some("forbidden"));
    let any = strategy.decide(&recall("admin", "2", u64::MAX));
    assert_eq!(code(&any), None);
    let edit = Command {
        operation: "edit".into(),
        ..recall("owner", "2", 1)
    };
    assert_eq!(
        code(&strategy.decide(&edit)),
        Some("forbidden"),
        "nobody edits another one's words"
    );
}

#[test]
fn a_wrong_configuration_is_refused_with_what_is_wrong() {
    assert!(
        GroupStrategy::configure(br#"{"add":"nobody"}"#).is_err_and(|why| why.contains("nobody"))
    );
}
