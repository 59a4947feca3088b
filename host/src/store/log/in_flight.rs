//! What is submitted and not yet settled, by conversation and author: counted in when it is queued and out when its
//! commit is visible to readers. As bounded as the queue is; knows nothing of what a change does.

use std::collections::hash_map::Entry;

use parking_lot::Mutex;

use crate::ids::{ConversationId, UserId};
use crate::maps::HashMap;
use crate::store::{Change, InFlight};

#[derive(Default, Clone, Copy)]
struct Count {
    messages: u32,
    all: u32,
}

/// The counts of everything on its way.
#[derive(Default)]
pub struct Counts(Mutex<HashMap<(ConversationId, UserId), Count>>);

impl Counts {
    pub fn of(&self, conversation: ConversationId, user: UserId) -> InFlight {
        let count = self.0.lock().get(&(conversation, user)).copied();
        let Count { messages, all } = count.unwrap_or_default();
        InFlight {
            messages: u8::try_from(messages).unwrap_or(u8::MAX),
            any: all > 0,
        }
    }

    /// One more is on its way.
    pub fn enter(&self, change: &Change) {
        if let Some((place, messages)) = counted(change) {
            let mut counts = self.0.lock();
            let count = counts.entry(place).or_default();
            count.messages += messages;
            count.all += 1;
        }
    }

    /// These have settled.
    pub fn leave<'a>(&self, changes: impl Iterator<Item = &'a Change>) {
        let mut counts = self.0.lock();
        for (place, messages) in changes.filter_map(counted) {
            if let Entry::Occupied(mut found) = counts.entry(place) {
                let count = found.get_mut();
                count.messages = count.messages.saturating_sub(messages);
                count.all -= 1;
                if count.all == 0 {
                    found.remove();
                }
            }
        }
    }
}

/// Where a change counts, and as how many messages: everything that a client id stands for.
fn counted(change: &Change) -> Option<((ConversationId, UserId), u32)> {
    match change {
        Change::Append(append) if append.key.is_some() => Some((
            (append.conversation, append.author),
            u32::from(append.moves_read),
        )),
        Change::Hold(hold) => Some(((hold.conversation, hold.author), 0)),
        Change::Command(answer) => Some(((answer.conversation, answer.author), 0)),
        Change::Drop {
            conversation,
            author,
            ..
        } => Some(((*conversation, *author), 0)),
        _ => None,
    }
}
