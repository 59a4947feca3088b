//! What a version says of what was asked before: the same version the same, with values and entries as they were; another
//! one what differs, there and nowhere else.

use serde_json::{Value, json};

use super::{begin, differing, ended, place, readers, replay, say, serving, words};
use crate::groups::{self, group};
use crate::registry::plugin;
use crate::support::{PATIENCE, TestServer};
use crate::swap;

/// Talk of every kind: direct and in a group, with edits, reactions, commands, what is refused, held and masked.
async fn talk(server: &TestServer) {
    words(
        server,
        &[("badger", "mask"), ("spam", "reject"), ("maybe", "hold")],
    )
    .await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut a, mut b) = (server.session(&ann).await, server.session(&bob).await);
    let first = place(&mut a, &bob.id, "note one").await;
    for text in [
        "what is noted",
        "note two",
        "a badger",
        "spam",
        "maybe",
        "/pass",
    ] {
        say(&mut a, &bob.id, text).await;
    }
    // Said before: the attentive one refuses it. Then what is noted is another.
    assert_eq!(
        say(&mut b, &ann.id, "a ******").await["err"]["code"],
        "rejected"
    );
    for text in [
        "what is noted",
        "/count",
        "/count 2",
        "/no",
        "/say-note",
        "/shout badger",
    ] {
        say(&mut b, &ann.id, text).await;
    }
    let mut edit = first.clone();
    edit["content"] = json!({"type": "text", "text": "note three badgers"});
    assert!(a.request("edit", edit).await["ok"].is_object());
    let mut react = first.clone();
    (react["emoji"], react["on"]) = ("👍".into(), true.into());
    assert!(b.request("react", react).await["ok"].is_object());
    let us = group(server, &ann, &[&bob]).await;
    for text in ["note four", "hello @all", "what is noted", "a badger"] {
        groups::say(&mut a, &us, text, text).await;
    }
    assert_eq!(
        groups::code(&groups::say(&mut b, &us, "x", "hello @all").await),
        "rejected"
    );
}

#[tokio::test]
async fn the_same_version_decides_the_same_with_what_it_had_read() {
    let server = readers().await;
    talk(&server).await;
    for (name, at_least) in [
        ("clerk", 17),
        ("attentive", 13),
        ("direct-strategy", 8),
        ("group-strategy", 4),
        ("word-filter", 12),
    ] {
        let version = serving(&server, name).await;
        let report = replay(&server, name, &version).await;
        assert_eq!(differing(&report), [], "{report}");
        assert!(report["replayed"].as_u64() >= Some(at_least), "{report}");
        assert_eq!(report["approximate"], 0, "{report}");
        assert_eq!(report["config_changed"], 0, "{report}");
    }
}

#[tokio::test]
async fn a_restart_takes_what_was_refused_and_nothing_else() {
    let mut server = readers().await;
    talk(&server).await;
    let version = serving(&server, "clerk").await;
    let before = replay(&server, "clerk", &version).await;
    server.restart().await;
    let after = replay(&server, "clerk", &version).await;
    assert_eq!(differing(&after), [], "{after}");
    let seen = |report: &Value| report["seen"].as_u64().expect("a count");
    assert!(seen(&after) < seen(&before), "{before} {after}");
    assert!(after["replayed"].as_u64() > Some(8), "{after}");
}

#[tokio::test]
async fn another_version_differs_where_it_decides_otherwise() {
    let server = swap::server().await;
    swap::activate(&server, "good").await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    let us = group(&server, &ann, &[&bob]).await;
    let mut direct = json!(null);
    for text in ["plain", "left 1", "right 1", "left right 1"] {
        direct = place(&mut a, &bob.id, text).await["conversation"].clone();
    }
    groups::say(&mut a, &us, "g1", "left in the group 1").await;
    let same = replay(&server, "wayward", "1.0.0-good").await;
    assert_eq!(differing(&same), [], "{same}");
    let mut other = replay(&server, "wayward", "1.0.0-other").await;
    assert_eq!(other["differing"], 4, "{other}");
    assert!(
        !other.to_string().contains("in the group"),
        "no texts: {other}"
    );
    let rows = other["differ"].as_array_mut().expect("rows");
    rows.retain(|row| row["conversation"] == direct);
    other["differing"] = 3.into();
    let wanted = [
        (2, "replaced", "passed"),
        (3, "passed", "replaced"),
        (4, "replaced", "replaced"),
    ];
    let wanted = wanted.map(|(seq, then, now)| (json!(seq), then.to_owned(), now.to_owned()));
    assert_eq!(differing(&other), wanted, "{other}");
    let right = other["differ"].as_array().expect("rows").iter();
    let right = right
        .clone()
        .find(|row| row["seq"] == 3)
        .expect("the right one");
    assert_eq!(right["recorded"]["version"], "1.0.0-good");
    assert_eq!(
        right["now"]["hits"],
        json!([{"text": 0, "start": 0, "end": 5, "level": "mask", "rule": "other"}])
    );
}

#[tokio::test]
async fn a_version_that_never_served_shows_what_it_would_have_done() {
    let server = swap::server().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    place(&mut a, &bob.id, "nothing 1").await;
    place(&mut a, &bob.id, "left 1").await;
    let report = replay(&server, "wayward", "1.0.0-good").await;
    let wanted = [(json!(2), "none".to_owned(), "replaced".to_owned())];
    assert_eq!(differing(&report), wanted, "{report}");
}

#[tokio::test]
async fn what_a_filter_refused_is_asked_again_though_nothing_was_stored() {
    let server = TestServer::with_plugins().await;
    words(&server, &[("spam", "reject"), ("maybe", "hold")]).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    assert_eq!(
        say(&mut a, &bob.id, "spam").await["err"]["code"],
        "rejected"
    );
    let held = say(&mut a, &bob.id, "maybe").await;
    assert_eq!(held["ok"]["state"], "held", "{held}");
    let gone = json!({"words": ["spam", "maybe"]});
    assert_eq!(
        server.admin("POST", "/words/remove", Some(gone)).await.0,
        200
    );
    let version = serving(&server, "word-filter").await;
    let report = replay(&server, "word-filter", &version).await;
    let mut found = differing(&report);
    found.sort_by_key(|(_, then, _)| then.clone());
    let wanted = |then: &str| (Value::Null, then.to_owned(), "passed".to_owned());
    assert_eq!(found, [wanted("held"), wanted("rejected")], "{report}");
    let held = report["differ"].as_array().expect("rows").iter();
    let held = held.filter(|row| row["hold"].is_string()).count();
    assert_eq!(held, 1, "{report}");
    // The words are the filter's configuration, and others than then.
    assert_eq!(report["config_changed"], 2, "{report}");
    let missing = json!([
        "system_entries",
        "group_changes",
        "friend_requests",
        "names"
    ]);
    assert_eq!(report["not_covered"], missing);
    let version = format!("word-filter@{version}");
    let shown = plugin(&server, &["replay", &version]).await.done();
    assert!(
        shown.contains("2 judged with another configuration than today's"),
        "{shown}"
    );
    assert!(
        shown.contains("not covered: system entries, changes of groups"),
        "{shown}"
    );
}

#[tokio::test]
async fn one_replay_runs_at_a_time_and_can_be_cancelled() {
    let server = swap::server().await;
    swap::activate(&server, "good").await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    for n in 0..40 {
        let sent = a.send_text(&bob.id, &format!("n{n}"), "round 40").await;
        assert!(sent["ok"]["seq"].is_u64(), "{sent}");
    }
    // It never answers these: each takes several hard stops.
    let slow = begin(&server, "wayward", json!({"version": "1.0.0-looping"})).await;
    let path = "/plugins/wayward/replays";
    let wanted = Some(json!({"version": "1.0.0-good"}));
    let (status, refused) = server.admin("POST", path, wanted.clone()).await;
    assert_eq!(
        (status, &refused["code"]),
        (409, &json!("conflict")),
        "{refused}"
    );
    let route = format!("/replays/{slow}");
    let progress =
        async { while server.admin("GET", &route, None).await.1["seen"].as_u64() < Some(1) {} };
    tokio::time::timeout(PATIENCE, progress)
        .await
        .expect("progress");
    let (status, cancelled) = server.admin("DELETE", &route, None).await;
    assert_eq!(
        (status, &cancelled["state"]),
        (200, &json!("cancelled")),
        "{cancelled}"
    );
    assert!(cancelled["seen"].as_u64() < Some(40), "{cancelled}");
    let (status, again) = server.admin("POST", path, wanted).await;
    assert_eq!(status, 201, "{again}");
    let report = ended(&server, again["id"].as_str().expect("an id")).await;
    assert_eq!(
        (&report["state"], &report["replayed"]),
        (&json!("done"), &json!(40))
    );
}

#[tokio::test]
async fn only_the_newest_are_asked_about_where_few_are_wanted() {
    let server = swap::server().await;
    swap::activate(&server, "good").await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut a = server.session(&ann).await;
    for n in 1..=5 {
        place(&mut a, &bob.id, &format!("left {n}")).await;
    }
    let wanted = json!({"version": "1.0.0-other", "last": 2});
    let id = begin(&server, "wayward", wanted).await;
    let report = ended(&server, &id).await;
    let seqs: Vec<_> = differing(&report)
        .into_iter()
        .map(|(seq, ..)| seq)
        .collect();
    assert_eq!(seqs, [json!(4), json!(5)], "{report}");
    assert_eq!((&report["last"], &report["seen"]), (&json!(2), &json!(2)));
}

#[tokio::test]
async fn occasions_of_rules_are_asked_again_too() {
    let warden = tokio::task::spawn_blocking(crate::moderation::warden)
        .await
        .expect("the guest");
    let server = TestServer::bare().await;
    super::serve(&server, warden).await;
    server.user("ann").await;
    let body = json!({"username": "deny-register-me", "password": "password-1"});
    let (status, denied) = server.call("POST", "/v1/users", None, Some(body)).await;
    assert_eq!(status, 422, "{denied}");
    let report = replay(&server, "warden", "1.0.0").await;
    assert_eq!(differing(&report), [], "{report}");
    assert!(report["replayed"].as_u64() >= Some(3), "{report}");
}
