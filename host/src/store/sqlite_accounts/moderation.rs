//! Bans, labels, notices to administrators, conversations handed over,
//! and actions that wait for a second one.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::friends::many;
use super::{SqliteAccounts, signed, unsigned};
use crate::ids::{ConversationId, UserId};
use crate::store::StoreError;
use crate::store::moderation::{
    AdminNotice, Ban, BanKind, Handover, Moderation, NewAdminNotice, NewBan, NewHandover, Wish,
};

/// Notices that are kept.
const NOTICES_MOST: i64 = 10_000;

fn ban_of(row: &Row<'_>) -> rusqlite::Result<Option<Ban>> {
    let Some(kind) = BanKind::from_name(&row.get::<_, String>(1)?) else {
        return Ok(None);
    };
    Ok(Some(Ban {
        id: unsigned(row.get(0)?),
        made: NewBan {
            kind,
            subject: row.get(2)?,
            until: row.get::<_, Option<i64>>(3)?.map(unsigned),
            reason: row.get(4)?,
            by: row.get(5)?,
            at: unsigned(row.get(6)?),
        },
    }))
}

fn notice_of(row: &Row<'_>) -> rusqlite::Result<AdminNotice> {
    Ok(AdminNotice {
        id: unsigned(row.get(0)?),
        told: NewAdminNotice {
            at: unsigned(row.get(1)?),
            by: row.get(2)?,
            text: row.get(3)?,
            user: row
                .get::<_, Option<i64>>(4)?
                .map(|user| UserId(unsigned(user))),
        },
    })
}

fn handover_of(row: &Row<'_>) -> rusqlite::Result<Handover> {
    let conversation: String = row.get(1)?;
    let unreadable = || {
        let why = "a conversation's id".into();
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, why)
    };
    Ok(Handover {
        id: unsigned(row.get(0)?),
        made: NewHandover {
            conversation: conversation.parse().map_err(|_| unreadable())?,
            account: UserId(unsigned(row.get(2)?)),
            plugin: row.get(3)?,
            reason: row.get(4)?,
            seq: unsigned(row.get(5)?),
            at: unsigned(row.get(6)?),
        },
    })
}

/// Keeps a notice; its id.
fn tell(transaction: &Transaction<'_>, notice: &NewAdminNotice) -> rusqlite::Result<i64> {
    transaction.execute(
        "INSERT INTO admin_notices (at, by, text, user) VALUES (?1, ?2, ?3, ?4)",
        params![
            signed(notice.at),
            notice.by,
            notice.text,
            notice.user.map(|user| signed(user.0)),
        ],
    )?;
    let id = transaction.last_insert_rowid();
    transaction.execute(
        "DELETE FROM admin_notices WHERE id <= ?1",
        [id - NOTICES_MOST],
    )?;
    Ok(id)
}

#[async_trait]
impl Moderation for SqliteAccounts {
    async fn put_ban(&self, ban: &NewBan) -> Result<u64, StoreError> {
        let ban = ban.clone();
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute(
                "DELETE FROM bans WHERE until <= ?1",
                params![signed(ban.at)],
            )?;
            let id: i64 = transaction.query_row(
                "INSERT INTO bans (kind, subject, until, reason, by, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (kind, subject) DO UPDATE SET until = ?3, reason = ?4, by = ?5, at = ?6 RETURNING id",
                params![
                    ban.kind.as_str(),
                    ban.subject,
                    ban.until.map(signed),
                    ban.reason,
                    ban.by,
                    signed(ban.at),
                ],
                |row| row.get(0),
            )?;
            transaction.commit()?;
            Ok(unsigned(id))
        })
        .await
    }

    async fn remove_ban(&self, id: u64) -> Result<bool, StoreError> {
        self.with(move |connection| {
            let removed = connection.execute("DELETE FROM bans WHERE id = ?1", [signed(id)])?;
            Ok(removed == 1)
        })
        .await
    }

    async fn bans(&self, now: u64) -> Result<Vec<Ban>, StoreError> {
        self.with(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT id, kind, subject, until, reason, by, at FROM bans
                 WHERE until IS NULL OR until > ?1 ORDER BY id",
            )?;
            let rows = select.query_map([signed(now)], ban_of)?;
            let bans: Vec<Option<Ban>> = rows.collect::<rusqlite::Result<_>>()?;
            Ok(bans.into_iter().flatten().collect())
        })
        .await
    }

    async fn set_label(&self, user: UserId, label: &str, on: bool) -> Result<(), StoreError> {
        let label = label.to_owned();
        self.with(move |connection| {
            let change = if on {
                "INSERT INTO labels (user, label) VALUES (?1, ?2) ON CONFLICT DO NOTHING"
            } else {
                "DELETE FROM labels WHERE user = ?1 AND label = ?2"
            };
            connection.execute(change, params![signed(user.0), label])?;
            Ok(())
        })
        .await
    }

    async fn labels(&self, users: &[UserId]) -> Result<Vec<(UserId, String)>, StoreError> {
        let users = users.to_vec();
        self.with(move |connection| {
            let mut select = connection
                .prepare_cached("SELECT label FROM labels WHERE user = ?1 ORDER BY label")?;
            let mut found = Vec::new();
            for user in users {
                let labels = select.query_map([signed(user.0)], |row| row.get::<_, String>(0))?;
                for label in labels {
                    found.push((user, label?));
                }
            }
            Ok(found)
        })
        .await
    }

    async fn put_admin_notice(&self, notice: &NewAdminNotice) -> Result<u64, StoreError> {
        let notice = notice.clone();
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            let known: Option<i64> = transaction
                .query_row(
                    "SELECT id FROM admin_notices WHERE at = ?1 AND by = ?2 AND text = ?3",
                    params![signed(notice.at), notice.by, notice.text],
                    |row| row.get(0),
                )
                .optional()?;
            let id = match known {
                Some(id) => id,
                None => tell(&transaction, &notice)?,
            };
            transaction.commit()?;
            Ok(unsigned(id))
        })
        .await
    }

    async fn admin_notices(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AdminNotice>, StoreError> {
        self.with(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT id, at, by, text, user FROM admin_notices WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let before = before.map_or(i64::MAX, signed);
            let rows = select.query_map(params![before, many(limit)], notice_of)?;
            rows.collect()
        })
        .await
    }

    async fn hand_over(
        &self,
        handover: &NewHandover,
        notice: &NewAdminNotice,
    ) -> Result<bool, StoreError> {
        let (handover, notice) = (handover.clone(), notice.clone());
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            let new = transaction.execute(
                "INSERT INTO handovers (conversation, account, plugin, reason, seq, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                params![
                    handover.conversation.to_string(),
                    signed(handover.account.0),
                    handover.plugin,
                    handover.reason,
                    signed(handover.seq),
                    signed(handover.at),
                ],
            )?;
            if new == 1 {
                tell(&transaction, &notice)?;
            }
            transaction.commit()?;
            Ok(new == 1)
        })
        .await
    }

    async fn is_handed_over(
        &self,
        conversation: ConversationId,
        account: UserId,
    ) -> Result<bool, StoreError> {
        self.with(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT 1 FROM handovers WHERE conversation = ?1 AND account = ?2",
            )?;
            select.exists(params![conversation.to_string(), signed(account.0)])
        })
        .await
    }

    async fn handovers(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Handover>, StoreError> {
        self.with(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT id, conversation, account, plugin, reason, seq, at FROM handovers
                 WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let before = before.map_or(i64::MAX, signed);
            let rows = select.query_map(params![before, many(limit)], handover_of)?;
            rows.collect()
        })
        .await
    }

    async fn give_back(&self, id: u64) -> Result<Option<Handover>, StoreError> {
        self.with(move |connection| {
            connection
                .query_row(
                    "DELETE FROM handovers WHERE id = ?1
                     RETURNING id, conversation, account, plugin, reason, seq, at",
                    [signed(id)],
                    handover_of,
                )
                .optional()
        })
        .await
    }

    async fn second(&self, wish: &Wish, since: u64) -> Result<bool, StoreError> {
        let wish = wish.clone();
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM wishes WHERE at < ?1", [signed(since)])?;
            let first: Option<i64> = transaction
                .query_row(
                    "SELECT id FROM wishes WHERE action = ?1 AND subject = ?2 AND actor <> ?3 LIMIT 1",
                    params![wish.action, wish.subject, wish.actor],
                    |row| row.get(0),
                )
                .optional()?;
            match first {
                Some(_) => transaction.execute(
                    "DELETE FROM wishes WHERE action = ?1 AND subject = ?2",
                    params![wish.action, wish.subject],
                )?,
                None => transaction.execute(
                    "INSERT INTO wishes (action, subject, actor, at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (action, subject, actor) DO UPDATE SET at = ?4",
                    params![wish.action, wish.subject, wish.actor, signed(wish.at)],
                )?,
            };
            transaction.commit()?;
            Ok(first.is_some())
        })
        .await
    }
}
