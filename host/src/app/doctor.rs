//! What `kith doctor` tries: each part that is configured, as the server would use it, and one line of what is wrong
//! with it. It may run beside a server, and leaves nothing behind.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::{media, search, stores};
use crate::bus::redis::RedisBus;
use crate::clock::{Clock, SystemClock};
use crate::config::{BusEngine, Config, MediaEngine, SearchEngine, StoreEngine};
use crate::ids::MediaId;
use crate::media::blobs::{BlobError, Blobs};
use crate::search::SearchError;
use crate::store::embedded_log::upkeep;
use crate::store::sqlite_accounts::SqliteAccounts;

/// Longest that one part is tried.
const PATIENCE: Duration = Duration::from_secs(15);

/// A part that was tried: how it is, or what is wrong.
pub struct Finding {
    pub part: &'static str,
    pub found: Result<String>,
}

/// Tries everything that is configured.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let data = Path::new(&config.server.data);
    let parts = [
        ("store", within(store(config)).await),
        ("bus", within(bus(config)).await),
        ("media", within(blobs(config, data)).await),
        ("search", within(index(config)).await),
    ];
    parts.map(|(part, found)| Finding { part, found }).into()
}

async fn within(trial: impl Future<Output = Result<String>>) -> Result<String> {
    let ended = tokio::time::timeout(PATIENCE, trial).await;
    ended.unwrap_or_else(|_| Err(anyhow!("no answer within {PATIENCE:?}")))
}

async fn store(config: &Config) -> Result<String> {
    match config.store.engine {
        StoreEngine::Embedded => {
            let data = Path::new(&config.server.data).to_owned();
            tokio::task::spawn_blocking(move || store_in(&data)).await?
        }
        StoreEngine::Mongodb => Box::pin(stores::check_up(config)).await,
    }
}

fn store_in(data: &Path) -> Result<String> {
    let shown = data.display();
    if !data.exists() {
        return Ok(format!("nothing in {shown} yet: the first start makes it"));
    }
    writable(data)?;
    let (log, accounts) = (data.join("log"), data.join("accounts.sqlite"));
    let mut used = "";
    if log.is_dir() && !upkeep::check(&log)? {
        used = ", a server uses it";
    }
    if accounts.exists() {
        let checked = SqliteAccounts::check(&accounts);
        checked.with_context(|| format!("the accounts in {}", accounts.display()))?;
    }
    Ok(format!("embedded, in {shown}{used}"))
}

/// A file can be made in a folder.
fn writable(folder: &Path) -> Result<()> {
    let made = tempfile::tempfile_in(folder);
    made.with_context(|| format!("cannot write in {}", folder.display()))?;
    Ok(())
}

async fn blobs(config: &Config, data: &Path) -> Result<String> {
    match config.media.engine {
        MediaEngine::None => Ok("none: uploads are refused".to_owned()),
        MediaEngine::Local => {
            let folder = data.join("media");
            if folder.exists() {
                writable(&folder)?;
            }
            Ok(format!("local, in {}", folder.display()))
        }
        MediaEngine::S3 => {
            // Only what is fetched to be looked at is put there, and nothing is.
            let blobs = media::bucket(config, &std::env::temp_dir())?;
            if !blobs.has_bucket().await {
                bail!("there is no such bucket");
            }
            round_trip(&*blobs).await?;
            Ok(format!("s3, {}", config.media.url))
        }
    }
}

/// Writes, reads and deletes an object of its own.
async fn round_trip(blobs: &dyn Blobs) -> Result<()> {
    const WRITTEN: &[u8] = b"kith doctor";
    let id = MediaId::random();
    let put = blobs.put(id, Bytes::from_static(WRITTEN)).await;
    put.context("cannot write")?;
    let read = async {
        let stream = blobs.read(id, 0..WRITTEN.len() as u64).await?;
        let parts: Vec<Bytes> = stream.try_collect().await?;
        Ok::<_, BlobError>(parts.concat())
    };
    let read = read.await;
    blobs.remove(id).await.context("cannot delete")?;
    if read.context("cannot read")? != WRITTEN {
        bail!("what was read is not what was written");
    }
    Ok(())
}

async fn bus(config: &Config) -> Result<String> {
    match config.bus.engine {
        BusEngine::Local => Ok("local: this node is alone".to_owned()),
        BusEngine::Redis => Ok(RedisBus::check_up(&config.bus.url).await?),
    }
}

async fn index(config: &Config) -> Result<String> {
    match config.search.engine {
        SearchEngine::None => {
            Ok("none: only conversations without words are looked through".to_owned())
        }
        SearchEngine::Embedded => Ok("embedded, made anew whenever it cannot be used".to_owned()),
        SearchEngine::Elasticsearch => {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let server = search::server(config, &clock)?;
            server.check_up().await.map_err(|error| match error {
                SearchError::Unavailable(why) => anyhow!(why),
                damaged => damaged.into(),
            })
        }
    }
}
