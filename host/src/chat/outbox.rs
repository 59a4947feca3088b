//! What was typed and has no final answer yet. A message keeps its client id however often it is sent, so sending
//! again is safe; it leaves only with an answer that says what became of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::render;
use crate::client::{To, WireError};

/// Messages that may wait; with more, no further line is read.
const ROOM: usize = 64;
/// How long a message waits when the server does not say.
const PAUSE: Duration = Duration::from_secs(1);

/// One message on its way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unsent {
    pub client_id: String,
    pub to: To,
    pub content: Value,
    /// The entry it answers.
    pub reply_to: Option<u64>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// To be sent, not before then.
    Due(Instant),
    /// Sent with this request id.
    Asked(u32),
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Unsent>,
}

impl Outbox {
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < ROOM
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a message in; it is due at once.
    pub(super) fn add(&mut self, to: To, content: Value, reply_to: Option<u64>, now: Instant) {
        let client_id = format!("{:032x}", rand::random::<u128>());
        self.waiting.push_back(Unsent {
            client_id,
            to,
            content,
            reply_to,
            state: State::Due(now),
        });
    }

    /// The first message that is due, to be sent now. One that must wait holds back those after it to the same place.
    pub(super) fn due(&mut self, now: Instant) -> Option<&mut Unsent> {
        let mut later: Vec<To> = Vec::new();
        let index = self.waiting.iter().position(|unsent| match unsent.state {
            State::Asked(_) => false,
            State::Due(at) if at <= now && !later.contains(&unsent.to) => true,
            State::Due(_) => {
                later.push(unsent.to.clone());
                false
            }
        })?;
        self.waiting.get_mut(index)
    }

    /// When something will be due; `None` when nothing waits for its time.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let times = self.waiting.iter().filter_map(|unsent| match unsent.state {
            State::Due(at) => Some(at),
            State::Asked(_) => None,
        });
        times.min()
    }

    /// Takes the message of an answered request out.
    pub(super) fn answered(&mut self, request: u32) -> Option<Unsent> {
        let index = self
            .waiting
            .iter()
            .position(|unsent| unsent.state == State::Asked(request))?;
        self.waiting.remove(index)
    }

    /// Puts a message back whose answer was that it may be sent again.
    pub(super) fn again(&mut self, mut unsent: Unsent, error: &WireError, now: Instant) {
        let pause = error.retry_after_ms().map_or(PAUSE, Duration::from_millis);
        unsent.state = State::Due(now + pause);
        self.waiting.push_front(unsent);
    }

    /// After a lost connection nobody will answer what was asked.
    pub(super) fn forget_requests(&mut self, now: Instant) {
        for unsent in &mut self.waiting {
            unsent.state = State::Due(now);
        }
    }

    /// The direct conversation of a user is known now; what waits for the user goes there.
    pub(super) fn readdress(&mut self, from: &To, to: &To) {
        for unsent in self.waiting.iter_mut().filter(|unsent| unsent.to == *from) {
            unsent.to = to.clone();
        }
    }
}

impl Unsent {
    /// What it says, as it is shown.
    pub(super) fn text(&self) -> String {
        render::content(&self.content)
    }

    pub(super) fn asked(&mut self, request: u32) {
        self.state = State::Asked(request);
    }
}

/// Whether sending the same message again may end otherwise.
pub(super) fn may_be_sent_again(error: &WireError) -> bool {
    matches!(
        error.code(),
        "unavailable" | "timeout" | "rate_limited" | "closed"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Refused;

    fn said(text: &str) -> Value {
        serde_json::json!({"type": "text", "text": text})
    }

    fn refused(code: &str, retry_after_ms: u64) -> WireError {
        WireError::Refused(Refused {
            code: code.to_owned(),
            retry_after_ms: Some(retry_after_ms),
            ..Refused::default()
        })
    }

    #[test]
    fn a_lost_connection_sends_everything_again_under_the_same_ids() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for text in ["a", "b"] {
            outbox.add(To::user("1"), said(text), None, now);
        }
        let mut first_ids = Vec::new();
        for request in [1, 2] {
            let due = outbox.due(now).expect("due");
            first_ids.push(due.client_id.clone());
            due.asked(request);
        }
        assert!(outbox.due(now).is_none());
        outbox.forget_requests(now);
        for id in &first_ids {
            let due = outbox.due(now).expect("due again");
            assert_eq!(due.client_id, *id);
            due.asked(9);
        }
        assert_ne!(first_ids[0], first_ids[1]);
    }

    #[test]
    fn a_message_that_must_wait_holds_back_its_own_conversation_only() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.add(To::user("1"), said("a"), None, now);
        outbox.due(now).expect("due").asked(1);
        let unsent = outbox.answered(1).expect("known");
        outbox.again(unsent, &refused("rate_limited", 500), now);
        outbox.add(To::user("1"), said("b"), None, now);
        outbox.add(To::user("2"), said("c"), None, now);
        assert_eq!(outbox.due(now).expect("another place").text(), "c");
        let later = now + Duration::from_millis(500);
        assert_eq!(outbox.due(later).expect("its time has come").text(), "a");
    }

    #[test]
    fn only_what_stored_nothing_or_is_unknown_is_sent_again() {
        for (code, again) in [
            ("unavailable", true),
            ("timeout", true),
            ("rejected", false),
            ("conflict", false),
        ] {
            assert_eq!(may_be_sent_again(&refused(code, 1)), again, "{code}");
        }
    }
}
