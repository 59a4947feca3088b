//! From a component file to a version that may serve: inspect, configure, bake, compile, warm. Everything here may
//! take long and blocks; nothing here is called on a message's path.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::abilities::GuestLog;
use crate::after::AfterPart;
use crate::bake::{self, Baked};
use crate::bindings::preparation;
use crate::breaker::{Breaker, HealthEvent};
use crate::card::{self, Card};
use crate::code_cache::hex;
use crate::error::LoadError;
use crate::exported::{check_types, commands_of};
use crate::hook::Hook;
use crate::inspect::{self, Inspection, Looked, Shape};
use crate::instance::{Factory, classify};
use crate::lines::{LineSink, Lines};
use crate::loader::{Loader, Recipe};
use crate::pool::Pool;
use crate::residence::Residence;
use crate::settings::Settings;
use crate::values::{NoValues, Values};
use crate::version::Version;
use crate::{configuration, engine, when};

/// Changes of breakers kept for a slow listener.
const HEALTH_EVENTS: usize = 256;

/// The engine and what is around it. Cheap to clone; the engine ends with the last version.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    loader: Arc<Loader>,
    /// Of the engine that compiles: names in the cache hold it.
    engine_key: String,
    lines: Lines,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.loader.keeper.stop();
    }
}

/// What a component is prepared with.
struct Prepared {
    inspection: Inspection,
    config: Arc<str>,
    key: String,
    card: String,
}

/// What all versions of a runtime take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Versions whose code is in memory.
    pub resident_versions: usize,
    pub instances: u32,
    /// Bytes of the memory budget.
    pub memory_bytes: usize,
    pub memory_budget_bytes: usize,
    /// Components compiled, not taken from the cache, since the start.
    pub compiled: u64,
    /// Components configured and baked here, not fetched from another node, since the start.
    pub baked: u64,
}

impl Runtime {
    /// A runtime whose guests find nothing in `kv-snapshot`.
    pub fn new(settings: Settings) -> Result<Self, LoadError> {
        Self::with_values(settings, Arc::new(NoValues))
    }

    /// A runtime whose guests read what they have written.
    pub fn with_values(settings: Settings, values: Arc<dyn Values>) -> Result<Self, LoadError> {
        let engine = engine::start(&settings, settings.total_instances)?;
        let (health, _) = broadcast::channel(HEALTH_EVENTS);
        let engine_key = engine_key(&engine);
        let loader = Loader::new(engine, Arc::new(settings), values, health)?;
        let inner = Arc::new(Inner {
            loader,
            engine_key,
            lines: Lines::default(),
        });
        Ok(Self { inner })
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.inner.loader.settings
    }

    /// Has a sink take every line that guests log from now on, besides the host's own log.
    pub fn log_to(&self, sink: Arc<dyn LineSink>) {
        self.inner.lines.set(sink);
    }

    /// Every change of a breaker from now on.
    pub fn health(&self) -> broadcast::Receiver<HealthEvent> {
        self.inner.loader.health.subscribe()
    }

    /// How many components were compiled, not taken from the cache, since the start.
    pub fn compiled(&self) -> u64 {
        self.inner.loader.cache.compiled()
    }

    /// What all versions take now.
    pub fn usage(&self) -> Usage {
        let loader = &self.inner.loader;
        let (instances, memory_bytes) = loader.budget.used();
        Usage {
            resident_versions: loader.keeper.residents(),
            instances,
            memory_bytes,
            memory_budget_bytes: loader.settings.memory_budget_bytes,
            compiled: loader.cache.compiled(),
            baked: loader.cache.baked(),
        }
    }

    /// What a component is; a sentence where it is none this host can take.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, LoadError> {
        let looked = self.look(bytes)?;
        inspect::check_wishes(&looked.wished, &looked.inspection.hooks)?;
        Ok(looked.inspection)
    }

    /// Loads a component under a configuration, and bakes it where that can be. Blocks, up to seconds.
    pub fn prepare(&self, bytes: &[u8], config: &Value) -> Result<Arc<Version>, LoadError> {
        let cache = &self.inner.loader.cache;
        let _unswept = cache.unswept();
        let Looked {
            inspection, plain, ..
        } = self.look(bytes)?;
        let prepared = self.resolve(inspection, config)?;
        let file = baked_file(&prepared.key);
        if let Some(baked) = cache.read(&file)
            && let Ok(version) = self.load_baked(&prepared, &baked)
        {
            return Ok(version);
        }
        let configuration: Arc<[u8]> = self.run_prepare(&plain, &prepared)?.into();
        let not_baked = match self.bake(bytes, &prepared, &configuration)? {
            Baked::Component(baked) => {
                cache.write(&file, &baked)?;
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
        let settings = &self.inner.loader.settings;
        let mut first = factory
            .make_bare(settings.memory_cap_bytes)
            .map_err(LoadError::Configure)?;
        bake::set_up(&mut first, &factory, &configuration)?;
        drop(first);
        let binary = binary_name(&prepared.inspection.digest);
        let component = format!("{binary}.plain.wasm");
        cache.write(&component, bytes)?;
        let kept = format!("{}.configuration", prepared.key);
        cache.write(&kept, &configuration)?;
        let files = Files {
            code: self.binary_key(&prepared.inspection.digest, "plain"),
            component,
            configuration: Some(kept),
        };
        self.version(prepared, factory, files, Some(not_baked))
    }

    /// A version that was prepared here before under this configuration, without loading anything: it comes into memory
    /// with its first call. `None` where it was not, by this host and for this engine.
    pub fn recall(&self, digest: &str, config: &Value) -> Option<Arc<Version>> {
        let loader = &self.inner.loader;
        let name = card::name(digest, config, &self.inner.engine_key);
        let _unswept = loader.cache.unswept();
        let card = Card::read(&loader.cache, &name)?;
        let log = self.log_of(&card.inspection);
        Some(self.assemble(card, name, log, Residence::cold(), Residence::cold()))
    }

    /// Loads what another node baked of this component under this configuration, without configuring anything.
    pub fn prepare_from_baked(
        &self,
        bytes: &[u8],
        config: &Value,
        baked: &[u8],
    ) -> Result<Arc<Version>, LoadError> {
        let _unswept = self.inner.loader.cache.unswept();
        let inspection = self.look(bytes)?.inspection;
        let prepared = self.resolve(inspection, config)?;
        let version = self.load_baked(&prepared, baked)?;
        let cache = &self.inner.loader.cache;
        cache.write(&baked_file(&prepared.key), baked)?;
        Ok(version)
    }

    /// Removes every file in the cache that belongs to none of these versions: configurations are in them. Those of a
    /// version that is still in use go with it.
    pub fn sweep_cache(&self, keep: &[Arc<Version>]) -> Result<(), LoadError> {
        let keep: HashSet<_> = keep.iter().flat_map(|version| version.names()).collect();
        self.inner.loader.cache.sweep(&keep, true).map(drop)
    }

    /// The bytes in the cache that belong to none of these loaded versions and to no binary of these digests; with
    /// `remove` they go.
    pub fn unused_code(
        &self,
        loaded: &[Arc<Version>],
        digests: &[&str],
        remove: bool,
    ) -> Result<u64, LoadError> {
        let known = digests.iter().map(|digest| binary_name(digest));
        let own = loaded.iter().flat_map(|version| version.names());
        let keep: HashSet<_> = own.chain(known).collect();
        self.inner.loader.cache.sweep(&keep, remove)
    }

    fn look(&self, bytes: &[u8]) -> Result<Looked, LoadError> {
        let loader = &self.inner.loader;
        let settings = &loader.settings;
        inspect::check_bytes(bytes, settings.max_component_bytes)?;
        let digest = inspect::digest(bytes);
        let name = self.binary_key(&digest, "plain");
        let component = loader.cache.component(&loader.engine, &name, bytes)?;
        let shape: Shape = inspect::shape(&loader.engine, &component)?;
        let unknown = Arc::new(GuestLog::new("unknown", "", Lines::default()));
        let factory = loader.factory(&component, "{}".into(), unknown)?;
        let mut instance = factory
            .make_bare(settings.memory_cap_bytes)
            .map_err(LoadError::Describe)?;
        check_types(&mut instance, &factory.exports)?;
        let said = instance
            .describe(&factory.exports, settings)
            .map_err(LoadError::Describe)?;
        let wished = said.hooks.iter().map(|wish| wish.hook.clone()).collect();
        Ok(Looked {
            inspection: inspect::inspection(bytes, shape, said)?,
            plain: component,
            wished,
        })
    }

    /// The configuration complete, and the names of what comes out.
    fn resolve(&self, inspection: Inspection, given: &Value) -> Result<Prepared, LoadError> {
        let complete = configuration::complete(&inspection.config_schema, given)
            .map_err(LoadError::BadConfiguration)?;
        let config: Arc<str> = complete.to_string().into();
        let engine = &self.inner.engine_key;
        let (digest, key) = (&inspection.digest, "version");
        Ok(Prepared {
            key: card::named(key, digest, &config, engine),
            card: card::name(digest, given, engine),
            inspection,
            config,
        })
    }

    fn run_prepare(&self, plain: &Component, prepared: &Prepared) -> Result<Vec<u8>, LoadError> {
        let factory = self.factory(plain, prepared)?;
        let Some(exports) = &factory.exports.preparation else {
            return Ok(prepared.config.as_bytes().to_vec());
        };
        let settings = &self.inner.loader.settings;
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
        let loader = &self.inner.loader;
        loader.cache.note_baked();
        let component = match loader.cache.component(&loader.engine, &name, &instrumented) {
            Ok(component) => component,
            Err(error) => return Ok(Baked::Not(error.to_string())),
        };
        bake::bake(bytes, &self.factory(&component, prepared)?, configuration)
    }

    fn load_baked(&self, prepared: &Prepared, baked: &[u8]) -> Result<Arc<Version>, LoadError> {
        let loader = &self.inner.loader;
        let component = loader
            .cache
            .component(&loader.engine, &prepared.key, baked)?;
        let factory = self.factory(&component, prepared)?;
        let mut instance = factory
            .make_bare(loader.settings.memory_cap_bytes)
            .map_err(LoadError::SelfTest)?;
        bake::test(&mut instance, &factory)?;
        drop(instance);
        let prepared = Prepared {
            inspection: prepared.inspection.clone(),
            config: prepared.config.clone(),
            key: prepared.key.clone(),
            card: prepared.card.clone(),
        };
        let files = Files {
            code: prepared.key.clone(),
            component: baked_file(&prepared.key),
            configuration: None,
        };
        self.version(prepared, factory, files, None)
    }

    fn factory(&self, component: &Component, prepared: &Prepared) -> Result<Factory, LoadError> {
        let log = self.log_of(&prepared.inspection);
        let config = prepared.config.clone();
        self.inner.loader.factory(component, config, log)
    }

    fn log_of(&self, inspection: &Inspection) -> Arc<GuestLog> {
        let Inspection { name, version, .. } = inspection;
        Arc::new(GuestLog::new(name, version, self.inner.lines.clone()))
    }

    /// Everything that was prepared, warm, and noted so that it can be recalled.
    fn version(
        &self,
        prepared: Prepared,
        factory: Factory,
        files: Files,
        not_baked: Option<String>,
    ) -> Result<Arc<Version>, LoadError> {
        let loader = &self.inner.loader;
        let Prepared {
            inspection,
            config,
            key,
            card: name,
        } = prepared;
        let config_file = format!("{key}.config.json");
        loader.cache.write(&config_file, config.as_bytes())?;
        let log = factory.log.clone();
        let commands = commands_of(&factory)?;
        let schedules = when::of(&factory)?;
        let pool = loader.pool_of(factory, inspection.is_on_path());
        let began = Instant::now();
        pool.fill_to(1).map_err(LoadError::Configure)?;
        let configure = not_baked.as_ref().map(|_| began.elapsed());
        pool.fill_to(loader.settings.warm_instances)
            .and_then(|()| pool.fill())
            .map_err(LoadError::Configure)?;
        let card = Card {
            inspection,
            key,
            code: files.code,
            component: files.component,
            config: config_file,
            configuration: files.configuration,
            not_baked,
            commands,
            schedules,
            configure_us: u64::try_from(configure.unwrap_or_default().as_micros())
                .unwrap_or(u64::MAX),
        };
        card.write(&loader.cache, &name)?;
        let now = loader.keeper.clock.now();
        let path = match card.inspection.is_on_path() {
            true => Residence::warm(pool, now),
            false => Residence::cold(),
        };
        let after = match has_after(&card.inspection) {
            true => Residence::warm(loader.after(&Recipe::of(&card, &log))?.checked()?, now),
            false => Residence::cold(),
        };
        let version = self.assemble(card, name, log, path, after);
        loader.keeper.watch(&version);
        Ok(version)
    }

    fn assemble(
        &self,
        card: Card,
        name: String,
        log: Arc<GuestLog>,
        path: Residence<Pool>,
        after: Residence<AfterPart>,
    ) -> Arc<Version> {
        let loader = &self.inner.loader;
        let recipe = Recipe::of(&card, &log);
        let inspection = card.inspection;
        let (plugin, digest): (Arc<str>, Arc<str>) = (
            inspection.name.as_str().into(),
            inspection.digest.as_str().into(),
        );
        let health = &loader.health;
        let breaker = |hook| Breaker::new(hook, plugin.clone(), digest.clone(), health.clone());
        let baked = card.not_baked.is_none();
        let folder = &loader.settings.cache_dir;
        let version = Arc::new_cyclic(|own| Version {
            own: own.clone(),
            inspection,
            baked: baked.then(|| folder.join(baked_file(&card.key))),
            key: card.key,
            card: name,
            not_baked: card.not_baked,
            loader: loader.clone(),
            recipe,
            path,
            after,
            breakers: Hook::ALL.map(breaker),
            commands: card.commands,
            schedules: when::parsed(&card.schedules),
            configure_took: Duration::from_micros(card.configure_us),
            counts: Default::default(),
            measures: Default::default(),
        });
        loader.cache.need(version.names());
        version
    }

    fn binary_key(&self, digest: &str, what: &str) -> String {
        let engine = &self.inner.engine_key[..16];
        format!("{}-{engine}-{what}", binary_name(digest))
    }
}

/// What a version's files are called.
struct Files {
    code: String,
    component: String,
    configuration: Option<String>,
}

fn has_after(inspection: &Inspection) -> bool {
    let mut hooks = inspection.hooks.iter();
    hooks.any(|hook| hook.is_after_commit())
}

fn baked_file(key: &str) -> String {
    format!("{key}.baked.wasm")
}

fn engine_key(engine: &Engine) -> String {
    use std::hash::Hash as _;
    let mut hasher = StableHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hex(&hasher.0.finalize())
}

/// The part of a digest that names files.
pub(crate) fn binary_name(digest: &str) -> &str {
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
