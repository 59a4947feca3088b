//! The edge: WebSocket and REST. Decodes, calls the journey,
//! answers. Knows no storage and no plugins.

pub mod admin;
pub mod connection;
pub mod conversations;
pub mod document;
pub mod frame;
pub mod groups;
pub mod http;
pub mod listen;
pub mod ops;
pub mod rate;
pub mod respond;
pub mod search;
pub mod signals;
pub mod socket;
pub mod websocket;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Clock;
use crate::delivery::presence::PresenceTeller;
use crate::ids::UserId;
use crate::journey::Journey;
use crate::journey::reads::PageLimits;
use crate::refusal::Refusal;
use crate::session::OutboxLimits;
use crate::session::registry::Registry;

/// Who a good access token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub user: UserId,
    pub device: String,
    /// The sign-in of the device that the token belongs to.
    pub family: u64,
}

/// Checks access tokens and rates; the identity's side of a connection.
#[async_trait]
pub trait Doorkeeper: Send + Sync + 'static {
    async fn authenticate(&self, token: &str) -> Result<Caller, Refusal>;
    /// Whether the caller may connect from an address, on a device of a kind: bans and administrators' rules.
    async fn admit_connection(
        &self,
        caller: &Caller,
        device_kind: &str,
        address: Option<IpAddr>,
    ) -> Result<(), Refusal>;
    /// The caller's own profile, as `hello` answers it.
    async fn profile(&self, user: UserId) -> Result<serde_json::Value, Refusal>;
    /// What a connected device calls itself.
    async fn name_device(&self, caller: &Caller, name: &str) -> Result<(), Refusal>;
    /// One more send of a user: refused with `rate_limited` when there are too many.
    fn admit_send(&self, user: UserId) -> Result<(), Refusal>;
    /// One more REST request of a user.
    fn admit_request(&self, user: UserId) -> Result<(), Refusal>;
    /// One more search of a user, likewise.
    fn admit_search(&self, user: UserId) -> Result<(), Refusal>;
    /// One more typing signal, draft, or look at presence or readers; refused likewise.
    fn admit_signal(&self, user: UserId) -> Result<(), Refusal>;
}

/// Bounds of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// How long a connection may take to say hello.
    pub hello: Duration,
    /// Bytes of one frame.
    pub frame_bytes: usize,
    /// Unicode scalar values of a text, told in `hello`.
    pub text_chars: usize,
    pub pages: PageLimits,
    /// Requests of one device; `None` is no limit.
    pub requests: Option<rate::Pace>,
    /// Members of the largest group whose typing is told.
    pub typing_members: usize,
}

/// What every connection shares.
pub struct Gateway {
    pub journey: Arc<Journey>,
    pub registry: Arc<Registry>,
    pub presence: Arc<PresenceTeller>,
    pub doorkeeper: Arc<dyn Doorkeeper>,
    pub clock: Arc<dyn Clock>,
    pub outboxes: Arc<OutboxLimits>,
    pub limits: ConnectionLimits,
    pub next_session: AtomicU64,
}
