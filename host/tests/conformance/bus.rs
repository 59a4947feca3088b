//! What every bus between nodes promises, whatever it runs on. A suite sees the seam and nothing below it; what is told of
//! servers that die or are cut off is in `faults.rs`, the servers are in `servers.rs`.

mod engines;
pub mod faults;
pub mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kith::bus::{
    Bus, Epoch, Lease, Node, NodeName, NodeState, Parcel, Place, Rate, Received, Sighting, Signal,
    Taken, To,
};
use kith::ids::{ConversationId, SessionId, UserId};
use kith::session::Bye;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::support::PATIENCE;

/// How long the suite's nodes are believed to be there without a word.
pub const LEASE: Duration = Duration::from_millis(1500);

/// A node of the suite.
pub struct Joined {
    pub bus: Arc<dyn Bus>,
    pub heard: mpsc::Receiver<Received>,
}

/// What a bus runs on.
pub trait Engine {
    /// A node on it, with `LEASE`.
    async fn join(&self, name: NodeName) -> Joined;
}

/// One promise's own part of a bus: nodes and users that no other promise has.
pub struct World<'a, E> {
    pub engine: &'a E,
    pub number: u64,
}

impl<E: Engine> World<'_, E> {
    pub async fn join(&self, name: &str) -> Joined {
        let name = NodeName::new(&format!("{name}-{}", self.number)).expect("a name");
        self.engine.join(name).await
    }

    pub fn user(&self, number: u64) -> UserId {
        UserId(self.number * 100_000 + number)
    }
}

impl Joined {
    pub fn name(&self) -> NodeName {
        self.bus.node().clone()
    }

    /// The next that arrives.
    pub async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(PATIENCE, self.heard.recv());
        next.await.expect("in time").expect("the bus goes on")
    }

    /// The next parcel that is not about other promises' nodes, with who said it.
    async fn parcel(&mut self, waiting: &mut Vec<Parcel>) -> Parcel {
        while waiting.is_empty() {
            if let Received::Parcels { parcels, .. } = self.next().await {
                waiting.extend(parcels);
            }
        }
        waiting.remove(0)
    }

    /// Waits for parcels, just these and in this order.
    async fn hears(&mut self, expected: &[Parcel]) {
        let mut waiting = Vec::new();
        for expected in expected {
            assert_eq!(&self.parcel(&mut waiting).await, expected);
        }
        assert_eq!(waiting, [], "nothing else");
    }

    async fn lease(&self, lease: &Lease) -> Option<Epoch> {
        let leased = self.bus.lease(std::slice::from_ref(lease)).await;
        leased.expect("leased").remove(0).epoch
    }

    async fn sees(&self, user: UserId) -> Vec<Sighting> {
        self.bus.whereabouts(&[user]).await.expect("found out")
    }
}

pub fn lease(user: UserId, device: &str, session: u64) -> Lease {
    Lease {
        user,
        device: device.to_owned(),
        kind: "web".to_owned(),
        session: SessionId(session),
        epoch: Epoch::NEW,
        since: Instant::now(),
    }
}

pub fn event(users: &[UserId], number: u64) -> Parcel {
    Parcel::Entered {
        place: Place {
            conversation: ConversationId(7),
            seq: number,
        },
        views: vec![(
            users.to_vec(),
            Bytes::from(format!("{{\"ev\":\"entry\",\"n\":{number}}}")),
        )],
    }
}

/// Asks until it is so.
pub async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(so) = ask().await {
                return so;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("in time")
}

pub async fn an_event_reaches_the_nodes_where_its_users_are_and_no_other<E: Engine>(
    world: World<'_, E>,
) {
    let (a, mut b, mut c) = (
        world.join("a").await,
        world.join("b").await,
        world.join("c").await,
    );
    let (ann, bob, cid) = (world.user(1), world.user(2), world.user(3));
    b.lease(&lease(ann, "d", 1)).await;
    b.lease(&lease(bob, "d", 2)).await;
    c.lease(&lease(bob, "e", 1)).await;
    a.lease(&lease(cid, "d", 1)).await;
    a.bus
        .send(To::Users, event(&[ann, bob, cid, world.user(4)], 1));
    a.bus.send(To::Users, event(&[cid], 2));
    a.bus.send(To::Node(c.name()), event(&[], 3));
    a.bus.send(To::Everywhere, event(&[], 4));
    b.hears(&[event(&[ann, bob], 1), event(&[], 4)]).await;
    c.hears(&[event(&[bob], 1), event(&[], 3), event(&[], 4)])
        .await;
}

pub async fn what_is_said_arrives_in_its_order_and_not_at_who_says_it<E: Engine>(
    world: World<'_, E>,
) {
    let (mut a, mut b) = (world.join("a").await, world.join("b").await);
    let ann = world.user(1);
    b.lease(&lease(ann, "d", 1)).await;
    let said: Vec<Parcel> = (0..500)
        .map(|number| match number % 3 {
            0 => event(&[ann], number),
            1 => Parcel::Signal(Signal::Ready { generation: number }),
            _ => Parcel::Summary {
                conversation: ConversationId(u128::from(number)),
                users: Some(vec![ann]),
            },
        })
        .collect();
    for parcel in &said {
        let to = match parcel {
            Parcel::Entered { .. } => To::Users,
            _ => To::Everywhere,
        };
        a.bus.send(to, parcel.clone());
    }
    b.hears(&said).await;
    // The first that a hears is b's word.
    b.bus.send(To::Everywhere, event(&[], 1));
    a.hears(&[event(&[], 1)]).await;
}

pub async fn every_kind_of_word_arrives_as_it_was_said<E: Engine>(world: World<'_, E>) {
    let (a, mut b) = (world.join("a").await, world.join("b").await);
    let ann = world.user(1);
    let said = [
        Parcel::Entry {
            place: Place {
                conversation: ConversationId(u128::MAX),
                seq: u64::MAX,
            },
            author: ann,
            own: Bytes::from_static(b"{\"own\":\"\xc3\xa9\"}"),
            json: Bytes::from_static(b"{}"),
        },
        Parcel::Summary {
            conversation: ConversationId(1),
            users: None,
        },
        Parcel::Signal(Signal::EndUser {
            user: ann,
            device: None,
            except: Some("phone".to_owned()),
            bye: Bye::Unauthenticated,
        }),
        Parcel::Signal(Signal::EndDevice {
            device: "d|{}".to_owned(),
            bye: Bye::Banned,
        }),
        Parcel::Signal(Signal::Presence(vec![ann, world.user(2)])),
        Parcel::Signal(Signal::Bans),
        Parcel::Signal(Signal::Activate { generation: 9 }),
    ];
    for parcel in &said {
        a.bus.send(To::Everywhere, parcel.clone());
    }
    b.hears(&said).await;
}

pub async fn a_devices_newer_connection_wins_and_a_late_end_of_the_older_takes_nothing_away<
    E: Engine,
>(
    world: World<'_, E>,
) {
    let (a, b) = (world.join("a").await, world.join("b").await);
    let ann = world.user(1);
    let older = lease(ann, "phone", 1);
    let first = a.lease(&older).await.expect("leased");
    let newer = lease(ann, "phone", 1);
    let standing = b
        .bus
        .lease(std::slice::from_ref(&newer))
        .await
        .expect("leased")
        .remove(0);
    let second = standing.epoch.expect("the newer one");
    assert!(second > first);
    let replaced: Vec<_> = standing
        .others
        .iter()
        .map(|other| (other.node.clone(), other.session))
        .collect();
    assert_eq!(
        replaced,
        [(a.name(), SessionId(1))],
        "it is told which one it replaces"
    );
    // The same number of a session on another node is another session.
    a.bus.release(&[older]).await.expect("released");
    let seen = b.sees(ann).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(
        (&seen[0].node, seen[0].epoch, &*seen[0].kind),
        (&b.name(), second, "web")
    );
    b.bus.release(&[newer]).await.expect("released");
    assert_eq!(a.sees(ann).await, []);
}

pub async fn a_lease_written_anew_keeps_its_epoch_and_gives_way_to_a_newer_one<E: Engine>(
    world: World<'_, E>,
) {
    let (a, b) = (world.join("a").await, world.join("b").await);
    let ann = world.user(1);
    let mut own = lease(ann, "phone", 1);
    own.epoch = a.lease(&own).await.expect("leased");
    assert_eq!(a.lease(&own).await, Some(own.epoch));
    let other = lease(ann, "desk", 2);
    b.lease(&other).await;
    assert_eq!(a.sees(ann).await.len(), 2);
    let newer = b.lease(&lease(ann, "phone", 3)).await;
    assert!(newer > Some(own.epoch));
    assert_eq!(a.lease(&own).await, None, "it is told that it is over");
    let seen = a.sees(ann).await;
    let phone = seen
        .iter()
        .find(|seen| seen.device == "phone")
        .expect("it is there");
    assert_eq!((&phone.node, phone.session), (&b.name(), SessionId(3)));
}

pub async fn a_connection_that_is_leased_late_gives_way_to_one_made_meanwhile<E: Engine>(
    world: World<'_, E>,
) {
    let (a, b) = (world.join("a").await, world.join("b").await);
    let ann = world.user(1);
    let newer = b.lease(&lease(ann, "phone", 2)).await;
    assert!(newer.is_some());
    let mut late = lease(ann, "phone", 1);
    late.since -= Duration::from_secs(1);
    assert_eq!(a.lease(&late).await, None, "it is told that it is over");
    let seen = a.sees(ann).await;
    let places: Vec<_> = seen.iter().map(|seen| (&seen.node, seen.epoch)).collect();
    assert_eq!(places, [(&b.name(), newer.expect("leased"))]);
}

pub async fn many_users_are_found_at_once<E: Engine>(world: World<'_, E>) {
    let nodes = [
        world.join("a").await,
        world.join("b").await,
        world.join("c").await,
    ];
    let users: Vec<UserId> = (0..600).map(|number| world.user(number)).collect();
    for (place, node) in nodes.iter().enumerate() {
        let here = users
            .iter()
            .enumerate()
            .filter(|(number, _)| number % 4 == place);
        let leases: Vec<Lease> = here
            .map(|(number, user)| lease(*user, "d", number as u64))
            .collect();
        let standings = node.bus.lease(&leases).await.expect("leased");
        assert_eq!(standings.len(), leases.len());
    }
    let seen = nodes[0].bus.whereabouts(&users).await.expect("found out");
    let seen: BTreeMap<UserId, NodeName> = seen
        .into_iter()
        .map(|seen| (seen.user, seen.node))
        .collect();
    for (number, user) in users.iter().enumerate() {
        let expected = nodes.get(number % 4).map(Joined::name);
        assert_eq!(seen.get(user), expected.as_ref(), "{number}");
    }
}

pub async fn a_node_that_vanishes_is_gone_with_its_sessions_when_its_lease_is_over<E: Engine>(
    world: World<'_, E>,
) {
    let (mut a, b) = (world.join("a").await, world.join("b").await);
    let ann = world.user(1);
    b.lease(&lease(ann, "d", 1)).await;
    assert_eq!(a.sees(ann).await.len(), 1);
    let vanished = b.name();
    drop(b);
    let began = tokio::time::Instant::now();
    while a.next().await != Received::Gone(vanished.clone()) {}
    assert!(began.elapsed() < LEASE * 3, "{:?}", began.elapsed());
    assert_eq!(a.sees(ann).await, []);
    let nodes = a.bus.nodes().await.expect("asked");
    let own = |node: &Node| node.name == vanished && !node.live;
    assert!(nodes.iter().any(own), "{nodes:?}");
}

pub async fn a_node_that_leaves_is_gone_at_once<E: Engine>(world: World<'_, E>) {
    let (mut a, b) = (world.join("a").await, world.join("b").await);
    let ann = world.user(1);
    b.lease(&lease(ann, "d", 1)).await;
    b.bus.leave().await;
    assert_eq!(a.sees(ann).await, []);
    while a.next().await != Received::Gone(b.name()) {}
}

pub async fn a_node_that_is_started_anew_has_none_of_its_old_sessions<E: Engine>(
    world: World<'_, E>,
) {
    let (a, b) = (world.join("a").await, world.join("b").await);
    let ann = world.user(1);
    b.lease(&lease(ann, "d", 1)).await;
    let again = world.join("b").await;
    eventually(async || a.sees(ann).await.is_empty().then_some(())).await;
    again.lease(&lease(ann, "d", 1)).await;
    let seen = a.sees(ann).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    drop(b);
}

pub async fn a_rate_is_counted_by_all_nodes_together<E: Engine>(world: World<'_, E>) {
    let nodes = [world.join("a").await, world.join("b").await];
    let rate = |key: &str| Rate {
        key: format!("{key} {}", world.number),
        burst: 5,
        refill: Duration::from_secs(20),
    };
    let sends = rate("sends");
    for number in 0..5 {
        let taken = nodes[number % 2].bus.take(&sends).await.expect("counted");
        assert_eq!(taken, Taken::Yes, "{number}");
    }
    for node in &nodes {
        match node.bus.take(&sends).await.expect("counted") {
            Taken::After(wait) => {
                assert!(wait <= sends.refill && wait > sends.refill / 2, "{wait:?}")
            }
            Taken::Yes => panic!("a sixth"),
        }
    }
    assert_eq!(
        nodes[0].bus.take(&rate("others")).await.expect("counted"),
        Taken::Yes
    );
    let quick = Rate {
        refill: Duration::from_millis(30),
        ..rate("quick")
    };
    let mut waited = false;
    for _ in 0..20 {
        if let Taken::After(wait) = nodes[0].bus.take(&quick).await.expect("counted") {
            waited = true;
            tokio::time::sleep(wait).await;
            let taken = nodes[1].bus.take(&quick).await.expect("counted");
            assert_eq!(taken, Taken::Yes, "it has come back");
        }
    }
    assert!(waited);
}

pub async fn nodes_know_each_other_and_each_others_generation<E: Engine>(world: World<'_, E>) {
    let (a, b) = (world.join("a").await, world.join("b").await);
    let state = NodeState {
        ready: 8,
        serving: 7,
    };
    b.bus.announce(state);
    let own: BTreeSet<NodeName> = [a.name(), b.name()].into();
    let nodes = eventually(async || {
        let nodes = a.bus.nodes().await.expect("asked");
        let told = |node: &Node| node.name == b.name() && node.state == state;
        nodes.iter().any(told).then_some(nodes)
    });
    let nodes = nodes.await;
    let live: BTreeSet<NodeName> = nodes
        .iter()
        .filter(|node| node.live)
        .map(|node| node.name.clone())
        .collect();
    assert!(live.is_superset(&own), "{nodes:?}");
    assert!(
        nodes
            .iter()
            .all(|node| node.last_seen_ms > 1_700_000_000_000)
    );
    assert!(nodes.is_sorted_by(|one, next| one.name < next.name));
}

pub async fn what_finds_no_room_is_dropped_and_told<E: Engine>(world: World<'_, E>) {
    let (a, mut b) = (world.join("a").await, world.join("b").await);
    let json = Bytes::from(vec![b'x'; 16 * 1024]);
    let began = tokio::time::Instant::now();
    for _ in 0..5000 {
        let users = vec![world.user(1)];
        let json = json.clone();
        a.bus.send(To::Everywhere, Parcel::Event { users, json });
    }
    assert!(began.elapsed() < PATIENCE, "nobody waits for room");
    while b.next().await != Received::Behind {}
    // And it goes on.
    a.bus.send(To::Everywhere, event(&[], 9));
    loop {
        match b.next().await {
            Received::Parcels { parcels, .. } if parcels.contains(&event(&[], 9)) => break,
            _ => {}
        }
    }
}
