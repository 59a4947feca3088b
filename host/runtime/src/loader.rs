//! From the code cache into memory: what a version needs to be called, made of a compiled component that is already
//! there. Only where that was lost is it compiled anew, from the component kept beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::broadcast;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::abilities::{GuestLog, GuestState};
use crate::after::{AfterEngine, AfterPart, Ground};
use crate::breaker::HealthEvent;
use crate::budget::Budget;
use crate::card::Card;
use crate::code_cache::CodeCache;
use crate::error::LoadError;
use crate::instance::{Exports, Factory};
use crate::keeper::Keeper;
use crate::pool::Pool;
use crate::settings::Settings;
use crate::values::Values;

/// What every version of a runtime is loaded with.
pub(crate) struct Loader {
    pub engine: Engine,
    pub settings: Arc<Settings>,
    pub linker: Linker<GuestState>,
    pub cache: CodeCache,
    /// Started with the first version that needs it.
    after: Mutex<Option<Arc<AfterEngine>>>,
    pub budget: Arc<Budget>,
    pub keeper: Arc<Keeper>,
    pub health: broadcast::Sender<HealthEvent>,
    pub values: Arc<dyn Values>,
}

/// What a version is loaded from.
pub(crate) struct Recipe {
    pub plugin: String,
    /// The name of its compiled component in the cache.
    pub code: String,
    /// The name of the component itself in the cache.
    pub component: String,
    /// The name of the configuration there: a JSON object, for the ability `config`.
    pub config: String,
    /// The name of what `configure` gets in each instance of a component that could not be baked.
    pub configuration: Option<String>,
    pub log: Arc<GuestLog>,
    pub on_path: bool,
}

impl Recipe {
    pub fn of(card: &Card, log: &Arc<GuestLog>) -> Self {
        Self {
            plugin: card.inspection.name.clone(),
            code: card.code.clone(),
            component: card.component.clone(),
            config: card.config.clone(),
            configuration: card.configuration.clone(),
            log: log.clone(),
            on_path: card.inspection.is_on_path(),
        }
    }
}

impl Loader {
    pub fn new(
        engine: Engine,
        settings: Arc<Settings>,
        values: Arc<dyn Values>,
        health: broadcast::Sender<HealthEvent>,
    ) -> Result<Arc<Self>, LoadError> {
        let linker = crate::abilities::linker(&engine)
            .map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        let budget = Budget::new(settings.total_instances, settings.memory_budget_bytes);
        let keeper = Keeper::start(&settings)?;
        let evictor = Arc::downgrade(&keeper);
        budget.evict_with(move |enough| {
            if let Some(keeper) = evictor.upgrade() {
                keeper.make_room(enough);
            }
        });
        Ok(Arc::new(Self {
            cache: CodeCache::open(&settings.cache_dir)?,
            engine,
            settings,
            linker,
            after: Mutex::default(),
            budget,
            keeper,
            health,
            values,
        }))
    }

    /// The pool of a version, empty. Blocks for the time of a few reads.
    pub fn pool(&self, recipe: &Recipe) -> Result<Pool, LoadError> {
        let component = self.component(&self.engine, recipe)?;
        let config = self.config(recipe)?;
        let mut factory = self.factory(&component, config, recipe.log.clone())?;
        factory.configuration = self.configuration(recipe)?;
        Ok(self.pool_of(factory, recipe.on_path))
    }

    pub fn pool_of(&self, factory: Factory, on_path: bool) -> Pool {
        let settings = &self.settings;
        let (limit, ready) = match factory.is_baked() {
            _ if !on_path => (1, 0),
            true => (settings.instances_per_version, 0),
            false => (settings.unbaked_instances, settings.unbaked_instances),
        };
        Pool::new(factory, limit, ready)
    }

    /// The part of a version that is called after the commit: the same image in the engine of that tier.
    pub fn after(&self, recipe: &Recipe) -> Result<AfterPart, LoadError> {
        let engine = self.after_engine()?;
        let component = self.component(&engine.engine, recipe)?;
        let ground = Ground {
            settings: self.settings.clone(),
            config: self.config(recipe)?,
            log: recipe.log.clone(),
            values: self.values.clone(),
            budget: self.budget.clone(),
            configuration: self.configuration(recipe)?,
        };
        let wasi = imports_wasi(&component, &engine.engine);
        AfterPart::new(engine, &component, wasi, ground)
    }

    pub fn after_engine(&self) -> Result<Arc<AfterEngine>, LoadError> {
        let mut started = self.after.lock();
        match &*started {
            Some(engine) => Ok(engine.clone()),
            None => Ok(started.insert(AfterEngine::start(&self.settings)?).clone()),
        }
    }

    pub fn factory(
        &self,
        component: &Component,
        config: Arc<str>,
        log: Arc<GuestLog>,
    ) -> Result<Factory, LoadError> {
        let shape = |error: wasmtime::Error| LoadError::WrongShape(format!("{error:#}"));
        let pre = if imports_wasi(component, &self.engine) {
            // A toolchain's WASI leads to nothing: calling it traps.
            let mut linker = self.linker.clone();
            linker
                .define_unknown_imports_as_traps(component)
                .map_err(shape)?;
            linker.instantiate_pre(component).map_err(shape)?
        } else {
            self.linker.instantiate_pre(component).map_err(shape)?
        };
        let exports = Exports::probe(&pre).map_err(shape)?;
        Ok(Factory {
            pre,
            exports,
            settings: self.settings.clone(),
            budget: self.budget.clone(),
            config,
            log,
            values: self.values.clone(),
            configuration: None,
        })
    }

    fn component(&self, engine: &Engine, recipe: &Recipe) -> Result<Component, LoadError> {
        if let Some(component) = self.cache.load(engine, &recipe.code) {
            return Ok(component);
        }
        let lost = || {
            let what = format!("the compiled code of {} is not in the cache", recipe.plugin);
            LoadError::Compile(what)
        };
        let wasm = self.cache.read(&recipe.component).ok_or_else(lost)?;
        tracing::warn!(
            plugin = recipe.plugin,
            "the compiled code was lost; it is compiled anew"
        );
        self.cache.component(engine, &recipe.code, &wasm)
    }

    fn config(&self, recipe: &Recipe) -> Result<Arc<str>, LoadError> {
        let kept = self.kept(recipe, &recipe.config)?;
        let text = String::from_utf8(kept).map_err(|_| self.lost(recipe))?;
        Ok(text.into())
    }

    fn configuration(&self, recipe: &Recipe) -> Result<Option<Arc<[u8]>>, LoadError> {
        let file = recipe.configuration.as_ref();
        file.map(|file| Ok(self.kept(recipe, file)?.into()))
            .transpose()
    }

    fn kept(&self, recipe: &Recipe, file: &str) -> Result<Vec<u8>, LoadError> {
        self.cache.read(file).ok_or_else(|| self.lost(recipe))
    }

    fn lost(&self, recipe: &Recipe) -> LoadError {
        LoadError::Compile(format!(
            "the configuration of {} is not in the cache",
            recipe.plugin
        ))
    }
}

/// It imports interfaces of WASI, which lead to nothing.
pub(crate) fn imports_wasi(component: &Component, engine: &Engine) -> bool {
    let ty = component.component_type();
    ty.imports(engine)
        .any(|(name, _)| name.starts_with("wasi:"))
}

/// The keeper's time, in sweeps; read on every call.
#[derive(Default)]
pub(crate) struct SweepClock(AtomicU64);

impl SweepClock {
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
