//! Hooks after the commit on three nodes that are processes: one of them shows a plugin what was committed, its effects happen
//! once, and another one goes on where it ended.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Cluster, PATIENCE};
use crate::after::{GRANTS, versions};
use crate::conformance::bus::eventually;
use crate::crash::process::ServerProcess;
use crate::support::{TestSocket, TestUser};

/// Somebody who talks to the guest's account, and what they have heard of it.
pub struct Talk {
    pub ann: TestUser,
    pub socket: TestSocket,
    bot: String,
    said: u32,
}

impl Talk {
    /// With a plugin's account.
    pub async fn begin(node: &ServerProcess, ann: TestUser, plugin: &str) -> Self {
        let path = format!("/v1/users?query={plugin}");
        let (status, found) = node.get_as(&ann, &path).await;
        assert_eq!(status, 200, "{found}");
        let bot = found["users"][0]["id"].as_str().expect("an account");
        Self {
            socket: node.session(&ann).await,
            bot: bot.to_owned(),
            said: 0,
            ann,
        }
    }

    pub async fn say(&mut self, text: &str) -> u64 {
        self.said += 1;
        let id = format!("said-{}", self.said);
        let told = self.socket.send_text(&self.bot, &id, text).await;
        let seq = told["ok"]["seq"].as_u64();
        seq.unwrap_or_else(|| panic!("{text}: {told}"))
    }

    /// The next frames up to an entry of the account, and that entry.
    async fn watched(&mut self) -> (Vec<Value>, Value) {
        let mut pieces = Vec::new();
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "no answer; {pieces:?}");
            let frame = self.socket.any_event().await;
            if frame["ev"] == "stream" {
                pieces.push(frame);
            } else if frame["ev"] == "entry" && frame["entry"]["from"] == self.bot.as_str() {
                return (pieces, frame["entry"].clone());
            }
        }
    }

    pub async fn heard(&mut self) -> String {
        let (_, entry) = self.watched().await;
        let text = entry["content"]["text"].as_str();
        text.expect("a text").to_owned()
    }

    /// Has so many counted, and hears each once, in order.
    async fn count(&mut self, numbers: std::ops::Range<u32>) {
        for n in numbers.clone() {
            self.say(&format!("count {n}")).await;
        }
        for n in numbers {
            assert_eq!(self.heard().await, format!("counted {n}"));
        }
    }

    /// Everything the account has said, as another node reads it.
    pub async fn told(&self, node: &ServerProcess) -> Vec<String> {
        let mut socket = node.session(&self.ann).await;
        let list = socket.request("conversations", json!({})).await;
        let all = list["ok"]["conversations"].as_array().expect("a list");
        let own = all
            .iter()
            .find(|row| row["peer"]["id"] == self.bot.as_str());
        let Some(conversation) = own.map(|row| row["id"].clone()) else {
            return Vec::new(); // nobody has said a word
        };
        let asked = json!({"conversation": conversation, "after": 0, "limit": 200});
        let page = socket.request("history", asked).await;
        let entries = page["ok"]["entries"].as_array().expect("entries").iter();
        let own = entries.filter(|entry| entry["from"] == self.bot.as_str());
        let texts = own.filter_map(|entry| entry["content"]["text"].as_str());
        texts.map(str::to_owned).collect()
    }
}

/// Which node does a hook's work; once all that are asked say the same, and it is one of them.
pub async fn whose(nodes: &[&ServerProcess], names: &[String], hook: &str) -> String {
    eventually(async || {
        let mut said = Vec::new();
        for node in nodes {
            let answer = node.ask("/consumers").await;
            let rows = answer["consumers"].as_array().expect("a list").clone();
            let row = rows.into_iter().find(|row| row["hook"] == hook)?;
            said.push(row["node"].as_str()?.to_owned());
        }
        said.dedup();
        (said.len() == 1 && names.contains(&said[0])).then(|| said.remove(0))
    })
    .await
}

pub fn name(n: usize) -> String {
    format!("node-{n}")
}

/// Pushes a component to one node and puts it in force by another.
pub async fn in_force(cluster: &Cluster, plugin: &str, component: Vec<u8>, grants: &str) {
    let pushed = cluster.nodes[0].administer("/plugins", component).await;
    let version = json!({"version": pushed["version"], "grants": grants}).to_string();
    let path = format!("/plugins/{plugin}/activate");
    let activated = cluster.nodes[1].administer(&path, version).await;
    assert_eq!(activated["state"], "active", "{activated}");
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_happen_once_whichever_node_shows_what_was_committed_and_dies() {
    let mut cluster = Cluster::start(3).await;
    let components = tokio::task::spawn_blocking(versions).await;
    let guest = components.expect("the guests")[0].clone();
    in_force(&cluster, "observant", guest, GRANTS).await;
    let all: Vec<&ServerProcess> = cluster.nodes.iter().collect();
    let names: Vec<String> = (0..3).map(name).collect();
    let observing = whose(&all, &names, "observer").await;
    let dies = names.iter().position(|name| *name == observing);
    let dies = dies.expect("one of them");
    let (here, other) = ((dies + 1) % 3, (dies + 2) % 3);

    let ann = cluster.nodes[here].user("ann").await;
    let mut talk = Talk::begin(&cluster.nodes[here], ann, "observant").await;
    talk.count(0..10).await;
    // Whichever node writes the answer, it is watched on every one, each piece once.
    talk.say("answer one two three").await;
    let (pieces, entry) = talk.watched().await;
    let deltas: Vec<_> = pieces.iter().map(|piece| piece["delta"].clone()).collect();
    assert_eq!(deltas, ["one ", "two ", "three", ""], "{pieces:?}");
    assert_eq!(entry["content"]["text"], "one two three");

    cluster.nodes[dies].kill();
    talk.count(10..20).await;
    let left = [&cluster.nodes[here], &cluster.nodes[other]];
    let goes_on = whose(&left, &[name(here), name(other)], "observer").await;
    assert_ne!(goes_on, observing);
    // Who comes back has its turn again.
    cluster.nodes[dies].restart().await;
    let all: Vec<&ServerProcess> = cluster.nodes.iter().collect();
    assert_eq!(
        whose(&all, std::slice::from_ref(&observing), "observer").await,
        observing
    );
    talk.count(20..30).await;
    talk.say("total").await;
    assert_eq!(talk.heard().await, "total 30", "each counted once");
    let told = talk.told(&cluster.nodes[other]).await;
    let counted: Vec<_> = told
        .iter()
        .filter(|text| text.starts_with("counted"))
        .collect();
    let wanted: Vec<String> = (0..30).map(|n| format!("counted {n}")).collect();
    assert_eq!(counted, wanted.iter().collect::<Vec<_>>());
    let answers = told.iter().filter(|text| *text == "one two three");
    assert_eq!(answers.count(), 1);
}
