//! The trait over everything of accounts.
//! What each call does is in the file it leads to.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::MongoAccounts;
use crate::ids::UserId;
use crate::store::StoreError;
use crate::store::accounts::{
    Accounts, AuditEntry, AuditLine, AuditQuery, Device, PluginVersion, Relation, Rotation,
    StoredGeneration, User,
};

#[async_trait]
impl Accounts for MongoAccounts {
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
        Ok(self.load_device(user, id).await?.map(Arc::new))
    }

    async fn devices(&self, user: UserId) -> Result<Vec<Device>, StoreError> {
        self.load_devices(user).await
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

    async fn name_device(&self, user: UserId, id: &str, name: &str) -> Result<(), StoreError> {
        self.update_device_name(user, id, name).await
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
        self.load_secret(name).await
    }

    async fn put_secret(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.insert_secret(name, value).await
    }

    async fn put_plugin(
        &self,
        version: &PluginVersion,
        component: &[u8],
    ) -> Result<(), StoreError> {
        self.insert_plugin(version, component).await
    }

    async fn prune_plugins(&self, digests: &[String]) -> Result<(), StoreError> {
        self.delete_components(digests).await
    }

    async fn plugins(&self) -> Result<Vec<PluginVersion>, StoreError> {
        self.load_plugins().await
    }

    async fn component(&self, digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.load_component(digest).await
    }

    async fn set_quarantined(&self, digest: &str, quarantined: bool) -> Result<(), StoreError> {
        self.update_quarantined(digest, quarantined).await
    }

    async fn put_plugin_config(&self, name: &str, config: &str) -> Result<u64, StoreError> {
        self.insert_config(name, config).await
    }

    async fn plugin_config(&self, name: &str) -> Result<Option<(u64, String)>, StoreError> {
        self.load_config(name).await
    }

    async fn configured_plugins(&self) -> Result<Vec<String>, StoreError> {
        self.load_configured().await
    }

    async fn revert_plugin_config(&self, name: &str) -> Result<Option<(u64, String)>, StoreError> {
        self.revert_config(name).await
    }

    async fn reserve_generations(&self, count: u64) -> Result<u64, StoreError> {
        self.number("generations", count).await
    }

    async fn put_generation(
        &self,
        generation: &StoredGeneration,
        told: &[AuditLine],
    ) -> Result<(), StoreError> {
        self.insert_generation(generation, told).await
    }

    async fn newest_generation(&self) -> Result<Option<StoredGeneration>, StoreError> {
        self.load_newest_generation().await
    }

    async fn generation(&self, number: u64) -> Result<Option<StoredGeneration>, StoreError> {
        self.load_generation(number).await
    }

    async fn document(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.load_document(name).await
    }

    async fn put_document(&self, name: &str, text: &str) -> Result<(), StoreError> {
        self.upsert_document(name, text).await
    }

    async fn admin_token(&self, token: [u8; 32]) -> Result<Option<String>, StoreError> {
        self.load_token(token).await
    }

    async fn put_admin_token(
        &self,
        token: [u8; 32],
        name: &str,
        at: u64,
    ) -> Result<(), StoreError> {
        self.insert_token(token, name, at).await
    }

    async fn any_admin_token(&self) -> Result<bool, StoreError> {
        self.has_token().await
    }

    async fn audit(&self, line: &AuditLine) -> Result<(), StoreError> {
        self.insert_line(line).await
    }

    async fn audit_page(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        self.load_audit(query).await
    }

    fn audited(&self) -> watch::Receiver<u64> {
        self.audited.subscribe()
    }

    /// As the last look found it, a second ago at the most.
    fn health(&self) -> Result<(), String> {
        self.looked.lock().clone()
    }
}
