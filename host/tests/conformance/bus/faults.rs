//! What a bus on servers promises when they die, are cut off, or forget: nobody who says something waits, what is lost is
//! told, and everything works again without anybody's help.

use std::collections::BTreeSet;
use std::time::Duration;

use kith::bus::{Epoch, Health, Lease, Parcel, Rate, Received, To};
use kith::ids::UserId;

use super::servers::Servers;
use super::{Engine, Joined, World, event, eventually, lease};
use crate::support::PATIENCE;

/// A receiving node as the host treats it: leases its session anew when it resumes.
struct Receiver {
    node: Joined,
    session: Lease,
    heard: BTreeSet<u64>,
    /// Whatever was said up to this number is made up for.
    covered: u64,
    resumed: usize,
}

impl Receiver {
    async fn new(node: Joined, user: UserId) -> Self {
        let mut session = lease(user, "d", 1);
        let leased = node.bus.lease(std::slice::from_ref(&session)).await;
        session.epoch = leased.expect("leased")[0].epoch.expect("the newest");
        Self {
            node,
            session,
            heard: BTreeSet::new(),
            covered: 0,
            resumed: 0,
        }
    }

    /// One more that arrives within a moment; `said` is the newest number that was said.
    async fn take(&mut self, said: u64) {
        let next = tokio::time::timeout(Duration::from_millis(5), self.node.heard.recv());
        match next
            .await
            .map(|received| received.expect("the bus goes on"))
        {
            Ok(Received::Parcels { parcels, .. }) => {
                for parcel in parcels {
                    if let Parcel::Entered { place, .. } = parcel {
                        self.heard.insert(place.seq);
                    }
                }
            }
            Ok(Received::Behind) => self.covered = self.covered.max(said),
            Ok(Received::Resumed) => {
                self.resumed += 1;
                self.lease_anew().await;
                self.covered = self.covered.max(said);
            }
            Ok(Received::Gone(_)) | Err(_) => {}
        }
    }

    async fn lease_anew(&mut self) {
        let session = self.session.clone();
        let bus = self.node.bus.clone();
        let epoch = eventually(async || {
            let leased = bus.lease(std::slice::from_ref(&session)).await.ok()?;
            leased[0].epoch
        });
        assert_eq!(epoch.await, self.session.epoch, "the same connection still");
    }

    /// Whatever was said up to a number was heard, or it is told that something is missing.
    async fn lacks_nothing_up_to(&mut self, newest: u64) {
        let missing = |receiver: &Self| {
            let unheard = |number: &u64| !receiver.heard.contains(number);
            (receiver.covered + 1..=newest).find(unheard)
        };
        let began = std::time::Instant::now();
        while let Some(number) = missing(self) {
            assert!(began.elapsed() < PATIENCE, "{number} is missing in silence");
            // What is told now is about what was said before.
            self.take(newest).await;
        }
    }
}

/// Says numbers until the receiver hears one that was said from now on.
async fn until_heard(a: &Joined, b: &mut Receiver, said: &mut u64) {
    let (first, user) = (*said + 1, b.session.user);
    let saying = async {
        while b.heard.last().is_none_or(|newest| *newest < first) {
            *said += 1;
            a.bus.send(To::Users, event(&[user], *said));
            b.take(*said).await;
        }
    };
    tokio::time::timeout(PATIENCE, saying)
        .await
        .expect("heard again");
    let newest = *b.heard.last().expect("heard");
    b.lacks_nothing_up_to(newest).await;
}

/// Waits until a node is found where it is; it may have to lease anew before.
async fn until_seen(a: &Joined, b: &mut Receiver, said: u64) {
    let (user, name) = (b.session.user, b.node.name());
    let looking = async {
        loop {
            b.take(said).await;
            let seen = a.bus.whereabouts(&[user]).await.unwrap_or_default();
            if seen.iter().any(|seen| seen.node == name) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("seen");
}

async fn is_well(node: &Joined) {
    eventually(async || (node.bus.health() == Health::Ok).then_some(())).await;
}

pub async fn nodes_that_are_cut_off_come_back_and_lease_anew<E: Engine>(
    world: World<'_, E>,
    servers: &Servers,
) {
    let (a, b) = (world.join("a").await, world.join("b").await);
    let mut b = Receiver::new(b, world.user(1)).await;
    let mut said = 0;
    until_heard(&a, &mut b, &mut said).await;
    for _ in 0..3 {
        let before = b.resumed;
        servers.cut();
        let back = async {
            while b.resumed == before {
                said += 1;
                a.bus.send(To::Users, event(&[b.session.user], said));
                b.take(said).await;
            }
        };
        tokio::time::timeout(PATIENCE, back).await.expect("resumed");
        until_heard(&a, &mut b, &mut said).await;
    }
    is_well(&a).await;
    is_well(&b.node).await;
}

pub async fn a_killed_masters_place_is_taken_and_nothing_is_lost_in_silence<E: Engine>(
    world: World<'_, E>,
    servers: &Servers,
) {
    let (a, b) = (world.join("a").await, world.join("b").await);
    let mut b = Receiver::new(b, world.user(1)).await;
    let mut said = 0;
    for _ in 0..servers.killable() {
        until_heard(&a, &mut b, &mut said).await;
        let replaced = tokio::task::block_in_place(|| servers.kill_master());
        // Said into the void, without waiting.
        let began = std::time::Instant::now();
        for _ in 0..100 {
            said += 1;
            a.bus.send(To::Users, event(&[b.session.user], said));
        }
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        if !replaced {
            eventually(async || (a.bus.health() == Health::Degraded).then_some(())).await;
            nothing_waits_for_what_is_gone(&a).await;
            tokio::task::block_in_place(|| servers.restart());
        }
        until_heard(&a, &mut b, &mut said).await;
        is_well(&a).await;
        is_well(&b.node).await;
        // Every part of what is shared works: who is where, rates, who there is.
        until_seen(&a, &mut b, said).await;
        eventually(async || a.bus.take(&rate(&world)).await.ok()).await;
        let others = eventually(async || a.bus.nodes().await.ok()).await;
        assert!(
            others
                .iter()
                .any(|node| node.name == b.node.name() && node.live)
        );
        if replaced {
            tokio::task::block_in_place(|| servers.restart());
        }
    }
}

/// With the server gone every question is answered at once, with an error.
async fn nothing_waits_for_what_is_gone(node: &Joined) {
    let began = std::time::Instant::now();
    for _ in 0..50 {
        let user = UserId(1);
        assert!(node.bus.lease(&[lease(user, "d", 1)]).await.is_err());
        assert!(node.bus.whereabouts(&[user]).await.is_err());
    }
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

fn rate<E>(world: &World<'_, E>) -> Rate {
    Rate {
        key: format!("after {}", world.number),
        burst: 100,
        refill: Duration::from_secs(1),
    }
}

pub async fn what_the_servers_forget_is_told_them_anew<E: Engine>(
    world: World<'_, E>,
    servers: &Servers,
) {
    let (a, b) = (world.join("a").await, world.join("b").await);
    let mut b = Receiver::new(b, world.user(1)).await;
    let mut said = 0;
    until_heard(&a, &mut b, &mut said).await;
    let before = b.resumed;
    tokio::task::block_in_place(|| servers.forget());
    let again = async {
        while b.resumed == before {
            b.take(said).await;
        }
    };
    tokio::time::timeout(PATIENCE, again)
        .await
        .expect("resumed");
    until_heard(&a, &mut b, &mut said).await;
    assert!(b.session.epoch > Epoch::NEW);
}
