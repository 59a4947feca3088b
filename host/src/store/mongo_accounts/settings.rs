//! What administrators own by name: secrets of the host, documents, configurations of plugins, tokens.
//! Texts are blobs: a list of words may be larger than a document. The document that names one is changed after it is
//! written, in one step.

use mongodb::bson::{Binary, Document, doc};
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};

use super::blobs::Blob;
use super::schema::{ADMIN_TOKENS, DOCUMENTS, PLUGIN_CONFIGS, SECRETS};
use super::tries::Tries;
use super::{MongoAccounts, binary, damaged, signed, unsigned, written};
use crate::store::StoreError;

/// Configurations of a plugin that can still be gone back to.
const CONFIGS_MOST: i64 = 8;

#[derive(Serialize, Deserialize)]
struct SecretRow {
    #[serde(rename = "_id")]
    name: String,
    value: Binary,
}

#[derive(Deserialize)]
struct DocumentRow {
    blob: Blob,
}

#[derive(Clone, Serialize, Deserialize)]
struct ConfigRow {
    name: String,
    revision: i64,
    blob: Blob,
    reverted: bool,
}

#[derive(Serialize, Deserialize)]
struct TokenRow {
    #[serde(rename = "_id")]
    token: Binary,
    name: String,
    at: i64,
}

impl MongoAccounts {
    pub(super) async fn load_secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.one::<SecretRow>(SECRETS, doc! {"_id": name}).await?;
        Ok(found.map(|secret| secret.value.bytes))
    }

    pub(super) async fn insert_secret(
        &self,
        name: &str,
        value: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let row = SecretRow {
            name: name.to_owned(),
            value: binary(value),
        };
        if self.insert(SECRETS, &row).await? {
            return Ok(row.value.bytes);
        }
        let first = self.load_secret(name).await?;
        first.ok_or_else(|| damaged("a secret"))
    }

    pub(super) async fn load_document(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut tries = Tries::of("a document");
        loop {
            let found = self.one::<DocumentRow>(DOCUMENTS, doc! {"_id": name});
            let Some(found) = found.await? else {
                return Ok(None);
            };
            if let Some(text) = self.text_blob(found.blob).await? {
                return Ok(Some(text));
            }
            // Another text was put in its place meanwhile; else it is damaged.
            let again = self.one::<DocumentRow>(DOCUMENTS, doc! {"_id": name});
            if again.await?.map(|again| again.blob) == Some(found.blob) {
                return Err(damaged("a document"));
            }
            tries.again().await?;
        }
    }

    pub(super) async fn upsert_document(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let blob = self.put_blob(text.as_bytes()).await?;
        let change = doc! {"$set": {"blob": written(&blob)?}};
        let which = ReturnDocument::Before;
        let before = self.upsert::<DocumentRow>(DOCUMENTS, doc! {"_id": name}, change, which);
        let before = before.await?;
        self.drop_blobs(before.map(|before| before.blob)).await;
        Ok(())
    }

    /// The newest ones of a plugin, whatever became of them.
    async fn configs(&self, filter: Document, limit: usize) -> Result<Vec<ConfigRow>, StoreError> {
        let order = doc! {"revision": -1};
        self.list(PLUGIN_CONFIGS, filter, order, limit).await
    }

    pub(super) async fn insert_config(&self, name: &str, config: &str) -> Result<u64, StoreError> {
        let blob = self.put_blob(config.as_bytes()).await?;
        let mut tries = Tries::of("a configuration");
        loop {
            let newest = self.configs(doc! {"name": name}, 1).await?;
            let newest = newest.first().map_or(0, |newest| newest.revision);
            let row = ConfigRow {
                name: name.to_owned(),
                revision: newest + 1,
                blob,
                reverted: false,
            };
            // Another node may have taken the number: the index has it once.
            if self.insert(PLUGIN_CONFIGS, &row).await? {
                self.forget_configs(name, row.revision - CONFIGS_MOST)
                    .await?;
                return Ok(unsigned(row.revision));
            }
            tries.again().await?;
        }
    }

    /// Large word lists would pile up: what can still be gone back to is enough.
    async fn forget_configs(&self, name: &str, upto: i64) -> Result<(), StoreError> {
        let filter = doc! {"name": name, "revision": {"$lte": upto}};
        let old = self
            .configs(filter.clone(), CONFIGS_MOST.unsigned_abs() as usize)
            .await?;
        if old.is_empty() {
            return Ok(());
        }
        self.delete(PLUGIN_CONFIGS, filter).await?;
        self.drop_blobs(old.into_iter().map(|config| config.blob))
            .await;
        Ok(())
    }

    pub(super) async fn load_config(
        &self,
        name: &str,
    ) -> Result<Option<(u64, String)>, StoreError> {
        let mut tries = Tries::of("a configuration");
        loop {
            let filter = doc! {"name": name, "reverted": false};
            let newest = self.configs(filter, 1).await?;
            let Some(newest) = newest.first() else {
                return Ok(None);
            };
            if let Some(found) = self.text_of(newest).await? {
                return Ok(Some(found));
            }
            tries.again().await?;
        }
    }

    async fn text_of(&self, config: &ConfigRow) -> Result<Option<(u64, String)>, StoreError> {
        let text = self.text_blob(config.blob).await?;
        Ok(text.map(|text| (unsigned(config.revision), text)))
    }

    pub(super) async fn load_configured(&self) -> Result<Vec<String>, StoreError> {
        let filter = doc! {"reverted": false};
        let rows: Vec<ConfigRow> = self.all(PLUGIN_CONFIGS, filter, doc! {"name": 1}).await?;
        let mut names: Vec<String> = rows.into_iter().map(|row| row.name).collect();
        names.dedup();
        Ok(names)
    }

    /// Whoever marks the newest one has taken it back; whoever comes second looks again, and takes back the one before.
    pub(super) async fn revert_config(
        &self,
        name: &str,
    ) -> Result<Option<(u64, String)>, StoreError> {
        let mut tries = Tries::of("a configuration");
        loop {
            let filter = doc! {"name": name, "reverted": false};
            let kept = self.configs(filter, 2).await?;
            let [newest, before] = kept.as_slice() else {
                return Ok(None);
            };
            let Some(found) = self.text_of(before).await? else {
                return Err(damaged("a configuration"));
            };
            let filter = doc! {"name": name, "revision": newest.revision, "reverted": false};
            let change = doc! {"$set": {"reverted": true}};
            if self.update(PLUGIN_CONFIGS, filter, change).await? {
                return Ok(Some(found));
            }
            tries.again().await?;
        }
    }

    pub(super) async fn load_token(&self, token: [u8; 32]) -> Result<Option<String>, StoreError> {
        let filter = doc! {"_id": binary(&token)};
        let found = self.one::<TokenRow>(ADMIN_TOKENS, filter).await?;
        Ok(found.map(|found| found.name))
    }

    pub(super) async fn insert_token(
        &self,
        token: [u8; 32],
        name: &str,
        at: u64,
    ) -> Result<(), StoreError> {
        let row = TokenRow {
            token: binary(&token),
            name: name.to_owned(),
            at: signed(at),
        };
        match self.insert(ADMIN_TOKENS, &row).await? {
            true => Ok(()),
            false => Err(StoreError::Unavailable(
                "accounts: there is such a token".to_owned(),
            )),
        }
    }

    pub(super) async fn has_token(&self) -> Result<bool, StoreError> {
        let found = self.one::<Document>(ADMIN_TOKENS, doc! {}).await?;
        Ok(found.is_some())
    }
}
