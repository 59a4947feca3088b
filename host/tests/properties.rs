//! What must hold whatever happens: random histories of every operation, by several users on several devices that
//! come and go. Stale state and the events since make fresh state (I7); counts are exact; receipts never go back
//! (I6); sequences are dense (I3); a resend is answered as the first time (I2).

mod device;
mod fresh;
pub mod seeded;

use serde_json::{Value, json};

use crate::support::{TestServer, TestUser};
use device::Device;
use seeded::Seeded;

const USERS: usize = 4;
const DEVICES: [&str; 2] = ["phone", "laptop"];
const EMOJI: [&str; 3] = ["👍", "🎉", "❤️"];
/// What a random operation may be refused with; anything else is a defect.
const FAIR: [&str; 3] = ["not_found", "forbidden", "conflict"];

/// Everybody, and what they were answered.
struct World {
    server: TestServer,
    users: Vec<TestUser>,
    devices: Vec<Device>,
    random: Seeded,
    /// Sends and edits that were committed: by whom, the request, the answer.
    answered: Vec<(usize, &'static str, Value, Value)>,
    count: u64,
}

impl World {
    async fn new(seed: u64) -> Self {
        let server = TestServer::bare().await;
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
            answered: Vec::new(),
            count: 0,
        };
        for at in 0..world.devices.len() {
            world.devices[at].connect(&world.server).await;
        }
        world
    }

    /// Several devices ask at once; then all hear what came of it.
    async fn round(&mut self) {
        let mut waiting = Vec::new();
        for at in 0..self.devices.len() {
            if !self.devices[at].is_connected() {
                if self.random.one_in(3) {
                    self.devices[at].connect(&self.server).await;
                }
            } else if self.random.one_in(25) {
                self.devices[at].disconnect();
            } else {
                for _ in 0..self.random.below(3) {
                    let user = self.devices[at].number;
                    let (op, fields, id) = match self.again(user) {
                        Some((op, fields)) => {
                            let id = self.devices[at].again(op, &fields).await;
                            (op, fields, id)
                        }
                        None => {
                            let (op, fields) = self.operation(at);
                            let id = self.devices[at].start(op, &fields).await;
                            (op, fields, id)
                        }
                    };
                    waiting.push((at, op, fields, id));
                }
            }
        }
        for (at, op, fields, id) in waiting {
            let reply = self.devices[at].reply(id).await;
            if reply["err"].is_object() {
                let code = reply["err"]["code"].as_str().expect("a code");
                assert!(FAIR.contains(&code), "{op} {fields}: {reply}");
            } else if op == "send" || op == "edit" {
                let user = self.devices[at].number;
                self.answered.push((user, op, fields, reply["ok"].clone()));
            }
        }
    }

    fn operation(&mut self, at: usize) -> (&'static str, Value) {
        let user = self.devices[at].number;
        let Some((conversation, head)) = self.devices[at].some_conversation(&mut self.random)
        else {
            return ("send", self.message(user, None));
        };
        let seq = 1 + self.random.below(head.max(1));
        let place = json!({"conversation": conversation, "seq": seq});
        let with = |more: Value| {
            let mut fields = place.clone();
            for (name, value) in more.as_object().expect("fields") {
                fields[name] = value.clone();
            }
            fields
        };
        match self.random.below(18) {
            0..6 => ("send", self.message(user, Some(head))),
            6 | 7 => {
                let client_id = self.client_id();
                (
                    "edit",
                    with(json!({"content": self.content(), "client_id": client_id})),
                )
            }
            8 | 9 => ("recall", place),
            10 | 11 => {
                let emoji = EMOJI[self.random.below(EMOJI.len() as u64) as usize];
                (
                    "react",
                    with(json!({"emoji": emoji, "on": !self.random.one_in(3)})),
                )
            }
            12 => ("received", place),
            13..16 => ("read", with(json!({"seq": seq + self.random.below(3)}))),
            16 => {
                let text = ["", "one", "two"][self.random.below(3) as usize];
                ("draft", with(json!({"text": text})))
            }
            _ => {
                let pref = ["pinned", "muted", "hidden"][self.random.below(3) as usize];
                ("prefs", with(json!({pref: self.random.one_in(2)})))
            }
        }
    }

    /// Now and then, something this user was answered before.
    fn again(&mut self, user: usize) -> Option<(&'static str, Value)> {
        let own = self.answered.iter().filter(|answered| answered.0 == user);
        let own: Vec<_> = own.collect();
        if own.is_empty() || !self.random.one_in(10) {
            return None;
        }
        let (_, op, fields, _) = own[self.random.below(own.len() as u64) as usize];
        Some((op, fields.clone()))
    }

    fn message(&mut self, user: usize, head: Option<u64>) -> Value {
        let other = (user + 1 + self.random.below(USERS as u64 - 1) as usize) % USERS;
        let to = json!({"user": self.users[other].id});
        let mut fields =
            json!({"to": to, "client_id": self.client_id(), "content": self.content()});
        if head.is_some_and(|head| head > 0) && self.random.one_in(4) {
            // The conversation may be another than the one whose head this is: then there may be no such entry.
            fields["reply_to"] = (1 + self.random.below(head.unwrap_or(1))).into();
        }
        fields
    }

    fn client_id(&mut self) -> String {
        self.count += 1;
        format!("c{}", self.count)
    }

    fn content(&mut self) -> Value {
        let words = format!("words {}", self.random.below(1000));
        let mut content = json!({"type": "text", "text": words});
        if self.random.one_in(4) {
            let whom = &self.users[self.random.below(USERS as u64) as usize].id;
            content["mentions"] = match self.random.below(3) {
                0 => json!(["all"]),
                1 => json!([whom, "all"]),
                _ => json!([whom]),
            };
        }
        content
    }

    /// Everybody comes back and hears all; what each device knows is what there is.
    async fn check(&mut self) {
        for at in 0..self.devices.len() {
            if !self.devices[at].is_connected() {
                self.devices[at].connect(&self.server).await;
            }
        }
        for at in 0..self.devices.len() {
            self.devices[at].hear_all().await;
        }
        for device in &self.devices {
            fresh::compare(&self.server, device).await;
        }
        let mut seen: Vec<&(usize, &str, Value, Value)> = Vec::new();
        for answered in &self.answered {
            let same = |other: &&&(usize, &str, Value, Value)| {
                other.0 == answered.0 && other.2["client_id"] == answered.2["client_id"]
            };
            match seen.iter().find(same) {
                Some(first) => assert_eq!(first.3, answered.3, "a resend was answered otherwise"),
                None => seen.push(answered),
            }
        }
    }
}

async fn history(seed: u64) {
    let mut world = World::new(seed).await;
    for _ in 0..3 {
        for _ in 0..12 {
            world.round().await;
        }
        world.check().await;
    }
}

#[tokio::test]
async fn stale_state_and_events_make_fresh_state_for_random_histories() {
    for seed in 0..6 {
        history(seed).await;
    }
}

#[tokio::test]
async fn what_holds_for_random_histories_holds_over_a_restart() {
    let mut world = World::new(1_000).await;
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
