//! Servers killed while a version is activated: one of the two versions serves afterwards, what is told of it in the audit
//! log is what happened, and what was being tried is tried still.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::ServerProcess;
use crate::support::{PATIENCE, TestUser};
use crate::swap;

const ACTIVATE: &str = "/plugins/wayward/activate";
/// Activations that are cut off.
const ROUNDS: u32 = 12;
const KINDS: [&str; 4] = ["good", "slow", "other", "strict"];

async fn states(server: &ServerProcess) -> Vec<(String, String)> {
    let list = server.ask("/plugins").await;
    let rows = list["plugins"].as_array().expect("plugins").iter();
    let text = |row: &Value, field: &str| row[field].as_str().expect("a text").to_owned();
    rows.map(|row| (text(row, "version"), text(row, "state")))
        .collect()
}

/// The only version in a state.
async fn only(server: &ServerProcess, state: &str) -> String {
    let states = states(server).await;
    let mut own = states.iter().filter(|(_, known)| known == state);
    let (Some((version, _)), None) = (own.next(), own.next()) else {
        panic!("not one {state}: {states:?}");
    };
    version.clone()
}

/// Sends a message; the version that judged it, and of which generation.
async fn judged(
    server: &ServerProcess,
    (from, to): (&TestUser, &TestUser),
    round: u32,
) -> (String, u64) {
    let mut socket = server.session(from).await;
    let client_id = format!("r{round}");
    let ack = socket.send_text(&to.id, &client_id, "left right 1").await;
    let (conversation, seq) = (&ack["ok"]["conversation"], &ack["ok"]["seq"]);
    let conversation = conversation.as_str().unwrap_or_else(|| panic!("{ack}"));
    let path = format!("/conversations/{conversation}/entries/{seq}");
    let decision = server.ask(&path).await["decision"].take();
    let generation = decision["generation"].as_u64().expect("a generation");
    let by = decision["hooks"][0]["version"].as_str().expect("a version");
    (by.to_owned(), generation)
}

fn wish(kind: &str) -> Value {
    json!({"version": format!("1.0.0-{kind}"), "force": true})
}

/// A server where `good` serves, `other` is a canary and `strict` in the shadow.
async fn trying() -> ServerProcess {
    let server = ServerProcess::start().await;
    for kind in KINDS {
        let built = tokio::task::spawn_blocking(move || swap::component(kind)).await;
        server
            .administer("/plugins", built.expect("a component"))
            .await;
    }
    server.administer(ACTIVATE, wish("good").to_string()).await;
    let tried = json!({"version": "1.0.0-other", "percent": 40});
    server
        .administer("/plugins/wayward/canary", tried.to_string())
        .await;
    let shadow = json!({"version": "1.0.0-strict"});
    server
        .administer("/plugins/wayward/shadow", shadow.to_string())
        .await;
    server
}

/// Begins an activation and kills the server after a while, or once it has answered; the answer's status.
async fn cut(server: &mut ServerProcess, wish: Value, pause: Duration) -> Option<u16> {
    let mut begun = server.begin_administer(ACTIVATE, wish.to_string());
    let answered = tokio::select! {
        answered = &mut begun => Some(answered),
        () = tokio::time::sleep(pause) => None,
    };
    server.kill();
    let answered = match answered {
        Some(answered) => answered,
        None => begun.await,
    };
    answered.expect("it ends").ok()
}

#[tokio::test]
async fn kill_nine_during_an_activation_leaves_one_version_serving_and_the_trials_in_force() {
    let mut server = trying().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut newest, mut switched) = (0, 0);
    let mut canary: Option<bool> = None;
    // How long it takes where nothing is loaded yet, as after each restart.
    server.kill();
    server.restart().await;
    let began = Instant::now();
    server.administer(ACTIVATE, wish("slow").to_string()).await;
    let (took, mut serving) = (began.elapsed(), "1.0.0-slow".to_owned());
    for round in 0..=ROUNDS {
        let kind = if serving == "1.0.0-good" {
            "slow"
        } else {
            "good"
        };
        let pause = if round < ROUNDS {
            took * round / 8
        } else {
            PATIENCE
        };
        let answered = cut(&mut server, wish(kind), pause).await;
        server.restart().await;
        let now = only(&server, "active").await;
        assert!(
            [&serving, &format!("1.0.0-{kind}")].contains(&&now),
            "{now}"
        );
        if answered == Some(200) {
            assert_eq!(
                now,
                format!("1.0.0-{kind}"),
                "what was answered is in force"
            );
        }
        assert_eq!(only(&server, "canary").await, "1.0.0-other");
        assert_eq!(only(&server, "shadow").await, "1.0.0-strict");
        let told = server.ask("/audit?prefix=plugin.activate&limit=1").await;
        assert_eq!(told["lines"][0]["to"], now.as_str(), "{told}");
        switched += usize::from(now != serving);
        serving = now;

        let (by, generation) = judged(&server, (&ann, &bob), round).await;
        assert!(
            generation > newest,
            "generations rise over every crash: {generation} after {newest}"
        );
        newest = generation;
        let tried = *canary.get_or_insert(by == "1.0.0-other");
        assert_eq!(by, if tried { "1.0.0-other" } else { &serving });
    }
    assert!(switched > 0, "what was answered is in force");
}
