//! The hook `message-strategy`: whether a command may happen,
//! who gets it, whether it is kept.

use crate::Plugin;

/// What a client asks for, and what the host knows about it. See `wit/v1/message-strategy.wit` for each field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    pub operation: String,
    pub conversation: String,
    pub conversation_kind: String,
    pub sender: String,
    pub sender_role: String,
    pub peer: String,
    pub peer_role: String,
    pub blocked: bool,
    pub blocking: bool,
    pub friends: bool,
    pub muted: bool,
    pub unanswered: u32,
    pub answered: bool,
    pub content_type: String,
    pub text: String,
    pub at_ms: u64,
    pub target_sender: String,
    pub target_age_ms: u64,
    pub recent: Vec<RecentEntry>,
    pub facts: Vec<Fact>,
}

/// An entry already in the conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentEntry {
    pub seq: u64,
    pub sender: String,
    pub at_ms: u64,
    pub kind: String,
    pub text: String,
}

/// Something the host tells beside the fixed fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fact {
    pub name: String,
    pub value: String,
}

/// Why: a code for programs, a text for an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub code: String,
    pub text: String,
}

/// Whether and how a command goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Go on with this content (JSON) instead.
    Replace(String),
    Reject(Reason),
    Hold(Reason),
    Drop(Reason),
}

/// A write that commits with the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// `kv-put` or `kv-delete`.
    pub kind: String,
    pub key: String,
    pub value: Vec<u8>,
}

impl Effect {
    /// Keep a value under a key of the plugin's own.
    pub fn put(key: &str, value: impl Into<Vec<u8>>) -> Self {
        Self {
            kind: "kv-put".to_owned(),
            key: key.to_owned(),
            value: value.into(),
        }
    }

    /// Forget what is kept under a key.
    pub fn delete(key: &str) -> Self {
        Self {
            kind: "kv-delete".to_owned(),
            key: key.to_owned(),
            value: Vec::new(),
        }
    }
}

/// What is to happen with a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Verdict,
    /// Who is to get it; none means every member.
    pub audience: Option<Vec<String>>,
    /// Members who are away are not to be notified.
    pub silent: bool,
    pub recall_window_ms: Option<u64>,
    pub effects: Vec<Effect>,
}

impl Decision {
    fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            audience: None,
            silent: false,
            recall_window_ms: None,
            effects: Vec::new(),
        }
    }

    /// Go on as it stands.
    pub fn pass() -> Self {
        Self::of(Verdict::Pass)
    }

    /// Refuse. The codes `blocked`, `muted`, `forbidden`, `too-late` and `rate-limited` reach the client as the
    /// protocol's own errors; any other as `rejected` with it as the reason.
    pub fn reject(code: &str, text: &str) -> Self {
        Self::of(Verdict::Reject(Reason {
            code: code.to_owned(),
            text: text.to_owned(),
        }))
    }

    /// Keep it back until an administrator decides.
    pub fn hold(code: &str, text: &str) -> Self {
        Self::of(Verdict::Hold(Reason {
            code: code.to_owned(),
            text: text.to_owned(),
        }))
    }

    /// Take it without keeping it.
    pub fn drop(code: &str, text: &str) -> Self {
        Self::of(Verdict::Drop(Reason {
            code: code.to_owned(),
            text: text.to_owned(),
        }))
    }

    /// Go on with this content, the JSON object of the protocol.
    pub fn replace(content: String) -> Self {
        Self::of(Verdict::Replace(content))
    }
}

/// A message strategy. Called once for every command, on the sender's path: be quick, be pure.
///
/// ```
/// use kith_plugin::{Command, Decision, HookDefault, MessageStrategy, Plugin};
///
/// struct Brief;
///
/// impl Plugin for Brief {
///     const SUMMARY: &'static str = "Nobody says much.";
///     const CONFIG_SCHEMA: &'static str = "{}";
///     fn hooks() -> Vec<HookDefault> { vec![HookDefault::new("message-strategy")] }
///     fn configure(_: &[u8]) -> Result<Self, String> { Ok(Self) }
/// }
///
/// impl MessageStrategy for Brief {
///     fn decide(&self, command: &Command) -> Decision {
///         match command.text.chars().count() {
///             0..=280 => Decision::pass(),
///             _ => Decision::reject("too-long", "280 characters are enough"),
///         }
///     }
/// }
///
/// kith_plugin::register_plugin!(Brief: message_strategy);
///
/// let said = |text: String| Command { operation: "send".into(), text, ..Command::default() };
/// assert_eq!(Brief.decide(&said("hello".into())), Decision::pass());
/// assert_ne!(Brief.decide(&said("so ".repeat(100))), Decision::pass());
/// ```
pub trait MessageStrategy: Plugin {
    /// Lets everything pass unless it is written otherwise.
    fn decide(&self, command: &Command) -> Decision {
        let _ = command;
        Decision::pass()
    }
}
