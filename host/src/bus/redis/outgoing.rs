//! What this node says: queued without waiting, taken until the queue is empty, and published once for each node it is
//! for. Who is where is asked for all of it in one round trip. What cannot be said is dropped, and whoever it was for is
//! told so as soon as that works again.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Shared;
use super::wire::{Envelope, Says, encode};
use crate::bus::{NodeName, Parcel, Sighting, To};
use crate::ids::UserId;

/// Bytes, about, that may wait to be said.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// Parcels that may wait.
const WAITING_MOST: usize = 65_536;
/// Bytes, about, of one batch.
const BATCH_BYTES: usize = 1024 * 1024;
/// Between two attempts to tell a node that something for it is lost.
const AGAIN: Duration = Duration::from_millis(250);

/// What waits to be said.
#[derive(Default)]
pub struct Outgoing {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(To, Parcel)>,
    bytes: usize,
    /// Something did not fit: everybody may have lost something.
    overflowed: bool,
}

impl Outgoing {
    pub fn push(&self, to: To, parcel: Parcel) {
        let bytes = weight(&parcel);
        let mut queue = self.queue.lock();
        if queue.waiting.len() >= WAITING_MOST || queue.bytes + bytes > WAITING_BYTES {
            queue.overflowed = true;
        } else {
            queue.bytes += bytes;
            queue.waiting.push_back((to, parcel));
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// What waits, up to a batch; whether something was dropped before it.
    fn take(&self) -> (Vec<(To, Parcel)>, bool) {
        let mut queue = self.queue.lock();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES
            && let Some((to, parcel)) = queue.waiting.pop_front()
        {
            bytes += weight(&parcel);
            batch.push((to, parcel));
        }
        queue.bytes = queue.bytes.saturating_sub(bytes);
        (batch, std::mem::take(&mut queue.overflowed))
    }
}

/// About the bytes a parcel takes.
fn weight(parcel: &Parcel) -> usize {
    const OWN: usize = 64;
    OWN + match parcel {
        Parcel::Event { users, json } => json.len() + users.len() * size_of::<UserId>(),
        Parcel::Entered { views, .. } => {
            let view = |(users, json): &(Vec<UserId>, Bytes)| {
                json.len() + users.len() * size_of::<UserId>()
            };
            views.iter().map(view).sum()
        }
        Parcel::Entry { own, json, .. } => own.len() + json.len(),
        Parcel::Summary { users, .. } => users
            .as_ref()
            .map_or(0, |users| users.len() * size_of::<UserId>()),
        Parcel::Behind | Parcel::Signal(_) => OWN,
    }
}

/// The task that says it.
pub struct Speaker {
    shared: Arc<Shared>,
    /// Nodes something was lost for; they are told before they are told anything else.
    owed: BTreeSet<NodeName>,
    /// Something was lost for everybody, whoever that is.
    owes_all: bool,
    again_at: Instant,
}

impl Speaker {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            owed: BTreeSet::new(),
            owes_all: false,
            again_at: Instant::now(),
        }
    }

    /// Runs until dropped.
    pub async fn run(mut self) {
        loop {
            if self.owed.is_empty() && !self.owes_all {
                self.shared.outgoing.wake.notified().await;
            } else {
                let woken = self.shared.outgoing.wake.notified();
                let _ = tokio::time::timeout_at(self.again_at, woken).await;
            }
            loop {
                self.own_up().await;
                let (batch, overflowed) = self.shared.outgoing.take();
                if overflowed {
                    tracing::warn!("too much waits for other nodes; some of it is dropped");
                    self.owes_all = true;
                }
                if batch.is_empty() {
                    break;
                }
                self.say(batch).await;
            }
        }
    }

    /// Tells those something was lost for that it was.
    async fn own_up(&mut self) {
        if self.owed.is_empty() && !self.owes_all || Instant::now() < self.again_at {
            return;
        }
        self.again_at = Instant::now() + AGAIN;
        let Ok(peers) = self.shared.ask_for_peers().await else {
            return;
        };
        if std::mem::take(&mut self.owes_all) {
            let others = peers.keys().filter(|node| **node != self.shared.name);
            self.owed.extend(others.cloned());
        }
        // Who is gone has nothing to make up for.
        self.owed.retain(|node| peers.contains_key(node));
        let lost = self.sealed(Says::Lost);
        let telling = self
            .owed
            .iter()
            .map(|node| self.shared.publish(node, lost.clone()));
        let telling: Vec<_> = telling.collect();
        let told = join_all(telling).await;
        let mut told = told.into_iter();
        self.owed
            .retain(|_| told.next().is_none_or(|told| told.is_err()));
    }

    async fn say(&mut self, batch: Vec<(To, Parcel)>) {
        let mut asked: BTreeSet<UserId> = BTreeSet::new();
        for (to, parcel) in &batch {
            if *to == To::Users {
                asked.extend(parcel.users());
            }
        }
        let asked: Vec<UserId> = asked.into_iter().collect();
        let (others, found) = self.shared.look_up(&asked).await;
        self.owes_all |= !found.all_nodes;
        let found = Found::of(&found.sightings, &found.unknown);
        let mut by_node: BTreeMap<NodeName, Vec<Parcel>> = BTreeMap::new();
        for (to, parcel) in batch {
            for node in others.iter().filter(|node| to.includes(node)) {
                if let Some(part) = found.part_for(node, &to, &parcel) {
                    by_node.entry(node.clone()).or_default().push(part);
                }
            }
        }
        let due = by_node
            .into_iter()
            .filter(|(node, _)| !self.owed.contains(node));
        let publishing = due.map(|(node, parcels)| {
            let sealed = self.sealed(Says::Parcels(parcels));
            let shared = self.shared.clone();
            async move {
                let said = shared.publish(&node, sealed).await;
                said.err().map(|_| node)
            }
        });
        let publishing: Vec<_> = publishing.collect();
        let failed = join_all(publishing).await;
        self.owed.extend(failed.into_iter().flatten());
    }

    fn sealed(&self, says: Says) -> Bytes {
        encode(&Envelope {
            from: self.shared.name.clone(),
            says,
        })
    }
}

impl To {
    fn includes(&self, node: &NodeName) -> bool {
        match self {
            Self::Node(named) => named == node,
            Self::Users | Self::Everywhere => true,
        }
    }
}

/// Who is where, as far as it could be found out.
struct Found<'a> {
    nodes: HashMap<UserId, Vec<&'a NodeName>>,
    /// Nobody could say where these are: every node is told of them.
    unknown: &'a BTreeSet<UserId>,
}

impl<'a> Found<'a> {
    fn of(sightings: &'a [Sighting], unknown: &'a BTreeSet<UserId>) -> Self {
        let mut nodes: HashMap<UserId, Vec<&NodeName>> = HashMap::new();
        for seen in sightings {
            nodes.entry(seen.user).or_default().push(&seen.node);
        }
        Self { nodes, unknown }
    }

    fn part_for(&self, node: &NodeName, to: &To, parcel: &Parcel) -> Option<Parcel> {
        match to {
            To::Users => parcel.part_for(|user| {
                let seen = self.nodes.get(&user);
                seen.is_some_and(|nodes| nodes.contains(&node)) || self.unknown.contains(&user)
            }),
            To::Everywhere | To::Node(_) => Some(parcel.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Epoch;
    use crate::ids::SessionId;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).expect("a name")
    }

    fn event(users: &[u64], json: &'static [u8]) -> Parcel {
        Parcel::Event {
            users: users.iter().copied().map(UserId).collect(),
            json: Bytes::from_static(json),
        }
    }

    #[test]
    fn a_full_queue_drops_and_says_so_once() {
        let outgoing = Outgoing::default();
        for _ in 0..=WAITING_MOST {
            outgoing.push(To::Everywhere, event(&[1], b"x"));
        }
        let mut taken = 0;
        let (batch, overflowed) = outgoing.take();
        assert!(overflowed);
        taken += batch.len();
        loop {
            let (batch, overflowed) = outgoing.take();
            assert!(!overflowed);
            if batch.is_empty() {
                break;
            }
            taken += batch.len();
        }
        assert_eq!(taken, WAITING_MOST);
        assert_eq!(outgoing.queue.lock().bytes, 0);
    }

    #[test]
    fn a_node_is_told_of_its_own_users_and_of_those_nobody_could_find() {
        let seen = [Sighting {
            user: UserId(1),
            device: "d".to_owned(),
            kind: "web".to_owned(),
            session: SessionId(1),
            epoch: Epoch(1),
            node: node("a"),
        }];
        let unknown = BTreeSet::from([UserId(3)]);
        let found = Found::of(&seen, &unknown);
        let parcel = event(&[1, 2, 3], b"x");
        let part = |name: &str| found.part_for(&node(name), &To::Users, &parcel);
        assert_eq!(part("a"), Some(event(&[1, 3], b"x")));
        assert_eq!(part("b"), Some(event(&[3], b"x")));
        let everywhere = found.part_for(&node("b"), &To::Everywhere, &parcel);
        assert_eq!(everywhere.as_ref(), Some(&parcel));
    }
}
