//! From a component file to a version that may serve: inspect, configure, bake, compile, warm. Everything here may
//! take long and blocks; nothing here is called on a message's path.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::abilities::{self, GuestLog, GuestState};
use crate::after::{AfterEngine, AfterPart, Ground};
use crate::bake::{self, Baked};
use crate::bindings::preparation;
use crate::breaker::{Breaker, HealthEvent};
use crate::code_cache::{CodeCache, hex};
use crate::error::LoadError;
use crate::exported::{check_types, commands_of};
use crate::hook::Hook;
use crate::inspect::{self, Inspection, Shape};
use crate::instance::{Exports, Factory, classify};
use crate::keeper::Keeper;
use crate::lines::{LineSink, Lines};
use crate::pool::{Pool, Slots};
use crate::settings::Settings;
use crate::values::{NoValues, Values};
use crate::version::Version;
use crate::{configuration, engine};

/// Counted up when what is kept in the cache changes its meaning.
const CACHE_FORMAT: &str = "1";
/// Changes of breakers kept for a slow listener.
const HEALTH_EVENTS: usize = 256;

/// The engine and what is around it. Cheap to clone; the engine ends with the last version.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    settings: Arc<Settings>,
    linker: Linker<GuestState>,
    cache: CodeCache,
    /// Started with the first version that needs it.
    after: Mutex<Option<Arc<AfterEngine>>>,
    slots: Arc<Slots>,
    keeper: Arc<Keeper>,
    health: broadcast::Sender<HealthEvent>,
    values: Arc<dyn Values>,
    lines: Lines,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.keeper.stop();
    }
}

/// What a component is prepared with.
struct Prepared {
    inspection: Inspection,
    config: Arc<str>,
    key: String,
}

impl Runtime {
    /// A runtime whose guests find nothing in `kv-snapshot`.
    pub fn new(settings: Settings) -> Result<Self, LoadError> {
        Self::with_values(settings, Arc::new(NoValues))
    }

    /// A runtime whose guests read what they have written.
    pub fn with_values(settings: Settings, values: Arc<dyn Values>) -> Result<Self, LoadError> {
        let engine = engine::start(&settings, settings.total_instances)?;
        let linker =
            abilities::linker(&engine).map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        let cache = CodeCache::open(&settings.cache_dir)?;
        let keeper = Keeper::start(settings.idle_sweep)?;
        let (health, _) = broadcast::channel(HEALTH_EVENTS);
        let slots = Slots::new(settings.total_instances);
        let settings = Arc::new(settings);
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                settings,
                linker,
                cache,
                after: Mutex::default(),
                slots,
                keeper,
                health,
                values,
                lines: Lines::default(),
            }),
        })
    }

    /// Has a sink take every line that guests log from now on, besides the host's own log.
    pub fn log_to(&self, sink: Arc<dyn LineSink>) {
        self.inner.lines.set(sink);
    }

    /// Every change of a breaker from now on.
    pub fn health(&self) -> broadcast::Receiver<HealthEvent> {
        self.inner.health.subscribe()
    }

    /// How many components were compiled, not taken from the cache, since the start.
    pub fn compiled(&self) -> u64 {
        self.inner.cache.compiled()
    }

    /// What a component is; a sentence where it is none this host can take.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, LoadError> {
        self.look(bytes).map(|(inspection, _)| inspection)
    }

    /// Loads a component under a configuration, and bakes it where that can be. Blocks, up to seconds.
    pub fn prepare(&self, bytes: &[u8], config: &Value) -> Result<Arc<Version>, LoadError> {
        let (inspection, plain) = self.look(bytes)?;
        let prepared = self.resolve(inspection, config)?;
        let file = format!("{}.baked.wasm", prepared.key);
        if let Some(baked) = self.inner.cache.read(&file)
            && let Ok(version) = self.load_baked(&prepared, &baked)
        {
            return Ok(version);
        }
        let configuration: Arc<[u8]> = self.run_prepare(&plain, &prepared)?.into();
        let not_baked = match self.bake(bytes, &prepared, &configuration)? {
            Baked::Component(baked) => {
                self.inner.cache.write(&file, &baked)?;
                match self.load_baked(&prepared, &baked) {
                    Ok(version) => return Ok(version),
                    Err(error) => format!("the baked component does not serve: {error}"),
                }
            }
            Baked::Not(why) => why,
        };
        tracing::info!(
            plugin = prepared.inspection.name,
            not_baked,
            "a plugin is configured in every instance"
        );
        let mut factory = self.factory(&plain, &prepared)?;
        factory.configuration = Some(configuration.clone());
        let mut first = factory
            .make_bare(self.inner.settings.memory_cap_bytes)
            .map_err(LoadError::Configure)?;
        bake::set_up(&mut first, &factory, &configuration)?;
        drop(first);
        let name = self.binary_key(&prepared.inspection.digest, "plain");
        self.version(prepared, factory, Some(not_baked), (&name, bytes))
    }

    /// Loads what another node baked of this component under this configuration, without configuring anything.
    pub fn prepare_from_baked(
        &self,
        bytes: &[u8],
        config: &Value,
        baked: &[u8],
    ) -> Result<Arc<Version>, LoadError> {
        let (inspection, _) = self.look(bytes)?;
        let prepared = self.resolve(inspection, config)?;
        let version = self.load_baked(&prepared, baked)?;
        self.inner
            .cache
            .write(&format!("{}.baked.wasm", prepared.key), baked)?;
        Ok(version)
    }

    /// Removes every file in the cache that belongs to none of these versions: configurations are in them.
    pub fn sweep_cache(&self, keep: &[Arc<Version>]) -> Result<(), LoadError> {
        let binaries: Vec<&str> = keep
            .iter()
            .map(|version| binary_name(&version.inspection.digest))
            .collect();
        let keys = keep.iter().map(|version| version.key.as_str());
        let keep: Vec<_> = keys.chain(binaries).collect();
        self.inner.cache.sweep(&keep, true).map(drop)
    }

    /// The bytes in the cache that belong to none of these loaded versions and to no binary of these digests; with
    /// `remove` they go.
    pub fn unused_code(
        &self,
        loaded: &[Arc<Version>],
        digests: &[&str],
        remove: bool,
    ) -> Result<u64, LoadError> {
        let own = loaded.iter().flat_map(|version| {
            [
                version.key.as_str(),
                binary_name(&version.inspection.digest),
            ]
        });
        let known = digests.iter().map(|digest| binary_name(digest));
        let keep: Vec<_> = own.chain(known).collect();
        self.inner.cache.sweep(&keep, remove)
    }

    fn look(&self, bytes: &[u8]) -> Result<(Inspection, Component), LoadError> {
        inspect::check_bytes(bytes, self.inner.settings.max_component_bytes)?;
        let digest = inspect::digest(bytes);
        let component = self.inner.cache.component(
            &self.inner.engine,
            &self.binary_key(&digest, "plain"),
            bytes,
        )?;
        let shape: Shape = inspect::shape(&self.inner.engine, &component)?;
        let unknown: Arc<str> = "{}".into();
        let factory = self.make_factory(
            &component,
            shape.wasi,
            unknown,
            Arc::new(GuestLog::new("unknown", "", Lines::default())),
        )?;
        let settings = &self.inner.settings;
        let mut instance = factory
            .make_bare(settings.memory_cap_bytes)
            .map_err(LoadError::Describe)?;
        check_types(&mut instance, &factory.exports)?;
        let said = instance
            .describe(&factory.exports, settings)
            .map_err(LoadError::Describe)?;
        Ok((inspect::inspection(bytes, shape, said)?, component))
    }

    /// The configuration complete, and the name of what comes out.
    fn resolve(&self, inspection: Inspection, config: &Value) -> Result<Prepared, LoadError> {
        let complete = configuration::complete(&inspection.config_schema, config)
            .map_err(LoadError::BadConfiguration)?;
        let config: Arc<str> = complete.to_string().into();
        let mut hash = Sha256::new();
        for part in [
            CACHE_FORMAT,
            &inspection.digest,
            &config,
            &self.engine_key(),
        ] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let key = hex(&hash.finalize());
        Ok(Prepared {
            inspection,
            config,
            key,
        })
    }

    fn run_prepare(&self, plain: &Component, prepared: &Prepared) -> Result<Vec<u8>, LoadError> {
        let factory = self.factory(plain, prepared)?;
        let Some(exports) = &factory.exports.preparation else {
            return Ok(prepared.config.as_bytes().to_vec());
        };
        let settings = &self.inner.settings;
        let mut instance = factory
            .make_bare(settings.preparation_cap_bytes)
            .map_err(LoadError::Prepare)?;
        // What is prepared may be larger than any answer on a message's path.
        instance
            .store
            .set_hostcall_fuel(settings.preparation_cap_bytes);
        instance.arm(settings.ticks(settings.preparation_stop), 0);
        let guest: wasmtime::Result<preparation::Guest> =
            exports.load(&mut instance.store, &instance.component);
        let answer = guest
            .and_then(|guest| guest.call_prepare(&mut instance.store, prepared.config.as_bytes()));
        let answer = answer
            .map_err(|error| LoadError::Prepare(classify(&error, instance.store.data_mut())))?;
        answer.map_err(LoadError::ConfigurationRefused)
    }

    fn bake(
        &self,
        bytes: &[u8],
        prepared: &Prepared,
        configuration: &[u8],
    ) -> Result<Baked, LoadError> {
        let instrumented = match bake::instrument(bytes) {
            Ok(instrumented) => instrumented,
            Err(why) => return Ok(Baked::Not(why)),
        };
        let name = self.binary_key(&prepared.inspection.digest, "instrumented");
        let component = match self
            .inner
            .cache
            .component(&self.inner.engine, &name, &instrumented)
        {
            Ok(component) => component,
            Err(error) => return Ok(Baked::Not(error.to_string())),
        };
        bake::bake(bytes, &self.factory(&component, prepared)?, configuration)
    }

    fn load_baked(&self, prepared: &Prepared, baked: &[u8]) -> Result<Arc<Version>, LoadError> {
        let component = self
            .inner
            .cache
            .component(&self.inner.engine, &prepared.key, baked)?;
        let factory = self.factory(&component, prepared)?;
        let mut instance = factory
            .make_bare(self.inner.settings.memory_cap_bytes)
            .map_err(LoadError::SelfTest)?;
        bake::test(&mut instance, &factory)?;
        drop(instance);
        let prepared = Prepared {
            inspection: prepared.inspection.clone(),
            config: prepared.config.clone(),
            key: prepared.key.clone(),
        };
        let name = prepared.key.clone();
        self.version(prepared, factory, None, (&name, baked))
    }

    fn factory(&self, component: &Component, prepared: &Prepared) -> Result<Factory, LoadError> {
        let wasi = imports_wasi(component, &self.inner.engine);
        let Inspection { name, version, .. } = &prepared.inspection;
        let log = Arc::new(GuestLog::new(name, version, self.inner.lines.clone()));
        self.make_factory(component, wasi, prepared.config.clone(), log)
    }

    fn make_factory(
        &self,
        component: &Component,
        wasi: bool,
        config: Arc<str>,
        log: Arc<GuestLog>,
    ) -> Result<Factory, LoadError> {
        let shape = |error: wasmtime::Error| LoadError::WrongShape(format!("{error:#}"));
        let mut linker = self.inner.linker.clone();
        if wasi {
            // A toolchain's WASI leads to nothing: calling it traps.
            linker
                .define_unknown_imports_as_traps(component)
                .map_err(shape)?;
        }
        let pre = linker.instantiate_pre(component).map_err(shape)?;
        let exports = Exports::probe(&pre).map_err(shape)?;
        let (room, wake) = (self.inner.keeper.clone(), self.inner.keeper.clone());
        Ok(Factory {
            pre,
            exports,
            settings: self.inner.settings.clone(),
            slots: self.inner.slots.clone(),
            make_room: Arc::new(move || room.empty_pools()),
            config,
            log,
            values: self.inner.values.clone(),
            wake_keeper: Arc::new(move || wake.wake()),
            configuration: None,
        })
    }

    fn version(
        &self,
        prepared: Prepared,
        factory: Factory,
        not_baked: Option<String>,
        (name, wasm): (&str, &[u8]),
    ) -> Result<Arc<Version>, LoadError> {
        let settings = &self.inner.settings;
        let on_path = prepared
            .inspection
            .hooks
            .iter()
            .any(|hook| !hook.is_after_commit());
        let (limit, warm) = match not_baked {
            _ if !on_path => (1, 0),
            None => (settings.instances_per_version, settings.warm_instances),
            Some(_) => (settings.unbaked_instances, settings.unbaked_instances),
        };
        let after = self.after_part(&prepared.inspection, &factory, name, wasm)?;
        let Prepared {
            inspection, key, ..
        } = prepared;
        let (plugin, digest): (Arc<str>, Arc<str>) = (
            inspection.name.as_str().into(),
            inspection.digest.as_str().into(),
        );
        let breaker = |hook| {
            Breaker::new(
                hook,
                plugin.clone(),
                digest.clone(),
                self.inner.health.clone(),
            )
        };
        let baked = not_baked
            .is_none()
            .then(|| settings.cache_dir.join(format!("{key}.baked.wasm")));
        let breakers = Hook::ALL.map(breaker);
        let commands = commands_of(&factory)?;
        let pool = Pool::new(factory, limit, warm);
        pool.fill().map_err(LoadError::Configure)?;
        let version = Arc::new(Version {
            inspection,
            key,
            not_baked,
            baked,
            pool,
            after,
            breakers,
            commands,
            counts: Default::default(),
        });
        self.inner.keeper.watch(&version);
        Ok(version)
    }

    /// What is called after the commit, where there is such a hook: the same image in the engine of that tier.
    fn after_part(
        &self,
        inspection: &Inspection,
        factory: &Factory,
        name: &str,
        wasm: &[u8],
    ) -> Result<Option<AfterPart>, LoadError> {
        if !inspection.hooks.iter().any(|hook| hook.is_after_commit()) {
            return Ok(None);
        }
        let engine = {
            let mut started = self.inner.after.lock();
            match &*started {
                Some(engine) => engine.clone(),
                None => started
                    .insert(AfterEngine::start(&self.inner.settings)?)
                    .clone(),
            }
        };
        let component = self.inner.cache.component(&engine.engine, name, wasm)?;
        let ground = Ground {
            settings: factory.settings.clone(),
            config: factory.config.clone(),
            log: factory.log.clone(),
            values: factory.values.clone(),
            configuration: factory.configuration.clone(),
        };
        let wasi = imports_wasi(&component, &engine.engine);
        AfterPart::new(engine, &component, wasi, ground).map(Some)
    }

    fn binary_key(&self, digest: &str, what: &str) -> String {
        format!(
            "{}-{}-{what}",
            binary_name(digest),
            &self.engine_key()[..16]
        )
    }

    fn engine_key(&self) -> String {
        use std::hash::Hash as _;
        let mut hasher = StableHasher(Sha256::new());
        self.inner
            .engine
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        hex(&hasher.0.finalize())
    }
}

/// It imports interfaces of WASI, which lead to nothing.
fn imports_wasi(component: &Component, engine: &Engine) -> bool {
    let ty = component.component_type();
    ty.imports(engine)
        .any(|(name, _)| name.starts_with("wasi:"))
}

/// The part of a digest that names files.
fn binary_name(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// A hasher whose result does not depend on the process.
struct StableHasher(Sha256);

impl std::hash::Hasher for StableHasher {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}
