//! Filters that fail at some texts alone, and filters with words of their own.
//! What they do to one message is no other's trouble.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Siege;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_user_makes_a_filter_fail_at_keeps_nobody_elses_waiting() {
    let mut siege = Siege::begin().await;
    siege.renew().await;
    siege
        .bind("content-filter", json!({"on_failed": "hold"}))
        .await;
    for _ in 0..12 {
        let held = siege.provoke("rogue-filter trap").await;
        assert_eq!(held["ok"]["state"], "held", "{held}");
    }
    // The breaker is open: what comes now is held, and let go as soon as the filter answers again.
    for number in 0..3 {
        let id = format!("innocent-{number}");
        let said = siege.bystander.send_text(&siege.ann.id, &id, &id).await;
        assert!(said["ok"].is_object(), "{said}");
    }
    let began = Instant::now();
    let mut waiting = 3;
    while waiting > 0 {
        let told = siege.attacker.event("entry").await;
        waiting -= usize::from(told["entry"]["from"] == siege.bob.id.as_str());
    }
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filters_own_level_means_what_the_binding_says() {
    let mut siege = Siege::begin().await;
    let levels = |level: &str| json!({"levels": {"annihilate": level}});
    siege.bind("content-filter", levels("mask")).await;
    let masked = siege.provoke("rogue-filter level").await;
    assert_eq!(
        masked["ok"]["content"]["text"], "*ogue-filter level",
        "{masked}"
    );
    siege.bind("content-filter", levels("hold")).await;
    let held = siege.provoke("rogue-filter level").await;
    assert_eq!(held["ok"]["state"], "held", "{held}");
    for (hook, levels) in [
        ("content-filter", levels("burn")),
        ("command", levels("mask")),
    ] {
        let path = format!("/plugins/rogue/bindings/{hook}");
        let (status, refused) = siege.server.admin("PATCH", &path, Some(levels)).await;
        assert_eq!(status, 400, "{refused}");
    }
}
