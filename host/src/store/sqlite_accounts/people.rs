//! Users, devices,
//! refresh tokens.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SqliteAccounts, signed, unsigned};
use crate::conversation::Profile;
use crate::ids::UserId;
use crate::store::StoreError;
use crate::store::accounts::{Device, Rotation, User, UserKind, folded};

const USER: &str = "id, username, display_name, avatar, kind, password, disabled, created_at";
const DEVICE: &str =
    "user, id, kind, name, family, refresh, refresh_expires_at, created_at, seen_at";

fn user_of(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        profile: Profile {
            id: UserId(unsigned(row.get(0)?)),
            username: row.get(1)?,
            display_name: row.get(2)?,
            avatar: row.get(3)?,
        },
        kind: if row.get::<_, String>(4)? == "service" {
            UserKind::Service
        } else {
            UserKind::Person
        },
        password: row.get(5)?,
        disabled: row.get(6)?,
        created_at: unsigned(row.get(7)?),
    })
}

fn device_of(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        user: UserId(unsigned(row.get(0)?)),
        id: row.get(1)?,
        kind: row.get(2)?,
        name: row.get(3)?,
        family: unsigned(row.get(4)?),
        refresh: row.get(5)?,
        refresh_expires_at: unsigned(row.get(6)?),
        created_at: unsigned(row.get(7)?),
        seen_at: unsigned(row.get(8)?),
    })
}

fn end_devices(
    connection: &Connection,
    user: UserId,
    keep: Option<&str>,
) -> rusqlite::Result<Vec<Device>> {
    let ended = {
        let mut select =
            connection.prepare_cached(&format!("SELECT {DEVICE} FROM devices WHERE user = ?1"))?;
        let rows = select.query_map([signed(user.0)], device_of)?;
        let all: Vec<Device> = rows.collect::<rusqlite::Result<_>>()?;
        all.into_iter()
            .filter(|device| Some(device.id.as_str()) != keep)
            .collect::<Vec<_>>()
    };
    for device in &ended {
        connection.execute(
            "DELETE FROM devices WHERE user = ?1 AND id = ?2",
            params![signed(user.0), device.id],
        )?;
    }
    Ok(ended)
}

/// Of too many devices those longest unseen go; never the one that has just come.
fn end_surplus(
    connection: &Connection,
    newest: &Device,
    most: usize,
) -> rusqlite::Result<Vec<Device>> {
    let delete = format!(
        "DELETE FROM devices WHERE user = ?1 AND id IN (
             SELECT id FROM devices WHERE user = ?1 AND id <> ?2 ORDER BY seen_at DESC LIMIT -1 OFFSET ?3
         ) RETURNING {DEVICE}"
    );
    let kept = i64::try_from(most.saturating_sub(1)).unwrap_or(i64::MAX);
    let mut delete = connection.prepare_cached(&delete)?;
    let ended = delete.query_map(params![signed(newest.user.0), newest.id, kept], device_of)?;
    ended.collect()
}

impl SqliteAccounts {
    pub(super) async fn insert_user(&self, user: &User) -> Result<bool, StoreError> {
        let user = user.clone();
        let id = user.profile.id;
        let made = self.with(move |connection| {
            let kind = if user.kind == UserKind::Service { "service" } else { "person" };
            let made = connection.execute(
                "INSERT INTO users (id, username, display_name, folded_name, avatar, kind, password, disabled, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (username) DO NOTHING",
                params![
                    signed(user.profile.id.0),
                    user.profile.username,
                    user.profile.display_name,
                    folded(&user.profile.display_name),
                    user.profile.avatar,
                    kind,
                    user.password,
                    user.disabled,
                    signed(user.created_at),
                ],
            )?;
            Ok(made == 1)
        });
        let made = made.await?;
        self.users.forget(|known| *known == id);
        Ok(made)
    }

    pub(super) async fn load_user(&self, id: UserId) -> Result<Option<Arc<User>>, StoreError> {
        let age = match self.users.get(&id) {
            Ok(user) => return Ok(Some(user)),
            Err(age) => age,
        };
        let found = self.with(move |connection| {
            let mut select =
                connection.prepare_cached(&format!("SELECT {USER} FROM users WHERE id = ?1"))?;
            select.query_row([signed(id.0)], user_of).optional()
        });
        let found = found.await?.map(Arc::new);
        if let Some(user) = &found {
            self.users.keep(age, id, user.clone());
        }
        Ok(found)
    }

    pub(super) async fn load_user_named(
        &self,
        username: &str,
    ) -> Result<Option<Arc<User>>, StoreError> {
        let username = username.to_owned();
        let found = self.with(move |connection| {
            let mut select = connection
                .prepare_cached(&format!("SELECT {USER} FROM users WHERE username = ?1"))?;
            select.query_row([username], user_of).optional()
        });
        Ok(found.await?.map(Arc::new))
    }

    pub(super) async fn search_users(
        &self,
        query: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<User>>, StoreError> {
        let escaped = folded(query)
            .replace('\\', "\\\\")
            .replace('%', "\\%")
            .replace('_', "\\_");
        let (start, part) = (format!("{escaped}%"), format!("%{escaped}%"));
        let after = after.unwrap_or_default().to_owned();
        let found = self.search(move |connection| {
            let mut select = connection.prepare_cached(&format!(
                "SELECT {USER} FROM users WHERE username > ?1
                 AND (username LIKE ?2 ESCAPE '\\' OR folded_name LIKE ?3 ESCAPE '\\') ORDER BY username LIMIT ?4"
            ))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            select.query_map(params![after, start, part, limit], user_of)?.collect::<rusqlite::Result<Vec<_>>>()
        });
        Ok(found.await?.into_iter().map(Arc::new).collect())
    }

    pub(super) async fn update_profile(
        &self,
        id: UserId,
        display_name: Option<&str>,
        avatar: Option<Option<&str>>,
    ) -> Result<Option<Arc<User>>, StoreError> {
        let display_name = display_name.map(str::to_owned);
        let avatar = avatar.map(|avatar| avatar.map(str::to_owned));
        let changed = self.with(move |connection| {
            let transaction = connection.transaction()?;
            let mut changed = 0;
            if let Some(name) = &display_name {
                changed += transaction.execute(
                    "UPDATE users SET display_name = ?2, folded_name = ?3 WHERE id = ?1 AND display_name <> ?2",
                    params![signed(id.0), name, folded(name)],
                )?;
            }
            if let Some(avatar) = &avatar {
                super::media::let_go_of_avatar(&transaction, id)?;
                changed += transaction.execute(
                    "UPDATE users SET avatar = ?2 WHERE id = ?1 AND avatar IS NOT ?2",
                    params![signed(id.0), avatar],
                )?;
            }
            if changed > 0 {
                // Owed to the peers in the same write, so that no crash keeps the change from them.
                transaction.execute(
                    "INSERT INTO changed_profiles (user, change) VALUES (?1, 1)
                     ON CONFLICT (user) DO UPDATE SET change = change + 1",
                    [signed(id.0)],
                )?;
            }
            transaction.commit()
        });
        changed.await?;
        self.users.forget(|known| *known == id);
        self.load_user(id).await
    }

    pub(super) async fn update_password(
        &self,
        id: UserId,
        password: &str,
        keep: Option<&str>,
    ) -> Result<Vec<Device>, StoreError> {
        let (password, keep) = (password.to_owned(), keep.map(str::to_owned));
        let ended = self.with(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute(
                "UPDATE users SET password = ?2 WHERE id = ?1",
                params![signed(id.0), password],
            )?;
            let ended = end_devices(&transaction, id, keep.as_deref())?;
            transaction.commit()?;
            Ok(ended)
        });
        let ended = ended.await?;
        self.users.forget(|known| *known == id);
        self.devices.forget(|(user, _)| *user == id);
        Ok(ended)
    }

    pub(super) async fn update_disabled(
        &self,
        id: UserId,
        disabled: bool,
    ) -> Result<Vec<Device>, StoreError> {
        let ended = self.with(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute(
                "UPDATE users SET disabled = ?2 WHERE id = ?1",
                params![signed(id.0), disabled],
            )?;
            let ended = if disabled {
                end_devices(&transaction, id, None)?
            } else {
                Vec::new()
            };
            transaction.commit()?;
            Ok(ended)
        });
        let ended = ended.await?;
        self.users.forget(|known| *known == id);
        self.devices.forget(|(user, _)| *user == id);
        Ok(ended)
    }

    pub(super) async fn insert_device(
        &self,
        device: &Device,
        most: usize,
    ) -> Result<Vec<Device>, StoreError> {
        let device = device.clone();
        let user = device.user;
        let put = self.with(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute(
                &format!("INSERT OR REPLACE INTO devices ({DEVICE}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"),
                params![
                    signed(device.user.0),
                    device.id,
                    device.kind,
                    device.name,
                    signed(device.family),
                    device.refresh,
                    signed(device.refresh_expires_at),
                    signed(device.created_at),
                    signed(device.seen_at),
                ],
            )?;
            let ended = end_surplus(&transaction, &device, most)?;
            transaction.commit()?;
            Ok(ended)
        });
        let ended = put.await?;
        self.devices.forget(|(known, _)| *known == user);
        Ok(ended)
    }

    pub(super) async fn load_device(
        &self,
        user: UserId,
        id: &str,
    ) -> Result<Option<Arc<Device>>, StoreError> {
        let key = (user, id.to_owned());
        let age = match self.devices.get(&key) {
            Ok(device) => return Ok(Some(device)),
            Err(age) => age,
        };
        let wanted = id.to_owned();
        let found = self.with(move |connection| {
            let mut select = connection.prepare_cached(&format!(
                "SELECT {DEVICE} FROM devices WHERE user = ?1 AND id = ?2"
            ))?;
            select
                .query_row(params![signed(user.0), wanted], device_of)
                .optional()
        });
        let found = found.await?.map(Arc::new);
        if let Some(device) = &found {
            self.devices.keep(age, key, device.clone());
        }
        Ok(found)
    }

    pub(super) async fn load_devices(&self, user: UserId) -> Result<Vec<Device>, StoreError> {
        self.with(move |connection| {
            let mut select = connection.prepare_cached(&format!(
                "SELECT {DEVICE} FROM devices WHERE user = ?1 ORDER BY id"
            ))?;
            select.query_map([signed(user.0)], device_of)?.collect()
        })
        .await
    }

    pub(super) async fn update_device_name(
        &self,
        user: UserId,
        id: &str,
        name: &str,
    ) -> Result<(), StoreError> {
        let (wanted, name) = (id.to_owned(), name.to_owned());
        let named = self.with(move |connection| {
            connection.execute(
                "UPDATE devices SET name = ?3 WHERE user = ?1 AND id = ?2",
                params![signed(user.0), wanted, name],
            )
        });
        named.await?;
        self.devices
            .forget(|(known, device)| *known == user && device == id);
        Ok(())
    }

    pub(super) async fn rotate(
        &self,
        old: [u8; 32],
        new: [u8; 32],
        expires_at: u64,
        now: u64,
    ) -> Result<Rotation, StoreError> {
        let rotated = self.with(move |connection| {
            let transaction = connection.transaction()?;
            let rotation = rotate_in(&transaction, old, new, expires_at, now)?;
            transaction.commit()?;
            Ok(rotation)
        });
        let rotation = rotated.await?;
        if let Rotation::Rotated(device) | Rotation::Reused(device) = &rotation {
            self.devices
                .forget(|(user, id)| *user == device.user && *id == device.id);
        }
        Ok(rotation)
    }

    pub(super) async fn delete_device(
        &self,
        user: UserId,
        id: &str,
    ) -> Result<Option<Device>, StoreError> {
        let wanted = id.to_owned();
        let ended = self.with(move |connection| {
            let key = params![signed(user.0), wanted];
            let delete =
                format!("DELETE FROM devices WHERE user = ?1 AND id = ?2 RETURNING {DEVICE}");
            connection.query_row(&delete, key, device_of).optional()
        });
        let ended = ended.await?;
        self.devices
            .forget(|(known, device)| *known == user && device == id);
        Ok(ended)
    }

    pub(super) async fn load_device_of_refresh(
        &self,
        refresh: [u8; 32],
    ) -> Result<Option<Device>, StoreError> {
        self.with(move |connection| {
            let in_force = format!("SELECT {DEVICE} FROM devices WHERE refresh = ?1");
            if let Some(device) = connection
                .query_row(&in_force, [&refresh], device_of)
                .optional()?
            {
                return Ok(Some(device));
            }
            used_device(connection, &refresh)
        })
        .await
    }
}

fn rotate_in(
    connection: &Connection,
    old: [u8; 32],
    new: [u8; 32],
    expires_at: u64,
    now: u64,
) -> rusqlite::Result<Rotation> {
    connection.execute(
        "DELETE FROM used_refresh WHERE expires_at < ?1",
        [signed(now)],
    )?;
    let in_force = format!("SELECT {DEVICE} FROM devices WHERE refresh = ?1");
    let device = connection
        .query_row(&in_force, [&old], device_of)
        .optional()?;
    let Some(device) = device else {
        return match used_device(connection, &old)? {
            Some(device) => {
                let key = params![signed(device.user.0), device.id];
                connection.execute("DELETE FROM devices WHERE user = ?1 AND id = ?2", key)?;
                Ok(Rotation::Reused(device))
            }
            None => Ok(Rotation::Unknown),
        };
    };
    if device.refresh_expires_at <= now {
        return Ok(Rotation::Unknown);
    }
    connection.execute(
        "INSERT OR REPLACE INTO used_refresh (refresh, user, device, family, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![old, signed(device.user.0), device.id, signed(device.family), signed(device.refresh_expires_at)],
    )?;
    connection.execute(
        "UPDATE devices SET refresh = ?3, refresh_expires_at = ?4, seen_at = ?5 WHERE user = ?1 AND id = ?2",
        params![signed(device.user.0), device.id, new, signed(expires_at), signed(now)],
    )?;
    Ok(Rotation::Rotated(Device {
        refresh: new,
        refresh_expires_at: expires_at,
        seen_at: now,
        ..device
    }))
}

/// The device whose used token this is, while the same sign-in is still in force.
fn used_device(connection: &Connection, refresh: &[u8; 32]) -> rusqlite::Result<Option<Device>> {
    let select = format!(
        "SELECT {} FROM devices d JOIN used_refresh u ON d.user = u.user AND d.id = u.device AND d.family = u.family
         WHERE u.refresh = ?1",
        DEVICE.split(", ").map(|column| format!("d.{column}")).collect::<Vec<_>>().join(", ")
    );
    connection
        .query_row(&select, [refresh], device_of)
        .optional()
}
