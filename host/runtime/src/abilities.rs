//! What a guest is given: `log`, `clock`, `config`, `kv-snapshot`; and what is kept beside each instance. Nothing here reads the host's
//! own clock or anything outside the instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, ResourceLimiter};

use crate::bindings::{Everything, clock, config, kv_snapshot, log, types};
use crate::budget::Growth;
use crate::lines::Lines;
use crate::values::{Reads, Values};

/// Longest line of a guest's log, bytes; the rest is cut off.
const LOG_LINE_BYTES: usize = 1024;
/// Lines a plugin may write at once, and how many it gets back each second.
const LOG_BURST: u32 = 100;
const LOG_PER_SECOND: u32 = 20;

/// A linker with everything tier T0 has, and the refusal of everything else.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    Everything::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut GuestState| state)?;
    crate::after::link_denied(&mut linker)?;
    Ok(linker)
}

/// Interfaces of `kith:plugin` a component may import without being granted anything.
pub(crate) const OFFERED: [&str; 5] = ["log", "clock", "config", "kv-snapshot", "types"];

/// What the host keeps beside one instance.
pub(crate) struct GuestState {
    pub limits: MemoryLimits,
    /// The message's time, milliseconds since 1970 UTC; 0 outside a call on a message.
    pub now_ms: u64,
    config: Arc<str>,
    log: Arc<GuestLog>,
    /// What the call it is in may read.
    pub reads: Reads,
    /// What the guest last logged as an error: a panic's text comes this way.
    pub last_error: Option<String>,
}

impl GuestState {
    pub fn new(
        config: Arc<str>,
        log: Arc<GuestLog>,
        values: Arc<dyn Values>,
        memory_cap: usize,
    ) -> Self {
        let limits = MemoryLimits {
            cap: memory_cap,
            used: 0,
            growth: None,
            refused: None,
        };
        Self {
            limits,
            now_ms: 0,
            config,
            log,
            reads: Reads::new(values),
            last_error: None,
        }
    }
}

impl GuestState {
    /// Notes how much memory the instance has after a call.
    pub fn note_memory(&self) {
        let used = self.limits.used as u64;
        self.log.largest_memory.fetch_max(used, Ordering::Relaxed);
    }
}

/// The memory cap of an instance: all its memories together.
pub(crate) struct MemoryLimits {
    pub cap: usize,
    pub used: usize,
    /// What it grows by once it is made, of the budget of all.
    pub growth: Option<Growth>,
    /// It asked for more than it may have.
    pub refused: Option<Refused>,
}

/// Why an instance got no more memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its own cap.
    Cap,
    /// The budget of all is used up; not its fault.
    Budget,
}

impl ResourceLimiter for MemoryLimits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let used = self.used.saturating_add(more);
        if used > self.cap {
            self.refused = Some(Refused::Cap);
            return Ok(false);
        }
        if let Some(growth) = &mut self.growth
            && !growth.grow(more)
        {
            self.refused = Some(Refused::Budget);
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= 20_000)
    }
}

/// A version's log, whose lines go to the host's own, bounded in length and rate; and what else its instances tell of
/// themselves.
pub(crate) struct GuestLog {
    plugin: String,
    version: String,
    lines: Lines,
    budget: Mutex<(u32, Instant)>,
    written: AtomicU64,
    lost: AtomicU64,
    /// Most linear memory an instance had behind a call, bytes.
    pub largest_memory: AtomicU64,
}

impl GuestLog {
    pub fn new(plugin: &str, version: &str, lines: Lines) -> Self {
        Self {
            plugin: plugin.to_owned(),
            version: version.to_owned(),
            lines,
            budget: Mutex::new((LOG_BURST, Instant::now())),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            largest_memory: AtomicU64::new(0),
        }
    }

    /// Lines written and lines lost to the limits.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.written.load(Ordering::Relaxed),
            self.lost.load(Ordering::Relaxed),
        )
    }

    fn write(&self, level: log::Level, line: &str) {
        if !self.take() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.written.fetch_add(1, Ordering::Relaxed);
        let plugin = self.plugin.as_str();
        let level = match level {
            log::Level::Debug => {
                tracing::debug!(target: "plugin", plugin, "{line}");
                "debug"
            }
            log::Level::Info => {
                tracing::info!(target: "plugin", plugin, "{line}");
                "info"
            }
            log::Level::Warn => {
                tracing::warn!(target: "plugin", plugin, "{line}");
                "warn"
            }
            log::Level::Error => {
                tracing::error!(target: "plugin", plugin, "{line}");
                "error"
            }
        };
        self.lines.write(plugin, &self.version, level, line);
    }

    fn take(&self) -> bool {
        let mut budget = self.budget.lock();
        let whole = budget.1.elapsed().as_secs();
        if whole > 0 {
            let more = LOG_PER_SECOND.saturating_mul(u32::try_from(whole).unwrap_or(u32::MAX));
            budget.0 = budget.0.saturating_add(more).min(LOG_BURST);
            budget.1 += Duration::from_secs(whole);
        }
        let granted = budget.0 > 0;
        budget.0 = budget.0.saturating_sub(1);
        granted
    }
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(LOG_LINE_BYTES)]
}

impl log::Host for GuestState {
    fn write(&mut self, level: log::Level, text: String) {
        let line = shortened(&text);
        if level == log::Level::Error {
            self.last_error = Some(line.to_owned());
        }
        self.log.write(level, line);
    }
}

impl kv_snapshot::Host for GuestState {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, kv_snapshot::Error> {
        self.reads.get(&key)
    }
}

impl types::Host for GuestState {}

impl clock::Host for GuestState {
    fn now_ms(&mut self) -> u64 {
        self.now_ms
    }
}

impl config::Host for GuestState {
    fn json(&mut self) -> String {
        self.config.as_ref().to_owned()
    }
}
