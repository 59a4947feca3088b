//! What ends a session (a newer connection of its device, a kick) goes ahead of whatever its node waits for meanwhile, here
//! a bus that is slow to tell where users are.

use std::sync::Arc;

use async_trait::async_trait;
use kith::bus::{
    Bus, BusError, Health, Lease, Node, NodeName, NodeState, Parcel, Rate, Sighting, Standing,
    Taken, To,
};
use kith::ids::UserId;
use kith::session::Bye;
use kith::session::presence::Here;
use tokio::sync::{Notify, Semaphore};

use super::{World, connect, ends};
use crate::support::PATIENCE;

/// A bus that tells where users are once it may.
#[derive(Debug)]
struct Slow {
    bus: Arc<dyn Bus>,
    asked: Notify,
    may_tell: Semaphore,
}

#[async_trait]
impl Bus for Slow {
    fn node(&self) -> &NodeName {
        self.bus.node()
    }

    fn is_alone(&self) -> bool {
        self.bus.is_alone()
    }

    fn send(&self, to: To, parcel: Parcel) {
        self.bus.send(to, parcel);
    }

    async fn lease(&self, leases: &[Lease]) -> Result<Vec<Standing>, BusError> {
        self.bus.lease(leases).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), BusError> {
        self.bus.release(leases).await
    }

    async fn whereabouts(&self, users: &[UserId]) -> Result<Vec<Sighting>, BusError> {
        self.asked.notify_one();
        let _told = self.may_tell.acquire().await;
        self.bus.whereabouts(users).await
    }

    async fn take(&self, rate: &Rate) -> Result<Taken, BusError> {
        self.bus.take(rate).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, BusError> {
        self.bus.nodes().await
    }

    fn announce(&self, state: NodeState) {
        self.bus.announce(state);
    }

    fn health(&self) -> Health {
        self.bus.health()
    }

    async fn leave(&self) {
        self.bus.leave().await;
    }
}

#[tokio::test]
async fn an_end_does_not_wait_behind_what_a_node_looks_for() {
    let mut slow = None;
    let world = World::on(|bus| {
        let made = Arc::new(Slow {
            bus,
            asked: Notify::new(),
            may_tell: Semaphore::new(0),
        });
        slow = Some(made.clone());
        made
    })
    .await;
    let slow = slow.expect("made");
    let (ann, bob) = (world.first.user("ann").await, world.first.user("bob").await);
    let (here, there) = (&world.first.registry, &world.second.registry);
    let phone = connect(there, ann, "phone", 1).await;
    let desk = connect(there, ann, "desk", 2).await;
    let watched = there
        .presence
        .watch(desk.id, ann, &[bob], |_| Here::default());
    watched.expect("watched");
    // The second node is told that bob came, and looks for him from here on.
    connect(here, bob, "phone", 3).await;
    let asked = tokio::time::timeout(PATIENCE, slow.asked.notified()).await;
    asked.expect("it looks for bob");
    connect(here, ann, "phone", 4).await;
    assert_eq!(ends(&phone).await, Bye::Replaced);
    here.end(ann, Some("desk"), None, Bye::Kicked);
    assert_eq!(ends(&desk).await, Bye::Kicked);
    assert_eq!(slow.may_tell.available_permits(), 0, "it still looks");
}
