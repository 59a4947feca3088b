//! What the log knows of media: which entries name one, and whether a user sees any of them. Every walk is bounded: by the
//! conversations looked at, then by the user's own list.

use mongodb::bson::{Document, doc};

use super::Shared;
use super::apply::About;
use super::docs::{damaged, get_int, get_text, row_id, row_key};
use super::lists::among;
use super::schema::ROWS;
use crate::entry::Seq;
use crate::ids::{ConversationId, MediaId, UserId};
use crate::store::StoreError;
use crate::store::log::key;
use crate::store::log::rows::Reader;

/// Conversations looked at before the user's own list is the shorter way.
const CONVERSATIONS_MOST: usize = 64;
/// Entries of one conversation looked at; more than one is looked at only where entries leave members out.
const ENTRIES_MOST: usize = 1000;

impl Shared {
    /// Whether an entry or a held message names it, or a conversation has it as its avatar.
    pub async fn media_used(&self, media: MediaId) -> Result<bool, StoreError> {
        self.catch_up(About::Media).await?;
        for prefix in [
            key::media_uses(media),
            key::media_holds(media),
            key::media_avatars(media),
        ] {
            if self.any_row(prefix).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn any_row(&self, prefix: Vec<u8>) -> Result<bool, StoreError> {
        let from = row_id(&prefix);
        let to = format!("{from}g");
        Ok(!self.rows_between((from, to), 1).await?.is_empty())
    }

    /// Whether a user is a present member of a conversation with an entry that names it and that the user may see. An
    /// avatar is everybody's to see.
    pub async fn media_readable(&self, media: MediaId, user: UserId) -> Result<bool, StoreError> {
        self.catch_up(About::Media).await?;
        if self.any_row(key::media_avatars(media)).await? {
            return Ok(true);
        }
        let mut from = ConversationId(0);
        for _ in 0..CONVERSATIONS_MOST {
            let Some(conversation) = self.next_conversation(media, from).await? else {
                return Ok(false);
            };
            if self.sees(media, conversation, user).await? {
                return Ok(true);
            }
            let Some(next) = conversation.0.checked_add(1) else {
                return Ok(false);
            };
            from = ConversationId(next);
        }
        for conversation in self.memberships(user, None, 0).await? {
            if self.sees(media, conversation, user).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn next_conversation(
        &self,
        media: MediaId,
        from: ConversationId,
    ) -> Result<Option<ConversationId>, StoreError> {
        let end = format!("{}g", row_id(&key::media_uses(media)));
        let range = (row_id(&key::media_use(media, from, 0)), end);
        let rows = self.rows_between(range, 1).await?;
        let Some((place, _)) = rows.first() else {
            return Ok(None);
        };
        let id = row_key(place).and_then(|key| key.get(9..25)?.try_into().ok());
        let id = id.map(u128::from_be_bytes).map(ConversationId);
        id.map(Some).ok_or_else(|| damaged("a use of media"))
    }

    async fn sees(
        &self,
        media: MediaId,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<bool, StoreError> {
        let Some((state, _)) = self.state(conversation).await? else {
            return Ok(false);
        };
        let member = self.member_of(&state, user).await?;
        let Some(member) = member.filter(|member| member.left.is_none()) else {
            return Ok(false);
        };
        let first = key::media_use(media, conversation, member.visible_from.max(1));
        let last = key::media_use(media, conversation, Seq::MAX);
        let range = (row_id(&first), row_id(&last));
        let rows = self.rows_between(range, ENTRIES_MOST).await?;
        Ok(rows
            .iter()
            .any(|(_, audience)| audience.is_empty() || among(audience, user)))
    }

    /// Media that something named and does not any more, as noted when that changed.
    pub async fn media_left(&self, limit: usize) -> Result<Vec<MediaId>, StoreError> {
        self.catch_up(About::Media).await?;
        let end = row_id(&[key::MEDIA_LEFT + 1]);
        let filter = doc! {
            "_id": {"$gte": row_id(&[key::MEDIA_LEFT]), "$lt": end},
            "v": {"$ne": null},
        };
        let asked = (doc! {"_id": 1}, limit, doc! {"s": 1});
        let found = self.mongo.find_fields(ROWS, filter, asked).await?;
        let note = |row: &Document| {
            let id = row_key(get_text(row, "_id")?)?;
            Some((Reader(id.get(1..)?).u64()?, get_int(row, "s")?))
        };
        let notes: Option<Vec<_>> = found.iter().map(note).collect();
        let notes = notes.ok_or_else(|| damaged("a media note"))?;
        // Which state of a note is taken over: one that is written again later stays.
        *self.notes.left.lock() = notes.iter().copied().collect();
        Ok(notes.into_iter().map(|(id, _)| MediaId(id)).collect())
    }
}
