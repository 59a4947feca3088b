//! What the runtime is told: sizes in bytes, times as `Duration`. Nothing here reloads; a change needs a new
//! runtime.

use std::path::PathBuf;
use std::time::Duration;

/// Largest component file taken where nobody says otherwise, bytes.
pub const MAX_COMPONENT_BYTES: usize = 32 << 20;

/// Limits and places of a runtime.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where compiled and baked components are kept, mode 0600. Made when missing. It holds configurations,
    /// secrets included.
    pub cache_dir: PathBuf,
    /// Largest component file taken, bytes.
    pub max_component_bytes: usize,
    /// Most linear memory of an instance that serves, bytes.
    pub memory_cap_bytes: usize,
    /// Most linear memory of an instance that runs `preparation.prepare`, bytes.
    pub preparation_cap_bytes: usize,
    /// A call on a message is stopped after this long by the wall clock.
    pub hard_stop: Duration,
    /// A call on a message should take less; what takes more is counted. A binding may say otherwise.
    pub soft_budget: Duration,
    /// A call after the commit is stopped after this long by the wall clock.
    pub after_stop: Duration,
    /// Most calls after the commit at once, of all versions together.
    pub after_calls: u32,
    /// `describe`, `prepare`, `configure` and `self-test` are each stopped after this long.
    pub preparation_stop: Duration,
    /// How often the clock behind the stops ticks: they are late by at most this much.
    pub tick: Duration,
    /// Most bytes a guest may hand to the host in one call: arguments of abilities and its answer.
    pub max_output_bytes: usize,
    /// Most memory of all instances together, bytes: what each has grown by, and a fixed part for itself. What is idle
    /// gives way to what is called.
    pub memory_budget_bytes: usize,
    /// Most instances alive at once, of all versions together.
    pub total_instances: u32,
    /// Most instances of one version.
    pub instances_per_version: u32,
    /// Instances made before a version serves.
    pub warm_instances: u32,
    /// Configured instances kept of a version that cannot be baked, while it is called.
    pub unbaked_instances: u32,
    /// How often idle instances are let go.
    pub idle_sweep: Duration,
    /// A version that was not called for this long leaves the memory, code and instances; the next call loads it from
    /// the code cache.
    pub idle_after: Duration,
    /// Most versions whose code is in memory: each takes about three of the process's maps. Those not called longest
    /// leave first.
    pub resident_versions: u32,
    /// What happens here counts for nothing: no breaker opens.
    pub trial: bool,
}

impl Settings {
    /// The defaults, with their cache in a folder.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            max_component_bytes: MAX_COMPONENT_BYTES,
            memory_cap_bytes: 64 << 20,
            preparation_cap_bytes: 512 << 20,
            hard_stop: Duration::from_millis(100),
            soft_budget: Duration::from_millis(2),
            after_stop: Duration::from_secs(30),
            after_calls: 16,
            preparation_stop: Duration::from_secs(30),
            tick: Duration::from_millis(5),
            max_output_bytes: 4 << 20,
            memory_budget_bytes: 1 << 30,
            total_instances: 512,
            instances_per_version: 64,
            warm_instances: 2,
            unbaked_instances: 4,
            idle_sweep: Duration::from_secs(10),
            idle_after: Duration::from_secs(300),
            resident_versions: 1024,
            trial: false,
        }
    }

    /// The same limits for asking again what was asked before: a few instances, and nothing counts.
    pub fn for_trial(&self) -> Self {
        Self {
            total_instances: 4,
            instances_per_version: 2,
            warm_instances: 0,
            unbaked_instances: 1,
            after_calls: 1,
            trial: true,
            ..self.clone()
        }
    }

    /// A duration in ticks of the epoch clock, rounded up, and one more because a tick may be about to come.
    pub(crate) fn ticks(&self, time: Duration) -> u64 {
        let tick = self.tick.as_nanos().max(1);
        u64::try_from(time.as_nanos().div_ceil(tick)).unwrap_or(u64::MAX / 4) + 1
    }
}
