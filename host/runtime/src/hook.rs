//! The hooks this host knows, and the open names of the contract as closed types. An unknown name is an error here,
//! never a guess.

use serde::{Deserialize, Serialize};

/// When a plugin is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    MessageStrategy,
    ContentFilter,
    Command,
    AdminRule,
    Observer,
    Responder,
}

impl Hook {
    pub const COUNT: usize = Self::ALL.len();
    pub const ALL: [Self; 6] = [
        Self::MessageStrategy,
        Self::ContentFilter,
        Self::Command,
        Self::AdminRule,
        Self::Observer,
        Self::Responder,
    ];

    /// Called after the commit (tier T1), not on the message's path.
    pub const fn is_after_commit(self) -> bool {
        matches!(self, Self::Observer | Self::Responder)
    }

    /// The interface's name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MessageStrategy => "message-strategy",
            Self::ContentFilter => "content-filter",
            Self::Command => "command",
            Self::AdminRule => "admin-rule",
            Self::Observer => "observer",
            Self::Responder => "responder",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.as_str() == name)
    }

    /// What happens on failed and on absent when nobody says: a filter holds, a strategy makes the operation fail, a
    /// command is not answered, a rule denies what it was asked about; what follows a commit is tried again, then skipped.
    pub const fn default_policy(self) -> Policy {
        match self {
            Self::MessageStrategy | Self::Command => Policy::Unavailable,
            Self::AdminRule => Policy::Reject,
            Self::ContentFilter => Policy::Hold,
            Self::Observer | Self::Responder => Policy::Pass,
        }
    }
}

/// What happens when a hook failed or is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    Pass,
    Reject,
    Unavailable,
    Hold,
    /// Ask the binding's fallback version; when that fails too, the hook's default policy.
    Fallback,
}

/// In which conversations a binding applies. `All` also covers what stands in no conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindingScope {
    All,
    Direct,
    Group,
    #[serde(rename = "self")]
    Own,
}

/// Where something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Direct,
    Group,
    Own,
    /// No conversation: names, titles, friend requests.
    Outside,
}

impl Scope {
    pub(crate) const ALL: [Self; 4] = [Self::Direct, Self::Group, Self::Own, Self::Outside];
}

impl BindingScope {
    pub const fn covers(self, scope: Scope) -> bool {
        matches!(
            (self, scope),
            (Self::All, _)
                | (Self::Direct, Scope::Direct)
                | (Self::Group, Scope::Group)
                | (Self::Own, Scope::Own)
        )
    }
}

/// Whether instances are kept between calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    Reuse,
    /// A fresh instance for every call.
    Message,
}

/// What a filter's hit leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Mask,
    Hold,
    Reject,
}

impl Level {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "mask" => Some(Self::Mask),
            "hold" => Some(Self::Hold),
            "reject" => Some(Self::Reject),
            _ => None,
        }
    }
}
