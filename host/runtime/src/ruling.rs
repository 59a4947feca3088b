//! What a chain of hooks decides: data for the host to check, commit and carry out. Nothing here knows a version or an
//! instance.

use std::sync::Arc;

use crate::error::Failure;

/// What a chain decided about going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Reject {
        by: String,
        reason: Reason,
    },
    Hold {
        by: String,
        reason: Reason,
        cause: HoldCause,
    },
    Drop {
        by: String,
        reason: Reason,
    },
    /// A hook failed or is absent and its binding says `unavailable`.
    Unavailable {
        by: String,
        reason: Reason,
    },
}

/// Why: a code for programs, a text for an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What the hook gave; `failed` or `absent` where a failure policy decided; `content` for a filter's hit.
    pub code: String,
    /// What the hook gave; why it failed; the rule that hit.
    pub text: String,
}

/// Why something is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldCause {
    /// A hook said so.
    Verdict,
    /// A hook failed: to be judged again when it is well.
    Failed,
    /// A bound version could not be loaded.
    Absent,
}

/// What one hook did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Replaced,
    Rejected,
    Held,
    Dropped,
    Failed,
    Absent,
}

impl Outcome {
    /// In the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Passed,
        Self::Replaced,
        Self::Rejected,
        Self::Held,
        Self::Dropped,
        Self::Failed,
        Self::Absent,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Replaced => "replaced",
            Self::Rejected => "rejected",
            Self::Held => "held",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
            Self::Absent => "absent",
        }
    }
}

/// One hook's part. A binding that failed and whose fallback was asked has two, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookRecord {
    /// The binding's place in the generation.
    pub binding: u16,
    pub outcome: Outcome,
    pub duration_us: u32,
    /// A fingerprint of everything it decided; 0 where it lets all pass as it is, or did not answer.
    pub decision: u32,
}

/// A value of its own plugin that a hook read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The binding's place in the generation.
    pub binding: u16,
    pub key: String,
    /// `None`: there was none.
    pub value: Option<Vec<u8>>,
}

/// A call that gave no answer, after its second try where it had one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFailure {
    /// The binding's place in the generation.
    pub binding: u16,
    /// Of the version that failed: the binding's own, or its fallback.
    pub digest: String,
    pub failure: Failure,
    /// What it had read by then.
    pub reads: Vec<(String, Option<Vec<u8>>)>,
}

/// What hooks did and read besides what they decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    pub reads: Vec<Read>,
    pub failures: Vec<HookFailure>,
}

/// A write a plugin wants committed with the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Where the plugin's keys are.
    pub namespace: Arc<str>,
    /// Bytes of keys and values it may have there.
    pub quota: u64,
    pub kind: EffectKind,
    pub key: String,
    /// Empty for a delete.
    pub value: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectKind {
    KvPut,
    KvDelete,
}

/// What the strategies decided about a command. Where several say something, the last one counts, but `silent` stays.
#[derive(Debug, Clone)]
pub struct StrategyRuling {
    pub verdict: Verdict,
    /// The content in place of what was sent: a JSON object.
    pub content: Option<String>,
    /// Who is to get it, as text; `None` is every member.
    pub audience: Option<Vec<String>>,
    /// Members who are away are not to be notified.
    pub silent: bool,
    pub recall_window_ms: Option<u64>,
    pub effects: Vec<Effect>,
    pub records: Vec<HookRecord>,
    pub trail: Trail,
}

/// What came of a command.
#[derive(Debug, Clone)]
pub struct CommandRuling {
    pub outcome: CommandOutcome,
    pub effects: Vec<Effect>,
    pub records: Vec<HookRecord>,
    pub trail: Trail,
}

/// What is to be done about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandOutcome {
    /// It is done and answered with nothing.
    Done,
    /// Answered with this content, a JSON object, for the sender alone.
    Reply(String),
    /// This content is to be sent in its place.
    Send(String),
    /// It is to be sent as it stands.
    Pass,
    Reject {
        by: String,
        reason: Reason,
    },
    Unavailable {
        by: String,
        reason: Reason,
    },
}

/// What the rules decided about an occasion.
#[derive(Debug, Clone)]
pub struct RuleRuling {
    pub rule: Rule,
    /// Of every rule that was asked.
    pub actions: Vec<RuleAction>,
    pub records: Vec<HookRecord>,
    pub trail: Trail,
}

/// Whether what is asked may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// No rule says anything.
    Abstain,
    Allow,
    Deny {
        by: String,
        reason: Reason,
    },
    RequireApproval {
        by: String,
        reason: Reason,
    },
    Unavailable {
        by: String,
        reason: Reason,
    },
}

/// Something the host is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleAction {
    /// The plugin; of a value, the namespace it is in.
    pub by: String,
    pub act: RuleAct,
    /// A user's id, an address, a device's id; empty is the occasion's own. Or a key of the plugin's.
    pub subject: String,
    /// Of a value: bytes its namespace may hold.
    pub quota: u64,
    /// 0 is for ever.
    pub for_ms: u64,
    /// A reason, a label, a notice, a value.
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

impl RuleAct {
    pub const ALL: [Self; 10] = [
        Self::BanUser,
        Self::BanAddress,
        Self::BanDevice,
        Self::MuteUser,
        Self::EndSessions,
        Self::Label,
        Self::Unlabel,
        Self::Notify,
        Self::KvPut,
        Self::KvDelete,
    ];

    /// The kind's name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BanUser => "ban-user",
            Self::BanAddress => "ban-address",
            Self::BanDevice => "ban-device",
            Self::MuteUser => "mute-user",
            Self::EndSessions => "end-sessions",
            Self::Label => "label",
            Self::Unlabel => "unlabel",
            Self::Notify => "notify",
            Self::KvPut => "kv-put",
            Self::KvDelete => "kv-delete",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.as_str() == name)
    }
}

/// What the filters decided about texts.
#[derive(Debug, Clone)]
pub struct FilterRuling {
    pub verdict: Verdict,
    /// One for each text; `None` leaves it as it is.
    pub masked: Vec<Option<String>>,
    /// Every hit, for an administrator's trial.
    pub hits: Vec<FoundHit>,
    pub records: Vec<HookRecord>,
    pub trail: Trail,
}

/// A filter's hit, as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundHit {
    pub binding: u16,
    /// Which of the texts.
    pub text: u32,
    /// Unicode scalar values; `end` is not in it.
    pub start: u32,
    pub end: u32,
    pub level: crate::hook::Level,
    pub rule: String,
}
