//! A deployment as it is moved: the stores and blobs that the configuration names, opened by a command while no server runs,
//! or shared with the server that runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};

use super::stores::{self, Log, Stores, Tables};
use super::{machine, media};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, StoreEngine};
use crate::media::Media;
use crate::moving::export::{self, Export, Exported};
use crate::moving::import::{self, Contents, Imported};
use crate::moving::{Deployment, MoveError, Progress};

/// What a running server gives away.
pub fn of(log: &Arc<dyn Log>, tables: &Arc<dyn Tables>, media: &Media) -> Deployment {
    Deployment {
        log: log.clone(),
        accounts: tables.clone(),
        blobs: media.kept(),
    }
}

/// Stores that a command has to itself.
struct Idle {
    stores: Stores,
    deployment: Deployment,
}

impl Idle {
    async fn open(config: &Config, clock: &Arc<dyn Clock>, data: &Path) -> Result<Self> {
        let stores = stores::open_whatever(config, data, clock).await?;
        let deployment = Deployment {
            log: stores.log.clone(),
            accounts: stores.tables.clone(),
            blobs: media::blobs(config, data)?,
        };
        Ok(Self { stores, deployment })
    }

    async fn close<T>(self, done: Result<T, MoveError>) -> Result<T> {
        self.stores.log.close().await;
        Ok(done?)
    }
}

/// Writes everything that is configured into a file; no server may run.
pub async fn export(
    config: &Config,
    (file, with_media): (&Path, bool),
    shown: impl FnMut(Progress) -> bool,
) -> Result<Exported> {
    let data = PathBuf::from(&config.server.data);
    if config.store.engine == StoreEngine::Embedded && !data.join("log").is_dir() {
        bail!("there is no message log in {}", data.display());
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let idle = Idle::open(config, &clock, &data).await?;
    let wish = export::Wish {
        with_media,
        now: clock.now_ms(),
    };
    let exported = async {
        let begun = Export::begin(&idle.deployment, wish).await?;
        export::to_file(begun, file, shown).await
    };
    let exported = exported.await;
    idle.close(exported).await
}

/// Puts a file that was checked into what is configured; no server may run.
pub async fn import(
    config: &Config,
    (file, contents): (&Path, Contents),
    with_media: bool,
    shown: impl FnMut(Progress) -> bool,
) -> Result<Imported> {
    let data = machine::data_folder(config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let idle = Idle::open(config, &clock, &data).await?;
    let wish = import::Wish { with_media };
    let imported = import::from_file(&idle.deployment, (file, contents), wish, shown).await;
    idle.close(imported).await
}
