//! The hook `command`: what a user types as `/name …`,
//! answered instead of stored.

use crate::{Effect, Fact, Plugin, Reason};

/// A name the plugin answers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Without the slash: lower-case letters, digits and `-`, 1 to 32 of them.
    pub name: String,
    /// What it does, in at most 200 characters.
    pub summary: String,
}

impl Usage {
    pub fn new(name: &str, summary: &str) -> Self {
        Self {
            name: name.to_owned(),
            summary: summary.to_owned(),
        }
    }
}

/// A command as it was typed. See `wit/v1/command.wit` for each field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invocation {
    pub name: String,
    pub arguments: String,
    pub conversation: String,
    pub conversation_kind: String,
    pub sender: String,
    pub sender_role: String,
    pub peer: String,
    pub blocked: bool,
    pub blocking: bool,
    pub friends: bool,
    pub mentions: Vec<String>,
    pub reply_to: u64,
    pub at_ms: u64,
    pub facts: Vec<Fact>,
}

/// What is to be done about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, and there is nothing to say.
    Done,
    /// The sender alone sees this content (JSON).
    Reply(String),
    /// Send this content (JSON) in the text's place.
    Send(String),
    /// Send the text as it stands.
    Pass,
    Reject(Reason),
}

/// What a command is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub outcome: Outcome,
    /// Commit with the answer, or with the message that is sent.
    pub effects: Vec<Effect>,
}

impl Answer {
    fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            effects: Vec::new(),
        }
    }

    /// It is done, and there is nothing to say.
    pub fn done() -> Self {
        Self::of(Outcome::Done)
    }

    /// The sender alone sees this text.
    pub fn reply(text: &str) -> Self {
        Self::of(Outcome::Reply(text_content(text)))
    }

    /// The sender alone sees this content, the JSON object of the protocol.
    pub fn reply_with(content: String) -> Self {
        Self::of(Outcome::Reply(content))
    }

    /// Send this text as a message of the sender.
    pub fn send(text: &str) -> Self {
        Self::of(Outcome::Send(text_content(text)))
    }

    /// Send this content as a message of the sender.
    pub fn send_with(content: String) -> Self {
        Self::of(Outcome::Send(content))
    }

    /// Send the text as it stands, as if the name were unknown.
    pub fn pass() -> Self {
        Self::of(Outcome::Pass)
    }

    /// Refuse it; the codes are those of `Decision::reject`.
    pub fn reject(code: &str, text: &str) -> Self {
        Self::of(Outcome::Reject(Reason {
            code: code.to_owned(),
            text: text.to_owned(),
        }))
    }

    /// The same, with one more thing the host writes for the plugin.
    pub fn and(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}

fn text_content(text: &str) -> String {
    serde_json::json!({"type": "text", "text": text}).to_string()
}

/// Commands. Called on the sender's path: be quick, be pure.
///
/// ```
/// use kith_plugin::{Answer, Commands, HookDefault, Invocation, Plugin, Usage};
///
/// struct Shout;
///
/// impl Plugin for Shout {
///     const SUMMARY: &'static str = "Says it louder.";
///     const CONFIG_SCHEMA: &'static str = "{}";
///     fn hooks() -> Vec<HookDefault> { vec![HookDefault::new("command")] }
///     fn configure(_: &[u8]) -> Result<Self, String> { Ok(Self) }
/// }
///
/// impl Commands for Shout {
///     fn names(&self) -> Vec<Usage> { vec![Usage::new("shout", "Sends it in capitals")] }
///     fn run(&self, command: &Invocation) -> Answer {
///         match command.arguments.as_str() {
///             "" => Answer::reply("What shall I shout?"),
///             words => Answer::send(&words.to_uppercase()),
///         }
///     }
/// }
///
/// kith_plugin::register_plugin!(Shout: command);
///
/// let typed = Invocation { name: "shout".into(), arguments: "hey".into(), ..Invocation::default() };
/// assert_eq!(Shout.run(&typed), Answer::send("HEY"));
/// ```
pub trait Commands: Plugin {
    /// Which commands there are under the configuration. Asked once.
    fn names(&self) -> Vec<Usage>;

    /// Answers one of them.
    fn run(&self, command: &Invocation) -> Answer;
}
