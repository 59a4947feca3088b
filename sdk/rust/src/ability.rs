//! The abilities beyond the message's path: each does what its grant allows during a call of `observer` or `responder`, and
//! answers `Error::Denied` everywhere else. Outside a component nothing is there.

/// Why an ability did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Not granted, not for this, or not during this call.
    Denied(String),
    /// More than the plugin may have.
    Quota(String),
    /// It is not as expected any more.
    Conflict(String),
    NotFound(String),
    Invalid(String),
    Timeout(String),
    /// Not now; the same call may succeed later.
    Unavailable(String),
    /// Refused by whoever was asked: a code.
    Refused(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, text) = match self {
            Self::Denied(text) => ("denied", text),
            Self::Quota(text) => ("quota", text),
            Self::Conflict(text) => ("conflict", text),
            Self::NotFound(text) => ("not found", text),
            Self::Invalid(text) => ("invalid", text),
            Self::Timeout(text) => ("timeout", text),
            Self::Unavailable(text) => ("unavailable", text),
            Self::Refused(text) => ("refused", text),
        };
        write!(f, "{what}: {text}")
    }
}

/// A request to a host that is granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// 0 takes the host's.
    pub timeout_ms: u32,
}

/// What a host answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A value and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub value: Vec<u8>,
    pub version: u64,
}

/// A user as the directory tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub username: String,
    pub display_name: String,
    /// `person` or `service`.
    pub kind: String,
}

/// An entry of a conversation's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub seq: u64,
    pub at_ms: u64,
    pub sender: String,
    pub kind: String,
    pub text: String,
    pub content: String,
}

macro_rules! abilities {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) -> $out:ty = |$imports:ident| $body:expr;)+) => {
        $(
            $(#[$doc])*
            pub fn $name($($arg: $ty),*) -> Result<$out, Error> {
                #[cfg(target_arch = "wasm32")]
                {
                    use crate::exports::abilities::kith::plugin as $imports;
                    $body.map_err(from_host)
                }
                #[cfg(not(target_arch = "wasm32"))]
                {
                    $(let _ = $arg;)*
                    Err(Error::Unavailable("there is no host".to_owned()))
                }
            }
        )+
    };
}

abilities! {
    /// Random bytes, at most 4096.
    random(length: u32) -> Vec<u8> = |host| host::random::bytes(length);

    /// A value of the plugin.
    kv_get(key: &str) -> Option<Item> = |host| host::kv::get(key).map(|found| {
        found.map(|item| Item { value: item.value, version: item.version })
    });

    /// Writes at once; the new version. `expected`: only over this version, 0 for a key that is not there.
    kv_put(key: &str, value: &[u8], expected: Option<u64>, ttl_ms: Option<u64>) -> u64
        = |host| host::kv::put(key, value, expected, ttl_ms);

    kv_delete(key: &str, expected: Option<u64>) -> () = |host| host::kv::delete(key, expected);

    /// Keys that begin with a prefix, in order, after one.
    kv_keys(prefix: &str, after: &str, limit: u32) -> Vec<String> = |host| host::kv::keys(prefix, after, limit);

    user(id: &str) -> User = |host| host::directory::user_by_id(id).map(user_of);

    user_named(username: &str) -> User = |host| host::directory::user_named(username).map(user_of);

    /// Members of a conversation with their roles, after one.
    members(conversation: &str, after: &str, limit: u32) -> Vec<(String, String)>
        = |host| host::directory::members(conversation, after, limit)
            .map(|members| members.into_iter().map(|member| (member.user, member.role)).collect());

    /// The newest entries below `before` (0: all), oldest first.
    history(conversation: &str, before: u64, limit: u32) -> Vec<Entry>
        = |host| host::history::before(conversation, before, limit)
            .map(|entries| entries.into_iter().map(|entry| Entry {
                seq: entry.seq,
                at_ms: entry.at_ms,
                sender: entry.sender,
                kind: entry.kind,
                text: entry.text,
                content: entry.content,
            }).collect());

    /// A request to a host that is granted.
    fetch(request: &Request) -> Response = |host| host::http::fetch(&host::http::Request {
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.iter().map(|(name, value)| host::http::Header {
            name: name.clone(),
            value: value.clone(),
        }).collect(),
        body: request.body.clone(),
        timeout_ms: request.timeout_ms,
    }).map(|response| Response {
        status: response.status,
        headers: response.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        body: response.body,
    });

    /// A message of the plugin's own account, once under its name; its conversation and seq.
    send(to: &str, content: &str, once: &str) -> (String, u64) = |host| host::send::message(to, content, once)
        .map(|sent| (sent.conversation, sent.seq));

    /// Begins an answer; its number.
    reply_open() -> u32 = |host| host::reply::open();

    /// Adds a piece of text.
    reply_write(reply: u32, delta: &str) -> () = |host| host::reply::write(reply, delta);

    /// Ends an answer: it is committed as one message. Its seq.
    reply_finish(reply: u32) -> u64 = |host| host::reply::finish(reply);

    /// Has a person take over.
    hand_over(reason: &str) -> () = |host| host::reply::hand_over(reason);

    /// Adds to a count that administrators see.
    count(name: &str, count: u64) -> () = |host| host::metrics::add(name, count);

    /// Sets a value that administrators see.
    gauge(name: &str, value: f64) -> () = |host| host::metrics::set(name, value);
}

#[cfg(target_arch = "wasm32")]
fn user_of(user: crate::exports::abilities::kith::plugin::directory::User) -> User {
    User {
        id: user.id,
        username: user.username,
        display_name: user.display_name,
        kind: user.kind,
    }
}

#[cfg(target_arch = "wasm32")]
fn from_host(error: crate::exports::abilities::kith::plugin::errors::Error) -> Error {
    use crate::exports::abilities::kith::plugin::errors::Error as Host;
    match error {
        Host::Denied(text) => Error::Denied(text),
        Host::Quota(text) => Error::Quota(text),
        Host::Conflict(text) => Error::Conflict(text),
        Host::NotFound(text) => Error::NotFound(text),
        Host::Invalid(text) => Error::Invalid(text),
        Host::Timeout(text) => Error::Timeout(text),
        Host::Unavailable(text) => Error::Unavailable(text),
        Host::Refused(text) => Error::Refused(text),
    }
}
