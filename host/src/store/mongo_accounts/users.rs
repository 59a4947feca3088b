//! Users: a document each, which holds the profile, the password, the devices signed in, and what is still owed because
//! of a changed profile. Reads leave out what they do not need; devices are in `devices.rs`.

use std::sync::Arc;

use mongodb::bson::{Document, doc};
use serde::{Deserialize, Serialize};

use super::devices::DeviceRow;
use super::schema::USERS;
use super::{MongoAccounts, collect, literally, signed, unsigned, written};
use crate::conversation::Profile;
use crate::ids::UserId;
use crate::store::StoreError;
use crate::store::accounts::{Device, User, UserKind, folded};

#[derive(Serialize, Deserialize)]
pub(super) struct UserRow {
    #[serde(rename = "_id")]
    id: i64,
    pub username: String,
    pub display_name: String,
    folded_name: String,
    pub avatar: Option<String>,
    kind: UserKind,
    password: Option<String>,
    disabled: bool,
    created_at: i64,
}

/// A user before anybody signed in. `revision` rises with every change of the devices, `change` with every one of the
/// profile.
#[derive(Serialize)]
struct NewUser {
    #[serde(flatten)]
    user: UserRow,
    devices: Vec<DeviceRow>,
    revision: i64,
    change: i64,
}

impl UserRow {
    fn of(user: &User) -> Self {
        Self {
            id: signed(user.profile.id.0),
            username: user.profile.username.clone(),
            display_name: user.profile.display_name.clone(),
            folded_name: folded(&user.profile.display_name),
            avatar: user.profile.avatar.clone(),
            kind: user.kind,
            password: user.password.clone(),
            disabled: user.disabled,
            created_at: signed(user.created_at),
        }
    }

    pub fn user(self) -> Arc<User> {
        Arc::new(User {
            profile: Profile {
                id: UserId(unsigned(self.id)),
                username: self.username,
                display_name: self.display_name,
                avatar: self.avatar,
            },
            kind: self.kind,
            password: self.password,
            disabled: self.disabled,
            created_at: unsigned(self.created_at),
        })
    }
}

/// Everything of a user but the devices.
pub(super) fn without_devices() -> Document {
    doc! {"devices": 0}
}

impl MongoAccounts {
    pub(super) async fn insert_user(&self, user: &User) -> Result<bool, StoreError> {
        let new = NewUser {
            user: UserRow::of(user),
            devices: Vec::new(),
            revision: 0,
            change: 0,
        };
        if self.insert(USERS, &written(&new)?).await? {
            return Ok(true);
        }
        // Which of the two indexes it was is not told by every server.
        let holder = self.load_user_named(&user.profile.username).await?;
        match holder {
            Some(_) => Ok(false),
            None => Err(StoreError::Unavailable(format!(
                "accounts: the id {} is another user's",
                user.profile.id
            ))),
        }
    }

    pub(super) async fn user_row(&self, filter: Document) -> Result<Option<UserRow>, StoreError> {
        let users = self.table::<UserRow>(USERS);
        let found = users.find_one(filter).projection(without_devices());
        self.read(found).await
    }

    pub(super) async fn load_user(&self, id: UserId) -> Result<Option<Arc<User>>, StoreError> {
        let found = self.user_row(doc! {"_id": signed(id.0)}).await?;
        Ok(found.map(UserRow::user))
    }

    pub(super) async fn load_user_named(
        &self,
        username: &str,
    ) -> Result<Option<Arc<User>>, StoreError> {
        let found = self.user_row(doc! {"username": username}).await?;
        Ok(found.map(UserRow::user))
    }

    pub(super) async fn search_users(
        &self,
        query: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<User>>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let part = literally(&folded(query));
        let filter = doc! {
            "username": {"$gt": after.unwrap_or_default()},
            "$or": [
                {"username": {"$regex": format!("^{part}")}},
                {"folded_name": {"$regex": part}},
            ],
        };
        let users = self.table::<UserRow>(USERS);
        let found = users
            .find(filter)
            .projection(without_devices())
            .sort(doc! {"username": 1})
            .limit(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.read(collect(found)).await?;
        Ok(rows.into_iter().map(UserRow::user).collect())
    }

    /// The password and the devices are one document: nobody finds the one changed and the others still signed in.
    pub(super) async fn update_password(
        &self,
        id: UserId,
        password: &str,
        keep: Option<&str>,
    ) -> Result<Vec<Device>, StoreError> {
        let set = doc! {"password": password};
        let ended = self.change_devices(id, set, |devices| {
            devices
                .into_iter()
                .partition(|device| Some(device.id.as_str()) == keep)
        });
        Ok(ended.await?.unwrap_or_default())
    }

    pub(super) async fn update_disabled(
        &self,
        id: UserId,
        disabled: bool,
    ) -> Result<Vec<Device>, StoreError> {
        let set = doc! {"disabled": disabled};
        let ended = self.change_devices(id, set, |devices| {
            if disabled {
                (Vec::new(), devices)
            } else {
                (devices, Vec::new())
            }
        });
        Ok(ended.await?.unwrap_or_default())
    }
}
