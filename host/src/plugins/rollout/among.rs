//! A node's place among those that share generations: what the store last said is in force, how far this node and the
//! others are, and whether this one may judge. Asked for every message, so answered from memory.
//!
//! It never lets a node judge by a generation of which it does not know, for the last two seconds, that it is in force.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedRwLockWriteGuard, mpsc, watch};
use tokio::time::Instant;

use super::loaded::Configuration;
use crate::bus::{Bus, Health, Node, NodeName, NodeState, Parcel, Signal, To};
use crate::journey::store_refusal;
use crate::refusal::Refusal;
use crate::store::generations::{SharedGenerations, Standing};

/// How long what takes part in a change is waited for.
#[derive(Debug, Clone, Copy)]
pub struct AmongRules {
    /// Between two looks at the store.
    pub look: Duration,
    /// How long the store's word counts.
    pub lease: Duration,
    /// Until every node is ready for a change.
    pub ready: Duration,
    /// Until every node is ready for going back to what all have loaded.
    pub at_once: Duration,
    /// After which a change is brought to its end by others than who began it.
    pub finish: Duration,
}

impl Default for AmongRules {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(500),
            lease: Duration::from_secs(2),
            ready: Duration::from_secs(10),
            at_once: Duration::from_secs(1),
            // Longer than a change may wait, and a state may take in its switch.
            finish: Duration::from_secs(20),
        }
    }
}

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStanding {
    pub state: NodeState,
    /// As the store last said.
    pub in_force: u64,
    /// Why it does not judge, where it does not.
    pub lapsed: Option<String>,
}

/// One node's place.
pub struct Among {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) shared: Arc<dyn SharedGenerations>,
    pub(super) rules: AmongRules,
    began: Instant,
    /// When the store was last asked and said that what is served here is in force, milliseconds after `began`; 0 never.
    confirmed: AtomicU64,
    in_force: AtomicU64,
    ready: AtomicU64,
    serving: AtomicU64,
    /// The one this node is about to put in force.
    pub(super) proposing: AtomicU64,
    /// What the store said last.
    pub(super) seen: watch::Sender<Standing>,
    wake: Notify,
    said_ready: Mutex<HashMap<NodeName, u64>>,
    /// Told whenever another node said so.
    heard: Notify,
    /// Nodes that were not ready when this generation was put in force here.
    behind: Mutex<(u64, Vec<String>)>,
    /// Why the newest one cannot be made ready here.
    trouble: Mutex<Option<String>>,
    /// While they are held the hooks after the commit whose state is made anew rest here.
    pub(super) quiet: Mutex<Vec<OwnedRwLockWriteGuard<()>>>,
    /// Configurations of a generation that is not in force yet, by plugin and print.
    pub(super) on_the_way: Mutex<HashMap<(String, String), Arc<Configuration>>>,
}

/// How far the others are with a generation.
pub(super) struct Others {
    /// By name, who is not ready.
    pub behind: Vec<String>,
    /// False where the bus could not be asked.
    pub known: bool,
}

impl Among {
    pub fn new(
        bus: Arc<dyn Bus>,
        shared: Arc<dyn SharedGenerations>,
        rules: AmongRules,
    ) -> Arc<Self> {
        Arc::new(Self {
            bus,
            shared,
            rules,
            began: Instant::now(),
            confirmed: AtomicU64::new(0),
            in_force: AtomicU64::new(0),
            ready: AtomicU64::new(0),
            serving: AtomicU64::new(0),
            proposing: AtomicU64::new(0),
            seen: watch::Sender::new(Standing::default()),
            wake: Notify::new(),
            said_ready: Mutex::default(),
            heard: Notify::new(),
            behind: Mutex::default(),
            trouble: Mutex::default(),
            quiet: Mutex::default(),
            on_the_way: Mutex::default(),
        })
    }

    /// Looks at the store again and again, and at once when something was said. Runs until dropped.
    pub async fn look(self: Arc<Self>, mut said: mpsc::Receiver<(NodeName, Signal)>) {
        let mut open = true;
        let mut failing = false;
        loop {
            let asked = tokio::time::timeout(self.rules.lease, self.ask()).await;
            let fails = !matches!(asked, Ok(Ok(_)));
            if fails && !failing {
                tracing::warn!("the store does not say which generation of plugins is in force");
            }
            failing = fails;
            let rest = tokio::time::sleep(self.rules.look);
            tokio::pin!(rest);
            loop {
                tokio::select! {
                    () = &mut rest => break,
                    () = self.wake.notified() => break,
                    signal = said.recv(), if open => match signal {
                        Some((node, Signal::Ready { generation })) => {
                            self.hears(node, generation);
                            if generation > self.seen.borrow().newest {
                                break; // one that this node has not read of
                            }
                        }
                        // The store says so too, and is asked before anything follows from it.
                        Some(_) => break,
                        None => open = false,
                    },
                }
            }
        }
    }

    fn hears(&self, node: NodeName, generation: u64) {
        let mut said = self.said_ready.lock();
        let ready = said.entry(node).or_default();
        *ready = generation.max(*ready);
        drop(said);
        self.heard.notify_waiters();
    }

    /// The store is looked at now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Asks the store. What it says counts from the moment it was asked.
    pub(super) async fn ask(&self) -> Result<Standing, Refusal> {
        let asked = self.now_ms();
        let standing = self.shared.standing().await;
        let standing = standing.map_err(|e| store_refusal(&e))?;
        self.in_force.fetch_max(standing.in_force, Ordering::AcqRel);
        // Else the lease runs on: until its end this node may switch without refusing anybody.
        if self.serving.load(Ordering::Acquire) >= standing.in_force {
            self.confirmed.fetch_max(asked, Ordering::AcqRel);
        }
        self.seen.send_if_modified(|seen| {
            let newer = Standing {
                newest: standing.newest.max(seen.newest),
                in_force: standing.in_force.max(seen.in_force),
            };
            let changes = newer != *seen;
            *seen = newer;
            changes
        });
        Ok(standing)
    }

    fn now_ms(&self) -> u64 {
        let now = self.began.elapsed().as_millis();
        1 + u64::try_from(now).unwrap_or(u64::MAX - 1)
    }

    /// Whether what this node serves is in force, as far as anybody knew within the lease.
    pub fn may_judge(&self) -> bool {
        self.why_lapsed().is_none()
    }

    fn why_lapsed(&self) -> Option<Lapse> {
        let confirmed = self.confirmed.load(Ordering::Acquire);
        let lease = u64::try_from(self.rules.lease.as_millis()).unwrap_or(u64::MAX);
        if confirmed > 0 && self.now_ms().saturating_sub(confirmed) <= lease {
            return None;
        }
        let in_force = self.in_force.load(Ordering::Acquire);
        Some(match self.serving.load(Ordering::Acquire) < in_force {
            true => Lapse::Behind,
            false => Lapse::Unknown,
        })
    }

    /// How this node stands, for those who look after it.
    pub fn standing(&self) -> NodeStanding {
        let in_force = self.in_force.load(Ordering::Acquire);
        let lapsed = self.why_lapsed().map(|lapse| match lapse {
            Lapse::Unknown => "the store does not say which generation is in force".to_owned(),
            Lapse::Behind => {
                let why = self.trouble.lock().clone();
                let why = why.unwrap_or_else(|| "it is being loaded".to_owned());
                format!("generation {in_force} is in force and not ready here: {why}")
            }
        });
        NodeStanding {
            state: self.state(),
            in_force,
            lapsed,
        }
    }

    fn state(&self) -> NodeState {
        NodeState {
            ready: self.ready.load(Ordering::Acquire),
            serving: self.serving.load(Ordering::Acquire),
        }
    }

    pub(super) fn is_ready(&self, number: u64) -> bool {
        self.ready.load(Ordering::Acquire) >= number
    }

    /// This node has a generation loaded and warm: the others are told.
    pub(super) fn note_ready(&self, number: u64) {
        if self.ready.fetch_max(number, Ordering::AcqRel) >= number {
            return;
        }
        *self.trouble.lock() = None;
        self.bus.announce(self.state());
        let signal = Signal::Ready { generation: number };
        self.bus.send(To::Everywhere, Parcel::Signal(signal));
    }

    pub(super) fn note_trouble(&self, why: &str) {
        *self.trouble.lock() = Some(why.to_owned());
    }

    /// This node judges by a generation.
    pub(super) fn note_serving(&self, number: u64) {
        self.serving.fetch_max(number, Ordering::AcqRel);
        self.ready.fetch_max(number, Ordering::AcqRel);
        *self.trouble.lock() = None;
        self.bus.announce(self.state());
        self.wake();
    }

    /// Tells the others that one is in force.
    pub(super) fn tell_in_force(&self, number: u64) {
        self.in_force.fetch_max(number, Ordering::AcqRel);
        let signal = Signal::Activate { generation: number };
        self.bus.send(To::Everywhere, Parcel::Signal(signal));
    }

    pub(super) fn note_behind(&self, number: u64, nodes: Vec<String>) {
        *self.behind.lock() = (number, nodes);
    }

    /// Who was not ready when this generation was put in force here.
    pub fn left_behind(&self, number: u64) -> Vec<String> {
        let behind = self.behind.lock();
        match behind.0 == number {
            true => behind.1.clone(),
            false => Vec::new(),
        }
    }

    /// Waits until every other node that serves is ready for a generation, or the time is over.
    pub(super) async fn wait_for_others(&self, number: u64, most: Duration) -> Others {
        let until = Instant::now() + most;
        loop {
            let heard = self.heard.notified();
            tokio::pin!(heard);
            heard.as_mut().enable();
            let others = self.others(number).await;
            let rest = until.saturating_duration_since(Instant::now());
            // Whom the bus cannot name follows the store, within its lease.
            let rest = match others.known {
                true => rest,
                false => rest.min((until - most + self.rules.lease) - Instant::now()),
            };
            if others.behind.is_empty() && others.known || rest.is_zero() {
                return others;
            }
            let _ = tokio::time::timeout(rest.min(self.rules.look / 2), heard).await;
        }
    }

    async fn others(&self, number: u64) -> Others {
        let unknown = Others {
            behind: Vec::new(),
            known: false,
        };
        if self.bus.health() == Health::Degraded {
            return unknown;
        }
        if self.bus.is_alone() {
            return Others {
                known: true,
                ..unknown
            };
        }
        let Ok(nodes) = self.bus.nodes().await else {
            return unknown;
        };
        let said = self.said_ready.lock();
        let is_behind = |node: &&Node| {
            let said = said.get(&node.name).copied().unwrap_or_default();
            // One that serves nothing yet starts with what is in force then.
            let waits = node.live && node.state.serving > 0;
            waits && node.name != *self.bus.node() && node.state.ready.max(said) < number
        };
        let behind = nodes.iter().filter(is_behind);
        Others {
            behind: behind.map(|node| node.name.to_string()).collect(),
            known: true,
        }
    }
}

enum Lapse {
    Unknown,
    Behind,
}
