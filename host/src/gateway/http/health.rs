//! Whether the process lives and whether it can serve.
//! On both listeners.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

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
    generations: OnceLock<Generations>,
}

/// Whether this node may judge by the generation of plugins it has, or why not.
type Generations = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

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
            generations: OnceLock::new(),
        }
    }

    /// From now on this node is of no use while it may not judge.
    pub fn watch_generations(&self, generations: Generations) {
        // The first one stays: a node has one place among others.
        let _ = self.generations.set(generations);
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

    /// Whether it serves, and how its parts are, as `readyz` says.
    pub fn parts(&self) -> (bool, Vec<(&'static str, &'static str)>) {
        let up = |is_ok: bool| if is_ok { "ok" } else { "down" };
        let store = self.log.health().and_then(|()| self.accounts.health());
        let mut parts = vec![
            ("store", up(store.is_ok())),
            ("bus", self.bus.health().as_str()),
            ("search", self.search()),
        ];
        let judges = self.generations.get().map(|judges| judges().is_ok());
        parts.extend(judges.map(|judges| ("plugins", up(judges))));
        (self.report().0.is_success(), parts)
    }

    /// The status and body of `readyz`.
    pub fn report(&self) -> (StatusCode, Value) {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match self.phase.load(Ordering::Acquire) {
            STARTING => return (unavailable, json!({"status": "starting"})),
            DRAINING => return (unavailable, json!({"status": "draining"})),
            _ => {}
        }
        let (search, bus) = (self.search(), self.bus.health());
        let store = self.log.health().and_then(|()| self.accounts.health());
        let judges = self.generations.get().map(|judges| judges());
        let up = |is_ok: bool| if is_ok { "ok" } else { "down" };
        let mut parts = json!({"store": up(store.is_ok()), "bus": bus.as_str(), "search": search});
        if let Some(judges) = &judges {
            parts["plugins"] = up(judges.is_ok()).into();
        }
        if let Err(why) = store.and(judges.unwrap_or(Ok(()))) {
            let body = json!({"status": "unavailable", "parts": parts, "message": why});
            return (unavailable, body);
        }
        let well = search == "ok" && bus == bus::Health::Ok;
        let status = if well { "ready" } else { "degraded" };
        (StatusCode::OK, json!({"status": status, "parts": parts}))
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
