//! What is given up by itself: a fresh activation goes back, a canary ends, when it drifts, is slow, grows or fails. Each
//! is in the audit log with its cause, and the version in quarantine.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Talk, audit, canary, report, server, states, told};
use crate::conformance::bus::eventually;
use crate::registry::plugin;
use crate::support::PATIENCE;
use crate::swap;

fn rollback(line: &Value, kind: &str, cause: &str) {
    let version = format!("1.0.0-{kind}");
    assert_eq!(line["actor"], "kith", "{line}");
    assert_eq!(line["from"], version.as_str(), "{line}");
    assert_eq!(line["detail"]["cause"], cause, "{line}");
    assert!(line["detail"]["why"].is_string(), "{line}");
}

#[tokio::test]
async fn an_activation_that_decides_otherwise_than_the_one_before_is_rolled_back() {
    let server = server(&["good", "strict"], |config| {
        config.plugins.drift_least = 20
    })
    .await;
    let mut talk = Talk::begin(&server).await;
    for _ in 0..25 {
        let reply = talk.say("left 1").await;
        assert_eq!(reply["ok"]["content"]["text"], "**** 1", "{reply}");
    }
    swap::activate(&server, "strict").await;
    let refused = talk.say("left 1").await;
    assert_eq!(refused["err"]["code"], "rejected", "{refused}");
    let said = talk
        .say_until_told(&server, "left 1", "plugin.rollback")
        .await;
    assert!(said >= 19, "given up after {said} decisions");
    let line = told(&server, "plugin.rollback").await;
    rollback(&line, "strict", "drift");
    assert_eq!(line["to"], "1.0.0-good");
    told(&server, "plugin.quarantine").await;
    assert_eq!(states(&server).await, ["good active", "strict quarantined"]);
    let reply = talk.say("left 1").await;
    assert_eq!(reply["ok"]["content"]["text"], "**** 1", "{reply}");
}

#[tokio::test]
async fn a_canary_that_decides_otherwise_than_the_one_beside_it_ends() {
    let server = server(&["good", "strict"], |config| {
        config.plugins.drift_least = 10
    })
    .await;
    canary(&server, "strict", 50).await;
    // Both sides must have decided about enough.
    let until = Instant::now() + PATIENCE;
    'all: loop {
        let mut talk = Talk::begin(&server).await;
        for _ in 0..8 {
            talk.say("left 1").await;
            let lines = audit(&server).await;
            if lines
                .iter()
                .any(|line| line["action"] == "plugin.canary.end")
            {
                break 'all;
            }
        }
        assert!(Instant::now() < until, "{}", report(&server).await);
    }
    let line = told(&server, "plugin.canary.end").await;
    rollback(&line, "strict", "drift");
    told(&server, "plugin.quarantine").await;
    assert_eq!(states(&server).await, ["good active", "strict quarantined"]);
}

#[tokio::test]
async fn drift_can_be_allowed() {
    let server = server(&["good", "strict"], |config| {
        config.plugins.drift_least = 5;
        config.plugins.drift_percent = 0;
        config.plugins.watch_s = 1;
    })
    .await;
    let mut talk = Talk::begin(&server).await;
    for _ in 0..10 {
        talk.say("left 1").await;
    }
    swap::activate(&server, "strict").await;
    for _ in 0..10 {
        talk.say("left 1").await;
    }
    let over = eventually(async || {
        let lines = audit(&server).await;
        let mut over = lines
            .into_iter()
            .filter(|line| line["action"] == "plugin.watch.end");
        over.find(|line| line["to"] == "1.0.0-strict")
    });
    assert_eq!(over.await["actor"], "kith");
    assert_eq!(states(&server).await, ["good available", "strict active"]);
}

#[tokio::test]
async fn a_slow_activation_is_rolled_back() {
    let server = server(&["good", "sluggish"], |_| {}).await;
    // Far below what it takes on any machine.
    let path = "/plugins/wayward/bindings/content-filter";
    let budget = json!({"budget_us": 100});
    let (status, bound) = server.admin("PATCH", path, Some(budget)).await;
    assert_eq!(status, 200, "{bound}");
    let mut talk = Talk::begin(&server).await;
    swap::activate(&server, "sluggish").await;
    talk.say_until_told(&server, "left 1", "plugin.rollback")
        .await;
    rollback(
        &told(&server, "plugin.rollback").await,
        "sluggish",
        "latency",
    );
    told(&server, "plugin.quarantine").await;
    assert_eq!(
        states(&server).await,
        ["good active", "sluggish quarantined"]
    );
}

#[tokio::test]
async fn an_activation_whose_instances_grow_is_rolled_back() {
    let server = server(&["good", "growing"], |config| {
        config.plugins.memory_mib = 16
    })
    .await;
    let mut talk = Talk::begin(&server).await;
    swap::activate(&server, "growing").await;
    let said = talk
        .say_until_told(&server, "left 1", "plugin.rollback")
        .await;
    assert!(said > 3, "{said}");
    rollback(&told(&server, "plugin.rollback").await, "growing", "memory");
    told(&server, "plugin.quarantine").await;
    assert_eq!(
        states(&server).await,
        ["good active", "growing quarantined"]
    );
}

#[tokio::test]
async fn a_failing_activation_is_rolled_back_also_after_a_restart_and_not_after_its_watch() {
    let mut server = server(&["good", "trapping"], |_| {}).await;
    let mut talk = Talk::begin(&server).await;
    swap::activate(&server, "trapping").await;
    assert!(report(&server).await["serves"]["watched_until"].is_u64());
    server.restart().await;
    talk.from = server.session(&talk.ann).await;
    talk.say_until_told(&server, "left 3", "plugin.rollback")
        .await;
    rollback(
        &told(&server, "plugin.rollback").await,
        "trapping",
        "breaker",
    );
    told(&server, "plugin.quarantine").await;
    assert_eq!(
        states(&server).await,
        ["good active", "trapping quarantined"]
    );

    server
        .restart_with(|config| config.plugins.watch_s = 0)
        .await;
    talk.from = server.session(&talk.ann).await;
    swap::activate(&server, "trapping").await;
    // Its breaker opens: after that it is asked nothing, and stays.
    let until = Instant::now() + PATIENCE;
    loop {
        let held = talk.say("left 3").await;
        assert_eq!(held["ok"]["state"], "held", "{held}");
        let (_, list) = server.admin("GET", "/held?limit=200", None).await;
        if list["held"].as_array().is_some_and(|held| held.len() >= 5) {
            break;
        }
        assert!(Instant::now() < until, "{list}");
    }
    assert_eq!(states(&server).await, ["good available", "trapping active"]);
    let rollbacks = audit(&server).await;
    let rollbacks = rollbacks
        .iter()
        .filter(|line| line["action"] == "plugin.rollback");
    assert_eq!(rollbacks.count(), 1);
}

#[tokio::test]
async fn a_first_activation_that_fails_is_unbound_and_serves_again_by_force_alone() {
    let server = server(&["trapping"], |_| {}).await;
    let mut talk = Talk::begin(&server).await;
    talk.say_until_told(&server, "left 3", "plugin.disable")
        .await;
    let line = told(&server, "plugin.disable").await;
    rollback(&line, "trapping", "breaker");
    assert_eq!(line["to"], Value::Null, "there is nothing to go back to");
    told(&server, "plugin.quarantine").await;
    eventually(async || (states(&server).await == ["trapping quarantined"]).then_some(())).await;
    let listed = plugin(&server, &["list"]).await.done();
    assert!(listed.contains("nothing to go back to"), "{listed}");
    // Messages pass without it, as without any plugin that is disabled.
    for _ in 0..6 {
        let said = talk.say("left 3").await;
        assert_eq!(said["ok"]["content"]["text"], Value::Null, "{said}");
        assert!(said["ok"]["seq"].is_u64(), "{said}");
    }
    let refused = plugin(&server, &["enable", "wayward"]).await.refused();
    assert!(refused.contains("is quarantined"), "{refused}");
    let version = "wayward@1.0.0-trapping";
    let refused = plugin(&server, &["activate", version]).await.refused();
    assert!(refused.contains("--force"), "{refused}");
    plugin(&server, &["activate", version, "--force"])
        .await
        .done();
    assert_eq!(states(&server).await, ["trapping active"]);
    // Put in force again, it is watched again.
    assert!(report(&server).await["serves"]["watched_until"].is_u64());
}
