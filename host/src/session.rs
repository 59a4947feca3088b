//! Sessions: one connected device each, what waits to be written to it, and which users are here.
//! Nothing here touches a socket; what is known of other nodes' sessions comes by the bus.

mod elsewhere;
mod outbox;
pub mod presence;
pub mod registry;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use self::outbox::{Drained, Outbox, OutboxLimits};
use crate::bus::{Epoch, Lease};
use crate::ids::{SessionId, UserId};

/// How frames are written to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Json,
    Msgpack,
}

/// Why the host ends a session; each has its text and its close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bye {
    BadFrame,
    Unauthenticated,
    Expired,
    Banned,
    Kicked,
    Idle,
    Replaced,
    Slow,
    TooLarge,
    TooFast,
    Draining,
}

impl Bye {
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::Unauthenticated => "unauthenticated",
            Self::Expired => "expired",
            Self::Banned => "banned",
            Self::Kicked => "kicked",
            Self::Idle => "idle",
            Self::Replaced => "replaced",
            Self::Slow => "slow",
            Self::TooLarge => "too_large",
            Self::TooFast => "too_fast",
            Self::Draining => "draining",
        }
    }

    pub fn close_code(self) -> u16 {
        match self {
            Self::BadFrame => 4400,
            Self::Unauthenticated | Self::Expired => 4401,
            Self::Banned | Self::Kicked => 4403,
            Self::Idle => 4408,
            Self::Replaced => 4409,
            Self::Slow => 4410,
            Self::TooLarge => 4413,
            Self::TooFast => 4429,
            Self::Draining => 4503,
        }
    }
}

/// An event for any number of sessions: encoded once a codec, shared by all.
#[derive(Debug)]
pub struct Event {
    json: Bytes,
    msgpack: OnceLock<Bytes>,
}

impl Event {
    pub fn from_json(json: impl Into<Bytes>) -> Self {
        Self {
            json: json.into(),
            msgpack: OnceLock::new(),
        }
    }

    /// The event as JSON, shared.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The bytes of one frame.
    pub fn frame(&self, codec: Codec) -> Bytes {
        match codec {
            Codec::Json => self.json.clone(),
            Codec::Msgpack => self.msgpack.get_or_init(|| to_msgpack(&self.json)).clone(),
        }
    }
}

/// The same value as MessagePack with field names. A frame that cannot be put so is an error of the host's: a request
/// is answered with it, an event is made up for by `behind`.
pub fn to_msgpack(json: &[u8]) -> Bytes {
    let read = serde_json::from_slice::<serde_json::Value>(json).map_err(|e| e.to_string());
    let packed = read
        .and_then(|value| rmp_serde::to_vec_named(&value).map_err(|error| error.to_string()))
        .unwrap_or_else(|error| {
            tracing::error!(error, "a frame could not be put into MessagePack");
            in_its_place(json)
        });
    packed.into()
}

fn in_its_place(json: &[u8]) -> Vec<u8> {
    #[derive(serde::Deserialize)]
    struct Reply {
        re: u32,
    }
    let told = match serde_json::from_slice(json) {
        Ok(Reply { re }) => {
            let message = "the answer could not be put into MessagePack";
            serde_json::json!({"re": re, "err": {"code": "internal", "message": message}})
        }
        Err(_) => serde_json::json!({"ev": "behind"}),
    };
    rmp_serde::to_vec_named(&told).unwrap_or_default()
}

/// Whose session it is.
#[derive(Debug, Clone)]
pub struct Holder {
    pub user: UserId,
    pub device: String,
    /// `web`, `ios`, `android`, `desktop` or `bot`.
    pub kind: String,
    /// The sign-in of the device that it was opened with.
    pub family: u64,
}

/// One connected device of one user.
#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    pub device: String,
    /// `web`, `ios`, `android`, `desktop` or `bot`.
    pub kind: String,
    /// The sign-in of the device that it was opened with.
    pub family: u64,
    pub codec: Codec,
    pub outbox: Outbox,
    /// When it was opened.
    since: Instant,
    /// Which of the device's connections it is, once the bus has said so.
    epoch: AtomicU64,
    /// When something last arrived, by the registry's coarse clock.
    heard_at: AtomicU64,
}

impl Session {
    pub fn new(
        id: SessionId,
        holder: Holder,
        codec: Codec,
        limits: Arc<OutboxLimits>,
        now_ms: u64,
    ) -> Arc<Self> {
        let outbox = Outbox::new(limits);
        Arc::new(Self {
            id,
            user: holder.user,
            device: holder.device,
            kind: holder.kind,
            family: holder.family,
            codec,
            outbox,
            since: Instant::now(),
            epoch: AtomicU64::new(Epoch::NEW.0),
            heard_at: AtomicU64::new(now_ms),
        })
    }

    /// Something arrived at `now_ms`.
    pub fn heard(&self, now_ms: u64) {
        self.heard_at.store(now_ms, Ordering::Relaxed);
    }

    pub fn heard_at(&self) -> u64 {
        self.heard_at.load(Ordering::Relaxed)
    }

    /// What other nodes find it by.
    pub fn lease(&self) -> Lease {
        Lease {
            user: self.user,
            device: self.device.clone(),
            kind: self.kind.clone(),
            session: self.id,
            epoch: Epoch(self.epoch.load(Ordering::Relaxed)),
            since: self.since,
        }
    }

    /// The bus has said which of the device's connections it is.
    pub fn is_number(&self, epoch: Epoch) {
        self.epoch.store(epoch.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_message_pack_cannot_carry_is_answered_or_made_up_for() {
        let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
        let unpacked = |frame: String| -> serde_json::Value {
            rmp_serde::from_slice(&to_msgpack(frame.as_bytes())).expect("MessagePack")
        };
        let reply = unpacked(format!(r#"{{"re":7,"ok":{deep}}}"#));
        assert_eq!(
            (&reply["re"], &reply["err"]["code"]),
            (&serde_json::json!(7), &serde_json::json!("internal"))
        );
        assert_eq!(
            unpacked(format!(r#"{{"ev":"entry","entry":{deep}}}"#))["ev"],
            "behind"
        );
    }
}
