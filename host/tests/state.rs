//! What plugins keep, through the public protocol: it commits with the entry, within a quota, and comes along when a version
//! takes over that wants it in another form, whatever is written meanwhile. With the keeper, a guest of these tests.

mod killed;
mod moving;
mod schedules;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use kith::clock::ManualClock;
use serde_json::{Value, json};

use crate::support::{PATIENCE, TestServer, TestSocket, TestUser};

const KINDS: [&str; 7] = [
    "one", "two", "slow", "refusing", "trapping", "never", "again",
];
pub const GRANTS: &str = "kv:bytes=1000000,send";

/// The components, each built once a run.
pub fn versions() -> &'static [Vec<u8>] {
    static BUILT: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/keeper");
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("keeper");
        std::fs::create_dir_all(&target).expect("a folder for the components");
        let build = |kind: &str| {
            let out = target.join(format!("{kind}.wasm"));
            kith::guest::build(&folder, Some(&out), Some(kind), &|_| {}).expect("the guest builds");
            std::fs::read(out).expect("the component")
        };
        KINDS.map(build).into()
    })
}

/// A server where version one serves, and somebody who talks to its account.
pub struct Stage {
    pub server: TestServer,
    pub ann: TestUser,
    pub socket: TestSocket,
    pub bot: String,
    said: u32,
}

impl Stage {
    pub async fn new() -> Self {
        Self::by(None).await
    }

    pub async fn by(clock: Option<std::sync::Arc<ManualClock>>) -> Self {
        let components = tokio::task::spawn_blocking(versions)
            .await
            .expect("the guests");
        let server = TestServer::by(clock, |_| {}).await;
        for component in components {
            let (status, pushed) = server.push(component.clone()).await;
            assert!(matches!(status, 200 | 201), "{pushed}");
        }
        let (status, done) = activate(&server, "one", GRANTS).await;
        assert_eq!(status, 200, "{done}");
        let ann = server.user("ann").await;
        let path = "/v1/users?query=keeper";
        let (_, found) = server.call("GET", path, Some(&ann.token), None).await;
        let bot = found["users"][0]["id"].as_str().expect("the account");
        let bot = bot.to_owned();
        let socket = server.session(&ann).await;
        Self {
            server,
            ann,
            socket,
            bot,
            said: 0,
        }
    }

    /// Says something to the account.
    pub async fn say(&mut self, text: &str) {
        self.said += 1;
        let client_id = format!("said-{}", self.said);
        let reply = self.socket.send_text(&self.bot, &client_id, text).await;
        assert!(reply["ok"]["seq"].is_u64(), "{text}: {reply}");
    }

    /// What the account answers.
    pub async fn ask(&mut self, text: &str) -> String {
        self.say(text).await;
        loop {
            let entry = self.socket.event("entry").await["entry"].clone();
            if entry["from"] == self.bot.as_str() {
                return entry["content"]["text"].as_str().expect("text").to_owned();
            }
        }
    }

    /// Asks for the list until it is this: one call may be shown several entries, and reads what stood before it.
    pub async fn comes_to(&mut self, wanted: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let list = self.ask("list").await;
            if list == wanted {
                return;
            }
            assert!(Instant::now() < until, "{list} is not {wanted}");
        }
    }

    pub async fn reconnect(&mut self) {
        self.socket = self.server.session(&self.ann).await;
    }

    pub async fn rollback(&self) -> (u16, Value) {
        let path = "/plugins/keeper/rollback";
        self.server.admin("POST", path, Some(json!({}))).await
    }

    pub async fn report(&self) -> Value {
        let path = "/plugins/keeper/consumers";
        let (status, report) = self.server.admin("GET", path, None).await;
        assert_eq!(status, 200, "{report}");
        report
    }

    pub async fn configure(&self, values: Value) -> (u16, Value) {
        let path = "/plugins/keeper/config";
        let values = json!({"values": values});
        self.server.admin("PUT", path, Some(values)).await
    }
}

pub async fn activate(server: &TestServer, kind: &str, grants: &str) -> (u16, Value) {
    let body = json!({"version": format!("0.1.0-{kind}"), "grants": grants, "force": true});
    server
        .admin("POST", "/plugins/keeper/activate", Some(body))
        .await
}

#[tokio::test]
async fn what_does_not_fit_the_quota_is_not_kept_the_message_is_and_administrators_see_it() {
    let mut stage = Stage::new().await;
    let path = "/plugins/keeper/grants";
    let less = json!({"grants": "kv:bytes=100000"});
    let (status, _) = stage.server.admin("POST", path, Some(less)).await;
    assert_eq!(status, 200);
    for key in ["a", "b", "c"] {
        stage.say(&format!("hoard {key}")).await;
    }
    assert_eq!(stage.ask("list").await, "k 1 m 0 r 0 odd 0");
    let values = stage.report().await["values"].clone();
    assert_eq!(
        (&values["quota"], &values["refused"]),
        (&json!(100_000), &json!(2)),
        "{values}"
    );
    assert!(
        values["bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes <= 100_000)
    );
    // What is no more than before is kept, and what was taken away makes room.
    stage.say("hoard a").await;
    stage.say("take a").await;
    stage.say("hoard b").await;
    assert_eq!(stage.ask("list").await, "k 1 m 0 r 0 odd 0");
    assert_eq!(stage.report().await["values"]["refused"], 2);
}
