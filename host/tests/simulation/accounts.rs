//! What a run needs of users: they all exist, and nobody is blocked. Generations and times of presence are kept in the
//! shared store. Everything else is refused, so that a run that asks for more says so.

use std::sync::Arc;

use async_trait::async_trait;
use kith::conversation::Profile;
use kith::ids::UserId;
use kith::store::StoreError;
use kith::store::accounts::*;

use super::store::{Inner, Store};

/// Users are numbered from 1.
pub struct SimAccounts {
    pub store: Arc<Store>,
    pub node: usize,
    pub users: u64,
}

type Read<T> = Result<T, StoreError>;

fn not_simulated<T>() -> Read<T> {
    Err(StoreError::Unavailable("not simulated".to_owned()))
}

#[async_trait]
impl Accounts for SimAccounts {
    async fn create_user(&self, _: &User) -> Read<bool> {
        not_simulated()
    }

    async fn user(&self, id: UserId) -> Read<Option<Arc<User>>> {
        let exists = (1..=self.users).contains(&id.0);
        let user = exists.then(|| {
            let name = format!("user{id}");
            Arc::new(User {
                profile: Profile {
                    id,
                    username: name.clone(),
                    display_name: name,
                    avatar: None,
                },
                kind: UserKind::Person,
                password: None,
                disabled: false,
                created_at: 1,
            })
        });
        self.store.read(self.node, |_| user).await
    }

    async fn user_named(&self, _: &str) -> Read<Option<Arc<User>>> {
        not_simulated()
    }

    async fn find_users(&self, _: &str, _: Option<&str>, _: usize) -> Read<Vec<Arc<User>>> {
        not_simulated()
    }

    async fn set_profile(
        &self,
        _: UserId,
        _: Option<&str>,
        _: Option<Option<&str>>,
    ) -> Read<Option<Arc<User>>> {
        not_simulated()
    }

    async fn set_password(&self, _: UserId, _: &str, _: Option<&str>) -> Read<Vec<Device>> {
        not_simulated()
    }

    async fn set_disabled(&self, _: UserId, _: bool) -> Read<Vec<Device>> {
        not_simulated()
    }

    async fn put_device(&self, _: &Device, _: usize) -> Read<Vec<Device>> {
        not_simulated()
    }

    async fn device(&self, _: UserId, _: &str) -> Read<Option<Arc<Device>>> {
        not_simulated()
    }

    async fn devices(&self, _: UserId) -> Read<Vec<Device>> {
        not_simulated()
    }

    async fn rotate_refresh(&self, _: [u8; 32], _: [u8; 32], _: u64, _: u64) -> Read<Rotation> {
        not_simulated()
    }

    async fn name_device(&self, _: UserId, _: &str, _: &str) -> Read<()> {
        not_simulated()
    }

    async fn end_device(&self, _: UserId, _: &str) -> Read<Option<Device>> {
        not_simulated()
    }

    async fn device_of_refresh(&self, _: [u8; 32]) -> Read<Option<Device>> {
        not_simulated()
    }

    async fn relation(&self, _: UserId, _: UserId) -> Read<Relation> {
        self.store.read(self.node, |_| Relation::default()).await
    }

    async fn set_block(&self, _: UserId, _: UserId, _: bool) -> Read<()> {
        not_simulated()
    }

    async fn blocks(&self, _: UserId, _: Option<UserId>, _: usize) -> Read<Vec<UserId>> {
        not_simulated()
    }

    async fn put_last_seen(&self, seen: &[(UserId, u64)]) -> Read<()> {
        let put = |inner: &mut Inner| {
            for (user, at) in seen {
                let kept = inner.last_seen.entry(user.0).or_default();
                *kept = (*kept).max(*at);
            }
        };
        self.store.write(self.node, put).await
    }

    async fn last_seen(&self, users: &[UserId]) -> Read<Vec<(UserId, u64)>> {
        let look = |inner: &Inner| {
            let kept = |user: &UserId| Some((*user, *inner.last_seen.get(&user.0)?));
            users.iter().filter_map(kept).collect()
        };
        self.store.read(self.node, look).await
    }

    async fn secret(&self, _: &str) -> Read<Option<Vec<u8>>> {
        not_simulated()
    }

    async fn put_secret(&self, _: &str, _: &[u8]) -> Read<Vec<u8>> {
        not_simulated()
    }

    async fn put_plugin(&self, _: &PluginVersion, _: &[u8]) -> Read<()> {
        not_simulated()
    }

    async fn prune_plugins(&self, _: &[String]) -> Read<()> {
        not_simulated()
    }

    async fn plugins(&self) -> Read<Vec<PluginVersion>> {
        not_simulated()
    }

    async fn component(&self, _: &str) -> Read<Option<Vec<u8>>> {
        not_simulated()
    }

    async fn set_quarantined(&self, _: &str, _: bool) -> Read<()> {
        not_simulated()
    }

    async fn put_plugin_config(&self, _: &str, _: &str) -> Read<u64> {
        not_simulated()
    }

    async fn plugin_config(&self, _: &str) -> Read<Option<(u64, String)>> {
        not_simulated()
    }

    async fn configured_plugins(&self) -> Read<Vec<String>> {
        not_simulated()
    }

    async fn revert_plugin_config(&self, _: &str) -> Read<Option<(u64, String)>> {
        not_simulated()
    }

    async fn reserve_generations(&self, _: u64) -> Read<u64> {
        not_simulated()
    }

    async fn put_generation(&self, generation: &StoredGeneration, _: &[AuditLine]) -> Read<()> {
        let put = |inner: &mut Inner| inner.generations.push(generation.clone());
        self.store.write(self.node, put).await
    }

    async fn newest_generation(&self) -> Read<Option<StoredGeneration>> {
        let newest = |inner: &Inner| {
            let newest = inner.generations.iter().max_by_key(|one| one.number);
            newest.cloned()
        };
        self.store.read(self.node, newest).await
    }

    async fn generation(&self, _: u64) -> Read<Option<StoredGeneration>> {
        not_simulated()
    }

    async fn document(&self, _: &str) -> Read<Option<String>> {
        not_simulated()
    }

    async fn put_document(&self, _: &str, _: &str) -> Read<()> {
        not_simulated()
    }

    async fn admin_token(&self, _: [u8; 32]) -> Read<Option<String>> {
        not_simulated()
    }

    async fn put_admin_token(&self, _: [u8; 32], _: &str, _: u64) -> Read<()> {
        not_simulated()
    }

    async fn any_admin_token(&self) -> Read<bool> {
        not_simulated()
    }

    async fn audit(&self, _: &AuditLine) -> Read<()> {
        not_simulated()
    }

    async fn audit_page(&self, _: &AuditQuery) -> Read<Vec<AuditEntry>> {
        not_simulated()
    }

    fn audited(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::channel(0).1
    }

    fn health(&self) -> Result<(), String> {
        Ok(())
    }
}
