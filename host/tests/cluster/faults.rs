//! What happens to three nodes while people talk: one is killed at a time, Redis goes and comes back empty, the wires to
//! Redis and to MongoDB are cut, MongoDB itself is killed.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Cluster, Crowd};
use crate::conformance::bus::eventually;

/// No request of the server fits into it that is given up for its time.
const AT_ONCE: Duration = Duration::from_millis(500);

/// What happens, in an order the seed chooses; each twice.
#[derive(Debug, Clone, Copy)]
enum Fault {
    NodeKilled,
    RedisGone,
    RedisCut,
    MongoCut,
    MongoKilled,
}

const FAULTS: [Fault; 5] = [
    Fault::NodeKilled,
    Fault::RedisGone,
    Fault::RedisCut,
    Fault::MongoCut,
    Fault::MongoKilled,
];

impl Cluster {
    async fn suffer(&mut self, fault: Fault, rng: &mut StdRng, crowd: &Crowd) {
        match fault {
            Fault::NodeKilled => {
                let n = rng.random_range(0..self.nodes.len());
                self.nodes[n].kill();
                self.told_without(n);
                crowd.goes_on(10).await;
                self.nodes[n].restart().await;
                self.told();
            }
            Fault::RedisGone => {
                tokio::task::block_in_place(|| self.redis.kill_master());
                self.all_say("bus", "degraded").await;
                // Messages are committed, and delivered where they were sent.
                crowd.goes_on(10).await;
                tokio::task::block_in_place(|| self.redis.restart());
                self.all_say("bus", "ok").await;
            }
            Fault::RedisCut => {
                self.to_redis.cut();
                self.all_say("bus", "degraded").await;
                crowd.goes_on(10).await;
                self.to_redis.mend();
                self.all_say("bus", "ok").await;
            }
            Fault::MongoCut => {
                self.to_mongo.cut();
                let before = crowd.acked();
                self.all_say("store", "down").await;
                // At most what was on its way.
                assert!(crowd.acked() - before <= crowd.memories.len() as u64);
                self.to_mongo.mend();
                self.all_say("store", "ok").await;
            }
            Fault::MongoKilled => self.mongo.kill_and_start().await,
        }
    }

    /// Returns once every node says of one of its parts that it is so.
    async fn all_say(&self, part: &str, how: &str) {
        for node in &self.nodes {
            let said = async || {
                let (_, ready) = node.get("/readyz").await;
                (ready["parts"][part] == how).then_some(())
            };
            eventually(said).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mongodb_gone_for_a_while_who_sends_is_told_at_once() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let (ann, bob, cid) = (
        node.user("ann").await,
        node.user("bob").await,
        node.user("cid").await,
    );
    let mut socket = node.session(&ann).await;
    let told = socket.send_text(&bob.id, "before", "before").await;
    assert!(told["ok"]["seq"].is_u64(), "{told}");
    cluster.to_mongo.cut();
    cluster.all_say("store", "down").await;
    // Some have to wait for an answer before nobody has to.
    let mut took = Vec::new();
    while took.last().is_none_or(|last| *last > AT_ONCE) {
        assert!(took.len() < 8, "{took:?}");
        let began = Instant::now();
        let told = socket.send_text(&cid.id, "while it is gone", "hello").await;
        took.push(began.elapsed());
        let code = told["err"]["code"].as_str().unwrap_or_default();
        assert!(["unavailable", "timeout"].contains(&code), "{told}");
    }
    cluster.to_mongo.mend();
    eventually(async || {
        let told = socket.send_text(&cid.id, "while it is gone", "hello").await;
        told["ok"]["seq"].as_u64()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_doubled_or_reordered_while_everything_fails() {
    let mut rng = StdRng::seed_from_u64(20_261_130);
    let mut cluster = Cluster::start(3).await;
    let crowd = Crowd::gather(&cluster, 6).await;
    crowd.goes_on(20).await;
    let mut ahead: Vec<Fault> = FAULTS.into_iter().chain(FAULTS).collect();
    while !ahead.is_empty() {
        let fault = ahead.swap_remove(rng.random_range(0..ahead.len()));
        cluster.suffer(fault, &mut rng, &crowd).await;
        crowd.goes_on(10).await;
    }
    crowd.agrees().await;
}
