//! What plugins reach: hosts that are granted and no others, nothing inside the network unless that is granted; people,
//! members, and conversations that are theirs to read.

use super::receiver::Receiver;
use super::{GRANTS, Stage};
use serde_json::json;

fn granting(more: &str) -> String {
    format!("{GRANTS},{more}")
}

#[tokio::test]
async fn only_granted_hosts_are_reached_and_private_ones_by_a_grant_of_their_own() {
    let receiver = Receiver::start().await;
    let (url, host) = (receiver.url("/ok"), receiver.host());
    let mut stage = Stage::new(GRANTS).await;
    assert_eq!(
        stage.ask(&format!("fetch {url}")).await,
        "no denied: http://127.0.0.1 is not granted"
    );
    let grant = |grants: String| json!({"grants": grants});
    let path = "/plugins/observant/grants";
    let public = grant(format!("http:host={host}"));
    stage.server.admin("POST", path, Some(public)).await;
    assert_eq!(
        stage.ask(&format!("fetch {url}")).await,
        "no denied: the host has an address inside a private network"
    );
    assert_eq!(receiver.taken().len(), 0, "nothing was asked of it");
    stage
        .server
        .admin("POST", path, Some(json!({"revoke": ["http"]})))
        .await;
    let private = grant(format!("http:private={host}"));
    stage.server.admin("POST", path, Some(private)).await;
    assert_eq!(
        stage.ask(&format!("fetch {url}")).await,
        "fetched 200 with 2 bytes"
    );
}

#[tokio::test]
async fn no_redirect_is_followed_and_no_answer_is_endless() {
    let receiver = Receiver::start().await;
    let mut stage = Stage::new(&granting(&format!("http:private={}", receiver.host()))).await;
    let redirected = stage
        .ask(&format!("fetch {}", receiver.url("/elsewhere")))
        .await;
    assert_eq!(redirected, "fetched 302 with 0 bytes");
    let endless = stage
        .ask(&format!("fetch {}", receiver.url("/endless")))
        .await;
    assert!(endless.starts_with("no quota"), "{endless}");
    assert_eq!(receiver.taken(), ["/elsewhere", "/endless"]);
}

#[tokio::test]
async fn only_conversations_of_the_call_or_of_the_account_can_be_read() {
    let mut stage = Stage::new(GRANTS).await;
    assert_eq!(stage.ask("history").await, "ok 1");
    assert_eq!(
        stage.ask("who observant").await,
        r#"ok ("observant", "service")"#
    );
    let bob = stage.server.user("bob").await;
    let cat = stage.server.user("cat").await;
    let mut other = stage.server.session(&bob).await;
    let sent = other.send_text(&cat.id, "1", "between us").await;
    let theirs = sent["ok"]["conversation"]
        .as_str()
        .expect("a conversation")
        .to_owned();
    // What was said between them is behind: the next call is not about it.
    stage.ask("total").await;
    let asked = stage.ask(&format!("history {theirs}")).await;
    assert!(asked.starts_with("no denied"), "{asked}");
    let change = json!({"grants": "history:conversations=all"});
    stage
        .server
        .admin("POST", "/plugins/observant/grants", Some(change))
        .await;
    assert_eq!(stage.ask(&format!("history {theirs}")).await, "ok 1");
}

#[tokio::test]
async fn what_is_sent_under_one_name_is_sent_once() {
    let mut stage = Stage::new(GRANTS).await;
    for _ in 0..2 {
        stage.say("say greeting").await;
    }
    let mut heard = Vec::new();
    while heard.iter().filter(|text| *text == "ok true").count() < 2 {
        heard.push(stage.heard().await);
    }
    assert_eq!(
        heard.iter().filter(|text| *text == "said").count(),
        1,
        "{heard:?}"
    );
}
