//! The engine of tier T1 and the threads its guests run on: their own, so that a guest that computes without end takes no
//! time from whoever carries messages. Calls wait for a place; too many are never an error.

use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Linker;

use super::abilities::{self, CallState};
use crate::error::LoadError;
use crate::settings::Settings;

/// Threads guests run on.
const THREADS: usize = 2;
/// A guest that computes gives way each tick; timers are looked at as often.
const EVENT_INTERVAL: u32 = 2;

pub(crate) struct AfterEngine {
    pub engine: Engine,
    pub linker: Linker<CallState>,
    /// Calls at once, of all versions together.
    pub places: Arc<Semaphore>,
    threads: Option<Runtime>,
    pub handle: Handle,
}

impl AfterEngine {
    pub fn start(settings: &Settings) -> Result<Arc<Self>, LoadError> {
        let broken = |error: wasmtime::Error| LoadError::Engine(format!("{error:#}"));
        let calls = settings.after_calls.max(1);
        let engine = crate::engine::start(settings, calls)?;
        let mut linker = Linker::new(&engine);
        abilities::link(&mut linker).map_err(broken)?;
        let threads = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .event_interval(EVENT_INTERVAL)
            .thread_name("plugin-after")
            .enable_all()
            .build()
            .map_err(LoadError::io("the threads of plugins could not start"))?;
        Ok(Arc::new(Self {
            engine,
            linker,
            places: Arc::new(Semaphore::new(calls as usize)),
            handle: threads.handle().clone(),
            threads: Some(threads),
        }))
    }
}

impl Drop for AfterEngine {
    fn drop(&mut self) {
        // It may end inside another runtime, where waiting is not allowed.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}
