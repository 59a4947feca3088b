//! Who may write to whom in a direct conversation, and how long one may take words back.
//!
//! Decides from the host's facts alone: blocks, whether the other one has answered, friendship, the target's age.

use kith_plugin::{Command, Decision, HookDefault, MessageStrategy, Plugin};
use serde::Deserialize;

/// What strangers may do before the other one has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Strangers {
    Allow,
    /// One message until the other one answers.
    FirstMessageOnly,
    FriendsOnly,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectStrategy {
    strangers: Strangers,
    first_message_max_chars: usize,
    recall_window_s: u64,
    edit_window_s: u64,
}

impl Plugin for DirectStrategy {
    const SUMMARY: &'static str =
        "Blocks, strangers' first messages, and the time to recall or edit.";
    const CONFIG_SCHEMA: &'static str = r#"{
        "type": "object",
        "properties": {
            "strangers": {
                "type": "string", "enum": ["allow", "first-message-only", "friends-only"], "default": "allow",
                "description": "who may write to somebody who is no friend and has not answered yet"
            },
            "first_message_max_chars": {
                "type": "integer", "minimum": 0, "default": 0,
                "description": "longest text of a stranger before an answer; 0 is no limit"
            },
            "recall_window_s": {
                "type": "integer", "minimum": 0, "default": 120, "description": "seconds a sender may recall a message"
            },
            "edit_window_s": {
                "type": "integer", "minimum": 0, "default": 86400, "description": "seconds a sender may edit a message"
            }
        }
    }"#;

    fn hooks() -> Vec<HookDefault> {
        vec![HookDefault {
            scope: "direct",
            ..HookDefault::new("message-strategy")
        }]
    }

    fn configure(config: &[u8]) -> Result<Self, String> {
        kith_plugin::from_json(config)
    }
}

impl MessageStrategy for DirectStrategy {
    fn decide(&self, command: &Command) -> Decision {
        match command.operation.as_str() {
            "send" => self.send(command),
            "recall" => self.own_within(command, self.recall_window_s, "recall"),
            "edit" if blocked(command) => refuse_blocked(),
            "edit" => self.own_within(command, self.edit_window_s, "edit"),
            "react" if blocked(command) => refuse_blocked(),
            _ => Decision::pass(),
        }
    }
}

impl DirectStrategy {
    fn send(&self, command: &Command) -> Decision {
        if blocked(command) {
            return refuse_blocked();
        }
        if command.friends || command.answered {
            return Decision::pass();
        }
        match self.strangers {
            Strangers::FriendsOnly => {
                return Decision::reject("not-friends", "only friends may write to each other");
            }
            Strangers::FirstMessageOnly if command.unanswered > 0 => {
                return Decision::reject(
                    "wait-for-answer",
                    "one message until the other one answers",
                );
            }
            Strangers::FirstMessageOnly | Strangers::Allow => {}
        }
        let most = self.first_message_max_chars;
        if most > 0 && command.text.chars().count() > most {
            return Decision::reject(
                "first-message-too-long",
                "a stranger's first message must be short",
            );
        }
        Decision::pass()
    }

    fn own_within(&self, command: &Command, window_s: u64, what: &str) -> Decision {
        if command.target_sender != command.sender {
            return Decision::reject(
                "forbidden",
                &format!("only its sender may {what} a message"),
            );
        }
        if command.target_age_ms > window_s.saturating_mul(1000) {
            return Decision::reject("too-late", &format!("the time to {what} this is over"));
        }
        Decision::pass()
    }
}

fn blocked(command: &Command) -> bool {
    command.blocked || command.blocking
}

fn refuse_blocked() -> Decision {
    Decision::reject("blocked", "one of the two has blocked the other")
}

kith_plugin::register_plugin!(DirectStrategy: message_strategy);

#[cfg(test)]
mod tests {
    use super::*;
    use kith_plugin::Verdict;

    fn strategy(strangers: &str) -> DirectStrategy {
        let config = format!(
            r#"{{"strangers":"{strangers}","first_message_max_chars":5,"recall_window_s":120,"edit_window_s":60}}"#
        );
        DirectStrategy::configure(config.as_bytes()).expect("a good configuration")
    }

    fn code(decision: &Decision) -> Option<&str> {
        match &decision.verdict {
            Verdict::Reject(reason) => Some(&reason.code),
            _ => None,
        }
    }

    fn send() -> Command {
        Command {
            operation: "send".into(),
            sender: "1".into(),
            text: "hi".into(),
            ..Command::default()
        }
    }

    #[test]
    fn a_block_in_either_direction_ends_writing() {
        for command in [
            Command {
                blocked: true,
                ..send()
            },
            Command {
                blocking: true,
                ..send()
            },
        ] {
            assert_eq!(code(&strategy("allow").decide(&command)), Some("blocked"));
            let react = Command {
                operation: "react".into(),
                ..command
            };
            assert_eq!(code(&strategy("allow").decide(&react)), Some("blocked"));
        }
    }

    #[test]
    fn a_stranger_waits_for_the_answer_where_the_configuration_says_so() {
        let again = Command {
            unanswered: 1,
            ..send()
        };
        assert_eq!(code(&strategy("allow").decide(&again)), None);
        assert_eq!(code(&strategy("first-message-only").decide(&send())), None);
        assert_eq!(
            code(&strategy("first-message-only").decide(&again)),
            Some("wait-for-answer")
        );
        let answered = Command {
            answered: true,
            ..again.clone()
        };
        assert_eq!(
            code(&strategy("first-message-only").decide(&answered)),
            None
        );
        assert_eq!(
            code(&strategy("friends-only").decide(&send())),
            Some("not-friends")
        );
        let friend = Command {
            friends: true,
            ..again
        };
        assert_eq!(code(&strategy("friends-only").decide(&friend)), None);
    }

    #[test]
    fn a_strangers_first_message_is_short() {
        let long = Command {
            text: "好".repeat(6),
            ..send()
        };
        assert_eq!(
            code(&strategy("allow").decide(&long)),
            Some("first-message-too-long")
        );
        assert_eq!(
            code(&strategy("allow").decide(&Command {
                answered: true,
                ..long
            })),
            None
        );
    }

    #[test]
    fn only_the_sender_recalls_and_only_in_time() {
        let recall = |target: &str, age| Command {
            operation: "recall".into(),
            target_sender: target.into(),
            target_age_ms: age,
            ..send()
        };
        assert_eq!(code(&strategy("allow").decide(&recall("1", 120_000))), None);
        assert_eq!(
            code(&strategy("allow").decide(&recall("1", 120_001))),
            Some("too-late")
        );
        assert_eq!(
            code(&strategy("allow").decide(&recall("2", 1))),
            Some("forbidden")
        );
    }

    #[test]
    fn a_wrong_configuration_is_refused_with_what_is_wrong() {
        assert!(
            DirectStrategy::configure(br#"{"strangers":"maybe"}"#)
                .is_err_and(|why| why.contains("maybe"))
        );
    }
}
