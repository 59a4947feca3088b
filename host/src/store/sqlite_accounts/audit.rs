//! The audit log: lines by rising ids, written alone or together with the generation they tell of. Whoever follows is told
//! the newest id; lines are read on the connection of searches.

use rusqlite::{Connection, Row, params};

use super::{SqliteAccounts, signed, unsigned};
use crate::store::StoreError;
use crate::store::accounts::{AuditEntry, AuditLine, AuditQuery, StoredGeneration};

impl SqliteAccounts {
    pub(super) async fn insert_generation(
        &self,
        generation: StoredGeneration,
        told: Vec<AuditLine>,
    ) -> Result<(), StoreError> {
        let newest = self.with(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT INTO generations (number, bindings, at, cause) VALUES (?1, ?2, ?3, ?4)",
                params![
                    signed(generation.number),
                    generation.bindings,
                    signed(generation.at),
                    generation.cause
                ],
            )?;
            let newest = insert(&transaction, &told)?;
            transaction.commit()?;
            Ok(newest)
        });
        self.tell_audited(newest.await?);
        Ok(())
    }

    pub(super) async fn insert_lines(&self, lines: Vec<AuditLine>) -> Result<(), StoreError> {
        let newest = self.with(move |connection| {
            let transaction = connection.transaction()?;
            let newest = insert(&transaction, &lines)?;
            transaction.commit()?;
            Ok(newest)
        });
        self.tell_audited(newest.await?);
        Ok(())
    }

    /// Two that wrote at once may come here in either order.
    fn tell_audited(&self, newest: Option<u64>) {
        let Some(newest) = newest else { return };
        self.audited.send_if_modified(|told| {
            let is_newer = newest > *told;
            *told = newest.max(*told);
            is_newer
        });
    }

    pub(super) async fn load_audit(
        &self,
        query: AuditQuery,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.search(move |connection| {
            let order = if query.after.is_some() { "ASC" } else { "DESC" };
            let select = format!(
                "SELECT id, at, actor, action, subject, was, became, detail FROM audit
                 WHERE id > ?1 AND id < ?2 AND substr(action, 1, length(?3)) = ?3 ORDER BY id {order} LIMIT ?4"
            );
            let mut select = connection.prepare_cached(&select)?;
            let before = query.before.unwrap_or(u64::MAX).min(i64::MAX as u64);
            let after = query.after.unwrap_or(0).min(i64::MAX as u64);
            let limit = query.limit as u64;
            let asked = params![signed(after), signed(before), query.prefix, signed(limit)];
            select.query_map(asked, entry_of)?.collect()
        })
        .await
    }
}

/// The newest line's id, as the log stands.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<u64> {
    let select = "SELECT coalesce(max(id), 0) FROM audit";
    connection.query_row(select, [], |row| row.get(0).map(unsigned))
}

/// The last one's id.
fn insert(connection: &Connection, lines: &[AuditLine]) -> rusqlite::Result<Option<u64>> {
    let mut put = connection.prepare_cached(
        "INSERT INTO audit (at, actor, action, subject, was, became, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut newest = None;
    for line in lines {
        let detail = line.detail.as_ref().map(ToString::to_string);
        newest = Some(unsigned(put.insert(params![
            signed(line.at),
            line.actor,
            line.action,
            line.subject,
            line.from,
            line.to,
            detail
        ])?));
    }
    Ok(newest)
}

fn entry_of(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let detail: Option<String> = row.get(7)?;
    Ok(AuditEntry {
        id: unsigned(row.get(0)?),
        line: AuditLine {
            at: unsigned(row.get(1)?),
            actor: row.get(2)?,
            action: row.get(3)?,
            subject: row.get(4)?,
            from: row.get(5)?,
            to: row.get(6)?,
            detail: detail.and_then(|detail| serde_json::from_str(&detail).ok()),
        },
    })
}
