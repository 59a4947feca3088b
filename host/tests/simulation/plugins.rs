//! Plugins by script: what they decide follows from a message's words, and each hook signs what it lets through with the
//! number of its generation, so that a record can be held against what was judged (I4).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kith::plugins::{
    Command, CommandRuling, CommandVerdict, FilterRuling, Invocation, Judge, Occasion, Plugins,
    Rule, RuleRuling, Scope, Site, StrategyRuling, Text, Verdict, When,
};
use kith::store::HoldCause;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::watch;

use super::chance::{Sim, tell};
use super::defects::Defect;

/// One node's plugins.
pub struct Script {
    sim: Arc<Sim>,
    node: usize,
    generation: AtomicU64,
    /// A channel for each who waits, so that they are woken in the order they came.
    waiting: Mutex<Vec<watch::Sender<u64>>>,
}

struct Pinned {
    sim: Arc<Sim>,
    generation: u64,
}

impl Script {
    pub fn new(sim: &Arc<Sim>, node: usize, generation: u64) -> Arc<Self> {
        Arc::new(Self {
            sim: sim.clone(),
            node,
            generation: AtomicU64::new(generation),
            waiting: Mutex::default(),
        })
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// A generation is in force here, unless a newer one is.
    pub fn switch(&self, generation: u64) {
        if self.generation.fetch_max(generation, Ordering::Relaxed) >= generation {
            return;
        }
        tell!(self.sim, "n{}: generation {generation}", self.node);
        let mut waiting = self.waiting.lock();
        waiting.retain(|one| !one.is_closed());
        waiting.iter().for_each(|one| {
            one.send_replace(generation);
        });
    }
}

impl Plugins for Script {
    fn pin(&self) -> Arc<dyn Judge> {
        Arc::new(Pinned {
            sim: self.sim.clone(),
            generation: self.generation(),
        })
    }

    fn generations(&self) -> watch::Receiver<u64> {
        let (sender, receiver) = watch::channel(self.generation());
        self.waiting.lock().push(sender);
        receiver
    }
}

impl Judge for Pinned {
    fn generation(&self) -> u64 {
        self.generation
    }

    fn is_well(&self, _: &str) -> bool {
        true
    }

    fn recent(&self, _: Scope) -> usize {
        0
    }

    fn strategy(&self, _: Scope, command: &Command<'_>) -> StrategyRuling {
        let (by, reason) = ("script".to_owned(), "its words".to_owned());
        let verdict = match command.text.split(' ').next() {
            Some("drop") => Verdict::Drop { by, reason },
            Some("reject") => Verdict::Reject { by, reason },
            Some("hold") => Verdict::Hold {
                by,
                reason,
                cause: HoldCause::Verdict,
            },
            _ => Verdict::Pass,
        };
        let signed = format!("{} s{}", command.text, self.generation);
        let content = json!({"type": "text", "text": signed}).to_string();
        StrategyRuling {
            verdict,
            content: (command.operation == "send").then_some(content),
            audience: None,
            silent: false,
            recall_window_ms: None,
            effects: Vec::new(),
            hooks: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn filter(&self, _: Site<'_>, texts: &[Text<'_>], _: u64) -> FilterRuling {
        let other = self.sim.has(Defect::TwoGenerationsInOneMessage) && self.sim.happens(10);
        let generation = self.generation + u64::from(other);
        let signed = |text: &Text<'_>| Some(format!("{} f{generation}", text.text));
        FilterRuling {
            verdict: Verdict::Pass,
            masked: texts.iter().map(signed).collect(),
            masked_by: Some("script".to_owned()),
            hooks: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn binds(&self, _: Site<'_>, _: &str) -> bool {
        false
    }

    fn command(&self, _: Scope, _: &Invocation<'_>) -> CommandRuling {
        CommandRuling {
            verdict: CommandVerdict::Pass,
            effects: Vec::new(),
            hooks: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn has_rules(&self) -> bool {
        false
    }

    fn rule(&self, _: &Occasion, _: bool) -> RuleRuling {
        RuleRuling {
            rule: Rule::Abstain,
            actions: Vec::new(),
        }
    }

    fn rule_schedules(&self) -> Vec<(String, Vec<(String, When)>)> {
        Vec::new()
    }

    fn rule_of(&self, _: &str, occasion: &Occasion) -> RuleRuling {
        self.rule(occasion, false)
    }
}
