//! Hooks after the commit, through the public protocol: every entry seen, every effect once, whatever is exchanged, switched
//! off or killed in between; and guests that do their worst.

mod bindings;
mod canary;
mod consumers;
mod grants;
mod hostile;
mod killed;
mod kit;
mod lines;
mod reach;
mod receiver;
mod replies;
mod services;
mod values;
mod webhook;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kith::config::Config;
use serde_json::{Value, json};

use crate::support::{TestServer, TestSocket, TestUser};

const KINDS: [&str; 3] = ["plain", "other", "wide"];
/// Everything the guest imports but what `wide` adds.
pub const GRANTS: &str =
    "directory,history,http:host=nowhere.example,kv:bytes=65536,metrics,reply,send";

/// The components, each built once a run.
pub fn versions() -> &'static [Vec<u8>] {
    static BUILT: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/observant");
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("observant");
        std::fs::create_dir_all(&target).expect("a folder for the components");
        let build = |kind: &str| {
            let out = target.join(format!("{kind}.wasm"));
            kith::guest::build(&folder, Some(&out), Some(kind), &|_| {}).expect("the guest builds");
            std::fs::read(out).expect("the component")
        };
        KINDS.map(build).into()
    })
}

/// A server where the guest may serve, and somebody who talks to its account.
pub struct Stage {
    pub server: TestServer,
    pub ann: TestUser,
    pub socket: TestSocket,
    /// The guest's account.
    pub bot: String,
    said: u32,
}

impl Stage {
    pub async fn new(grants: &str) -> Self {
        Self::with(grants, |_| {}).await
    }

    pub async fn with(grants: &str, change: impl FnOnce(&mut Config)) -> Self {
        let components = tokio::task::spawn_blocking(versions)
            .await
            .expect("the guests");
        let server = TestServer::with(change).await;
        for component in components {
            let (status, pushed) = server.push(component.clone()).await;
            assert!(matches!(status, 200 | 201), "{pushed}");
        }
        let (status, done) = activate(&server, "plain", grants).await;
        assert_eq!(status, 200, "{done}");
        let ann = server.user("ann").await;
        let bot = account(&server, &ann).await;
        let socket = server.session(&ann).await;
        Self {
            server,
            ann,
            socket,
            bot,
            said: 0,
        }
    }

    /// Says something to the account; its seq.
    pub async fn say(&mut self, text: &str) -> u64 {
        self.said += 1;
        let client_id = format!("said-{}", self.said);
        let reply = self.socket.send_text(&self.bot, &client_id, text).await;
        reply["ok"]["seq"]
            .as_u64()
            .unwrap_or_else(|| panic!("{text}: {reply}"))
    }

    /// The next text of the account.
    pub async fn heard(&mut self) -> String {
        self.entry().await["content"]["text"]
            .as_str()
            .expect("a text")
            .to_owned()
    }

    /// The next entry of the account.
    pub async fn entry(&mut self) -> Value {
        loop {
            let entry = self.socket.event("entry").await["entry"].clone();
            if entry["from"] == self.bot.as_str() {
                return entry;
            }
        }
    }

    pub async fn ask(&mut self, text: &str) -> String {
        self.say(text).await;
        self.heard().await
    }

    pub async fn reconnect(&mut self) {
        self.socket = self.server.session(&self.ann).await;
    }

    /// Everything in the conversation with the account.
    pub async fn log(&mut self) -> Vec<Value> {
        let list = self.socket.request("conversations", json!({})).await;
        let found = list["ok"]["conversations"]
            .as_array()
            .expect("conversations");
        let own = found
            .iter()
            .find(|row| row["peer"]["id"] == self.bot.as_str());
        let conversation = own.expect("the conversation")["id"].clone();
        let asked = json!({"conversation": conversation, "after": 0, "limit": 200});
        let page = self.socket.request("history", asked).await;
        page["ok"]["entries"].as_array().expect("entries").clone()
    }

    pub async fn report(&self) -> Value {
        let (status, report) = self
            .server
            .admin("GET", "/plugins/observant/consumers", None)
            .await;
        assert_eq!(status, 200, "{report}");
        report
    }
}

pub async fn activate(server: &TestServer, kind: &str, grants: &str) -> (u16, Value) {
    let body = json!({"version": format!("0.1.0-{kind}"), "grants": grants, "force": true});
    server
        .admin("POST", "/plugins/observant/activate", Some(body))
        .await
}

/// Found by search, as anybody would.
async fn account(server: &TestServer, user: &TestUser) -> String {
    let path = "/v1/users?query=observant";
    let (status, found) = server.call("GET", path, Some(&user.token), None).await;
    assert_eq!(status, 200, "{found}");
    found["users"][0]["id"]
        .as_str()
        .expect("the account")
        .to_owned()
}

/// What the account said, each text with how often.
fn counted(log: &[Value], bot: &str) -> Vec<String> {
    let own = log.iter().filter(|entry| entry["from"] == bot);
    let texts = own.filter_map(|entry| entry["content"]["text"].as_str().map(str::to_owned));
    texts.filter(|text| text.starts_with("counted ")).collect()
}

#[tokio::test]
async fn every_entry_is_seen_and_every_effect_happens_once_across_versions_and_restarts() {
    let mut stage = Stage::new(GRANTS).await;
    let mut said = 0;
    for kind in ["other", "plain", "other"] {
        for _ in 0..5 {
            stage.say(&format!("count {said}")).await;
            said += 1;
        }
        let (status, done) = activate(&stage.server, kind, "").await;
        assert_eq!(status, 200, "{done}");
        for verb in ["disable", "enable"] {
            let path = format!("/plugins/observant/{verb}");
            let (status, done) = stage.server.admin("POST", &path, Some(json!({}))).await;
            assert_eq!(status, 200, "{done}");
            stage.say(&format!("count {said}")).await;
            said += 1;
        }
        stage.server.restart().await;
        stage.reconnect().await;
    }
    let total = loop {
        let heard = stage.ask("total").await;
        if let Some(total) = heard.strip_prefix("total ") {
            break total.to_owned();
        }
    };
    assert_eq!(total, said.to_string(), "each counted once");
    let log = stage.log().await;
    let mut counted = counted(&log, &stage.bot);
    let wanted: Vec<String> = (0..said).map(|n| format!("counted {n}")).collect();
    assert_eq!(counted, wanted, "each told once, in order");
    counted.clear();
}

#[tokio::test]
async fn every_effect_happens_once_while_versions_take_over_from_each_other_under_load() {
    const MESSAGES: usize = 150;
    const SWAPS: usize = 4;
    // How many messages are on their way at once: how far the versions may fall behind each other.
    const AHEAD: usize = 40;
    let mut stage = Stage::new(GRANTS).await;
    let server = &stage.server;
    let (socket, bot) = (&mut stage.socket, stage.bot.clone());
    let (swaps, done) = (Cell::new(0), Cell::new(false));
    // A busy machine swaps slowly: there is talk until there were enough swaps, however fast messages are.
    let talking = async {
        let (mut said, mut told) = (0, Vec::new());
        while said < MESSAGES || swaps.get() < SWAPS {
            let text = format!("count {said}");
            let acked = socket.send_text(&bot, &format!("load-{said}"), &text).await;
            assert!(acked["ok"]["seq"].is_u64(), "{acked}");
            said += 1;
            while told.len() + AHEAD < said {
                let entry = socket.event("entry").await["entry"].clone();
                told.extend(counted(&[entry], &bot));
            }
        }
        done.set(true);
        while told.len() < said {
            let entry = socket.event("entry").await["entry"].clone();
            told.extend(counted(&[entry], &bot));
        }
        told
    };
    let swapping = async {
        while !done.get() {
            let kind = ["other", "plain"][swaps.get() % 2];
            let (status, told) = activate(server, kind, "").await;
            assert_eq!(status, 200, "{told}");
            swaps.set(swaps.get() + 1);
        }
    };
    let (told, ()) = tokio::join!(talking, swapping);
    let said = told.len();
    let wanted: Vec<String> = (0..said).map(|n| format!("counted {n}")).collect();
    let swaps = swaps.get();
    assert_eq!(told, wanted, "each told once, in order, {swaps} swaps");
    let total = stage.ask("total").await;
    assert_eq!(total, format!("total {said}"), "each counted once");
}

#[tokio::test]
async fn what_is_to_come_again_comes_again_and_says_how_often() {
    let mut stage = Stage::new(GRANTS).await;
    assert_eq!(stage.ask("late").await, "at attempt 2");
}

#[tokio::test]
async fn entries_of_plugins_follow_from_each_other_three_times_at_most() {
    let mut stage = Stage::new(GRANTS).await;
    stage.say("recurse").await;
    for depth in 1..=3 {
        let entry = stage.entry().await;
        assert_eq!(entry["content"]["text"], "recurse");
        let (conversation, seq) = (
            entry["conversation"].as_str().expect("an id"),
            &entry["seq"],
        );
        let path = format!("/conversations/{conversation}/entries/{seq}");
        let (_, shown) = stage.server.admin("GET", &path, None).await;
        let made = json!({"plugin": "observant", "depth": depth});
        assert_eq!(shown["made"], made, "{shown}");
    }
    // What comes after is answered: the fourth was refused, and nothing waits for it.
    assert_eq!(stage.ask("total").await, "total 0");
    let report = stage.report().await;
    let observer = &report["consumers"].as_array().expect("consumers")[0];
    assert_eq!(
        (&observer["hook"], &observer["refused"]),
        (&json!("observer"), &json!(1)),
        "{report}"
    );
}

#[tokio::test]
async fn on_the_messages_path_every_other_ability_is_denied() {
    let mut stage = Stage::new(GRANTS).await;
    stage.say("path").await;
    let log = stage.log().await;
    assert_eq!(log[0]["content"]["text"], "****", "{log:?}");
}

#[tokio::test]
async fn values_are_compared_and_bounded() {
    let mut stage = Stage::new(GRANTS).await;
    assert_eq!(
        stage.ask("cas").await,
        "ok () / no conflict: it was changed meanwhile"
    );
    let full = stage.ask("fill").await;
    assert!(full.starts_with("no quota"), "{full}");
}

#[tokio::test]
async fn values_are_the_same_on_the_messages_path_and_after_it() {
    let mut stage = Stage::new(GRANTS).await;
    let bot = stage.bot.clone();
    assert_eq!(stage.ask("kept").await, "ok \"nothing\" / nothing");
    let kept = stage.socket.send_text(&bot, "1", "/keep plum").await;
    assert_eq!(kept["ok"]["state"], "command", "{kept}");
    assert_eq!(stage.ask("kept").await, "ok \"plum\" / plum");
    assert_eq!(stage.ask("keep pear").await, "ok ()");
    let told = stage.socket.send_text(&bot, "2", "/kept").await;
    assert_eq!(told["ok"]["reply"]["text"], "pear", "{told}");
}

#[tokio::test]
async fn an_account_of_a_plugin_cannot_sign_in_and_its_name_is_taken() {
    let stage = Stage::new(GRANTS).await;
    for password in ["", "password-1"] {
        let form = [
            ("grant_type", "password"),
            ("username", "observant"),
            ("password", password),
            ("device_id", "d"),
            ("device_kind", "web"),
        ];
        let (status, refused) = stage.server.token_call(&form).await;
        assert_ne!(status, 200, "{refused}");
    }
    let body = json!({"username": "observant", "password": "password-1"});
    let (status, refused) = stage
        .server
        .call("POST", "/v1/users", None, Some(body))
        .await;
    assert_eq!(status, 409, "{refused}");
}
