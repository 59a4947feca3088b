//! Claims: room taken within a bound before the document that fills it is written, so that several nodes together stay
//! within it. What fills a bound is counted where it is kept; a claim stands for what is on its way there.
//! A claim whose process ended is passed over after a minute: nothing has to be put right.

use mongodb::bson::{doc, oid::ObjectId};
use serde::{Deserialize, Serialize};

use super::schema::CLAIMS;
use super::{MongoAccounts, signed};
use crate::store::StoreError;

/// Longer than any write takes, shorter than anybody minds.
const STALE_MS: u64 = 60_000;

/// What is on its way within one bound.
#[derive(Serialize, Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "_id")]
    key: String,
    /// Rises with every change; none has been written while it is 0.
    version: i64,
    pub held: Vec<Held>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Held {
    id: ObjectId,
    at: i64,
    /// The id of the document it is for, as text.
    pub what: String,
    /// How much it takes, where things differ.
    pub amount: i64,
}

/// Room that is taken, until it is released.
pub(super) struct Claim {
    key: String,
    id: ObjectId,
}

impl MongoAccounts {
    /// What is claimed now. It has to be read before what is kept is counted: whatever was released by then is among
    /// what is counted, and whatever comes later changes the version.
    pub(super) async fn claims(&self, key: String, now: u64) -> Result<Claims, StoreError> {
        let found = self.one::<Claims>(CLAIMS, doc! {"_id": &key}).await?;
        let mut claims = found.unwrap_or(Claims {
            key,
            version: 0,
            held: Vec::new(),
        });
        let stale = signed(now.saturating_sub(STALE_MS));
        claims.held.retain(|held| held.at >= stale);
        Ok(claims)
    }

    /// Takes room, unless anything has been claimed or released since `seen` was read.
    pub(super) async fn claim(
        &self,
        mut seen: Claims,
        what: String,
        amount: i64,
        now: u64,
    ) -> Result<Option<Claim>, StoreError> {
        let (read, id) = (seen.version, ObjectId::new());
        seen.version += 1;
        seen.held.push(Held {
            id,
            at: signed(now),
            what,
            amount,
        });
        let taken = if read == 0 {
            self.insert(CLAIMS, &seen).await?
        } else {
            let filter = doc! {"_id": &seen.key, "version": read};
            let claims = self.table::<Claims>(CLAIMS);
            let taken = self.write(claims.replace_one(filter, &seen)).await?;
            taken.matched_count == 1
        };
        Ok(taken.then_some(Claim { key: seen.key, id }))
    }

    /// Gives room back: what it was for is kept now, or will not be. Where this fails the claim ends by itself.
    pub(super) async fn release(&self, claims: impl IntoIterator<Item = Claim>) {
        for claim in claims {
            let change = doc! {"$pull": {"held": {"id": claim.id}}, "$inc": {"version": 1_i64}};
            let released = self.update(CLAIMS, doc! {"_id": claim.key}, change).await;
            if let Err(error) = released {
                tracing::debug!(%error, "a claim is left to end by itself");
            }
        }
    }
}
