//! What the host counts of itself while it works. Counting is an addition where the thing happens; everything else is
//! looked at when somebody asks (`GET /metrics`). Labels are closed sets and plugins' names, never ids or texts.

mod family;
mod moment;

use prometheus::{Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge};
use prometheus::{Opts, Registry, TextEncoder};

pub use family::{Classes, Families, Row, number};
pub use moment::Moment;

use crate::session::Bye;

/// Upper bounds of the acks' classes, seconds.
const ACK_SECONDS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0,
    4.0,
];

/// The counters on the way of messages.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    /// WebSocket connections that are open, before their `hello` too.
    pub connections: IntGauge,
    /// Entries committed.
    pub committed: IntCounter,
    /// Entries put into the stream of a session.
    pub delivered: IntCounter,
    /// From a request's arrival to its ack in the session's stream.
    pub ack_seconds: Histogram,
    /// Goodbyes, by their reason.
    goodbyes: IntCounterVec,
}

impl Default for Telemetry {
    fn default() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| IntCounter::new(name, help).expect("a good name");
        let ack = HistogramOpts::new(
            "kith_ack_seconds",
            "From the arrival of a request to its ack in the session's stream.",
        );
        let goodbyes = Opts::new("kith_sessions_ended_total", "Goodbyes, by their reason.");
        let telemetry = Self {
            connections: IntGauge::new("kith_connections", "Open WebSocket connections.")
                .expect("a good name"),
            committed: counter("kith_entries_committed_total", "Entries committed."),
            delivered: counter(
                "kith_entries_delivered_total",
                "Entries put into the stream of a session, each session counted.",
            ),
            ack_seconds: Histogram::with_opts(ack.buckets(ACK_SECONDS.into()))
                .expect("bounds rise"),
            goodbyes: IntCounterVec::new(goodbyes, &["reason"]).expect("a good name"),
            registry,
        };
        let parts: [Box<dyn prometheus::core::Collector>; 5] = [
            Box::new(telemetry.connections.clone()),
            Box::new(telemetry.committed.clone()),
            Box::new(telemetry.delivered.clone()),
            Box::new(telemetry.ack_seconds.clone()),
            Box::new(telemetry.goodbyes.clone()),
        ];
        for part in parts {
            telemetry.registry.register(part).expect("each name once");
        }
        telemetry
    }
}

impl Telemetry {
    /// The host ends a connection.
    pub fn goodbye(&self, bye: Bye) {
        self.goodbyes.with_label_values(&[bye.reason()]).inc();
    }

    /// Everything counted here and what was looked at, as Prometheus' text.
    pub fn text(&self, sampled: Families) -> String {
        let mut families = self.registry.gather();
        families.extend(sampled.into_families());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let text = TextEncoder::new().encode_to_string(&families);
        text.unwrap_or_else(|error| {
            tracing::error!(%error, "the metrics could not be written");
            String::new()
        })
    }

    /// The content type of `text`.
    pub fn content_type() -> String {
        TextEncoder::new().format_type().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_and_what_was_looked_at_are_one_text() {
        let telemetry = Telemetry::default();
        telemetry.committed.inc_by(3);
        telemetry.goodbye(Bye::Slow);
        telemetry.ack_seconds.observe(0.003);
        let mut sampled = Families::default();
        sampled.gauge("kith_generation", "The generation in force.", 7.0);
        let rows = vec![Row::new([("plugin", "a\"b\n".to_owned())], 2.5)];
        sampled.counters("kith_hook_calls_total", "Calls.", rows);
        let text = telemetry.text(sampled);
        for line in [
            "kith_entries_committed_total 3",
            "kith_sessions_ended_total{reason=\"slow\"} 1",
            "kith_ack_seconds_bucket{le=\"0.002\"} 0",
            "kith_ack_seconds_bucket{le=\"0.004\"} 1",
            "kith_ack_seconds_count 1",
            "# TYPE kith_generation gauge",
            "kith_generation 7",
            "kith_hook_calls_total{plugin=\"a\\\"b\\n\"} 2.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
