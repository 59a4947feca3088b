//! One node, put together as the composition root does it, over simulated seams: the host's gateway, journey, delivery,
//! sessions, presence, restoring and indexer. It may end at any moment, with everything it was doing.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kith::bus::{NodeName, NodeState, Parcel, Received, Signal};
use kith::clock::Clock;
use kith::config::Config;
use kith::content::ContentLimits;
use kith::delivery::Delivery;
use kith::delivery::arrivals::Arrivals;
use kith::delivery::inward::Inward;
use kith::delivery::presence::PresenceTeller;
use kith::delivery::restoring::{Restoring, StillGood};
use kith::gateway::socket::Socket;
use kith::gateway::{Caller, ConnectionLimits, Doorkeeper, Gateway, connection};
use kith::ids::UserId;
use kith::journey::Journey;
use kith::journey::reads::PageLimits;
use kith::media::Media;
use kith::media::links::Links;
use kith::moderation::bans::Bans;
use kith::refusal::{Code, Refusal};
use kith::search::indexer::Indexer;
use kith::search::serving::Serving;
use kith::session::registry::{Registry, SessionRules};
use kith::session::{Bye, Codec, OutboxLimits, Session};
use kith::store::Settlement;
use kith::store::accounts::{Accounts, StoredGeneration};
use kith::store::people::PeopleLimits;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::accounts::SimAccounts;
use super::bus::{Hub, LEASE, SimBus};
use super::chance::{NodeClock, Sim, tell};
use super::defects::Defect;
use super::index::Index;
use super::log::SimLog;
use super::plugins::Script;
use super::store::Store;

/// Users of every run.
pub const USERS: u64 = 4;
const FRAME_BYTES: usize = 65_536;

/// What a node is doing. Ended together, as when its process is killed.
#[derive(Default)]
pub struct Tasks(Mutex<Option<Vec<AbortHandle>>>);

impl Tasks {
    pub fn begin() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Vec::new()))))
    }

    /// Nothing is begun any more once it has ended.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = self.0.lock().as_mut() {
            running.retain(|one| !one.is_finished());
            running.push(tokio::spawn(task).abort_handle());
        }
    }

    pub fn end(&self) {
        let running = self.0.lock().take();
        running.into_iter().flatten().for_each(|one| one.abort());
    }
}

/// What all nodes share.
pub struct Shared {
    pub sim: Arc<Sim>,
    pub store: Arc<Store>,
    pub hub: Arc<Hub>,
    pub index: Arc<Index>,
    started: AtomicU64,
}

impl Shared {
    pub fn new(sim: &Arc<Sim>) -> Arc<Self> {
        Arc::new(Self {
            sim: sim.clone(),
            store: Store::new(sim),
            hub: Hub::new(sim),
            index: Index::new(sim),
            started: AtomicU64::new(0),
        })
    }
}

pub struct Node {
    pub index: usize,
    pub name: NodeName,
    pub gateway: Arc<Gateway>,
    pub log: Arc<SimLog>,
    pub bus: Arc<SimBus>,
    pub script: Arc<Script>,
    accounts: Arc<SimAccounts>,
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

/// Tokens are `user:device`.
struct Door;

#[async_trait]
impl Doorkeeper for Door {
    async fn authenticate(&self, token: &str) -> Result<Caller, Refusal> {
        let wrong = || Refusal::new(Code::Unauthenticated, "no such token");
        let (user, device) = token.split_once(':').ok_or_else(wrong)?;
        Ok(Caller {
            user: user.parse().map_err(|_| wrong())?,
            device: device.to_owned(),
            family: 1,
        })
    }

    async fn admit_connection(
        &self,
        _: &Caller,
        _: &str,
        _: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    async fn profile(&self, user: UserId) -> Result<Value, Refusal> {
        Ok(json!({"id": user}))
    }

    async fn name_device(&self, _: &Caller, _: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn admit_send(&self, _: UserId) -> Result<(), Refusal> {
        Ok(())
    }

    fn admit_request(&self, _: UserId) -> Result<(), Refusal> {
        Ok(())
    }

    fn admit_search(&self, _: UserId) -> Result<(), Refusal> {
        Ok(())
    }

    fn admit_signal(&self, _: UserId) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Nobody signs out.
struct AllGood;

#[async_trait]
impl StillGood for AllGood {
    async fn ended(&self, _: &Session) -> Option<Bye> {
        None
    }
}

fn limits() -> ConnectionLimits {
    ConnectionLimits {
        hello: Duration::from_secs(10),
        frame_bytes: FRAME_BYTES,
        text_chars: 1_000,
        pages: PageLimits {
            default: 20,
            most: 20,
        },
        requests: None,
        typing_members: 100,
    }
}

impl Node {
    pub async fn start(shared: &Arc<Shared>, index: usize) -> Self {
        let Shared {
            sim, store, hub, ..
        } = &**shared;
        let number = 1 + shared.started.fetch_add(1, Ordering::Relaxed);
        let name = NodeName::new(&format!("n{index}")).expect("a name");
        let clock: Arc<dyn Clock> = Arc::new(NodeClock {
            sim: sim.clone(),
            ahead_ms: 7 * index as u64,
        });
        let tasks = Tasks::begin();
        let accounts = Arc::new(SimAccounts {
            store: store.clone(),
            node: index,
            users: USERS,
        });
        let node = (index, number as u16);
        let (log, settled) = SimLog::open((sim, store), node, clock.clone(), &tasks);
        let (bus, heard) = hub.join(&name, &tasks);
        let script = Script::new(sim, index, newest_generation(&accounts).await);
        let bans = Bans::load(accounts.clone(), 0).await.expect("no bans");
        let journey = journey(&log, &accounts, &script, &clock);
        let rules = SessionRules {
            heartbeat: Duration::from_secs(6),
            slow: Duration::from_secs(6),
            per_kind: 5,
        };
        let registry = Arc::new(Registry::new(rules, clock.now_ms()).with_bus(bus.clone()));
        let presence = Arc::new(PresenceTeller::new(journey.clone(), registry.clone()));
        let gateway = Arc::new(Gateway {
            journey: journey.clone(),
            registry,
            presence,
            doorkeeper: Arc::new(Door),
            clock: clock.clone(),
            outboxes: Arc::new(OutboxLimits::new(3_000, 1 << 20, 3_000)),
            limits: limits(),
            next_session: AtomicU64::new((number << 32) | 1),
        });
        let node = Self {
            index,
            name,
            gateway,
            log,
            bus,
            script,
            accounts,
            shared: shared.clone(),
            tasks,
        };
        node.run(journey, bans, settled, heard);
        node.follow_feed(clock);
        node
    }

    /// What a node does all the time: it delivers, hears other nodes, keeps its sessions known.
    fn run(
        &self,
        journey: Arc<Journey>,
        bans: Bans,
        settled: mpsc::Receiver<Vec<Settlement>>,
        heard: mpsc::Receiver<Received>,
    ) {
        let Gateway {
            registry,
            presence,
            clock,
            ..
        } = &*self.gateway;
        let delivery = Arc::new(Delivery {
            journey,
            log: self.log.clone(),
            registry: registry.clone(),
            receipt_members: 500,
            arrivals: Arrivals::default(),
        });
        self.tasks.spawn(delivery.clone().run(settled));
        if !self.shared.sim.has(Defect::FoundNotTold) {
            self.tasks.spawn(delivery.clone().follow_found());
        }
        let restoring = Arc::new(Restoring::new(
            registry.clone(),
            Arc::new(AllGood),
            Arc::new(bans),
            clock.clone(),
        ));
        let (follow, followed) = mpsc::channel(16);
        let inward = Inward {
            delivery,
            presence: presence.clone(),
            restoring: restoring.clone(),
            generations: Some(follow),
        };
        self.tasks.spawn(inward.run(heard));
        self.tasks.spawn(restoring.clone().run());
        self.tasks.spawn(restoring.keep_leased(LEASE / 3));
        self.tasks.spawn(presence.clone().run());
        self.tasks.spawn(sweep(registry.clone(), clock.clone()));
        self.tasks.spawn(self.log.clone().sweep());
        self.follow_generations(followed);
    }

    /// What nodes say of generations, and what the store says when they are not heard.
    fn follow_generations(&self, mut told: mpsc::Receiver<(NodeName, Signal)>) {
        let (sim, script, accounts) = (
            self.shared.sim.clone(),
            self.script.clone(),
            self.accounts.clone(),
        );
        let bus = self.bus.clone();
        self.tasks.spawn(async move {
            loop {
                let wait = Duration::from_millis(900);
                let newest = match tokio::time::timeout(wait, told.recv()).await {
                    Ok(Some((_, Signal::Activate { generation }))) => generation,
                    Ok(_) => continue,
                    Err(_) => match accounts.newest_generation().await {
                        Ok(Some(newest)) => newest.number,
                        _ => continue,
                    },
                };
                if newest > script.generation() {
                    // It has to be loaded.
                    sleep(sim.while_of(1, 200)).await;
                    script.switch(newest);
                    let state = NodeState {
                        ready: newest,
                        serving: newest,
                    };
                    kith::bus::Bus::announce(&*bus, state);
                }
            }
        });
    }

    /// One node keeps the index.
    fn follow_feed(&self, clock: Arc<dyn Clock>) {
        if self.index == 0 {
            let (turn, follows) = watch::channel(true);
            let indexer = Indexer {
                log: self.log.clone(),
                feed: self.log.clone(),
                serving: Arc::new(Serving::elsewhere(self.shared.index.clone())),
                clock,
                turn: follows,
            };
            self.tasks.spawn(async move {
                indexer.run().await;
                drop(turn);
            });
        }
    }

    /// A generation is kept, in force here, and told.
    pub fn activate(&self, generation: u64) {
        let (accounts, script) = (self.accounts.clone(), self.script.clone());
        let registry = self.gateway.registry.clone();
        self.tasks.spawn(async move {
            let stored = StoredGeneration {
                number: generation,
                bindings: String::new(),
                at: 0,
                cause: "a step".to_owned(),
            };
            if accounts.put_generation(&stored, &[]).await.is_ok() {
                script.switch(generation);
                registry.tell_nodes(|| Signal::Activate { generation });
            }
        });
    }

    /// A connection from a client.
    pub fn connect(&self, stream: DuplexStream) {
        let socket = Socket::new(stream, &[], FRAME_BYTES);
        let serving = connection::serve(self.gateway.clone(), socket, Codec::Json, None);
        self.tasks.spawn(serving);
    }

    /// As when its process is killed.
    pub fn kill(&self) {
        tell!(self.shared.sim, "{}: killed", self.name);
        self.tasks.end();
    }
}

fn journey(
    log: &Arc<SimLog>,
    accounts: &Arc<SimAccounts>,
    script: &Arc<Script>,
    clock: &Arc<dyn Clock>,
) -> Arc<Journey> {
    let people = PeopleLimits {
        friends: 10,
        waiting_sent: 10,
        waiting_received: 10,
    };
    let media = Media::new(
        None,
        accounts.clone(),
        log.clone(),
        clock.clone(),
        Links::new([0; 32]),
        kith::app::media::rules(&Config::default()),
    );
    Arc::new(Journey::new(
        log.clone(),
        accounts.clone(),
        accounts.clone(),
        script.clone(),
        clock.clone(),
        (ContentLimits::default(), people),
        Arc::new(media),
    ))
}

/// What a parcel is, as a story can be read.
pub fn kind(parcel: &Parcel) -> &'static str {
    match parcel {
        Parcel::Event { .. } => "an event",
        Parcel::Entered { .. } | Parcel::Entry { .. } => "an entry",
        Parcel::Summary { .. } => "a summary",
        Parcel::Signal(_) => "a signal",
        Parcel::Behind => "word of a loss",
    }
}

/// A node serves nothing before it knows which generation is in force.
async fn newest_generation(accounts: &SimAccounts) -> u64 {
    loop {
        match accounts.newest_generation().await {
            Ok(newest) => return newest.map_or(1, |newest| newest.number),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn sweep(registry: Arc<Registry>, clock: Arc<dyn Clock>) {
    loop {
        sleep(Duration::from_secs(1)).await;
        registry.sweep(clock.now_ms());
    }
}
