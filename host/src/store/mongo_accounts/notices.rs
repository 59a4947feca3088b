//! Notices owed to users' own logs. They lie in the document of what caused them and are found through an index on their
//! numbers; nothing is moved.
//! What was never told to whoever pays is never forgotten.

use mongodb::bson::{Bson, Document, doc};

use super::pairs::Pair;
use super::schema::PAIRS;
use super::{MongoAccounts, signed, unsigned};
use crate::ids::UserId;
use crate::store::StoreError;
use crate::store::people::Notice;

impl MongoAccounts {
    pub(super) async fn load_notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        // By the lowest number of each: the lowest of all are among the first `limit` documents.
        let filter = doc! {"owed.number": {"$gt": 0_i64}};
        let order = doc! {"owed.number": 1};
        let pairs: Vec<Pair> = self.list(PAIRS, filter, order, limit).await?;
        let owed = pairs.into_iter().flat_map(|pair| pair.owed);
        let mut notices: Vec<Notice> = owed
            .map(|owed| Notice {
                number: unsigned(owed.number),
                user: UserId(unsigned(owed.user)),
                code: owed.code,
                args: owed.args,
            })
            .collect();
        notices.sort_by_key(|notice| notice.number);
        notices.truncate(limit);
        let told = notices.iter().map(|notice| signed(notice.number));
        *self.told.lock() = told.collect();
        Ok(notices)
    }

    /// A number is taken before its notice is written, so a lower one of another node may appear after a higher one was
    /// told: it was not told, and stays.
    pub(super) async fn delete_notices(&self, upto: u64) -> Result<(), StoreError> {
        let told: Vec<Bson> = {
            let told = self.told.lock();
            let told = told.iter().filter(|number| **number <= signed(upto));
            told.copied().map(Bson::Int64).collect()
        };
        if told.is_empty() {
            return Ok(());
        }
        let filter = doc! {"owed.number": {"$in": &told}};
        let change = doc! {
            "$pull": {"owed": {"number": {"$in": told}}},
            "$inc": {"version": 1_i64},
        };
        let pairs = self.table::<Document>(PAIRS);
        self.write(pairs.update_many(filter, change)).await?;
        Ok(())
    }
}
