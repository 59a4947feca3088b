//! Services behind the host, for hooks after the commit: language models and the knowledge base. Each does what its grant
//! allows during a call of `observer` or `responder`. Outside a component nothing is there.

/// Why a service did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Not granted, not for this, or not during this call.
    Denied(String),
    /// This server has no such service; asking again changes nothing.
    NotConfigured(String),
    /// More than the plugin, or the server, may spend.
    Quota(String),
    Invalid(String),
    Timeout(String),
    /// Not now; the same call may succeed later.
    Unavailable(String),
    /// The service refused it, and its own words why.
    Refused(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, text) = match self {
            Self::Denied(text) => ("denied", text),
            Self::NotConfigured(text) => ("not configured", text),
            Self::Quota(text) => ("quota", text),
            Self::Invalid(text) => ("invalid", text),
            Self::Timeout(text) => ("timeout", text),
            Self::Unavailable(text) => ("unavailable", text),
            Self::Refused(text) => ("refused", text),
        };
        write!(f, "{what}: {text}")
    }
}

/// What a model is asked. See `wit/v1/services.wit` for each field.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    pub model: String,
    /// Role and text of each.
    pub messages: Vec<(String, String)>,
    pub max_tokens: u32,
    pub temperature: f64,
}

/// What an answer cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub ended: String,
}

/// A passage of a document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Passage {
    pub document: String,
    pub title: String,
    pub text: String,
    pub url: String,
    pub score: f64,
}

macro_rules! services {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) -> $out:ty = |$host:ident| $body:expr;)+) => {
        $(
            $(#[$doc])*
            pub fn $name($($arg: $ty),*) -> Result<$out, Error> {
                #[cfg(target_arch = "wasm32")]
                {
                    use crate::exports::abilities::kith::plugin as $host;
                    $body.map_err(from_host)
                }
                #[cfg(not(target_arch = "wasm32"))]
                {
                    $(let _ = $arg;)*
                    Err(Error::NotConfigured("there is no host".to_owned()))
                }
            }
        )+
    };
}

services! {
    /// Begins an answer of a model; its number.
    llm_open(prompt: &Prompt) -> u32 = |host| host::llm::open(&host::llm::Prompt {
        model: prompt.model.clone(),
        messages: prompt.messages.iter().map(|(role, text)| host::llm::Message {
            role: role.clone(),
            text: text.clone(),
        }).collect(),
        max_tokens: prompt.max_tokens,
        temperature: prompt.temperature,
    });

    /// Waits for the next piece of an answer; none at its end.
    llm_next(answer: u32) -> Option<String> = |host| host::llm::next(answer);

    /// Ends an answer, wherever it is.
    llm_finish(answer: u32) -> Usage = |host| host::llm::finish(answer).map(|usage| Usage {
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        ended: usage.ended,
    });

    /// Passages that answer a query, the best first, at most 20. The empty base is the server's own.
    search(base: &str, query: &str, limit: u32) -> Vec<Passage>
        = |host| host::knowledge::search(base, query, limit).map(|found| {
            found.into_iter().map(|passage| Passage {
                document: passage.document,
                title: passage.title,
                text: passage.text,
                url: passage.url,
                score: passage.score,
            }).collect()
        });
}

#[cfg(target_arch = "wasm32")]
fn from_host(
    error: crate::exports::abilities::kith::plugin::service_errors::ServiceError,
) -> Error {
    use crate::exports::abilities::kith::plugin::service_errors::ServiceError as Host;
    match error {
        Host::Denied(text) => Error::Denied(text),
        Host::NotConfigured(text) => Error::NotConfigured(text),
        Host::Quota(text) => Error::Quota(text),
        Host::Invalid(text) => Error::Invalid(text),
        Host::Timeout(text) => Error::Timeout(text),
        Host::Unavailable(text) => Error::Unavailable(text),
        Host::Refused(text) => Error::Refused(text),
    }
}
