//! Why a command was not done: the one list of codes that clients see, with what goes beside each.
//!
//! Everything that can refuse ends here; the gateway alone turns a refusal into a frame or an HTTP answer.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

/// The one table of codes: the variant, its name on the wire, the HTTP status that goes with it.
macro_rules! codes {
    ($($code:ident = $name:literal, $status:literal;)*) => {
        /// The protocol's error codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        pub enum Code {
            $(#[serde(rename = $name)] $code,)*
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// As it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$code => $status,)*
                }
            }
        }
    };
}

codes! {
    BadRequest = "bad_request", 400;
    Unauthenticated = "unauthenticated", 401;
    Expired = "expired", 401;
    Forbidden = "forbidden", 403;
    NotMember = "not_member", 403;
    Blocked = "blocked", 403;
    Muted = "muted", 403;
    Banned = "banned", 403;
    NotFound = "not_found", 404;
    Conflict = "conflict", 409;
    TooLate = "too_late", 409;
    TooLarge = "too_large", 413;
    Rejected = "rejected", 422;
    RateLimited = "rate_limited", 429;
    Internal = "internal", 500;
    Unavailable = "unavailable", 503;
    Timeout = "timeout", 504;
}

/// A refusal as the client gets it. `message` is for a developer to read, `code` for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}: {message}", .code.as_str())]
pub struct Refusal {
    pub code: Code,
    pub message: Cow<'static, str>,
    /// With `rejected`: the plugin that said no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// With `rejected`: the plugin's own code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With `rate_limited` and `unavailable`: when to try again, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            by: None,
            reason: None,
            retry_after_ms: None,
        }
    }

    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// Nothing was stored; the client may send again after the wait.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            retry_after_ms: Some(1000),
            ..Self::new(Code::Unavailable, message)
        }
    }

    pub fn rate_limited(wait: Duration, message: impl Into<Cow<'static, str>>) -> Self {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            retry_after_ms: Some(wait_ms),
            ..Self::new(Code::RateLimited, message)
        }
    }

    /// A plugin's no. Reasons that the protocol has a code for become that code; any other is `rejected`.
    pub fn by_plugin(plugin: &str, reason: &str) -> Self {
        let message = format!("the plugin {plugin} refused it: {reason}");
        let code = match reason {
            "blocked" => Code::Blocked,
            "muted" => Code::Muted,
            "forbidden" => Code::Forbidden,
            "too-late" => Code::TooLate,
            "rate-limited" => {
                return Self {
                    retry_after_ms: Some(1000),
                    ..Self::new(Code::RateLimited, message)
                };
            }
            _ => {
                return Self {
                    by: Some(plugin.to_owned()),
                    reason: Some(reason.to_owned()),
                    ..Self::new(Code::Rejected, message)
                };
            }
        };
        Self::new(code, message)
    }
}
