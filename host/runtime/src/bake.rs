//! Baking: a component is configured once, and its memories become part of a new component. Everything that can go
//! wrong here, panics of the snapshot code included, ends as a reason why it is not baked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmtime::Store;
use wasmtime::component::{Instance as ComponentInstance, Lift, WasmList};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use crate::abilities::GuestState;
use crate::error::{Failure, LoadError};
use crate::instance::{Factory, Instance};

/// How a bake ended when it did not fail for good.
pub(crate) enum Baked {
    Component(Vec<u8>),
    /// Not bakeable, and why.
    Not(String),
}

/// What instruments a component: an error means it is not bakeable.
pub(crate) fn instrument(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let instrumented = catch_unwind(|| {
        Wizer::new()
            .instrument_component(wasm)
            .map(|(_, instrumented)| instrumented)
    });
    match instrumented {
        Ok(Ok(instrumented)) => Ok(instrumented),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err("it could not be instrumented".to_owned()),
    }
}

/// Configures and tests an instance of the instrumented component, then takes its picture. A refusal of the
/// configuration is an error; a picture that fails is `Baked::Not`.
pub(crate) fn bake(
    wasm: &[u8],
    instrumented: &Factory,
    configuration: &[u8],
) -> Result<Baked, LoadError> {
    let settings = &instrumented.settings;
    let mut instance = instrumented
        .make_bare(settings.memory_cap_bytes)
        .map_err(LoadError::Configure)?;
    set_up(&mut instance, instrumented, configuration)?;
    let used = instance.store.data().limits.used;
    // Reading a memory out grows it by two pages; the cap was for the guest's own doing.
    instance.store.data_mut().limits.cap = usize::MAX;
    instance.store.set_hostcall_fuel(usize::MAX);
    instance.arm(settings.ticks(settings.preparation_stop), 0);
    if used > settings.memory_cap_bytes {
        return Err(LoadError::Configure(Failure::Memory));
    }
    Ok(
        match catch_unwind(AssertUnwindSafe(|| picture(wasm, &mut instance))) {
            Ok(Ok(baked)) => Baked::Component(baked),
            Ok(Err(why)) => Baked::Not(why),
            Err(_) => Baked::Not("taking the picture of its memory failed".to_owned()),
        },
    )
}

/// `configure` and `self-test`.
pub(crate) fn set_up(
    instance: &mut Instance,
    factory: &Factory,
    configuration: &[u8],
) -> Result<(), LoadError> {
    let settings = &factory.settings;
    let configured = instance
        .configure(&factory.exports, configuration, settings)
        .map_err(LoadError::Configure)?;
    configured.map_err(LoadError::ConfigurationRefused)?;
    test(instance, factory)
}

pub(crate) fn test(instance: &mut Instance, factory: &Factory) -> Result<(), LoadError> {
    let tested = instance
        .self_test(&factory.exports, &factory.settings)
        .map_err(LoadError::SelfTest)?;
    tested.map_err(LoadError::SelfTestRefused)
}

fn picture(wasm: &[u8], instance: &mut Instance) -> Result<Vec<u8>, String> {
    let wizer = Wizer::new();
    let (context, _) = wizer
        .instrument_component(wasm)
        .map_err(|error| format!("{error:#}"))?;
    let mut reader = Reader {
        store: &mut instance.store,
        component: instance.component,
        failed: None,
    };
    let baked = {
        let taking = pin!(wizer.snapshot_component(&context, &mut reader));
        match taking.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(baked) => baked.map_err(|error| format!("{error:#}"))?,
            Poll::Pending => return Err("taking the picture waited for something".to_owned()),
        }
    };
    match reader.failed {
        Some(why) => Err(why),
        None => Ok(baked),
    }
}

/// Reads an instance's memories and globals through the accessors that instrumenting added.
struct Reader<'a> {
    store: &'a mut Store<GuestState>,
    component: ComponentInstance,
    failed: Option<String>,
}

impl Reader<'_> {
    fn call<R: Lift + 'static>(&mut self, interface: &str, function: &str) -> Option<R> {
        let called = self.try_call(interface, function);
        called
            .map_err(|error| self.failed = Some(format!("reading {function}: {error:#}")))
            .ok()
    }

    fn try_call<R: Lift + 'static>(
        &mut self,
        interface: &str,
        function: &str,
    ) -> wasmtime::Result<R> {
        let missing = || wasmtime::Error::msg("the accessor is missing");
        let interface = self
            .component
            .get_export_index(&mut *self.store, None, interface)
            .ok_or_else(missing)?;
        let function = self
            .component
            .get_export_index(&mut *self.store, Some(&interface), function)
            .ok_or_else(missing)?;
        let function = self
            .component
            .get_typed_func::<(), (R,)>(&mut *self.store, function)?;
        Ok(function.call(&mut *self.store, ())?.0)
    }
}

impl ComponentInstanceState for Reader<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        match self.call::<WasmList<u8>>(instance, func) {
            Some(list) => contents(list.as_le_slice(&*self.store)),
            None => contents(&[]),
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.call(instance, func).unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.call(instance, func).unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.call::<f32>(instance, func)
            .unwrap_or_default()
            .to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.call::<f64>(instance, func)
            .unwrap_or_default()
            .to_bits()
    }
}
