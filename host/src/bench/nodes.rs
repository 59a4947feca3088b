//! Three nodes against one, on the same MongoDB and Redis: what being several costs a message, in CPU of the nodes and in
//! round trips. Each pair of three has its sender on one node and its receiver on the next.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Bench;
use super::contender::{Contender, KithServer};
use super::load::{Load, Pace, Pair, Plan};
use super::people::{connect, introduce, make_users};
use super::report::median;
use super::speech::{Address, Speech};
use crate::cli::api::block_on;

const WARM_UP: Duration = Duration::from_secs(1);
/// Messages of a pair that are under way.
const WINDOW: usize = 16;

/// What a round of so many nodes came to, for each message.
struct Cost {
    delivered: f64,
    cpu_us: f64,
    changes: f64,
    /// Round trips to MongoDB that wrote, those that read, and groups of changes that were committed.
    writes: f64,
    reads: f64,
    commits: f64,
    /// Round trips to Redis that said something, and all of them.
    published: f64,
    requests: f64,
}

/// What a deployment has counted so far.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    cpu: Duration,
    changes: f64,
    writes: f64,
    reads: f64,
    commits: f64,
    published: f64,
    requests: f64,
}

pub fn run(bench: &Bench) -> Result<()> {
    let store = bench.args.store_url.as_deref();
    let store = store.context("--store-url says where MongoDB is")?;
    let bus = bench.args.bus_url.as_deref();
    let bus = bus.context("--bus-url says where Redis is")?;
    let mut rounds: [(usize, Vec<Cost>); 2] = [(1, Vec::new()), (3, Vec::new())];
    for round in 1..=bench.args.rounds {
        for (nodes, costs) in &mut rounds {
            let cost = measure(bench, (store, bus), *nodes, round)?;
            bench.progress(&format!(
                "round {round} of {}: {nodes} {:>8.0}/s {:>8.1} µs",
                bench.args.rounds, cost.delivered, cost.cpu_us
            ));
            costs.push(cost);
        }
    }
    print(bench, &rounds);
    Ok(())
}

fn measure(bench: &Bench, servers: (&str, &str), count: usize, round: usize) -> Result<Cost> {
    let nodes = start(bench, servers, count, round)?;
    let mut load = pairs(bench, &nodes)?;
    let plan = Plan {
        pace: Pace::InFlight(WINDOW),
        warm_up: WARM_UP,
        measure: Duration::from_secs_f64(bench.args.seconds),
        text_bytes: bench.args.text_bytes,
        background: None,
    };
    let mut marks = Vec::new();
    let counted = load.run(&plan, &mut || {
        marks.push(count_all(&nodes)?);
        Ok(())
    })?;
    let [before, after] = marks[..] else {
        bail!("the round ended before it was counted");
    };
    let messages = counted.delivered.max(1) as f64;
    let each = |of: fn(&Counted) -> f64| (of(&after) - of(&before)) / messages;
    Ok(Cost {
        delivered: counted.delivered as f64 / counted.seconds,
        cpu_us: each(|counted| counted.cpu.as_secs_f64()) * 1e6,
        changes: each(|counted| counted.changes),
        writes: each(|counted| counted.writes),
        reads: each(|counted| counted.reads),
        commits: each(|counted| counted.commits),
        published: each(|counted| counted.published),
        requests: each(|counted| counted.requests),
    })
}

/// Nodes of a deployment of their own: each round begins with an empty database.
fn start(
    bench: &Bench,
    (store, bus): (&str, &str),
    count: usize,
    round: usize,
) -> Result<Vec<Contender>> {
    let (server, options) = match store.split_once('?') {
        Some((server, options)) => (server, format!("?{options}")),
        None => (store, String::new()),
    };
    let server = server.trim_end_matches('/');
    let database = format!("kith_bench_{}_{count}_{round}", &bench.token[..8]);
    let none = bench.folder.path().join("no-plugins");
    std::fs::create_dir_all(&none)?;
    let node = |number: usize| {
        let settings = [
            ("KITH_NODE__NAME", format!("bench-{number}")),
            ("KITH_STORE__ENGINE", "mongodb".to_owned()),
            ("KITH_STORE__URL", format!("{server}/{database}{options}")),
            ("KITH_BUS__ENGINE", "redis".to_owned()),
            ("KITH_BUS__URL", bus.to_owned()),
            ("KITH_SEARCH__ENGINE", "none".to_owned()),
            ("KITH_MEDIA__ENGINE", "none".to_owned()),
        ];
        let data = format!("node-{count}-{round}-{number}");
        let server = KithServer {
            data: &bench.folder.path().join(data),
            plugins: &none,
            bootstrap_token: &bench.token,
            settings: &settings,
        };
        Contender::kith("node", bench.cores, &server)
    };
    (0..count).map(node).collect()
}

fn pairs(bench: &Bench, nodes: &[Contender]) -> Result<Load> {
    let count = bench.pairs();
    let users = make_users(&nodes[0], "bench", 2 * count)?;
    let (mut links, mut pairs, mut pair_of) = (Vec::new(), Vec::new(), Vec::new());
    let address = |node: usize| -> SocketAddr { nodes[node % nodes.len()].address };
    for pair in 0..count {
        let (one, other) = (&users[2 * pair], &users[2 * pair + 1]);
        let mut sender = connect(address(pair), one)?;
        let mut receiver = connect(address(pair + 1), other)?;
        let to = Address {
            conversation: introduce(&mut sender, &mut receiver, &other.id)?,
            ..Address::default()
        };
        pairs.push(Pair::new(links.len(), to));
        links.extend([sender, receiver]);
        pair_of.extend([pair, pair]);
    }
    Load::new(Speech::Kith, links, pairs, pair_of)
}

fn count_all(nodes: &[Contender]) -> Result<Counted> {
    let mut all = Counted::default();
    for node in nodes {
        let admin = node.admin.context("no administration")?;
        let url = format!("http://{admin}/metrics");
        let text = block_on(async { Ok(reqwest::get(url).await?.text().await?) })?;
        let of = |name: &str| -> f64 {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            let value = lines.find(|(known, _)| *known == name);
            value
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(0.0)
        };
        all.cpu += node.cpu()?;
        all.changes += of("kith_log_changes_total");
        all.commits += of("kith_log_flushes_total");
        all.writes += of("kith_store_writes_total");
        all.reads += of("kith_store_reads_total");
        all.published += of("kith_bus_published_total");
        all.requests += of("kith_bus_requests_total");
    }
    Ok(all)
}

type Figure = (&'static str, fn(&Cost) -> f64);

const FIGURES: [Figure; 8] = [
    ("messages a second", |cost| cost.delivered),
    ("CPU of the nodes, µs", |cost| cost.cpu_us),
    ("changes of the log", |cost| cost.changes),
    ("commits, round trips", |cost| cost.commits),
    ("MongoDB, writes", |cost| cost.writes),
    ("MongoDB, reads", |cost| cost.reads),
    ("Redis, published", |cost| cost.published),
    ("Redis, all", |cost| cost.requests),
];

fn print(bench: &Bench, rounds: &[(usize, Vec<Cost>); 2]) {
    let medians = rounds.each_ref().map(|(nodes, costs)| {
        let of = |(_, figure): Figure| median(costs.iter().map(figure).collect());
        (*nodes, FIGURES.map(of))
    });
    if bench.args.json {
        let named = medians.map(|(nodes, figures)| {
            let fields = FIGURES.iter().zip(figures);
            let fields = fields.map(|((name, _), value)| ((*name).to_owned(), json!(value)));
            (nodes.to_string(), Value::Object(fields.collect()))
        });
        let nodes: serde_json::Map<_, _> = named.into_iter().collect();
        println!("{:#}", json!({"pairs": bench.pairs(), "nodes": nodes}));
        return;
    }
    println!(
        "{WINDOW} messages in flight per pair, {} pairs, no plugins; medians of {} rounds of {} s; for each message:",
        bench.pairs(),
        bench.args.rounds,
        bench.args.seconds
    );
    println!("{:<24}{:>12}{:>12}", "", "one node", "three nodes");
    for (row, (name, _)) in FIGURES.iter().enumerate() {
        let [one, three] = medians.each_ref().map(|(_, figures)| figures[row]);
        println!("{name:<24}{one:>12.2}{three:>12.2}");
    }
}
