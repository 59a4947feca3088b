//! One call after the commit: a fresh instance, its limits, the breaker. What an answer leads to, and whether a call that
//! failed is repeated, is the host's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{Component, InstancePre};
use wasmtime::{Store, UpdateDeadline};

use super::abilities::CallState;
use super::bindings::exports::kith::plugin::{lifecycle, observer, responder};
use super::bindings::kith::plugin::events::{Event, Retry};
use super::engine::AfterEngine;
use super::grants::Grants;
use super::seam::Abilities;
use crate::abilities::{GuestLog, GuestState};
use crate::budget::{Budget, ROOM_LOOK, Share};
use crate::error::{Failure, LoadError};
use crate::generation::Binding;
use crate::hook::Hook;
use crate::instance::classify;
use crate::ruling::Outcome;
use crate::settings::Settings;
use crate::values::Values;
use crate::version::Version;

/// How much longer than its own stop a call may take when it waits for the host.
const GRACE: Duration = Duration::from_secs(1);

/// The part of a version that is called after the commit.
pub(crate) struct AfterPart {
    engine: Arc<AfterEngine>,
    pre: InstancePre<CallState>,
    lifecycle: lifecycle::GuestIndices,
    observer: Option<observer::GuestIndices>,
    responder: Option<responder::GuestIndices>,
    settings: Arc<Settings>,
    config: Arc<str>,
    log: Arc<GuestLog>,
    values: Arc<dyn Values>,
    budget: Arc<Budget>,
    /// What `configure` gets in each instance of a component that could not be baked.
    configuration: Option<Arc<[u8]>>,
}

/// What a call is made with.
#[derive(Clone)]
pub struct AfterCall {
    pub grants: Arc<Grants>,
    pub host: Arc<dyn Abilities>,
    /// Where `kv-snapshot` reads.
    pub namespace: Arc<str>,
    /// What `clock` says, milliseconds since 1970 UTC.
    pub now_ms: u64,
}

/// What every instance of a version starts with.
pub(crate) struct Ground {
    pub settings: Arc<Settings>,
    pub config: Arc<str>,
    pub log: Arc<GuestLog>,
    pub values: Arc<dyn Values>,
    pub budget: Arc<Budget>,
    pub configuration: Option<Arc<[u8]>>,
}

impl AfterPart {
    /// Of a component of this tier's engine.
    pub fn new(
        engine: Arc<AfterEngine>,
        component: &Component,
        wasi: bool,
        ground: Ground,
    ) -> Result<Self, LoadError> {
        let shape = |error: wasmtime::Error| LoadError::WrongShape(format!("{error:#}"));
        let mut linker = engine.linker.clone();
        if wasi {
            // A toolchain's WASI leads to nothing: calling it traps.
            linker
                .define_unknown_imports_as_traps(component)
                .map_err(shape)?;
        }
        let pre = linker.instantiate_pre(component).map_err(shape)?;
        let Ground {
            settings,
            config,
            log,
            values,
            budget,
            configuration,
        } = ground;
        Ok(Self {
            lifecycle: lifecycle::GuestIndices::new(&pre).map_err(shape)?,
            observer: observer::GuestIndices::new(&pre).ok(),
            responder: responder::GuestIndices::new(&pre).ok(),
            engine,
            pre,
            settings,
            config,
            log,
            values,
            budget,
            configuration,
        })
    }

    /// Makes an instance and holds every function that will be called against the contract's types. Blocks.
    pub fn checked(self) -> Result<Self, LoadError> {
        let (told, hears) = std::sync::mpsc::sync_channel(1);
        let handle = self.engine.handle.clone();
        handle.spawn(async move {
            let checked = self.load_all().await;
            // Nobody waits any more: nothing is lost by it.
            drop(told.send(checked.map(|()| self)));
        });
        let given_up = |_| LoadError::Engine("looking at the hooks was given up".to_owned());
        hears.recv().map_err(given_up)?
    }

    async fn load_all(&self) -> Result<(), LoadError> {
        let shape = |error: wasmtime::Error| LoadError::WrongShape(format!("{error:#}"));
        let (mut store, instance, _share) = self.make(None).await.map_err(LoadError::Configure)?;
        if let Some(observer) = &self.observer {
            observer.load(&mut store, &instance).map_err(shape)?;
        }
        if let Some(responder) = &self.responder {
            responder.load(&mut store, &instance).map_err(shape)?;
        }
        Ok(())
    }

    /// A configured instance.
    async fn make(
        &self,
        call: Option<&AfterCall>,
    ) -> Result<(Store<CallState>, wasmtime::component::Instance, Share), Failure> {
        let settings = &self.settings;
        let share = self.share().await;
        let guest = GuestState::new(
            self.config.clone(),
            self.log.clone(),
            self.values.clone(),
            settings.memory_cap_bytes,
        );
        let state = CallState {
            guest,
            until: Instant::now() + settings.preparation_stop,
            grants: Arc::default(),
            host: None,
        };
        let mut store = Store::new(&self.engine.engine, state);
        store.limiter(|state| &mut state.guest.limits);
        store.set_hostcall_fuel(settings.max_output_bytes);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| {
            Ok(match Instant::now() < store.data().until {
                true => UpdateDeadline::Yield(1),
                false => UpdateDeadline::Interrupt,
            })
        });
        let made = self.pre.instantiate_async(&mut store).await;
        let instance = made.map_err(|error| classify(&error, &mut store.data_mut().guest))?;
        store.data_mut().guest.limits.growth = Some(share.growth());
        if let Some(configuration) = &self.configuration {
            let guest = self.lifecycle.load(&mut store, &instance);
            let configured = match guest {
                Ok(guest) => guest.call_configure(&mut store, configuration).await,
                Err(error) => Err(error),
            };
            configured
                .map_err(|error| classify(&error, &mut store.data_mut().guest))?
                .map_err(Failure::NoInstance)?;
        }
        let state = store.data_mut();
        state.until = Instant::now() + settings.after_stop;
        state.guest.last_error = None;
        if let Some(call) = call {
            state.grants = call.grants.clone();
            state.host = Some(call.host.clone());
            state.guest.now_ms = call.now_ms;
            state.guest.reads.open(&call.namespace);
        }
        Ok((store, instance, share))
    }

    /// The right to one instance of all plugins' budget. Waits for room without holding up its thread.
    async fn share(&self) -> Share {
        loop {
            match self.budget.try_take() {
                Some(share) => return share,
                None => tokio::time::sleep(ROOM_LOOK).await,
            }
        }
    }

    async fn observe(
        &self,
        call: &AfterCall,
        events: &[Event],
    ) -> Result<observer::Observed, Failure> {
        let (mut store, instance, _share) = self.make(Some(call)).await?;
        let indices = self.observer.as_ref().ok_or_else(|| missing("observer"))?;
        let answer = match indices.load(&mut store, &instance) {
            Ok(guest) => guest.call_observe(&mut store, events).await,
            Err(error) => Err(error),
        };
        store.data().guest.note_memory();
        let observed = answer.map_err(|error| classify(&error, &mut store.data_mut().guest))?;
        let done = observed.done as usize;
        let out_of_range = |effect: &super::EventEffect| effect.event as usize >= done;
        if done > events.len() || observed.effects.iter().any(out_of_range) {
            return Err(Failure::BadOutput(format!(
                "{done} of {} events are done, with an effect of one that is not",
                events.len()
            )));
        }
        Ok(observed)
    }

    async fn respond(
        &self,
        call: &AfterCall,
        event: &Event,
        account: &str,
    ) -> Result<Result<(), Retry>, Failure> {
        let (mut store, instance, _share) = self.make(Some(call)).await?;
        let indices = self
            .responder
            .as_ref()
            .ok_or_else(|| missing("responder"))?;
        let answer = match indices.load(&mut store, &instance) {
            Ok(guest) => guest.call_respond(&mut store, event, account).await,
            Err(error) => Err(error),
        };
        store.data().guest.note_memory();
        answer.map_err(|error| classify(&error, &mut store.data_mut().guest))
    }
}

fn missing(hook: &str) -> Failure {
    Failure::BadOutput(format!("it does not export {hook}"))
}

/// A call that is not waited for any more ends.
struct Ending(tokio::task::AbortHandle);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Binding {
    /// Shows events to an observer. Waits for a place among the calls; never blocks the caller's thread.
    pub async fn observe(
        &self,
        call: AfterCall,
        events: Arc<[Event]>,
    ) -> Result<observer::Observed, Failure> {
        self.run(Hook::Observer, move |part| {
            let (call, events) = (call.clone(), events.clone());
            async move { part.observe(&call, &events).await }
        })
        .await
    }

    /// Has a responder answer a message.
    pub async fn respond(
        &self,
        call: AfterCall,
        event: Arc<Event>,
        account: Arc<str>,
    ) -> Result<Result<(), Retry>, Failure> {
        self.run(Hook::Responder, move |part| {
            let (call, event, account) = (call.clone(), event.clone(), account.clone());
            async move { part.respond(&call, &event, &account).await }
        })
        .await
    }

    async fn run<T: Send + 'static, F>(
        &self,
        hook: Hook,
        ask: impl Fn(Arc<AfterPart>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let version = match &self.loaded {
            Ok(version) => version.clone(),
            Err(why) => return Err(Failure::NoInstance(why.clone())),
        };
        let breaker = &version.breakers[hook as usize];
        let Some(admission) = breaker.admit() else {
            return Err(Failure::Broken(hook));
        };
        let part = match after_part(version.clone()).await {
            Ok(part) => part,
            Err(failure) => {
                breaker.failed(admission, &failure);
                return Err(failure);
            }
        };
        let began = Instant::now();
        let answer = part.once(ask(part.clone())).await;
        let outcome = match &answer {
            Ok(_) => Outcome::Passed,
            Err(_) => Outcome::Failed,
        };
        version.measures[hook as usize].add(outcome, began.elapsed());
        match &answer {
            Ok(_) => breaker.answered(admission, began.elapsed(), None, part.settings.after_stop),
            Err(failure) => {
                breaker.failed(admission, failure);
                version.loader.keeper.wake();
            }
        }
        answer
    }
}

/// What is called, loaded on a thread that may wait.
async fn after_part(version: Arc<Version>) -> Result<Arc<AfterPart>, Failure> {
    if let Some(part) = version.after.present(version.loader.keeper.clock.now()) {
        return Ok(part);
    }
    let given_up = |_| Failure::NoInstance("loading it was given up".to_owned());
    let loading = tokio::task::spawn_blocking(move || version.after_part());
    loading.await.map_err(given_up)?
}

impl AfterPart {
    /// On the plugins' own threads, with a place among the calls, for no longer than it may take.
    async fn once<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let place = self.engine.places.clone().acquire_owned().await;
        let most = self.settings.after_stop + GRACE;
        let task = self.engine.handle.spawn(async move {
            let _place = place;
            tokio::time::timeout(most, call).await
        });
        let _ending = Ending(task.abort_handle());
        match task.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Failure::Timeout),
            Err(_) => Err(Failure::NoInstance("the call was given up".to_owned())),
        }
    }
}
