//! The route that gives everything of a running deployment away, as the file that `kith admin export` writes. One at a time:
//! it holds a moment of the stores for as long as it is read, and lets go of it when nobody reads any more.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Admin, Administrator};
use crate::gateway::respond::Answer;
use crate::moving::export::{Export, Wish};
use crate::moving::{Deployment, MoveError, frames};
use crate::refusal::Refusal;

/// After so long somebody may look whether the export before has ended.
const AGAIN: Duration = Duration::from_secs(10);
/// Bytes handed over at once: a slow reader takes these in time where it would not take a whole frame.
const PIECE_BYTES: usize = 64 * 1024;

/// What is exported, and what bounds and ends that.
#[derive(Clone)]
pub struct Exports {
    deployment: Deployment,
    free: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
    patience: Duration,
}

impl Exports {
    /// They end when `stopped` turns true, and when their reader takes nothing for as long as `patience`.
    pub fn new(deployment: Deployment, stopped: watch::Receiver<bool>, patience: Duration) -> Self {
        Self {
            deployment,
            free: Arc::new(Semaphore::new(1)),
            stopped,
            patience,
        }
    }
}

pub fn routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(export))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ExportWish {
    /// Whether uploads are in it; they are when left out.
    #[serde(default = "yes")]
    media: bool,
}

fn yes() -> bool {
    true
}

/// Everything of this deployment as of now: messages, accounts, uploads, plugins and secrets, for `kith admin import`. An
/// answer that breaks off is a file without its end, which nothing takes in.
#[utoipa::path(get, path = "/export", params(ExportWish),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), (status = 400), (status = 429), (status = 503)))]
async fn export(
    State(admin): State<Admin>,
    who: Administrator,
    Query(wish): Query<ExportWish>,
) -> Result<Response, Answer> {
    let exports = &admin.exports;
    let place = exports.free.clone().try_acquire_owned();
    let full = |_| Refusal::rate_limited(AGAIN, "another export is under way");
    let place = place.map_err(full)?;
    let what = if wish.media { "all" } else { "without media" };
    admin.audit(&who, "export", what).await?;
    let wish = Wish {
        with_media: wish.media,
        now: admin.clock.now_ms(),
    };
    let begun = Export::begin(&exports.deployment, wish).await;
    let export = begun.map_err(|error| refused(&error))?;
    let (out, taken) = mpsc::channel(1);
    let sending = Sending {
        out,
        stopped: exports.stopped.clone(),
        patience: exports.patience,
        _place: place,
    };
    // By itself, so that it ends though the connection waits for its reader.
    tokio::spawn(sending.run(export));
    let pieces = stream::unfold(Some(taken), |taken| async move {
        let mut taken = taken?;
        match taken.recv().await {
            Some(Some(bytes)) => Some((Ok(bytes), Some(taken))),
            Some(None) => None,
            None => Some((Err(MoveError::Refused("it broke off".to_owned())), None)),
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, Body::from_stream(pieces)).into_response())
}

fn refused(error: &MoveError) -> Refusal {
    tracing::warn!(%error, "an export could not begin");
    Refusal::unavailable("what is kept here could not be read: the log says why")
}

/// An export on its way out.
struct Sending {
    /// Pieces of it, and `None` behind the last: without that it broke off.
    out: mpsc::Sender<Option<Bytes>>,
    stopped: watch::Receiver<bool>,
    patience: Duration,
    _place: OwnedSemaphorePermit,
}

impl Sending {
    async fn run(mut self, mut export: Export) {
        if let Err(error) = self.all(&mut export).await {
            tracing::warn!(%error, "an export broke off");
        }
    }

    async fn all(&mut self, export: &mut Export) -> Result<(), MoveError> {
        let mut next = Some(Bytes::from(frames::head()));
        while let Some(mut frame) = next {
            while !frame.is_empty() {
                let piece = frame.split_to(frame.len().min(PIECE_BYTES));
                self.hand_over(Some(piece)).await?;
            }
            next = export.frame().await?.map(Bytes::from);
        }
        self.hand_over(None).await
    }

    async fn hand_over(&mut self, piece: Option<Bytes>) -> Result<(), MoveError> {
        let refused = |why: &str| Err(MoveError::Refused(why.to_owned()));
        tokio::select! {
            biased;
            () = stopped(&mut self.stopped) => refused("the server stops"),
            taken = tokio::time::timeout(self.patience, self.out.send(piece)) => match taken {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => refused("its reader is gone"),
                Err(_) => refused("its reader takes nothing any more"),
            },
        }
    }
}

async fn stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
