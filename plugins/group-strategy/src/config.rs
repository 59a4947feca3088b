//! What an administrator may set, with its defaults.
//! Only the form of it; what follows from it is decided elsewhere.

use serde::Deserialize;

/// The lowest role that may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    Members,
    Admins,
    Owner,
}

/// Who may be added by somebody who is no friend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strangers {
    Allow,
    FriendsOnly,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupStrategy {
    pub add: Who,
    pub rename: Who,
    pub mention_all: Who,
    pub strangers: Strangers,
    pub title_max_chars: usize,
    pub recall_window_s: u64,
    pub edit_window_s: u64,
}

pub const SCHEMA: &str = r#"{
    "type": "object",
    "properties": {
        "add": {
            "type": "string", "enum": ["members", "admins", "owner"], "default": "members",
            "description": "the lowest role that may add others; where joining takes approval it is always admins"
        },
        "rename": {
            "type": "string", "enum": ["members", "admins", "owner"], "default": "admins",
            "description": "the lowest role that may change the title"
        },
        "mention_all": {
            "type": "string", "enum": ["members", "admins", "owner"], "default": "members",
            "description": "the lowest role that may mention everyone at once"
        },
        "strangers": {
            "type": "string", "enum": ["allow", "friends-only"], "default": "allow",
            "description": "whether one may add somebody who is no friend"
        },
        "title_max_chars": {
            "type": "integer", "minimum": 0, "default": 0,
            "description": "longest title of a new group; 0 leaves the host's limit"
        },
        "recall_window_s": {
            "type": "integer", "minimum": 0, "default": 120,
            "description": "seconds a member may recall a message; owner and admins may at any time"
        },
        "edit_window_s": {
            "type": "integer", "minimum": 0, "default": 86400, "description": "seconds a sender may edit a message"
        }
    }
}"#;
