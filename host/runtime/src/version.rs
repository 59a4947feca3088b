//! One component under one configuration: what it is, its breakers, its counts; and, in memory only while it is
//! called, its pool and its code. It knows limits and second tries; what an answer means is the chain's.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::RuntimeFlavor;

use crate::after::AfterPart;
use crate::breaker::{Admission, Breaker, BreakerState};
use crate::card::Named;
use crate::error::{Failure, LoadError};
use crate::hook::{Hook, Isolation};
use crate::inspect::Inspection;
use crate::instance::{Exports, Instance, classify};
use crate::loader::{Loader, Recipe};
use crate::measure::{Measure, Measured};
use crate::pool::Pool;
use crate::residence::Residence;
use crate::runtime::binary_name;
use crate::tally::Tally;
use crate::when::When;

/// Configuring an instance may take this long on a message's path; of a version that takes longer one instance stays.
const SLOW_CONFIGURE: Duration = Duration::from_millis(20);

/// A version that may serve.
pub struct Version {
    /// Itself, for the keeper.
    pub(crate) own: Weak<Version>,
    pub(crate) inspection: Inspection,
    /// The name of its files in the cache: of binary, configuration and engine together.
    pub(crate) key: String,
    /// The name of its card there.
    pub(crate) card: String,
    pub(crate) not_baked: Option<String>,
    pub(crate) baked: Option<PathBuf>,
    pub(crate) loader: Arc<Loader>,
    pub(crate) recipe: Recipe,
    /// What is called on a message's path.
    pub(crate) path: Residence<Pool>,
    /// What is called after the commit.
    pub(crate) after: Residence<AfterPart>,
    pub(crate) breakers: [Breaker; Hook::COUNT],
    pub(crate) commands: Vec<Named>,
    pub(crate) schedules: Vec<(String, When)>,
    /// How long an instance takes to configure, where each must be.
    pub(crate) configure_took: Duration,
    pub(crate) counts: Counts,
    pub(crate) measures: [Measure; Hook::COUNT],
}

#[derive(Default)]
pub(crate) struct Counts {
    retired: AtomicU64,
}

/// What a version did since it was prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Calls on messages.
    pub calls: u64,
    /// Calls over their soft budget by the wall clock.
    pub over_budget: u64,
    /// Instances ended because they trapped, were stopped, answered badly or grew too large.
    pub retired: u64,
    pub live_instances: u32,
    pub idle_instances: u32,
    /// Whether its code is in memory.
    pub resident: bool,
    /// How often a call found it cold.
    pub cold_loads: u64,
    pub log_lines: u64,
    /// Lines the log's limits swallowed.
    pub log_lines_lost: u64,
    /// Most linear memory an instance had behind a call, bytes.
    pub largest_memory: u64,
}

/// How a call is made.
#[derive(Clone, Copy)]
pub(crate) struct CallRules<'a> {
    pub isolation: Isolation,
    pub budget: Duration,
    pub now_ms: u64,
    /// Where `kv-snapshot` reads.
    pub namespace: &'a Arc<str>,
    /// Where a growing instance is counted.
    pub tally: &'a Tally,
}

/// What a call has read of its plugin's values.
pub(crate) type Seen = Vec<(String, Option<Vec<u8>>)>;

/// Why an answer is none.
pub(crate) enum Fault {
    Guest(wasmtime::Error),
    BadOutput(String),
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::Guest(error)
    }
}

impl Version {
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// Whether every instance starts configured from one shared image.
    pub fn is_baked(&self) -> bool {
        self.not_baked.is_none()
    }

    /// Why it could not be baked, where it could not.
    pub fn not_baked(&self) -> Option<&str> {
        self.not_baked.as_deref()
    }

    /// The baked component's file, for other nodes: see `Runtime::prepare_from_baked`.
    pub fn baked_file(&self) -> Option<&Path> {
        self.baked.as_deref()
    }

    /// The commands it answers under its configuration, with what each does.
    pub fn commands(&self) -> impl Iterator<Item = (&str, &str)> {
        let commands = self.commands.iter();
        commands.map(|usage| (usage.name.as_str(), usage.summary.as_str()))
    }

    pub(crate) fn command_names(&self) -> Vec<String> {
        let names = self.commands.iter().map(|usage| usage.name.clone());
        names.collect()
    }

    /// When it wants to be called without anything having happened, each by its name.
    pub fn schedules(&self) -> &[(String, When)] {
        &self.schedules
    }

    pub fn breaker(&self, hook: Hook) -> BreakerState {
        self.breakers[hook as usize].state()
    }

    /// What the calls of a hook came to.
    pub fn measured(&self, hook: Hook) -> Measured {
        self.measures[hook as usize].read()
    }

    pub fn stats(&self) -> Stats {
        let pool = self.path.look();
        let (live_instances, idle_instances) = pool.map_or((0, 0), |pool| pool.counts());
        let (log_lines, log_lines_lost) = self.recipe.log.counts();
        Stats {
            calls: self.breakers.iter().map(Breaker::calls).sum(),
            over_budget: self.measures.iter().map(Measure::over_budget).sum(),
            retired: self.counts.retired.load(Ordering::Relaxed),
            live_instances,
            idle_instances,
            resident: self.is_resident(),
            cold_loads: self.path.loads() + self.after.loads(),
            log_lines,
            log_lines_lost,
            largest_memory: self.recipe.log.largest_memory.load(Ordering::Relaxed),
        }
    }

    /// Makes this many instances at once and keeps them idle: for measuring memory, and before a rush. Never more than
    /// its pool may hold.
    pub fn warm_up(&self, instances: usize) -> Result<(), Failure> {
        let pool = self.pool()?;
        pool.fill_to(u32::try_from(instances).unwrap_or(u32::MAX))
    }

    /// Lets go of its code and its instances; the next call loads it again. Calls that are under way end first.
    pub fn leave(&self) {
        drop(self.path.leave());
        drop(self.after.leave());
    }

    /// What the names of its files in the cache begin with.
    pub(crate) fn names(&self) -> [&str; 3] {
        let binary = binary_name(&self.inspection.digest);
        [&self.key, &self.card, binary]
    }

    pub(crate) fn is_resident(&self) -> bool {
        self.path.look().is_some() || self.after.look().is_some()
    }

    /// The keeper's time of the last call.
    pub(crate) fn used(&self) -> u64 {
        self.path.used().max(self.after.used())
    }

    /// Closes its breakers: what it failed at before is forgotten.
    pub fn forgive(&self) {
        self.breakers.iter().for_each(Breaker::forget);
    }

    /// Nothing is lost by its leaving that the next call could not wait for: its breakers have nothing to tell.
    pub(crate) fn may_leave(&self) -> bool {
        let closed = |breaker: &Breaker| breaker.state() == BreakerState::Closed;
        self.configure_took <= SLOW_CONFIGURE && self.breakers.iter().all(closed)
    }

    pub(crate) fn empty_pool(&self) {
        if let Some(pool) = self.path.look() {
            pool.empty();
        }
    }

    /// Has its idle instances go. Of one that stays though nobody calls it a single instance is kept.
    pub(crate) fn sweep(&self, is_idle: bool) {
        let Some(pool) = self.path.look() else { return };
        if is_idle {
            pool.keep_one();
        } else {
            pool.sweep();
        }
    }

    /// Makes the configured instances that are missing, of a version that is called.
    pub(crate) fn refill(&self) {
        let Some(pool) = self.path.look() else { return };
        if let Err(error) = pool.fill() {
            tracing::warn!(plugin = self.inspection.name, %error, "an instance could not be made");
        }
    }

    pub(crate) fn tell_if_due(&self) -> bool {
        let mut some_open = false;
        for breaker in &self.breakers {
            some_open |= breaker.tell_if_due();
        }
        some_open
    }

    /// What is called on a message's path, loaded from the code cache where it is not in memory.
    pub(crate) fn pool(&self) -> Result<Arc<Pool>, Failure> {
        let now = self.loader.keeper.clock.now();
        if let Some(pool) = self.path.present(now) {
            return Ok(pool);
        }
        let load = || self.path.get(now, || self.loader.pool(&self.recipe));
        self.came(giving_way(load))
    }

    /// What is called after the commit. As `pool`.
    pub(crate) fn after_part(&self) -> Result<Arc<AfterPart>, Failure> {
        let now = self.loader.keeper.clock.now();
        match self.after.present(now) {
            Some(part) => Ok(part),
            None => self.came(self.after.get(now, || self.loader.after(&self.recipe))),
        }
    }

    fn came<T>(&self, loaded: Result<Arc<T>, LoadError>) -> Result<Arc<T>, Failure> {
        let part = loaded.map_err(|error| Failure::NoInstance(error.to_string()))?;
        if let Some(own) = self.own.upgrade() {
            self.loader.keeper.watch(&own);
        }
        Ok(part)
    }

    /// Asks a guest, at most twice, under the breaker and the limits of a message's path.
    pub(crate) fn call<T>(
        &self,
        hook: Hook,
        rules: CallRules<'_>,
        seen: &mut Seen,
        mut ask: impl FnMut(&mut Instance, &Exports) -> Result<T, Fault>,
    ) -> (Result<T, Failure>, Duration) {
        let breaker = &self.breakers[hook as usize];
        let Some(admission) = breaker.admit() else {
            return (Err(Failure::Broken(hook)), Duration::ZERO);
        };
        let pool = match self.pool() {
            Ok(pool) => pool,
            Err(failure) => {
                breaker.failed(admission, &failure);
                return (Err(failure), Duration::ZERO);
            }
        };
        let wanted = breaker.is_measuring() && admission == Admission::Ordinary;
        let cpu_before = wanted.then(thread_cpu);
        let began = Instant::now();
        let fresh = rules.isolation == Isolation::Message;
        let mut answer = self.ask_once(&pool, fresh, rules, seen, &mut ask);
        if answer.as_ref().err().is_some_and(Failure::is_stop) {
            answer = self.ask_once(&pool, true, rules, seen, &mut ask);
        }
        let wall = began.elapsed();
        match &answer {
            _ if self.loader.settings.trial => {}
            Ok(_) => {
                if wall > rules.budget {
                    self.measures[hook as usize].took_too_long();
                }
                let cpu = cpu_before.map(|before| thread_cpu().saturating_sub(before));
                breaker.answered(admission, wall, cpu, rules.budget);
            }
            Err(failure) => {
                breaker.failed(admission, failure);
                if breaker.state() != BreakerState::Closed {
                    self.loader.keeper.wake(); // it tells when the pause is over
                }
            }
        }
        (answer, wall)
    }

    fn ask_once<T>(
        &self,
        pool: &Pool,
        fresh: bool,
        rules: CallRules<'_>,
        seen: &mut Seen,
        ask: &mut impl FnMut(&mut Instance, &Exports) -> Result<T, Fault>,
    ) -> Result<T, Failure> {
        let factory = &pool.factory;
        let mut instance = if fresh {
            pool.take_fresh()?
        } else {
            pool.take()?
        };
        instance.arm(
            factory.settings.ticks(factory.settings.hard_stop),
            rules.now_ms,
        );
        instance.store.data_mut().reads.open(rules.namespace);
        let answer = ask(&mut instance, &factory.exports);
        *seen = instance.store.data_mut().reads.close();
        instance.store.data().note_memory();
        match answer {
            Ok(answer) => {
                if rules.isolation == Isolation::Message {
                    pool.retire(instance);
                } else if instance.has_swollen() {
                    rules.tally.swelled();
                    self.retire(pool, instance);
                } else {
                    instance.store.data_mut().limits.refused = None;
                    pool.give_back(instance);
                }
                Ok(answer)
            }
            Err(fault) => {
                let failure = match fault {
                    Fault::Guest(error) => classify(&error, instance.store.data_mut()),
                    Fault::BadOutput(what) => Failure::BadOutput(what),
                };
                self.retire(pool, instance);
                Err(failure)
            }
        }
    }

    fn retire(&self, pool: &Pool, instance: Instance) {
        self.counts.retired.fetch_add(1, Ordering::Relaxed);
        pool.retire(instance);
        if !pool.factory.is_baked() {
            self.loader.keeper.wake();
        }
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        self.loader.cache.release(self.names());
    }
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Version")
            .field("inspection", &self.inspection)
            .field("not_baked", &self.not_baked)
            .finish()
    }
}

/// Does what may take a while, with other tasks moved off this thread where it carries any.
fn giving_way<T>(work: impl FnOnce() -> T) -> T {
    let carries = tokio::runtime::Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if carries {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
