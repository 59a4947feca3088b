//! A plugin with commands, for the host's tests: it counts, speaks for its sender, refuses, breaks, and keeps what it is
//! told. `note TEXT` as a message is kept by its strategy, too.

use kith_plugin::{Answer, Command, Commands, Decision, Effect, HookDefault, Invocation, MessageStrategy, Plugin, Usage};

struct Clerk;

impl Plugin for Clerk {
    const SUMMARY: &'static str = "Does clerical work.";
    const CONFIG_SCHEMA: &'static str = r#"{"type": "object", "properties": {}}"#;

    fn hooks() -> Vec<HookDefault> {
        vec![HookDefault::new("command"), HookDefault::new("message-strategy")]
    }

    fn configure(_: &[u8]) -> Result<Self, String> {
        Ok(Self)
    }
}

fn noted() -> String {
    match kith_plugin::kv_get("note") {
        Ok(Some(note)) => String::from_utf8_lossy(&note).into_owned(),
        Ok(None) => "nothing".to_owned(),
        Err(why) => format!("{why:?}"),
    }
}

impl Commands for Clerk {
    fn names(&self) -> Vec<Usage> {
        ["count", "shout", "quiet", "facts", "no", "pass", "picture", "fall", "noted", "say-note"]
            .map(|name| Usage::new(name, "Clerical work"))
            .into()
    }

    fn run(&self, command: &Invocation) -> Answer {
        match command.name.as_str() {
            "count" => {
                let kept = kith_plugin::kv_get("count").ok().flatten();
                let count = kept.and_then(|count| String::from_utf8(count).ok()?.parse().ok()).unwrap_or(0_u64) + 1;
                Answer::reply(&count.to_string()).and(Effect::put("count", count.to_string()))
            }
            "shout" => Answer::send(&command.arguments.to_uppercase()).and(Effect::put("note", command.arguments.as_str())),
            "quiet" => Answer::done().and(Effect::put("note", command.arguments.as_str())),
            "facts" => Answer::reply(&format!(
                "{} {} {} {} {} {} {:?} {}",
                command.sender,
                command.sender_role,
                command.conversation_kind,
                command.peer,
                command.friends,
                command.arguments,
                command.mentions,
                command.reply_to,
            )),
            "no" => Answer::reject("not-today", "it is late").and(Effect::put("note", "refused")),
            "pass" => Answer::pass(),
            "picture" => Answer::reply_with(r#"{"type": "picture"}"#.to_owned()),
            "fall" => panic!("told to fall"),
            "say-note" => Answer::send(&noted()),
            _ => Answer::reply(&noted()),
        }
    }
}

impl MessageStrategy for Clerk {
    fn decide(&self, command: &Command) -> Decision {
        match command.text.strip_prefix("note ") {
            Some(note) => {
                let mut decision = Decision::pass();
                decision.effects.push(Effect::put("note", note));
                decision
            }
            None if command.text == "what is noted" => {
                Decision::replace(format!(r#"{{"type":"text","text":"{}"}}"#, noted()))
            }
            None => Decision::pass(),
        }
    }
}

kith_plugin::register_plugin!(Clerk: command, message_strategy);
