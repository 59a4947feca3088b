//! The buses the suite is run against: nodes of one process, one Redis, a master watched by Sentinels, a Cluster. One test
//! a promise where a bus starts at once; where it takes six servers, one for all of them, one after the other.

use std::sync::Arc;

use kith::bus::NodeName;
use kith::bus::local::Hub;
use kith::bus::redis::{RedisBus, RedisSettings};
use kith::clock::{Clock, SystemClock};

use super::servers::{Kind, Servers};
use super::{Engine, Joined, LEASE, World, faults};

struct Local(Arc<Hub>);

impl Local {
    async fn start() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self(Hub::new(clock, LEASE))
    }
}

impl Engine for Local {
    async fn join(&self, name: NodeName) -> Joined {
        let (bus, heard) = self.0.join(name);
        Joined { bus, heard }
    }
}

struct Redis(Servers);

impl Redis {
    async fn start() -> Self {
        Self(Servers::start(Kind::Single).await)
    }
}

impl Engine for Redis {
    async fn join(&self, node: NodeName) -> Joined {
        let settings = RedisSettings {
            url: self.0.url(),
            node,
            lease: LEASE,
        };
        let (bus, heard) = RedisBus::open(&settings).await.expect("joins");
        Joined { bus, heard }
    }
}

/// Every promise as a test on an engine of its own, and all of them one after the other on one.
macro_rules! promises {
    ([$($promise:ident),* $(,)?]) => {
        promises!(@each local_bus, Local, [$($promise),*]);
        promises!(@each redis_bus, Redis, [$($promise),*]);

        async fn keeps_every_promise(engine: &Redis) {
            let mut number = 0;
            $(
                number += 1;
                super::$promise(World { engine, number }).await;
            )*
        }
    };
    (@each $module:ident, $engine:ident, [$($promise:ident),*]) => {
        mod $module {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $promise() {
                    let engine = $engine::start().await;
                    crate::conformance::bus::$promise(World { engine: &engine, number: 1 }).await;
                }
            )*
        }
    };
}

promises!([
    an_event_reaches_the_nodes_where_its_users_are_and_no_other,
    what_is_said_arrives_in_its_order_and_not_at_who_says_it,
    every_kind_of_word_arrives_as_it_was_said,
    a_devices_newer_connection_wins_and_a_late_end_of_the_older_takes_nothing_away,
    a_lease_written_anew_keeps_its_epoch_and_gives_way_to_a_newer_one,
    a_connection_that_is_leased_late_gives_way_to_one_made_meanwhile,
    many_users_are_found_at_once,
    a_node_that_vanishes_is_gone_with_its_sessions_when_its_lease_is_over,
    a_node_that_leaves_is_gone_at_once,
    a_node_that_is_started_anew_has_none_of_its_old_sessions,
    a_rate_is_counted_by_all_nodes_together,
    nodes_know_each_other_and_each_others_generation,
    what_finds_no_room_is_dropped_and_told,
]);

async fn bears_every_fault(kind: Kind) {
    let engine = Redis(Servers::start(kind).await);
    if kind != Kind::Single {
        keeps_every_promise(&engine).await;
    }
    let world = |number| World {
        engine: &engine,
        number,
    };
    faults::nodes_that_are_cut_off_come_back_and_lease_anew(world(101), &engine.0).await;
    faults::what_the_servers_forget_is_told_them_anew(world(102), &engine.0).await;
    faults::a_killed_masters_place_is_taken_and_nothing_is_lost_in_silence(world(103), &engine.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_redis_may_die_be_cut_off_or_forget() {
    bears_every_fault(Kind::Single).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_and_a_master_that_dies_are_a_bus() {
    bears_every_fault(Kind::Sentinel).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_all_of_whose_masters_die_in_turn_is_a_bus() {
    bears_every_fault(Kind::Cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_published_once_for_each_node() {
    let engine = Redis::start().await;
    let world = World {
        engine: &engine,
        number: 1,
    };
    let (a, mut b) = (world.join("a").await, world.join("b").await);
    for number in 0..1000 {
        a.bus
            .send(kith::bus::To::Everywhere, super::event(&[], number));
    }
    let (mut heard, mut batches) = (0, 0);
    while heard < 1000 {
        if let kith::bus::Received::Parcels { parcels, .. } = b.next().await {
            heard += parcels.len();
            batches += 1;
        }
    }
    assert!(
        batches <= 20,
        "{batches} publishes for what was said at once"
    );
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_once() {
    for url in ["redis://", "redis://127.0.0.1:1/x", "http://cache"] {
        let settings = RedisSettings {
            url: url.to_owned(),
            node: NodeName::new("a").expect("a name"),
            lease: LEASE,
        };
        let refused = RedisBus::open(&settings).await.expect_err("refused");
        assert!(refused.to_string().contains("bus.url"), "{refused}");
    }
}
