//! The bus within one process. A single node is alone on it, and nothing is said or kept then; several nodes of one
//! process (in tests) hear each other by bounded queues. Knows no network.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{
    Bus, BusError, Epoch, Health, Lease, Node, NodeName, NodeState, Parcel, Rate, Received,
    Sighting, Standing, Taken, To,
};
use crate::clock::Clock;
use crate::ids::UserId;

/// Parcels that may wait at one node.
const WAITING_MOST: usize = 1024;
/// Keys that rates are kept for.
const RATES_MOST: usize = 100_000;

/// What the nodes of one process share.
pub struct Hub {
    clock: Arc<dyn Clock>,
    /// Epochs count microseconds from here.
    began: Instant,
    /// How long a node that vanished counts as there.
    lease: Duration,
    seats: Mutex<Seats>,
    live: AtomicUsize,
}

#[derive(Debug, Default)]
struct Seats {
    nodes: BTreeMap<NodeName, Seat>,
    sessions: HashMap<UserId, Vec<Sighting>>,
    /// When each rate's bucket is full again.
    rates: HashMap<String, Instant>,
    joined: u64,
}

#[derive(Debug)]
struct Seat {
    /// Which of the nodes of this name it is.
    number: u64,
    ear: mpsc::Sender<Received>,
    /// A `Behind` is on its way.
    behind: Arc<AtomicBool>,
    node: Node,
}

/// One node's place at a hub.
#[derive(Debug)]
pub struct LocalBus {
    hub: Arc<Hub>,
    name: NodeName,
    number: u64,
    left: AtomicBool,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("seats", &self.seats)
            .finish_non_exhaustive()
    }
}

impl Hub {
    pub fn new(clock: Arc<dyn Clock>, lease: Duration) -> Arc<Self> {
        Arc::new(Self {
            clock,
            began: Instant::now(),
            lease,
            seats: Mutex::default(),
            live: AtomicUsize::new(0),
        })
    }

    /// A node of this name; one that had it before is no more.
    pub fn join(self: &Arc<Self>, name: NodeName) -> (Arc<LocalBus>, mpsc::Receiver<Received>) {
        let (ear, heard) = mpsc::channel(WAITING_MOST);
        let mut seats = self.seats.lock();
        seats.forget_sessions(&name);
        seats.joined += 1;
        let number = seats.joined;
        let seat = Seat {
            number,
            ear,
            behind: Arc::default(),
            node: Node {
                name: name.clone(),
                state: NodeState::default(),
                live: true,
                last_seen_ms: self.clock.now_ms(),
            },
        };
        seats.nodes.insert(name.clone(), seat);
        self.count(&seats);
        drop(seats);
        let bus = LocalBus {
            hub: self.clone(),
            name,
            number,
            left: AtomicBool::new(false),
        };
        (Arc::new(bus), heard)
    }

    /// The one node of a process that serves by itself.
    pub fn alone(
        clock: Arc<dyn Clock>,
        name: NodeName,
    ) -> (Arc<LocalBus>, mpsc::Receiver<Received>) {
        Self::new(clock, Duration::ZERO).join(name)
    }

    fn count(&self, seats: &Seats) {
        let live = seats.nodes.values().filter(|seat| seat.node.live).count();
        self.live.store(live, Ordering::Release);
    }

    /// A node is over, if it is still the one that has the name.
    fn end(&self, name: &NodeName, number: u64) {
        let mut seats = self.seats.lock();
        let Some(seat) = seats.nodes.get_mut(name) else {
            return;
        };
        if seat.number != number || !seat.node.live {
            return;
        }
        seat.node.live = false;
        seat.node.last_seen_ms = self.clock.now_ms();
        seats.forget_sessions(name);
        self.count(&seats);
        for seat in seats.nodes.values().filter(|seat| seat.node.live) {
            seat.hear(Received::Gone(name.clone()));
        }
    }
}

impl Seats {
    fn forget_sessions(&mut self, node: &NodeName) {
        self.sessions.retain(|_, sessions| {
            sessions.retain(|sighting| sighting.node != *node);
            !sessions.is_empty()
        });
    }

    fn lease(&mut self, began: Instant, node: &NodeName, lease: &Lease) -> Standing {
        let sessions = self.sessions.entry(lease.user).or_default();
        let before = sessions
            .iter()
            .position(|other| other.device == lease.device);
        let held = before.map(|at| sessions[at].epoch);
        let is_new = lease.epoch == Epoch::NEW;
        let epoch = match is_new {
            true => Epoch(lease.since.duration_since(began).as_micros() as u64),
            false => lease.epoch,
        };
        if held.is_some_and(|held| held > epoch) {
            return Standing {
                epoch: None,
                others: sessions.clone(),
            };
        }
        let mut others = sessions.clone();
        others.retain(|other| other.node != *node || other.session != lease.session);
        let epoch = match held {
            Some(held) if is_new => epoch.max(Epoch(held.0 + 1)),
            _ => epoch.max(Epoch(1)),
        };
        if let Some(at) = before {
            sessions.swap_remove(at);
        }
        sessions.push(Sighting {
            user: lease.user,
            device: lease.device.clone(),
            kind: lease.kind.clone(),
            session: lease.session,
            epoch,
            node: node.clone(),
        });
        Standing {
            epoch: Some(epoch),
            others,
        }
    }

    /// One node's part of a parcel, if it has any.
    fn part_for(&self, node: &NodeName, to: &To, parcel: &Parcel) -> Option<Parcel> {
        match to {
            To::Everywhere => Some(parcel.clone()),
            To::Node(named) => (named == node).then(|| parcel.clone()),
            To::Users => parcel.part_for(|user| {
                let sessions = self.sessions.get(&user);
                sessions.is_some_and(|sessions| sessions.iter().any(|seen| seen.node == *node))
            }),
        }
    }
}

impl Seat {
    fn hear(&self, received: Received) {
        if self.ear.try_send(received).is_ok() || self.behind.swap(true, Ordering::AcqRel) {
            return;
        }
        let (ear, behind) = (self.ear.clone(), self.behind.clone());
        tokio::spawn(async move {
            let room = ear.reserve().await;
            // What is lost from here on is told anew.
            behind.store(false, Ordering::Release);
            if let Ok(room) = room {
                room.send(Received::Behind);
            }
        });
    }
}

#[async_trait]
impl Bus for LocalBus {
    fn node(&self) -> &NodeName {
        &self.name
    }

    fn is_alone(&self) -> bool {
        self.hub.live.load(Ordering::Acquire) <= 1
    }

    fn send(&self, to: To, parcel: Parcel) {
        let seats = self.hub.seats.lock();
        for (node, seat) in &seats.nodes {
            if *node == self.name || !seat.node.live {
                continue;
            }
            if let Some(parcel) = seats.part_for(node, &to, &parcel) {
                seat.hear(Received::Parcels {
                    from: self.name.clone(),
                    parcels: vec![parcel],
                });
            }
        }
    }

    async fn lease(&self, leases: &[Lease]) -> Result<Vec<Standing>, BusError> {
        let mut seats = self.hub.seats.lock();
        let leased = leases
            .iter()
            .map(|lease| seats.lease(self.hub.began, &self.name, lease));
        Ok(leased.collect())
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), BusError> {
        let mut seats = self.hub.seats.lock();
        for lease in leases {
            let Some(sessions) = seats.sessions.get_mut(&lease.user) else {
                continue;
            };
            sessions.retain(|seen| {
                seen.node != self.name
                    || seen.session != lease.session
                    || seen.device != lease.device
            });
            if sessions.is_empty() {
                seats.sessions.remove(&lease.user);
            }
        }
        Ok(())
    }

    async fn whereabouts(&self, users: &[UserId]) -> Result<Vec<Sighting>, BusError> {
        let seats = self.hub.seats.lock();
        let found = users.iter().filter_map(|user| seats.sessions.get(user));
        Ok(found.flatten().cloned().collect())
    }

    async fn take(&self, rate: &Rate) -> Result<Taken, BusError> {
        let now = Instant::now();
        let mut seats = self.hub.seats.lock();
        if seats.rates.len() >= RATES_MOST {
            seats.rates.retain(|_, full_at| *full_at > now);
        }
        if seats.rates.len() >= RATES_MOST {
            return Err(BusError::Refused("too many rates are counted".to_owned()));
        }
        let full_at = seats.rates.get(&rate.key).copied().unwrap_or(now).max(now);
        let full_at = full_at + rate.refill;
        let room = rate.refill * rate.burst.max(1);
        if full_at > now + room {
            return Ok(Taken::After(full_at - now - room));
        }
        seats.rates.insert(rate.key.clone(), full_at);
        Ok(Taken::Yes)
    }

    async fn nodes(&self) -> Result<Vec<Node>, BusError> {
        let mut seats = self.hub.seats.lock();
        for seat in seats.nodes.values_mut().filter(|seat| seat.node.live) {
            seat.node.last_seen_ms = self.hub.clock.now_ms();
        }
        Ok(seats.nodes.values().map(|seat| seat.node.clone()).collect())
    }

    fn announce(&self, state: NodeState) {
        if let Some(own) = self.hub.seats.lock().nodes.get_mut(&self.name) {
            own.node.state = state;
        }
    }

    fn health(&self) -> Health {
        Health::Ok
    }

    async fn leave(&self) {
        if !self.left.swap(true, Ordering::AcqRel) {
            self.hub.end(&self.name, self.number);
        }
    }
}

impl Drop for LocalBus {
    /// A node that vanishes is there until its lease is over.
    fn drop(&mut self) {
        if *self.left.get_mut() {
            return;
        }
        let (hub, name, number) = (self.hub.clone(), self.name.clone(), self.number);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    tokio::time::sleep(hub.lease).await;
                    hub.end(&name, number);
                });
            }
            Err(_) => hub.end(&name, number),
        }
    }
}
