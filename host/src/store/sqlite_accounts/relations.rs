//! Where two users stand to each other, and whom one has blocked.
//! Answers the message path from memory.

use rusqlite::params;

use super::{SqliteAccounts, signed, unsigned};
use crate::ids::UserId;
use crate::store::StoreError;
use crate::store::accounts::Relation;

impl SqliteAccounts {
    pub(super) async fn load_relation(
        &self,
        user: UserId,
        other: UserId,
    ) -> Result<Relation, StoreError> {
        let age = match self.relations.get(&(user, other)) {
            Ok(relation) => return Ok(relation),
            Err(age) => age,
        };
        let found = self.with(move |connection| {
            let mut select =
                connection.prepare_cached("SELECT 1 FROM blocks WHERE user = ?1 AND other = ?2")?;
            let blocking = select.exists(params![signed(user.0), signed(other.0)])?;
            let blocked = select.exists(params![signed(other.0), signed(user.0)])?;
            let mut select = connection
                .prepare_cached("SELECT 1 FROM friends WHERE user = ?1 AND other = ?2")?;
            let friends = select.exists(params![signed(user.0), signed(other.0)])?;
            Ok(Relation {
                blocked,
                blocking,
                friends,
            })
        });
        let relation = found.await?;
        self.relations.keep(age, (user, other), relation);
        Ok(relation)
    }

    pub(super) async fn update_block(
        &self,
        user: UserId,
        other: UserId,
        on: bool,
    ) -> Result<(), StoreError> {
        let changed = self.with(move |connection| {
            let sql = if on {
                "INSERT INTO blocks (user, other) VALUES (?1, ?2) ON CONFLICT DO NOTHING"
            } else {
                "DELETE FROM blocks WHERE user = ?1 AND other = ?2"
            };
            connection.execute(sql, params![signed(user.0), signed(other.0)])
        });
        changed.await?;
        self.relations
            .forget(|pair| *pair == (user, other) || *pair == (other, user));
        Ok(())
    }

    pub(super) async fn load_blocks(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        self.with(move |connection| {
            let mut select =
                connection.prepare_cached("SELECT other FROM blocks WHERE user = ?1")?;
            let rows =
                select.query_map([signed(user.0)], |row| Ok(UserId(unsigned(row.get(0)?))))?;
            let mut all: Vec<UserId> = rows.collect::<rusqlite::Result<_>>()?;
            all.sort_unstable();
            all.retain(|other| after.is_none_or(|after| *other > after));
            all.truncate(limit);
            Ok(all)
        })
        .await
    }
}
