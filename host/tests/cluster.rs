//! Three nodes as processes of their own, on one MongoDB and one Redis: people talk through whichever takes them while
//! nodes are killed, servers go and wires are cut. Nothing acknowledged is lost, doubled or out of its place.

mod consumers;
mod faults;
mod generations;
mod people;
mod proxy;
mod rolling;
mod set_up;
mod states;
mod turns;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinHandle;

use self::people::{Addresses, Memory, Person, Scene};
use self::proxy::Proxy;
use crate::conformance::bus::servers::{Kind, Servers};
use crate::crash::process::{Launch, ServerProcess};
use crate::mongo::server::{self, MongoServer};
use crate::support::TestUser;

/// A busy machine starts several processes slowly.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a node that died is still believed to live.
const LEASE_MS: u64 = 3_000;

struct Cluster {
    nodes: Vec<ServerProcess>,
    addresses: Addresses,
    redis: Servers,
    mongo: MongoServer,
    to_redis: Proxy,
    to_mongo: Proxy,
    database: String,
    /// Settings of one test alone.
    settings: Vec<(&'static str, String)>,
}

impl Cluster {
    async fn start(nodes: usize) -> Self {
        Self::with(nodes, Vec::new()).await
    }

    async fn with(nodes: usize, settings: Vec<(&'static str, String)>) -> Self {
        let (redis, mongo) = tokio::join!(Servers::start(Kind::Single), server::durable());
        let at = redis.url().replace("redis://", "");
        let (to_redis, to_mongo) = (Proxy::to(at).await, Proxy::to(mongo.address()).await);
        let mut cluster = Self {
            nodes: Vec::new(),
            addresses: Addresses::default(),
            redis,
            mongo,
            to_redis,
            to_mongo,
            database: "kith".to_owned(),
            settings,
        };
        for n in 0..nodes {
            let node = ServerProcess::with(cluster.launch(n)).await;
            cluster.nodes.push(node);
        }
        cluster.told();
        cluster
    }

    /// What every node and command is started with.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let mongo = self.to_mongo.address();
        let store = format!("mongodb://{mongo}/{}?directConnection=true", self.database);
        vec![
            ("KITH_STORE__ENGINE", "mongodb".to_owned()),
            ("KITH_STORE__URL", store),
            ("KITH_BUS__ENGINE", "redis".to_owned()),
            (
                "KITH_BUS__URL",
                format!("redis://{}", self.to_redis.address()),
            ),
            ("KITH_MEDIA__ENGINE", "none".to_owned()),
            ("KITH_SESSION__LEASE_MS", LEASE_MS.to_string()),
        ]
    }

    fn launch(&self, n: usize) -> Launch {
        let mut environment = self.environment();
        environment.push(("KITH_NODE__NAME", format!("node-{n}")));
        environment.extend(self.settings.iter().cloned());
        Launch {
            search: "none",
            plugins: PathBuf::from("none"),
            environment,
            patience: PATIENCE,
        }
    }

    /// Clients are told where the nodes are, all of them.
    fn told(&self) {
        *self.addresses.lock() = self.nodes.iter().map(ServerProcess::address).collect();
    }

    /// As `told`, without one that is about to end.
    fn told_without(&self, n: usize) {
        let others = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != n);
        *self.addresses.lock() = others.map(|(_, node)| node.address()).collect();
    }
}

/// People of one group, spread over the nodes.
struct Crowd {
    scene: Arc<Scene>,
    memories: Vec<Arc<Mutex<Memory>>>,
    lives: Vec<JoinHandle<()>>,
}

impl Crowd {
    async fn gather(cluster: &Cluster, count: usize) -> Self {
        let first = &cluster.nodes[0];
        let mut users: Vec<TestUser> = Vec::new();
        for n in 0..count {
            users.push(first.user(&format!("person-{n}")).await);
        }
        let group = json!({"title": "all of us", "members": []});
        let (status, made) = first.post_as(&users[0], "/v1/groups", group).await;
        assert_eq!(status, 201, "{made}");
        let id = made["id"].as_str().expect("an id").to_owned();
        // So that everybody may read it from its first entry on.
        let (path, open) = (format!("/v1/groups/{id}"), json!({"history": "all"}));
        let (status, changed) = first.patch_as(&users[0], &path, open).await;
        assert_eq!(status, 200, "{changed}");
        let others: Vec<&str> = users[1..].iter().map(|user| &*user.id).collect();
        let (path, others) = (format!("{path}/members"), json!({"users": others}));
        let (status, added) = first.post_as(&users[0], &path, others).await;
        assert!((200..300).contains(&status), "{added}");
        let scene = Arc::new(Scene {
            addresses: cluster.addresses.clone(),
            conversation: id,
            quiet: AtomicBool::new(false),
            acked: AtomicU64::new(0),
        });
        let people = users.into_iter().enumerate();
        let people: Vec<Person> = people
            .map(|(n, user)| Person::new(user, &scene, n))
            .collect();
        Self {
            memories: people.iter().map(|person| person.memory.clone()).collect(),
            lives: people
                .into_iter()
                .map(|person| tokio::spawn(person.live()))
                .collect(),
            scene,
        }
    }

    fn acked(&self) -> u64 {
        self.scene.acked.load(Ordering::Relaxed)
    }

    /// Returns once so many more messages are acknowledged.
    async fn goes_on(&self, messages: u64) {
        let before = self.acked();
        let moving = self.until(|| self.acked() >= before + messages);
        let moved = tokio::time::timeout(PATIENCE, moving).await;
        assert!(
            moved.is_ok(),
            "{} acknowledged since",
            self.acked() - before
        );
    }

    async fn until(&self, so: impl Fn() -> bool) {
        while !so() {
            // Whoever was told something that cannot be has ended, and says what it was.
            assert!(
                self.lives.iter().all(|life| !life.is_finished()),
                "somebody was told wrong"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Nobody begins another message; returns once everybody has been told the same, on their own sessions.
    async fn agrees(&self) {
        self.scene.quiet.store(true, Ordering::Relaxed);
        let same = || {
            let said = self
                .memories
                .iter()
                .map(|memory| memory.lock().acked.len())
                .sum::<usize>();
            let seen: Vec<_> = self
                .memories
                .iter()
                .map(|memory| memory.lock().seen.clone())
                .collect();
            let messages = seen[0]
                .values()
                .filter(|text| text.contains(" says "))
                .count();
            let whole = self.memories.iter().all(|memory| {
                let memory = memory.lock();
                memory.whole() == memory.seen.len() as u64
            });
            whole && messages == said && seen.iter().all(|one| *one == seen[0])
        };
        let agreed = tokio::time::timeout(PATIENCE, self.until(same)).await;
        assert!(agreed.is_ok(), "{}", self.differing());
        for memory in &self.memories {
            let memory = memory.lock();
            for (seq, text) in &memory.acked {
                assert_eq!(memory.seen.get(seq), Some(text)); // I1, I3
            }
            in_order(memory.seen.values());
            in_order(memory.acked.values());
            let texts = memory.seen.values().filter(|text| text.contains(" says "));
            let mut texts: Vec<&String> = texts.collect();
            let all = texts.len();
            texts.sort();
            texts.dedup();
            assert_eq!(texts.len(), all, "a message is there twice"); // I2
        }
    }

    fn differing(&self) -> String {
        let each = self.memories.iter().enumerate().map(|(n, memory)| {
            let memory = memory.lock();
            let (seen, whole, acked) = (memory.seen.len(), memory.whole(), memory.acked.len());
            format!("person {n}: {seen} seen, whole to {whole}, {acked} acknowledged")
        });
        each.collect::<Vec<_>>().join("; ")
    }
}

/// What each person said stands in the order in which they said it.
fn in_order<'a>(texts: impl Iterator<Item = &'a String>) {
    let mut newest: HashMap<&str, u64> = HashMap::new();
    for text in texts {
        let Some((person, number)) = text.split_once(" says ") else {
            continue;
        };
        let number = number.parse().expect("a number");
        let before = newest.insert(person, number);
        assert!(
            before.is_none_or(|before| before < number),
            "{text} after {before:?}"
        ); // I3
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.lives.iter().for_each(JoinHandle::abort);
    }
}
