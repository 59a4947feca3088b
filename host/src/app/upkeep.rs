//! What the command line does to the data while no server runs:
//! mends, rewrites, makes the index anew.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};

use super::stores::{self, Log};
use super::{media, refused, search};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, SearchEngine, StoreEngine};
use crate::search::indexer::{Indexer, Progress, always};
use crate::store::embedded_log::upkeep;
use crate::store::sqlite_accounts::SqliteAccounts;

/// Cuts a damaged message log before its damage; prints what was done.
pub fn repair(data: &Path) -> Result<()> {
    let repaired = upkeep::repair(&data.join("log"))?;
    match repaired.aside {
        None => println!("the message log is not damaged"),
        Some(aside) => {
            println!("the journals as they were found are in {}", aside.display());
            for (journal, kept, lost) in repaired.cut {
                println!(
                    "{}: {kept} bytes kept, {lost} bytes after the damage left out",
                    journal.display()
                );
            }
        }
    }
    Ok(())
}

/// Deletes what nobody uses any more, rewrites the stores and the index, so that erased content is gone.
pub async fn compact(config: &Config) -> Result<()> {
    if config.store.engine == StoreEngine::Mongodb {
        bail!(
            "erased content is gone from MongoDB's documents already; its files are rewritten by its own `compact`"
        );
    }
    let data = Path::new(&config.server.data);
    let deleted = delete_unused_media(data).await?;
    println!("{deleted} unused media are deleted");
    upkeep::compact(&data.join("log"))?;
    SqliteAccounts::compact(&data.join("accounts.sqlite"))?;
    println!("the message log and the accounts are rewritten");
    let embedded = config.search.engine == SearchEngine::Embedded;
    if config.search.engine != SearchEngine::None && (!embedded || data.join("search").exists()) {
        let (indexer, log) = idle_indexer(config).await?;
        let purged = indexer.purge().await;
        indexer.serving.close().await;
        log.close().await;
        purged?;
        println!("the search index is rewritten");
    }
    Ok(())
}

/// Makes the search index anew from the message log; how many commits it followed.
pub async fn reindex(config: &Config, progress: Progress<'_>) -> Result<u64> {
    let (indexer, log) = idle_indexer(config).await?;
    let read = indexer.rebuild(progress).await;
    indexer.serving.close().await;
    log.close().await;
    Ok(read?)
}

/// For work while no server runs.
async fn idle_indexer(config: &Config) -> Result<(Indexer, Arc<dyn Log>)> {
    let data = Path::new(&config.server.data);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let serving = search::index(config, data, &clock)?
        .ok_or_else(|| anyhow!("there is no index: search.engine is \"none\""))?;
    let folder = data.join("log");
    if config.store.engine == StoreEngine::Embedded && !folder.is_dir() {
        bail!("there is no message log in {}", folder.display());
    }
    let log = stores::open(config, data, &clock).await?.log;
    Ok((search::indexer(&log, &serving, clock, always()), log))
}

/// While no server runs nobody can begin to use what nobody uses: both looks are taken at once.
async fn delete_unused_media(data: &Path) -> Result<usize> {
    if !data.join("media").is_dir() {
        return Ok(0);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let opened = stores::embedded(data, &clock)?;
    let log = opened.log;
    let unused = media::start(&Config::default(), data, (&opened.tables, &log), &clock).await?;
    let answers = tokio::spawn(media::answer_callers(opened.settlements));
    let deleted = media::sweep_twice(&unused, clock.now_ms()).await;
    log.close().await;
    let _ = answers.await;
    deleted.map_err(refused)
}
