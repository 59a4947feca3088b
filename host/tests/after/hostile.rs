//! Guests that never return, trap, hoard or flood: what they do stops with them,
//! and what comes after is served.

use kith::config::Config;
use serde_json::{Value, json};

use super::{GRANTS, Stage, activate};
use crate::registry::plugin;
use crate::support::TestServer;

async fn impatient() -> Stage {
    watched(0).await
}

async fn watched(watch_s: u64) -> Stage {
    let hurried = |config: &mut Config| {
        config.plugins.after_stop_ms = 300;
        config.plugins.watch_s = watch_s;
    };
    Stage::with(GRANTS, hurried).await
}

#[tokio::test]
async fn an_event_that_makes_calls_fail_is_skipped_with_a_notice_and_the_next_is_served() {
    let mut stage = impatient().await;
    for poison in ["trap", "loop", "hog"] {
        stage.say(poison).await;
        assert_eq!(stage.ask("total").await, "total 0", "after {poison}");
    }
    let report = stage.report().await;
    let observer = &report["consumers"].as_array().expect("consumers")[0];
    assert_eq!(observer["skipped"], 3, "{report}");
    let notices = observer["notices"].to_string();
    for why in ["told to trap", "in time", "memory"] {
        assert!(notices.contains(why), "{why}: {notices}");
    }
}

#[tokio::test]
async fn a_guest_that_computes_without_end_takes_nobodys_time() {
    let mut stage = Stage::with(GRANTS, |config| config.plugins.after_stop_ms = 5000).await;
    let bob = stage.server.user("bob").await;
    let mut others = stage.server.session(&bob).await;
    stage.say("loop").await;
    let began = std::time::Instant::now();
    for n in 0..50 {
        let reply = others
            .send_text(&stage.ann.id, &format!("n{n}"), "hello")
            .await;
        assert!(reply["ok"]["seq"].is_u64(), "{reply}");
    }
    assert!(
        began.elapsed().as_secs() < 5,
        "they waited for it: {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn floods_of_lines_and_numbers_end_at_their_bounds() {
    let mut stage = Stage::new(GRANTS).await;
    assert_eq!(stage.ask("flood").await, "64 metrics");
    let report = stage.report().await;
    let metrics = report["metrics"].as_object().expect("metrics");
    assert_eq!(metrics.len(), 64, "{report}");
}

#[tokio::test]
async fn a_fresh_version_that_keeps_failing_is_rolled_back_and_the_old_one_goes_on() {
    let mut stage = watched(60).await;
    assert_eq!(stage.ask("total").await, "total 0");
    let (status, done) = activate(&stage.server, "other", "").await;
    assert_eq!(status, 200, "{done}");
    stage.say("trap").await;
    assert_eq!(stage.ask("total").await, "total 0");
    let (_, list) = stage.server.admin("GET", "/plugins", None).await;
    let rows = list["plugins"].as_array().expect("plugins");
    let state = |kind: &str| {
        let version = format!("0.1.0-{kind}");
        rows.iter()
            .find(|row| row["version"] == version.as_str())
            .map(|row| row["state"].clone())
    };
    assert_eq!(state("other"), Some(json!("quarantined")), "{list}");
    assert_eq!(state("plain"), Some(json!("active")), "{list}");
}

#[tokio::test]
async fn the_list_says_what_went_wrong_after_the_commit() {
    let mut stage = impatient().await;
    let list = async |server: &TestServer| {
        let (_, list) = server.admin("GET", "/plugins", None).await;
        let rows = list["plugins"].as_array().expect("plugins");
        let serving = rows.iter().find(|row| row["state"] == "active");
        serving.expect("one serves").clone()
    };
    assert_eq!(stage.ask("total").await, "total 0");
    assert_eq!(list(&stage.server).await["trouble"], Value::Null);
    stage.say("trap").await;
    assert_eq!(stage.ask("total").await, "total 0");
    let trouble = list(&stage.server).await["trouble"].to_string();
    assert!(trouble.contains("observer: "), "{trouble}");
    assert!(trouble.contains("1 events skipped"), "{trouble}");
    assert!(trouble.contains("told to trap"), "{trouble}");
    let shown = plugin(&stage.server, &["list"]).await.done();
    assert!(shown.contains("1 events skipped"), "{shown}");
}
