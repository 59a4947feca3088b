//! A canary behind the commit: it is shown what happens in its conversations and nothing else, every entry is seen by one
//! of the two versions, and effects happen once.

use serde_json::json;

use super::{GRANTS, Stage};

const PEOPLE: usize = 8;

#[tokio::test]
async fn a_canary_sees_its_conversations_alone_and_every_effect_happens_once() {
    let mut stage = Stage::new(GRANTS).await;
    let body = json!({"version": "0.1.0-other", "percent": 50});
    let path = "/plugins/observant/canary";
    let (status, done) = stage.server.admin("POST", path, Some(body)).await;
    assert_eq!(status, 200, "{done}");
    let mut sockets = Vec::new();
    for _ in 0..PEOPLE {
        let user = stage.server.user("bob").await;
        sockets.push(stage.server.session(&user).await);
    }
    // In turns, so that entries of both versions' conversations stand side by side.
    for round in 0..5 {
        for socket in &mut sockets {
            let text = format!("count {round}");
            let client_id = format!("c{round}");
            let reply = socket.send_text(&stage.bot, &client_id, &text).await;
            assert!(reply["ok"]["seq"].is_u64(), "{reply}");
        }
    }
    let mut kinds = Vec::new();
    for socket in &mut sockets {
        let mut kind = None;
        for round in 0..2 {
            let asked = socket
                .send_text(&stage.bot, &format!("k{round}"), "kind")
                .await;
            assert!(asked["ok"]["seq"].is_u64(), "{asked}");
            let said = loop {
                let entry = socket.event("entry").await["entry"].clone();
                let text = entry["content"]["text"].as_str().expect("a text");
                if let Some(kind) = text.strip_prefix("it is ") {
                    break kind.to_owned();
                }
            };
            assert_eq!(*kind.get_or_insert_with(|| said.clone()), said, "it stays");
        }
        kinds.extend(kind);
    }
    assert!(kinds.iter().all(|kind| kind == "plain" || kind == "other"));
    assert_eq!(stage.ask("total").await, format!("total {}", 5 * PEOPLE));
    for socket in &mut sockets {
        let list = socket.request("conversations", json!({})).await;
        let conversation = list["ok"]["conversations"][0]["id"].clone();
        let asked = json!({"conversation": conversation, "after": 0, "limit": 200});
        let page = socket.request("history", asked).await;
        let entries = page["ok"]["entries"].as_array().expect("entries").clone();
        assert_eq!(
            super::counted(&entries, &stage.bot),
            (0..5).map(|n| format!("counted {n}")).collect::<Vec<_>>(),
            "each once, in order"
        );
    }
}
