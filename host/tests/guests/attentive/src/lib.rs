//! A strategy that lets nobody say again what was said among the last three entries.
//! For the host's tests of what a strategy is shown.

use kith_plugin::{Command, Decision, HookDefault, MessageStrategy, Plugin};

struct Attentive;

impl Plugin for Attentive {
    const SUMMARY: &'static str = "Refuses what was just said.";
    const CONFIG_SCHEMA: &'static str = r#"{"type": "object", "properties": {}}"#;

    fn hooks() -> Vec<HookDefault> {
        vec![HookDefault {
            recent: 3,
            ..HookDefault::new("message-strategy")
        }]
    }

    fn configure(_: &[u8]) -> Result<Self, String> {
        Ok(Self)
    }
}

impl MessageStrategy for Attentive {
    fn decide(&self, command: &Command) -> Decision {
        assert!(command.recent.len() <= 3, "more than was asked for");
        assert!(command.recent.is_sorted_by_key(|entry| entry.seq), "oldest first");
        let said = command.recent.iter().any(|entry| entry.text == command.text);
        match command.operation.as_str() {
            "send" | "edit" if said => Decision::reject("said-before", "it was just said"),
            _ => Decision::pass(),
        }
    }
}

kith_plugin::register_plugin!(Attentive: message_strategy);
