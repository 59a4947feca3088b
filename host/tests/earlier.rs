//! Components that were built against an earlier state of the contract and are committed as they were: they go on
//! serving, each of its hooks, through the public protocol. How they were made is in `host/tests/earlier/README.md`.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{TestServer, TestSocket, TestUser};

/// The largest of them may have.
const BYTES_MOST: usize = 100_000;

fn component(hook: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/earlier");
    let bytes = std::fs::read(folder.join(format!("{hook}.wasm"))).expect("a committed component");
    assert!(bytes.len() < BYTES_MOST, "{hook}: {} bytes", bytes.len());
    bytes
}

/// A server where one of them serves, and two who talk.
async fn served(hook: &str, grants: &str) -> (TestServer, TestUser, TestUser) {
    let server = TestServer::bare().await;
    let (status, pushed) = server.push(component(hook)).await;
    assert!(matches!(status, 200 | 201), "{pushed}");
    let name = format!("elder-{hook}");
    assert_eq!(pushed["name"], name.as_str());
    let body = json!({"version": "1.0.0", "grants": grants});
    let path = format!("/plugins/{name}/activate");
    let (status, done) = server.admin("POST", &path, Some(body)).await;
    assert_eq!(status, 200, "{done}");
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    (server, ann, bob)
}

fn text(entry: &Value) -> &str {
    entry["content"]["text"].as_str().unwrap_or_default()
}

/// The next entry of somebody.
async fn heard(socket: &mut TestSocket, from: &str) -> String {
    loop {
        let entry = socket.event("entry").await["entry"].clone();
        if entry["from"] == from {
            return text(&entry).to_owned();
        }
    }
}

/// A plugin's account, found by search, as anybody would.
async fn account(server: &TestServer, user: &TestUser, name: &str) -> String {
    let path = format!("/v1/users?query={name}");
    let (status, found) = server.call("GET", &path, Some(&user.token), None).await;
    assert_eq!(status, 200, "{found}");
    found["users"][0]["id"]
        .as_str()
        .expect("the account")
        .to_owned()
}

#[tokio::test]
async fn a_strategy_of_the_first_contract_still_decides() {
    let (server, ann, bob) = served("message-strategy", "").await;
    let mut from = server.session(&ann).await;
    let refused = from.send_text(&bob.id, "1", "ancient reject").await;
    assert_eq!(refused["err"]["code"], "rejected", "{refused}");
    let replaced = from.send_text(&bob.id, "2", "ancient replace").await;
    assert_eq!(text(&replaced["ok"]), "new", "{replaced}");
    let first = from.send_text(&bob.id, "3", "ancient count").await;
    assert_eq!(text(&first["ok"]), "0 kept, 1 seen", "{first}");
    let second = from.send_text(&bob.id, "4", "ancient count").await;
    assert_eq!(text(&second["ok"]), "1 kept, 2 seen", "{second}");
}

#[tokio::test]
async fn a_filter_of_the_first_contract_still_masks() {
    let (server, ann, bob) = served("content-filter", "").await;
    let mut from = server.session(&ann).await;
    let masked = from.send_text(&bob.id, "1", "an ancient word").await;
    assert_eq!(text(&masked["ok"]), "an ******* word", "{masked}");
}

#[tokio::test]
async fn a_command_of_the_first_contract_still_answers() {
    let (server, ann, bob) = served("command", "").await;
    let mut from = server.session(&ann).await;
    for (id, typed, answer) in [
        ("1", "/elder one", "last "),
        ("2", "/elder two", "last one"),
    ] {
        let answered = from.send_text(&bob.id, id, typed).await;
        assert_eq!(answered["ok"]["reply"]["text"], answer, "{answered}");
    }
}

#[tokio::test]
async fn a_rule_of_the_first_contract_still_rules() {
    let (server, ann, _) = served("admin-rule", "").await;
    let body = json!({"username": "ancient1", "password": "password-1"});
    let (status, refused) = server.call("POST", "/v1/users", None, Some(body)).await;
    assert_eq!(
        (status, &refused["code"]),
        (422, &json!("rejected")),
        "{refused}"
    );
    let path = format!("/users?query={}", ann.username);
    let (_, found) = server.admin("GET", &path, None).await;
    assert_eq!(
        found["users"][0]["labels"],
        json!(["seen-by-elder"]),
        "{found}"
    );
}

#[tokio::test]
async fn an_observer_of_the_first_contract_still_sees_and_acts() {
    let (server, ann, bob) =
        served("observer", "kv:bytes=65536,directory,metrics,random,send").await;
    let mut from = server.session(&ann).await;
    let elder = account(&server, &ann, "elder-observer").await;
    for (id, kept) in [("1", 0), ("2", 1)] {
        let said = from.send_text(&bob.id, id, "ancient news").await;
        assert!(said["ok"]["seq"].is_u64(), "{said}");
        let told = heard(&mut from, &elder).await;
        assert_eq!(told, format!("{} 4 {kept}", ann.username));
    }
}

#[tokio::test]
async fn a_responder_of_the_first_contract_still_answers() {
    let (server, ann, _) = served("responder", "reply,history").await;
    let elder = account(&server, &ann, "elder-responder").await;
    let mut from = server.session(&ann).await;
    let said = from.send_text(&elder, "1", "hello").await;
    assert!(said["ok"]["seq"].is_u64(), "{said}");
    assert_eq!(heard(&mut from, &elder).await, "you said hello, after 0");
}
