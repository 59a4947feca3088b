//! Media as the configuration wants them: their rules, the key of their links,
//! where their bytes are, and the task that ends what nobody uses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::mpsc;

use super::stores::{Log, Tables};
use crate::clock::Clock;
use crate::config::{Config, MediaEngine};
use crate::media::blobs::Blobs;
use crate::media::kinds::Bounds;
use crate::media::links::Links;
use crate::media::local::LocalBlobs;
use crate::media::s3::{S3Blobs, S3Settings};
use crate::media::sweep::GRACE;
use crate::media::{Media, MediaRules};
use crate::refusal::Refusal;
use crate::store::accounts::Accounts;
use crate::store::{Origin, Settlement};

/// Between two rounds of the sweep when there is nothing more to do at once.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
const SECRET: &str = "media-link-key";

pub fn rules(config: &Config) -> MediaRules {
    let media = &config.media;
    MediaRules {
        bounds: Bounds {
            image: media.image_bytes,
            voice: media.voice_bytes,
            video: media.video_bytes,
            file: media.file_bytes,
            image_pixels: media.image_pixels,
            types: media.types.clone(),
        },
        ticket: Duration::from_secs(media.ticket_ttl_s),
        link: Duration::from_secs(media.link_ttl_s),
        orphan: Duration::from_secs(media.orphan_ttl_s),
        open_tickets: media.open_tickets,
        daily_bytes: if config.limits.rate {
            media.daily_bytes
        } else {
            u64::MAX
        },
        uploads: media.uploads,
        uploads_of_one: media.uploads_of_one,
    }
}

/// The media of a deployment.
pub async fn start(
    config: &Config,
    data: &Path,
    (tables, log): (&Arc<dyn Tables>, &Arc<dyn Log>),
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Media>> {
    Ok(Arc::new(Media::new(
        blobs(config, data)?,
        tables.clone(),
        log.clone(),
        clock.clone(),
        links(&**tables).await?,
        rules(config),
    )))
}

/// Where the bytes of media are kept; `None` when they are not.
pub fn blobs(config: &Config, data: &Path) -> Result<Option<Arc<dyn Blobs>>> {
    let media = &config.media;
    Ok(match media.engine {
        MediaEngine::None => None,
        MediaEngine::Local => {
            let folder = data.join("media");
            let opened = LocalBlobs::open(&folder);
            Some(opened.with_context(|| format!("cannot use the folder {}", folder.display()))?)
        }
        MediaEngine::S3 => {
            let staging = data.join("media-staging");
            super::machine::make_folder(&staging)?;
            Some(bucket(config, &staging)?)
        }
    })
}

/// The bucket that is configured; copies to look at are put into a folder for a moment.
pub fn bucket(config: &Config, staging: &Path) -> Result<Arc<S3Blobs>> {
    let media = &config.media;
    let settings = S3Settings {
        url: media.url.clone(),
        endpoint: media.endpoint.clone(),
        region: media.region.clone(),
        access_key: media.access_key.clone(),
        secret_key: media.secret_key.clone(),
        direct: media.direct,
        staging: staging.to_owned(),
    };
    S3Blobs::new(settings).map_err(|why| anyhow!(why))
}

/// With the deployment's own key, made the first time.
pub async fn links(accounts: &dyn Accounts) -> Result<Links> {
    let fresh: [u8; 32] = rand::random();
    let kept = accounts.put_secret(SECRET, &fresh).await?;
    let key = kept
        .try_into()
        .map_err(|_| anyhow!("the stored key of media links could not be read"))?;
    Ok(Links::new(key))
}

/// Ends what nobody uses, round after round.
pub async fn sweep(media: Arc<Media>, clock: Arc<dyn Clock>) {
    loop {
        match media.sweep(clock.now_ms()).await {
            Ok(swept) if swept.more => {}
            Ok(_) => tokio::time::sleep(SWEEP_EVERY).await,
            Err(refusal) => {
                tracing::warn!(why = %refusal.message, "unused media could not be deleted");
                tokio::time::sleep(SWEEP_EVERY).await;
            }
        }
    }
}

/// Both looks at what is due, however much there is; how many were deleted.
pub async fn sweep_twice(media: &Media, now: u64) -> Result<usize, Refusal> {
    let mut deleted = 0;
    for look in [now, now + GRACE.as_millis() as u64] {
        loop {
            let swept = media.sweep(look).await?;
            deleted += swept.deleted;
            if !swept.more {
                break;
            }
        }
    }
    Ok(deleted)
}

/// Stands for delivery where nobody is connected.
pub async fn answer_callers(mut settlements: mpsc::Receiver<Vec<Settlement>>) {
    while let Some(batch) = settlements.recv().await {
        for settlement in batch {
            if let Origin::Caller(waiting) = settlement.origin {
                let _ = waiting.send(settlement.result);
            }
        }
    }
}
