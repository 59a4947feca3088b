//! What hooks were asked with, noted for a later replay: with the record where there will be an entry, told to the
//! generation where there will be none. Decides nothing.

use serde_json::value::RawValue;

use super::decide::Question;
use crate::conversation::Role;
use crate::entry::{Beside, Circumstances, DecisionRecord, HookRead};
use crate::plugins::Judge;
use crate::plugins::replay::Attempt;

/// Notes in a record what its hooks were told and have read.
pub fn note(record: &mut DecisionRecord, question: &Question<'_>, reads: Vec<HookRead>) {
    record.circumstances = Some(circumstances(question));
    if !reads.is_empty() {
        beside(record).reads = reads;
    }
}

/// Notes what hooks read before those of the record.
pub fn note_earlier(record: &mut DecisionRecord, reads: Vec<HookRead>) {
    if !reads.is_empty() {
        beside(record).reads.splice(0..0, reads);
    }
}

/// Notes the content as it was sent, where a hook changed it.
pub fn note_sent(record: &mut DecisionRecord, sent: &RawValue) {
    beside(record).sent = Some(sent.get().to_owned());
}

fn beside(record: &mut DecisionRecord) -> &mut Beside {
    if let Some(circumstances) = &mut record.circumstances {
        circumstances.beside = true;
    }
    record.beside.get_or_insert_default()
}

fn circumstances(question: &Question<'_>) -> Circumstances {
    let place = question.place;
    Circumstances {
        at_ms: question.at_ms,
        role: place
            .member
            .as_ref()
            .map_or(Role::Member, |member| member.role),
        blocked: place.relation.blocked,
        blocking: place.relation.blocking,
        friends: place.relation.friends,
        muted: place.is_muted(question.at_ms),
        answered: place.answered,
        unanswered: place.unanswered,
        recent: place.looked_at,
        beside: false,
    }
}

/// Tells the generation of what it decided about and nothing will store. What a recall is about stays where it is.
pub fn not_stored(judge: &dyn Judge, question: &Question<'_>, mut record: DecisionRecord) {
    if question.operation == "recall" || !judge.keeps_attempts() {
        return;
    }
    if record.circumstances.is_none() {
        note(&mut record, question, Vec::new());
    }
    let place = question.place;
    judge.not_stored(Attempt {
        operation: question.operation.to_owned(),
        conversation: place.conversation,
        author: question.author,
        kind: place.kind,
        peer: place.peer,
        sent: question
            .content
            .map(|content| content.to_raw().get().to_owned()),
        kept: None,
        text: question.text.to_owned(),
        target: question.target,
        reply_to: question.reply_to.unwrap_or_default(),
        record,
    });
}
