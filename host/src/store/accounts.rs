//! The accounts seam: users, credentials, devices and refresh tokens, blocks; and the tables administrators own:
//! plugin versions, bindings, generations, administrators' tokens, audit.
//!
//! Adapters implement it; passwords are hashed before they come here, tokens too.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::conversation::Profile;
use crate::ids::UserId;

/// A user as the accounts keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub profile: Profile,
    pub kind: UserKind,
    /// PHC string; `None` for service accounts, which cannot sign in.
    pub password: Option<String>,
    pub disabled: bool,
    /// Milliseconds since 1970 UTC.
    pub created_at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserKind {
    Person,
    Service,
}

/// A name as searches compare it: case and width folded, so that `Ａｎｎ` is found as `ann`.
pub fn folded(name: &str) -> String {
    let narrow = |c: char| match c {
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        other => other,
    };
    name.chars()
        .map(narrow)
        .flat_map(char::to_lowercase)
        .collect()
}

/// A signed-in device. Its `family` names the chain of refresh tokens; access tokens carry it too, so that ending
/// the family ends both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub user: UserId,
    /// The client's stable id, 1–128 characters.
    pub id: String,
    pub kind: String,
    pub name: String,
    pub family: u64,
    /// SHA-256 of the refresh token in force.
    pub refresh: [u8; 32],
    pub refresh_expires_at: u64,
    pub created_at: u64,
    pub seen_at: u64,
}

/// Where two users stand to each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Relation {
    /// The other one has blocked this one.
    pub blocked: bool,
    /// This one has blocked the other.
    pub blocking: bool,
    pub friends: bool,
}

/// What came of turning a refresh token over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    Rotated(Device),
    /// A token that was already used: the device was ended. Names it, to end its sessions.
    Reused(Device),
    Unknown,
}

/// A component the registry keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginVersion {
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// Bytes of the component.
    pub size: u64,
    pub pushed_at: u64,
    pub quarantined: bool,
    /// Who signed it, when somebody trusted did.
    pub signed_by: Option<String>,
    /// The signature it came with, whoever made it: base64 ed25519.
    pub signature: Option<String>,
    /// Its component is not kept any more. That name and version mean this digest stays known, and a quarantine too.
    pub pruned: bool,
}

/// A generation as it is kept: the whole set of bindings, as JSON, under its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGeneration {
    pub number: u64,
    pub bindings: String,
    pub at: u64,
    /// What made it: `activate word-filter@0.1.0` …
    pub cause: String,
}

/// One line of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    pub at: u64,
    /// The administrator's token name; `kith` for what the host does by itself.
    pub actor: String,
    pub action: String,
    pub subject: String,
    /// What it was before, and is now, where something changed from one to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// A JSON object of what else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
}

/// A line that is kept. Ids rise, also where lines of an older one are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub id: u64,
    #[serde(flatten)]
    pub line: AuditLine,
}

/// Which lines are asked for.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Lines behind this one, oldest first; else the newest first.
    pub after: Option<u64>,
    /// Lines before this one.
    pub before: Option<u64>,
    /// What their actions begin with.
    pub prefix: String,
    pub limit: usize,
}

#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// `Ok(false)` when the name is taken.
    async fn create_user(&self, user: &User) -> Result<bool, StoreError>;
    async fn user(&self, id: UserId) -> Result<Option<Arc<User>>, StoreError>;
    async fn user_named(&self, username: &str) -> Result<Option<Arc<User>>, StoreError>;
    /// By beginning of the user name or any part of the display name, case and width folded; ordered by user name.
    async fn find_users(
        &self,
        query: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<User>>, StoreError>;
    async fn set_profile(
        &self,
        id: UserId,
        display_name: Option<&str>,
        avatar: Option<Option<&str>>,
    ) -> Result<Option<Arc<User>>, StoreError>;
    /// Sets the password and ends every device but `keep`; names the ended ones.
    async fn set_password(
        &self,
        id: UserId,
        password: &str,
        keep: Option<&str>,
    ) -> Result<Vec<Device>, StoreError>;
    /// Disabling ends every device; names the ended ones.
    async fn set_disabled(&self, id: UserId, disabled: bool) -> Result<Vec<Device>, StoreError>;

    /// Signs a device in, in place of whatever the same user and device id had. Of more than `most` devices those
    /// longest unseen are ended; names the ended ones.
    async fn put_device(&self, device: &Device, most: usize) -> Result<Vec<Device>, StoreError>;
    async fn device(&self, user: UserId, id: &str) -> Result<Option<Arc<Device>>, StoreError>;
    async fn devices(&self, user: UserId) -> Result<Vec<Device>, StoreError>;
    /// Replaces the refresh token `old` by `new`, once; a token used before ends its device.
    async fn rotate_refresh(
        &self,
        old: [u8; 32],
        new: [u8; 32],
        expires_at: u64,
        now: u64,
    ) -> Result<Rotation, StoreError>;
    /// What a device calls itself.
    async fn name_device(&self, user: UserId, id: &str, name: &str) -> Result<(), StoreError>;
    /// Signs a device out; `None` when there was none.
    async fn end_device(&self, user: UserId, id: &str) -> Result<Option<Device>, StoreError>;
    /// The device whose refresh token this is, in force or used.
    async fn device_of_refresh(&self, refresh: [u8; 32]) -> Result<Option<Device>, StoreError>;

    async fn relation(&self, user: UserId, other: UserId) -> Result<Relation, StoreError>;
    async fn set_block(&self, user: UserId, other: UserId, on: bool) -> Result<(), StoreError>;
    async fn blocks(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError>;

    /// Keeps when users were last seen, milliseconds since 1970 UTC. Later ones stay.
    async fn put_last_seen(&self, seen: &[(UserId, u64)]) -> Result<(), StoreError>;
    /// When users were last seen; those who never were are left out.
    async fn last_seen(&self, users: &[UserId]) -> Result<Vec<(UserId, u64)>, StoreError>;

    /// The host's own secrets by name (signing key); kept for ever.
    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Keeps the first value a name is given; returns the one in force.
    async fn put_secret(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError>;

    /// Keeps a version, or keeps a known one's component again: its time and signature become these, a quarantine
    /// stays. Another digest under a known name and version is an error.
    async fn put_plugin(&self, version: &PluginVersion, component: &[u8])
    -> Result<(), StoreError>;
    /// Forgets these digests' components, all or none; the versions stay known as pruned.
    async fn prune_plugins(&self, digests: &[String]) -> Result<(), StoreError>;
    /// Every version ever kept, by name, the oldest first.
    async fn plugins(&self) -> Result<Vec<PluginVersion>, StoreError>;
    /// `None` of one that is pruned.
    async fn component(&self, digest: &str) -> Result<Option<Vec<u8>>, StoreError>;
    async fn set_quarantined(&self, digest: &str, quarantined: bool) -> Result<(), StoreError>;
    /// Configurations of a plugin, newest last; each change adds one.
    async fn put_plugin_config(&self, name: &str, config: &str) -> Result<u64, StoreError>;
    async fn plugin_config(&self, name: &str) -> Result<Option<(u64, String)>, StoreError>;
    /// The plugins that have a configuration in force.
    async fn configured_plugins(&self) -> Result<Vec<String>, StoreError>;
    /// Takes the newest configuration away; the one before is in force again. `None` when there is none before.
    async fn revert_plugin_config(&self, name: &str) -> Result<Option<(u64, String)>, StoreError>;
    /// Reserves `count` generation numbers durably and returns the first; a number is never given twice.
    async fn reserve_generations(&self, count: u64) -> Result<u64, StoreError>;
    /// Keeps a generation and what the audit log tells of it, both or neither.
    async fn put_generation(
        &self,
        generation: &StoredGeneration,
        told: &[AuditLine],
    ) -> Result<(), StoreError>;
    async fn newest_generation(&self) -> Result<Option<StoredGeneration>, StoreError>;
    async fn generation(&self, number: u64) -> Result<Option<StoredGeneration>, StoreError>;
    /// A document administrators own, by name (such as the filter's words).
    async fn document(&self, name: &str) -> Result<Option<String>, StoreError>;
    async fn put_document(&self, name: &str, text: &str) -> Result<(), StoreError>;

    /// An administrator's token by its SHA-256; the name it was given.
    async fn admin_token(&self, token: [u8; 32]) -> Result<Option<String>, StoreError>;
    async fn put_admin_token(&self, token: [u8; 32], name: &str, at: u64)
    -> Result<(), StoreError>;
    async fn any_admin_token(&self) -> Result<bool, StoreError>;
    async fn audit(&self, line: &AuditLine) -> Result<(), StoreError>;
    async fn audit_page(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError>;
    /// The id of the newest line of the audit log, and every newer one.
    fn audited(&self) -> tokio::sync::watch::Receiver<u64>;

    fn health(&self) -> Result<(), String>;
}
