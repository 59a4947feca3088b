//! Erasing the oldest entries of a log for good, with all that is kept beside them.
//! What is to go is decided elsewhere; counts of what stays remain exact.

use super::Batch;
use super::target::content_of;
use crate::entry::Seq;
use crate::ids::ConversationId;
use crate::store::log::batch::Applied;
use crate::store::log::engine::Table;
use crate::store::log::feed::Told;
use crate::store::log::floor::Floor;
use crate::store::log::key;
use crate::store::log::rows::EntryRow;
use crate::store::{CommitError, Outcome, StoreError};

/// Entries erased by one change: what waits behind it waits a few milliseconds.
const ERASED_MOST: u64 = 256;

impl Batch<'_> {
    pub(super) fn erase(&mut self, conversation: ConversationId, before: Seq) -> Applied {
        let Some(state) = self.state(conversation)? else {
            return Ok(Err(CommitError::Gone("no such conversation")));
        };
        let (from, head) = (state.floor.seq, state.head);
        let before = before.min(head + 1);
        let upto = before.min(from + ERASED_MOST);
        if upto > from {
            let mut last = None;
            for seq in from..upto {
                last = self.erase_entry(conversation, seq)?.or(last);
            }
            self.erase_reactions(conversation, from, upto)?;
            self.raise_floor(conversation, upto, last)?;
        }
        let Some(state) = self.state(conversation)? else {
            return Ok(Err(CommitError::Gone("no such conversation")));
        };
        Ok(Ok(Outcome::Erased {
            conversation: state.conversation.clone(),
            floor: state.floor.seq,
            done: upto >= before,
        }))
    }

    fn erase_entry(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<EntryRow>, StoreError> {
        let Some(row) = self.entry(conversation, seq)? else {
            return Ok(None);
        };
        if let Some(message) = row.entry.message() {
            let content = message.content.as_deref().map(|json| json.get());
            self.mark_mentions(&row.entry, content, false);
        }
        self.mark_media(&row.entry, content_of(&row.entry), false);
        self.remove_beside(row.entry.id);
        if row.entry.audience.is_some() {
            self.remove_row(key::narrowed(conversation, seq));
        }
        for hold in &row.holds {
            self.refuse_held_edit(*hold)?;
        }
        let place = key::entry(conversation, seq);
        self.engine.remove(Table::Entries, &place);
        self.news.other = true;
        self.entries.insert((conversation, seq), None);
        Ok(Some(row))
    }

    fn erase_reactions(
        &mut self,
        conversation: ConversationId,
        from: Seq,
        upto: Seq,
    ) -> Result<(), StoreError> {
        let range = key::reactions(conversation, from)..key::reactions(conversation, upto);
        let mut gone: Vec<Vec<u8>> = self
            .reactions
            .keys()
            .filter(|key| range.contains(*key))
            .cloned()
            .collect();
        gone.extend(self.engine.keys(range)?);
        for key in gone {
            self.remove_row(key.clone());
            self.reactions.insert(key, None);
        }
        Ok(())
    }

    fn raise_floor(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        last: Option<EntryRow>,
    ) -> Result<(), StoreError> {
        let stamp = self.next_stamp();
        self.erased = true;
        let Some(state) = self.state(conversation)? else {
            return Ok(());
        };
        state.floor = match last {
            Some(row) => Floor {
                seq,
                header: row.header,
                id: row.entry.id.0,
                generation: row.record.generation,
            },
            None => Floor { seq, ..state.floor },
        };
        state.changed = stamp;
        if state.header.last_message < seq {
            state.last_message = None;
        }
        let (floor, known) = (state.floor, state.conversation.clone());
        self.tell(stamp, Told::Erased, conversation, floor.seq);
        self.put_row(key::floor(conversation), floor.encode());
        self.put_conversation(&known, stamp);
        Ok(())
    }
}
