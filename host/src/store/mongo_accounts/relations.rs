//! Where two users stand to each other, and whom one has blocked.
//! A user's pairs are listed in two stretches: those with smaller ids, then those with larger ones, each in its order.

use mongodb::bson::{Document, doc};

use super::pairs::{Pair, pair_id};
use super::schema::PAIRS;
use super::tries::Tries;
use super::{MongoAccounts, signed, unsigned};
use crate::ids::UserId;
use crate::store::StoreError;
use crate::store::accounts::Relation;

impl MongoAccounts {
    pub(super) async fn load_relation(
        &self,
        user: UserId,
        other: UserId,
    ) -> Result<Relation, StoreError> {
        let filter = doc! {"_id": pair_id(user, other)};
        let pair = self.one::<Pair>(PAIRS, filter).await?;
        Ok(pair.map_or_else(Relation::default, |pair| pair.relation(user)))
    }

    pub(super) async fn update_block(
        &self,
        user: UserId,
        other: UserId,
        on: bool,
    ) -> Result<(), StoreError> {
        let mut tries = Tries::of("a block");
        loop {
            let mut pair = self.pair(user, other).await?;
            if pair.relation(user).blocking == on {
                return Ok(());
            }
            if pair.is_low(user) {
                pair.low_blocks = on;
            } else {
                pair.high_blocks = on;
            }
            if self.put_pair(pair).await? {
                return Ok(());
            }
            tries.again().await?;
        }
    }

    pub(super) async fn load_blocks(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        let (smaller, larger) = (doc! {"high_blocks": true}, doc! {"low_blocks": true});
        let pairs = self.pairs_of(user, after, limit, smaller, larger).await?;
        Ok(pairs.into_iter().map(|(other, _)| other).collect())
    }

    /// A user's pairs by the other one's id, after one: where the other id is smaller those that are also `smaller`,
    /// where it is larger those that are also `larger`.
    pub(super) async fn pairs_of(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
        mut smaller: Document,
        mut larger: Document,
    ) -> Result<Vec<(UserId, Pair)>, StoreError> {
        let (own, after) = (signed(user.0), signed(after.map_or(0, |after| after.0)));
        smaller.insert("high", own);
        smaller.insert("low", doc! {"$gt": after});
        let mut found: Vec<Pair> = self.list(PAIRS, smaller, doc! {"low": 1}, limit).await?;
        larger.insert("low", own);
        larger.insert("high", doc! {"$gt": after});
        let left = limit - found.len().min(limit);
        let rest = self.list::<Pair>(PAIRS, larger, doc! {"high": 1}, left);
        found.extend(rest.await?);
        let pairs = found.into_iter().map(|pair| {
            let other = if pair.low == own { pair.high } else { pair.low };
            (UserId(unsigned(other)), pair)
        });
        Ok(pairs.collect())
    }
}
