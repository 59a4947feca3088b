//! What a change is about: where it is committed, which client id it answers, whether somebody asks for it again. Looks at
//! no store.

use kith::ids::ConversationId;
use kith::store::log::key;
use kith::store::{Change, Origin, Submission};

/// Where a change is committed.
pub fn lane_of(change: &Change) -> Option<ConversationId> {
    match change {
        Change::Append(append) => Some(append.conversation),
        Change::Hold(hold) => Some(hold.conversation),
        Change::Group(group) => Some(group.conversation),
        Change::Command(answer) => Some(answer.conversation),
        Change::Drop { conversation, .. }
        | Change::Receipt { conversation, .. }
        | Change::Prefs { conversation, .. }
        | Change::Profile { conversation, .. } => Some(*conversation),
        _ => None,
    }
}

/// The client id it answers, as a key among the answers.
pub fn answer_key(lane: ConversationId, change: &Change) -> Option<Vec<u8>> {
    let (author, client_id) = match change {
        Change::Append(append) => (append.author, &append.key.as_ref()?.client_id),
        Change::Hold(hold) => (hold.author, &hold.key.as_ref()?.client_id),
        Change::Drop { author, key, .. } => (*author, &key.client_id),
        Change::Command(answer) => (answer.author, &answer.key.client_id),
        _ => return None,
    };
    Some(key::answer(lane, author, client_id))
}

/// Nothing finds a receipt again. Messages and recalls are asked for until they are answered.
pub fn is_asked_once(change: &Change) -> bool {
    let receipt_or_group = !matches!(change, Change::Append(_));
    receipt_or_group && lane_of(change).is_some_and(|lane| answer_key(lane, change).is_none())
}

/// A change nobody waits for.
pub fn unasked(change: Change) -> Submission {
    Submission {
        change,
        origin: Origin::None,
    }
}
