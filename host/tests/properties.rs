//! What must hold whatever happens: random histories of every operation, by several users on several devices that
//! come and go, alone, in pairs and in groups that change. Stale state and the events since make fresh state (I7);
//! counts are exact; receipts never go back (I6); sequences are dense (I3); a resend is answered as the first time
//! (I2). `KITH_SEED` makes one history again, `KITH_LONG` makes more of them.

mod calls;
mod deeds;
mod device;
mod fresh;
mod group;
mod known;
pub mod seeded;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{TestServer, TestUser};
use deeds::{Ask, Call, Deed, Expects, What, fair};
use device::{Asked, Device};
use fresh::Fresh;
use group::Group;
use seeded::Seeded;

const USERS: usize = 4;
const DEVICES: [&str; 2] = ["phone", "laptop"];
/// What a random deed may be refused with; anything else is a defect.
const FAIR: [&str; 5] = ["not_found", "forbidden", "not_member", "muted", "conflict"];
/// What has to be done somewhere in the histories of every run, or they show little.
const DONE: [&str; 34] = [
    "send",
    "edit",
    "recall",
    "react",
    "received",
    "read",
    "draft",
    "prefs",
    "typing",
    "lost",
    "again",
    "altered",
    "create",
    "add",
    "remove",
    "leave",
    "ask to join",
    "let in",
    "role",
    "transfer",
    "nickname",
    "mute",
    "title",
    "join",
    "mute all",
    "history",
    "dissolve",
    "erase",
    "erase all",
    "friend request",
    "befriend",
    "end of a friendship",
    "not_member",
    "muted",
];

/// Everybody, and what they were answered.
struct World {
    server: TestServer,
    users: Vec<TestUser>,
    devices: Vec<Device>,
    random: Seeded,
    /// Direct conversations, by the numbers of the two.
    directs: BTreeMap<(usize, usize), String>,
    groups: Vec<Group>,
    dissolved: BTreeSet<String>,
    /// Groups that somebody asked to be let into.
    waited_for: Vec<usize>,
    /// Sends and edits that were committed: by whom, the request, the answer.
    answered: Vec<(usize, Ask, Value)>,
    /// Sends whose answer was lost.
    lost: Vec<(usize, Ask)>,
    count: u64,
    /// How often what was done.
    done: BTreeMap<String, u64>,
}

impl World {
    async fn new(server: TestServer, seed: u64) -> Self {
        println!("KITH_SEED={seed}");
        let (mut users, mut devices) = (Vec::new(), Vec::new());
        for number in 0..USERS {
            let user = server.user(&format!("u{number}-")).await;
            for device in DEVICES {
                let tokens = server.sign_in(&user.username, device).await;
                let token = tokens["access_token"].as_str().expect("a token").to_owned();
                devices.push(Device::new(number, user.id.clone(), device, token));
            }
            users.push(user);
        }
        let mut world = Self {
            server,
            users,
            devices,
            random: Seeded(seed),
            directs: BTreeMap::new(),
            groups: Vec::new(),
            dissolved: BTreeSet::new(),
            waited_for: Vec::new(),
            answered: Vec::new(),
            lost: Vec::new(),
            count: 0,
            done: BTreeMap::new(),
        };
        world.begin().await;
        world
    }

    /// Everybody is here, and has written to the next one.
    async fn begin(&mut self) {
        self.connect_all().await;
        for at in 0..self.devices.len() {
            let user = self.devices[at].number;
            let content = json!({"type": "text", "text": "first words"});
            let to = json!({"user": self.users[(user + 1) % USERS].id});
            let fields = json!({"to": to, "client_id": format!("first {at}"), "content": content});
            self.ask_one(at, fair("send", fields)).await;
            let first = self.answered.last().expect("an answer");
            let anchor = first.2["conversation"].as_str().expect("an id").to_owned();
            self.devices[at].anchor = anchor;
        }
    }

    async fn connect_all(&mut self) {
        for device in &mut self.devices {
            if !device.is_connected() {
                device.connect(&self.server).await;
            }
        }
    }

    async fn ask_one(&mut self, at: usize, ask: Ask) {
        let id = self.devices[at]
            .start(ask.asked(), ask.op, &ask.fields)
            .await;
        let reply = self.devices[at].reply(id).await;
        self.settle(self.devices[at].number, ask, &reply);
    }

    /// Several devices ask at once; then all hear what came of it.
    async fn round(&mut self) {
        // With nothing on its way, so that all that goes was known before.
        let erasure = self.erase();
        self.call_all(erasure.into_iter().collect()).await;
        let (mut waiting, mut calls) = (Vec::new(), Vec::new());
        for at in 0..self.devices.len() {
            if !self.devices[at].is_connected() {
                if self.random.one_in(3) {
                    self.devices[at].connect(&self.server).await;
                }
            } else if self.random.one_in(25) {
                self.go_away(at).await;
            } else {
                for _ in 0..self.random.below(3) {
                    match self.choose(at) {
                        Deed::Call(call) => calls.push(call),
                        Deed::Ask(ask) => {
                            let device = &mut self.devices[at];
                            let id = device.start(ask.asked(), ask.op, &ask.fields).await;
                            waiting.push((at, ask, id));
                        }
                    }
                }
            }
        }
        self.call_all(calls).await;
        let mut newest = BTreeMap::new();
        for (at, ask, id) in waiting {
            let reply = self.devices[at].reply(id).await;
            println!("{} {ask:?}: {reply}", self.devices[at].user);
            if ask.op == "send" && ask.expects == Expects::Fair && reply["ok"].is_object() {
                let place = (at, reply["ok"]["conversation"].to_string());
                let before = newest.insert(place, reply["ok"]["seq"].as_u64());
                assert!(
                    before < Some(reply["ok"]["seq"].as_u64()),
                    "not in the order sent: {reply}"
                );
            }
            self.settle(self.devices[at].number, ask, &reply);
        }
        for device in &mut self.devices {
            if device.is_connected() {
                device.rest().await;
            }
        }
        for group in &mut self.groups {
            group.follow(&self.server).await;
        }
    }

    /// Perhaps with an answer on its way.
    async fn go_away(&mut self, at: usize) {
        let user = self.devices[at].number;
        let mut ask = self.send_to_user(user);
        if self.random.one_in(2) {
            let device = &mut self.devices[at];
            device.start(Asked::New, ask.op, &ask.fields).await;
            ask.expects = Expects::Done;
            self.lost.push((user, ask));
        }
        self.devices[at].disconnect();
    }

    /// An answer has to be what was expected.
    fn settle(&mut self, user: usize, ask: Ask, reply: &Value) {
        let (ok, code) = (&reply["ok"], &reply["err"]["code"]);
        match &ask.expects {
            Expects::Same(first) => {
                assert_eq!(ok, first, "{ask:?} by {user}: {reply}");
                return self.count("again");
            }
            Expects::Conflict => {
                assert_eq!(code, "conflict", "{ask:?} by {user}: {reply}");
                return self.count("altered");
            }
            Expects::Fair if reply["err"].is_object() => {
                return self.is_fair(&format!("{ask:?} by {user}"), &reply["err"]);
            }
            Expects::Fair => {}
            Expects::Done => self.count("lost"),
        }
        assert!(ok.is_object(), "{ask:?} by {user}: {reply}");
        self.count(ask.op);
        if ask.op == "send" || ask.op == "edit" {
            assert_eq!(ok["state"], "committed", "{ask:?}: {reply}");
            self.remember_direct(user, &ask, ok);
            self.answered.push((user, ask, ok.clone()));
        }
    }

    /// Remembers the conversation that a message to a user is in.
    fn remember_direct(&mut self, user: usize, ask: &Ask, ok: &Value) {
        let Some(to) = ask.fields["to"]["user"].as_str() else {
            return;
        };
        let other = self.users.iter().position(|other| other.id == to);
        let other = other.expect("a user");
        let id = ok["conversation"].as_str().expect("an id").to_owned();
        let pair = (user.min(other), user.max(other));
        let known = self.directs.entry(pair).or_insert_with(|| id.clone());
        assert_eq!(*known, id, "two have one conversation");
    }

    /// Whether a deed may be refused so.
    fn is_fair(&mut self, what: &str, refusal: &Value) {
        let code = refusal["code"].as_str().expect("a code");
        assert!(FAIR.contains(&code), "{what}: {refusal}");
        self.count(code);
    }

    fn count(&mut self, what: &str) {
        *self.done.entry(what.to_owned()).or_default() += 1;
    }

    /// Everybody comes back and hears all; what each device knows is what there is.
    async fn check(&mut self) {
        if self.random.one_in(3) {
            // No entry tells who is away of this.
            let away = self.random.below(self.devices.len() as u64) as usize;
            self.devices[away].disconnect();
            let what = What::EraseAll(1);
            self.call_all(vec![Call { by: 0, what }]).await;
        }
        self.connect_all().await;
        for (user, ask) in std::mem::take(&mut self.lost) {
            self.ask_one(user * DEVICES.len(), ask).await;
        }
        for device in &mut self.devices {
            device.rest().await;
        }
        for devices in self.devices.chunks_mut(DEVICES.len()) {
            let fresh = Fresh::read(&self.server, &devices[0]).await;
            for device in devices {
                fresh.compare(device);
                for (id, log) in &fresh.logs {
                    fresh::recount(device, id, log);
                }
            }
        }
        for group in &self.groups {
            assert_eq!(
                group.roster().is_dissolved,
                self.dissolved.contains(&group.id)
            );
            let devices = self.devices.iter_mut().step_by(DEVICES.len());
            let mut devices: Vec<&mut Device> = devices.collect();
            group.check(&self.server, &mut devices).await;
        }
    }
}

async fn history(server: TestServer, seed: u64) -> World {
    let mut world = World::new(server, seed).await;
    for _ in 0..3 {
        for _ in 0..14 {
            world.round().await;
        }
        world.check().await;
    }
    world
}

/// The seeds of a run.
fn seeds() -> std::ops::Range<u64> {
    let set = std::env::var("KITH_SEED").ok();
    match set.map(|seed| seed.parse().expect("a seed is a number")) {
        Some(seed) => seed..seed + 1,
        None if std::env::var_os("KITH_LONG").is_some() => 0..60,
        None => 0..6,
    }
}

#[tokio::test]
async fn stale_state_and_events_make_fresh_state_for_random_histories() {
    let seeds = seeds();
    let mut server = TestServer::bare().await;
    let mut done: BTreeMap<String, u64> = BTreeMap::new();
    for seed in seeds.clone() {
        let world = history(server, seed).await;
        server = world.server;
        for (what, count) in world.done {
            *done.entry(what).or_default() += count;
        }
    }
    println!("{done:?}");
    let missing: Vec<_> = DONE
        .iter()
        .filter(|what| !done.contains_key(**what))
        .collect();
    assert!(
        missing.is_empty() || seeds.end == seeds.start + 1,
        "never done: {missing:?}"
    );
}

#[tokio::test]
async fn what_holds_for_random_histories_holds_over_a_restart() {
    let mut world = World::new(TestServer::bare().await, 1_000).await;
    for _ in 0..3 {
        for _ in 0..8 {
            world.round().await;
        }
        for device in &mut world.devices {
            device.disconnect();
        }
        world.server.restart().await;
        world.check().await;
    }
}
