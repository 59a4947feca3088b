//! What nodes share about generations: the number of the one in force, which only rises, and provisions, whose bytes are
//! blobs. A provision's name says what its bytes are, so two nodes that put one at once put the same.

use async_trait::async_trait;
use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::blobs::Blob;
use super::schema::{COUNTERS, GENERATIONS, PROVISIONS};
use super::{Counter, MongoAccounts, Numbered, damaged, signed, unsigned, written};
use crate::store::StoreError;
use crate::store::generations::{SharedGenerations, Standing};

/// The document that says which generation is in force.
pub(super) const IN_FORCE: &str = "generation in force";

#[derive(Deserialize)]
struct ProvisionRow {
    blob: Blob,
}

#[async_trait]
impl SharedGenerations for MongoAccounts {
    async fn standing(&self) -> Result<Standing, StoreError> {
        let in_force = self
            .one::<Counter>(COUNTERS, doc! {"_id": IN_FORCE})
            .await?;
        let generations = self.table::<Numbered>(GENERATIONS);
        let newest = generations
            .find_one(doc! {})
            .sort(doc! {"_id": -1})
            .projection(doc! {"_id": 1});
        let newest = self.read(newest).await?;
        Ok(Standing {
            newest: newest.map_or(0, |newest| unsigned(newest.id)),
            in_force: in_force.map_or(0, |counter| unsigned(counter.last)),
        })
    }

    async fn put_in_force(&self, number: u64) -> Result<u64, StoreError> {
        let change = doc! {"$max": {"last": signed(number)}};
        let after = ReturnDocument::After;
        let put = self.upsert::<Counter>(COUNTERS, doc! {"_id": IN_FORCE}, change, after);
        let counter = put.await?.ok_or_else(|| damaged("a counter"))?;
        Ok(unsigned(counter.last))
    }

    async fn put_provision(&self, name: &str, bytes: &[u8], at_ms: u64) -> Result<(), StoreError> {
        let blob = self.put_blob(bytes).await?;
        let change = doc! {"$set": {"blob": written(&blob)?, "at": signed(at_ms)}};
        let which = ReturnDocument::Before;
        let before = self.upsert::<ProvisionRow>(PROVISIONS, doc! {"_id": name}, change, which);
        let before = before.await?;
        self.drop_blobs(before.map(|before| before.blob)).await;
        Ok(())
    }

    async fn has_provision(&self, name: &str) -> Result<bool, StoreError> {
        let found = self.one::<ProvisionRow>(PROVISIONS, doc! {"_id": name});
        Ok(found.await?.is_some())
    }

    async fn provision(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.one::<ProvisionRow>(PROVISIONS, doc! {"_id": name});
        match found.await? {
            // Put again or removed meanwhile, it is made again by whoever asks.
            Some(found) => self.blob(found.blob).await,
            None => Ok(None),
        }
    }

    async fn keep_provisions(&self, names: &[String], before_ms: u64) -> Result<(), StoreError> {
        let old = doc! {"_id": {"$nin": names}, "at": {"$lt": signed(before_ms)}};
        let gone: Vec<ProvisionRow> = self.all(PROVISIONS, old, Document::new()).await?;
        for provision in gone {
            // By its blob: one that was put again meanwhile stays.
            let this = doc! {"blob": written(&provision.blob)?};
            if self.delete(PROVISIONS, this).await? > 0 {
                self.drop_blobs([provision.blob]).await;
            }
        }
        Ok(())
    }
}
