//! Where hooks after the commit stand, as administrators see it: up to date, behind while they are disabled, in trouble
//! while an event makes them wait.

use serde_json::{Value, json};

use super::{GRANTS, Stage};
use crate::conformance::bus::eventually;
use crate::registry::plugin;

/// The row of one hook.
async fn row(stage: &Stage, hook: &str) -> Value {
    let (status, shown) = stage.server.admin("GET", "/consumers", None).await;
    assert_eq!(status, 200, "{shown}");
    let rows = shown["consumers"].as_array().expect("rows");
    let found = rows.iter().find(|row| row["hook"] == hook);
    found.unwrap_or_else(|| panic!("{shown}")).clone()
}

async fn switch(stage: &Stage, verb: &str) {
    let path = format!("/plugins/observant/{verb}");
    let (status, done) = stage.server.admin("POST", &path, Some(json!({}))).await;
    assert_eq!(status, 200, "{done}");
}

async fn is_behind(stage: &Stage, hook: &str, by: u64) {
    eventually(async || (row(stage, hook).await["behind"] == by).then_some(())).await;
}

#[tokio::test]
async fn a_consumer_is_behind_by_what_it_has_not_looked_at_also_after_a_restart() {
    let mut stage = Stage::new(GRANTS).await;
    assert_eq!(stage.ask("total").await, "total 0");
    for hook in ["observer", "responder"] {
        is_behind(&stage, hook, 0).await;
    }
    let before = row(&stage, "observer").await;
    assert_eq!(
        (&before["plugin"], &before["version"], &before["state"]),
        (&json!("observant"), &json!("0.1.0-plain"), &json!("active"))
    );
    assert!(
        before["delivered"].as_u64().is_some_and(|n| n > 0),
        "{before}"
    );
    switch(&stage, "disable").await;
    for n in 0..3 {
        stage.say(&format!("unseen {n}")).await;
    }
    stage.server.restart().await;
    stage.reconnect().await;
    for hook in ["observer", "responder"] {
        is_behind(&stage, hook, 3).await;
        let row = row(&stage, hook).await;
        assert_eq!(
            (&row["state"], &row["more"]),
            (&json!("disabled"), &json!(false))
        );
        assert!(
            row["cursor"].as_str().is_some_and(|at| !at.is_empty()),
            "{row}"
        );
    }
    let shown = plugin(&stage.server, &["consumers"]).await.done();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("PLUGIN"), "{shown}");
    assert_eq!(lines.len(), 3, "{shown}");
    let observer: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(
        observer[..5],
        ["observant", "observer", "0.1.0-plain", "disabled", "3"]
    );
    switch(&stage, "enable").await;
    for hook in ["observer", "responder"] {
        is_behind(&stage, hook, 0).await;
    }
    let named = ["consumers", "observant", "--json"];
    let rows = plugin(&stage.server, &named).await.json();
    assert_eq!(rows.as_array().map(Vec::len), Some(2), "{rows}");
    assert_eq!(rows[0]["behind"], 0, "{rows}");
    let refused = plugin(&stage.server, &["consumers", "nobody"])
        .await
        .refused();
    assert!(
        refused.contains("nobody has no hook after the commit"),
        "{refused}"
    );
}
