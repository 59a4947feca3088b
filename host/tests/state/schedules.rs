//! Plugins called by the clock: once for each time that is due, by the test's own clock, and across restarts what was missed
//! comes once.

use std::sync::Arc;

use kith::clock::ManualClock;
use serde_json::{Value, json};

use super::Stage;
use crate::support::PATIENCE;

/// 2026-01-01 00:00 UTC, a Thursday.
const BEGIN: u64 = 1_767_225_600_000;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

struct Timed {
    stage: Stage,
    clock: Arc<ManualClock>,
}

impl Timed {
    /// On return both hooks have looked at their schedules: times count from here.
    async fn new(times: Value) -> Self {
        let clock = Arc::new(ManualClock::at(BEGIN + 1));
        let stage = Stage::by(Some(clock.clone())).await;
        let values = json!({"times": times, "tell": stage.ann.id});
        let (status, done) = stage.configure(values).await;
        assert_eq!(status, 200, "{done}");
        let looked_at = async {
            loop {
                let report = stage.report().await;
                let rows = report["schedules"].as_array().expect("schedules");
                if rows.len() > 1 && rows.iter().all(|row| row["next"].is_u64()) {
                    return;
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, looked_at).await;
        waited.expect("both hooks look at the clock");
        Self { stage, clock }
    }

    /// What the observer told of a schedule, oldest first, as soon as it is so much. Who reads signs in anew: time passes.
    async fn heard(&self, name: &str, count: usize) -> Vec<String> {
        let server = &self.stage.server;
        let asking = async {
            loop {
                let tokens = server.sign_in(&self.stage.ann.username, "reader").await;
                let token = tokens["access_token"].as_str();
                let (_, list) = server.call("GET", "/v1/conversations", token, None).await;
                let rows = list["conversations"].as_array().expect("a list");
                let own = rows
                    .iter()
                    .find(|row| row["peer"]["id"] == self.stage.bot.as_str());
                if let Some(id) = own.and_then(|row| row["id"].as_str()) {
                    let path = format!("/v1/conversations/{id}/entries?after=0&limit=200");
                    let (_, page) = server.call("GET", &path, token, None).await;
                    let own = texts(&page["entries"], "/content/text", name);
                    if own.len() >= count {
                        return own;
                    }
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, asking).await;
        heard.unwrap_or_else(|_| panic!("{name} was not heard {count} times"))
    }

    /// The same of what the rule told administrators.
    async fn told(&self, name: &str, count: usize) -> Vec<String> {
        let asking = async {
            loop {
                let server = &self.stage.server;
                let (_, page) = server.admin("GET", "/notices?limit=200", None).await;
                let mut own = texts(&page["notices"], "/text", name);
                if own.len() >= count {
                    own.reverse();
                    return own;
                }
            }
        };
        let told = tokio::time::timeout(PATIENCE, asking).await;
        told.unwrap_or_else(|_| panic!("{name} was not told {count} times"))
    }
}

/// Texts of rows that begin with a name.
fn texts(rows: &Value, place: &str, name: &str) -> Vec<String> {
    let rows = rows.as_array().expect("rows").iter();
    let texts = rows.filter_map(|row| row.pointer(place).and_then(Value::as_str));
    let own = texts.filter(|text| text.starts_with(&format!("{name} ")));
    own.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_time_comes_once_and_what_was_missed_comes_once() {
    let mut timed = Timed::new(json!({"tick": "every 10m", "daily": "0 9 * * *"})).await;
    let ticks = [
        BEGIN + 10 * MINUTE,
        BEGIN + 20 * MINUTE,
        BEGIN + 30 * MINUTE,
        BEGIN + 40 * HOUR + 30 * MINUTE,
    ];
    let heard = |count: usize| -> Vec<String> {
        let lines = ticks[..count].iter().enumerate();
        lines
            .map(|(n, at)| format!("tick {} at {at}", n + 1))
            .collect()
    };
    for count in 1..=2 {
        timed.clock.advance(10 * MINUTE);
        assert_eq!(timed.heard("tick", count).await, heard(count));
        timed.told("tick", count).await;
    }
    timed.stage.server.stop().await;
    timed.clock.advance(40 * HOUR); // nobody was there at nine, twice
    timed.stage.server.start().await;
    assert_eq!(timed.heard("tick", 3).await, heard(3));
    let daily = [format!("daily 1 at {}", BEGIN + 9 * HOUR)];
    assert_eq!(timed.heard("daily", 1).await, daily);
    assert_eq!(
        timed.told("daily", 1).await,
        [format!("daily at {}", BEGIN + 9 * HOUR)]
    );
    timed.told("tick", 3).await;
    timed.stage.server.restart().await;
    timed.clock.advance(10 * MINUTE);
    assert_eq!(timed.heard("tick", 4).await, heard(4));
    let told: Vec<String> = ticks.iter().map(|at| format!("tick at {at}")).collect();
    assert_eq!(timed.told("tick", 4).await, told);
    assert_eq!(timed.heard("daily", 1).await, daily);
    assert_eq!(timed.told("daily", 1).await.len(), 1);
}

#[tokio::test]
async fn a_call_that_falls_is_repeated_and_counts_once() {
    let timed = Timed::new(json!({"falls": "every 1h", "tick": "every 1h"})).await;
    timed.clock.advance(HOUR);
    let at = BEGIN + HOUR;
    assert_eq!(timed.heard("falls", 1).await, [format!("falls 1 at {at}")]);
    assert_eq!(timed.heard("tick", 1).await, [format!("tick 1 at {at}")]);
    let report = timed.stage.report().await;
    let observer = &report["consumers"][0];
    assert_eq!(
        (&observer["skipped"], &observer["failures"]),
        (&json!(0), &json!(1)),
        "{report}"
    );
}

#[tokio::test]
async fn a_schedule_that_cannot_be_understood_refuses_the_configuration() {
    let stage = Stage::new().await;
    for (times, why) in [
        (json!({"tick": "now and then"}), "tick"),
        (json!({"Tick!": "every 10m"}), "Tick!"),
        (json!({"tick": "0 0 30 2 *"}), "tick"),
        (json!({"tick": "0 9 * * * Moon/Base"}), "Moon/Base"),
    ] {
        let (status, refused) = stage.configure(json!({"times": times})).await;
        assert_eq!(status, 400, "{refused}");
        let says = refused["message"].as_str().expect("a message");
        assert!(says.contains(why), "{says}");
    }
}
