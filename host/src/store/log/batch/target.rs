//! What an entry does to the earlier entry it is about: a recall erases, an edit takes the content's place, a
//! reaction is counted once. Decides nothing about who may.

use std::sync::Arc;

use super::Batch;
use crate::content::Content;
use crate::entry::{Body, Entry, Message, Seq};
use crate::ids::{ConversationId, EntryId, HoldId, UserId};
use crate::store::log::batch::Applied;
use crate::store::log::key;
use crate::store::log::rows::{EntryRow, Reader, Writer};
use crate::store::{Append, CommitError, FirstAnswer, Outcome, StoreError};

const NO_MESSAGE: CommitError = CommitError::Gone("there is no message at this seq");

impl Batch<'_> {
    /// What a new entry does to its target; `Some` when that settles the change already.
    pub(super) fn touch_target(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        append: &Append,
    ) -> Result<Option<Result<Outcome, CommitError>>, StoreError> {
        let target = match &append.body {
            Body::Recall { target, .. } | Body::Edit { target, .. } => *target,
            Body::React { target, emoji, on } => {
                return self.touch_reaction(append, *target, emoji, *on);
            }
            _ => return Ok(None),
        };
        let Some(row) = self.entry(conversation, target)? else {
            return Ok(Some(Err(NO_MESSAGE)));
        };
        let Some(message) = row.entry.message().cloned() else {
            return Ok(Some(Err(NO_MESSAGE)));
        };
        if message.recalled {
            return self.recalled_before(conversation, &row, append).map(Some);
        }
        self.mark_mentions(
            &row.entry,
            message.content.as_deref().map(|json| json.get()),
            false,
        );
        self.mark_media(&row.entry, content_of(&row.entry), false);
        self.remove_beside(row.entry.id);
        let changed = match &append.body {
            Body::Edit { content, .. } => {
                let json = content.as_deref().map(|json| json.get());
                self.mark_mentions(&row.entry, json, true);
                self.mark_media(&row.entry, json, true);
                edited(row, message, content.clone(), seq, append.releases)
            }
            _ => self.recalled(row, message, seq)?,
        };
        if let Some(state) = self.state(conversation)?
            && state.header.last_message == target
        {
            state.last_message = Some(changed.entry.clone());
        }
        self.put_entry(changed);
        Ok(None)
    }

    /// Erases a message's content wherever it stands: its edits and edits that wait among them.
    fn recalled(
        &mut self,
        row: EntryRow,
        message: Message,
        seq: Seq,
    ) -> Result<EntryRow, StoreError> {
        for edit in &row.edits {
            self.erase_edit(row.entry.conversation, *edit)?;
        }
        for hold in &row.holds {
            self.refuse_held_edit(*hold)?;
        }
        self.erased = true;
        let message = Message {
            content: None,
            recalled: true,
            ..message
        };
        Ok(EntryRow {
            recalled_by: seq,
            acked: None,
            holds: Vec::new(),
            record: row.record.clone().without_asked(),
            ..with_message(row, message)
        })
    }

    /// A recall of a message already recalled gets the first one's answer; an edit of one has come too late.
    fn recalled_before(
        &mut self,
        conversation: ConversationId,
        row: &EntryRow,
        append: &Append,
    ) -> Applied {
        if !matches!(append.body, Body::Recall { .. }) {
            return Ok(Err(CommitError::Gone("the message was recalled")));
        }
        let first = self.committed_at(conversation, row.recalled_by)?;
        Ok(Ok(Outcome::Resent(first)))
    }

    /// The answer that the entry at a seq was acked with.
    fn committed_at(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<FirstAnswer, StoreError> {
        let id = self
            .entry(conversation, seq)?
            .map_or(EntryId(0), |row| row.entry.id);
        Ok(FirstAnswer::Committed {
            seq,
            id,
            replaced: None,
        })
    }

    fn erase_edit(&mut self, conversation: ConversationId, seq: Seq) -> Result<(), StoreError> {
        if let Some(row) = self.entry(conversation, seq)?
            && let Body::Edit { target, .. } = row.entry.body
        {
            self.mark_media(&row.entry, content_of(&row.entry), false);
            self.remove_beside(row.entry.id);
            let entry = Entry {
                body: Body::Edit {
                    target,
                    content: None,
                },
                ..(*row.entry).clone()
            };
            self.put_entry(EntryRow {
                entry: Arc::new(entry),
                record: row.record.without_asked(),
                ..row
            });
        }
        Ok(())
    }

    /// Why an entry cannot be edited or reacted to; `None` when it can.
    pub(super) fn editable(
        &mut self,
        conversation: ConversationId,
        target: Seq,
    ) -> Result<Option<CommitError>, StoreError> {
        let row = self.entry(conversation, target)?;
        Ok(match row.as_ref().and_then(|row| row.entry.message()) {
            None => Some(NO_MESSAGE),
            Some(message) if message.recalled => {
                Some(CommitError::Gone("the message was recalled"))
            }
            Some(_) => None,
        })
    }

    /// Notes at a message that an edit of it is held, or is so no more.
    pub(super) fn note_hold(
        &mut self,
        conversation: ConversationId,
        target: Seq,
        hold: HoldId,
        held: bool,
    ) -> Result<(), StoreError> {
        if let Some(mut row) = self.entry(conversation, target)? {
            row.holds.retain(|other| *other != hold);
            if held {
                row.holds.push(hold);
            }
            self.put_entry(row);
        }
        Ok(())
    }

    /// A reaction that changes nothing is answered as the one that did.
    fn touch_reaction(
        &mut self,
        append: &Append,
        target: Seq,
        emoji: &str,
        on: bool,
    ) -> Result<Option<Result<Outcome, CommitError>>, StoreError> {
        let conversation = append.conversation;
        if let Some(gone) = self.editable(conversation, target)? {
            return Ok(Some(Err(gone)));
        }
        match self.reaction(&key::reaction(conversation, target, append.author, emoji))? {
            Some((stands, seq)) if stands == on => {
                let first = self.committed_at(conversation, seq)?;
                Ok(Some(Ok(Outcome::Resent(first))))
            }
            None if !on => Ok(Some(Err(CommitError::Gone(
                "there is no such reaction to take back",
            )))),
            _ => Ok(None),
        }
    }

    fn reaction(&self, key: &[u8]) -> Result<Option<(bool, Seq)>, StoreError> {
        if let Some(known) = self.reactions.get(key) {
            return Ok(*known);
        }
        let stored = self.engine.row(key)?;
        Ok(stored.and_then(|bytes| {
            let mut from = Reader(&bytes);
            Some((from.u8()? != 0, from.u64()?))
        }))
    }

    pub(super) fn put_reaction(&mut self, entry: &Entry, target: Seq, emoji: &str, on: bool) {
        let key = key::reaction(entry.conversation, target, entry.from, emoji);
        let mut row = Writer(Vec::with_capacity(9));
        row.u8(u8::from(on)).u64(entry.seq);
        self.put_row(key.clone(), row.0);
        self.reactions.insert(key, Some((on, entry.seq)));
    }

    /// Marks who a message mentions, or takes the marks away. Whom it leaves out it does not mention.
    pub(super) fn mark_mentions(&mut self, entry: &Entry, content: Option<&str>, on: bool) {
        // Nearly no text mentions anybody: looking for the field's name is cheaper than reading the JSON.
        let Some(content) = content
            .filter(|json| json.contains("\"mentions\""))
            .and_then(Content::from_stored)
        else {
            return;
        };
        for whom in content.mentions() {
            let one = whom.parse::<UserId>().ok();
            let users: &[UserId] = match (&entry.audience, &one) {
                (None, None) => &[key::ALL],
                (Some(audience), None) => audience,
                (Some(audience), Some(user)) if !audience.contains(user) => &[],
                (_, Some(user)) => std::slice::from_ref(user),
            };
            for user in users {
                let key = key::mention(entry.conversation, *user, entry.seq);
                if on {
                    self.put_row(key, entry.from.0.to_be_bytes());
                } else {
                    self.remove_row(key);
                }
            }
        }
    }
}

fn edited(
    row: EntryRow,
    message: Message,
    content: Option<Box<serde_json::value::RawValue>>,
    seq: Seq,
    released: Option<HoldId>,
) -> EntryRow {
    let mut row = row;
    row.edits.push(seq);
    row.holds.retain(|hold| Some(*hold) != released);
    if row.replaced && row.acked.is_none() {
        row.acked = message.content.clone();
    }
    let message = Message {
        content,
        edited: true,
        ..message
    };
    with_message(row, message)
}

fn with_message(row: EntryRow, message: Message) -> EntryRow {
    let entry = Entry {
        body: Body::Message(message),
        ..(*row.entry).clone()
    };
    EntryRow {
        entry: Arc::new(entry),
        ..row
    }
}

/// The content that stands in an entry.
pub(super) fn content_of(entry: &Entry) -> Option<&str> {
    match &entry.body {
        Body::Message(message) => message.content.as_deref(),
        Body::Edit { content, .. } => content.as_deref(),
        _ => None,
    }
    .map(|json| json.get())
}
