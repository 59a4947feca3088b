//! Versions in the shadow of others: shown what serves is shown, on a thread of their own, and compared with what serves
//! said. Nothing they say takes effect, and a message never waits for one: what does not fit is dropped and counted.

mod asked;
mod said;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use parking_lot::Mutex;

pub(crate) use asked::Asked;
pub(crate) use said::Said;

use crate::chain::strategy::SeenContent;
use crate::chain::{ask_version, command, filter, rule, strategy};
use crate::error::LoadError;
use crate::generation::Binding;
use crate::hook::Hook;
use crate::instance::{Exports, Instance};
use crate::ruling::{Outcome, Trail};

/// What may wait for one shadow: questions, and bytes of them.
const WAITING_MOST: usize = 256;
const WAITING_BYTES_MOST: usize = 4 << 20;
/// Differences remembered at each hook, the newest.
const EXAMPLES: usize = 20;
/// How far behind messages a shadow's thread stands for the processor.
const NICE: i32 = 10;

/// Reads a content as the host does; what is wrong with it is a sentence.
pub type Reader = Arc<dyn Fn(&str) -> Result<SeenContent, String> + Send + Sync>;

/// One version's place in the shadow, whatever generation it is in: its queue, its thread, its counts.
pub struct Shadow {
    queue: SyncSender<Task>,
    shared: Arc<Shared>,
}

struct Shared {
    waiting_bytes: AtomicUsize,
    /// What still waits is not asked any more.
    ended: AtomicBool,
    hooks: [HookLine; Hook::COUNT],
}

#[derive(Default)]
struct HookLine {
    agreed: AtomicU64,
    differed: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    examples: Mutex<VecDeque<Example>>,
}

/// A shadow at one hook in one generation.
#[derive(Debug)]
pub struct Shadowing {
    /// Bound as what serves is bound; it is in no chain.
    pub binding: Binding,
    pub shadow: Arc<Shadow>,
}

/// What came of comparing at one hook.
#[derive(Debug, Clone)]
pub struct HookCounts {
    pub hook: Hook,
    pub agreed: u64,
    pub differed: u64,
    /// The shadow gave no answer: it trapped, was stopped, answered badly, or its breaker is open.
    pub failed: u64,
    /// Not asked, because too much waited.
    pub dropped: u64,
    /// The newest differences, oldest first.
    pub examples: Vec<Example>,
}

/// One difference. It says nothing of what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub at_ms: u64,
    /// Empty for what happens in none.
    pub conversation: String,
    /// `send`, `edit` …; the place of a text; the name of a command; the kind of an occasion.
    pub operation: String,
    /// The version that serves there; empty where none does.
    pub served_by: String,
    pub served: Outcome,
    pub shadow: Outcome,
    /// What of the decision differs: `outcome`, `reason`, `content`, `audience`, `hits` …
    pub differs: Vec<&'static str>,
}

struct Task {
    shadowing: Arc<Shadowing>,
    asked: Asked,
    served: Said,
    served_by: String,
    bytes: usize,
}

impl Shadow {
    /// Starts the thread that asks it. It ends with the last generation that has the shadow.
    pub fn start(plugin: &str, reader: Reader) -> Result<Arc<Self>, LoadError> {
        let (queue, waiting) = sync_channel(WAITING_MOST);
        let shared = Arc::new(Shared {
            waiting_bytes: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            hooks: std::array::from_fn(|_| HookLine::default()),
        });
        let own = shared.clone();
        let named = std::thread::Builder::new().name(format!("shadow-{plugin:.8}"));
        let started = named.spawn(move || {
            // Of this thread alone. Where it is not allowed the shadow is still bounded.
            let _ = rustix::process::nice(NICE);
            own.run(&waiting, &reader);
        });
        started.map_err(LoadError::io("a shadow's thread could not start"))?;
        Ok(Arc::new(Self { queue, shared }))
    }

    /// From now on nothing is asked, what waits included.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::Release);
    }

    /// Of every hook where anything was compared, failed or was dropped.
    pub fn counts(&self) -> Vec<HookCounts> {
        let lines = Hook::ALL.into_iter().zip(&self.shared.hooks);
        let counts = lines.map(|(hook, line)| HookCounts {
            hook,
            agreed: line.agreed.load(Ordering::Relaxed),
            differed: line.differed.load(Ordering::Relaxed),
            failed: line.failed.load(Ordering::Relaxed),
            dropped: line.dropped.load(Ordering::Relaxed),
            examples: line.examples.lock().iter().cloned().collect(),
        });
        counts
            .filter(|hook| hook.agreed + hook.differed + hook.failed + hook.dropped > 0)
            .collect()
    }
}

impl std::fmt::Debug for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shadow").finish_non_exhaustive()
    }
}

impl Shadowing {
    /// Has the shadow asked what serves was asked. Never waits.
    pub(crate) fn offer(
        self: &Arc<Self>,
        served_by: &str,
        served: Said,
        asked: impl FnOnce() -> Asked,
    ) {
        let shared = &self.shadow.shared;
        if shared.ended.load(Ordering::Acquire) {
            return;
        }
        let asked = asked();
        let bytes = asked.bytes();
        let line = &shared.hooks[self.binding.hook as usize];
        let waiting = shared.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        if waiting + bytes > WAITING_BYTES_MOST {
            shared.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
            line.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let task = Task {
            shadowing: self.clone(),
            asked,
            served,
            served_by: served_by.to_owned(),
            bytes,
        };
        if let Err(TrySendError::Full(task) | TrySendError::Disconnected(task)) =
            self.shadow.queue.try_send(task)
        {
            shared.waiting_bytes.fetch_sub(task.bytes, Ordering::AcqRel);
            line.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What the shadow says to a question; `None` for no answer.
    fn answer(&self, asked: &Asked, reader: &Reader) -> Option<Said> {
        let (binding, read) = (&self.binding, &**reader);
        let Ok(version) = &binding.loaded else {
            return None;
        };
        let at_ms = asked.at_ms();
        // What it reads and how it fails is nobody's record.
        let mut trail = Trail::default();
        match asked {
            Asked::Strategy(own) => own.with(|command| {
                let mut ask = |instance: &mut Instance, exports: &Exports| {
                    strategy::ask(instance, exports, command, &|content| read(content))
                };
                let answer =
                    ask_version(version, (0, binding), at_ms, &mut trail, &mut ask).ok()?;
                Some(answer.0.said())
            }),
            Asked::Filter(own) => own.with(|texts| {
                let mut ask = |instance: &mut Instance, exports: &Exports| {
                    filter::ask(instance, exports, (binding, 0), texts)
                };
                let answer =
                    ask_version(version, (0, binding), at_ms, &mut trail, &mut ask).ok()?;
                Some(filter::said(&answer.0))
            }),
            Asked::Command(own) => own.with(|invocation| {
                let mut ask = |instance: &mut Instance, exports: &Exports| {
                    command::ask(instance, exports, invocation, &|content| read(content))
                };
                let answer =
                    ask_version(version, (0, binding), at_ms, &mut trail, &mut ask).ok()?;
                Some(command::said(&answer.0.0))
            }),
            Asked::Rule(own) => own.with(|occasion| {
                let mut ask = |instance: &mut Instance, exports: &Exports| {
                    rule::ask(instance, exports, occasion)
                };
                let answer =
                    ask_version(version, (0, binding), at_ms, &mut trail, &mut ask).ok()?;
                Some(rule::said(&answer.0))
            }),
        }
    }
}

impl Shared {
    fn run(&self, waiting: &Receiver<Task>, reader: &Reader) {
        while let Ok(task) = waiting.recv() {
            self.waiting_bytes.fetch_sub(task.bytes, Ordering::AcqRel);
            if self.ended.load(Ordering::Acquire) {
                continue;
            }
            let line = &self.hooks[task.shadowing.binding.hook as usize];
            match task.shadowing.answer(&task.asked, reader) {
                None => drop(line.failed.fetch_add(1, Ordering::Relaxed)),
                Some(said) => line.compare(&task, &said),
            }
        }
    }
}

impl HookLine {
    fn compare(&self, task: &Task, said: &Said) {
        let differs = task.served.differs(said);
        if differs.is_empty() {
            self.agreed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (conversation, operation) = task.asked.named();
        let example = Example {
            at_ms: task.asked.at_ms(),
            conversation: conversation.to_owned(),
            operation: operation.to_owned(),
            served_by: task.served_by.clone(),
            served: task.served.outcome,
            shadow: said.outcome,
            differs,
        };
        let mut examples = self.examples.lock();
        if examples.len() == EXAMPLES {
            examples.pop_front();
        }
        examples.push_back(example);
        self.differed.fetch_add(1, Ordering::Relaxed);
    }
}
