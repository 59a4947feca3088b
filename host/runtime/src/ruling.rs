//! What a chain of hooks decides: data for the host to check, commit and carry out. Nothing here knows a version or an
//! instance.

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

/// One hook's part. A binding that failed and whose fallback was asked has two, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookRecord {
    /// The binding's place in the generation.
    pub binding: u16,
    pub outcome: Outcome,
    pub duration_us: u32,
}

/// A write a plugin wants committed with the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    pub plugin: String,
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
}

/// What came of a command.
#[derive(Debug, Clone)]
pub struct CommandRuling {
    pub outcome: CommandOutcome,
    pub effects: Vec<Effect>,
    pub records: Vec<HookRecord>,
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

/// What the filters decided about texts.
#[derive(Debug, Clone)]
pub struct FilterRuling {
    pub verdict: Verdict,
    /// One for each text; `None` leaves it as it is.
    pub masked: Vec<Option<String>>,
    /// Every hit, for an administrator's trial.
    pub hits: Vec<FoundHit>,
    pub records: Vec<HookRecord>,
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
