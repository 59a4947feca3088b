//! Documents as rows: a page of a collection gives a page of rows, or what its documents hold of several tables those of one.
//! Texts and components are read from their parts.

use mongodb::bson::{Bson, Document, doc};

use super::super::blobs::Blob;
use super::super::pairs::{Pair, Request};
use super::super::provisions::IN_FORCE;
use super::super::schema::{COUNTERS, DOCUMENTS, LABELS, PAIRS, PLUGIN_CONFIGS, USERS, WISHES};
use super::super::{MongoAccounts, damaged};
use super::{cell, plain};
use crate::store::StoreError;
use crate::store::portable::Stretch;
use crate::store::portable::tables::{Cell, Kind, Row, Table, decode, encode};

/// Documents of one page.
const PAGE: usize = 500;
/// Bytes of texts and components at which a page ends.
const BYTES_MOST: usize = 1024 * 1024;

type Read = Result<Stretch<Row>, StoreError>;

fn text(document: &Document, field: &str) -> Result<Cell, StoreError> {
    cell(document, field, Kind::Text)
}

fn int(document: &Document, field: &str) -> Result<Cell, StoreError> {
    cell(document, field, Kind::Int)
}

fn blob_of(document: &Document) -> Result<Blob, StoreError> {
    let named = document.get("blob").cloned().unwrap_or(Bson::Null);
    mongodb::bson::deserialize_from_bson(named).map_err(|_| damaged("a text"))
}

impl MongoAccounts {
    pub(super) async fn read_rows(&self, table: &'static Table, from: &[u8]) -> Read {
        if let Some(collection) = plain(table) {
            let mut read = self
                .by_id(collection, from, |document| {
                    let row = table.columns.iter().enumerate().map(|(at, (name, kind))| {
                        let field = if at == 0 { "_id" } else { *name };
                        cell(document, field, *kind)
                    });
                    Ok(vec![row.collect::<Result<Row, _>>()?])
                })
                .await?;
            if table.name == "generations" {
                // One that was proposed and is not in force would be, where nobody asks the others.
                let in_force = self.in_force().await?;
                read.records.retain(|row| row[0].int() <= Some(in_force));
            }
            return Ok(read);
        }
        match table.name {
            "devices" => self.by_id(USERS, from, |user| devices(table, user)).await,
            "changed_profiles" => self.by_id(USERS, from, changed).await,
            "blocks" => self.of_pairs(from, blocks).await,
            "friends" => self.of_pairs(from, friends).await,
            "friend_requests" => self.of_pairs(from, requests).await,
            "notices" => self.of_pairs(from, notices).await,
            "labels" => self.by_id(LABELS, from, labels).await,
            "wishes" => self.wishes().await,
            "numbers" => self.by_id(COUNTERS, from, counted).await,
            "components" => self.components(from).await,
            "documents" => self.documents(from).await,
            "plugin_configs" => self.configs_of_all(from).await,
            _ => Err(damaged("a table that is moved")),
        }
    }

    /// The highest generation that is moved: the one in force, or any where none is yet.
    async fn in_force(&self) -> Result<i64, StoreError> {
        let found: Option<Document> = self.one(COUNTERS, doc! {"_id": IN_FORCE}).await?;
        let number = found.map(|found| int(&found, "last")).transpose()?;
        Ok(number.and_then(|number| number.int()).unwrap_or(i64::MAX))
    }

    /// A page of a collection by its `_id`, each document as so many rows.
    async fn by_id(
        &self,
        collection: &str,
        from: &[u8],
        rows: impl Fn(&Document) -> Result<Vec<Row>, StoreError>,
    ) -> Read {
        let filter = match from.is_empty() {
            true => doc! {},
            false => doc! {"_id": {"$gt": id_of(from)?}},
        };
        let order = doc! {"_id": 1};
        let found: Vec<Document> = self.list(collection, filter, order, PAGE).await?;
        let mut records = Vec::new();
        for document in &found {
            records.extend(rows(document)?);
        }
        let last = found.last().filter(|_| found.len() == PAGE);
        let next = last.map(place_of).transpose()?;
        Ok(Stretch { records, next })
    }

    async fn of_pairs(&self, from: &[u8], rows: impl Fn(&Pair) -> Vec<Row>) -> Read {
        self.by_id(PAIRS, from, |document| {
            let pair = mongodb::bson::deserialize_from_document(document.clone());
            Ok(rows(&pair.map_err(|_| damaged("a pair"))?))
        })
        .await
    }

    async fn wishes(&self) -> Read {
        let found: Vec<Document> = self.all(WISHES, doc! {}, doc! {"_id": 1}).await?;
        let mut records = Vec::new();
        for document in &found {
            let id = document
                .get_document("_id")
                .map_err(|_| damaged("a wish"))?;
            records.push(vec![
                text(id, "action")?,
                text(id, "subject")?,
                text(document, "actor")?,
                int(document, "at")?,
            ]);
        }
        Ok(Stretch::last(records))
    }

    async fn components(&self, from: &[u8]) -> Read {
        let after = names_of(from, 1)?.pop();
        let kept = self.kept_components().await?;
        let mut rest = kept
            .into_iter()
            .filter(|(digest, _)| after.as_ref().is_none_or(|after| digest > after));
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some((digest, blob)) = rest.next() {
            // One that was pruned meanwhile is a pruned one.
            if let Some(component) = self.blob(blob).await? {
                bytes += component.len();
                records.push(vec![Cell::Text(digest.clone()), Cell::Bytes(component)]);
            }
            if bytes > BYTES_MOST {
                let more = rest.next().is_some();
                let next = more.then(|| encode(&[Cell::Text(digest)]));
                return Ok(Stretch { records, next });
            }
        }
        Ok(Stretch::last(records))
    }

    async fn documents(&self, from: &[u8]) -> Read {
        let after = names_of(from, 1)?.pop();
        let found: Vec<Document> = self.all(DOCUMENTS, doc! {}, doc! {"_id": 1}).await?;
        let mut rest = Vec::new();
        for document in &found {
            let name = text(document, "_id")?;
            if after
                .as_deref()
                .is_none_or(|after| name.text() > Some(after))
            {
                rest.push((vec![name], blob_of(document)?, Vec::new()));
            }
        }
        self.texts(rest, 1).await
    }

    async fn configs_of_all(&self, from: &[u8]) -> Read {
        let after = match from.is_empty() {
            true => None,
            false => Some(decode(from, 2)?),
        };
        let order = doc! {"name": 1, "revision": 1};
        let found: Vec<Document> = self.all(PLUGIN_CONFIGS, doc! {}, order).await?;
        let mut rest = Vec::new();
        for document in &found {
            let keys = vec![text(document, "name")?, int(document, "revision")?];
            let sort = |row: &Row| (row[0].text().map(str::to_owned), row[1].int());
            if after.as_ref().is_none_or(|after| sort(&keys) > sort(after)) {
                let reverted = cell(document, "reverted", Kind::Flag)?;
                rest.push((keys, blob_of(document)?, vec![reverted]));
            }
        }
        self.texts(rest, 2).await
    }

    /// Rows with a text between their first and last columns.
    async fn texts(&self, rows: Vec<(Row, Blob, Row)>, keys: usize) -> Read {
        let (mut records, mut bytes, count) = (Vec::new(), 0, rows.len());
        for (done, (mut row, blob, rest)) in rows.into_iter().enumerate() {
            if let Some(text) = self.text_blob(blob).await? {
                bytes += text.len();
                row.push(Cell::Text(text));
                row.extend(rest);
                records.push(row);
            }
            if bytes > BYTES_MOST && done + 1 < count {
                let next = records.last().map(|row: &Row| encode(&row[..keys]));
                return Ok(Stretch { records, next });
            }
        }
        Ok(Stretch::last(records))
    }
}

fn place_of(document: &Document) -> Result<Vec<u8>, StoreError> {
    let cell = match document.get("_id") {
        Some(Bson::Int64(id)) => Cell::Int(*id),
        Some(Bson::Int32(id)) => Cell::Int(i64::from(*id)),
        Some(Bson::String(id)) => Cell::Text(id.clone()),
        Some(Bson::Binary(id)) => Cell::Bytes(id.bytes.clone()),
        _ => return Err(damaged("an id")),
    };
    Ok(encode(&[cell]))
}

fn id_of(from: &[u8]) -> Result<Bson, StoreError> {
    let row = decode(from, 1)?;
    Ok(super::value(&row[0], Kind::Int))
}

fn names_of(from: &[u8], count: usize) -> Result<Vec<String>, StoreError> {
    if from.is_empty() {
        return Ok(Vec::new());
    }
    let row = decode(from, count)?;
    let names = row.iter().filter_map(Cell::text);
    Ok(names.map(str::to_owned).collect())
}

fn devices(table: &Table, user: &Document) -> Result<Vec<Row>, StoreError> {
    let devices = user.get_array("devices").map(Vec::as_slice);
    let devices = devices
        .unwrap_or_default()
        .iter()
        .filter_map(Bson::as_document);
    devices
        .map(|device| {
            let mut row = vec![int(user, "_id")?];
            for (name, kind) in &table.columns[1..] {
                row.push(cell(device, name, *kind)?);
            }
            Ok(row)
        })
        .collect()
}

fn changed(user: &Document) -> Result<Vec<Row>, StoreError> {
    if !user.get_bool("untold").unwrap_or_default() {
        return Ok(Vec::new());
    }
    Ok(vec![vec![int(user, "_id")?, int(user, "change")?]])
}

fn labels(document: &Document) -> Result<Vec<Row>, StoreError> {
    let user = int(document, "_id")?;
    let labels = document.get_array("labels").map(Vec::as_slice);
    let labels = labels.unwrap_or_default().iter().filter_map(Bson::as_str);
    Ok(labels
        .map(|label| vec![user.clone(), Cell::Text(label.to_owned())])
        .collect())
}

/// Which generation is in force follows from which there are.
fn counted(document: &Document) -> Result<Vec<Row>, StoreError> {
    if document.get_str("_id").is_ok_and(|id| id == IN_FORCE) {
        return Ok(Vec::new());
    }
    Ok(vec![vec![text(document, "_id")?, int(document, "last")?]])
}

fn blocks(pair: &Pair) -> Vec<Row> {
    let (low, high) = (Cell::Int(pair.low), Cell::Int(pair.high));
    let both = [
        (pair.low_blocks, vec![low.clone(), high.clone()]),
        (pair.high_blocks, vec![high, low]),
    ];
    both.into_iter()
        .filter_map(|(on, row)| on.then_some(row))
        .collect()
}

fn friends(pair: &Pair) -> Vec<Row> {
    let Some(since) = pair.since.map(Cell::Int) else {
        return Vec::new();
    };
    let (low, high) = (Cell::Int(pair.low), Cell::Int(pair.high));
    vec![
        vec![low.clone(), high.clone(), since.clone()],
        vec![high, low, since],
    ]
}

fn requests(pair: &Pair) -> Vec<Row> {
    let row = |request: &Request, asker: i64, asked: i64| {
        let text = request.text.clone().map_or(Cell::Null, Cell::Text);
        vec![
            Cell::Int(request.id),
            Cell::Int(asker),
            Cell::Int(asked),
            text,
            Cell::Int(request.at),
            Cell::Int(i64::from(request.state)),
            Cell::Int(request.refusals),
        ]
    };
    let up = pair.up.iter().map(|up| row(up, pair.low, pair.high));
    let down = pair.down.iter().map(|down| row(down, pair.high, pair.low));
    up.chain(down).collect()
}

fn notices(pair: &Pair) -> Vec<Row> {
    let owed = pair.owed.iter().map(|owed| {
        vec![
            Cell::Int(owed.number),
            Cell::Int(owed.user),
            Cell::Text(owed.code.clone()),
            Cell::Text(owed.args.clone()),
        ]
    });
    owed.collect()
}
