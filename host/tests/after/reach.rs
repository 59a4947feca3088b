//! What plugins reach: hosts that are granted and no others, nothing inside the network unless that is granted; people,
//! members, and conversations that are theirs to read.

use super::receiver::Receiver;
use super::{GRANTS, Stage};
use crate::conformance::bus::eventually;
use crate::groups;
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
async fn a_grant_that_names_kinds_of_conversations_reaches_no_other_ones() {
    let grants = "directory:kind=group,history:kind=group,http:host=nowhere.example,kv:bytes=65536,metrics,reply:kind=group,send";
    let mut stage = Stage::new(grants).await;
    let denied = |ability: &str| {
        format!("no denied: {ability} is not granted for conversations of this kind")
    };
    assert_eq!(stage.ask("members").await, denied("directory"));
    assert_eq!(stage.ask("history").await, denied("history"));
    // People are no conversations.
    let who = stage.ask("who observant").await;
    assert_eq!(who, r#"ok ("observant", "service")"#);
    // In a group the same grants reach.
    let bot = stage.bot.clone();
    let made = json!({"title": "us", "members": [bot]});
    let (status, made) = stage
        .server
        .call("POST", "/v1/groups", Some(&stage.ann.token), Some(made))
        .await;
    assert_eq!(status, 201, "{made}");
    let group = made["id"].as_str().expect("an id").to_owned();
    for asked in ["members", "history"] {
        let said = groups::say(&mut stage.socket, &group, asked, asked).await;
        assert!(said["ok"]["seq"].is_u64(), "{said}");
        let heard = stage.heard().await;
        assert!(heard.starts_with("ok "), "{asked}: {heard}");
    }
    // An effect and a call that write to a person are refused alike, once writing is for groups alone.
    let grant = async |change: serde_json::Value| {
        let path = "/plugins/observant/grants";
        stage.server.admin("POST", path, Some(change)).await
    };
    let (status, done) = grant(json!({"revoke": ["send"], "grants": "send:kind=group"})).await;
    assert_eq!(status, 200, "{done}");
    let (status, refused) = grant(json!({"grants": "send:kind=party"})).await;
    assert_eq!((status, &refused["code"]), (400, &json!("bad_request")));
    stage.say("members").await;
    let refused = eventually(async || {
        let notices = stage.report().await["consumers"][0]["notices"].to_string();
        notices.contains("effect 0").then_some(notices)
    });
    let refused = refused.await;
    assert!(
        refused.contains("send is not granted for conversations of this kind"),
        "{refused}"
    );
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
