//! Replays through the public protocol: the same version decides the same, whatever it read; another one differs where it
//! does; what was taken back stays so; and calls that failed fail again on their authors' machines.

mod files;
mod same;
mod texts;

use serde_json::{Value, json};

use crate::commands::clerk;
use crate::recent::attentive;
use crate::support::{PATIENCE, TestServer, TestSocket};

/// Pushes a component and has it serve.
pub async fn serve(server: &TestServer, component: &[u8]) {
    let (status, pushed) = server.push(component.to_vec()).await;
    assert_eq!(status, 201, "{pushed}");
    let name = pushed["name"].as_str().expect("a name");
    let body = json!({"version": pushed["version"]});
    let path = format!("/plugins/{name}/activate");
    let (status, done) = server.admin("POST", &path, Some(body)).await;
    assert_eq!(status, 200, "{done}");
}

/// A server with the first-party plugins, on which the clerk and the attentive one serve: they read values and entries.
pub async fn readers() -> TestServer {
    let guests = tokio::task::spawn_blocking(|| (clerk(), attentive()));
    let (clerk, attentive) = guests.await.expect("the guests");
    let server = TestServer::with_plugins().await;
    serve(&server, clerk).await;
    serve(&server, attentive).await;
    server
}

/// Begins a replay; its id.
pub async fn begin(server: &TestServer, name: &str, wanted: Value) -> String {
    let path = format!("/plugins/{name}/replays");
    let (status, begun) = server.admin("POST", &path, Some(wanted)).await;
    assert_eq!(status, 201, "{begun}");
    begun["id"].as_str().expect("an id").to_owned()
}

/// The report of a replay that has ended.
pub async fn ended(server: &TestServer, id: &str) -> Value {
    let path = format!("/replays/{id}");
    let ends = async {
        loop {
            let (status, report) = server.admin("GET", &path, None).await;
            assert_eq!(status, 200, "{report}");
            if report["state"] != "running" {
                return report;
            }
        }
    };
    let ends = tokio::time::timeout(PATIENCE, ends);
    ends.await.expect("the end of the replay")
}

/// The report of a version over everything.
pub async fn replay(server: &TestServer, name: &str, version: &str) -> Value {
    let id = begin(server, name, json!({"version": version})).await;
    let report = ended(server, &id).await;
    assert_eq!(report["state"], "done", "{report}");
    report
}

/// The version of a plugin that serves.
pub async fn serving(server: &TestServer, name: &str) -> String {
    let (_, list) = server.admin("GET", "/plugins", None).await;
    let rows = list["plugins"].as_array().expect("plugins");
    let row = rows
        .iter()
        .find(|row| row["name"] == name && row["state"] == "active");
    let version = row.unwrap_or_else(|| panic!("no {name}: {list}"))["version"].clone();
    version.as_str().expect("a version").to_owned()
}

/// Where the decisions of a report differ, with what was recorded and what is said now.
pub fn differing(report: &Value) -> Vec<(Value, String, String)> {
    let outcome = |what: &Value| what["outcome"].as_str().unwrap_or("none").to_owned();
    let differ = report["differ"].as_array().expect("a list").iter();
    let mut found: Vec<_> = differ
        .map(|row| {
            let place = row["seq"].clone();
            (place, outcome(&row["recorded"]), outcome(&row["now"]))
        })
        .collect();
    found.sort_by_key(|(seq, ..)| seq.as_u64());
    assert_eq!(report["differing"], found.len(), "{report}");
    found
}

/// A text to a user, under the text as its client id; the reply.
pub async fn say(socket: &mut TestSocket, to: &str, text: &str) -> Value {
    socket.send_text(to, text, text).await
}

/// The same, which must be committed; conversation and seq.
pub async fn place(socket: &mut TestSocket, to: &str, text: &str) -> Value {
    let reply = say(socket, to, text).await;
    assert!(reply["ok"]["seq"].is_u64(), "{text}: {reply}");
    json!({"conversation": reply["ok"]["conversation"], "seq": reply["ok"]["seq"]})
}

pub async fn words(server: &TestServer, rows: &[(&str, &str)]) {
    let rows = rows.iter();
    let rows: Vec<_> = rows
        .map(|(word, level)| json!({"word": word, "level": level}))
        .collect();
    let (status, done) = server
        .admin("POST", "/words", Some(json!({"words": rows})))
        .await;
    assert_eq!(status, 200, "{done}");
}
