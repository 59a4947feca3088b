//! Changes of profiles. The change, the word owed to the peers and the picture that was left are one document, so that a
//! process that ends right after it loses neither.
//! Pictures are let go of afterwards: by the change itself, else by the next look at what is due.

use std::sync::Arc;

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::schema::{MEDIA, USERS};
use super::tries::Tries;
use super::users::{UserRow, without_devices};
use super::{MongoAccounts, signed, unsigned};
use crate::ids::{MediaId, UserId};
use crate::store::StoreError;
use crate::store::accounts::{User, folded};
use crate::store::media::MediaState;
use crate::store::people::ChangedProfile;

/// A user whose former pictures may be nobody's now.
#[derive(Deserialize)]
struct LeftRow {
    #[serde(rename = "_id")]
    user: i64,
    left: Vec<i64>,
}

#[derive(Deserialize)]
struct ChangeRow {
    #[serde(rename = "_id")]
    user: i64,
    change: i64,
}

/// Users looked at in one go for pictures they left.
const AT_ONCE: usize = 100;

impl MongoAccounts {
    pub(super) async fn update_profile(
        &self,
        id: UserId,
        display_name: Option<&str>,
        avatar: Option<Option<&str>>,
    ) -> Result<Option<Arc<User>>, StoreError> {
        let users = self.table::<UserRow>(USERS);
        let mut tries = Tries::of("a profile");
        loop {
            let Some(before) = self.user_row(doc! {"_id": signed(id.0)}).await? else {
                return Ok(None);
            };
            let name = display_name.unwrap_or(&before.display_name);
            let picture = avatar.unwrap_or(before.avatar.as_deref());
            let is_other_picture = picture != before.avatar.as_deref();
            if name == before.display_name && !is_other_picture {
                return Ok(Some(before.user()));
            }
            let set = doc! {
                "display_name": name,
                "folded_name": folded(name),
                "avatar": picture.map(str::to_owned),
                "untold": true,
            };
            let mut change = doc! {"$set": set, "$inc": {"change": 1_i64}};
            let left = before.avatar.as_deref().filter(|_| is_other_picture);
            let left = left.and_then(|left| left.parse::<MediaId>().ok());
            if let Some(left) = left {
                change.insert("$push", doc! {"left": signed(left.0)});
            }
            let filter = doc! {
                "_id": signed(id.0),
                "display_name": before.display_name.clone(),
                "avatar": before.avatar.clone(),
            };
            let changed = users
                .find_one_and_update(filter, change)
                .projection(without_devices())
                .return_document(ReturnDocument::After);
            if let Some(after) = self.write(changed).await? {
                if left.is_some()
                    && let Err(error) = self.let_go_of_left().await
                {
                    tracing::warn!(%error, "a picture that was left waits for the next look");
                }
                return Ok(Some(after.user()));
            }
            tries.again().await?;
        }
    }

    /// Pictures that users left are looked at as soon as somebody looks.
    pub(super) async fn let_go_of_left(&self) -> Result<(), StoreError> {
        let filter = doc! {"left": {"$gte": 0_i64}};
        let rows: Vec<LeftRow> = self.list(USERS, filter, doc! {"_id": 1}, AT_ONCE).await?;
        for row in rows {
            let left: Vec<Bson> = row.left.iter().copied().map(Bson::Int64).collect();
            let filter = doc! {"_id": {"$in": &left}, "state": MediaState::Complete as i32};
            let media = self.table::<Document>(MEDIA);
            let at_once = doc! {"$set": {"look_at": 0_i64}};
            self.write(media.update_many(filter, at_once)).await?;
            let change = doc! {"$pull": {"left": {"$in": left}}};
            self.update(USERS, doc! {"_id": row.user}, change).await?;
        }
        Ok(())
    }

    pub(super) async fn load_changed_profiles(
        &self,
        limit: usize,
    ) -> Result<Vec<ChangedProfile>, StoreError> {
        let filter = doc! {"untold": true};
        let rows: Vec<ChangeRow> = self.list(USERS, filter, doc! {"_id": 1}, limit).await?;
        let changed = rows.into_iter().map(|row| ChangedProfile {
            user: UserId(unsigned(row.user)),
            change: unsigned(row.change),
        });
        Ok(changed.collect())
    }

    pub(super) async fn delete_changed_profile(
        &self,
        told: ChangedProfile,
    ) -> Result<(), StoreError> {
        let filter = doc! {"_id": signed(told.user.0), "change": signed(told.change)};
        let change = doc! {"$unset": {"untold": 1}};
        self.update(USERS, filter, change).await.map(|_| ())
    }
}
