//! Generations: a document each, which holds its lines of the audit log until they are told. That document is what makes
//! both, or neither; a process that ends before the lines are told leaves them to the next look of any node.
//! Numbers are reserved by a counter and unique by their index.

use mongodb::bson::doc;
use serde::{Deserialize, Serialize};

use super::audit::LineRow;
use super::schema::GENERATIONS;
use super::{MongoAccounts, signed, unsigned};
use crate::store::StoreError;
use crate::store::accounts::{AuditLine, StoredGeneration};

#[derive(Serialize, Deserialize)]
struct GenerationRow {
    #[serde(rename = "_id")]
    number: i64,
    bindings: String,
    at: i64,
    cause: String,
    told: Vec<LineRow>,
    /// Some of `told` are not in the audit log yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owes: Option<bool>,
}

/// Generations looked at in one go for lines they owe.
const AT_ONCE: usize = 100;

impl GenerationRow {
    fn generation(self) -> StoredGeneration {
        StoredGeneration {
            number: unsigned(self.number),
            bindings: self.bindings,
            at: unsigned(self.at),
            cause: self.cause,
        }
    }
}

impl MongoAccounts {
    pub(super) async fn insert_generation(
        &self,
        generation: &StoredGeneration,
        told: &[AuditLine],
    ) -> Result<(), StoreError> {
        let row = GenerationRow {
            number: signed(generation.number),
            bindings: generation.bindings.clone(),
            at: signed(generation.at),
            cause: generation.cause.clone(),
            told: told.iter().map(LineRow::of).collect(),
            owes: (!told.is_empty()).then_some(true),
        };
        if !self.insert(GENERATIONS, &row).await? {
            let text = format!("accounts: there is a generation {}", generation.number);
            return Err(StoreError::Unavailable(text));
        }
        // It is kept, and the lines with it, whenever they are told.
        if let Err(error) = self.tell_generations().await {
            tracing::warn!(%error, "lines of the audit log wait for the next look");
        }
        Ok(())
    }

    /// Tells the lines that generations owe to the audit log, in their order. Told twice, they are there once.
    pub(super) async fn tell_generations(&self) -> Result<(), StoreError> {
        let owing: Vec<GenerationRow> = self
            .list(GENERATIONS, doc! {"owes": true}, doc! {"_id": 1}, AT_ONCE)
            .await?;
        for row in owing {
            for (at, line) in row.told.into_iter().enumerate() {
                let of = format!("{}/{at}", row.number);
                self.put_line(line, Some(of)).await?;
            }
            let change = doc! {"$unset": {"owes": 1}};
            self.update(GENERATIONS, doc! {"_id": row.number}, change)
                .await?;
        }
        Ok(())
    }

    pub(super) async fn load_newest_generation(
        &self,
    ) -> Result<Option<StoredGeneration>, StoreError> {
        let generations = self.table::<GenerationRow>(GENERATIONS);
        let newest = generations.find_one(doc! {}).sort(doc! {"_id": -1});
        let newest = self.read(newest).await?;
        Ok(newest.map(GenerationRow::generation))
    }

    pub(super) async fn load_generation(
        &self,
        number: u64,
    ) -> Result<Option<StoredGeneration>, StoreError> {
        let filter = doc! {"_id": signed(number)};
        let found = self.one::<GenerationRow>(GENERATIONS, filter).await?;
        Ok(found.map(GenerationRow::generation))
    }
}
