//! What a device that knew nothing reads, against what one that listened has put together.
//! Counts are made anew from the entries, one by one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::device::{Device, Known};
use crate::support::TestServer;

/// Fails on the first thing that differs.
pub async fn compare(server: &TestServer, device: &Device) {
    let (status, list) = server
        .call(
            "GET",
            "/v1/conversations?limit=200",
            Some(&device.token),
            None,
        )
        .await;
    assert_eq!(status, 200, "{list}");
    let list = list["conversations"].as_array().expect("a list").clone();
    let order = list
        .iter()
        .map(|item| (item["pinned"] == true, item["updated_at"].as_u64()));
    let order: Vec<_> = order.collect();
    assert!(
        order.is_sorted_by(|one, next| one >= next),
        "the list's order: {order:?}"
    );
    for (id, known) in &device.known {
        let path = format!("/v1/conversations/{id}/entries?after=0&limit=200");
        let (_, page) = server.call("GET", &path, Some(&device.token), None).await;
        let entries = page["entries"].as_array().expect("entries").clone();
        let seqs: Vec<_> = entries
            .iter()
            .filter_map(|entry| entry["seq"].as_u64())
            .collect();
        assert!(
            page["head"].as_u64() <= Some(200),
            "one page must hold it all"
        );
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "dense");
        assert_eq!(page["head"], seqs.len());
        let views = views(known);
        for entry in &entries {
            let seq = entry["seq"].as_u64().expect("a seq");
            assert_eq!(
                views.get(&seq),
                Some(entry),
                "entry {seq} of {id} at {}",
                device.user
            );
        }
        assert_eq!(views.len(), entries.len());
        match list.iter().find(|item| item["id"] == id.as_str()) {
            Some(summary) => compare_summary(device, known, &views, summary),
            None => assert_eq!(
                known.state.get("hidden"),
                Some(&json!(true)),
                "{id} is not listed"
            ),
        }
    }
    for item in &list {
        assert!(
            device
                .known
                .contains_key(item["id"].as_str().expect("an id")),
            "unheard of"
        );
    }
}

/// The entries with what later ones did to them.
fn views(known: &Known) -> BTreeMap<u64, Value> {
    let mut views = known.entries.clone();
    for entry in known.entries.values() {
        let Some(target) = entry["target"].as_u64() else {
            continue;
        };
        if entry["kind"] == "edit" {
            if let Some(message) = views.get_mut(&target) {
                message["edited"] = true.into();
                if entry["content"].is_object() {
                    message["content"] = entry["content"].clone();
                }
            }
        } else if entry["kind"] == "recall" {
            for (seq, other) in &mut views {
                let message = *seq == target;
                if message || other["kind"] == "edit" && other["target"] == target {
                    other.as_object_mut().expect("an entry").remove("content");
                }
                if message {
                    other["recalled"] = true.into();
                }
            }
        }
    }
    views
}

fn compare_summary(device: &Device, known: &Known, views: &BTreeMap<u64, Value>, summary: &Value) {
    let read = summary["read"].as_u64().expect("read");
    let others = views.values().filter(|entry| {
        let unread = entry["seq"].as_u64() > Some(read);
        entry["kind"] == "message" && entry["from"] != device.user.as_str() && unread
    });
    let others: Vec<_> = others.collect();
    let mentions = |entry: &&&Value| {
        let mentioned = entry["content"]["mentions"].as_array();
        mentioned
            .is_some_and(|all| all.contains(&json!("all")) || all.contains(&json!(device.user)))
    };
    assert_eq!(summary["unread"], others.len(), "unread: {summary}");
    assert_eq!(
        summary["mentions"],
        others.iter().filter(mentions).count(),
        "mentions: {summary}"
    );
    let last = views
        .values()
        .rev()
        .find(|entry| entry["kind"] == "message");
    assert_eq!(Some(&summary["last"]), last, "last");
    assert_eq!(summary["head"], known.head());
    for field in ["received", "read", "peer_received", "peer_read"] {
        let told = known.state.get(field).cloned().unwrap_or_else(|| json!(0));
        assert_eq!(summary[field], told, "{field} at {}", device.user);
    }
    for field in ["pinned", "muted", "hidden"] {
        let told = known.state.get(field).filter(|told| !told.is_null());
        assert_eq!(
            summary[field],
            told.cloned().unwrap_or(Value::Bool(false)),
            "{field}"
        );
    }
    let draft = known.state.get("draft").cloned().unwrap_or_default();
    assert_eq!(summary["draft"], draft, "draft");
}
