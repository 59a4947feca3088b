//! `GET /metrics`: everything the host counts, as Prometheus' text. Like `healthz` it asks for no token: who may reach the
//! administration's listener may scrape it. It names plugins and hooks, and nobody.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Admin;
use crate::bus::{Bus, Health};
use crate::plugins::measured;
use crate::telemetry::{Families, Row, Telemetry, number};

/// What is known outside the gateway and looked at for this.
pub trait Sources: Send + Sync + 'static {
    /// Groups of changes the message log has written and synced, and changes in them.
    fn flushes(&self) -> (u64, u64);
    /// Round trips to the server that keeps the log: reading and writing; none where it is here.
    fn round_trips(&self) -> Option<(u64, u64)>;
    /// How far the search index is behind the log, milliseconds; `None` where nothing searches.
    fn index_lag_ms(&self) -> Option<u64>;
    /// Bytes of each embedded store on disk. Blocks.
    fn store_bytes(&self) -> Vec<(&'static str, u64)>;
}

pub(super) async fn metrics(State(admin): State<Admin>) -> Response {
    let mut families = Families::default();
    health(&admin, &mut families);
    sessions(&admin, &mut families);
    bus(&*admin.bus, &mut families);
    measured::measure(&admin.rollout, &admin.after, &mut families);
    stores(&admin.sources, &mut families).await;
    let text = admin.registry.telemetry.text(families);
    ([(header::CONTENT_TYPE, Telemetry::content_type())], text).into_response()
}

fn health(admin: &Admin, families: &mut Families) {
    let (serves, parts) = admin.health.parts();
    let help = "1 while the node serves: `readyz` answers 200.";
    families.gauge("kith_ready", help, number(u64::from(serves)));
    let row = |(part, state): (&'static str, &'static str)| {
        let state = match state {
            "ok" => 0.0,
            "degraded" => 1.0,
            _ => 2.0,
        };
        Row::new([("part", part.to_owned())], state)
    };
    families.gauges(
        "kith_part_state",
        "How what the node stands on is: 0 ok, 1 degraded, 2 down.",
        parts.into_iter().map(row).collect(),
    );
}

fn sessions(admin: &Admin, families: &mut Families) {
    let count = admin.registry.count() as u64;
    families.gauge("kith_sessions", "Sessions that are here.", number(count));
}

fn bus(bus: &dyn Bus, families: &mut Families) {
    let degraded = u64::from(bus.health() == Health::Degraded);
    let help = "Whether other nodes cannot be reached now.";
    families.gauge("kith_bus_degraded", help, number(degraded));
    let counted = bus.counted();
    families.counter(
        "kith_bus_requests_total",
        "Round trips to the servers between nodes.",
        counted.requests,
    );
    families.counter(
        "kith_bus_published_total",
        "Those that said something to another node.",
        counted.published,
    );
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
    if let Some((reads, writes)) = sources.round_trips() {
        families.counter(
            "kith_store_reads_total",
            "Round trips to the message log's server that read.",
            reads,
        );
        families.counter(
            "kith_store_writes_total",
            "Round trips to the message log's server that wrote.",
            writes,
        );
    }
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
