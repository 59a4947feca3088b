//! Memory of connections that are silent, and that have spoken once: the growth of the server's proportional set size.
//! Buffers that are given back when idle have been given back before it is read.

use anyhow::Result;
use serde_json::{Value, json};

use super::contender::Contender;
use super::speech::{Address, Speech};
use super::{Bench, people};

/// What a contender's memory was, bytes.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    before: u64,
    connected: u64,
    after_message: u64,
}

impl Sizes {
    /// KiB per connection, silent and after a message each way.
    fn per_connection(self, connections: usize) -> (f64, f64) {
        let kib =
            |bytes: u64| bytes.saturating_sub(self.before) as f64 / 1024.0 / connections as f64;
        (kib(self.connected), kib(self.after_message))
    }
}

pub fn idle(bench: &Bench) -> Result<()> {
    let connections = bench.args.connections.unwrap_or(10_000).max(2) / 2 * 2;
    let mut contenders = Vec::new();
    if bench.args.anchor {
        contenders.push(Contender::anchor(bench.cores, bench.folder.path())?);
    }
    contenders.push(bench.kith()?);
    let mut lines = Vec::new();
    for contender in &contenders {
        let sizes = match contender.speech {
            Speech::Kith => kith_sizes(bench, contender, connections)?,
            Speech::Anchor | Speech::Echo => anchor_sizes(contender, connections)?,
        };
        lines.push((contender.name, sizes));
    }
    if bench.args.json {
        let contenders: serde_json::Map<String, Value> = lines
            .iter()
            .map(|(name, sizes)| {
                let (idle, spoken) = sizes.per_connection(connections);
                let value = json!({
                    "idle_kib": idle, "after_message_kib": spoken, "base_bytes": sizes.before,
                });
                ((*name).to_owned(), value)
            })
            .collect();
        println!(
            "{:#}",
            json!({"setting": {"mode": "idle", "connections": connections}, "contenders": contenders})
        );
        return Ok(());
    }
    println!(
        "{connections} authenticated connections, growth of the server's PSS per connection\n"
    );
    println!(
        "{:<10}{:>12}{:>14}{:>28}",
        "", "base MiB", "silent KiB", "after a message KiB"
    );
    for (name, sizes) in lines {
        let (idle, spoken) = sizes.per_connection(connections);
        let base = sizes.before as f64 / 1024.0 / 1024.0;
        println!("{name:<10}{base:>12.1}{idle:>14.2}{spoken:>28.2}");
    }
    Ok(())
}

fn kith_sizes(bench: &Bench, contender: &Contender, connections: usize) -> Result<Sizes> {
    bench.progress(&format!("making {connections} users"));
    let users = people::make_users(contender, "idle", connections)?;
    let before = contender.settled_memory()?;
    bench.progress("connecting them");
    let mut links = Vec::with_capacity(connections);
    for user in &users {
        links.push(people::connect(contender.address, user)?);
    }
    let connected = contender.settled_memory()?;
    bench.progress("each sends and receives a message");
    for pair in 0..connections / 2 {
        let [one, other] = &mut links[2 * pair..2 * pair + 2] else {
            continue;
        };
        people::introduce(one, other, &users[2 * pair + 1].id)?;
    }
    let after_message = contender.settled_memory()?;
    Ok(Sizes {
        before,
        connected,
        after_message,
    })
}

fn anchor_sizes(contender: &Contender, connections: usize) -> Result<Sizes> {
    let before = contender.settled_memory()?;
    let count = u32::try_from(connections)?;
    let mut links = Vec::with_capacity(connections);
    for number in 0..count {
        links.push(people::connect_number(contender.address, number)?);
    }
    let connected = contender.settled_memory()?;
    for number in 0..count {
        let (to, text) = (number ^ 1, super::speech::text(1, 200, people::FILLER));
        let mut payload = Vec::new();
        let address = Address {
            number: to,
            ..Address::default()
        };
        Speech::Anchor.message(&address, 0, 1, &text, &mut payload);
        let link = &mut links[number as usize];
        link.queue(&payload);
        link.flush()?;
        link.wait_any()?;
        links[to as usize].wait_any()?;
    }
    let after_message = contender.settled_memory()?;
    Ok(Sizes {
        before,
        connected,
        after_message,
    })
}
