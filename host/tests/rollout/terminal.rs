//! Roll-out and the audit log by the command line,
//! and that a command whose reader has gone ends quietly.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{server, states};
use crate::crash::process::program;
use crate::registry::plugin;
use crate::support::{BOOTSTRAP, PATIENCE, TestServer};

fn kith(server: &TestServer, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    let admin = format!("http://{}", server.app().admin_address);
    command.args(arguments).env("KITH_ADMIN_URL", admin);
    command
        .env("KITH_ADMIN_TOKEN", BOOTSTRAP)
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_log_without_lines_says_so() {
    let server = server(&["good"], |_| {}).await;
    let shown = plugin(&server, &["logs", "wayward"]).await;
    assert_eq!(shown.err, "kith: no lines yet\n");
    assert_eq!(shown.done(), "");
}

#[tokio::test]
async fn versions_are_tried_and_ended_by_the_command_line() {
    let server = server(&["good", "other", "strict"], |_| {}).await;
    let said = plugin(&server, &["shadow", "wayward@1.0.0-strict"])
        .await
        .done();
    assert!(said.starts_with("wayward 1.0.0-strict is shadow"), "{said}");
    let share = ["canary", "--percent", "25", "wayward@1.0.0-other"];
    let said = plugin(&server, &share).await.done();
    let expected = "wayward 1.0.0-other is canary in 25 % of the conversations";
    assert!(said.starts_with(expected), "{said}");
    let listed = plugin(&server, &["list"]).await.done();
    assert!(listed.contains("canary 25 %"), "{listed}");
    let listed = plugin(&server, &["list", "--json"]).await.json();
    let rows = listed.as_array().expect("rows").iter();
    let mut shares = rows.filter_map(|row| row["percent"].as_u64());
    assert_eq!((shares.next(), shares.next()), (Some(25), None));
    let report = plugin(&server, &["rollout", "wayward"]).await.done();
    for part in [
        "serves: 1.0.0-good",
        "canary: 1.0.0-other in 25 %",
        "shadow: 1.0.0-strict",
    ] {
        assert!(report.contains(part), "{report}");
    }
    let report = plugin(&server, &["rollout", "wayward", "--json"])
        .await
        .json();
    assert_eq!(report["canary"]["percent"], 25);
    let said = plugin(&server, &["rollback", "wayward"]).await.done();
    assert!(said.contains("the canary of wayward has ended"), "{said}");
    assert!(said.contains("the shadow of wayward has ended"), "{said}");
    assert_eq!(
        states(&server).await,
        ["good active", "other available", "strict available"]
    );
    for wrong in ["0", "101", "many"] {
        let wrong = ["canary", "--percent", wrong, "wayward@1.0.0-other"];
        assert_eq!(plugin(&server, &wrong).await.code, Some(2));
    }
}

#[tokio::test]
async fn events_are_followed_by_the_command_line() {
    let server = server(&["good", "other"], |_| {}).await;
    let follow = ["plugin", "events", "--follow", "--after", "0", "--json"];
    let mut following = kith(&server, &follow);
    let mut following = following.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut events = BufReader::new(following.stdout.take().expect("its stdout")).lines();
    super::canary(&server, "other", 10).await;
    super::done(&server, "rollback", json!({})).await;
    let mut followed = Vec::new();
    while followed
        .last()
        .is_none_or(|last| last != "plugin.canary.end")
    {
        let line = tokio::time::timeout(PATIENCE, events.next_line()).await;
        let line = line.expect("in time").expect("a line").expect("an event");
        let event: Value = serde_json::from_str(&line).expect("JSON");
        followed.push(event["action"].as_str().expect("an action").to_owned());
    }
    let pushed = followed.iter().filter(|action| *action == "plugin.push");
    assert_eq!(pushed.count(), 2);
    let steps: Vec<_> = followed
        .iter()
        .filter(|action| *action != "plugin.push")
        .collect();
    assert_eq!(
        steps,
        ["plugin.activate", "plugin.canary", "plugin.canary.end"]
    );
    following.kill().await.expect("ended");
    let log = kith(&server, &["admin", "audit", "--last", "2"])
        .output()
        .await;
    let log = String::from_utf8(log.expect("it runs").stdout).expect("text");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(
        lines[1].contains("bootstrap plugin.canary.end wayward 1.0.0-other → -"),
        "{log}"
    );
}

/// As with `| head -1`, which has enough before everything is printed.
#[tokio::test]
async fn a_command_whose_reader_has_gone_ends_quietly() {
    let server = TestServer::with_plugins().await;
    let words: Vec<Value> = (0..200)
        .map(|n| json!({"word": format!("word{n}"), "level": "mask"}))
        .collect();
    let added = server.admin("POST", "/words", Some(json!({"words": words})));
    assert_eq!(added.await.0, 200);
    for arguments in [
        &["admin", "words", "list"][..],
        &["admin", "words", "list", "--json"],
        &["admin", "words", "test", "word1 word2"],
        &["plugin", "list"],
        &["plugin", "inspect", "word-filter@0.1.0"],
        &["plugin", "events"],
        &["admin", "audit", "--json"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = kith(&server, arguments);
        let output = command.stdout(writer).stderr(Stdio::piped()).output().await;
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            (output.status.code(), said.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}
