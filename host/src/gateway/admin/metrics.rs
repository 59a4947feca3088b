//! `GET /metrics`: everything the host counts, as Prometheus' text. Like `healthz` it asks for no token: who may reach the
//! administration's listener may scrape it. It names plugins and hooks, and nobody.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Admin;
use crate::plugins::measured;
use crate::telemetry::{Families, Row, Telemetry, number};

/// What is known outside the gateway and looked at for this.
pub trait Sources: Send + Sync + 'static {
    /// Groups of changes the message log has written and synced, and changes in them.
    fn flushes(&self) -> (u64, u64);
    /// How far the search index is behind the log, milliseconds; `None` where nothing searches.
    fn index_lag_ms(&self) -> Option<u64>;
    /// Bytes of each embedded store on disk. Blocks.
    fn store_bytes(&self) -> Vec<(&'static str, u64)>;
}

pub(super) async fn metrics(State(admin): State<Admin>) -> Response {
    let mut families = Families::default();
    sessions(&admin, &mut families);
    measured::measure(&admin.rollout, &admin.after, &mut families);
    stores(&admin.sources, &mut families).await;
    let text = admin.registry.telemetry.text(families);
    ([(header::CONTENT_TYPE, Telemetry::content_type())], text).into_response()
}

fn sessions(admin: &Admin, families: &mut Families) {
    let count = admin.registry.count() as u64;
    families.gauge("kith_sessions", "Sessions that are here.", number(count));
}

async fn stores(sources: &Arc<dyn Sources>, families: &mut Families) {
    let (flushes, changes) = sources.flushes();
    families.counter(
        "kith_log_flushes_total",
        "Syncs of the message log.",
        flushes,
    );
    families.counter(
        "kith_log_changes_total",
        "Changes written with them.",
        changes,
    );
    if let Some(lag) = sources.index_lag_ms() {
        let help = "How far the search index is behind the log.";
        families.gauge("kith_search_lag_seconds", help, number(lag) / 1e3);
    }
    let sources = sources.clone();
    let sizes = tokio::task::spawn_blocking(move || sources.store_bytes()).await;
    let row = |(store, bytes): (&str, u64)| Row::new([("store", store.to_owned())], number(bytes));
    let rows = sizes.unwrap_or_default().into_iter().map(row).collect();
    families.gauges(
        "kith_store_bytes",
        "Bytes of the embedded stores on disk.",
        rows,
    );
}
