//! The capacity page: its table follows from its figures, and those that are called measured stand in BENCHMARKS.md.
//! With KITH_WRITE_CAPACITY set, the table is written instead of compared.

use std::fmt::Write as _;

use serde_json::Value;

use super::{documents, place, text};

const PAGE: &str = "CAPACITY.md";
const CONNECTIONS: [f64; 3] = [1e4, 1e6, 1e7];
const HEADING: &str = "| connections | 10,000 | 1,000,000 | 10,000,000 |\n|---|---|---|---|\n";
const DAY_S: f64 = 86_400.0;

struct Figures(toml::Table);

impl Figures {
    fn read(page: &str) -> Self {
        let (_, rest) = page.split_once("```toml\n").expect("figures");
        let (block, _) = rest.split_once("```").expect("their end");
        Self(toml::from_str(block).expect("TOML"))
    }

    fn of(&self, name: &str) -> f64 {
        let sections = ["measured", "assumed"].iter();
        let mut found = sections.filter_map(|section| self.0[*section].get(name));
        let value = found.next().unwrap_or_else(|| panic!("no figure {name}"));
        let whole = value.as_integer().map(|whole| whole as f64);
        value.as_float().or(whole).expect("a number")
    }
}

/// What one number of connections needs.
struct Need {
    rows: Vec<(&'static str, String)>,
}

fn need(connections: f64, figures: &Figures) -> Need {
    let of = |name| figures.of(name);
    let said = connections * of("messages_a_day");
    let messages = said / DAY_S * of("peak");
    let deliveries = messages * of("receivers");
    let pings = connections / of("ping_s");
    let cpu_us = messages * of("message_cpu_us") * of("cluster_factor")
        + deliveries * of("delivery_cpu_us")
        + pings * of("ping_cpu_us");
    let cores = cpu_us / 1e6 / of("busy");
    let busiest = (connections / of("connections_a_node")).max(cores / of("node_cores"));
    let nodes = (busiest.ceil() + 1.0).max(3.0);
    let each = connections / (nodes - 1.0) * (of("connection_kib") + of("kernel_kib"));
    let memory_gib = (of("node_base_mib") + each / 1024.0) / 1024.0;
    let doors = (connections / of("connections_a_door")).ceil() + 1.0;
    let writes = messages * of("writes_a_message");
    let kept = said * of("days");
    let disk_tb = kept * of("stored_bytes") * of("indexes") * of("compressed") / 1e12;
    let shards = (writes / of("shard_writes"))
        .max(disk_tb / of("shard_tb"))
        .ceil();
    let servers = shards * 3.0 + if shards > 1.0 { 5.0 } else { 0.0 };
    let commands = messages * (1.0 + of("receivers").min(nodes - 1.0));
    let masters = match (commands / of("redis_commands")).ceil() {
        one if one <= 1.0 => 1.0,
        more => more.max(3.0),
    };
    let redis_mb = connections * of("session_redis_bytes") / 1e6;
    let index_tb = kept * of("indexed_bytes") / 1e12;
    let index_shards = (kept / of("index_shard_messages")).ceil();
    Need {
        rows: vec![
            ("messages a second, at the peak", rounded(messages)),
            ("deliveries a second", rounded(deliveries)),
            ("cores of nodes, all together", rounded(cores)),
            ("**nodes**", whole(nodes)),
            ("memory of a node, GiB", rounded(memory_gib)),
            ("front doors", whole(doors)),
            ("documents written a second", rounded(writes)),
            ("on the disk, TB, one copy of all", rounded(disk_tb)),
            ("**shards**", whole(shards)),
            ("servers of MongoDB", whole(servers)),
            ("Redis commands a second", rounded(commands)),
            ("**Redis masters**", whole(masters)),
            ("memory of Redis, all together, MB", rounded(redis_mb)),
            ("search index, TB, one copy", rounded(index_tb)),
            ("shards of the search index", whole(index_shards)),
        ],
    }
}

/// Two digits of what is no count.
fn rounded(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let unit = 10f64.powf(value.abs().log10().floor() - 1.0);
    let value = (value / unit).round() * unit;
    match value {
        large if large >= 10.0 => whole(large),
        small if small >= 1.0 => format!("{small:.1}"),
        small if small >= 0.1 => format!("{small:.2}"),
        small => format!("{small:.3}"),
    }
}

/// With a comma between thousands.
fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn table(figures: &Figures) -> String {
    let needs = CONNECTIONS.map(|connections| need(connections, figures));
    let mut table = HEADING.to_owned();
    for (index, (row, _)) in needs[0].rows.iter().enumerate() {
        let cells: Vec<_> = needs
            .iter()
            .map(|need| need.rows[index].1.as_str())
            .collect();
        writeln!(table, "| {row} | {} |", cells.join(" | ")).expect("written");
    }
    table
}

#[test]
fn the_table_follows_from_the_figures() {
    let page = text(PAGE);
    let wanted = table(&Figures::read(&page));
    let (before, rest) = page.split_once(HEADING).expect("the table");
    let rows = rest.lines().take_while(|line| line.starts_with('|'));
    let rows: String = rows.map(|line| format!("{line}\n")).collect();
    if std::env::var_os("KITH_WRITE_CAPACITY").is_some() {
        let after = &rest[rows.len()..];
        std::fs::write(place(PAGE), format!("{before}{wanted}{after}")).expect("written");
        return;
    }
    assert_eq!(format!("{HEADING}{rows}"), wanted);
}

#[test]
fn a_figure_that_changes_changes_the_table() {
    let mut figures = Figures::read(&text(PAGE));
    let before = table(&figures);
    for (section, name) in [
        ("measured", "message_cpu_us"),
        ("measured", "stored_bytes"),
        ("measured", "session_redis_bytes"),
        ("measured", "connection_kib"),
    ] {
        let Figures(table_of) = &mut figures;
        let old = table_of[section][name].clone();
        table_of[section][name] = toml::Value::Float(1e4);
        assert_ne!(table(&figures), before, "{name}");
        figures.0[section][name] = old;
    }
}

#[test]
fn what_is_called_measured_stands_where_it_was_measured() {
    let figures = Figures::read(&text(PAGE));
    let benchmarks = text("../host/BENCHMARKS.md");
    for (row, figure) in [
        ("| one in flight: Kith |", "message_cpu_us"),
        ("| Kith | 1.6 |", "connection_kib"),
    ] {
        let line = benchmarks.lines().find(|line| line.starts_with(row));
        let line = line.unwrap_or_else(|| panic!("no line {row}"));
        let value = figures.of(figure).to_string();
        let spelled = [value.clone(), format!("{value}.0")];
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        assert!(
            spelled.iter().any(|value| cells.contains(&value.as_str())),
            "{figure} is {value}, and {line}"
        );
    }
}

#[test]
fn the_page_and_the_manifests_agree_about_a_node() {
    let figures = Figures::read(&text(PAGE));
    let settings = documents("kubernetes/settings.yaml").remove(0);
    let limit = |name: &str| -> f64 {
        let value: &Value = &settings["data"][name];
        value.as_str().expect("a text").parse().expect("a number")
    };
    assert_eq!(
        figures.of("connections_a_node"),
        limit("KITH_LIMITS__CONNECTIONS")
    );
    assert!(figures.of("node_base_mib") > limit("KITH_PLUGINS__MEMORY_BUDGET_MIB"));
    let alert = text("prometheus/alerts.yml");
    let literal = format!("0.8 * {}", limit("KITH_LIMITS__CONNECTIONS"));
    assert!(alert.contains(&literal), "the alert goes by {literal}");
}
