//! Entries that were asked for again and found. Whoever wrote one may have ended before it told anybody, or never learnt that
//! it did write: what is found is noted here, and delivery has the members look (`host/src/delivery/found.rs`). Bounded;
//! never waited for; knows no session.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::entry::Seq;
use crate::ids::{ConversationId, EntryId};
use crate::store::FirstAnswer;

/// Conversations that are noted; of more it is only known that there are more.
const NOTED_MOST: usize = 65_536;

/// What was found and is not looked at yet.
#[derive(Debug, Default)]
pub struct Found {
    noted: Mutex<Noted>,
    wake: Notify,
}

/// What was found since it was last taken.
#[derive(Debug, Default)]
pub struct Noted {
    /// By conversation the newest entry: who reads that one reads those before it.
    pub newest: BTreeMap<ConversationId, (Seq, EntryId)>,
    /// There were more conversations than are noted.
    pub too_many: bool,
    /// Somebody takes it.
    followed: bool,
}

impl Found {
    /// From now on somebody takes what is noted; before, nothing is.
    pub fn follow(&self) {
        self.noted.lock().followed = true;
    }

    /// A first answer that was given once more.
    pub fn note(&self, conversation: ConversationId, first: &FirstAnswer) {
        if let FirstAnswer::Committed { seq, id, .. } = first {
            self.note_entry(conversation, (*seq, *id));
        }
    }

    pub fn note_entry(&self, conversation: ConversationId, entry: (Seq, EntryId)) {
        let mut noted = self.noted.lock();
        if !noted.followed {
            return;
        }
        if noted.newest.len() >= NOTED_MOST && !noted.newest.contains_key(&conversation) {
            noted.too_many = true;
        } else {
            let newest = noted.newest.entry(conversation).or_insert(entry);
            *newest = entry.max(*newest);
        }
        drop(noted);
        self.wake.notify_one();
    }

    /// Resolves when something may be noted.
    pub async fn some(&self) {
        self.wake.notified().await;
    }

    pub fn take(&self) -> Noted {
        let mut noted = self.noted.lock();
        let followed = noted.followed;
        let empty = Noted {
            followed,
            ..Noted::default()
        };
        std::mem::replace(&mut *noted, empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(seq: Seq) -> FirstAnswer {
        FirstAnswer::Committed {
            seq,
            id: EntryId(seq),
            replaced: None,
        }
    }

    #[test]
    fn of_a_conversation_the_newest_is_noted_and_nothing_where_nobody_follows() {
        let found = Found::default();
        found.note(ConversationId(1), &committed(1));
        assert!(found.take().newest.is_empty());
        found.follow();
        for seq in [2, 5, 3] {
            found.note(ConversationId(1), &committed(seq));
        }
        found.note(ConversationId(2), &FirstAnswer::Dropped);
        let noted = found.take();
        assert_eq!(
            noted.newest.into_iter().collect::<Vec<_>>(),
            [(ConversationId(1), (5, EntryId(5)))]
        );
        assert!(!noted.too_many && found.take().newest.is_empty());
        found.note(ConversationId(1), &committed(1));
        assert_eq!(found.take().newest.len(), 1, "it is followed still");
    }

    #[test]
    fn no_more_conversations_are_noted_than_there_is_room_for() {
        let found = Found::default();
        found.follow();
        for id in 0..=NOTED_MOST as u128 {
            found.note(ConversationId(id), &committed(1));
        }
        let noted = found.take();
        assert!(noted.too_many);
        assert_eq!(noted.newest.len(), NOTED_MOST);
    }
}
