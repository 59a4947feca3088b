//! Calls of hooks as a server makes them: the same question again and again, and how much of its thread's time one
//! takes. What is answered does not matter here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kith_runtime::{
    AfterCall, Command, Event, Generation, Grants, Hook, Invocation, Occasion, Scope, Text,
    read_plain_content,
};
use rustix::time::{ClockId, clock_gettime};

use super::denying::Denying;

/// Batches that are measured; the median counts.
const BATCHES: usize = 40;
/// How long a batch is to take.
const BATCH: Duration = Duration::from_millis(5);
/// A text of 200 bytes, as people write.
const TEXT: &str = "Shall we meet at the station at nine tomorrow, or is it better to go by car this time? I could \
    bring the tent and the small stove, if you take care of the food and of the tickets for the ferry. Good night";

pub struct Caller {
    threads: tokio::runtime::Runtime,
}

impl Caller {
    pub fn new() -> Self {
        let threads = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime of one thread");
        Self { threads }
    }

    /// Microseconds of one question to all bindings of the generation's first hook: of CPU on a message's path, by the
    /// wall clock after the commit, where others' threads do the work.
    pub fn cost(&self, generation: &Arc<Generation>) -> f64 {
        let Some(first) = generation.bindings().first() else {
            return 0.0;
        };
        let hook = first.hook;
        median(hook.is_after_commit(), || self.once(generation, hook))
    }

    /// Microseconds of CPU of one message: strategies, then filters.
    pub fn message(&self, generation: &Arc<Generation>) -> f64 {
        median(false, || {
            self.once(generation, Hook::MessageStrategy);
            self.once(generation, Hook::ContentFilter);
        })
    }

    pub fn once(&self, generation: &Arc<Generation>, hook: Hook) {
        match hook {
            Hook::MessageStrategy => {
                let asked = command();
                drop(generation.strategy(Scope::Direct, &asked, &read_plain_content));
            }
            Hook::ContentFilter => {
                let place = "message";
                let text = Text { place, text: TEXT };
                drop(generation.filter(Scope::Direct, &[text], 1));
            }
            Hook::Command => {
                let named = generation.bindings()[0].commands.first();
                let asked = invocation(named.map_or("none", String::as_str));
                drop(generation.command(Scope::Direct, &asked, &read_plain_content));
            }
            Hook::AdminRule => drop(generation.rule(&occasion(), true)),
            Hook::Observer | Hook::Responder => self.after(generation, hook),
        }
    }

    fn after(&self, generation: &Arc<Generation>, hook: Hook) {
        let binding = &generation.bindings()[0];
        let call = AfterCall {
            grants: Arc::new(Grants::default()),
            host: Arc::new(Denying),
            namespace: binding.namespace.clone(),
            now_ms: 1,
        };
        self.threads.block_on(async {
            if hook == Hook::Observer {
                drop(binding.observe(call, Arc::new([event()])).await);
            } else {
                drop(binding.respond(call, Arc::new(event()), "1".into()).await);
            }
        });
    }
}

/// The median of batches, microseconds a call.
fn median(by_wall: bool, mut call: impl FnMut()) -> f64 {
    let warm = Instant::now();
    let mut calls: u32 = 0;
    while warm.elapsed() < BATCH * 10 {
        call();
        calls += 1;
    }
    let batch = (calls / 10).max(1);
    let mut costs: Vec<Duration> = (0..BATCHES)
        .map(|_| {
            let (began, cpu) = (Instant::now(), thread_cpu());
            (0..batch).for_each(|_| call());
            match by_wall {
                true => began.elapsed(),
                false => thread_cpu().saturating_sub(cpu),
            }
        })
        .collect();
    costs.sort_unstable();
    costs[BATCHES / 2].as_secs_f64() * 1e6 / f64::from(batch)
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

fn command() -> Command<'static> {
    Command {
        operation: "send",
        conversation: "c1",
        conversation_kind: "direct",
        sender: "u1",
        sender_role: "member",
        peer: "u2",
        peer_role: "",
        blocked: false,
        blocking: false,
        friends: true,
        muted: false,
        unanswered: 0,
        answered: true,
        content_type: "text",
        text: TEXT,
        at_ms: 1,
        target_sender: "",
        target_age_ms: 0,
        recent: &[],
        facts: &[],
    }
}

fn invocation(name: &str) -> Invocation<'_> {
    Invocation {
        name,
        arguments: "this and that",
        conversation: "c1",
        conversation_kind: "direct",
        sender: "u1",
        sender_role: "member",
        peer: "u2",
        blocked: false,
        blocking: false,
        friends: true,
        mentions: &[],
        reply_to: 0,
        at_ms: 1,
        facts: &[],
    }
}

fn occasion() -> Occasion<'static> {
    Occasion {
        kind: "login",
        user: "u1",
        username: "ann",
        actor: "",
        address: "192.0.2.1",
        device: "phone",
        device_kind: "ios",
        conversation: "",
        what: "",
        text: "",
        at_ms: 1,
        facts: &[],
    }
}

fn event() -> Event {
    Event {
        id: "e1".into(),
        kind: "entry".into(),
        conversation: "c1".into(),
        conversation_kind: "direct".into(),
        seq: 1,
        at_ms: 1,
        sender: "u1".into(),
        entry_kind: "message".into(),
        content_type: "text".into(),
        text: TEXT.into(),
        content: String::new(),
        target: 0,
        attempt: 0,
        facts: Vec::new(),
    }
}
