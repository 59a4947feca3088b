//! Versions of plugins: a document each, by its digest, one of its name and version by a unique index. Which components are
//! kept is one document of its own, so that some are pruned together or not at all.
//! Components are blobs (`blobs.rs`).

use std::collections::BTreeMap;

use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};

use super::blobs::Blob;
use super::schema::{PLUGINS, REGISTRY};
use super::tries::Tries;
use super::{MongoAccounts, signed, unsigned, written};
use crate::store::StoreError;
use crate::store::accounts::PluginVersion;

/// The document that says which components are kept.
const COMPONENTS: &str = "components";

#[derive(Deserialize)]
struct PluginRow {
    #[serde(rename = "_id")]
    digest: String,
    name: String,
    version: String,
    size: i64,
    pushed_at: i64,
    quarantined: bool,
    signed_by: Option<String>,
    signature: Option<String>,
}

/// Components that are kept, by their digests.
#[derive(Default, Serialize, Deserialize)]
struct Registry {
    #[serde(default)]
    kept: BTreeMap<String, Blob>,
}

impl PluginRow {
    fn version(self, is_kept: bool) -> PluginVersion {
        PluginVersion {
            name: self.name,
            version: self.version,
            digest: self.digest,
            size: unsigned(self.size),
            pushed_at: unsigned(self.pushed_at),
            quarantined: self.quarantined,
            signed_by: self.signed_by,
            signature: self.signature,
            pruned: !is_kept,
        }
    }
}

/// Where the registry's document names a component.
fn place(digest: &str) -> Result<String, StoreError> {
    if digest.is_empty() || digest.contains(['.', '$', '\0']) {
        let text = format!("accounts: {digest} is not a digest");
        return Err(StoreError::Unavailable(text));
    }
    Ok(format!("kept.{digest}"))
}

impl MongoAccounts {
    /// The component first, then the version, then the word that its component is kept: a process that ends in between
    /// leaves a version that is known as pruned, or nothing, and pushing again completes it.
    pub(super) async fn insert_plugin(
        &self,
        version: &PluginVersion,
        component: &[u8],
    ) -> Result<(), StoreError> {
        let place = place(&version.digest)?;
        let blob = self.put_blob(component).await?;
        if let Err(error) = self.upsert_version(version).await {
            self.drop_blobs([blob]).await;
            return Err(error);
        }
        let change = doc! {"$set": {place: written(&blob)?}};
        let before = self.change_registry(change).await?;
        self.drop_blobs(before.kept.get(&version.digest).copied())
            .await;
        if let Err(error) = self.sweep_blobs().await {
            tracing::debug!(%error, "parts that nothing names wait for the next push");
        }
        Ok(())
    }

    async fn upsert_version(&self, version: &PluginVersion) -> Result<(), StoreError> {
        let plugins = self.table::<Document>(PLUGINS);
        let filter = doc! {"_id": &version.digest};
        let change = doc! {
            "$set": {
                "pushed_at": signed(version.pushed_at),
                "signed_by": version.signed_by.clone(),
                "signature": version.signature.clone(),
            },
            "$setOnInsert": {
                "name": &version.name,
                "version": &version.version,
                "size": signed(version.size),
                "quarantined": version.quarantined,
            },
        };
        let mut tries = Tries::of("a plugin's version");
        loop {
            let put = plugins.update_one(filter.clone(), change.clone());
            if self.write_unless_there(put.upsert(true)).await?.is_some() {
                return Ok(());
            }
            // Either the same version was pushed at the same moment, or it is another binary's.
            let holder = doc! {"name": &version.name, "version": &version.version};
            let holder = self.one::<PluginRow>(PLUGINS, holder).await?;
            if holder.is_some_and(|holder| holder.digest != version.digest) {
                return Err(StoreError::Unavailable(format!(
                    "accounts: {}@{} is another digest",
                    version.name, version.version
                )));
            }
            tries.again().await?;
        }
    }

    /// Changes which components are kept; what it was before.
    async fn change_registry(&self, change: Document) -> Result<Registry, StoreError> {
        let filter = doc! {"_id": COMPONENTS};
        let before = self.upsert::<Registry>(REGISTRY, filter, change, ReturnDocument::Before);
        Ok(before.await?.unwrap_or_default())
    }

    pub(super) async fn kept_components(&self) -> Result<BTreeMap<String, Blob>, StoreError> {
        let registry = self.one::<Registry>(REGISTRY, doc! {"_id": COMPONENTS});
        Ok(registry.await?.unwrap_or_default().kept)
    }

    /// One write of one document lets go of all; the bytes follow.
    pub(super) async fn delete_components(&self, digests: &[String]) -> Result<(), StoreError> {
        let mut gone = Document::new();
        for digest in digests {
            gone.insert(place(digest)?, 1);
        }
        if gone.is_empty() {
            return Ok(());
        }
        let before = self.change_registry(doc! {"$unset": gone}).await?;
        let blobs = digests.iter().filter_map(|digest| before.kept.get(digest));
        self.drop_blobs(blobs.copied()).await;
        Ok(())
    }

    pub(super) async fn load_plugins(&self) -> Result<Vec<PluginVersion>, StoreError> {
        let kept = self.kept_components().await?;
        let order = doc! {"name": 1, "pushed_at": 1, "version": 1};
        let rows: Vec<PluginRow> = self.all(PLUGINS, doc! {}, order).await?;
        let versions = rows.into_iter().map(|row| {
            let is_kept = kept.contains_key(&row.digest);
            row.version(is_kept)
        });
        Ok(versions.collect())
    }

    pub(super) async fn load_component(&self, digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut tries = Tries::of("a component");
        loop {
            let kept = self.kept_components().await?;
            let Some(blob) = kept.get(digest) else {
                return Ok(None);
            };
            if let Some(component) = self.blob(*blob).await? {
                return Ok(Some(component));
            }
            // It was pushed again or pruned meanwhile; else its bytes are damaged.
            if self.kept_components().await?.get(digest) == Some(blob) {
                return Err(StoreError::Damaged(format!(
                    "accounts: parts of the component {digest} are missing"
                )));
            }
            tries.again().await?;
        }
    }

    pub(super) async fn update_quarantined(
        &self,
        digest: &str,
        quarantined: bool,
    ) -> Result<(), StoreError> {
        let change = doc! {"$set": {"quarantined": quarantined}};
        let changed = self.update(PLUGINS, doc! {"_id": digest}, change);
        changed.await.map(|_| ())
    }
}
