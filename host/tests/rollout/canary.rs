//! Canaries: the share of conversations, that it stays, who judged what, how it ends. Versions are told apart by what they
//! mask.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Talk, audit, canary, done, judged, report, server, states, told};
use crate::registry::plugin;
use crate::support::{TestServer, TestUser};

/// Groups of one user: conversations that are made quickly.
const GROUPS: usize = 80;

async fn groups(server: &TestServer, ann: &TestUser) -> Vec<String> {
    let mut groups = Vec::with_capacity(GROUPS);
    for number in 0..GROUPS {
        let body = json!({"title": format!("group {number}")});
        let (status, made) = server
            .call("POST", "/v1/groups", Some(&ann.token), Some(body))
            .await;
        assert_eq!(status, 201, "{made}");
        groups.push(made["id"].as_str().expect("an id").to_owned());
    }
    groups
}

/// Says something in every group; those where `other` judged, each by exactly one version that its record names.
async fn drawn(server: &TestServer, ann: &TestUser, groups: &[String]) -> BTreeSet<String> {
    let mut socket = server.session(ann).await;
    let mut drawn = BTreeSet::new();
    for group in groups {
        let content = json!({"type": "text", "text": "left right 1"});
        let client_id = format!("{}-{}", server.app().rollout.generation(), drawn.len());
        let fields =
            json!({"to": {"conversation": group}, "client_id": client_id, "content": content});
        let reply = socket.request("send", fields).await;
        let seq = reply["ok"]["seq"]
            .as_u64()
            .unwrap_or_else(|| panic!("{reply}"));
        let text = reply["ok"]["content"]["text"].as_str().expect("a mask");
        let kind = match text {
            "**** right 1" => "good",
            "left ***** 1" => "other",
            strange => panic!("{strange}"),
        };
        let version = format!("1.0.0-{kind}");
        let by = judged(server, group, seq).await;
        assert_eq!(by, [(version, "replaced".to_owned())]);
        if kind == "other" {
            drawn.insert(group.clone());
        }
    }
    drawn
}

#[tokio::test]
async fn a_canary_decides_in_its_share_of_conversations_and_always_in_the_same_ones() {
    let mut server = server(&["good", "other"], |_| {}).await;
    let ann = server.user("ann").await;
    let groups = groups(&server, &ann).await;
    assert!(drawn(&server, &ann, &groups).await.is_empty());

    let begun = canary(&server, "other", 30).await;
    assert_eq!(
        (&begun["state"], &begun["percent"], &begun["serves"]),
        (&json!("canary"), &json!(30), &json!("1.0.0-good"))
    );
    assert_eq!(states(&server).await, ["good active", "other canary 30"]);
    let first = drawn(&server, &ann, &groups).await;
    // 30 % of 80, and four and a half standard deviations to either side.
    assert!((6..=42).contains(&first.len()), "{} of 80", first.len());

    server.restart().await;
    assert_eq!(states(&server).await, ["good active", "other canary 30"]);
    assert_eq!(drawn(&server, &ann, &groups).await, first, "it stays");

    canary(&server, "other", 70).await;
    let more = drawn(&server, &ann, &groups).await;
    assert!(more.is_superset(&first) && more.len() > first.len());
    canary(&server, "other", 100).await;
    assert_eq!(drawn(&server, &ann, &groups).await.len(), GROUPS);

    let ended = done(&server, "rollback", json!({})).await;
    assert_eq!(
        (&ended["version"], &ended["ended"]),
        (&json!("1.0.0-good"), &json!(["canary"]))
    );
    assert!(drawn(&server, &ann, &groups).await.is_empty());
    assert_eq!(states(&server).await, ["good active", "other available"]);
    let end = told(&server, "plugin.canary.end").await;
    assert_eq!(
        (&end["from"], &end["detail"]["cause"]),
        (&json!("1.0.0-other"), &json!("rollback"))
    );
    let (status, refused) = server
        .admin("POST", "/plugins/wayward/rollback", Some(json!({})))
        .await;
    assert_eq!(status, 409, "nothing is left to go back to: {refused}");
}

#[tokio::test]
async fn a_canary_is_refused_that_serves_is_disabled_or_has_no_share() {
    let server = server(&["good", "other"], |_| {}).await;
    let refused = async |verb: &str, body| {
        let path = format!("/plugins/wayward/{verb}");
        let (status, refused) = server.admin("POST", &path, Some(body)).await;
        (status, refused["message"].as_str().unwrap_or("").to_owned())
    };
    for percent in [0, 101, 1000] {
        let body = json!({"version": "1.0.0-other", "percent": percent});
        let (status, why) = refused("canary", body).await;
        assert_eq!((status, why.as_str()), (400, "percent is 1 to 100"));
    }
    let serving = json!({"version": "1.0.0-good", "percent": 5});
    assert_eq!(refused("canary", serving.clone()).await.0, 409);
    let serving = json!({"version": "1.0.0-good"});
    assert_eq!(refused("shadow", serving).await.0, 409);
    let none = json!({"version": "9.9.9", "percent": 5});
    assert_eq!(refused("canary", none).await.0, 404);
    done(&server, "disable", json!({})).await;
    let body = json!({"version": "1.0.0-other", "percent": 5});
    let (status, why) = refused("canary", body).await;
    assert!(status == 409 && why.contains("disabled"), "{status} {why}");
}

#[tokio::test]
async fn activating_a_canary_ends_it_and_activating_another_version_leaves_it() {
    let server = server(&["good", "other", "slow"], |_| {}).await;
    canary(&server, "other", 100).await;
    crate::swap::activate(&server, "slow").await;
    assert_eq!(
        states(&server).await,
        ["good available", "other canary 100", "slow active"]
    );
    let mut talk = Talk::begin(&server).await;
    let reply = talk.say("left right 1").await;
    assert_eq!(reply["ok"]["content"]["text"], "left ***** 1");
    crate::swap::activate(&server, "other").await;
    assert_eq!(
        states(&server).await,
        ["good available", "other active", "slow available"]
    );
    let ends = audit(&server).await;
    let end = ends
        .iter()
        .find(|line| line["action"] == "plugin.canary.end");
    assert_eq!(end.expect("its end")["detail"]["cause"], "activated");
    assert!(report(&server).await["canary"].is_null());
}

#[tokio::test]
async fn pruning_keeps_what_is_tried() {
    let server = server(&["good", "other", "slow", "strict"], |_| {}).await;
    canary(&server, "other", 10).await;
    super::shadow(&server, "slow").await;
    plugin(&server, &["prune"]).await.done();
    assert_eq!(
        states(&server).await,
        ["good active", "other canary 10", "slow shadow"]
    );
}

/// A message that a canary's failure held is judged again by the canary: only when that is given up does another version
/// let it through.
#[tokio::test]
async fn what_is_held_in_a_canarys_conversation_is_judged_again_by_the_canary() {
    let server = server(&["good", "trapping"], |_| {}).await;
    let mut talk = Talk::begin(&server).await;
    canary(&server, "trapping", 100).await;
    let mut bob = server.session(&talk.bob).await;
    for _ in 0..3 {
        let held = talk.say("left right 3").await["ok"].clone();
        assert_eq!(held["state"], "held", "{held}");
    }
    let gone = told(&server, "plugin.canary.end").await;
    assert_eq!(
        (&gone["actor"], &gone["detail"]["cause"]),
        (&json!("kith"), &json!("breaker"))
    );
    let entry = bob.event("entry").await["entry"].clone();
    assert_eq!(entry["content"]["text"], "**** right 3");
    let seq = entry["seq"].as_u64().expect("a seq");
    let path = format!("/conversations/{}/entries/{seq}", talk.conversation);
    let (_, record) = server.admin("GET", &path, None).await;
    let by = |judgement: &serde_json::Value| {
        let hooks = judgement["hooks"].as_array().expect("hooks");
        hooks[0]["version"].as_str().expect("a version").to_owned()
    };
    assert_eq!(by(&record["decision"]), "1.0.0-good", "{record}");
    assert_eq!(
        by(&record["decision"]["earlier"][0]),
        "1.0.0-trapping",
        "{record}"
    );
    assert_eq!(
        states(&server).await,
        ["good active", "trapping quarantined"]
    );
    let body = json!({"version": "1.0.0-trapping", "percent": 5});
    let (status, refused) = server
        .admin("POST", "/plugins/wayward/canary", Some(body))
        .await;
    assert_eq!(status, 409, "{refused}");
}
