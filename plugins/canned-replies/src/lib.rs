//! Commands that an administrator writes: a name, and the text it is answered with, for its sender alone or for
//! everybody in the conversation.

use kith_plugin::{Answer, Commands, HookDefault, Invocation, Plugin, Usage};

/// Where what was typed behind the name stands in a text.
const ARGUMENTS: &str = "{arguments}";

#[derive(Debug, serde::Deserialize)]
struct Config {
    #[serde(default)]
    replies: Vec<Reply>,
}

#[derive(Debug, serde::Deserialize)]
struct Reply {
    name: String,
    text: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    public: bool,
}

pub struct CannedReplies {
    replies: Vec<Reply>,
}

impl Plugin for CannedReplies {
    const SUMMARY: &'static str = "Answers commands with texts that an administrator has written.";
    const CONFIG_SCHEMA: &'static str = r#"{
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "replies": {
                "type": "array",
                "default": [],
                "description": "the commands",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["name", "text"],
                    "properties": {
                        "name": { "type": "string", "description": "without the slash" },
                        "text": { "type": "string", "description": "the answer; {arguments} is what stands behind the name" },
                        "summary": { "type": "string", "default": "", "description": "what the command does" },
                        "public": { "type": "boolean", "default": false, "description": "sent to everybody in the conversation" }
                    }
                }
            }
        }
    }"#;

    fn hooks() -> Vec<HookDefault> {
        vec![HookDefault::new("command")]
    }

    fn configure(config: &[u8]) -> Result<Self, String> {
        let Config { replies } = kith_plugin::from_json(config)?;
        if let Some(empty) = replies.iter().find(|reply| reply.text.trim().is_empty()) {
            return Err(format!("the text of {} is empty", empty.name));
        }
        Ok(Self { replies })
    }
}

impl Commands for CannedReplies {
    fn names(&self) -> Vec<Usage> {
        let usage = |reply: &Reply| Usage::new(&reply.name, &reply.summary);
        self.replies.iter().map(usage).collect()
    }

    fn run(&self, command: &Invocation) -> Answer {
        let known = self.replies.iter().find(|reply| reply.name == command.name);
        let Some(reply) = known else {
            return Answer::pass();
        };
        let text = reply.text.replace(ARGUMENTS, &command.arguments);
        match reply.public {
            true => Answer::send(&text),
            false => Answer::reply(&text),
        }
    }
}

kith_plugin::register_plugin!(CannedReplies: command);

#[cfg(test)]
mod tests {
    use kith_plugin::Outcome;

    use super::*;

    fn plugin(config: &str) -> Result<CannedReplies, String> {
        CannedReplies::configure(config.as_bytes())
    }

    #[test]
    fn each_command_has_its_text() {
        let plugin = plugin(
            r#"{"replies": [{"name": "hours", "text": "9 to 5"}, {"name": "wave", "text": "waves {arguments}", "public": true}]}"#,
        )
        .expect("a configuration");
        let run = |name: &str, arguments: &str| {
            let typed = Invocation {
                name: name.to_owned(),
                arguments: arguments.to_owned(),
                ..Invocation::default()
            };
            plugin.run(&typed)
        };
        assert_eq!(run("hours", "now"), Answer::reply("9 to 5"));
        assert_eq!(run("wave", "at bob"), Answer::send("waves at bob"));
        assert_eq!(run("other", "").outcome, Outcome::Pass);
        let names: Vec<String> = plugin.names().into_iter().map(|usage| usage.name).collect();
        assert_eq!(names, ["hours", "wave"]);
    }

    #[test]
    fn a_text_that_says_nothing_is_refused_by_its_name() {
        let refused = plugin(r#"{"replies": [{"name": "hours", "text": " "}]}"#);
        assert_eq!(refused.err().as_deref(), Some("the text of hours is empty"));
    }
}
