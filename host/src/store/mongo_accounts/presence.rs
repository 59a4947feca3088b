//! When users were last seen, written for many at once.
//! The latest time stays, in whichever order nodes write.

use mongodb::bson::{Document, doc};
use serde::Deserialize;

use super::schema::LAST_SEEN;
use super::tries::Tries;
use super::{MongoAccounts, numbers, signed, unsigned};
use crate::ids::UserId;
use crate::maps::HashMap;
use crate::store::StoreError;
use crate::store::mongo::Update;

#[derive(Deserialize)]
struct SeenRow {
    #[serde(rename = "_id")]
    user: i64,
    at: i64,
}

/// Keeps when a user was seen, unless that is earlier than what is known.
fn latest((user, at): &(UserId, u64)) -> Document {
    let change = doc! {"$max": {"at": signed(*at)}};
    Update::upsert(doc! {"_id": signed(user.0)}, change).into_document()
}

impl MongoAccounts {
    /// Two nodes may add the same user at once: the one that lost changes what the other one added.
    pub(super) async fn insert_last_seen(&self, seen: &[(UserId, u64)]) -> Result<(), StoreError> {
        let mut left: Vec<Document> = seen.iter().map(latest).collect();
        let mut tries = Tries::of("when users were last seen");
        while !left.is_empty() {
            let written = self.mongo.update(LAST_SEEN, left.clone()).await?;
            if written.duplicates.is_empty() {
                break;
            }
            let duplicates = written.duplicates.iter();
            left = duplicates.filter_map(|at| left.get(*at).cloned()).collect();
            tries.again().await?;
        }
        Ok(())
    }

    pub(super) async fn load_last_seen(
        &self,
        users: &[UserId],
    ) -> Result<Vec<(UserId, u64)>, StoreError> {
        let wanted = numbers(users.iter().map(|user| user.0));
        let filter = doc! {"_id": {"$in": wanted}};
        let rows: Vec<SeenRow> = self.all(LAST_SEEN, filter, doc! {}).await?;
        let known: HashMap<UserId, u64> = rows
            .into_iter()
            .map(|row| (UserId(unsigned(row.user)), unsigned(row.at)))
            .collect();
        let found = users.iter().filter_map(|user| {
            let at = known.get(user)?;
            Some((*user, *at))
        });
        Ok(found.collect())
    }
}
