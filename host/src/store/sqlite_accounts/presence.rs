//! When users were last seen.
//! Written for many at once; not worth a sync each.

use rusqlite::{OptionalExtension, params};

use super::{SqliteAccounts, signed, unsigned};
use crate::ids::UserId;
use crate::store::StoreError;

impl SqliteAccounts {
    pub(super) async fn insert_last_seen(&self, seen: &[(UserId, u64)]) -> Result<(), StoreError> {
        let seen = seen.to_vec();
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO last_seen (user, at) VALUES (?1, ?2)
                     ON CONFLICT (user) DO UPDATE SET at = max(at, excluded.at)",
                )?;
                for (user, at) in seen {
                    insert.execute(params![signed(user.0), signed(at)])?;
                }
            }
            transaction.commit()
        })
        .await
    }

    pub(super) async fn load_last_seen(
        &self,
        users: &[UserId],
    ) -> Result<Vec<(UserId, u64)>, StoreError> {
        let users = users.to_vec();
        self.with(move |connection| {
            let mut select =
                connection.prepare_cached("SELECT at FROM last_seen WHERE user = ?1")?;
            let mut found = Vec::new();
            for user in users {
                let at = select
                    .query_row([signed(user.0)], |row| row.get(0))
                    .optional()?;
                found.extend(at.map(|at| (user, unsigned(at))));
            }
            Ok(found)
        })
        .await
    }
}
