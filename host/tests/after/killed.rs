//! Killed in between, also while another version takes over: what an observer was shown and had done
//! is neither missing nor doubled when the server is back.

use serde_json::json;

use super::{GRANTS, counted, versions};
use crate::crash::process::ServerProcess;
use crate::support::TestSocket;

const ROUNDS: u32 = 6;
const BURST: u32 = 20;

async fn said(socket: &mut TestSocket, to: &str, number: u32, text: &str) {
    let reply = socket.send_text(to, &format!("n{number}"), text).await;
    assert!(reply["ok"]["seq"].is_u64(), "{reply}");
}

#[tokio::test]
async fn kill_nine_in_between_doubles_and_loses_no_effect() {
    let components = tokio::task::spawn_blocking(|| &versions()[..2])
        .await
        .expect("the guests");
    let mut server = ServerProcess::start().await;
    for component in components {
        server.administer("/plugins", component.clone()).await;
    }
    let wanted = json!({"version": "0.1.0-plain", "grants": GRANTS});
    server
        .administer("/plugins/observant/activate", wanted.to_string())
        .await;
    let ann = server.user("ann").await;
    let (status, found) = server.get_as(&ann, "/v1/users?query=observant").await;
    assert_eq!(status, 200, "{found}");
    let bot = found["users"][0]["id"]
        .as_str()
        .expect("the account")
        .to_owned();
    let mut number = 0;
    for round in 0..ROUNDS {
        let mut socket = server.session(&ann).await;
        for _ in 0..BURST {
            said(&mut socket, &bot, number, &format!("count {number}")).await;
            number += 1;
        }
        if round > 0 {
            // Somewhere among its effects: another number of them each round.
            for _ in 0..round {
                socket.event("entry").await;
            }
        }
        // Another version, or the same one again, may be taking over when the end comes.
        let kind = ["other", "plain"][round as usize % 2];
        let wanted = json!({"version": format!("0.1.0-{kind}")});
        let taking_over =
            server.begin_administer("/plugins/observant/activate", wanted.to_string());
        if round % 3 == 2 {
            assert_eq!(taking_over.await.expect("ends").ok(), Some(200));
        }
        server.kill();
        server.restart().await;
    }
    let mut socket = server.session(&ann).await;
    said(&mut socket, &bot, number, "total").await;
    let total = loop {
        let entry = socket.event("entry").await;
        let text = entry["entry"]["content"]["text"]
            .as_str()
            .unwrap_or_default();
        if let Some(total) = text.strip_prefix("total ") {
            break total.to_owned();
        }
    };
    assert_eq!(total, number.to_string(), "each was counted once");
    let list = socket.request("conversations", json!({})).await;
    let conversation = list["ok"]["conversations"][0]["id"].clone();
    let (mut log, mut after) = (Vec::new(), 0);
    loop {
        let asked = json!({"conversation": conversation, "after": after, "limit": 200});
        let page = socket.request("history", asked).await["ok"]["entries"].clone();
        let page = page.as_array().expect("entries").clone();
        let Some(last) = page.last() else {
            break;
        };
        after = last["seq"].as_u64().expect("a seq");
        log.extend(page);
    }
    let told = counted(&log, &bot);
    let wanted: Vec<String> = (0..number).map(|n| format!("counted {n}")).collect();
    assert_eq!(told, wanted, "each was told once, in order");
}
