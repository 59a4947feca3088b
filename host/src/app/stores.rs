//! The message log and the tables as the configuration wants them: embedded in the data folder, or in MongoDB, where many
//! nodes share them. Behind trait objects: what is built on them knows neither.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::config::{Config, StoreEngine, database_of};
use crate::ids::IdSource;
use crate::store::accounts::Accounts;
use crate::store::embedded_log::EmbeddedLog;
use crate::store::feed::Feed;
use crate::store::generations::SharedGenerations;
use crate::store::housekeeping::Housekeeping;
use crate::store::judged::Judged;
use crate::store::kv::PluginKv;
use crate::store::media::MediaRecords;
use crate::store::moderation::Moderation;
use crate::store::mongo::migrate::{self, Migrated};
use crate::store::mongo::{Mongo, MongoSettings};
use crate::store::mongo_accounts::{self, MongoAccounts};
use crate::store::mongo_log::{self, MongoLog};
use crate::store::people::People;
use crate::store::portable::{PortableAccounts, PortableLog};
use crate::store::sqlite_accounts::SqliteAccounts;
use crate::store::values::PluginValues;
use crate::store::{MessageLog, Settlement};

/// Everything a message log is asked for.
pub trait Log:
    MessageLog + Feed + PluginKv + PluginValues + Judged + Housekeeping + PortableLog
{
}

impl<L> Log for L where
    L: MessageLog + Feed + PluginKv + PluginValues + Judged + Housekeeping + PortableLog
{
}

/// Everything the tables of accounts are asked for.
pub trait Tables: Accounts + People + Moderation + MediaRecords + PortableAccounts {}

impl<T: Accounts + People + Moderation + MediaRecords + PortableAccounts> Tables for T {}

/// Both stores, open.
pub struct Stores {
    pub log: Arc<dyn Log>,
    pub settlements: mpsc::Receiver<Vec<Settlement>>,
    pub tables: Arc<dyn Tables>,
    /// Where other nodes open the same.
    pub generations: Option<Arc<dyn SharedGenerations>>,
    /// What this node's ids carry, so that no two nodes give out the same.
    pub number: u16,
}

impl Stores {
    /// This node's ids of everything that is no entry.
    pub fn ids(&self) -> Arc<IdSource> {
        Arc::new(IdSource::new(self.number, 0))
    }
}

/// Opens what is configured; in MongoDB brings it to this program's version first. What was not moved in to its end is
/// refused: half of a deployment serves nobody.
pub async fn open(config: &Config, data: &Path, clock: &Arc<dyn Clock>) -> Result<Stores> {
    let stores = open_whatever(config, data, clock).await?;
    if stores.log.moving().await?.is_some() {
        bail!(
            "an import into this deployment is not finished: run `kith admin import` again, with the same file"
        );
    }
    Ok(stores)
}

/// The same, for whoever moves it.
pub async fn open_whatever(config: &Config, data: &Path, clock: &Arc<dyn Clock>) -> Result<Stores> {
    match config.store.engine {
        StoreEngine::Embedded => embedded(data, clock),
        StoreEngine::Mongodb => Box::pin(shared(config, clock)).await,
    }
}

/// What is in the data folder.
pub fn embedded(data: &Path, clock: &Arc<dyn Clock>) -> Result<Stores> {
    let (log, settlements) = EmbeddedLog::open(&data.join("log"), clock.clone())?;
    let tables = SqliteAccounts::open(&data.join("accounts.sqlite"))?;
    Ok(Stores {
        log,
        settlements,
        tables,
        generations: None,
        number: 0,
    })
}

async fn shared(config: &Config, clock: &Arc<dyn Clock>) -> Result<Stores> {
    let settings = mongo(config)?;
    let (log, settlements) = MongoLog::open(&settings, clock.clone())
        .await
        .context("the message log in MongoDB")?;
    let accounts = async { MongoAccounts::open(&Mongo::connect(&settings).await?).await };
    let tables = accounts.await.context("the accounts in MongoDB")?;
    Ok(Stores {
        number: log.number(),
        log,
        settlements,
        generations: Some(tables.clone()),
        tables,
    })
}

/// Where MongoDB is.
pub fn mongo(config: &Config) -> Result<MongoSettings> {
    let url = &config.store.url;
    let database = database_of(url).context("store.url names no database")?;
    Ok(MongoSettings {
        wait: Duration::from_millis(config.store.timeout_ms),
        ..MongoSettings::new(url, database)
    })
}

/// Brings MongoDB to this program's version; what was done to each part. Several may do this at once.
pub async fn bring(config: &Config) -> Result<Vec<Migrated>> {
    let server = Mongo::connect(&mongo(config)?).await?;
    Ok(vec![
        mongo_log::schema::bring(&server).await?,
        mongo_accounts::schema::migrate(&server).await?,
    ])
}

/// What MongoDB is and how far its collections are, for `kith doctor`; changes nothing.
pub async fn check_up(config: &Config) -> Result<String> {
    let settings = mongo(config)?;
    let server = Mongo::connect(&settings).await?;
    let about = server.about().await?;
    let known = [
        mongo_log::schema::schema(),
        mongo_accounts::schema::schema(),
    ];
    let mut behind = Vec::new();
    for part in known {
        match migrate::version(&server, part.part).await? {
            Some(later) if later > u64::from(part.version) => bail!(
                "the {} in database {} have version {later}, this program knows {}: run the newer one",
                part.part,
                settings.database,
                part.version
            ),
            Some(version) if version == u64::from(part.version) => {}
            _ => behind.push(part.part),
        }
    }
    let database = &settings.database;
    Ok(match behind.is_empty() {
        true => format!("{about}, database {database}"),
        false => format!(
            "{about}, database {database}: `kith admin migrate` or the next start makes its {}",
            behind.join(" and ")
        ),
    })
}
