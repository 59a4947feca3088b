//! The bus on Redis: one server, a master watched by Sentinels, or a Cluster. Redis holds nothing that cannot be lost:
//! leases are written anew after every cut, and what was said meanwhile is told as lost. Nobody who says something waits
//! for Redis.

mod address;
mod ear;
mod link;
mod outgoing;
mod pulse;
mod scripts;
mod sessions;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::address::Address;
use self::ear::Ear;
use self::link::Link;
use self::outgoing::{Outgoing, Speaker};
use self::pulse::Pulse;
use self::scripts::Script;
use self::wire::{Envelope, Says, encode};
use super::{
    Bus, BusError, Counted, Health, Lease, Node, NodeName, NodeState, Parcel, Rate, Received,
    Sighting, Standing, Taken, To,
};
use crate::ids::UserId;

/// Batches that may wait for whoever takes what is heard.
const HEARD_MOST: usize = 256;
/// How long a start waits for the bus; without it the node serves by itself until it comes.
const OPENING: Duration = Duration::from_secs(3);

/// Where the bus is and who this node is on it.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    pub url: String,
    pub node: NodeName,
    /// How long a node that does not renew its lease counts as there; it does so at a third of this.
    pub lease: Duration,
}

/// How often things are done, all from the lease.
#[derive(Debug, Clone, Copy)]
struct Pace {
    lease: Duration,
    beat: Duration,
    /// Between two words to oneself.
    echo: Duration,
    /// Without one coming back, the connection that hears is dead.
    deaf: Duration,
}

impl Pace {
    fn of(lease: Duration) -> Self {
        let echo = (lease / 12).clamp(Duration::from_millis(50), Duration::from_secs(1));
        Self {
            lease,
            beat: lease / 3,
            echo,
            deaf: echo * 4 + link::ANSWER * 2,
        }
    }
}

/// A live node, as the membership has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Peer {
    process: String,
    incarnation: String,
    state: NodeState,
}

type Peers = BTreeMap<NodeName, Peer>;

/// What the parts of the adapter share.
struct Shared {
    name: NodeName,
    /// Which process has the name.
    process: String,
    /// Sessions are leased under it; another one makes all leases before it void.
    incarnation: ArcSwap<String>,
    pace: Pace,
    link: Arc<Link>,
    scripts: Scripts,
    outgoing: Outgoing,
    published: AtomicU64,
    /// The live nodes as last heard of.
    peers: ArcSwap<Peers>,
    state: Mutex<NodeState>,
    hearing: AtomicBool,
    /// Leases may be unknown, or releases not done: begin anew.
    must_resume: AtomicBool,
    /// The first join has been waited for: from then on coming back is told.
    opened: AtomicBool,
    /// Another process took the name.
    taken: AtomicBool,
    /// When the lease was last renewed.
    beaten_at: Mutex<Option<Instant>>,
    joined: Notify,
    pulse: Notify,
    /// Buckets of users whose server did not answer, till when they are not asked for.
    silent: Mutex<BTreeMap<u64, Instant>>,
}

struct Scripts {
    beat: Script,
    lease: Script,
    release: Script,
    take: Script,
}

/// One node on the bus.
pub struct RedisBus {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RedisBus");
        shown.field("node", &self.shared.name);
        shown.field("address", &self.shared.link.address.shown());
        shown.finish_non_exhaustive()
    }
}

impl RedisBus {
    /// Joins. A bus that cannot be reached now is joined later; what cannot be mended by waiting is an error.
    pub async fn open(
        settings: &RedisSettings,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Received>), BusError> {
        let address = parse(&settings.url)?;
        let shared = Arc::new(Shared::new(settings, address));
        if let Err(refused @ BusError::Refused(_)) = shared.link.connect().await {
            return Err(refused);
        }
        let (heard, hears) = mpsc::channel(HEARD_MOST);
        let tasks = vec![
            tokio::spawn(shared.link.clone().keep()),
            tokio::spawn(Ear::new(shared.clone(), heard.clone()).run()),
            tokio::spawn(Speaker::new(shared.clone()).run()),
            tokio::spawn(Pulse::new(shared.clone(), heard).run()),
        ];
        let joined = tokio::time::timeout(OPENING, shared.joined.notified()).await;
        shared.opened.store(true, Ordering::Release);
        if joined.is_err() {
            tracing::warn!("the bus is not reached; this node serves by itself until it is");
        }
        let tasks = Mutex::new(tasks);
        Ok((Arc::new(Self { shared, tasks }), hears))
    }

    /// One answer of the configured servers, for `kith doctor`: what they are.
    pub async fn check_up(url: &str) -> Result<String, BusError> {
        let link = Link::new(parse(url)?);
        link.connect().await?;
        let told: String = link
            .ask(|mut wire: link::Wire| async move {
                let mut info = redis::cmd("INFO");
                let info: redis::Value = info.arg("server").query_async(&mut wire).await?;
                // A Cluster answers for each of its servers.
                let info = match info {
                    redis::Value::Map(mut servers) => {
                        servers.pop().map_or(redis::Value::Nil, |(_, info)| info)
                    }
                    one => one,
                };
                Ok(redis::from_redis_value::<String>(info)?)
            })
            .await?;
        let version = told
            .lines()
            .find_map(|line| line.strip_prefix("redis_version:"));
        Ok(format!(
            "redis {}, {}",
            version.unwrap_or("of no version").trim(),
            link.address.shown()
        ))
    }
}

fn parse(url: &str) -> Result<Address, BusError> {
    Address::parse(url).map_err(|why| BusError::Refused(format!("bus.url: {why}")))
}

impl Shared {
    fn new(settings: &RedisSettings, address: Address) -> Self {
        Self {
            name: settings.node.clone(),
            process: random_name(),
            incarnation: ArcSwap::from_pointee(random_name()),
            pace: Pace::of(settings.lease),
            link: Arc::new(Link::new(address)),
            scripts: Scripts {
                beat: scripts::beat(),
                lease: scripts::lease(),
                release: scripts::release(),
                take: scripts::take(),
            },
            outgoing: Outgoing::default(),
            published: AtomicU64::new(0),
            peers: ArcSwap::default(),
            state: Mutex::default(),
            hearing: AtomicBool::new(false),
            must_resume: AtomicBool::new(true),
            opened: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            beaten_at: Mutex::default(),
            joined: Notify::new(),
            pulse: Notify::new(),
            silent: Mutex::default(),
        }
    }

    /// The ear hears, or no more. What it did not hear is lost.
    fn hears(&self, hears: bool) {
        self.hearing.store(hears, Ordering::Release);
        if hears {
            self.must_resume();
        }
    }

    fn must_resume(&self) {
        self.must_resume.store(true, Ordering::Release);
        self.pulse.notify_one();
    }

    /// The other live nodes, as last heard of.
    fn other_nodes(&self) -> Vec<NodeName> {
        let peers = self.peers.load();
        peers
            .keys()
            .filter(|name| **name != self.name)
            .cloned()
            .collect()
    }

    /// Nodes that were met elsewhere than at a beat.
    fn remember_nodes(&self, met: &Peers) {
        let known = self.peers.load();
        if met.keys().all(|name| known.contains_key(name)) {
            return;
        }
        self.peers.rcu(|peers| {
            let mut peers = Peers::clone(peers);
            for (name, peer) in met {
                peers.entry(name.clone()).or_insert_with(|| peer.clone());
            }
            peers
        });
    }

    fn forget_node(&self, name: &NodeName) {
        self.peers.rcu(|peers| {
            let mut peers = Peers::clone(peers);
            peers.remove(name);
            peers
        });
    }

    async fn publish(&self, node: &NodeName, bytes: Bytes) -> Result<(), BusError> {
        let command = if self.link.is_cluster() {
            "SPUBLISH"
        } else {
            "PUBLISH"
        };
        let mut publish = redis::cmd(command);
        publish
            .arg(scripts::channel(self.link.address.db, node.as_str()))
            .arg(&bytes[..]);
        self.published.fetch_add(1, Ordering::Relaxed);
        let publish = &publish;
        let asked = self
            .link
            .ask(|mut wire: link::Wire| async move { publish.exec_async(&mut wire).await });
        asked.await
    }

    fn is_well(&self) -> bool {
        let beaten = *self.beaten_at.lock();
        self.link.is_up()
            && self.hearing.load(Ordering::Acquire)
            && !self.taken.load(Ordering::Acquire)
            && beaten.is_some_and(|at| at.elapsed() < self.pace.lease)
    }
}

fn random_name() -> String {
    format!("{:016x}", rand::random::<u64>())
}

#[async_trait]
impl Bus for RedisBus {
    fn node(&self) -> &NodeName {
        &self.shared.name
    }

    fn is_alone(&self) -> bool {
        false
    }

    fn send(&self, to: To, parcel: Parcel) {
        self.shared.outgoing.push(to, parcel);
    }

    async fn lease(&self, leases: &[Lease]) -> Result<Vec<Standing>, BusError> {
        self.shared.lease(leases).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), BusError> {
        self.shared.release(leases).await
    }

    async fn whereabouts(&self, users: &[UserId]) -> Result<Vec<Sighting>, BusError> {
        let (_, found) = self.shared.look_up(users).await;
        if found.unknown.is_empty() {
            Ok(found.sightings)
        } else {
            Err(BusError::Unavailable(
                "where some users are could not be found out".to_owned(),
            ))
        }
    }

    async fn take(&self, rate: &Rate) -> Result<Taken, BusError> {
        let refill = u64::try_from(rate.refill.as_micros()).unwrap_or(u64::MAX);
        let take = self.shared.scripts.take.key(scripts::rate(&rate.key));
        let take = take.arg(rate.burst.max(1)).arg(refill.max(1));
        let wait: String = self.shared.link.ask(|wire| take.run(wire)).await?;
        match wait.parse() {
            Ok(0) => Ok(Taken::Yes),
            Ok(micros) => Ok(Taken::After(Duration::from_micros(micros))),
            Err(_) => Err(BusError::Unavailable(format!("no time to wait: {wait}"))),
        }
    }

    async fn nodes(&self) -> Result<Vec<Node>, BusError> {
        self.shared.nodes().await
    }

    fn announce(&self, state: NodeState) {
        *self.shared.state.lock() = state;
        self.shared.pulse.notify_one();
    }

    fn health(&self) -> Health {
        if self.shared.is_well() {
            Health::Ok
        } else {
            Health::Degraded
        }
    }

    fn counted(&self) -> Counted {
        Counted {
            requests: self.shared.link.asked(),
            published: self.shared.published.load(Ordering::Relaxed),
        }
    }

    async fn leave(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        let others = self.shared.other_nodes();
        if self.shared.beat("leave").await.is_err() {
            return;
        }
        let leaving = encode(&Envelope {
            from: self.shared.name.clone(),
            says: Says::Leaving,
        });
        let told = others
            .iter()
            .map(|node| self.shared.publish(node, leaving.clone()));
        futures_util::future::join_all(told).await;
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.tasks.get_mut().iter().for_each(JoinHandle::abort);
    }
}
