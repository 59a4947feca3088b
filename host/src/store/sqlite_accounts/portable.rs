//! Moving the accounts: the tables as they stand in one read transaction, and rows from elsewhere. Tables here have the
//! names and columns that `portable::tables` gives them, so that one statement does for all.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OpenFlags, Row as Found, ToSql, params_from_iter};

use super::SqliteAccounts;
use crate::store::StoreError;
use crate::store::portable::tables::{Cell, Row, TABLES, Table, decode, encode};
use crate::store::portable::{Meanwhile, PortableAccounts, RowsReader, Stretch};

/// Rows of one stretch, and the bytes at which it ends.
const ROWS_MOST: usize = 1_000;
const BYTES_MOST: usize = 1024 * 1024;
/// Where counters stand: those that SQLite keeps, and the host's own.
const NUMBERS: &str = "(SELECT name, seq AS last FROM sqlite_sequence WHERE name <> 'audit'
     UNION ALL SELECT name, next - 1 FROM reserved)";

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Int(value) => ToSqlOutput::Owned(Value::Integer(*value)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

fn cell(value: ValueRef<'_>) -> rusqlite::Result<Cell> {
    Ok(match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(value) => Cell::Int(value),
        ValueRef::Text(_) => Cell::Text(value.as_str()?.to_owned()),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => return Err(rusqlite::Error::InvalidQuery),
    })
}

/// `"a", "b"`: some of them are words of SQL.
fn names(columns: &[(&str, crate::store::portable::tables::Kind)]) -> String {
    let quoted: Vec<String> = columns
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    quoted.join(", ")
}

fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

fn source(table: &Table) -> &str {
    if table.name == "numbers" {
        NUMBERS
    } else {
        table.name
    }
}

/// Rows behind those keys, in their order.
fn read(
    connection: &Connection,
    table: &Table,
    after: Option<Row>,
) -> rusqlite::Result<(Vec<Row>, bool)> {
    let keys = names(&table.columns[..table.keys]);
    let mut select = format!("SELECT {} FROM {}", names(table.columns), source(table));
    if after.is_some() {
        let _ = write!(select, " WHERE ({keys}) > ({})", marks(table.keys));
    }
    let _ = write!(select, " ORDER BY {keys}");
    let mut select = connection.prepare_cached(&select)?;
    let row_of = |found: &Found<'_>| -> rusqlite::Result<Row> {
        (0..table.columns.len())
            .map(|column| cell(found.get_ref(column)?))
            .collect()
    };
    let mut found = select.query(params_from_iter(after.unwrap_or_default()))?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        if rows.len() >= ROWS_MOST || bytes >= BYTES_MOST {
            return Ok((rows, true));
        }
        let row = row_of(row)?;
        bytes += row.iter().map(Cell::size).sum::<usize>();
        rows.push(row);
    }
    Ok((rows, false))
}

fn put(connection: &Connection, table: &Table, rows: &[Row]) -> rusqlite::Result<()> {
    let insert = format!(
        "INSERT OR REPLACE INTO {} ({}) VALUES ({})",
        table.name,
        names(table.columns),
        marks(table.columns.len())
    );
    let mut insert = connection.prepare_cached(&insert)?;
    for row in rows {
        insert.execute(params_from_iter(row))?;
    }
    Ok(())
}

/// Numbers of generations that were not reserved here are none to be given out.
fn reserve_up_to(connection: &Connection, generations: &[Row]) -> rusqlite::Result<()> {
    let highest = generations.iter().filter_map(|row| row[0].int()).max();
    let Some(highest) = highest else {
        return Ok(());
    };
    let row = vec![Cell::Text("generations".to_owned()), Cell::Int(highest)];
    put_numbers(connection, &[row])
}

/// Counters only rise; those of tables are SQLite's own.
fn put_numbers(connection: &Connection, rows: &[Row]) -> rusqlite::Result<()> {
    for row in rows {
        if row[0].text() == Some("generations") {
            let raise = "INSERT INTO reserved (name, next) VALUES (?1, ?2 + 1)
                 ON CONFLICT (name) DO UPDATE SET next = max(next, excluded.next)";
            connection.execute(raise, params_from_iter(row))?;
            continue;
        }
        let raise = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
        if connection.execute(raise, params_from_iter(row))? == 0 {
            let insert = "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)";
            connection.execute(insert, params_from_iter(row))?;
        }
    }
    Ok(())
}

/// A connection of its own, in a transaction that goes on for as long as it is read.
struct Reading {
    connection: Arc<Mutex<Connection>>,
    about: u64,
}

impl Reading {
    fn begin(file: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.execute_batch("BEGIN")?;
        let mut about = 0;
        // The first read is what the transaction sees to its end.
        for table in &TABLES {
            let count = format!("SELECT count(*) FROM {}", source(table));
            about += connection.query_row(&count, [], |row| row.get::<_, i64>(0))?;
        }
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            about: about.cast_unsigned(),
        })
    }
}

#[async_trait]
impl RowsReader for Reading {
    fn about(&self) -> u64 {
        self.about
    }

    async fn rows(
        &mut self,
        table: &'static Table,
        from: &[u8],
    ) -> Result<Stretch<Row>, StoreError> {
        let after = match from.is_empty() {
            true => None,
            false => Some(decode(from, table.keys)?),
        };
        let on = &self.connection;
        let read = SqliteAccounts::on(on, move |connection| read(connection, table, after));
        let (records, more) = read.await?;
        let last = records.last().filter(|_| more);
        let next = last.map(|row| encode(&row[..table.keys]));
        Ok(Stretch { records, next })
    }
}

#[async_trait]
impl PortableAccounts for SqliteAccounts {
    async fn rows_still(&self, meanwhile: Meanwhile) -> Result<Box<dyn RowsReader>, StoreError> {
        let handle = tokio::runtime::Handle::current();
        let reading = self.with(move |connection| {
            let file = connection.path().unwrap_or_default();
            let reading = Reading::begin(Path::new(file))?;
            // Nobody else can write while this connection is held.
            handle.block_on(meanwhile);
            Ok(reading)
        });
        Ok(Box::new(reading.await?))
    }

    async fn rows_already(&self) -> Result<Option<&'static str>, StoreError> {
        self.with(|connection| {
            for table in TABLES.iter().filter(|table| table.name != "numbers") {
                let any = format!("SELECT EXISTS (SELECT 1 FROM {})", source(table));
                if connection.query_row(&any, [], |row| row.get(0))? {
                    return Ok(Some(table.name));
                }
            }
            Ok(None)
        })
        .await
    }

    async fn take_rows(&self, table: &'static Table, rows: Vec<Row>) -> Result<(), StoreError> {
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            match table.name {
                "numbers" => put_numbers(&transaction, &rows)?,
                _ => put(&transaction, table, &rows)?,
            }
            if table.name == "generations" {
                reserve_up_to(&transaction, &rows)?;
            }
            transaction.commit()
        })
        .await?;
        self.users.forget(|_| true);
        self.devices.forget(|_| true);
        self.relations.forget(|_| true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns that are no part of what is moved: a wish's number means nothing.
    const LEFT_OUT: [(&str, &str); 1] = [("wishes", "id")];
    /// Counters, which are moved as `numbers`.
    const COUNTERS: [&str; 2] = ["reserved", "sqlite_sequence"];

    #[tokio::test]
    async fn no_table_and_no_column_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let accounts = SqliteAccounts::open(&folder.path().join("a.sqlite")).expect("opens");
        let found = accounts.with(|connection| {
            let mut select = connection.prepare(
                "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
                 WHERE t.type = 'table' ORDER BY t.name, c.name",
            )?;
            let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<(String, String)>>>()
        });
        let mut found = found.await.expect("the schema");
        found.retain(|(table, column)| {
            !COUNTERS.contains(&table.as_str())
                && !LEFT_OUT.contains(&(table.as_str(), column.as_str()))
        });
        let mut known: Vec<(String, String)> = TABLES
            .iter()
            .filter(|table| table.name != "numbers")
            .flat_map(|table| {
                let column = |(name, _): &(&str, _)| (table.name.to_owned(), (*name).to_owned());
                table.columns.iter().map(column).collect::<Vec<_>>()
            })
            .collect();
        known.sort();
        assert_eq!(found, known);
    }
}
