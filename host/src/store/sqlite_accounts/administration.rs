//! What administrators own: plugins, generations,
//! documents, tokens, audit; and the trait over all of it.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params};
use tokio::sync::watch;

use super::{SqliteAccounts, signed, unsigned};
use crate::ids::UserId;
use crate::store::StoreError;
use crate::store::accounts::{
    Accounts, AuditEntry, AuditLine, AuditQuery, Device, PluginVersion, Relation, Rotation,
    StoredGeneration, User,
};

fn plugin_of(row: &Row<'_>) -> rusqlite::Result<PluginVersion> {
    Ok(PluginVersion {
        name: row.get(0)?,
        version: row.get(1)?,
        digest: row.get(2)?,
        size: unsigned(row.get(3)?),
        pushed_at: unsigned(row.get(4)?),
        quarantined: row.get(5)?,
        signed_by: row.get(6)?,
        signature: row.get(7)?,
        pruned: row.get(8)?,
    })
}

fn generation_of(row: &Row<'_>) -> rusqlite::Result<StoredGeneration> {
    Ok(StoredGeneration {
        number: unsigned(row.get(0)?),
        bindings: row.get(1)?,
        at: unsigned(row.get(2)?),
        cause: row.get(3)?,
    })
}

#[async_trait]
impl Accounts for SqliteAccounts {
    async fn create_user(&self, user: &User) -> Result<bool, StoreError> {
        self.insert_user(user).await
    }

    async fn user(&self, id: UserId) -> Result<Option<Arc<User>>, StoreError> {
        self.load_user(id).await
    }

    async fn user_named(&self, username: &str) -> Result<Option<Arc<User>>, StoreError> {
        self.load_user_named(username).await
    }

    async fn find_users(
        &self,
        query: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<User>>, StoreError> {
        self.search_users(query, after, limit).await
    }

    async fn set_profile(
        &self,
        id: UserId,
        display_name: Option<&str>,
        avatar: Option<Option<&str>>,
    ) -> Result<Option<Arc<User>>, StoreError> {
        self.update_profile(id, display_name, avatar).await
    }

    async fn set_password(
        &self,
        id: UserId,
        password: &str,
        keep: Option<&str>,
    ) -> Result<Vec<Device>, StoreError> {
        self.update_password(id, password, keep).await
    }

    async fn set_disabled(&self, id: UserId, disabled: bool) -> Result<Vec<Device>, StoreError> {
        self.update_disabled(id, disabled).await
    }

    async fn put_device(&self, device: &Device, most: usize) -> Result<Vec<Device>, StoreError> {
        self.insert_device(device, most).await
    }

    async fn device(&self, user: UserId, id: &str) -> Result<Option<Arc<Device>>, StoreError> {
        self.load_device(user, id).await
    }

    async fn devices(&self, user: UserId) -> Result<Vec<Device>, StoreError> {
        self.load_devices(user).await
    }

    async fn name_device(&self, user: UserId, id: &str, name: &str) -> Result<(), StoreError> {
        self.update_device_name(user, id, name).await
    }

    async fn rotate_refresh(
        &self,
        old: [u8; 32],
        new: [u8; 32],
        expires_at: u64,
        now: u64,
    ) -> Result<Rotation, StoreError> {
        self.rotate(old, new, expires_at, now).await
    }

    async fn end_device(&self, user: UserId, id: &str) -> Result<Option<Device>, StoreError> {
        self.delete_device(user, id).await
    }

    async fn device_of_refresh(&self, refresh: [u8; 32]) -> Result<Option<Device>, StoreError> {
        self.load_device_of_refresh(refresh).await
    }

    async fn relation(&self, user: UserId, other: UserId) -> Result<Relation, StoreError> {
        self.load_relation(user, other).await
    }

    async fn set_block(&self, user: UserId, other: UserId, on: bool) -> Result<(), StoreError> {
        self.update_block(user, other, on).await
    }

    async fn blocks(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        self.load_blocks(user, after, limit).await
    }

    async fn put_last_seen(&self, seen: &[(UserId, u64)]) -> Result<(), StoreError> {
        self.insert_last_seen(seen).await
    }

    async fn last_seen(&self, users: &[UserId]) -> Result<Vec<(UserId, u64)>, StoreError> {
        self.load_last_seen(users).await
    }

    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let name = name.to_owned();
        self.with(move |connection| {
            connection
                .query_row("SELECT value FROM secrets WHERE name = ?1", [name], |row| {
                    row.get(0)
                })
                .optional()
        })
        .await
    }

    async fn put_secret(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.with(move |connection| {
            let insert =
                "INSERT INTO secrets (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
            connection.execute(insert, params![name, value])?;
            connection.query_row("SELECT value FROM secrets WHERE name = ?1", [name], |row| {
                row.get(0)
            })
        })
        .await
    }

    async fn put_plugin(
        &self,
        version: &PluginVersion,
        component: &[u8],
    ) -> Result<(), StoreError> {
        let (version, component) = (version.clone(), component.to_owned());
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT INTO plugins (name, version, digest, size, pushed_at, quarantined, signed_by, signature)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (digest) DO UPDATE SET pushed_at = excluded.pushed_at, signed_by = excluded.signed_by,
                     signature = excluded.signature",
                params![
                    version.name,
                    version.version,
                    version.digest,
                    signed(version.size),
                    signed(version.pushed_at),
                    version.quarantined,
                    version.signed_by,
                    version.signature,
                ],
            )?;
            let put = "INSERT OR REPLACE INTO components (digest, component) VALUES (?1, ?2)";
            transaction.execute(put, params![version.digest, component])?;
            transaction.commit()
        })
        .await
    }

    async fn prune_plugins(&self, digests: &[String]) -> Result<(), StoreError> {
        let digests = digests.to_owned();
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            for digest in &digests {
                transaction.execute("DELETE FROM components WHERE digest = ?1", [digest])?;
            }
            transaction.commit()
        })
        .await
    }

    async fn plugins(&self) -> Result<Vec<PluginVersion>, StoreError> {
        self.with(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT name, version, digest, size, pushed_at, quarantined, signed_by, signature,
                     NOT EXISTS (SELECT 1 FROM components WHERE components.digest = plugins.digest)
                 FROM plugins ORDER BY name, pushed_at, version",
            )?;
            select.query_map([], plugin_of)?.collect()
        })
        .await
    }

    async fn component(&self, digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let digest = digest.to_owned();
        self.with(move |connection| {
            let select = "SELECT component FROM components WHERE digest = ?1";
            connection
                .query_row(select, [digest], |row| row.get(0))
                .optional()
        })
        .await
    }

    async fn set_quarantined(&self, digest: &str, quarantined: bool) -> Result<(), StoreError> {
        let digest = digest.to_owned();
        self.with(move |connection| {
            let update = "UPDATE plugins SET quarantined = ?2 WHERE digest = ?1";
            connection.execute(update, params![digest, quarantined])
        })
        .await?;
        Ok(())
    }

    async fn put_plugin_config(&self, name: &str, config: &str) -> Result<u64, StoreError> {
        let (name, config) = (name.to_owned(), config.to_owned());
        self.with(move |connection| {
            let revision: i64 = connection.query_row(
                "INSERT INTO plugin_configs (name, revision, config)
                 VALUES (?1, 1 + coalesce((SELECT max(revision) FROM plugin_configs WHERE name = ?1), 0), ?2)
                 RETURNING revision",
                params![name, config],
                |row| row.get(0),
            )?;
            // Large word lists would pile up: what can still be gone back to is enough.
            connection.execute(
                "DELETE FROM plugin_configs WHERE name = ?1 AND revision <= ?2 - 8",
                params![name, revision],
            )?;
            Ok(unsigned(revision))
        })
        .await
    }

    async fn plugin_config(&self, name: &str) -> Result<Option<(u64, String)>, StoreError> {
        let name = name.to_owned();
        self.with(move |connection| {
            let select =
                "SELECT revision, config FROM plugin_configs WHERE name = ?1 AND reverted = 0
                          ORDER BY revision DESC LIMIT 1";
            connection
                .query_row(select, [name], |row| {
                    Ok((unsigned(row.get(0)?), row.get(1)?))
                })
                .optional()
        })
        .await
    }

    async fn configured_plugins(&self) -> Result<Vec<String>, StoreError> {
        self.with(|connection| {
            let select = "SELECT DISTINCT name FROM plugin_configs WHERE reverted = 0";
            let mut select = connection.prepare_cached(select)?;
            select.query_map([], |row| row.get(0))?.collect()
        })
        .await
    }

    async fn revert_plugin_config(&self, name: &str) -> Result<Option<(u64, String)>, StoreError> {
        let name = name.to_owned();
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            let kept: Vec<(i64, String)> = {
                let mut select = transaction.prepare_cached(
                    "SELECT revision, config FROM plugin_configs WHERE name = ?1 AND reverted = 0
                     ORDER BY revision DESC LIMIT 2",
                )?;
                select
                    .query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<_>>()?
            };
            let [(newest, _), (before, config)] = kept.as_slice() else {
                return Ok(None);
            };
            let update = "UPDATE plugin_configs SET reverted = 1 WHERE name = ?1 AND revision = ?2";
            transaction.execute(update, params![name, newest])?;
            transaction.commit()?;
            Ok(Some((unsigned(*before), config.clone())))
        })
        .await
    }

    async fn reserve_generations(&self, count: u64) -> Result<u64, StoreError> {
        self.with(move |connection| {
            let next: i64 = connection.query_row(
                "INSERT INTO reserved (name, next) VALUES ('generations', 1 + ?1)
                 ON CONFLICT (name) DO UPDATE SET next = next + ?1 RETURNING next",
                [signed(count)],
                |row| row.get(0),
            )?;
            Ok(unsigned(next) - count)
        })
        .await
    }

    async fn put_generation(
        &self,
        generation: &StoredGeneration,
        told: &[AuditLine],
    ) -> Result<(), StoreError> {
        self.insert_generation(generation.clone(), told.to_owned())
            .await
    }

    async fn newest_generation(&self) -> Result<Option<StoredGeneration>, StoreError> {
        self.with(|connection| {
            let select =
                "SELECT number, bindings, at, cause FROM generations ORDER BY number DESC LIMIT 1";
            connection.query_row(select, [], generation_of).optional()
        })
        .await
    }

    async fn generation(&self, number: u64) -> Result<Option<StoredGeneration>, StoreError> {
        self.with(move |connection| {
            let select = "SELECT number, bindings, at, cause FROM generations WHERE number = ?1";
            connection
                .query_row(select, [signed(number)], generation_of)
                .optional()
        })
        .await
    }

    async fn document(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.with(move |connection| {
            connection
                .query_row(
                    "SELECT text FROM documents WHERE name = ?1",
                    [name],
                    |row| row.get(0),
                )
                .optional()
        })
        .await
    }

    async fn put_document(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let (name, text) = (name.to_owned(), text.to_owned());
        self.with(move |connection| {
            let put = "INSERT OR REPLACE INTO documents (name, text) VALUES (?1, ?2)";
            connection.execute(put, params![name, text])
        })
        .await?;
        Ok(())
    }

    async fn admin_token(&self, token: [u8; 32]) -> Result<Option<String>, StoreError> {
        self.with(move |connection| {
            let select = "SELECT name FROM admin_tokens WHERE token = ?1";
            connection
                .query_row(select, [token], |row| row.get(0))
                .optional()
        })
        .await
    }

    async fn put_admin_token(
        &self,
        token: [u8; 32],
        name: &str,
        at: u64,
    ) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.with(move |connection| {
            let put = "INSERT INTO admin_tokens (token, name, at) VALUES (?1, ?2, ?3)";
            connection.execute(put, params![token, name, signed(at)])
        })
        .await?;
        Ok(())
    }

    async fn any_admin_token(&self) -> Result<bool, StoreError> {
        self.with(|connection| {
            connection.query_row("SELECT EXISTS (SELECT 1 FROM admin_tokens)", [], |row| {
                row.get(0)
            })
        })
        .await
    }

    async fn audit(&self, line: &AuditLine) -> Result<(), StoreError> {
        self.insert_lines(vec![line.clone()]).await
    }

    async fn audit_page(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        self.load_audit(query.clone()).await
    }

    fn audited(&self) -> watch::Receiver<u64> {
        self.audited.subscribe()
    }

    fn health(&self) -> Result<(), String> {
        let connection = self.connection.lock();
        connection
            .query_row("SELECT 1", [], |_| Ok(()))
            .map_err(|error| error.to_string())
    }
}
