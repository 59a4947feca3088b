//! Plugins in numbers, for `GET /metrics`:
//! looked at when somebody asks, of what is bound and of what is in memory.

use std::collections::BTreeMap;

use kith_runtime::{BreakerState, DURATIONS_US, Hook, Measured, Outcome};

use super::after::AfterCommit;
use super::rollout::Rollout;
use crate::telemetry::{Classes, Families, Row, number};

/// One hook of one version that is bound or loaded.
struct Seen {
    plugin: String,
    version: String,
    hook: Hook,
    measured: Measured,
    breaker: BreakerState,
}

impl Seen {
    fn labels(&self) -> [(&'static str, String); 3] {
        [
            ("plugin", self.plugin.clone()),
            ("version", self.version.clone()),
            ("hook", self.hook.as_str().to_owned()),
        ]
    }
}

/// Everything about plugins.
pub fn measure(rollout: &Rollout, after: &AfterCommit, families: &mut Families) {
    families.gauge(
        "kith_generation",
        "The generation of plugins in force.",
        number(rollout.generation()),
    );
    if let Some(among) = rollout.among() {
        let standing = among.standing();
        let lag = standing.in_force.saturating_sub(standing.state.serving);
        let help = "Generations this node is behind the one in force.";
        families.gauge("kith_generation_lag", help, number(lag));
        let help = "The newest generation this node has loaded.";
        families.gauge("kith_generation_ready", help, number(standing.state.ready));
        let help = "Whether this node may judge by the generation it serves.";
        let judges = u64::from(standing.lapsed.is_none());
        families.gauge("kith_generation_judges", help, number(judges));
    }
    memory(rollout, families);
    let seen = seen(rollout);
    calls(&seen, families);
    instances(rollout, families);
    after.measure(families);
}

/// What was called, of everything that is loaded; versions nobody called are left out. During a change one version may
/// be loaded under two configurations, and is one here.
fn seen(rollout: &Rollout) -> Vec<Seen> {
    let mut seen: BTreeMap<(String, String, Hook), Seen> = BTreeMap::new();
    for version in rollout.versions() {
        let inspection = version.inspection();
        for &hook in &inspection.hooks {
            let measured = version.measured(hook);
            let breaker = version.breaker(hook);
            let called = measured.calls() + measured.over_budget;
            if called == 0 && breaker == BreakerState::Closed {
                continue;
            }
            let (plugin, number) = (inspection.name.clone(), inspection.version.clone());
            let key = (plugin.clone(), number.clone(), hook);
            if let Some(same) = seen.get_mut(&key) {
                same.measured.add(&measured);
                continue;
            }
            let first = Seen {
                plugin,
                version: number,
                hook,
                measured,
                breaker,
            };
            seen.insert(key, first);
        }
    }
    seen.into_values().collect()
}

fn calls(seen: &[Seen], families: &mut Families) {
    let mut rows = Vec::new();
    for seen in seen {
        let [plugin, version, hook] = seen.labels();
        for (outcome, count) in Outcome::ALL.iter().zip(seen.measured.outcomes) {
            if count > 0 {
                let outcome = ("outcome", outcome.as_str().to_owned());
                let labels = [plugin.clone(), version.clone(), hook.clone(), outcome];
                rows.push(Row::new(labels, number(count)));
            }
        }
    }
    families.counters("kith_hook_calls_total", "Calls of hooks, by outcome.", rows);
    let histograms = seen.iter().map(durations).collect();
    let help = "How long calls of hooks took, second tries included.";
    families.histograms("kith_hook_seconds", help, histograms);
    let on_the_path = seen.iter().filter(|seen| !seen.hook.is_after_commit());
    let over = on_the_path.map(|seen| Row::new(seen.labels(), number(seen.measured.over_budget)));
    families.counters(
        "kith_hook_over_budget_total",
        "Calls that took longer than their soft budget, of fallbacks and shadows too.",
        over.collect(),
    );
    let state = |seen: &Seen| {
        let state = match seen.breaker {
            BreakerState::Closed => 0.0,
            BreakerState::HalfOpen => 1.0,
            BreakerState::Open => 2.0,
        };
        Row::new(seen.labels(), state)
    };
    families.gauges(
        "kith_hook_breaker",
        "0 closed, 1 half open, 2 open.",
        seen.iter().map(state).collect(),
    );
}

fn durations(seen: &Seen) -> Classes<'static, 3> {
    let measured = &seen.measured;
    let (classes, above) = measured.durations.split_at(DURATIONS_US.len());
    let bound = |us: &u64| number(*us) / 1e6;
    Classes {
        labels: seen.labels(),
        classes: DURATIONS_US
            .iter()
            .map(bound)
            .zip(classes.iter().copied())
            .collect(),
        above: above.iter().sum(),
        sum: number(measured.micros) / 1e6,
    }
}

fn memory(rollout: &Rollout, families: &mut Families) {
    let usage = rollout.usage();
    let rows = [
        (
            "kith_plugins_resident",
            "Versions of plugins whose code is in memory.",
            usage.resident_versions as u64,
        ),
        (
            "kith_plugins_instances",
            "Instances of plugins.",
            u64::from(usage.instances),
        ),
        (
            "kith_plugins_memory_bytes",
            "What instances take of their memory budget.",
            usage.memory_bytes as u64,
        ),
        (
            "kith_plugins_memory_budget_bytes",
            "The memory budget of all instances.",
            usage.memory_budget_bytes as u64,
        ),
    ];
    for (name, help, value) in rows {
        families.gauge(name, help, number(value));
    }
    families.counter(
        "kith_plugins_compiled_total",
        "Components compiled, not taken from the code cache.",
        usage.compiled,
    );
}

/// Pools, of the plugins that have instances.
fn instances(rollout: &Rollout, families: &mut Families) {
    let mut pools: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let mut lost = BTreeMap::new();
    for version in rollout.versions() {
        let stats = version.stats();
        let name = &version.inspection().name;
        if stats.live_instances > 0 {
            let pool = pools.entry(name.clone()).or_default();
            pool.0 += stats.live_instances;
            pool.1 += stats.idle_instances;
        }
        if stats.retired > 0 {
            *lost.entry(name.clone()).or_insert(0) += stats.retired;
        }
    }
    let mut rows = Vec::new();
    for (plugin, (live, idle)) in pools {
        let row = |state: &str, count: u32| {
            let labels = [("plugin", plugin.clone()), ("state", state.to_owned())];
            Row::new(labels, f64::from(count))
        };
        rows.push(row("idle", idle));
        rows.push(row("lent", live.saturating_sub(idle)));
    }
    families.gauges("kith_plugin_instances", "Instances in pools.", rows);
    let retired = |(plugin, count)| Row::new([("plugin", plugin)], number(count));
    families.counters(
        "kith_plugin_instances_retired_total",
        "Instances ended because of what they did.",
        lost.into_iter().map(retired).collect(),
    );
}
