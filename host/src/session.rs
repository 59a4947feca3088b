//! Sessions: one connected device each, what waits to be written to it, and which users are here.
//!
//! A session's outbox is bounded (I5): what does not fit is left out and told by one `behind`; answers to its own
//! requests are never left out, instead its requests are no longer read. Nothing here touches a socket.

pub mod presence;
pub mod registry;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ids::{SessionId, UserId};

/// How frames are written to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Json,
    Msgpack,
}

/// Why the host ends a session; each has its text and its close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    pub fn from_json(json: Vec<u8>) -> Self {
        Self {
            json: json.into(),
            msgpack: OnceLock::new(),
        }
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

/// Bounds of outboxes, shared by all sessions of a process.
#[derive(Debug)]
pub struct OutboxLimits {
    /// Bytes that may wait for one session.
    pub session_bytes: usize,
    /// Bytes that may wait in all outboxes together before each is cut to its fair share.
    pub total_bytes: usize,
    /// What a session may always have waiting, even when the total is used up.
    pub fair_bytes: usize,
    waiting: AtomicUsize,
}

impl OutboxLimits {
    pub fn new(session_bytes: usize, total_bytes: usize, fair_bytes: usize) -> Self {
        Self {
            session_bytes,
            total_bytes,
            fair_bytes,
            waiting: AtomicUsize::new(0),
        }
    }

    fn has_room(&self, queued: usize, more: usize) -> bool {
        let with = queued + more;
        with <= self.session_bytes
            && (with <= self.fair_bytes
                || self.waiting.load(Ordering::Relaxed) + more <= self.total_bytes)
    }
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Events so far, those left out too.
    pushes: u64,
    behind: bool,
    bye: Option<Bye>,
}

/// What waits to be written to one session.
#[derive(Debug)]
pub struct Outbox {
    limits: Arc<OutboxLimits>,
    queue: Mutex<Queue>,
    wake: Notify,
    /// When it began to be full, by the registry's coarse clock; 0 while it is not.
    full_since: AtomicU64,
    /// When what was taken last began to be written; 0 once it is written.
    taken_at: AtomicU64,
}

/// What the writer is to do next.
#[derive(Debug)]
pub enum Drained {
    Frames(VecDeque<Bytes>),
    /// Frames, then one `behind`: pushes were left out before these were taken.
    Behind(VecDeque<Bytes>),
    /// Last frames, then the goodbye.
    Bye(VecDeque<Bytes>, Bye),
}

impl Outbox {
    fn new(limits: Arc<OutboxLimits>) -> Self {
        Self {
            limits,
            queue: Mutex::default(),
            wake: Notify::new(),
            full_since: AtomicU64::new(0),
            taken_at: AtomicU64::new(0),
        }
    }

    /// Queues an event unless there is no room; then the session falls behind.
    pub fn push(&self, frame: Bytes, now_ms: u64) {
        let mut queue = self.queue.lock();
        queue.pushes += 1;
        if queue.behind || queue.bye.is_some() {
            return;
        }
        if !self.limits.has_room(queue.bytes, frame.len()) {
            queue.behind = true;
            self.note_full(now_ms);
            return;
        }
        self.enqueue(&mut queue, frame);
    }

    /// Queues an answer to the session's own request; these are bounded by not reading further requests.
    pub fn answer(&self, frame: Bytes, now_ms: u64) {
        self.answer_in(&mut self.queue.lock(), frame, now_ms);
    }

    fn answer_in(&self, queue: &mut Queue, frame: Bytes, now_ms: u64) {
        if queue.bye.is_none() {
            self.enqueue(queue, frame);
            if queue.bytes > self.limits.session_bytes {
                self.note_full(now_ms);
            }
        }
    }

    /// How many events there were so far.
    pub fn pushes(&self) -> u64 {
        self.queue.lock().pushes
    }

    /// As `answer`, unless there was an event since there were so many: then what was read may be older than it.
    pub fn answer_unless_pushed(
        &self,
        frame: Bytes,
        pushes: u64,
        now_ms: u64,
    ) -> Result<(), Bytes> {
        let mut queue = self.queue.lock();
        if queue.pushes != pushes {
            return Err(frame);
        }
        self.answer_in(&mut queue, frame, now_ms);
        Ok(())
    }

    /// Asks the writer to say goodbye after what is queued; the first reason stays.
    pub fn close(&self, bye: Bye) {
        let mut queue = self.queue.lock();
        queue.bye.get_or_insert(bye);
        drop(queue);
        self.wake.notify_one();
    }

    /// Whether answers have piled up so far that no further request should be read.
    pub fn is_full(&self) -> bool {
        self.queue.lock().bytes > self.limits.session_bytes
    }

    pub fn is_closing(&self) -> bool {
        self.queue.lock().bye.is_some()
    }

    /// Since when the client has not kept up: pushes are left out, too many answers wait, or what was taken to be
    /// written is not written. `None` while it keeps up.
    pub fn full_since(&self) -> Option<u64> {
        let (full, taken) = (
            self.full_since.load(Ordering::Relaxed),
            self.taken_at.load(Ordering::Relaxed),
        );
        [full, taken].into_iter().filter(|since| *since > 0).min()
    }

    fn note_full(&self, now_ms: u64) {
        let now = now_ms.max(1);
        let _ = self
            .full_since
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Resolves when there is something to write.
    pub async fn ready(&self) {
        loop {
            {
                let queue = self.queue.lock();
                if !queue.frames.is_empty() || queue.behind || queue.bye.is_some() {
                    return;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Resolves when the session is to end; for a writer that is stuck.
    pub async fn closing(&self) -> Bye {
        loop {
            if let Some(bye) = self.queue.lock().bye {
                return bye;
            }
            self.wake.notified().await;
        }
    }

    /// Takes everything that waits, to be written from `now_ms` on; `written` says when that is done.
    pub fn drain(&self, now_ms: u64) -> Drained {
        let mut queue = self.queue.lock();
        let frames = std::mem::take(&mut queue.frames);
        self.limits
            .waiting
            .fetch_sub(queue.bytes, Ordering::Relaxed);
        queue.bytes = 0;
        self.taken_at.store(now_ms.max(1), Ordering::Relaxed);
        self.full_since.store(0, Ordering::Relaxed);
        if let Some(bye) = queue.bye {
            return Drained::Bye(frames, bye);
        }
        if !queue.behind {
            return Drained::Frames(frames);
        }
        queue.behind = false;
        Drained::Behind(frames)
    }

    /// What was taken last is with the client's connection.
    pub fn written(&self) {
        self.taken_at.store(0, Ordering::Relaxed);
    }

    fn enqueue(&self, queue: &mut Queue, frame: Bytes) {
        let was_empty = queue.frames.is_empty();
        queue.bytes += frame.len();
        self.limits
            .waiting
            .fetch_add(frame.len(), Ordering::Relaxed);
        queue.frames.push_back(frame);
        if was_empty {
            self.wake.notify_one();
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.limits
            .waiting
            .fetch_sub(self.queue.get_mut().bytes, Ordering::Relaxed);
    }
}

/// One connected device of one user.
#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    pub device: String,
    /// `web`, `ios`, `android`, `desktop` or `bot`.
    pub kind: String,
    pub codec: Codec,
    pub outbox: Outbox,
    /// When something last arrived, by the registry's coarse clock.
    heard_at: AtomicU64,
}

impl Session {
    pub fn new(
        id: SessionId,
        user: UserId,
        device: String,
        kind: String,
        codec: Codec,
        limits: Arc<OutboxLimits>,
        now_ms: u64,
    ) -> Arc<Self> {
        let outbox = Outbox::new(limits);
        Arc::new(Self {
            id,
            user,
            device,
            kind,
            codec,
            outbox,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(session: usize, total: usize, fair: usize) -> Outbox {
        Outbox::new(Arc::new(OutboxLimits::new(session, total, fair)))
    }

    #[test]
    fn a_full_outbox_leaves_pushes_out_and_says_behind_once() {
        let outbox = outbox(10, 100, 10);
        outbox.push(Bytes::from_static(b"12345678"), 1);
        outbox.push(Bytes::from_static(b"12345678"), 2);
        outbox.push(Bytes::from_static(b"1"), 3);
        assert_eq!(outbox.full_since(), Some(2));
        assert!(matches!(outbox.drain(4), Drained::Behind(frames) if frames.len() == 1));
        assert!(matches!(outbox.drain(5), Drained::Frames(frames) if frames.is_empty()));
        outbox.written();
        assert_eq!(outbox.full_since(), None);
    }

    #[test]
    fn answers_are_never_left_out() {
        let outbox = outbox(10, 100, 10);
        outbox.push(Bytes::from_static(b"1234567890"), 1);
        outbox.answer(Bytes::from_static(b"answer"), 2);
        assert!(outbox.is_full());
        assert!(matches!(outbox.drain(3), Drained::Frames(frames) if frames.len() == 2));
    }

    #[test]
    fn answers_that_pile_up_count_as_full_until_they_are_written() {
        let outbox = outbox(10, 100, 10);
        outbox.answer(Bytes::from_static(b"1234567890"), 1);
        assert_eq!(outbox.full_since(), None, "what fits is not too much");
        outbox.answer(Bytes::from_static(b"1"), 2);
        outbox.answer(Bytes::from_static(b"2"), 3);
        assert_eq!(outbox.full_since(), Some(2));
        outbox.drain(4);
        assert_eq!(outbox.full_since(), Some(4), "taken, and not yet written");
        outbox.answer(Bytes::from_static(b"3"), 5);
        assert_eq!(outbox.full_since(), Some(4));
        outbox.written();
        assert_eq!(outbox.full_since(), None);
    }

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

    #[test]
    fn when_the_total_is_used_up_each_is_cut_to_its_share() {
        let limits = Arc::new(OutboxLimits::new(100, 50, 10));
        let (greedy, modest) = (Outbox::new(limits.clone()), Outbox::new(limits.clone()));
        greedy.push(Bytes::from(vec![0; 50]), 1);
        modest.push(Bytes::from(vec![0; 10]), 1);
        modest.push(Bytes::from(vec![0; 1]), 2);
        assert_eq!((greedy.full_since(), modest.full_since()), (None, Some(2)));
        drop((greedy, modest));
        assert_eq!(limits.waiting.load(Ordering::Relaxed), 0);
    }
}
