//! `GET /metrics`: what happened is in it, nobody is,
//! and it is the administration's alone.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::json;

use crate::crash::process::samples;
use crate::support::{PATIENCE, TestServer, plugins_folder};

async fn scrape(server: &TestServer) -> String {
    let url = format!("http://{}/metrics", server.app().admin_address);
    let answer = server.http.get(url).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"]
        .to_str()
        .expect("a text")
        .to_owned();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    answer.text().await.expect("a text")
}

async fn sampled(server: &TestServer) -> HashMap<String, f64> {
    samples(&scrape(server).await)
}

#[tokio::test]
async fn what_happened_is_in_the_metrics() {
    let server = TestServer::with(|config| {
        config.server.plugins = plugins_folder().display().to_string();
        config.search.engine = kith::config::SearchEngine::Embedded;
    })
    .await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let before = sampled(&server).await;
    assert_eq!(before["kith_connections"], 2.0);
    assert_eq!(before["kith_sessions"], 2.0);
    assert_eq!(before["kith_bus_degraded"], 0.0);
    assert!(before["kith_generation"] >= 1.0);
    let said = from.send_text(&bob.id, "1", "a secret of ours").await;
    assert!(said["ok"].is_object(), "{said}");
    to.event("entry").await;
    let after = sampled(&server).await;
    let grown = |name: &str| after[name] - before[name];
    assert_eq!(grown("kith_entries_committed_total"), 1.0);
    assert_eq!(grown("kith_entries_delivered_total"), 1.0);
    assert_eq!(grown("kith_ack_seconds_count"), 1.0);
    assert!(grown("kith_ack_seconds_sum") > 0.0);
    assert!(grown("kith_log_flushes_total") >= 1.0);
    assert!(grown("kith_log_changes_total") >= 1.0);
    let calls = |hook: &str, plugin: &str| {
        let wanted = format!(
            "kith_hook_calls_total{{hook=\"{hook}\",outcome=\"passed\",plugin=\"{plugin}\""
        );
        after.keys().any(|name| name.starts_with(&wanted))
    };
    assert!(calls("message-strategy", "direct-strategy"), "{after:?}");
    assert!(calls("content-filter", "word-filter"), "{after:?}");
    assert!(after["kith_plugins_resident"] >= 2.0);
    assert!(after["kith_plugins_memory_bytes"] > 0.0);
    assert!(after["kith_store_bytes{store=\"log\"}"] > 0.0);
    assert!(after["kith_store_bytes{store=\"accounts\"}"] > 0.0);
    let deadline = Instant::now() + PATIENCE;
    while sampled(&server).await["kith_search_lag_seconds"] > 0.0 {
        assert!(Instant::now() < deadline, "the index stays behind");
    }
}

/// No call is done within a microsecond; an hour is enough for any.
#[tokio::test]
async fn a_call_over_its_soft_budget_is_counted_by_its_hook() {
    let server = TestServer::with_plugins().await;
    for (plugin, hook, budget_us) in [
        ("direct-strategy", "message-strategy", 1),
        ("word-filter", "content-filter", u32::MAX),
    ] {
        let path = format!("/plugins/{plugin}/bindings/{hook}");
        let change = json!({"budget_us": budget_us});
        let (status, bound) = server.admin("PATCH", &path, Some(change)).await;
        assert_eq!(status, 200, "{bound}");
    }
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let over = async |plugin: &str, hook: &str| {
        let family = "kith_hook_over_budget_total";
        let wanted = format!("{family}{{hook=\"{hook}\",plugin=\"{plugin}\",version=\"0.1.0\"}}");
        sampled(&server).await.get(&wanted).copied()
    };
    for (client_id, counted) in [("1", 1.0), ("2", 2.0)] {
        let said = from.send_text(&bob.id, client_id, "a pear").await;
        assert!(said["ok"].is_object(), "{said}");
        let found = over("direct-strategy", "message-strategy").await;
        assert_eq!(found, Some(counted));
        assert_eq!(over("word-filter", "content-filter").await, Some(0.0));
    }
}

#[tokio::test]
async fn every_family_says_what_it_is_and_no_sample_names_anybody() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let said = from.send_text(&bob.id, "1", "a secret of ours").await;
    let conversation = said["ok"]["conversation"].as_str().expect("a conversation");
    let text = scrape(&server).await;
    let mut declared = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            assert!(declared.insert(name.to_owned()), "{name} is declared twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().expect("a name");
            let family = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| {
                name.strip_suffix(end)
                    .filter(|name| declared.contains(*name))
            });
            assert!(declared.contains(family.unwrap_or(name)), "{line}");
            let value = line.rsplit(' ').next().expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    for private in [&ann.id, &ann.username, &bob.id, conversation, "secret"] {
        assert!(!text.contains(private), "{private} is in the metrics");
    }
}

#[tokio::test]
async fn the_metrics_are_on_the_administrations_listener_alone() {
    let server = TestServer::bare().await;
    let (status, refused) = server.call("GET", "/metrics", None, None).await;
    assert_eq!(status, 404, "{refused}");
    let url = format!("http://{}/metrics", server.app().admin_address);
    let answer = server.http.post(url).json(&json!({})).send().await;
    assert_eq!(answer.expect("an answer").status(), 405);
}

#[tokio::test]
async fn a_session_that_is_ended_is_counted_by_its_reason() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let mut first = server.session(&ann).await;
    let _second = server.session(&ann).await;
    let (bye, _) = first.end().await;
    assert_eq!(bye.as_deref(), Some("replaced"));
    let deadline = Instant::now() + PATIENCE;
    let ended = "kith_sessions_ended_total{reason=\"replaced\"}";
    while sampled(&server).await.get(ended) != Some(&1.0) {
        assert!(Instant::now() < deadline, "it is not counted");
    }
    while sampled(&server).await["kith_connections"] > 1.0 {
        assert!(Instant::now() < deadline, "its connection is still counted");
    }
}
