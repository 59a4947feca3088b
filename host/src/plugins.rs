//! The plugin seam: what the journey asks of a generation of plugins, and what it gets back.
//!
//! Plugins decide, the host acts: a judgement is data. This file knows no WASM; `plugins/wasm.rs` does.

pub mod after;
pub mod bindings;
mod flags;
mod lapsed;
pub mod lines;
pub mod measured;
pub mod replay;
pub mod rollout;
pub mod schedule;
pub mod values;
pub mod wasm;
pub mod words;

use std::sync::Arc;

pub use kith_runtime::When;
use tokio::sync::watch;

use crate::entry::{DecisionRecord, HookRead, HookTrace};
use crate::store::HoldCause;
use replay::Attempt;

/// What a client asks for, as `message-strategy` sees it. Ids are text.
#[derive(Debug, Clone, Default)]
pub struct Command<'a> {
    pub operation: &'a str,
    pub conversation: &'a str,
    pub conversation_kind: &'a str,
    pub sender: &'a str,
    pub sender_role: &'a str,
    pub peer: &'a str,
    pub peer_role: &'a str,
    pub blocked: bool,
    pub blocking: bool,
    pub friends: bool,
    pub muted: bool,
    pub unanswered: u32,
    pub answered: bool,
    pub content_type: &'a str,
    pub text: &'a str,
    pub at_ms: u64,
    pub target_sender: &'a str,
    pub target_age_ms: u64,
    /// The newest entries, oldest first, as many as any strategy asks for.
    pub recent: &'a [Recent],
    pub facts: &'a [(&'a str, &'a str)],
    /// The content as compact JSON, for a chain of strategies that replace it.
    pub content: &'a str,
}

/// An entry already in the conversation, as a strategy sees it.
#[derive(Debug, Clone)]
pub struct Recent {
    pub seq: u64,
    pub sender: String,
    pub at_ms: u64,
    /// The content's type; `recalled`, `edit`, `recall`, `react` or `system` of what is no standing message.
    pub kind: String,
    pub text: String,
}

/// A command that a user typed, as the hook `command` sees it. Ids are text.
#[derive(Debug, Clone, Default)]
pub struct Invocation<'a> {
    pub name: &'a str,
    pub arguments: &'a str,
    pub conversation: &'a str,
    pub conversation_kind: &'a str,
    pub sender: &'a str,
    pub sender_role: &'a str,
    pub peer: &'a str,
    pub blocked: bool,
    pub blocking: bool,
    pub friends: bool,
    pub mentions: &'a [&'a str],
    /// 0 for none.
    pub reply_to: u64,
    pub at_ms: u64,
}

/// A text about to be stored, and where it will stand.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    pub place: &'a str,
    pub text: &'a str,
}

/// Which bindings apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Direct,
    Group,
    Own,
    /// No conversation: names, titles, announcements.
    Outside,
}

/// Where something happens: in which kind of conversation, and in which one, by its id (empty where there is none).
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    pub scope: Scope,
    pub conversation: &'a str,
}

impl From<Scope> for Site<'static> {
    fn from(scope: Scope) -> Self {
        Self {
            scope,
            conversation: "",
        }
    }
}

/// What a chain of hooks decided about going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Reject {
        by: String,
        reason: String,
    },
    Hold {
        by: String,
        reason: String,
        cause: HoldCause,
    },
    Drop {
        by: String,
        reason: String,
    },
    /// A hook failed or is absent and its binding says `unavailable`.
    Unavailable {
        by: String,
    },
}

/// A write a plugin wants committed with the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Where the plugin's keys are, and how many bytes it may have there.
    pub namespace: Arc<str>,
    pub quota: u64,
    /// `kv-put` or `kv-delete`.
    pub put: bool,
    pub key: String,
    pub value: Vec<u8>,
}

/// What the strategies decided about a command.
#[derive(Debug, Clone)]
pub struct StrategyRuling {
    pub verdict: Verdict,
    /// The content in place of what was sent, as JSON.
    pub content: Option<String>,
    /// User ids as text; `None` is every member.
    pub audience: Option<Vec<String>>,
    /// Members who are away are not to be notified.
    pub silent: bool,
    pub recall_window_ms: Option<u64>,
    pub effects: Vec<Effect>,
    pub hooks: Vec<HookTrace>,
    pub reads: Vec<HookRead>,
}

/// What is to be done about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandVerdict {
    /// It is done; there is nothing to say.
    Done,
    /// Its sender alone gets this content, as JSON.
    Reply(String),
    /// This content, as JSON, is sent in its place.
    Send(String),
    /// It is sent as it stands.
    Pass,
    Reject {
        by: String,
        reason: String,
    },
    Unavailable {
        by: String,
    },
}

/// What the plugin that has bound a command decided.
#[derive(Debug, Clone)]
pub struct CommandRuling {
    pub verdict: CommandVerdict,
    pub effects: Vec<Effect>,
    pub hooks: Vec<HookTrace>,
    pub reads: Vec<HookRead>,
}

/// Something the rules are asked about or told, as the hook `admin-rule` sees it. Ids are text.
#[derive(Debug, Clone, Default)]
pub struct Occasion {
    pub kind: &'static str,
    pub user: String,
    pub username: String,
    pub actor: String,
    pub address: String,
    pub device: String,
    pub device_kind: String,
    pub conversation: String,
    pub what: String,
    pub text: String,
    pub at_ms: u64,
}

/// Whether what is asked may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    Abstain,
    Allow,
    Deny { by: String, reason: String },
    RequireApproval { by: String, reason: String },
    Unavailable { by: String },
}

/// Something a rule wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleAction {
    pub by: String,
    pub act: RuleAct,
    /// Empty is the occasion's own.
    pub subject: String,
    /// Of a value: bytes its namespace, which is in `by`, may hold.
    pub quota: u64,
    /// 0 is for ever.
    pub for_ms: u64,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAct {
    BanUser,
    BanAddress,
    BanDevice,
    MuteUser,
    EndSessions,
    Label,
    Unlabel,
    Notify,
    KvPut,
    KvDelete,
}

/// What the rules decided.
#[derive(Debug, Clone)]
pub struct RuleRuling {
    pub rule: Rule,
    pub actions: Vec<RuleAction>,
}

/// What the filters decided about texts.
#[derive(Debug, Clone)]
pub struct FilterRuling {
    pub verdict: Verdict,
    /// One for each text; `None` leaves it as it is.
    pub masked: Vec<Option<String>>,
    /// The plugin that masked first, where one did.
    pub masked_by: Option<String>,
    pub hooks: Vec<HookTrace>,
    pub reads: Vec<HookRead>,
}

/// One generation, pinned: everything about one message is judged by it (I4).
pub trait Judge: Send + Sync {
    fn generation(&self) -> u64;
    /// None of a plugin's hooks is given a rest because it fails.
    fn is_well(&self, plugin: &str) -> bool;
    /// How many of a conversation's newest entries its strategies want to see.
    fn recent(&self, scope: Scope) -> usize;
    /// Blocks for as long as the guests compute, at most their hard stops.
    fn strategy(&self, scope: Scope, command: &Command<'_>) -> StrategyRuling;
    fn filter(&self, site: Site<'_>, texts: &[Text<'_>], at_ms: u64) -> FilterRuling;
    /// Whether a plugin has bound a command's name here.
    fn binds(&self, site: Site<'_>, name: &str) -> bool;
    fn command(&self, scope: Scope, invocation: &Invocation<'_>) -> CommandRuling;
    /// Whether any rule would be asked.
    fn has_rules(&self) -> bool;
    /// `decides` where something is asked for, not told.
    fn rule(&self, occasion: &Occasion, decides: bool) -> RuleRuling;
    /// When rules want to be called by the clock: each plugin with its times.
    fn rule_schedules(&self) -> Vec<(String, Vec<(String, When)>)>;
    /// Tells an occasion to the rule of one plugin alone.
    fn rule_of(&self, plugin: &str, occasion: &Occasion) -> RuleRuling;
    /// Told of what its hooks decided about and no log will hold, for a replay.
    fn not_stored(&self, _: Attempt) {}
    /// Whether it is kept at all.
    fn keeps_attempts(&self) -> bool {
        false
    }
}

/// Where generations come from.
pub trait Plugins: Send + Sync + 'static {
    /// The generation in force.
    fn pin(&self) -> Arc<dyn Judge>;
    /// The number of the generation in force, for those who wait for a newer one.
    fn generations(&self) -> watch::Receiver<u64>;
    /// Told that something was judged by a newer one than is in force here.
    fn is_outdated(&self) {}
}

/// The record kept with an entry.
pub fn record(
    generation: u64,
    mut strategy: Vec<HookTrace>,
    filter: &[HookTrace],
) -> DecisionRecord {
    strategy.extend_from_slice(filter);
    DecisionRecord {
        generation,
        hooks: strategy,
        earlier: Vec::new(),
        recall_window_ms: None,
        made: None,
        circumstances: None,
        beside: None,
    }
}
