//! Commands: a text `/name …` whose name a plugin has bound is answered instead of stored. One slash more before such
//! a name makes a message of it, without that slash. Nothing here is asked about texts that begin otherwise.

use serde_json::value::RawValue;

use super::asked;
use super::decide::{self, Question, write};
use crate::content::{Content, ContentLimits};
use crate::entry::{HookRead, HookTrace};
use crate::plugins::{self, CommandVerdict, Invocation, Judge, Scope, Site};
use crate::refusal::Refusal;
use crate::store::PluginWrite;

/// What a text that begins with a slash comes to.
pub enum Meaning {
    /// A message.
    Message(Aside),
    /// A command that was answered.
    Answered(Answer),
}

/// What goes with a message because of a command.
#[derive(Default)]
pub struct Aside {
    /// In place of what was typed.
    pub content: Option<Content>,
    pub effects: Vec<PluginWrite>,
    pub hooks: Vec<HookTrace>,
    pub reads: Vec<HookRead>,
}

/// What a command is answered with.
pub struct Answer {
    /// For its sender alone.
    pub reply: Option<Box<RawValue>>,
    pub effects: Vec<PluginWrite>,
    pub generation: u64,
}

/// Finds out, asking the plugin that has bound the name (I4). Blocks for as long as the guest computes.
pub fn meaning(
    judge: &dyn Judge,
    question: &Question<'_>,
    limits: &ContentLimits,
) -> Result<Meaning, Refusal> {
    let scope = decide::scope(question.place.kind);
    let conversation = question.place.conversation.to_string();
    let site = Site {
        scope,
        conversation: &conversation,
    };
    match typed(question.text, |name| judge.binds(site, name)) {
        Typed::Message => Ok(Meaning::Message(Aside::default())),
        Typed::Escaped(text) => {
            let content = question.content.map(|content| content.with_text(text));
            Ok(Meaning::Message(Aside {
                content,
                ..Aside::default()
            }))
        }
        Typed::Command { name, arguments } => {
            run(judge, question, (scope, name, arguments), limits)
        }
    }
}

fn run(
    judge: &dyn Judge,
    question: &Question<'_>,
    (scope, name, arguments): (Scope, &str, &str),
    limits: &ContentLimits,
) -> Result<Meaning, Refusal> {
    let place = question.place;
    let conversation = place.conversation.to_string();
    let sender = question.author.to_string();
    let peer = place.peer.map(|peer| peer.to_string()).unwrap_or_default();
    let mentions: Vec<&str> = question
        .content
        .into_iter()
        .flat_map(Content::mentions)
        .collect();
    let ruling = judge.command(
        scope,
        &Invocation {
            name,
            arguments,
            conversation: &conversation,
            conversation_kind: place.kind.as_str(),
            sender: &sender,
            sender_role: place.role(),
            peer: &peer,
            blocked: place.relation.blocked,
            blocking: place.relation.blocking,
            friends: place.relation.friends,
            mentions: &mentions,
            reply_to: question.reply_to.unwrap_or_default(),
            at_ms: question.at_ms,
        },
    );
    let effects = ruling.effects.into_iter().map(write).collect();
    let answered = |reply, effects| {
        Ok(Meaning::Answered(Answer {
            reply,
            effects,
            generation: judge.generation(),
        }))
    };
    let (hooks, reads) = (ruling.hooks, ruling.reads);
    match ruling.verdict {
        CommandVerdict::Done => {
            not_stored(judge, question, (hooks, reads));
            answered(None, effects)
        }
        CommandVerdict::Reply(json) => {
            not_stored(judge, question, (hooks, reads));
            let content = decide::replacement(&json, None, limits)?;
            answered(Some(content.to_raw()), effects)
        }
        CommandVerdict::Send(json) => Ok(Meaning::Message(Aside {
            content: Some(decide::replacement(&json, None, limits)?),
            effects,
            hooks,
            reads,
        })),
        CommandVerdict::Pass => Ok(Meaning::Message(Aside {
            content: None,
            effects,
            hooks,
            reads,
        })),
        CommandVerdict::Reject { by, reason } => {
            not_stored(judge, question, (hooks, reads));
            Err(Refusal::by_plugin(&by, &reason))
        }
        CommandVerdict::Unavailable { by } => {
            not_stored(judge, question, (hooks, reads));
            Err(Refusal::unavailable(format!(
                "the plugin {by} could not answer this; nothing was stored"
            )))
        }
    }
}

/// Tells of what ends here, for a replay.
fn not_stored(
    judge: &dyn Judge,
    question: &Question<'_>,
    (hooks, reads): (Vec<HookTrace>, Vec<HookRead>),
) {
    let mut record = plugins::record(judge.generation(), hooks, &[]);
    asked::note(&mut record, question, reads);
    asked::not_stored(judge, question, record);
}

/// The name and the arguments of a text that would be a command, were the name bound.
pub fn invoked(text: &str) -> Option<(&str, &str)> {
    match typed(text, |_| true) {
        Typed::Command { name, arguments } => Some((name, arguments)),
        Typed::Escaped(_) | Typed::Message => None,
    }
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
enum Typed<'a> {
    Command {
        name: &'a str,
        arguments: &'a str,
    },
    /// The text without the slash that makes it none.
    Escaped(&'a str),
    Message,
}

fn typed(text: &str, is_bound: impl Fn(&str) -> bool) -> Typed<'_> {
    let bare = text.trim_start_matches('/');
    let slashes = text.len() - bare.len();
    let end = bare.find(char::is_whitespace).unwrap_or(bare.len());
    let (name, rest) = bare.split_at(end);
    if slashes == 0 || name.is_empty() || !is_bound(name) {
        return Typed::Message;
    }
    match slashes {
        1 => Typed::Command {
            name,
            arguments: rest.trim(),
        },
        _ => Typed::Escaped(&text[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_name_behind_one_slash_is_a_command_and_behind_more_a_text() {
        let read = |text| typed(text, |name| name == "roll");
        let command = |arguments| Typed::Command {
            name: "roll",
            arguments,
        };
        assert_eq!(read("/roll"), command(""));
        assert_eq!(read("/roll  2 d 6 \n"), command("2 d 6"));
        assert_eq!(read("/roll\n1"), command("1"));
        assert_eq!(read("//roll 1"), Typed::Escaped("/roll 1"));
        assert_eq!(read("///roll"), Typed::Escaped("//roll"));
        for text in [
            "roll", "/", "/ roll", "/rolls", "/Roll", "/roll/", "//other", "// roll",
        ] {
            assert_eq!(read(text), Typed::Message, "{text}");
        }
    }
}
