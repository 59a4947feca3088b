//! Content that a filter rejects or holds is told to administrators' rules, where there are any: who wrote it is what the
//! strategies of the same judgement were asked. Told through a bounded channel; the message does not wait.

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Command, Occasion, Verdict};
use crate::store::HoldCause;

/// What one judgement tells.
pub struct Flags {
    happened: mpsc::Sender<Occasion>,
    /// Who asks, and where.
    asked: Mutex<Option<(String, String)>>,
}

impl Flags {
    pub fn new(happened: mpsc::Sender<Occasion>) -> Self {
        Self {
            happened,
            asked: Mutex::new(None),
        }
    }

    pub fn asked(&self, command: &Command<'_>) {
        let asked = (command.sender.to_owned(), command.conversation.to_owned());
        *self.asked.lock() = Some(asked);
    }

    /// The filters' verdict. Names are told of by whoever wants to bear one.
    pub fn judged(&self, verdict: &Verdict) {
        let (what, text) = match verdict {
            Verdict::Reject { by, .. } => (by, "reject"),
            Verdict::Hold {
                by,
                cause: HoldCause::Verdict,
                ..
            } => (by, "hold"),
            _ => return,
        };
        let Some((user, conversation)) = self.asked.lock().clone() else {
            return;
        };
        let occasion = Occasion {
            kind: "content-flagged",
            user,
            conversation,
            what: what.clone(),
            text: text.to_owned(),
            ..Occasion::default()
        };
        if self.happened.try_send(occasion).is_err() {
            tracing::warn!("too much was flagged at once: a rule is not told of one");
        }
    }
}
