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

/// Who may ask to be a friend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FriendRequests {
    Everyone,
    Nobody,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectStrategy {
    strangers: Strangers,
    first_message_max_chars: usize,
    friend_requests: FriendRequests,
    refusals_most: u32,
    recall_window_s: u64,
    edit_window_s: u64,
}

impl Plugin for DirectStrategy {
    const SUMMARY: &'static str =
        "Blocks, strangers' first messages, friend requests, and the time to recall or edit.";
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
            "friend_requests": {
                "type": "string", "enum": ["everyone", "nobody"], "default": "everyone",
                "description": "who may ask to be a friend"
            },
            "refusals_most": {
                "type": "integer", "minimum": 0, "default": 3,
                "description": "after so many refusals by the same user further requests reach nobody; 0 is no limit"
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
            "friend-request" => self.friend_request(command),
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

    /// The fact `accepting` says that it is a request being accepted; `refusals`, how often the peer refused the sender.
    fn friend_request(&self, command: &Command) -> Decision {
        if blocked(command) {
            return refuse_blocked();
        }
        if fact(command, "accepting").is_some() {
            return Decision::pass();
        }
        if self.friend_requests == FriendRequests::Nobody {
            return Decision::reject("friend-requests-off", "nobody may ask to be a friend here");
        }
        let refusals: u32 = fact(command, "refusals")
            .and_then(|count| count.parse().ok())
            .unwrap_or(0);
        if self.refusals_most > 0 && refusals >= self.refusals_most {
            return Decision::drop("refused-before", "the other one has said no often enough");
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

fn fact<'a>(command: &'a Command, name: &str) -> Option<&'a str> {
    let mut facts = command.facts.iter();
    let found = facts.find(|fact| fact.name == name)?;
    Some(&found.value)
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
    use kith_plugin::{Fact, Verdict};

    fn strategy(strangers: &str) -> DirectStrategy {
        configured(strangers, "everyone")
    }

    fn configured(strangers: &str, friend_requests: &str) -> DirectStrategy {
        let config = format!(
            r#"{{"strangers":"{strangers}","first_message_max_chars":5,"friend_requests":"{friend_requests}",
                "refusals_most":2,"recall_window_s":120,"edit_window_s":60}}"#
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
    fn friends_are_asked_for_where_it_is_allowed_and_not_again_and_again() {
        let request = |facts: &[(&str, &str)]| Command {
            operation: "friend-request".into(),
            facts: facts
                .iter()
                .map(|(name, value)| Fact {
                    name: (*name).into(),
                    value: (*value).into(),
                })
                .collect(),
            ..send()
        };
        let (open, closed) = (strategy("allow"), configured("allow", "nobody"));
        assert_eq!(open.decide(&request(&[])).verdict, Verdict::Pass);
        assert_eq!(
            open.decide(&request(&[("refusals", "1")])).verdict,
            Verdict::Pass
        );
        let often = open.decide(&request(&[("refusals", "2")]));
        assert!(matches!(often.verdict, Verdict::Drop(_)));
        assert_eq!(
            code(&closed.decide(&request(&[]))),
            Some("friend-requests-off")
        );
        assert_eq!(
            closed.decide(&request(&[("accepting", "7")])).verdict,
            Verdict::Pass
        );
        for facts in [&[][..], &[("accepting", "7")]] {
            let blocked = Command {
                blocked: true,
                ..request(facts)
            };
            assert_eq!(code(&open.decide(&blocked)), Some("blocked"));
        }
    }

    #[test]
    fn a_wrong_configuration_is_refused_with_what_is_wrong() {
        assert!(
            DirectStrategy::configure(br#"{"strangers":"maybe"}"#)
                .is_err_and(|why| why.contains("maybe"))
        );
    }
}
