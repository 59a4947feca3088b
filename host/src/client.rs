//! A client of the public protocol: what `kith chat`, `kith bench` and the tests speak with.
//! It knows the protocol and nothing of the host behind it; it shares no type with the server's own code.

pub mod codec;
pub mod rest;
pub mod ws;

use serde_json::Value;

pub use codec::Codec;
pub use rest::{Answer, Download, Rest, Tokens};
pub use ws::{Closing, Connection, Events, Incoming, To};

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WireError {
    /// The server said no.
    #[error("{0}")]
    Refused(Refused),
    /// No connection to the server could be made.
    #[error("no server answers at {url}: {why}")]
    Unreachable { url: String, why: String },
    /// The connection ended before the answer came; whether it was done is unknown.
    #[error("the connection is closed: {0}")]
    Closed(Closing),
    /// A file was on its way and did not arrive.
    #[error("the transfer broke off: {0}")]
    Broken(String),
    /// What came is not the protocol.
    #[error("not an answer of this protocol: {0}")]
    Unintelligible(String),
}

/// The server's error object, with the HTTP status where there was one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// `None` over WebSocket.
    pub status: Option<u16>,
    pub code: String,
    pub message: String,
    /// With `rejected`: the plugin that said no, and its own code.
    pub by: Option<String>,
    pub reason: Option<String>,
    pub retry_after_ms: Option<u64>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl Refused {
    /// Reads an error object, the protocol's own or one of RFC 6749.
    pub fn read(status: Option<u16>, body: &Value) -> Option<Self> {
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        Some(Self {
            status,
            code: text("code").or_else(|| text("error"))?,
            message: text("message")
                .or_else(|| text("error_description"))
                .unwrap_or_default(),
            by: text("by"),
            reason: text("reason"),
            retry_after_ms: body["retry_after_ms"].as_u64(),
        })
    }
}

impl WireError {
    /// The protocol's code; `unreachable`, `closed`, `broken` and `unintelligible` for what no server said.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(refused) => &refused.code,
            Self::Unreachable { .. } => "unreachable",
            Self::Closed(_) => "closed",
            Self::Broken(_) => "broken",
            Self::Unintelligible(_) => "unintelligible",
        }
    }

    /// The HTTP status, of a refusal over REST.
    pub fn status(&self) -> Option<u16> {
        self.refused().and_then(|refused| refused.status)
    }

    pub fn retry_after_ms(&self) -> Option<u64> {
        self.refused().and_then(|refused| refused.retry_after_ms)
    }

    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            _ => None,
        }
    }
}

/// What a client calls the device it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Stable over connections; the access token is bound to it.
    pub id: String,
    /// `web`, `ios`, `android`, `desktop` or `bot`.
    pub kind: String,
    pub name: String,
}

impl Device {
    pub fn new(id: impl Into<String>, kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            kind: kind.into(),
            name: name.into(),
        }
    }
}

/// TLS libraries want a provider chosen once per process; choosing again is harmless.
fn choose_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The last cause of an error, which says most.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
