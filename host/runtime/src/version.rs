//! One component under one configuration, ready to be called: its pool, its breakers, its counts. It knows limits and
//! second tries; what an answer means is the chain's.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::after::AfterPart;
use crate::bindings::command::Usage;
use crate::breaker::{Admission, Breaker, BreakerState};
use crate::error::Failure;
use crate::hook::{Hook, Isolation};
use crate::inspect::Inspection;
use crate::instance::{Exports, Instance, classify};
use crate::pool::Pool;

/// A version that may serve.
pub struct Version {
    pub(crate) inspection: Inspection,
    /// The name of its files in the cache: of binary, configuration and engine together.
    pub(crate) key: String,
    pub(crate) not_baked: Option<String>,
    pub(crate) baked: Option<PathBuf>,
    pub(crate) pool: Pool,
    /// Where it exports a hook after the commit.
    pub(crate) after: Option<AfterPart>,
    pub(crate) breakers: [Breaker; Hook::COUNT],
    pub(crate) commands: Vec<Usage>,
    pub(crate) counts: Counts,
}

#[derive(Default)]
pub(crate) struct Counts {
    retired: AtomicU64,
    over_budget: AtomicU64,
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
    pub log_lines: u64,
    /// Lines the log's limits swallowed.
    pub log_lines_lost: u64,
    /// Most linear memory an instance had behind a call, bytes.
    pub largest_memory: u64,
}

/// How a call is made.
#[derive(Clone, Copy)]
pub(crate) struct CallRules {
    pub isolation: Isolation,
    pub budget: Duration,
    pub now_ms: u64,
}

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

    pub fn breaker(&self, hook: Hook) -> BreakerState {
        self.breakers[hook as usize].state()
    }

    pub fn stats(&self) -> Stats {
        let (live_instances, idle_instances) = self.pool.counts();
        let (log_lines, log_lines_lost) = self.pool.factory.log.counts();
        Stats {
            calls: self.breakers.iter().map(Breaker::calls).sum(),
            over_budget: self.counts.over_budget.load(Ordering::Relaxed),
            retired: self.counts.retired.load(Ordering::Relaxed),
            live_instances,
            idle_instances,
            log_lines,
            log_lines_lost,
            largest_memory: self.pool.factory.log.largest_memory.load(Ordering::Relaxed),
        }
    }

    /// Makes this many instances at once and keeps them idle: for measuring memory, and before a rush. Never more than
    /// its pool may hold.
    pub fn warm_up(&self, instances: usize) -> Result<(), Failure> {
        let made: Result<Vec<Instance>, Failure> = (0..instances.min(self.pool.limit()))
            .map(|_| self.pool.take())
            .collect();
        made?
            .into_iter()
            .for_each(|instance| self.pool.give_back(instance));
        Ok(())
    }

    /// Asks a guest, at most twice, under the breaker and the limits of a message's path.
    pub(crate) fn call<T>(
        &self,
        hook: Hook,
        rules: CallRules,
        mut ask: impl FnMut(&mut Instance, &Exports) -> Result<T, Fault>,
    ) -> (Result<T, Failure>, Duration) {
        let breaker = &self.breakers[hook as usize];
        let Some(admission) = breaker.admit() else {
            return (Err(Failure::Broken(hook)), Duration::ZERO);
        };
        let wanted = breaker.is_measuring() && admission == Admission::Ordinary;
        let cpu_before = wanted.then(thread_cpu);
        let began = Instant::now();
        let fresh = rules.isolation == Isolation::Message;
        let mut answer = self.ask_once(fresh, rules, &mut ask);
        if answer.as_ref().err().is_some_and(Failure::is_stop) {
            answer = self.ask_once(true, rules, &mut ask);
        }
        let wall = began.elapsed();
        match &answer {
            Ok(_) => {
                if wall > rules.budget {
                    self.counts.over_budget.fetch_add(1, Ordering::Relaxed);
                }
                let cpu = cpu_before.map(|before| thread_cpu().saturating_sub(before));
                breaker.answered(admission, wall, cpu, rules.budget);
            }
            Err(failure) => {
                breaker.failed(admission, failure);
                if breaker.state() != BreakerState::Closed {
                    (self.pool.factory.wake_keeper)(); // it tells when the pause is over
                }
            }
        }
        (answer, wall)
    }

    fn ask_once<T>(
        &self,
        fresh: bool,
        rules: CallRules,
        ask: &mut impl FnMut(&mut Instance, &Exports) -> Result<T, Fault>,
    ) -> Result<T, Failure> {
        let factory = &self.pool.factory;
        let mut instance = if fresh {
            self.pool.take_fresh()?
        } else {
            self.pool.take()?
        };
        instance.arm(
            factory.settings.ticks(factory.settings.hard_stop),
            rules.now_ms,
        );
        instance.store.data_mut().reads.open();
        let answer = ask(&mut instance, &factory.exports);
        instance.store.data_mut().reads.close();
        instance.store.data().note_memory();
        match answer {
            Ok(answer) => {
                if rules.isolation == Isolation::Message {
                    self.pool.retire(instance);
                } else if instance.has_swollen() {
                    self.retire(instance);
                } else {
                    self.pool.give_back(instance);
                }
                Ok(answer)
            }
            Err(fault) => {
                let failure = match fault {
                    Fault::Guest(error) => classify(&error, instance.store.data_mut()),
                    Fault::BadOutput(what) => Failure::BadOutput(what),
                };
                self.retire(instance);
                Err(failure)
            }
        }
    }

    fn retire(&self, instance: Instance) {
        self.counts.retired.fetch_add(1, Ordering::Relaxed);
        self.pool.retire(instance);
        if !self.pool.factory.is_baked() {
            (self.pool.factory.wake_keeper)();
        }
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

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
