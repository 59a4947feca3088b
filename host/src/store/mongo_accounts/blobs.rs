//! What may be larger than a document (components, word lists, configurations), in parts. A blob is written whole under
//! an id of its own before any document names it, and never changed: a reader sees all of it or none.
//! Parts that no document names, because a process ended in between, are removed an hour later at the earliest.

use std::time::Duration;

use mongodb::bson::{Binary, Bson, doc, oid::ObjectId};
use serde::{Deserialize, Serialize};

use super::schema::{BLOB_PARTS, DOCUMENTS, PLUGIN_CONFIGS, PROVISIONS};
use super::{MongoAccounts, binary, collect, damaged};
use crate::store::StoreError;

/// Bytes of a part: several fit a message of the wire, none comes near what a document may be.
const PART_BYTES: usize = 2 * 1024 * 1024;
/// How long a blob may be on its way to the document that names it.
const UNNAMED: Duration = Duration::from_secs(60 * 60);

/// How a document names a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob {
    id: ObjectId,
    parts: i64,
    bytes: i64,
}

#[derive(Serialize, Deserialize)]
struct PartRow {
    blob: ObjectId,
    number: i64,
    bytes: Binary,
}

/// A document that names a blob.
#[derive(Deserialize)]
struct Naming {
    blob: Blob,
}

#[derive(Deserialize)]
struct Begun {
    blob: ObjectId,
}

impl MongoAccounts {
    /// Writes a blob that nothing names yet.
    pub(super) async fn put_blob(&self, bytes: &[u8]) -> Result<Blob, StoreError> {
        let id = ObjectId::new();
        let parts = self.table::<PartRow>(BLOB_PARTS);
        let mut count = 0;
        for part in bytes.chunks(PART_BYTES) {
            let row = PartRow {
                blob: id,
                number: count,
                bytes: binary(part),
            };
            self.write(parts.insert_one(row)).await?;
            count += 1;
        }
        let bytes = i64::try_from(bytes.len()).map_err(|_| damaged("a length"))?;
        Ok(Blob {
            id,
            parts: count,
            bytes,
        })
    }

    /// `None` when it is gone: whatever named it names another one by now, or nothing.
    pub(super) async fn blob(&self, blob: Blob) -> Result<Option<Vec<u8>>, StoreError> {
        let mut bytes = Vec::with_capacity(usize::try_from(blob.bytes).unwrap_or_default());
        for number in 0..blob.parts {
            let filter = doc! {"blob": blob.id, "number": number};
            let Some(part) = self.one::<PartRow>(BLOB_PARTS, filter).await? else {
                return Ok(None);
            };
            bytes.extend_from_slice(&part.bytes.bytes);
        }
        let is_whole = i64::try_from(bytes.len()) == Ok(blob.bytes);
        Ok(is_whole.then_some(bytes))
    }

    pub(super) async fn text_blob(&self, blob: Blob) -> Result<Option<String>, StoreError> {
        let bytes = self.blob(blob).await?;
        let text = bytes.map(String::from_utf8).transpose();
        text.map_err(|_| damaged("a text"))
    }

    /// Removes blobs that nothing names any more. What fails here is removed with what nobody names.
    pub(super) async fn drop_blobs(&self, blobs: impl IntoIterator<Item = Blob>) {
        let ids: Vec<Bson> = blobs
            .into_iter()
            .map(|blob| Bson::ObjectId(blob.id))
            .collect();
        if ids.is_empty() {
            return;
        }
        if let Err(error) = self.drop_parts(ids).await {
            tracing::debug!(%error, "parts that nothing names wait to be removed");
        }
    }

    async fn drop_parts(&self, blobs: Vec<Bson>) -> Result<(), StoreError> {
        let these = doc! {"blob": {"$in": blobs}};
        self.delete(BLOB_PARTS, these).await.map(|_| ())
    }

    /// Removes what was begun long ago and is named by no document. What is named is read after what was begun: a blob is
    /// named within the hour or never.
    pub(super) async fn sweep_blobs(&self) -> Result<(), StoreError> {
        let now = ObjectId::new().timestamp();
        let parts = self.table::<Begun>(BLOB_PARTS);
        let begun = parts
            .find(doc! {"number": 0_i64})
            .projection(doc! {"_id": 0, "blob": 1});
        let begun = self.read(collect(begun)).await?;
        let is_old = |blob: &ObjectId| {
            let age = now.timestamp_millis() - blob.timestamp().timestamp_millis();
            age > i64::try_from(UNNAMED.as_millis()).unwrap_or(i64::MAX)
        };
        let mut old: Vec<ObjectId> = begun.into_iter().map(|part| part.blob).collect();
        old.retain(is_old);
        if old.is_empty() {
            return Ok(());
        }
        let named = self.named_blobs().await?;
        old.retain(|blob| !named.contains(blob));
        self.drop_parts(old.into_iter().map(Bson::ObjectId).collect())
            .await
    }

    async fn named_blobs(&self) -> Result<Vec<ObjectId>, StoreError> {
        let kept = self.kept_components().await?;
        let mut named: Vec<ObjectId> = kept.into_values().map(|blob| blob.id).collect();
        for table in [DOCUMENTS, PLUGIN_CONFIGS, PROVISIONS] {
            let rows: Vec<Naming> = self.all(table, doc! {}, doc! {}).await?;
            named.extend(rows.into_iter().map(|row| row.blob.id));
        }
        Ok(named)
    }
}
