//! The bus between simulated nodes, with what befalls one: parcels are lost (which is told), late, or come twice; a node is
//! cut off, its lease runs out, and it begins anew when it is back. Order holds for what one node says to another.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kith::bus::{
    Bus, BusError, Health, Lease, Node, NodeName, NodeState, Parcel, Rate, Received, Sighting,
    Standing, Taken, To,
};
use kith::ids::{SessionId, UserId};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::chance::{Sim, tell};
use super::defects::Defect;
use super::node::{Tasks, kind};
use super::seats::{Seat, Seats};

/// How long a node counts as there that is not heard of.
pub const LEASE: Duration = Duration::from_millis(1_500);
/// Parcels that may wait at a sender, on a way, and at a receiver.
const WAITING_MOST: usize = 64;

/// How the bus fares, in percent of what is said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    pub loses: u64,
    pub doubles: u64,
    pub delays: u64,
}

/// What all nodes share.
pub struct Hub {
    sim: Arc<Sim>,
    /// Epochs count microseconds from here.
    began: Instant,
    seats: Mutex<Seats>,
}

/// One node's place on the bus.
pub struct SimBus {
    hub: Arc<Hub>,
    name: NodeName,
    number: u64,
    said: mpsc::Sender<(To, Parcel)>,
}

impl fmt::Debug for SimBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimBus({})", self.name)
    }
}

impl Hub {
    pub fn new(sim: &Arc<Sim>) -> Arc<Self> {
        let hub = Arc::new(Self {
            sim: sim.clone(),
            began: Instant::now(),
            seats: Mutex::default(),
        });
        tokio::spawn(hub.clone().expire());
        hub
    }

    /// A node of this name; one that had it before is no more.
    pub fn join(
        self: &Arc<Self>,
        name: &NodeName,
        tasks: &Tasks,
    ) -> (Arc<SimBus>, mpsc::Receiver<Received>) {
        let (ear, heard) = mpsc::channel(WAITING_MOST);
        let (said, saying) = mpsc::channel(WAITING_MOST);
        let mut seats = self.seats.lock();
        seats.forget_sessions(name);
        seats.joined += 1;
        let number = seats.joined;
        let seat = Seat {
            number,
            ear,
            renewed: Instant::now(),
            live: true,
            cut: false,
            state: NodeState::default(),
            owes: Vec::new(),
        };
        let before = seats.nodes.insert(name.clone(), seat);
        if before.is_some_and(|before| before.live) {
            self.tell_gone(&mut seats, name);
        }
        drop(seats);
        let bus = SimBus {
            hub: self.clone(),
            name: name.clone(),
            number,
            said,
        };
        let bus = Arc::new(bus);
        tasks.spawn(self.clone().say(name.clone(), saying));
        tasks.spawn(bus.clone().pulse());
        (bus, heard)
    }

    pub fn set_weather(&self, weather: Weather) {
        self.seats.lock().weather = weather;
    }

    /// Cuts a node off, or joins it again: then all it leased is void, and it is told.
    pub fn set_cut(self: &Arc<Self>, name: &NodeName, cut: bool) {
        let mut seats = self.seats.lock();
        let Some(seat) = seats.nodes.get_mut(name) else {
            return;
        };
        let back = std::mem::replace(&mut seat.cut, cut) && !cut;
        if !back {
            return;
        }
        (seat.live, seat.renewed) = (true, Instant::now());
        let (ear, owes) = (seat.ear.clone(), std::mem::take(&mut seat.owes));
        seats.forget_sessions(name);
        seats.lost = Some(Instant::now());
        for other in owes {
            self.deliver(&mut seats, name, &other, Received::Behind);
        }
        tokio::spawn(async move { ear.send(Received::Resumed).await });
    }

    pub fn is_cut(&self, name: &NodeName) -> bool {
        let seats = self.seats.lock();
        seats.nodes.get(name).is_none_or(|seat| seat.cut)
    }

    /// Whether something was lost since then.
    pub fn has_lost(&self, since: Instant) -> bool {
        self.seats.lock().lost.is_some_and(|lost| lost > since)
    }

    /// Where a device is said to be.
    pub fn finds(&self, user: UserId, device: &str) -> Vec<(NodeName, SessionId)> {
        let seats = self.seats.lock();
        let seen = seats.sessions.get(&(user, device.to_owned()));
        let seen = seen.into_iter().flatten();
        seen.map(|seen| (seen.node.clone(), seen.session)).collect()
    }

    /// Nodes whose lease has run out are gone, their sessions with them.
    async fn expire(self: Arc<Self>) {
        loop {
            sleep(Duration::from_millis(100)).await;
            let mut seats = self.seats.lock();
            let over = |seat: &Seat| seat.live && seat.renewed.elapsed() > LEASE;
            let gone = seats.nodes.iter().filter(|(_, seat)| over(seat));
            let gone: Vec<NodeName> = gone.map(|(name, _)| name.clone()).collect();
            for name in gone {
                tell!(self.sim, "bus: {name} is gone");
                if let Some(seat) = seats.nodes.get_mut(&name) {
                    seat.live = false;
                }
                seats.forget_sessions(&name);
                self.tell_gone(&mut seats, &name);
            }
        }
    }

    fn tell_gone(&self, seats: &mut Seats, name: &NodeName) {
        for other in seats.others(name) {
            self.deliver(seats, name, &other, Received::Gone(name.clone()));
        }
    }

    /// Takes what a node says to those it is for.
    async fn say(self: Arc<Self>, from: NodeName, mut saying: mpsc::Receiver<(To, Parcel)>) {
        while let Some((to, parcel)) = saying.recv().await {
            sleep(self.sim.while_of(0, 3)).await;
            let mut seats = self.seats.lock();
            for other in seats.others(&from) {
                let Some(part) = seats.part_for(&other, &to, &parcel) else {
                    continue;
                };
                let is_cut = seats.nodes.get(&from).is_none_or(|seat| seat.cut);
                let weather = seats.weather;
                if is_cut {
                    seats.owe(&from, &other);
                } else if self.sim.happens(weather.loses) {
                    let kind = kind(&part);
                    seats.lost = Some(Instant::now());
                    tell!(self.sim, "bus: lost from {from} to {other}: {kind}");
                    if !self.sim.has(Defect::LossNotTold) {
                        self.deliver(&mut seats, &from, &other, Received::Behind);
                    }
                } else {
                    if self.sim.happens(weather.doubles) {
                        self.double(&seats, &from, &other, part.clone());
                    }
                    let received = Received::Parcels {
                        from: from.clone(),
                        parcels: vec![part],
                    };
                    self.deliver(&mut seats, &from, &other, received);
                }
            }
        }
    }

    /// The same once more, a while later.
    fn double(&self, seats: &Seats, from: &NodeName, to: &NodeName, part: Parcel) {
        let Some(ear) = seats.nodes.get(to).map(|seat| seat.ear.clone()) else {
            return;
        };
        let parcels = match part {
            Parcel::Entered { views, .. } if self.sim.has(Defect::DoubledDeliveredTwice) => views
                .into_iter()
                .map(|(users, json)| Parcel::Event { users, json })
                .collect(),
            // An event has no place: what is told once only is told once.
            Parcel::Event { .. } => return,
            part => vec![part],
        };
        let (from, later) = (from.clone(), self.sim.while_of(1, 300));
        tokio::spawn(async move {
            sleep(later).await;
            let _ = ear.send(Received::Parcels { from, parcels }).await;
        });
    }

    /// Sends on a way, behind what is on it.
    fn deliver(&self, seats: &mut Seats, from: &NodeName, to: &NodeName, received: Received) {
        let number = |name: &NodeName| seats.nodes.get(name).map_or(0, |seat| seat.number);
        let way = (number(from), number(to));
        let Some(seat) = seats.nodes.get(to) else {
            return;
        };
        if seat.cut {
            // It is told when it is back.
            return;
        }
        let late = if self.sim.happens(seats.weather.delays) {
            self.sim.while_of(20, 400)
        } else {
            self.sim.while_of(1, 4)
        };
        let ear = seat.ear.clone();
        let way = seats.ways.entry(way).or_insert_with(|| {
            let (sender, parcels) = mpsc::channel(4 * WAITING_MOST);
            tokio::spawn(carry(parcels, ear));
            (sender, Instant::now())
        });
        way.1 = way.1.max(Instant::now() + late);
        if way.0.try_send((way.1, received)).is_err() {
            // Whoever walks the way tells it.
            let (sender, due) = (way.0.clone(), way.1);
            tokio::spawn(async move { sender.send((due, Received::Behind)).await });
        }
    }
}

/// One way from a node to another.
async fn carry(mut parcels: mpsc::Receiver<(Instant, Received)>, ear: mpsc::Sender<Received>) {
    while let Some((due, received)) = parcels.recv().await {
        sleep_until(due).await;
        if ear.send(received).await.is_err() {
            return;
        }
    }
}

impl SimBus {
    /// A node says that it is there.
    async fn pulse(self: Arc<Self>) {
        loop {
            sleep(LEASE / 3).await;
            if self.hub.sim.has(Defect::LeaseNotRenewed) && self.number == 2 {
                continue;
            }
            let mut seats = self.hub.seats.lock();
            if let Some(seat) = seats.nodes.get_mut(&self.name)
                && seat.number == self.number
                && !seat.cut
            {
                seat.renewed = Instant::now();
            }
        }
    }

    /// Asks what all nodes share.
    async fn ask<T>(&self, ask: impl FnOnce(&mut Seats) -> T + Send) -> Result<T, BusError> {
        sleep(self.hub.sim.while_of(0, 3)).await;
        let lost = self.hub.sim.happens(self.hub.seats.lock().weather.loses);
        let mut seats = self.hub.seats.lock();
        let seat = seats.nodes.get(&self.name);
        let here = seat.is_some_and(|seat| seat.number == self.number && !seat.cut);
        if !here || lost {
            seats.lost = Some(Instant::now());
            return Err(BusError::Unavailable("simulated".to_owned()));
        }
        Ok(ask(&mut seats))
    }
}

#[async_trait]
impl Bus for SimBus {
    fn node(&self) -> &NodeName {
        &self.name
    }

    fn is_alone(&self) -> bool {
        false
    }

    fn send(&self, to: To, parcel: Parcel) {
        if self.said.try_send((to, parcel)).is_err() {
            let mut seats = self.hub.seats.lock();
            for other in seats.others(&self.name) {
                self.hub
                    .deliver(&mut seats, &self.name, &other, Received::Behind);
            }
        }
    }

    async fn lease(&self, leases: &[Lease]) -> Result<Vec<Standing>, BusError> {
        let ignores = self.hub.sim.has(Defect::NewerConnectionIgnored);
        self.ask(|seats| {
            let leased = leases.iter().map(|lease| {
                let mut standing = seats.lease(self.hub.began, &self.name, lease);
                if ignores {
                    standing.others.clear();
                }
                standing
            });
            leased.collect()
        })
        .await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), BusError> {
        let takes_newer = self.hub.sim.has(Defect::LateEndTakesNewer);
        self.ask(|seats| {
            for lease in leases {
                let place = (lease.user, lease.device.clone());
                let Some(sessions) = seats.sessions.get_mut(&place) else {
                    continue;
                };
                let is_it = |seen: &Sighting| {
                    takes_newer || (seen.node == self.name && seen.session == lease.session)
                };
                sessions.retain(|seen| !is_it(seen));
                if sessions.is_empty() {
                    seats.sessions.remove(&place);
                }
            }
        })
        .await
    }

    async fn whereabouts(&self, users: &[UserId]) -> Result<Vec<Sighting>, BusError> {
        self.ask(|seats| {
            let sessions = seats.sessions.values().flatten();
            let found = sessions.filter(|seen| users.contains(&seen.user));
            found.cloned().collect()
        })
        .await
    }

    async fn take(&self, _: &Rate) -> Result<Taken, BusError> {
        Ok(Taken::Yes)
    }

    async fn nodes(&self) -> Result<Vec<Node>, BusError> {
        self.ask(|seats| {
            let nodes = seats.nodes.iter();
            let node = |(name, seat): (&NodeName, &Seat)| Node {
                name: name.clone(),
                state: seat.state,
                live: seat.live,
                last_seen_ms: 0,
            };
            nodes.map(node).collect()
        })
        .await
    }

    fn announce(&self, state: NodeState) {
        if let Some(seat) = self.hub.seats.lock().nodes.get_mut(&self.name) {
            seat.state = state;
        }
    }

    fn health(&self) -> Health {
        match self.hub.is_cut(&self.name) {
            true => Health::Degraded,
            false => Health::Ok,
        }
    }

    async fn leave(&self) {
        let mut seats = self.hub.seats.lock();
        seats.forget_sessions(&self.name);
        if let Some(seat) = seats.nodes.get_mut(&self.name) {
            seat.live = false;
        }
    }
}
