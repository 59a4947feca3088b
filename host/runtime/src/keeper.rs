//! The thread that looks after pools: it makes configured instances of what cannot be baked, lets idle instances go,
//! and tells when an open breaker's pause is over. It sleeps while there is nothing to do.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::LoadError;
use crate::version::Version;

/// How often an open breaker's pause is looked at.
const BREAKER_LOOK: Duration = Duration::from_millis(200);

pub(crate) struct Keeper {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    versions: Vec<Weak<Version>>,
    woken: bool,
    stopped: bool,
}

impl Keeper {
    pub fn start(idle_sweep: Duration) -> Result<Arc<Self>, LoadError> {
        let keeper = Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let own = keeper.clone();
        let thread = std::thread::Builder::new().name("plugin-keeper".to_owned());
        thread
            .spawn(move || own.run(idle_sweep))
            .map_err(LoadError::io("the keeper thread could not start"))?;
        Ok(keeper)
    }

    pub fn watch(&self, version: &Arc<Version>) {
        let mut state = self.state.lock();
        state.versions.retain(|version| version.strong_count() > 0);
        state.versions.push(Arc::downgrade(version));
    }

    pub fn wake(&self) {
        self.state.lock().woken = true;
        self.changed.notify_one();
    }

    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_one();
    }

    /// Lets every pool's idle instances go.
    pub fn empty_pools(&self) {
        for version in self.versions() {
            version.pool.empty();
        }
    }

    fn versions(&self) -> Vec<Arc<Version>> {
        self.state
            .lock()
            .versions
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    fn run(&self, idle_sweep: Duration) {
        let mut swept = Instant::now();
        let mut some_open = false;
        loop {
            {
                let mut state = self.state.lock();
                let pause = if some_open { BREAKER_LOOK } else { idle_sweep };
                if !state.woken && !state.stopped {
                    self.changed.wait_for(&mut state, pause);
                }
                if state.stopped {
                    return;
                }
                state.woken = false;
            }
            let versions = self.versions();
            some_open = false;
            for version in &versions {
                for breaker in &version.breakers {
                    some_open |= breaker.tell_if_due();
                }
                if let Err(error) = version.pool.fill() {
                    tracing::warn!(plugin = version.inspection.name, %error, "an instance could not be made");
                }
            }
            if swept.elapsed() >= idle_sweep {
                versions.iter().for_each(|version| version.pool.sweep());
                swept = Instant::now();
            }
        }
    }
}
