//! Moving a deployment: what goes into a file comes out of it as it was, into engines of both kinds, whatever happens on the
//! way. Records are compared with records, and what is read with what was read.

mod file;
mod logs;
mod running;
mod tables;
mod whole;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kith::clock::Clock;
use kith::moving::export::{self, Export, Exported};
use kith::moving::import::{self, Imported, check};
use kith::moving::{Deployment, MoveError};
use kith::store::embedded_log::EmbeddedLog;
use kith::store::mongo::{Mongo, MongoSettings};
use kith::store::mongo_accounts::MongoAccounts;
use kith::store::mongo_log::MongoLog;
use kith::store::portable::tables::{Row, TABLES};
use kith::store::portable::{Part, PortableLog, Record};
use kith::store::sqlite_accounts::SqliteAccounts;
use tempfile::TempDir;

/// Bytes of a stretch: small, so that there are several.
const STRETCH: usize = 4 * 1024;

/// An embedded deployment in a folder of its own, without blobs.
fn embedded(folder: &Path, clock: &Arc<dyn Clock>) -> (Arc<EmbeddedLog>, Deployment) {
    let (log, _) = EmbeddedLog::open(&folder.join("log"), clock.clone()).expect("opens");
    let accounts = SqliteAccounts::open(&folder.join("accounts.sqlite")).expect("opens");
    let deployment = Deployment {
        log: log.clone(),
        accounts,
        blobs: None,
    };
    (log, deployment)
}

async fn in_mongo(settings: &MongoSettings, clock: &Arc<dyn Clock>) -> (Arc<MongoLog>, Deployment) {
    let (log, _) = MongoLog::open(settings, clock.clone())
        .await
        .expect("opens");
    let mongo = Mongo::connect(settings).await.expect("connects");
    let deployment = Deployment {
        log: log.clone(),
        accounts: MongoAccounts::open(&mongo).await.expect("opens"),
        blobs: None,
    };
    (log, deployment)
}

/// A name in a folder for a file.
fn named(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

async fn exported(from: &Deployment, file: &Path) -> Result<Exported, MoveError> {
    let wish = export::Wish {
        with_media: true,
        now: 7,
    };
    let export = Export::begin(from, wish).await?;
    export::to_file(export, file, |_| true).await
}

async fn imported(into: &Deployment, file: &Path) -> Result<Imported, MoveError> {
    imported_while(into, file, |_| true).await
}

/// As long as `more` says so, asked with the frames that are in.
async fn imported_while(
    into: &Deployment,
    file: &Path,
    mut more: impl FnMut(u64) -> bool,
) -> Result<Imported, MoveError> {
    let contents = check(file, |_| {})?;
    let wish = import::Wish { with_media: true };
    let mut frames = 0;
    let shown = |_| {
        frames += 1;
        more(frames)
    };
    import::from_file(into, (file, contents), wish, shown).await
}

/// All records of a log, part by part.
async fn records(log: &dyn PortableLog) -> BTreeMap<&'static str, Vec<Record>> {
    let mut reader = log.read_still().await.expect("stands still");
    let mut all = BTreeMap::new();
    for part in Part::ALL {
        let (mut found, mut from) = (Vec::new(), Vec::new());
        loop {
            let stretch = reader.stretch(part, &from, STRETCH).await.expect("reads");
            found.extend(stretch.records);
            match stretch.next {
                Some(next) => from = next,
                None => break,
            }
        }
        found.sort_by(|one, other| one.key.cmp(&other.key));
        all.insert(part.name(), found);
    }
    all
}

/// All rows of the accounts, table by table.
async fn rows(of: &Deployment) -> BTreeMap<&'static str, Vec<Row>> {
    let nothing = Box::pin(async {});
    let mut reader = of.accounts.rows_still(nothing).await.expect("stands still");
    let mut all = BTreeMap::new();
    for table in &TABLES {
        let (mut found, mut from) = (Vec::new(), Vec::new());
        loop {
            let stretch = reader.rows(table, &from).await.expect("reads");
            found.extend(stretch.records);
            match stretch.next {
                Some(next) => from = next,
                None => break,
            }
        }
        found.sort_by_key(|row| format!("{row:?}"));
        all.insert(table.name, found);
    }
    all
}

fn same<T: PartialEq + std::fmt::Debug>(
    here: &BTreeMap<&'static str, Vec<T>>,
    there: &BTreeMap<&'static str, Vec<T>>,
) {
    for (what, here) in here {
        let there = &there[what];
        assert_eq!(here.len(), there.len(), "{what}");
        for (here, there) in here.iter().zip(there) {
            assert_eq!(here, there, "{what}");
        }
    }
}
