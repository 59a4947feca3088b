//! The thread that looks after what is in memory: it makes configured instances of what cannot be baked, lets idle
//! instances and idle versions go, and tells when an open breaker's pause is over. It knows only versions in memory,
//! and sleeps while there is nothing to do.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::LoadError;
use crate::loader::SweepClock;
use crate::settings::Settings;
use crate::version::Version;

/// How often an open breaker's pause is looked at.
const BREAKER_LOOK: Duration = Duration::from_millis(200);

pub(crate) struct Keeper {
    pub clock: SweepClock,
    idle_sweep: Duration,
    /// Sweeps without a call after which a version leaves.
    idle_sweeps: u64,
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What is in memory, or was when the keeper last looked.
    residents: Vec<Weak<Version>>,
    woken: bool,
    stopped: bool,
}

impl Keeper {
    pub fn start(settings: &Settings) -> Result<Arc<Self>, LoadError> {
        let idle_sweep = settings.idle_sweep.max(Duration::from_millis(1));
        let sweeps = settings
            .idle_after
            .as_nanos()
            .div_ceil(idle_sweep.as_nanos());
        let keeper = Arc::new(Self {
            clock: SweepClock::default(),
            idle_sweep,
            idle_sweeps: u64::try_from(sweeps).unwrap_or(u64::MAX).max(1),
            most: settings.resident_versions.max(1) as usize,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let own = keeper.clone();
        let thread = std::thread::Builder::new().name("plugin-keeper".to_owned());
        thread
            .spawn(move || own.run())
            .map_err(LoadError::io("the keeper thread could not start"))?;
        Ok(keeper)
    }

    /// A version came into memory. Where there are too many, those not called longest leave.
    pub fn watch(&self, version: &Arc<Version>) {
        let mut state = self.state.lock();
        let known = |resident: &Weak<Version>| resident.as_ptr() == Arc::as_ptr(version);
        if !state.residents.iter().any(known) {
            state.residents.push(Arc::downgrade(version));
        }
        if state.residents.len() <= self.most {
            return;
        }
        let mut residents = living(&state.residents);
        if residents.len() > self.most {
            residents.sort_by_key(|resident| resident.used());
            // Some more than needed, so that not every load has to look for one.
            let spare = residents.len() - self.most + self.most / 64;
            let unneeded =
                |resident: &Arc<Version>| !Arc::ptr_eq(resident, version) && resident.may_leave();
            let gone: Vec<_> = residents
                .iter()
                .filter(|resident| unneeded(resident))
                .take(spare)
                .cloned()
                .collect();
            gone.iter().for_each(|resident| resident.leave());
        }
        state.residents = residents
            .iter()
            .filter(|resident| resident.is_resident())
            .map(Arc::downgrade)
            .collect();
    }

    /// How many versions are in memory.
    pub fn residents(&self) -> usize {
        let residents = living(&self.state.lock().residents);
        residents
            .iter()
            .filter(|version| version.is_resident())
            .count()
    }

    pub fn wake(&self) {
        self.state.lock().woken = true;
        self.changed.notify_one();
    }

    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_one();
    }

    /// Lets idle instances go, of the versions not called longest first, until there is enough.
    pub fn make_room(&self, enough: &dyn Fn() -> bool) {
        let mut residents = living(&self.state.lock().residents);
        residents.sort_by_key(|resident| resident.used());
        for resident in residents {
            if enough() {
                return;
            }
            resident.empty_pool();
        }
    }

    /// Waits for the next thing to do; false at the end.
    fn wait(&self, some_open: bool) -> bool {
        let mut state = self.state.lock();
        let pause = if some_open {
            BREAKER_LOOK
        } else {
            self.idle_sweep
        };
        if !state.woken && !state.stopped {
            self.changed.wait_for(&mut state, pause);
        }
        state.woken = false;
        !state.stopped
    }

    fn run(&self) {
        let mut swept = Instant::now();
        let mut some_open = false;
        while self.wait(some_open) {
            let residents = living(&self.state.lock().residents);
            some_open = false;
            for version in &residents {
                some_open |= version.tell_if_due();
                if !self.is_idle(version) {
                    version.refill();
                }
            }
            if swept.elapsed() >= self.idle_sweep {
                self.clock.advance();
                residents.iter().for_each(|version| self.sweep(version));
                self.state.lock().residents.retain(|resident| {
                    let resident = resident.upgrade();
                    resident.is_some_and(|resident| resident.is_resident())
                });
                swept = Instant::now();
            }
        }
    }

    fn is_idle(&self, version: &Version) -> bool {
        self.clock.now().saturating_sub(version.used()) > self.idle_sweeps
    }

    fn sweep(&self, version: &Version) {
        let is_idle = self.is_idle(version);
        if is_idle && version.may_leave() {
            version.leave();
        } else {
            version.sweep(is_idle);
        }
    }
}

fn living(residents: &[Weak<Version>]) -> Vec<Arc<Version>> {
    residents.iter().filter_map(Weak::upgrade).collect()
}
