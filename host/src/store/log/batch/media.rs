//! Who may see which media, kept with the entries that name them: written and taken away in the entry's own batch.
//! Deletes no bytes; what is not named any more is only noted for whoever does.

use super::Batch;
use crate::content::media::media_in;
use crate::conversation::Conversation;
use crate::entry::Entry;
use crate::ids::{HoldId, MediaId};
use crate::store::log::batch::Applied;
use crate::store::log::key;
use crate::store::log::rows::Writer;
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
