//! Whether the process lives and whether it can serve.
//! On both listeners.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use crate::bus::{self, Bus};
use crate::search::serving::{Phase, Serving};
use crate::store::MessageLog;
use crate::store::accounts::Accounts;

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

/// Where the process is in its life.
pub struct Health {
    phase: AtomicU8,
    log: Arc<dyn MessageLog>,
    accounts: Arc<dyn Accounts>,
    bus: Arc<dyn Bus>,
    /// `None` where nothing searches.
    index: Option<Arc<Serving>>,
}

impl Health {
    pub fn new(
        (log, accounts): (Arc<dyn MessageLog>, Arc<dyn Accounts>),
        bus: Arc<dyn Bus>,
        index: Option<Arc<Serving>>,
    ) -> Self {
        Self {
            phase: AtomicU8::new(STARTING),
            log,
            accounts,
            bus,
            index,
        }
    }

    /// Without an index nothing is amiss with it.
    fn search(&self) -> &'static str {
        match self.index.as_ref().map(|index| index.phase()) {
            None | Some(Phase::Ready) => "ok",
            Some(Phase::Behind) => "degraded",
            Some(Phase::Down) => "down",
        }
    }

    /// The store is open and the generation warm.
    pub fn ready(&self) {
        self.phase.store(READY, Ordering::Release);
    }

    pub fn draining(&self) {
        self.phase.store(DRAINING, Ordering::Release);
    }

    /// The status and body of `readyz`.
    pub fn report(&self) -> (StatusCode, Value) {
        let (search, bus) = (self.search(), self.bus.health());
        let store = self.log.health().and_then(|()| self.accounts.health());
        match (self.phase.load(Ordering::Acquire), store) {
            (STARTING, _) => (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({"status": "starting"}),
            ),
            (DRAINING, _) => (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({"status": "draining"}),
            ),
            (_, Ok(())) => {
                let parts = json!({"store": "ok", "bus": bus.as_str(), "search": search});
                let well = search == "ok" && bus == bus::Health::Ok;
                let status = if well { "ready" } else { "degraded" };
                (StatusCode::OK, json!({"status": status, "parts": parts}))
            }
            (_, Err(why)) => {
                let parts = json!({"store": "down", "bus": bus.as_str(), "search": search});
                let body = json!({"status": "unavailable", "parts": parts, "message": why});
                (StatusCode::SERVICE_UNAVAILABLE, body)
            }
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
}

/// The process lives.
#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "`status`: `ok`")))]
pub async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The process can serve.
#[utoipa::path(get, path = "/readyz", responses((status = 200), (status = 503)))]
async fn readyz(State(state): State<HttpState>) -> Response {
    let (status, body) = state.health.report();
    (status, Json(body)).into_response()
}
