//! What plugins cost by themselves, without a server and on one thread: loading, a call of each hook in a kept and in a
//! fresh instance, chains, scopes, memory. Times of calls are CPU time of the thread, so that a busy machine tells the
//! same.

mod calls;
mod denying;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kith_runtime::{
    Binding, BindingScope, Generation, GenerationCell, Hook, Isolation, Runtime, Settings, Version,
};
use serde_json::{Map, Value, json};

use super::Bench;
use calls::Caller;

/// Cold loads, warm instances and switches that are measured.
const COLD: usize = 200;
const INSTANCES: usize = 32;
const SWITCHES: usize = 1_000;
/// Bindings where most are of another scope.
const BOUND: usize = 100;

/// One component, and what it costs.
struct Costs {
    name: String,
    bytes: usize,
    compiled_ms: f64,
    cached_ms: f64,
    /// The first call of one that is not in memory, microseconds by the wall clock.
    cold_us: (f64, f64),
    instance_kib: Option<f64>,
    /// By hook: microseconds of a call in a kept instance, and in a fresh one.
    calls: Vec<(Hook, Option<f64>, f64)>,
}

pub fn run(bench: &Bench) -> Result<()> {
    let mut files: Vec<_> = std::fs::read_dir(&bench.plugins)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "wasm"))
        .collect();
    files.sort();
    let mut costs = Vec::new();
    for file in &files {
        bench.progress(&file.display().to_string());
        costs.push(measure(bench, file)?);
    }
    let chains = chains(bench, &files)?;
    if bench.args.json {
        println!("{:#}", json!({"plugins": rows(&costs), "chains": chains}));
    } else {
        print(&costs, &chains);
    }
    Ok(())
}

fn runtime(bench: &Bench, cache: &str) -> Result<Runtime> {
    Ok(Runtime::new(Settings::new(
        bench.folder.path().join(cache),
    ))?)
}

fn measure(bench: &Bench, file: &Path) -> Result<Costs> {
    let bytes = std::fs::read(file).with_context(|| format!("{}", file.display()))?;
    let cache = file
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let (first, none) = (runtime(bench, &cache)?, json!({}));
    let began = Instant::now();
    let version = first.prepare(&bytes, &none)?;
    let compiled_ms = milliseconds(began.elapsed());
    drop((first, version));
    let again = runtime(bench, &cache)?;
    let began = Instant::now();
    let version = again.prepare(&bytes, &none)?;
    let cached_ms = milliseconds(began.elapsed());
    let caller = Caller::new();
    let hooks = version.inspection().hooks.clone();
    let cold_us = cold(&caller, &version, hooks[0])?;
    let on_path = hooks.iter().any(|hook| !hook.is_after_commit());
    let mut calls = Vec::new();
    for hook in hooks {
        let kept =
            (!hook.is_after_commit()).then(|| caller.cost(&bind(&version, hook, Isolation::Reuse)));
        let fresh = caller.cost(&bind(&version, hook, Isolation::Message));
        calls.push((hook, kept, fresh));
    }
    let instance_kib = if on_path {
        Some(instance_kib(&version)?)
    } else {
        None
    };
    Ok(Costs {
        name: version.inspection().name.clone(),
        bytes: bytes.len(),
        compiled_ms,
        cached_ms,
        cold_us,
        instance_kib,
        calls,
    })
}

/// Bound to one of its hooks as it wishes, everywhere.
fn bind(version: &Arc<Version>, hook: Hook, isolation: Isolation) -> Arc<Generation> {
    let binding = Binding::as_wished(version, hook).map(|binding| Binding {
        isolation,
        scope: BindingScope::All,
        ..binding
    });
    Arc::new(Generation::new(1, binding.into_iter().collect()))
}

/// p50 and p99 of the first call after it left the memory.
fn cold(caller: &Caller, version: &Arc<Version>, hook: Hook) -> Result<(f64, f64)> {
    let generation = bind(version, hook, Isolation::Reuse);
    let mut waits = Vec::with_capacity(COLD);
    for _ in 0..COLD {
        version.leave();
        let began = Instant::now();
        caller.once(&generation, hook);
        waits.push(began.elapsed());
    }
    waits.sort_unstable();
    let at = |place: usize| waits[place].as_secs_f64() * 1e6;
    Ok((at(COLD / 2), at(COLD * 99 / 100)))
}

/// What one more instance that is ready adds to the anonymous memory of the process.
fn instance_kib(version: &Arc<Version>) -> Result<f64> {
    version.warm_up(1)?;
    let before = anonymous()?;
    version.warm_up(1 + INSTANCES)?;
    let grown = anonymous()?.saturating_sub(before);
    Ok(grown as f64 / 1024.0 / INSTANCES as f64)
}

fn anonymous() -> Result<u64> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kib.context("no anonymous memory")? * 1024)
}

/// Chains of filters and strategies, scopes, and switches: of the first component of each hook.
fn chains(bench: &Bench, files: &[std::path::PathBuf]) -> Result<Map<String, Value>> {
    let runtime = runtime(bench, "chains")?;
    let (mut filter, mut strategy) = (None, None);
    for file in files {
        let version = runtime.prepare(&std::fs::read(file)?, &json!({}))?;
        let digest = version.inspection().digest.clone();
        let has = |hook| version.inspection().hooks.contains(&hook);
        if filter.is_none() && has(Hook::ContentFilter) {
            filter = Some(digest.clone());
        }
        if strategy.is_none() && has(Hook::MessageStrategy) {
            strategy = Some(digest);
        }
    }
    let (Some(filter), Some(strategy)) = (filter, strategy) else {
        return Ok(Map::new());
    };
    let bound = |digest: &str, hook, scope| -> Result<Binding> {
        // Of each a version of its own, with its own instances.
        let version = runtime
            .recall(digest, &json!({}))
            .context("it was prepared")?;
        let binding = Binding::as_wished(&version, hook).context("it exports the hook")?;
        Ok(Binding { scope, ..binding })
    };
    let caller = Caller::new();
    let mut figures = Map::new();
    for (name, digest, hook) in [
        ("filters", &filter, Hook::ContentFilter),
        ("strategies", &strategy, Hook::MessageStrategy),
    ] {
        for length in [1, 3, 10] {
            let chain = (0..length).map(|_| bound(digest, hook, BindingScope::All));
            let generation = Arc::new(Generation::new(1, chain.collect::<Result<_>>()?));
            figures.insert(
                format!("{length} {name}, µs a message"),
                rounded(caller.cost(&generation)),
            );
        }
    }
    let mut bindings = vec![
        bound(&strategy, Hook::MessageStrategy, BindingScope::Direct)?,
        bound(&filter, Hook::ContentFilter, BindingScope::Direct)?,
        bound(&filter, Hook::ContentFilter, BindingScope::All)?,
    ];
    let three = Arc::new(Generation::new(1, bindings.clone()));
    for place in bindings.len()..BOUND {
        let hook = [Hook::MessageStrategy, Hook::ContentFilter][place % 2];
        let digest = [&strategy, &filter][place % 2];
        bindings.push(bound(digest, hook, BindingScope::Group)?);
    }
    let hundred = Arc::new(Generation::new(1, bindings.clone()));
    let a_second = |generation| rounded(1e6 / caller.message(generation));
    figures.insert(
        "3 bindings, all met: messages a second on a core".into(),
        a_second(&three),
    );
    figures.insert(
        "100 bindings, 3 met: messages a second on a core".into(),
        a_second(&hundred),
    );
    figures.insert(
        "a switch of 100 bindings, µs".into(),
        rounded(switch(&bindings)),
    );
    Ok(figures)
}

/// The median time to make a generation of what is loaded and have it take over.
fn switch(bindings: &[Binding]) -> f64 {
    let cell = GenerationCell::default();
    let mut took = Vec::with_capacity(SWITCHES);
    for number in 1..=SWITCHES as u64 {
        let bindings = bindings.to_vec();
        let began = Instant::now();
        cell.activate(Generation::new(number, bindings));
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took[SWITCHES / 2].as_secs_f64() * 1e6
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn rounded(value: f64) -> Value {
    let digits = if value >= 100.0 { 1.0 } else { 100.0 };
    ((value * digits).round() / digits).into()
}

fn rows(costs: &[Costs]) -> Vec<Value> {
    let row = |costs: &Costs| {
        let calls: Map<String, Value> = costs.calls.iter().map(call_json).collect();
        json!({
            "name": costs.name, "bytes": costs.bytes, "compiled_ms": rounded(costs.compiled_ms),
            "cached_ms": rounded(costs.cached_ms), "first_call_p50_us": rounded(costs.cold_us.0),
            "first_call_p99_us": rounded(costs.cold_us.1),
            "instance_kib": costs.instance_kib.map(rounded), "calls": calls,
        })
    };
    costs.iter().map(row).collect()
}

fn call_json((hook, kept, fresh): &(Hook, Option<f64>, f64)) -> (String, Value) {
    let costs = json!({"kept_us": kept.map(rounded), "fresh_us": rounded(*fresh)});
    (hook.as_str().to_owned(), costs)
}

fn print(costs: &[Costs], chains: &Map<String, Value>) {
    println!(
        "{:<24}{:>9}{:>12}{:>11}{:>16}{:>15}",
        "", "KiB", "compiled ms", "cached ms", "first call µs", "instance KiB"
    );
    for cost in costs {
        let first = format!("{:.0}, {:.0}", cost.cold_us.0, cost.cold_us.1);
        let instance = cost
            .instance_kib
            .map_or("-".to_owned(), |kib| format!("{kib:.0}"));
        println!(
            "{:<24}{:>9.1}{:>12.1}{:>11.2}{first:>16}{instance:>15}",
            cost.name,
            cost.bytes as f64 / 1024.0,
            cost.compiled_ms,
            cost.cached_ms,
        );
    }
    println!("\n{:<44}{:>12}{:>12}", "µs of CPU a call", "kept", "fresh");
    for cost in costs {
        for (hook, kept, fresh) in &cost.calls {
            let kept = kept.map_or("-".to_owned(), |us| format!("{us:.2}"));
            let name = format!("{}: {}", cost.name, hook.as_str());
            println!("{name:<44}{kept:>12}{fresh:>12.2}");
        }
    }
    println!();
    for (name, value) in chains {
        println!("{name:<56}{value:>12}");
    }
}
