//! From what is stored to what can be asked again: texts and context come from the log as it stands, so that what was
//! recalled, edited or erased since is not there.

use std::sync::Arc;

use super::Replays;
use super::asked::AskedRecent;
use super::attempt::{Attempt, Case, Place};
use super::report::Skipped;
use crate::conversation::Kind;
use crate::entry::{Body, Circumstances, Entry, Seq};
use crate::ids::{ConversationId, UserId};
use crate::journey::recent::shown;
use crate::store::judged::JudgedEntry;
use crate::store::{HeldMessage, Span, StoreError};

/// What a stored thing comes to.
pub enum Stored {
    Case(Box<Case>),
    Skipped(Skipped),
    /// Nobody was asked about it.
    NotAsked,
}

/// The newest entries as a strategy was shown them.
pub struct Context {
    pub recent: Vec<AskedRecent>,
    /// Those before were not looked at then.
    looked_from: Seq,
    /// Some of them were not looked at then.
    pub approximate: bool,
}

impl Replays {
    /// An entry as the command that made it.
    pub(super) async fn of_entry(&self, judged: JudgedEntry) -> Result<Stored, StoreError> {
        let (entry, record) = (judged.entry, judged.record);
        if record.generation == 0 && record.hooks.is_empty() {
            return Ok(Stored::NotAsked);
        }
        let (operation, content, text, target) = match &entry.body {
            Body::Message(message) if message.recalled => {
                return Ok(Stored::Skipped(Skipped::Recalled));
            }
            Body::Message(message) if message.edited => {
                return Ok(Stored::Skipped(Skipped::Edited));
            }
            Body::Message(message) => ("send", message.content.clone(), "", None),
            Body::Edit { content: None, .. } | Body::Recall { .. } => {
                return Ok(Stored::Skipped(Skipped::Recalled));
            }
            Body::Edit { target, content } => ("edit", content.clone(), "", Some(*target)),
            Body::React { target, emoji, .. } => ("react", None, emoji.as_str(), Some(*target)),
            Body::System { .. } => return Ok(Stored::Skipped(Skipped::NotKept)),
        };
        let Some(asked) = record.circumstances else {
            return Ok(Stored::Skipped(Skipped::NotKept));
        };
        let rejudged = operation == "edit" && !record.earlier.is_empty();
        if rejudged || (asked.beside && record.beside.is_none()) {
            return Ok(Stored::Skipped(Skipped::NotKept));
        }
        let target = match target {
            Some(seq) => match self.target(entry.conversation, seq, &asked).await? {
                Some(target) => Some(target),
                None => return Ok(Stored::Skipped(Skipped::NotKept)),
            },
            None => None,
        };
        let Some((kind, peer)) = self.whereabouts(entry.conversation, entry.from).await? else {
            return Ok(Stored::Skipped(Skipped::NotKept));
        };
        let kept = content.map(|content| content.get().to_owned());
        let sent = record
            .beside
            .as_ref()
            .and_then(|beside| beside.sent.clone());
        let attempt = Attempt {
            operation: operation.to_owned(),
            conversation: entry.conversation,
            author: entry.from,
            kind,
            peer,
            sent: sent.or_else(|| kept.clone()),
            kept,
            text: text.to_owned(),
            target,
            reply_to: entry
                .message()
                .and_then(|message| message.reply_to)
                .unwrap_or(0),
            record,
        };
        Ok(Stored::Case(Box::new(Case {
            place: Place::Entry(entry.seq),
            attempt,
        })))
    }

    /// A held message as the command that made it.
    pub(super) async fn of_held(&self, held: &Arc<HeldMessage>) -> Result<Stored, StoreError> {
        let hold = &held.hold;
        if hold.content.get() == "null" {
            return Ok(Stored::Skipped(Skipped::Recalled));
        }
        let record = hold.record.clone();
        let Some(asked) = record.circumstances.filter(|_| record.earlier.is_empty()) else {
            return Ok(Stored::Skipped(Skipped::NotKept));
        };
        let target = match hold.edits {
            Some(seq) => match self.target(hold.conversation, seq, &asked).await? {
                Some(target) => Some(target),
                None => return Ok(Stored::Skipped(Skipped::NotKept)),
            },
            None => None,
        };
        let (kind, peer) = match &hold.opening {
            Some(opening) => {
                let peer = opening.users.iter().find(|user| **user != hold.author);
                (opening.kind, peer.copied())
            }
            None => match self.whereabouts(hold.conversation, hold.author).await? {
                Some(found) => found,
                None => return Ok(Stored::Skipped(Skipped::NotKept)),
            },
        };
        let kept = hold.content.get().to_owned();
        let beside = record
            .beside
            .as_ref()
            .and_then(|beside| beside.sent.clone());
        let sent = beside.or_else(|| hold.sent.as_ref().map(|sent| sent.get().to_owned()));
        let attempt = Attempt {
            operation: if target.is_some() { "edit" } else { "send" }.to_owned(),
            conversation: hold.conversation,
            author: hold.author,
            kind,
            peer,
            sent: Some(sent.unwrap_or_else(|| kept.clone())),
            kept: Some(kept),
            text: String::new(),
            target,
            reply_to: hold.reply_to.unwrap_or(0),
            record,
        };
        Ok(Stored::Case(Box::new(Case {
            place: Place::Held(held.id),
            attempt,
        })))
    }

    /// Who wrote the entry that another is about, and its age then.
    async fn target(
        &self,
        conversation: ConversationId,
        seq: Seq,
        asked: &Circumstances,
    ) -> Result<Option<(UserId, u64)>, StoreError> {
        let found = self.journey.log.entry(conversation, seq).await?;
        Ok(found.map(|(entry, _)| (entry.from, asked.at_ms.saturating_sub(entry.at))))
    }

    async fn whereabouts(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<(Kind, Option<UserId>)>, StoreError> {
        let standing = self.journey.log.standing(conversation, user).await?;
        Ok(standing.map(|standing| {
            let conversation = standing.conversation;
            (conversation.kind, conversation.peer_of(user))
        }))
    }

    /// What a strategy that wants so many of the newest entries was shown, or would have been; `Err` inside: it is not to
    /// be had any more.
    pub(super) async fn context(
        &self,
        case: &Case,
        wanted: usize,
    ) -> Result<Result<Context, Skipped>, StoreError> {
        let none = Context {
            recent: Vec::new(),
            looked_from: 0,
            approximate: false,
        };
        let Some(asked) = case.attempt.record.circumstances.filter(|_| wanted > 0) else {
            return Ok(Ok(none));
        };
        let (first, last) = match (asked.recent, case.place) {
            ((0, 0), Place::Entry(seq)) => (seq, seq.saturating_sub(1)),
            ((0, 0), _) => return Ok(Ok(none)),
            (looked_at, _) => looked_at,
        };
        if last == 0 {
            return Ok(Ok(none));
        }
        let was_shown = first.max(1)..=last;
        let approximate = (last + 1).saturating_sub(first) < wanted as u64 && first > 1;
        let from = match approximate {
            true => (last + 1).saturating_sub(wanted as u64).max(1),
            false => first.max(1),
        };
        let conversation = case.attempt.conversation;
        let entries = self
            .judged
            .judged_between(conversation, (from, last))
            .await?;
        let there = entries
            .iter()
            .filter(|found| was_shown.contains(&found.entry.seq));
        if there.count() as u64 != (last + 1).saturating_sub(first.max(1)) {
            return Ok(Err(Skipped::Context));
        }
        let mut recent = Vec::with_capacity(entries.len());
        for found in &entries {
            if self.has_changed(found, last).await? {
                return Ok(Err(Skipped::Context));
            }
            if found.entry.is_for(case.attempt.author) {
                recent.push(as_asked(&found.entry));
            }
        }
        Ok(Ok(Context {
            recent,
            looked_from: first,
            approximate,
        }))
    }

    /// Whether an entry is not what it was when `last` was the newest one.
    async fn has_changed(&self, found: &JudgedEntry, last: Seq) -> Result<bool, StoreError> {
        if found.recalled_by > last || found.edits.iter().any(|edit| *edit > last) {
            return Ok(true);
        }
        // The text of an edit goes with the recall of its message, which alone knows when that was.
        let Body::Edit {
            target,
            content: None,
        } = found.entry.body
        else {
            return Ok(false);
        };
        let conversation = found.entry.conversation;
        let edited = self
            .judged
            .judged_between(conversation, (target, target))
            .await?;
        Ok(edited
            .first()
            .is_none_or(|message| message.recalled_by > last))
    }

    /// What a member may look back at now, for a message that nobody looked back from: never more.
    pub(super) async fn may_see(
        &self,
        case: &Case,
        context: Context,
    ) -> Result<Context, StoreError> {
        if !context.approximate {
            return Ok(context);
        }
        let newest = Span {
            after: None,
            before: None,
            limit: 1,
        };
        let attempt = &case.attempt;
        let page = self
            .journey
            .log
            .page(attempt.conversation, attempt.author, newest)
            .await?;
        let recent = context.recent.into_iter();
        let recent: Vec<_> = recent.filter(|entry| entry.seq >= page.floor).collect();
        let oldest = recent.first().map_or(u64::MAX, |entry| entry.seq);
        Ok(Context {
            approximate: oldest < context.looked_from,
            looked_from: context.looked_from,
            recent,
        })
    }
}

fn as_asked(entry: &Entry) -> AskedRecent {
    let shown = shown(entry);
    AskedRecent {
        seq: shown.seq,
        sender: shown.sender,
        at_ms: shown.at_ms,
        kind: shown.kind,
        text: shown.text.as_str().into(),
    }
}
