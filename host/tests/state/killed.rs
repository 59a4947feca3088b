//! Killed in the middle of a migration: the version before and what it has kept serve as if nothing had been begun, nothing of
//! it is left, and the next activation migrates all of it.

use serde_json::json;

use super::{GRANTS, versions};
use crate::crash::process::ServerProcess;
use crate::support::{PATIENCE, TestSocket};

async fn asked(socket: &mut TestSocket, bot: &str, client_id: &str) -> String {
    let reply = socket.send_text(bot, client_id, "list").await;
    assert!(reply["ok"]["seq"].is_u64(), "{reply}");
    loop {
        let entry = socket.event("entry").await["entry"].clone();
        if entry["from"] == bot {
            return entry["content"]["text"].as_str().expect("text").to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_in_the_middle_of_a_migration_leaves_the_old_state_serving() {
    const KEYS: usize = 600;
    let components = tokio::task::spawn_blocking(versions)
        .await
        .expect("the guests");
    let mut server = ServerProcess::start().await;
    for component in &components[..3] {
        server.administer("/plugins", component.clone()).await;
    }
    let wanted = json!({"version": "0.1.0-one", "grants": GRANTS});
    let activate = "/plugins/keeper/activate";
    server.administer(activate, wanted.to_string()).await;
    let ann = server.user("ann").await;
    let (_, found) = server.get_as(&ann, "/v1/users?query=keeper").await;
    let bot = found["users"][0]["id"].as_str().expect("the account");
    let bot = bot.to_owned();
    let mut socket = server.session(&ann).await;
    for n in 0..KEYS {
        let reply = socket
            .send_text(&bot, &format!("n{n}"), &format!("put {n}"))
            .await;
        assert!(reply["ok"]["seq"].is_u64(), "{reply}");
    }
    for round in 0..2 {
        let begun = server.begin_administer(activate, json!({"version": "0.1.0-slow"}).to_string());
        let midway = async {
            loop {
                let report = server.administration("/plugins/keeper/consumers").await;
                if report["moving"]["done"].as_u64() > Some(0) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, midway)
            .await
            .expect("it is on its way");
        server.kill();
        drop(begun.await);
        server.restart().await;
        let mut socket = server.session(&ann).await;
        let told = asked(&mut socket, &bot, &format!("asked{round}")).await;
        assert_eq!(told, format!("k {KEYS} m 0 r 0 odd 0"));
    }
    let wanted = json!({"version": "0.1.0-two"});
    server.administer(activate, wanted.to_string()).await;
    let mut socket = server.session(&ann).await;
    let told = asked(&mut socket, &bot, "at last").await;
    assert_eq!(told, format!("k 0 m {KEYS} r 0 odd 0"));
    server.stop().await;
    let namespaces = kept_in(&server.data()).await;
    assert_eq!(
        namespaces.len(),
        2,
        "what serves and what a rollback returns to: {namespaces:?}"
    );
}

/// The namespaces in a store that no server uses.
async fn kept_in(data: &std::path::Path) -> Vec<String> {
    use kith::clock::SystemClock;
    use kith::store::embedded_log::EmbeddedLog;
    use kith::store::kv::PluginKv;
    let opened = EmbeddedLog::open(&data.join("log"), std::sync::Arc::new(SystemClock));
    let (log, _settlements) = opened.expect("opens");
    let mut found = log.kv_namespaces().await.expect("a list");
    found.retain(|namespace| namespace.starts_with("keeper"));
    found
}
