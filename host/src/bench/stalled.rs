//! Receivers that never read: what they cost the server's memory, and the others' latency. Two servers get the same
//! messages; at one everybody reads, at the other as many clients as asked for never do.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::Bench;
use super::contender::Contender;
use super::link::Link;
use super::load::{Background, Load, Pace, Pair, Plan};
use super::people::{self, Pairs};
use super::report::{Figures, median};
use super::rounds::measure;
use super::speech::{Address, Speech};

/// Pairs whose latency is measured.
const OTHERS: usize = 100;
/// Senders that share the receivers between them.
const SENDERS: usize = 50;
/// What fills the queues before anything is measured.
const FILL: Background = Background {
    rate: 1_000.0,
    text_bytes: 8_000,
};
const FILL_TIME: Duration = Duration::from_secs(15);

/// One of the two servers.
struct Side {
    contender: Contender,
    load: Load,
    /// Kept open and never read.
    _unread: Vec<Link>,
    before: u64,
    most: u64,
    rounds: Vec<Figures>,
}

impl Side {
    fn new(contender: Contender, receivers: usize, are_read: bool) -> Result<Self> {
        let mut pairs = Pairs::default();
        pairs.add(&contender, "other", OTHERS)?;
        let users = people::make_users(&contender, "receiver", receivers)?;
        let first_sender = pairs.links.len();
        for user in people::make_users(&contender, "sender", SENDERS)? {
            pairs.links.push(people::connect(contender.address, &user)?);
            // A sender receives nothing that counts.
            pairs.pair_of.push(0);
        }
        let mut unread = Vec::new();
        for (index, user) in users.iter().enumerate() {
            let sender = first_sender + index % SENDERS;
            let mut link = people::connect(contender.address, user)?;
            let conversation = people::introduce(&mut pairs.links[sender], &mut link, &user.id)?;
            let mut pair = Pair::new(
                sender,
                Address {
                    conversation,
                    ..Address::default()
                },
            );
            (pair.measured, pair.is_read) = (false, are_read);
            if are_read {
                pairs.links.push(link);
                pairs.pair_of.push(pairs.pairs.len());
            } else {
                // As little as the system allows: what it takes, the server need not keep.
                let small = rustix::net::sockopt::set_socket_recv_buffer_size(&link.stream, 4096);
                small.context("cannot make a small buffer")?;
                unread.push(link);
            }
            pairs.pairs.push(pair);
        }
        let load = pairs.load(Speech::Kith)?;
        let before = contender.settled_memory()?;
        Ok(Self {
            contender,
            load,
            _unread: unread,
            before,
            most: before,
            rounds: Vec::new(),
        })
    }

    fn round(&mut self, plan: &Plan) -> Result<Figures> {
        let figures = measure(&self.contender, &mut self.load, plan)?;
        self.most = self.most.max(self.contender.memory()?);
        Ok(figures)
    }

    fn grown_mb(&self) -> f64 {
        (self.most - self.before) as f64 / 1e6
    }

    fn p99_ms(&self) -> f64 {
        median(
            self.rounds
                .iter()
                .filter_map(|round| round.delivery_ms.get(2).copied())
                .collect(),
        )
    }
}

pub fn run(bench: &Bench) -> Result<()> {
    let count = bench.args.connections.unwrap_or(1_000).max(1);
    let reading = Side::new(bench.kith_named("kith, all read", "read")?, count, true)?;
    let stalled = Side::new(bench.kith_named("kith, stalled", "stalled")?, count, false)?;
    let mut sides = [reading, stalled];
    let fill = Plan {
        pace: Pace::Rate(1.0),
        warm_up: Duration::ZERO,
        measure: FILL_TIME,
        text_bytes: bench.args.text_bytes,
        background: Some(FILL),
    };
    let plan = Plan {
        pace: Pace::Rate(bench.args.rate),
        warm_up: Duration::from_secs(1),
        measure: Duration::from_secs_f64(bench.args.seconds),
        text_bytes: bench.args.text_bytes,
        background: Some(Background {
            rate: bench.args.rate,
            text_bytes: bench.args.text_bytes,
        }),
    };
    for side in &mut sides {
        side.round(&fill)?;
        bench.progress(&format!(
            "{}: grown by {:.1} MB",
            side.contender.name,
            side.grown_mb()
        ));
    }
    for round in 1..=bench.args.rounds {
        for side in &mut sides {
            let figures = side.round(&plan)?;
            bench.progress(&format!(
                "round {round} of {}: {:<16} delivery p99 {:.2} ms",
                bench.args.rounds,
                side.contender.name,
                figures.delivery_ms.get(2).copied().unwrap_or_default()
            ));
            side.rounds.push(figures);
        }
    }
    report(bench, count, &sides);
    Ok(())
}

fn report(bench: &Bench, count: usize, [reading, stalled]: &[Side; 2]) {
    let unread_mb = FILL.rate * FILL_TIME.as_secs_f64() * FILL.text_bytes as f64 / 1e6;
    let (calm, beside) = (reading.p99_ms(), stalled.p99_ms());
    if bench.args.json {
        println!(
            "{:#}",
            json!({
                "setting": {"mode": "stalled", "connections": count, "rate": bench.args.rate, "unread_mb": unread_mb},
                "grown_mb": {"all_read": reading.grown_mb(), "stalled": stalled.grown_mb()},
                "others_p99_ms": {"all_read": calm, "stalled": beside},
            })
        );
        return;
    }
    println!(
        "{count} receivers, {unread_mb:.0} MB of texts written to them, then {} messages/s\n",
        bench.args.rate
    );
    println!(
        "{:<18}{:>12}{:>26}",
        "", "grown MB", "others' delivery p99 ms"
    );
    for side in [reading, stalled] {
        println!(
            "{:<18}{:>12.1}{:>26.2}",
            side.contender.name,
            side.grown_mb(),
            side.p99_ms()
        );
    }
    println!(
        "\nthe others' p99 beside the stalled ones: {:+.0} %",
        (beside / calm - 1.0) * 100.0
    );
}
