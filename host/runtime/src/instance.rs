//! One instance of a component with its store, and how to make it: from a baked image in microseconds, or configured
//! anew. A store never meets another instance.

use std::sync::Arc;

use wasmtime::component::InstancePre;
use wasmtime::{Engine, Store, Trap};

use crate::abilities::{GuestLog, GuestState, Refused};
use crate::bindings::{
    admin_rule, command, content_filter, lifecycle, message_strategy, preparation, schedules,
    upgrade,
};
use crate::budget::{Budget, Share};
use crate::error::Failure;
use crate::settings::Settings;
use crate::values::Values;

/// Which exports a component has, looked up once.
#[derive(Clone)]
pub(crate) struct Exports {
    pub lifecycle: lifecycle::GuestIndices,
    pub preparation: Option<preparation::GuestIndices>,
    pub strategy: Option<message_strategy::GuestIndices>,
    pub filter: Option<content_filter::GuestIndices>,
    pub command: Option<command::GuestIndices>,
    pub rule: Option<admin_rule::GuestIndices>,
    pub upgrade: Option<upgrade::GuestIndices>,
    pub schedules: Option<schedules::GuestIndices>,
}

impl Exports {
    /// Probed on the binary's own exports, not on a claim.
    pub fn probe(pre: &InstancePre<GuestState>) -> wasmtime::Result<Self> {
        Ok(Self {
            lifecycle: lifecycle::GuestIndices::new(pre)?,
            preparation: preparation::GuestIndices::new(pre).ok(),
            strategy: message_strategy::GuestIndices::new(pre).ok(),
            filter: content_filter::GuestIndices::new(pre).ok(),
            command: command::GuestIndices::new(pre).ok(),
            rule: admin_rule::GuestIndices::new(pre).ok(),
            upgrade: upgrade::GuestIndices::new(pre).ok(),
            schedules: schedules::GuestIndices::new(pre).ok(),
        })
    }
}

/// Makes instances of one component under one configuration.
pub(crate) struct Factory {
    pub pre: InstancePre<GuestState>,
    pub exports: Exports,
    pub settings: Arc<Settings>,
    pub budget: Arc<Budget>,
    /// The configuration as a JSON object, for the ability `config`.
    pub config: Arc<str>,
    pub log: Arc<GuestLog>,
    /// What plugins have written.
    pub values: Arc<dyn Values>,
    /// What `configure` gets in each instance of a component that could not be baked.
    pub configuration: Option<Arc<[u8]>>,
}

impl Factory {
    pub fn is_baked(&self) -> bool {
        self.configuration.is_none()
    }

    pub fn engine(&self) -> &Engine {
        self.pre.engine()
    }

    /// An instance ready to serve.
    pub fn make(&self) -> Result<Instance, Failure> {
        let mut instance = self.make_bare(self.settings.memory_cap_bytes)?;
        if let Some(configuration) = &self.configuration {
            match instance.configure(&self.exports, configuration, &self.settings)? {
                Ok(()) => {}
                Err(text) => return Err(Failure::NoInstance(text)),
            }
            instance.store.data_mut().last_error = None;
        }
        Ok(instance)
    }

    /// An instance nothing was called in yet.
    pub fn make_bare(&self, memory_cap: usize) -> Result<Instance, Failure> {
        let share = self.budget.take();
        let state = GuestState::new(
            self.config.clone(),
            self.log.clone(),
            self.values.clone(),
            memory_cap,
        );
        let mut store = Store::new(self.engine(), state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(self.settings.max_output_bytes);
        // Start functions are guest code too.
        store.set_epoch_deadline(self.settings.ticks(self.settings.preparation_stop));
        let component = match self.pre.instantiate(&mut store) {
            Ok(component) => component,
            Err(error) => return Err(classify(&error, store.data_mut())),
        };
        let limits = &mut store.data_mut().limits;
        limits.growth = Some(share.growth());
        let used = limits.used;
        let high_water = used + (memory_cap.saturating_sub(used)) / 2;
        Ok(Instance {
            store,
            component,
            strategy: None,
            filter: None,
            command: None,
            rule: None,
            high_water,
            _share: share,
        })
    }
}

/// A live instance.
pub(crate) struct Instance {
    pub store: Store<GuestState>,
    pub component: wasmtime::component::Instance,
    strategy: Option<message_strategy::Guest>,
    filter: Option<content_filter::Guest>,
    command: Option<command::Guest>,
    rule: Option<admin_rule::Guest>,
    high_water: usize,
    // Last: there is room again when the store is gone.
    _share: Share,
}

impl Instance {
    /// The strategy's functions, type-checked once an instance.
    pub fn strategy(
        &mut self,
        exports: &Exports,
    ) -> wasmtime::Result<(&mut Store<GuestState>, &message_strategy::Guest)> {
        if self.strategy.is_none() {
            let indices = exports
                .strategy
                .as_ref()
                .ok_or_else(|| missing("message-strategy"))?;
            self.strategy = Some(indices.load(&mut self.store, &self.component)?);
        }
        let guest = self
            .strategy
            .as_ref()
            .ok_or_else(|| missing("message-strategy"))?;
        Ok((&mut self.store, guest))
    }

    /// The filter's functions, type-checked once an instance.
    pub fn filter(
        &mut self,
        exports: &Exports,
    ) -> wasmtime::Result<(&mut Store<GuestState>, &content_filter::Guest)> {
        if self.filter.is_none() {
            let indices = exports
                .filter
                .as_ref()
                .ok_or_else(|| missing("content-filter"))?;
            self.filter = Some(indices.load(&mut self.store, &self.component)?);
        }
        let guest = self
            .filter
            .as_ref()
            .ok_or_else(|| missing("content-filter"))?;
        Ok((&mut self.store, guest))
    }

    /// The commands' functions, type-checked once an instance.
    pub fn command(
        &mut self,
        exports: &Exports,
    ) -> wasmtime::Result<(&mut Store<GuestState>, &command::Guest)> {
        if self.command.is_none() {
            let indices = exports.command.as_ref().ok_or_else(|| missing("command"))?;
            self.command = Some(indices.load(&mut self.store, &self.component)?);
        }
        let guest = self.command.as_ref().ok_or_else(|| missing("command"))?;
        Ok((&mut self.store, guest))
    }

    /// The rules' functions, type-checked once an instance.
    pub fn rule(
        &mut self,
        exports: &Exports,
    ) -> wasmtime::Result<(&mut Store<GuestState>, &admin_rule::Guest)> {
        if self.rule.is_none() {
            let indices = exports.rule.as_ref().ok_or_else(|| missing("admin-rule"))?;
            self.rule = Some(indices.load(&mut self.store, &self.component)?);
        }
        let guest = self.rule.as_ref().ok_or_else(|| missing("admin-rule"))?;
        Ok((&mut self.store, guest))
    }

    /// Says who it is.
    pub fn describe(
        &mut self,
        exports: &Exports,
        settings: &Settings,
    ) -> Result<lifecycle::Description, Failure> {
        self.call(exports, settings, |store, guest| guest.call_describe(store))
    }

    /// Takes its configuration; `Err` inside is the guest's own refusal.
    pub fn configure(
        &mut self,
        exports: &Exports,
        config: &[u8],
        settings: &Settings,
    ) -> Result<Result<(), String>, Failure> {
        self.call(exports, settings, |store, guest| {
            guest.call_configure(store, config)
        })
    }

    pub fn self_test(
        &mut self,
        exports: &Exports,
        settings: &Settings,
    ) -> Result<Result<(), String>, Failure> {
        self.call(exports, settings, |store, guest| {
            guest.call_self_test(store)
        })
    }

    /// Names its commands; none where it has no such hook.
    pub fn command_names(
        &mut self,
        exports: &Exports,
        settings: &Settings,
    ) -> Result<Vec<command::Usage>, Failure> {
        if exports.command.is_none() {
            return Ok(Vec::new());
        }
        self.arm(settings.ticks(settings.preparation_stop), 0);
        let named = self
            .command(exports)
            .and_then(|(store, guest)| guest.call_names(store));
        named.map_err(|error| classify(&error, self.store.data_mut()))
    }

    fn call<T>(
        &mut self,
        exports: &Exports,
        settings: &Settings,
        ask: impl FnOnce(&mut Store<GuestState>, &lifecycle::Guest) -> wasmtime::Result<T>,
    ) -> Result<T, Failure> {
        self.arm(settings.ticks(settings.preparation_stop), 0);
        let guest = exports.lifecycle.load(&mut self.store, &self.component);
        let answer = guest.and_then(|guest| ask(&mut self.store, &guest));
        answer.map_err(|error| classify(&error, self.store.data_mut()))
    }

    /// Sets the limits of the call that follows.
    pub fn arm(&mut self, ticks: u64, now_ms: u64) {
        self.store.set_epoch_deadline(ticks);
        self.store.data_mut().now_ms = now_ms;
    }

    /// It has grown so much that a new one is better.
    pub fn has_swollen(&self) -> bool {
        self.store.data().limits.used > self.high_water
    }
}

fn missing(hook: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("it does not export {hook}"))
}

/// What a failed call failed by.
pub(crate) fn classify(error: &wasmtime::Error, state: &mut GuestState) -> Failure {
    let said = state.last_error.take();
    match state.limits.refused {
        Some(Refused::Cap) => return Failure::Memory,
        Some(Refused::Budget) => {
            return Failure::NoInstance("all plugins together have no more memory".to_owned());
        }
        None => {}
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return match trap {
            Trap::Interrupt => Failure::Timeout,
            trap => Failure::Trap(said.unwrap_or_else(|| trap.to_string())),
        };
    }
    let text = format!("{error:#}");
    // What a stubbed-out import of a language's toolchain says when it is called after all.
    if text.contains("unknown import") {
        return Failure::Trap(text);
    }
    Failure::BadOutput(text)
}
