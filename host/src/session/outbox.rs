//! What waits to be written to a session. Bounded (I5): an event that does not fit is left out and told by one `behind`;
//! answers are never left out, instead requests are no longer read. Touches no socket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Bye;

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
    pub(super) fn new(limits: Arc<OutboxLimits>) -> Self {
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

    /// Whether something for the session was left out of which it is not told yet.
    pub fn is_behind(&self) -> bool {
        self.queue.lock().behind
    }

    /// Something the session should have been told is lost: it is told that it is behind.
    pub fn fall_behind(&self) {
        let mut queue = self.queue.lock();
        queue.pushes += 1;
        if queue.bye.is_none() {
            queue.behind = true;
            drop(queue);
            self.wake.notify_one();
        }
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
    fn whoever_may_have_missed_something_is_told_once_behind_what_waits() {
        let outbox = outbox(10, 100, 10);
        outbox.push(Bytes::from_static(b"1"), 1);
        outbox.fall_behind();
        outbox.fall_behind();
        assert!(matches!(outbox.drain(2), Drained::Behind(frames) if frames.len() == 1));
        assert!(matches!(outbox.drain(3), Drained::Frames(frames) if frames.is_empty()));
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
