//! What the log knows of media: which entries name one, and whether a user sees any of them. Reads only.
//! Every walk here is bounded: by the conversations looked at, then by the user's own list.

use super::EmbeddedLog;
use super::tables::unavailable;
use crate::conversation::Kind;
use crate::entry::Seq;
use crate::ids::{ConversationId, MediaId, UserId};
use crate::store::StoreError;
use crate::store::log::key;
use crate::store::log::rows::Reader;

/// Conversations looked at before the user's own list is the shorter way.
const CONVERSATIONS_MOST: usize = 64;
/// Entries of one conversation looked at; more than one is looked at only where entries leave members out.
const ENTRIES_MOST: usize = 1000;

/// Whether an entry or a held message names it, or a conversation has it as its avatar.
pub fn used(log: &EmbeddedLog, media: MediaId) -> Result<bool, StoreError> {
    Ok(any(log, key::media_uses(media))?
        || any(log, key::media_holds(media))?
        || any(log, key::media_avatars(media))?)
}

fn any(log: &EmbeddedLog, prefix: Vec<u8>) -> Result<bool, StoreError> {
    match log.tables().rows.prefix(prefix).next() {
        Some(guard) => guard.key().map(|_| true).map_err(unavailable),
        None => Ok(false),
    }
}

/// Whether a user is a present member of a conversation with an entry that names it and that the user may see. An
/// avatar is everybody's to see.
pub fn readable(log: &EmbeddedLog, media: MediaId, user: UserId) -> Result<bool, StoreError> {
    if any(log, key::media_avatars(media))? {
        return Ok(true);
    }
    let mut from = ConversationId(0);
    for _ in 0..CONVERSATIONS_MOST {
        let Some(conversation) = next_conversation(log, media, from)? else {
            return Ok(false);
        };
        if sees(log, media, conversation, user)? {
            return Ok(true);
        }
        let Some(next) = conversation.0.checked_add(1) else {
            return Ok(false);
        };
        from = ConversationId(next);
    }
    for conversation in log.tables().memberships(user)? {
        if sees(log, media, conversation, user)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn next_conversation(
    log: &EmbeddedLog,
    media: MediaId,
    from: ConversationId,
) -> Result<Option<ConversationId>, StoreError> {
    let range =
        key::media_use(media, from, 0)..=key::media_use(media, ConversationId(u128::MAX), Seq::MAX);
    let Some(guard) = log.tables().rows.range(range).next() else {
        return Ok(None);
    };
    let found = guard.key().map_err(unavailable)?;
    let id = found.get(9..25).and_then(|id| id.try_into().ok());
    Ok(id.map(|id| ConversationId(u128::from_be_bytes(id))))
}

fn sees(
    log: &EmbeddedLog,
    media: MediaId,
    conversation: ConversationId,
    user: UserId,
) -> Result<bool, StoreError> {
    let Some(state) = log.state(conversation)? else {
        return Ok(false);
    };
    if state.conversation.dissolved().is_some() {
        return Ok(false);
    }
    let member = match state.conversation.kind {
        Kind::Group => log.tables().member(conversation, user)?,
        Kind::Direct | Kind::Own => state.member(user).cloned(),
    };
    let Some(member) = member.filter(|member| member.left.is_none()) else {
        return Ok(false);
    };
    let range = key::media_use(media, conversation, member.visible_from.max(1))
        ..=key::media_use(media, conversation, Seq::MAX);
    for guard in log.tables().rows.range(range).take(ENTRIES_MOST) {
        let audience = guard.value().map_err(unavailable)?;
        if audience.is_empty() || among(&audience, user) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn among(audience: &[u8], user: UserId) -> bool {
    let mut users = Reader(audience);
    while let Some(other) = users.u64() {
        if other == user.0 {
            return true;
        }
    }
    false
}

/// Media that an entry or a held message named and does not any more, as noted when that changed.
pub fn left(log: &EmbeddedLog, limit: usize) -> Result<Vec<MediaId>, StoreError> {
    let mut left = Vec::new();
    for guard in log.tables().rows.prefix([key::MEDIA_LEFT]).take(limit) {
        let found = guard.key().map_err(unavailable)?;
        let id = Reader(found.get(1..).unwrap_or_default()).u64();
        left.push(MediaId(id.ok_or_else(|| {
            StoreError::Damaged("a media note's key could not be read".to_owned())
        })?));
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fjall::PersistMode;

    use super::*;
    use crate::clock::SystemClock;
    use crate::conversation::Conversation;

    use crate::store::embedded_log::EmbeddedLog;
    use crate::store::embedded_log::engine::Fjall;
    use crate::store::log::batch::Batch;
    use crate::store::log::floor::Floor;
    use crate::store::log::heads::State;
    use crate::store::log::rows::Header;

    #[test]
    fn a_conversations_avatar_is_kept_and_everybodys_until_another_takes_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = EmbeddedLog::open(folder.path(), Arc::new(SystemClock));
        let (log, _settlements) = opened.expect("opens");
        let (first, second) = (MediaId(7), MediaId(8));
        let mut conversation = Conversation {
            id: ConversationId::direct(UserId(1), UserId(2)),
            kind: Kind::Direct,
            title: String::new(),
            avatar: None,
            users: vec![UserId(1), UserId(2)],
            created_at: 0,
            group: None,
        };
        let mut write = |avatar: Option<MediaId>| {
            let mut engine = Fjall::new(&log.shared, 1);
            let mut batch = Batch::new(&mut engine, 1, 1);
            let state = State {
                conversation: Arc::new(conversation.clone()),
                changed: 1,
                head: 0,
                head_id: 0,
                generation: 0,
                header: Header::default(),
                last_message: None,
                floor: Floor::default(),
                members: Vec::new(),
            };
            batch.put_state(conversation.id, state);
            conversation.avatar = avatar.map(|media| media.to_string());
            batch.put_conversation(&conversation, 1);
            let finished = batch.finish();
            engine
                .commit(finished, 1, PersistMode::Buffer)
                .expect("commits");
            [first, second].map(|media| {
                let used = used(&log, media).expect("answers");
                let readable = readable(&log, media, UserId(3)).expect("answers");
                assert_eq!(used, readable);
                used
            })
        };
        assert_eq!(write(None), [false, false]);
        assert_eq!(write(Some(first)), [true, false]);
        assert_eq!(write(Some(first)), [true, false]);
        assert_eq!(write(Some(second)), [false, true]);
        assert_eq!(write(None), [false, false]);
        assert_eq!(left(&log, 9).expect("answers"), [first, second]);
    }
}
