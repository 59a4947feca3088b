//! Where nodes and sessions are, as the simulated bus knows it: who has a seat, who is leased where, which way leads from a
//! node to another.

use std::collections::BTreeMap;

use kith::bus::{Epoch, Lease, NodeName, NodeState, Parcel, Received, Sighting, Standing, To};
use kith::ids::UserId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::bus::Weather;

/// A node's place.
pub struct Seat {
    /// Which of the nodes of its name it is.
    pub number: u64,
    pub ear: mpsc::Sender<Received>,
    pub renewed: Instant,
    pub live: bool,
    pub cut: bool,
    pub state: NodeState,
    /// Nodes for which something that this one said is lost.
    pub owes: Vec<NodeName>,
}

/// What is on its way from a node to another, and when the last of it arrives.
pub type Way = (mpsc::Sender<(Instant, Received)>, Instant);

/// All places, and who is leased at which.
#[derive(Default)]
pub struct Seats {
    pub nodes: BTreeMap<NodeName, Seat>,
    pub sessions: BTreeMap<(UserId, String), Vec<Sighting>>,
    pub ways: BTreeMap<(u64, u64), Way>,
    pub joined: u64,
    pub weather: Weather,
    /// When something was last lost.
    pub lost: Option<Instant>,
}

impl Seats {
    pub fn forget_sessions(&mut self, node: &NodeName) {
        self.sessions.retain(|_, sessions| {
            sessions.retain(|seen| seen.node != *node);
            !sessions.is_empty()
        });
    }

    /// Nodes that may hear, but one.
    pub fn others(&self, node: &NodeName) -> Vec<NodeName> {
        let live = self.nodes.iter().filter(|(_, seat)| seat.live);
        let names = live.map(|(name, _)| name.clone());
        names.filter(|name| name != node).collect()
    }

    pub fn owe(&mut self, from: &NodeName, to: &NodeName) {
        if let Some(seat) = self.nodes.get_mut(from)
            && !seat.owes.contains(to)
        {
            seat.owes.push(to.clone());
        }
    }

    pub fn part_for(&self, node: &NodeName, to: &To, parcel: &Parcel) -> Option<Parcel> {
        match to {
            To::Everywhere => Some(parcel.clone()),
            To::Node(named) => (named == node).then(|| parcel.clone()),
            To::Users => parcel.part_for(|user| {
                let mut sessions = self.sessions.values().flatten();
                sessions.any(|seen| seen.user == user && seen.node == *node)
            }),
        }
    }

    pub fn lease(&mut self, began: Instant, node: &NodeName, lease: &Lease) -> Standing {
        let place = (lease.user, lease.device.clone());
        let sessions = self.sessions.values().flatten();
        let is_own = |seen: &Sighting| seen.node == *node && seen.session == lease.session;
        let others = sessions.filter(|seen| seen.user == lease.user && !is_own(seen));
        let others: Vec<Sighting> = others.cloned().collect();
        let held = self.sessions.get(&place).and_then(|seen| seen.last());
        let held = held.map(|held| held.epoch);
        let is_new = lease.epoch == Epoch::NEW;
        let epoch = match is_new {
            true => Epoch(lease.since.duration_since(began).as_micros() as u64),
            false => lease.epoch,
        };
        if held.is_some_and(|held| held > epoch) {
            return Standing {
                epoch: None,
                others,
            };
        }
        let epoch = match held {
            Some(held) if is_new => epoch.max(Epoch(held.0 + 1)),
            _ => epoch.max(Epoch(1)),
        };
        let seen = Sighting {
            user: lease.user,
            device: lease.device.clone(),
            kind: lease.kind.clone(),
            session: lease.session,
            epoch,
            node: node.clone(),
        };
        self.sessions.insert(place, vec![seen]);
        Standing {
            epoch: Some(epoch),
            others,
        }
    }
}
