//! Devices, inside their user's document, and the refresh tokens that were used, a document each. A token in force is
//! unique by an index over all users.
//! Nothing here knows a token itself, only its hash.

use mongodb::bson::{Binary, Bson, Document, doc};
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};

use super::schema::{USED_REFRESH, USERS};
use super::tries::Tries;
use super::{MongoAccounts, binary, bytes32, signed, unsigned, written};
use crate::ids::UserId;
use crate::store::StoreError;
use crate::store::accounts::{Device, Rotation};

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DeviceRow {
    pub id: String,
    kind: String,
    name: String,
    family: i64,
    refresh: Binary,
    refresh_expires_at: i64,
    created_at: i64,
    seen_at: i64,
}

/// The part of a user's document that says who is signed in.
#[derive(Deserialize)]
struct SignedIn {
    #[serde(rename = "_id")]
    user: i64,
    #[serde(default)]
    devices: Vec<DeviceRow>,
    #[serde(default)]
    revision: i64,
}

/// A token that was turned over, kept until it would have expired.
#[derive(Serialize, Deserialize)]
struct UsedRow {
    user: i64,
    device: String,
    family: i64,
    expires_at: i64,
}

impl DeviceRow {
    fn of(device: &Device) -> Self {
        Self {
            id: device.id.clone(),
            kind: device.kind.clone(),
            name: device.name.clone(),
            family: signed(device.family),
            refresh: binary(&device.refresh),
            refresh_expires_at: signed(device.refresh_expires_at),
            created_at: signed(device.created_at),
            seen_at: signed(device.seen_at),
        }
    }

    fn device(self, user: UserId) -> Result<Device, StoreError> {
        Ok(Device {
            user,
            refresh: bytes32(&self.refresh)?,
            id: self.id,
            kind: self.kind,
            name: self.name,
            family: unsigned(self.family),
            refresh_expires_at: unsigned(self.refresh_expires_at),
            created_at: unsigned(self.created_at),
            seen_at: unsigned(self.seen_at),
        })
    }
}

impl SignedIn {
    /// The first device that is what is looked for.
    fn pick(self, wanted: impl Fn(&DeviceRow) -> bool) -> Result<Option<Device>, StoreError> {
        let user = UserId(unsigned(self.user));
        let found = self.devices.into_iter().find(wanted);
        found.map(|device| device.device(user)).transpose()
    }
}

/// What of a user's document is read of it.
fn devices_alone() -> Document {
    doc! {"devices": 1, "revision": 1}
}

/// What stays and what is ended when a device signs in: whatever had its id makes room, and of too many others those
/// longest unseen, never the one that has just come.
fn with_newest(
    devices: Vec<DeviceRow>,
    newest: &DeviceRow,
    most: usize,
) -> (Vec<DeviceRow>, Vec<DeviceRow>) {
    let mut kept = devices;
    kept.retain(|device| device.id != newest.id);
    kept.sort_by(|one, other| {
        let by_time = other.seen_at.cmp(&one.seen_at);
        by_time.then_with(|| one.id.cmp(&other.id))
    });
    let ended = kept.split_off(most.saturating_sub(1).min(kept.len()));
    kept.push(newest.clone());
    (kept, ended)
}

impl MongoAccounts {
    async fn signed_in(&self, filter: Document) -> Result<Option<SignedIn>, StoreError> {
        let users = self.table::<SignedIn>(USERS);
        let found = users.find_one(filter).projection(devices_alone());
        self.read(found).await
    }

    /// Changes a user's devices, and what else is `set` in the same write, unless they changed since they were read;
    /// then once more. `cut` says which stay and which are ended. `None` when there is no such user.
    pub(super) async fn change_devices(
        &self,
        user: UserId,
        set: Document,
        cut: impl Fn(Vec<DeviceRow>) -> (Vec<DeviceRow>, Vec<DeviceRow>),
    ) -> Result<Option<Vec<Device>>, StoreError> {
        let mut tries = Tries::of("a user's devices");
        loop {
            let Some(before) = self.signed_in(doc! {"_id": signed(user.0)}).await? else {
                return Ok(None);
            };
            let (kept, ended) = cut(before.devices);
            let kept: Vec<Bson> = kept
                .iter()
                .map(|device| Ok(Bson::Document(written(device)?)))
                .collect::<Result<_, StoreError>>()?;
            let mut set = set.clone();
            set.insert("devices", kept);
            let filter = doc! {"_id": before.user, "revision": before.revision};
            let change = doc! {"$set": set, "$inc": {"revision": 1_i64}};
            if self.update(USERS, filter, change).await? {
                let ended = ended.into_iter().map(|device| device.device(user));
                return ended.collect::<Result<_, _>>().map(Some);
            }
            tries.again().await?;
        }
    }

    pub(super) async fn insert_device(
        &self,
        device: &Device,
        most: usize,
    ) -> Result<Vec<Device>, StoreError> {
        let newest = DeviceRow::of(device);
        let cut = |devices| with_newest(devices, &newest, most);
        let ended = self.change_devices(device.user, Document::new(), cut);
        ended.await?.ok_or_else(|| {
            StoreError::Unavailable(format!("accounts: no user {} to sign in", device.user))
        })
    }

    pub(super) async fn load_device(
        &self,
        user: UserId,
        id: &str,
    ) -> Result<Option<Device>, StoreError> {
        let found = self.signed_in(doc! {"_id": signed(user.0)}).await?;
        found.map_or(Ok(None), |found| found.pick(|device| device.id == id))
    }

    pub(super) async fn load_devices(&self, user: UserId) -> Result<Vec<Device>, StoreError> {
        let found = self.signed_in(doc! {"_id": signed(user.0)}).await?;
        let mut devices = found.map(|found| found.devices).unwrap_or_default();
        devices.sort_by(|one, other| one.id.cmp(&other.id));
        let devices = devices.into_iter().map(|device| device.device(user));
        devices.collect()
    }

    pub(super) async fn update_device_name(
        &self,
        user: UserId,
        id: &str,
        name: &str,
    ) -> Result<(), StoreError> {
        let filter = doc! {"_id": signed(user.0), "devices": {"$elemMatch": {"id": id}}};
        let change = doc! {"$set": {"devices.$.name": name}, "$inc": {"revision": 1_i64}};
        self.update(USERS, filter, change).await.map(|_| ())
    }

    pub(super) async fn delete_device(
        &self,
        user: UserId,
        id: &str,
    ) -> Result<Option<Device>, StoreError> {
        self.pull_device(user, doc! {"id": id}, |device| device.id == id)
            .await
    }

    /// Takes away the device that is like `wanted`, once; it as it was.
    async fn pull_device(
        &self,
        user: UserId,
        wanted: Document,
        is_wanted: impl Fn(&DeviceRow) -> bool,
    ) -> Result<Option<Device>, StoreError> {
        let filter = doc! {"_id": signed(user.0), "devices": {"$elemMatch": wanted.clone()}};
        let change = doc! {"$pull": {"devices": wanted}, "$inc": {"revision": 1_i64}};
        let users = self.table::<SignedIn>(USERS);
        let before = users
            .find_one_and_update(filter, change)
            .projection(devices_alone())
            .return_document(ReturnDocument::Before);
        let before = self.write(before).await?;
        before.map_or(Ok(None), |before| before.pick(is_wanted))
    }

    /// The use is written down before the token changes. A process that ends in between leaves a token that is both used
    /// and in force: being in force counts, so the next rotation goes on from there.
    pub(super) async fn rotate(
        &self,
        old: [u8; 32],
        new: [u8; 32],
        expires_at: u64,
        now: u64,
    ) -> Result<Rotation, StoreError> {
        let over = doc! {"expires_at": {"$lt": signed(now)}};
        self.delete(USED_REFRESH, over).await?;
        let mut tries = Tries::of("a refresh token");
        loop {
            let Some(device) = self.device_in_force(&old).await? else {
                return self.end_reused(&old).await;
            };
            if device.refresh_expires_at <= now {
                return Ok(Rotation::Unknown);
            }
            let use_of = UsedRow {
                user: signed(device.user.0),
                device: device.id.clone(),
                family: signed(device.family),
                expires_at: signed(device.refresh_expires_at),
            };
            let filter = doc! {"_id": binary(&old)};
            let set = doc! {"$set": written(&use_of)?};
            self.upsert::<UsedRow>(USED_REFRESH, filter, set, ReturnDocument::After)
                .await?;
            let filter = doc! {
                "_id": signed(device.user.0),
                "devices": {"$elemMatch": {"refresh": binary(&old)}},
            };
            let change = doc! {
                "$set": {
                    "devices.$.refresh": binary(&new),
                    "devices.$.refresh_expires_at": signed(expires_at),
                    "devices.$.seen_at": signed(now),
                },
                "$inc": {"revision": 1_i64},
            };
            // Somebody else may have turned it over meanwhile: then this is a second use.
            if self.update(USERS, filter, change).await? {
                return Ok(Rotation::Rotated(Device {
                    refresh: new,
                    refresh_expires_at: expires_at,
                    seen_at: now,
                    ..device
                }));
            }
            tries.again().await?;
        }
    }

    async fn end_reused(&self, old: &[u8; 32]) -> Result<Rotation, StoreError> {
        let Some(device) = self.used_device(old).await? else {
            return Ok(Rotation::Unknown);
        };
        let family = signed(device.family);
        let wanted = doc! {"id": &device.id, "family": family};
        let ended = self.pull_device(device.user, wanted, |ended| {
            ended.id == device.id && ended.family == family
        });
        Ok(ended.await?.map_or(Rotation::Unknown, Rotation::Reused))
    }

    async fn device_in_force(&self, refresh: &[u8; 32]) -> Result<Option<Device>, StoreError> {
        let filter = doc! {"devices.refresh": binary(refresh)};
        let found = self.signed_in(filter).await?;
        found.map_or(Ok(None), |found| {
            found.pick(|device| device.refresh.bytes == refresh)
        })
    }

    /// The device whose used token this is, while the same sign-in is still in force.
    async fn used_device(&self, refresh: &[u8; 32]) -> Result<Option<Device>, StoreError> {
        let filter = doc! {"_id": binary(refresh)};
        let Some(used) = self.one::<UsedRow>(USED_REFRESH, filter).await? else {
            return Ok(None);
        };
        let found = self.signed_in(doc! {"_id": used.user}).await?;
        found.map_or(Ok(None), |found| {
            found.pick(|device| device.id == used.device && device.family == used.family)
        })
    }

    pub(super) async fn load_device_of_refresh(
        &self,
        refresh: [u8; 32],
    ) -> Result<Option<Device>, StoreError> {
        match self.device_in_force(&refresh).await? {
            Some(device) => Ok(Some(device)),
            None => self.used_device(&refresh).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, seen_at: u64) -> DeviceRow {
        DeviceRow::of(&Device {
            user: UserId(1),
            id: id.to_owned(),
            kind: "web".to_owned(),
            name: String::new(),
            family: 1,
            refresh: [1; 32],
            refresh_expires_at: 9,
            created_at: 1,
            seen_at,
        })
    }

    fn ids(devices: &[DeviceRow]) -> Vec<&str> {
        devices.iter().map(|device| device.id.as_str()).collect()
    }

    #[test]
    fn of_too_many_devices_those_longest_unseen_are_ended() {
        let before = vec![device("a", 3), device("b", 1), device("c", 2)];
        let (kept, ended) = with_newest(before, &device("d", 0), 3);
        assert_eq!((ids(&kept), ids(&ended)), (vec!["a", "c", "d"], vec!["b"]));
        let (kept, ended) = with_newest(kept, &device("a", 9), 0);
        assert_eq!((ids(&kept), ids(&ended)), (vec!["a"], vec!["c", "d"]));
    }
}
