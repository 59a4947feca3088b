//! Who may see which media, kept with the entries that name them: written and taken away in the entry's own batch.
//! Deletes no bytes; what is not named any more is only noted for whoever does.

use super::Batch;
use crate::content::media::media_in;
use crate::conversation::Conversation;
use crate::entry::Entry;
use crate::ids::{HoldId, MediaId};
use crate::store::embedded_log::committer::Applied;
use crate::store::embedded_log::key;
use crate::store::embedded_log::rows::Writer;
use crate::store::{Hold, Outcome};

impl Batch<'_> {
    /// An entry has this content from now on, or not any more. Texts name no media and cost nothing.
    pub(super) fn mark_media(&mut self, entry: &Entry, content: Option<&str>, on: bool) {
        for media in content.map_or_else(Vec::new, media_in) {
            let key = key::media_use(media, entry.conversation, entry.seq);
            if on {
                self.put_row(key, audience(entry));
            } else {
                self.remove_row(key);
                self.put_row(key::media_left(media), Vec::new());
            }
        }
    }

    /// A held message keeps what it names from being deleted.
    pub(super) fn mark_held_media(&mut self, id: HoldId, hold: &Hold, on: bool) {
        // As it was sent it may name more than as it would be stored.
        let content = hold.sent.as_ref().unwrap_or(&hold.content);
        for media in media_in(content.get()) {
            let key = key::media_held(media, id);
            if on {
                self.put_row(key, Vec::new());
            } else {
                self.remove_row(key);
                self.put_row(key::media_left(media), Vec::new());
            }
        }
    }

    /// A conversation is written with this avatar; the one it had before is let go of.
    pub(super) fn mark_avatar(&mut self, conversation: &Conversation) {
        let parsed = |avatar: &Option<String>| avatar.as_ref()?.parse::<MediaId>().ok();
        let written = self.states.get(&conversation.id);
        let before = written.and_then(|state| parsed(&state.conversation.avatar));
        // Nobody sees a dissolved group any more.
        let stands = conversation.dissolved().is_none();
        let now = parsed(&conversation.avatar).filter(|_| stands);
        if let Some(media) = before.filter(|_| before != now) {
            self.remove_row(key::media_avatar(media, conversation.id));
            self.put_row(key::media_left(media), Vec::new());
        }
        if let Some(media) = now {
            self.put_row(key::media_avatar(media, conversation.id), Vec::new());
        }
    }

    /// The notes about these media were taken over.
    pub(super) fn forget_left_media(&mut self, media: &[MediaId]) -> Applied {
        for id in media {
            self.remove_row(key::media_left(*id));
        }
        Ok(Ok(Outcome::Done))
    }
}

/// Nobody named is everyone: the author and the others otherwise.
fn audience(entry: &Entry) -> Vec<u8> {
    let Some(audience) = &entry.audience else {
        return Vec::new();
    };
    let mut users = Writer(Vec::with_capacity(8 + audience.len() * 8));
    users.u64(entry.from.0);
    for user in audience.iter() {
        users.u64(user.0);
    }
    users.0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fjall::PersistMode;

    use super::*;
    use crate::clock::SystemClock;
    use crate::conversation::Kind;
    use crate::ids::{ConversationId, UserId};
    use crate::store::embedded_log::floor::Floor;
    use crate::store::embedded_log::heads::State;
    use crate::store::embedded_log::rows::Header;
    use crate::store::embedded_log::{EmbeddedLog, media};

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
            let mut batch = Batch::new(&log.shared, 1, 1);
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
            batch.commit(PersistMode::Buffer).expect("commits");
            [first, second].map(|media| {
                let used = media::used(&log, media).expect("answers");
                let readable = media::readable(&log, media, UserId(3)).expect("answers");
                assert_eq!(used, readable);
                used
            })
        };
        assert_eq!(write(None), [false, false]);
        assert_eq!(write(Some(first)), [true, false]);
        assert_eq!(write(Some(first)), [true, false]);
        assert_eq!(write(Some(second)), [false, true]);
        assert_eq!(write(None), [false, false]);
        assert_eq!(media::left(&log, 9).expect("answers"), [first, second]);
    }
}
