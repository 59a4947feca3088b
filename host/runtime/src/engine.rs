//! The wasmtime engine as measured to be fast here: pooled instances, copy-on-write memory, epoch stops. It owns the
//! ticking thread, which ends with the last thing that uses the engine.

use std::borrow::Cow;
use std::collections::HashMap;

use parking_lot::Mutex;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::LoadError;
use crate::settings::Settings;

/// Kept resident of a memory or table when its slot is given back: cheaper than faulting it in again.
const KEEP_RESIDENT: usize = 64 << 10;
/// Core instances, tables and memories one component may need (a Python one: 24 and more core instances).
const CORE_INSTANCES: u32 = 80;
const TABLES: u32 = 16;
const MEMORIES: u32 = 4;
/// Room above the cap for what reading a snapshot needs.
const SNAPSHOT_ROOM: usize = 1 << 20;
/// Compiled functions remembered between bakes of one binary, bytes.
const INCREMENTAL_CACHE_BYTES: usize = 64 << 20;

/// An engine for so many instances; all compile alike, so that what one compiled serves in each.
pub(crate) fn start(settings: &Settings, instances: u32) -> Result<Engine, LoadError> {
    let broken = |error: wasmtime::Error| LoadError::Engine(format!("{error:#}"));
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.memory_init_cow(true);
    let cap = settings
        .memory_cap_bytes
        .max(settings.preparation_cap_bytes);
    config.memory_guaranteed_dense_image_size(cap as u64);
    config.wasm_backtrace_max_frames(None);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances, cap)));
    config
        .enable_incremental_compilation(std::sync::Arc::new(FunctionCache::default()))
        .map_err(broken)?;
    let engine = Engine::new(&config).map_err(broken)?;
    let (weak, tick) = (engine.weak(), settings.tick);
    let ticker = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(tick);
        }
    };
    let spawned = std::thread::Builder::new()
        .name("plugin-epoch".to_owned())
        .spawn(ticker);
    spawned.map_err(LoadError::io("the epoch thread could not start"))?;
    Ok(engine)
}

fn pool(instances: u32, cap: usize) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .total_memories(instances.saturating_mul(MEMORIES))
        .total_tables(instances.saturating_mul(TABLES))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memory_size(cap + SNAPSHOT_ROOM)
        .table_elements(20_000)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20)
        .max_unused_warm_slots(instances)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Compiled functions by their key: a binary baked anew compiles only what changed.
#[derive(Debug, Default)]
struct FunctionCache {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    functions: HashMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
}

impl wasmtime::CacheStore for FunctionCache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.held
            .lock()
            .functions
            .get(key)
            .map(|code| Cow::Owned(code.clone()))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let mut held = self.held.lock();
        if held.bytes + value.len() > INCREMENTAL_CACHE_BYTES {
            // Full: begin again. What is in use comes back with the next bake.
            *held = Held::default();
        }
        held.bytes += value.len();
        held.functions.insert(key.to_vec(), value);
        true
    }
}
