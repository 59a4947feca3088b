//! One run: three nodes, a few users with their devices, steps drawn from the seed, what is checked after each, and the end,
//! when the faults have stopped and everybody comes to know the same.

use std::sync::Arc;
use std::time::Duration;

use kith::conversation::group::{JoinPolicy, Past};
use kith::entry::DecisionRecord;
use kith::ids::{ConversationId, UserId};
use kith::store::groups::{GroupAct, GroupChange, NewGroup};
use kith::store::{Change, MessageLog};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::about::unasked;
use super::bus;
use super::chance::{Sim, tell, wrong};
use super::checks::Checks;
use super::client::{Client, Place};
use super::defects::Defect;
use super::node::{Node, Shared, USERS};
use super::store::{self, short};

pub const NODES: usize = 3;
const STEPS: usize = 70;
/// How long it may take until everybody knows everything.
const CONVERGED: Duration = Duration::from_secs(60);
/// After which nothing that was asked for is still on its way.
const LATE: Duration = Duration::from_secs(15);
/// What no run takes.
const WHOLE: Duration = Duration::from_secs(600);
const GROUP: ConversationId = ConversationId(0xabcd << 112 | 7);
/// Users and the devices they have.
const DEVICES: [(u64, &str); 6] = [
    (1, "desk"),
    (1, "phone"),
    (2, "desk"),
    (2, "phone"),
    (3, "desk"),
    (4, "desk"),
];

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub wrong: Option<String>,
    pub story: Vec<String>,
}

pub struct World {
    pub sim: Arc<Sim>,
    pub shared: Arc<Shared>,
    pub nodes: Vec<Option<Node>>,
    pub clients: Vec<Arc<Client>>,
    generation: u64,
    /// Nodes are killed in this run.
    kills: bool,
}

/// Runs a seed from beginning to end, on a clock of its own.
pub fn run(seed: u64, defect: Option<Defect>) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let sim = Sim::new(seed, defect);
        let mut world = World::begin(&sim).await;
        if timeout(WHOLE, world.live()).await.is_err() {
            wrong!(sim, "the run does not come to an end");
        }
        Ran {
            wrong: sim.what_is_wrong(),
            story: sim.story(),
        }
    })
}

impl World {
    async fn begin(sim: &Arc<Sim>) -> Self {
        let shared = Shared::new(sim);
        let mut nodes = Vec::new();
        for index in 0..NODES {
            nodes.push(Some(Node::start(&shared, index).await));
        }
        let clients = DEVICES.iter().map(|(user, device)| {
            let watches = [UserId(user % USERS + 1), UserId((user + 1) % USERS + 1)];
            let client = Client::new(&shared, UserId(*user), device, &watches);
            tokio::spawn(client.clone().run());
            client
        });
        let clients = clients.collect();
        let world = Self {
            sim: sim.clone(),
            shared,
            nodes,
            clients,
            generation: 1,
            kills: sim.below(3) == 0,
        };
        world.make_group();
        sleep(Duration::from_millis(200)).await;
        world
    }

    fn make_group(&self) {
        let group = NewGroup {
            title: "all".to_owned(),
            avatar: None,
            join: JoinPolicy::Invite,
            history: Past::All,
            slow_mode_s: None,
            retention: None,
            users: (2..=USERS).map(UserId).collect(),
        };
        let change = GroupChange {
            conversation: GROUP,
            author: UserId(1),
            act: GroupAct::Create(Box::new(group)),
            record: DecisionRecord::default(),
            effects: Vec::new(),
        };
        if let Some(node) = &self.nodes[0] {
            let made = node.log.submit(unasked(Change::Group(Box::new(change))));
            assert!(made.is_ok(), "a queue that is empty is not full");
        }
    }

    async fn live(&mut self) {
        let mut checks = Checks::default();
        for at in 0..self.clients.len() {
            self.connect(at);
        }
        for _ in 0..STEPS {
            self.step().await;
            let pause = match self.sim.below(12) {
                0 => self.sim.while_of(300, 2_500),
                _ => self.sim.while_of(0, 120),
            };
            sleep(pause).await;
            checks.after_a_step(self);
            if self.sim.what_is_wrong().is_some() {
                return;
            }
        }
        self.calm_down().await;
        self.converge(&mut checks).await;
    }

    async fn step(&mut self) {
        let sim = self.sim.clone();
        let client = self.clients[sim.below(self.clients.len())].clone();
        match sim.below(100) {
            0..=41 => self.talk(&client),
            42..=46 => client.resend_answered(),
            47..=56 => self.read(&client),
            57..=60 => self.recall(&client),
            61..=66 => client.cut(sim.happens(40)),
            67..=76 => {
                let away = (0..self.clients.len()).find(|at| !self.clients[*at].is_connected());
                self.connect(away.unwrap_or_else(|| sim.below(self.clients.len())));
            }
            77..=78 => client.stall(sim.while_of(200, 3_000)),
            79..=82 => self.activate(),
            83..=95 => self.fault(),
            _ if self.kills => self.kill_or_start().await,
            _ => {}
        }
    }

    fn talk(&self, client: &Client) {
        let to = match self.sim.below(3) {
            0 => Place::Group(GROUP),
            _ => {
                let other = UserId(1 + self.sim.below(USERS as usize) as u64);
                match other == client.user {
                    true => Place::Group(GROUP),
                    false => Place::User(other),
                }
            }
        };
        for _ in 0..=self.sim.below(4) {
            let word = match self.sim.below(20) {
                0 => "drop",
                1 => "reject",
                2 => "hold",
                _ => "say",
            };
            client.send(to, word);
        }
    }

    fn read(&self, client: &Client) {
        let known = client.look(|state| {
            let logs = state.known.conversations.iter();
            logs.map(|(id, one)| (*id, one.head()))
                .filter(|(_, head)| *head > 0)
                .collect::<Vec<_>>()
        });
        if known.is_empty() {
            return;
        }
        let (id, head) = known[self.sim.below(known.len())];
        let seq = 1 + self.sim.below(head as usize) as u64;
        client.receipt(id, seq, self.sim.below(3) > 0);
    }

    fn recall(&self, client: &Client) {
        let own = json!(client.user);
        let sent = client.look(|state| {
            let logs = state.known.conversations.iter();
            let entries = logs.flat_map(|(id, one)| one.entries.iter().map(move |e| (*id, e)));
            let own = entries.filter(|(_, e)| e["from"] == own && e["kind"] == "message");
            own.filter_map(|(id, e)| Some((id, e["seq"].as_u64()?)))
                .collect::<Vec<_>>()
        });
        if !sent.is_empty() {
            let (id, seq) = sent[self.sim.below(sent.len())];
            client.recall(id, seq);
        }
    }

    fn connect(&self, at: usize) {
        let there: Vec<&Node> = self.nodes.iter().flatten().collect();
        if !there.is_empty() {
            self.clients[at].connect(there[self.sim.below(there.len())]);
        }
    }

    fn activate(&mut self) {
        let there: Vec<&Node> = self.nodes.iter().flatten().collect();
        if !there.is_empty() {
            self.generation += 1;
            let node = there[self.sim.below(there.len())];
            tell!(self.sim, "{}: activates {}", node.name, self.generation);
            node.activate(self.generation);
        }
    }

    fn fault(&self) {
        let (sim, shared) = (&self.sim, &self.shared);
        let node = sim.below(NODES);
        match sim.below(12) {
            0..=3 => {
                let weather = store::Weather {
                    slow: [0, 20, 60][sim.below(3)],
                    refuses: [0, 5, 25][sim.below(3)],
                    loses_replies: [0, 5, 25][sim.below(3)],
                    gets_late: [0, 5, 15][sim.below(3)],
                };
                tell!(sim, "store: {weather:?}");
                shared.store.set_weather(weather);
            }
            4 => shared.store.fail_over(),
            5 => {
                let has = sim.below(2) == 0;
                tell!(sim, "store: a majority: {has}");
                shared.store.set_majority(has);
            }
            6 => {
                let cut = sim.below(2) == 0;
                tell!(sim, "store: n{node} is cut off: {cut}");
                shared.store.set_cut(node, cut);
            }
            7..=9 => {
                let weather = bus::Weather {
                    loses: [0, 5, 20][sim.below(3)],
                    doubles: [0, 10, 40][sim.below(3)],
                    delays: [0, 20, 60][sim.below(3)],
                };
                tell!(sim, "bus: {weather:?}");
                shared.hub.set_weather(weather);
            }
            _ => {
                let cut = sim.below(2) == 0;
                if let Some(node) = &self.nodes[node] {
                    tell!(sim, "bus: {} is cut off: {cut}", node.name);
                    shared.hub.set_cut(&node.name, cut);
                }
            }
        }
    }

    async fn kill_or_start(&mut self) {
        match self.nodes.iter().position(Option::is_none) {
            // Before it knows which generation is in force it does not begin.
            Some(at) if self.shared.store.is_cut(at) => {}
            Some(at) => {
                tell!(self.sim, "n{at}: starts");
                self.nodes[at] = Some(Node::start(&self.shared, at).await);
            }
            None => {
                let at = self.sim.below(NODES);
                if let Some(node) = self.nodes[at].take() {
                    // What it has told nobody is told when it is back, which it never is.
                    if node.log.any_asked_once() || self.shared.hub.is_cut(&node.name) {
                        self.sim.may_be_untold();
                    }
                    node.kill();
                }
            }
        }
    }

    /// The faults stop, and everybody is there.
    async fn calm_down(&mut self) {
        tell!(self.sim, "the faults stop");
        self.sim.calm_down();
        let Shared { store, hub, .. } = &*self.shared;
        store.set_weather(store::Weather::default());
        store.set_majority(true);
        hub.set_weather(bus::Weather::default());
        for at in 0..NODES {
            self.shared.store.set_cut(at, false);
            match &self.nodes[at] {
                Some(node) => self.shared.hub.set_cut(&node.name, false),
                None => self.nodes[at] = Some(Node::start(&self.shared, at).await),
            }
        }
    }

    async fn converge(&self, checks: &mut Checks) {
        let until = Instant::now() + CONVERGED;
        let late = Instant::now() + LATE;
        let mut synced = false;
        loop {
            if !synced && self.sim.is_untold() && Instant::now() > late {
                // Whoever may not have been told of something looks once.
                synced = true;
                self.clients.iter().for_each(|client| client.sync());
            }
            for at in 0..self.clients.len() {
                if !self.clients[at].is_connected() {
                    self.connect(at);
                }
            }
            sleep(Duration::from_millis(250)).await;
            checks.after_a_step(self);
            let differs = checks.differs(self);
            if self.sim.what_is_wrong().is_some() {
                return;
            }
            let Some(differs) = differs.or_else(|| self.looks_once(synced)) else {
                return checks.at_the_end(self).await;
            };
            if Instant::now() > until {
                return wrong!(self.sim, "not everybody comes to know the same: {differs}");
            }
        }
    }

    fn looks_once(&self, synced: bool) -> Option<String> {
        (self.sim.is_untold() && !synced).then(|| "they look once".to_owned())
    }

    pub fn node(&self, at: usize) -> Option<&Node> {
        self.nodes.get(at)?.as_ref()
    }
}

/// A place in a log, as a story can be read.
pub fn place(id: ConversationId, seq: usize) -> String {
    format!("{seq} of {}", short(id))
}
