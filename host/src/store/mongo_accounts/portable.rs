//! Moving the accounts in MongoDB: documents as rows of tables and back. Most tables are a collection whose documents have a
//! table's columns as fields; the others are what documents hold together (`read`, `put`). Rows are read as they are when they
//! are asked for: many nodes write, and nothing here stops them.

mod put;
mod read;

use async_trait::async_trait;
use mongodb::bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::schema::{
    ADMIN_NOTICES, ADMIN_TOKENS, AUDIT, BANS, DOCUMENTS, GENERATIONS, HANDOVERS, LABELS, LAST_SEEN,
    MEDIA, PAIRS, PLUGIN_CONFIGS, PLUGINS, REGISTRY, REPORTS, SECRETS, USED_REFRESH, USERS, WISHES,
};
use super::{MongoAccounts, damaged};
use crate::store::StoreError;
use crate::store::mongo::number;
use crate::store::portable::tables::{Cell, Kind, Row, TABLES, Table};
use crate::store::portable::{Meanwhile, PortableAccounts, RowsReader, Stretch};

/// The collection whose documents are a table's rows: the first column is their `_id`.
fn plain(table: &Table) -> Option<&'static str> {
    Some(match table.name {
        "users" => USERS,
        "used_refresh" => USED_REFRESH,
        "last_seen" => LAST_SEEN,
        "reports" => REPORTS,
        "media" => MEDIA,
        "secrets" => SECRETS,
        "plugins" => PLUGINS,
        "generations" => GENERATIONS,
        "admin_tokens" => ADMIN_TOKENS,
        "audit" => AUDIT,
        "bans" => BANS,
        "admin_notices" => ADMIN_NOTICES,
        "handovers" => HANDOVERS,
        _ => return None,
    })
}

/// Collections that hold a table's rows in another form.
fn holding(table: &Table) -> Option<&'static str> {
    Some(match table.name {
        "blocks" | "friends" | "friend_requests" | "notices" => PAIRS,
        "components" => REGISTRY,
        "documents" => DOCUMENTS,
        "plugin_configs" => PLUGIN_CONFIGS,
        "labels" => LABELS,
        "wishes" => WISHES,
        // Devices and changed profiles are of users; a counter alone is nothing.
        _ => return plain(table),
    })
}

/// A field's value as a cell; what is missing is nothing.
fn cell(document: &Document, field: &str, kind: Kind) -> Result<Cell, StoreError> {
    let found = match (document.get(field), kind) {
        (None | Some(Bson::Null), _) => Some(Cell::Null),
        (Some(Bson::Boolean(flag)), Kind::Flag) => Some(Cell::Int(i64::from(*flag))),
        (Some(Bson::Int64(value)), Kind::Int | Kind::Small) => Some(Cell::Int(*value)),
        (Some(other), Kind::Int | Kind::Small) => {
            number(other).map(|value| Cell::Int(value.cast_signed()))
        }
        (Some(Bson::String(text)), Kind::Text) => Some(Cell::Text(text.clone())),
        (Some(Bson::Binary(binary)), Kind::Bytes) => Some(Cell::Bytes(binary.bytes.clone())),
        _ => None,
    };
    found.ok_or_else(|| damaged(field))
}

/// A cell as a field's value.
fn value(cell: &Cell, kind: Kind) -> Bson {
    match (cell, kind) {
        (Cell::Null, _) => Bson::Null,
        (Cell::Int(value), Kind::Flag) => Bson::Boolean(*value != 0),
        (Cell::Int(value), Kind::Small) => Bson::Int32(i32::try_from(*value).unwrap_or_default()),
        (Cell::Int(value), _) => Bson::Int64(*value),
        (Cell::Text(text), _) => Bson::String(text.clone()),
        (Cell::Bytes(bytes), _) => Bson::Binary(Binary {
            subtype: BinarySubtype::Generic,
            bytes: bytes.clone(),
        }),
    }
}

/// Some columns of a row as fields.
fn fields(table: &Table, row: &Row, from: usize) -> Document {
    let columns = table.columns.iter().zip(row).skip(from);
    columns
        .map(|((name, kind), cell)| ((*name).to_owned(), value(cell, *kind)))
        .collect()
}

impl MongoAccounts {
    /// The same tables, for whoever reads them through.
    fn aside(&self) -> Self {
        Self {
            mongo: self.mongo.clone(),
            audited: watch::Sender::new(0),
            auditing: tokio::sync::Mutex::new(()),
            told: Mutex::new(Vec::new()),
            looked: Mutex::new(Ok(())),
        }
    }

    /// Has carried on what documents owe to others: then each stands for itself.
    async fn settle_debts(&self) -> Result<(), StoreError> {
        self.tell_generations().await?;
        self.tell_handovers().await?;
        self.let_go_of_left().await
    }
}

/// Tables that are read through.
struct Reading {
    accounts: MongoAccounts,
    about: u64,
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
        self.accounts.read_rows(table, from).await
    }
}

#[async_trait]
impl PortableAccounts for MongoAccounts {
    async fn rows_still(&self, meanwhile: Meanwhile) -> Result<Box<dyn RowsReader>, StoreError> {
        self.settle_debts().await?;
        meanwhile.await;
        let mut about = 0;
        for table in TABLES.iter().filter_map(plain) {
            let table = self.table::<Document>(table);
            about += self.read(table.estimated_document_count()).await?;
        }
        let accounts = self.aside();
        Ok(Box::new(Reading { accounts, about }))
    }

    async fn rows_already(&self) -> Result<Option<&'static str>, StoreError> {
        for table in &TABLES {
            let Some(collection) = holding(table) else {
                continue;
            };
            if self.one::<Document>(collection, doc! {}).await?.is_some() {
                return Ok(Some(table.name));
            }
        }
        Ok(None)
    }

    async fn take_rows(&self, table: &'static Table, rows: Vec<Row>) -> Result<(), StoreError> {
        self.put_rows(table, rows).await
    }
}
