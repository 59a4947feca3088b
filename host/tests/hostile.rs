//! Guests that attack whoever runs them, each through a message that is served: what they do ends with the call, costs
//! others no more than its budget, and shows them nobody's data.

mod filters;
mod isolation;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crash::process::samples;
use crate::support::{TestServer, TestSocket, TestUser};

/// What the configured hard stop is here, milliseconds.
const HARD_STOP_MS: u64 = 100;
/// The secret nobody's plugin may see, as it is typed: not a part of any binary.
const SECRET: &str = "Marmalade";

/// What any hook can do.
const ATTACKS: [&str; 11] = [
    "trap",
    "loop",
    "hog",
    "recurse",
    "ask",
    "log-lie",
    "log-garbage",
    "out-of-bounds",
    "beyond",
    "huge",
    "garbage",
];

/// The component, built once a run.
fn component() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/rogue");
        let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("rogue.wasm");
        kith::guest::build(&folder, Some(&out), None, &|_| {}).expect("the guest builds");
        std::fs::read(out).expect("the component")
    })
}

/// A server where the guest serves, somebody who provokes it and somebody who only talks.
struct Siege {
    server: TestServer,
    ann: TestUser,
    bob: TestUser,
    attacker: TestSocket,
    bystander: TestSocket,
    sent: usize,
    round: usize,
}

impl Siege {
    async fn begin() -> Self {
        let rogue = tokio::task::spawn_blocking(component);
        let rogue = rogue.await.expect("the guest").to_vec();
        let server = TestServer::with(|config| {
            config.plugins.hard_stop_ms = HARD_STOP_MS;
            config.plugins.after_stop_ms = 500;
            config.plugins.memory_mib = 16;
        })
        .await;
        let (status, pushed) = server.push(rogue).await;
        assert!(matches!(status, 200 | 201), "{pushed}");
        let body = json!({"version": "1.0.0", "grants": "kv:bytes=65536,metrics,reply"});
        let (status, done) = server
            .admin("POST", "/plugins/rogue/activate", Some(body))
            .await;
        assert_eq!(status, 200, "{done}");
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let (attacker, bystander) = (server.session(&ann).await, server.session(&bob).await);
        Self {
            server,
            ann,
            bob,
            attacker,
            bystander,
            sent: 0,
            round: 0,
        }
    }

    /// Another configuration is another version: its breakers are closed, its instances new.
    async fn renew(&mut self) {
        self.round += 1;
        let body = json!({"values": {"round": self.round}});
        let (status, done) = self
            .server
            .admin("PUT", "/plugins/rogue/config", Some(body))
            .await;
        assert_eq!(status, 200, "{done}");
    }

    async fn bind(&self, hook: &str, change: Value) {
        let path = format!("/plugins/rogue/bindings/{hook}");
        let (status, done) = self.server.admin("PATCH", &path, Some(change)).await;
        assert_eq!(status, 200, "{done}");
    }

    async fn provoke(&mut self, text: &str) -> Value {
        self.sent += 1;
        let id = format!("a{}", self.sent);
        self.attacker.send_text(&self.bob.id, &id, text).await
    }

    /// What the guest's command answers.
    async fn ask(&mut self, arguments: &str) -> String {
        let answer = self.provoke(&format!("/rogue {arguments}")).await;
        let text = answer["ok"]["reply"]["text"].as_str();
        text.unwrap_or_else(|| panic!("{arguments}: {answer}"))
            .to_owned()
    }

    /// Somebody else says something, and it is kept.
    async fn talk(&mut self, after: &str) {
        self.sent += 1;
        let id = format!("b{}", self.sent);
        let said = self.bystander.send_text(&self.ann.id, &id, "good morning");
        let said = said.await;
        assert!(said["ok"]["seq"].is_u64(), "after {after}: {said}");
    }

    async fn metrics(&self) -> HashMap<String, f64> {
        let url = format!("http://{}/metrics", self.server.app().admin_address);
        let answer = self.server.http.get(url).send().await.expect("an answer");
        samples(&answer.text().await.expect("a text"))
    }

    /// How many calls of a hook had an outcome, of the version that serves now.
    async fn calls(&self, hook: &str, outcome: &str) -> f64 {
        let name = format!(
            "kith_hook_calls_total{{hook=\"{hook}\",outcome=\"{outcome}\",plugin=\"rogue\",version=\"1.0.0\"}}"
        );
        let metrics = self.metrics().await;
        metrics.get(&name).copied().unwrap_or_default()
    }
}

/// Each attack against one hook fails that call, is seen as its failure, and nobody else notices.
async fn attacked(hook: &str, prefix: &str, attacks: &[&str], refusal: &str) {
    let mut siege = Siege::begin().await;
    for attack in attacks {
        siege.renew().await;
        let answer = siege.provoke(&format!("{prefix} {attack}")).await;
        assert_eq!(answer["err"]["code"], refusal, "{hook} {attack}: {answer}");
        let failed = siege.calls(hook, "failed").await;
        assert_eq!(failed, 1.0, "{hook} {attack} was asked and failed");
        siege.talk(attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_attacks_fails_its_call_and_no_other() {
    let own = ["many", "level", "level-lie", "range"];
    let attacks: Vec<&str> = ATTACKS.into_iter().chain(own).collect();
    attacked("content-filter", "rogue-filter", &attacks, "rejected").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strategy_that_attacks_fails_its_call_and_no_other() {
    let own = ["notify", "code", "kind", "value-lie", "effects", "audience"];
    let attacks: Vec<&str> = ATTACKS.into_iter().chain(own).collect();
    attacked(
        "message-strategy",
        "rogue-strategy",
        &attacks,
        "unavailable",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_attacks_fails_its_call_and_no_other() {
    attacked("command", "/rogue", &ATTACKS, "unavailable").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_that_attacks_is_skipped_and_the_next_event_is_served() {
    let mut siege = Siege::begin().await;
    // Traps and hoards are in `after/hostile.rs`.
    let attacks = [
        "loop",
        "out-of-bounds",
        "garbage",
        "ask-kv",
        "write-kv",
        "kind-lie",
        "done",
    ];
    let skipped =
        "kith_consumer_events_total{hook=\"observer\",plugin=\"rogue\",result=\"skipped\"}";
    for (given_up, attack) in (1_u32..).zip(attacks) {
        siege.renew().await;
        let answer = siege.provoke(&format!("rogue-observer {attack}")).await;
        assert!(answer["ok"]["seq"].is_u64(), "the message stands: {answer}");
        siege.talk(attack).await;
        // It is shown the event again and again, and in the end it is given up.
        // Several tries, each with its hard stop and a pause after it.
        let deadline = Instant::now() + Duration::from_secs(180);
        while siege.metrics().await.get(skipped) != Some(&f64::from(given_up)) {
            assert!(Instant::now() < deadline, "{attack} holds everything up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let lag = "kith_consumer_lag_seconds{hook=\"observer\",plugin=\"rogue\"}";
    let deadline = Instant::now() + crate::support::PATIENCE;
    while siege.metrics().await.get(lag) != Some(&0.0) {
        assert!(Instant::now() < deadline, "what follows is not served");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_attacks_keeps_out_whom_it_was_asked_about_and_no_other() {
    let mut siege = Siege::begin().await;
    let own = ["code", "kind", "subject-lie", "actions"];
    for attack in ATTACKS.into_iter().chain(own) {
        siege.renew().await;
        let body =
            json!({"username": format!("rogue-{attack}"), "password": "correct horse battery"});
        let registered = siege.server.call("POST", "/v1/users", None, Some(body));
        let (status, refused) = registered.await;
        assert_eq!(
            (status, &refused["code"]),
            (422, &json!("rejected")),
            "{attack}: {refused}"
        );
        assert_eq!(siege.calls("admin-rule", "failed").await, 1.0, "{attack}");
        let welcome = siege.server.user(&format!("guest{}", siege.round)).await;
        assert!(!welcome.token.is_empty(), "after {attack}");
        siege.talk(attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_responder_that_attacks_is_skipped_and_answers_the_next() {
    let mut siege = Siege::begin().await;
    let path = "/v1/users?query=rogue";
    let (_, found) = siege
        .server
        .call("GET", path, Some(&siege.ann.token), None)
        .await;
    let account = found["users"][0]["id"]
        .as_str()
        .expect("the account")
        .to_owned();
    let attacks = [
        "trap",
        "loop",
        "hog",
        "out-of-bounds",
        "garbage",
        "open",
        "write",
        "retry-lie",
    ];
    let skipped =
        "kith_consumer_events_total{hook=\"responder\",plugin=\"rogue\",result=\"skipped\"}";
    for (given_up, attack) in (1_u32..).zip(attacks) {
        siege.renew().await;
        let text = format!("rogue-responder {attack}");
        let answer = siege.attacker.send_text(&account, attack, &text).await;
        assert!(answer["ok"]["seq"].is_u64(), "the message stands: {answer}");
        siege.talk(attack).await;
        // Several tries, each with its hard stop and a pause after it.
        let deadline = Instant::now() + Duration::from_secs(180);
        while siege.metrics().await.get(skipped) != Some(&f64::from(given_up)) {
            assert!(Instant::now() < deadline, "{attack} holds everything up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // One that asks to be called at the end of time holds up its own conversation alone.
    for (id, text) in [
        ("anothers", "rogue-responder anothers"),
        ("next", "and now?"),
    ] {
        siege.attacker.send_text(&account, id, text).await;
    }
    loop {
        let told = siege.attacker.event("entry").await;
        if told["entry"]["from"] == account.as_str() {
            assert_eq!(told["entry"]["content"]["text"], "well", "{told}");
            break;
        }
    }
    let never = siege
        .bystander
        .send_text(&account, "never", "rogue-responder never");
    assert!(never.await["ok"]["seq"].is_u64());
    siege
        .attacker
        .send_text(&account, "other", "still there?")
        .await;
    loop {
        let told = siege.attacker.event("entry").await;
        if told["entry"]["from"] == account.as_str() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_computes_as_long_as_it_may_costs_others_its_budget_and_no_more() {
    let mut siege = Siege::begin().await;
    siege.renew().await;
    // The looping call and its second try take two hard stops; another thread serves meanwhile.
    let id = siege.attacker.start(
        "send",
        json!({"to": {"user": siege.bob.id}, "client_id": "slow",
            "content": {"type": "text", "text": "rogue-filter loop"}}),
    );
    let id = id.await;
    let began = Instant::now();
    for _ in 0..20 {
        siege.talk("a loop").await;
    }
    let took = began.elapsed();
    let answer = siege.attacker.reply(id).await;
    assert_eq!(answer["err"]["code"], "rejected", "{answer}");
    let most = Duration::from_millis(2 * HARD_STOP_MS) + Duration::from_secs(4);
    assert!(took < most, "twenty messages of others took {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_lines_and_of_numbers_is_cut() {
    let mut siege = Siege::begin().await;
    // It may come to its end within the stop, or not: it is served either way, or stopped.
    let answer = siege.provoke("rogue-filter flood").await;
    assert!(answer["ok"].is_object() || answer["err"]["code"] == "rejected");
    siege.talk("a flood").await;
    siege.provoke("rogue-observer count").await;
    let deadline = Instant::now() + crate::support::PATIENCE;
    loop {
        let metrics = siege.metrics().await;
        let own = metrics
            .keys()
            .filter(|name| name.starts_with("kith_plugin_count_total{") && name.contains("rogue"));
        let own = own.count();
        assert!(own <= 64, "{own} numbers");
        if own == 64 {
            break;
        }
        assert!(Instant::now() < deadline, "{own} numbers");
    }
}

/// As `searched` in the guest wants it: from behind, and each letter in the other case.
fn disguised(word: &str) -> String {
    let other = |byte: u8| char::from(byte ^ 0x20);
    word.bytes().rev().map(other).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_isolation_by_message_a_guest_that_remembers_finds_nothing_the_next_time() {
    let mut siege = Siege::begin().await;
    let half = &SECRET[..5];
    siege
        .provoke(&format!("the {SECRET} is in the {SECRET}"))
        .await;
    assert_eq!(siege.ask(&format!("seen {half}")).await, "true", "reused");
    assert_eq!(
        siege.ask(&format!("search {}", disguised(SECRET))).await,
        "true"
    );
    for hook in ["message-strategy", "content-filter", "command"] {
        siege.bind(hook, json!({"isolation": "message"})).await;
    }
    siege.renew().await;
    for _ in 0..8 {
        siege
            .provoke(&format!("the {SECRET} is in the {SECRET}"))
            .await;
        assert_eq!(siege.ask(&format!("seen {half}")).await, "false");
        let found = siege.ask(&format!("search {}", disguised(SECRET))).await;
        assert_eq!(
            found, "false",
            "nothing is left in the memory of an instance"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_leads_to_what_another_plugin_keeps() {
    let mut siege = Siege::begin().await;
    let clerk = tokio::task::spawn_blocking(keeper)
        .await
        .expect("the guest");
    let (status, pushed) = siege.server.push(clerk).await;
    assert!(matches!(status, 200 | 201), "{pushed}");
    let activate = json!({"version": "0.1.0-plain", "grants": crate::after::GRANTS});
    let (status, done) = siege
        .server
        .admin("POST", "/plugins/observant/activate", Some(activate))
        .await;
    assert_eq!(status, 200, "{done}");
    let kept = siege.provoke(&format!("/keep {SECRET}")).await;
    assert_eq!(kept["ok"]["state"], "command", "{kept}");
    for key in [
        "word",
        "observant/word",
        "../observant/word",
        "/observant/word",
        "observant:word",
        "observant\u{0}word",
        "\u{0}observant\u{0}word",
    ] {
        let answer = siege.ask(&format!("read {key}")).await;
        assert!(
            matches!(&*answer, "nothing" | "refused"),
            "{key:?}: {answer}"
        );
    }
    assert_eq!(siege.ask("beyond-tier word").await, "refused");
    siege.provoke("rogue-observer other").await;
    let count = "kith_plugin_count_total{name=\"read_nothing\",plugin=\"rogue\"}";
    let deadline = Instant::now() + crate::support::PATIENCE;
    while !siege.metrics().await.contains_key(count) {
        assert!(Instant::now() < deadline, "it was not shown the message");
    }
    let stolen = "kith_plugin_count_total{name=\"read_anothers\",plugin=\"rogue\"}";
    assert!(!siege.metrics().await.contains_key(stolen));
}

fn keeper() -> Vec<u8> {
    crate::after::versions()[0].clone()
}

#[tokio::test]
async fn what_imports_what_is_not_there_is_refused_by_its_name() {
    let server = TestServer::bare().await;
    let rogue = tokio::task::spawn_blocking(component);
    let rogue = rogue.await.expect("the guest").to_vec();
    for (from, to, named) in [
        (
            "kith:plugin/clock@1.0.0",
            "kith:plugin/cl0ck@1.0.0",
            "cl0ck",
        ),
        (
            "kith:plugin/clock@1.0.0",
            "mine:plugin/clock@1.0.0",
            "mine:plugin/clock",
        ),
    ] {
        let mut changed = rogue.clone();
        let places: Vec<usize> = (0..changed.len() - from.len())
            .filter(|at| &changed[*at..at + from.len()] == from.as_bytes())
            .collect();
        for at in places {
            changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
        let (status, refused) = server.push(changed).await;
        assert_eq!(status, 400, "{refused}");
        let message = refused["message"].as_str().expect("a message");
        assert!(message.contains(named), "{message}");
    }
}
