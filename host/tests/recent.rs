//! What a strategy is shown of a conversation: the newest entries its author may see, and no more. With a guest that
//! refuses what stands among the last three.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::groups::{call, code, group, say};
use crate::support::{TestServer, TestSocket};

pub fn attentive() -> &'static Vec<u8> {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/attentive");
        let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("attentive.wasm");
        kith::guest::build(&folder, Some(&out), None, &|_| {}).expect("the guest builds");
        std::fs::read(out).expect("the component")
    })
}

async fn server() -> TestServer {
    let component = tokio::task::spawn_blocking(attentive)
        .await
        .expect("the guest");
    let server = TestServer::bare().await;
    let (status, pushed) = server.push(component.clone()).await;
    assert_eq!(status, 201, "{pushed}");
    let body = json!({"version": pushed["version"]});
    let path = "/plugins/attentive/activate";
    let (status, done) = server.admin("POST", path, Some(body)).await;
    assert_eq!(status, 200, "{done}");
    server
}

fn refused(reply: &Value) -> bool {
    if code(reply) == "no error" {
        return false;
    }
    assert_eq!(code(reply), "rejected", "{reply}");
    assert_eq!(reply["err"]["reason"], "said-before", "{reply}");
    true
}

async fn text(socket: &mut TestSocket, to: &str, client_id: &str, text: &str) -> Value {
    let content = json!({"type": "text", "text": text});
    let fields = json!({"to": {"user": to}, "client_id": client_id, "content": content});
    socket.request("send", fields).await
}

#[tokio::test]
async fn a_strategy_sees_the_last_entries_of_both() {
    let server = server().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut a, mut b) = (server.session(&ann).await, server.session(&bob).await);
    let first = text(&mut a, &bob.id, "1", "one").await;
    assert!(!refused(&first));
    assert!(refused(&text(&mut b, &ann.id, "1", "one").await));
    // A resend is no new message.
    let resent = text(&mut a, &bob.id, "1", "one").await;
    assert_eq!(resent["ok"]["seq"], first["ok"]["seq"], "{resent}");
    for (id, said) in [("2", "two"), ("3", "three"), ("4", "four")] {
        assert!(!refused(&text(&mut a, &bob.id, id, said).await), "{said}");
    }
    assert!(!refused(&text(&mut b, &ann.id, "2", "one").await));
}

#[tokio::test]
async fn what_was_recalled_is_not_shown() {
    let server = server().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    let sent = text(&mut a, &bob.id, "1", "secret").await;
    let place = json!({"conversation": sent["ok"]["conversation"], "seq": sent["ok"]["seq"]});
    let recalled = a.request("recall", place).await;
    assert!(recalled["err"].is_null(), "{recalled}");
    assert!(!refused(&text(&mut a, &bob.id, "2", "secret").await));
}

#[tokio::test]
async fn an_edit_is_judged_with_what_was_said_last() {
    let server = server().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    let sent = text(&mut a, &bob.id, "1", "one").await;
    text(&mut a, &bob.id, "2", "two").await;
    let mut edit = json!({"conversation": sent["ok"]["conversation"], "seq": sent["ok"]["seq"],
        "content": {"type": "text", "text": "two"}});
    assert!(refused(&a.request("edit", edit.clone()).await));
    edit["content"]["text"] = "three".into();
    assert!(!refused(&a.request("edit", edit).await));
}

#[tokio::test]
async fn nobody_is_judged_by_what_was_said_before_they_came() {
    let server = server().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    let us = group(&server, &ann, &[]).await;
    assert!(!refused(&say(&mut a, &us, "1", "before").await));
    let add = json!({"users": [bob.id]});
    let (status, added) = call(&server, &ann, "POST", &us, "/members", Some(add)).await;
    assert_eq!(status, 201, "{added}");
    let mut b = server.session(&bob).await;
    assert!(!refused(&say(&mut b, &us, "1", "before").await));
    assert!(refused(&say(&mut b, &us, "2", "before").await));
}
