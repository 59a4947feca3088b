//! The first-party plugins: fixtures of all; of those in JavaScript and Python their own tests too, and what they do on
//! a server.

use std::path::PathBuf;

use kith::guest;
use serde_json::{Value, json};

use super::{node_tests, npm_install, python_tests, top};
use crate::support::{TestServer, TestSocket, TestUser, plugins_folder};

fn built(name: &str) -> PathBuf {
    plugins_folder()
        .join("optional")
        .join(format!("{name}.wasm"))
}

fn fixtures_hold(name: &str) {
    let folder = top().join("plugins").join(name);
    let say = |line: &str| println!("{line}");
    let tested = guest::test(&folder, &built(name), false, &say).expect("they run");
    tested.check().expect("every fixture holds");
}

#[test]
fn welcome_passes_its_own_tests_and_fixtures() {
    let folder = top().join("plugins/welcome");
    npm_install(&folder);
    node_tests(&folder);
    fixtures_hold("welcome");
}

#[test]
fn report_digest_passes_its_own_tests_and_fixtures() {
    let folder = top().join("plugins/report-digest");
    let path = [folder.join("src"), top().join("sdk/python")];
    python_tests(&folder, &path);
    fixtures_hold("report-digest");
}

#[test]
fn those_in_rust_pass_their_fixtures() {
    for name in [
        "canned-replies",
        "direct-strategy",
        "group-strategy",
        "webhook-out",
        "word-filter",
    ] {
        let folder = top().join("plugins").join(name);
        let component = plugins_folder().join(format!("{name}.wasm"));
        let say = |line: &str| println!("{line}");
        let tested = guest::test(&folder, &component, false, &say).expect("they run");
        tested.check().expect("every fixture holds");
    }
}

/// A server that serves one of them. What the author's commands compiled is there already.
async fn serving(name: &str, grants: &str) -> TestServer {
    let server = TestServer::with(|config| {
        let cache = PathBuf::from(&config.server.data).join("plugin-cache");
        std::fs::create_dir_all(&cache).expect("a folder");
        let known = guest::code_cache().expect("the author's cache");
        for file in known.read_dir().expect("it can be listed").flatten() {
            // A file that is being replaced is compiled again.
            let _ = std::fs::hard_link(file.path(), cache.join(file.file_name()));
        }
    })
    .await;
    let component = std::fs::read(built(name)).expect("the plugin");
    let (status, pushed) = server.push(component).await;
    assert_eq!(status, 201, "{pushed}");
    let wanted = json!({"version": pushed["version"], "grants": grants});
    let route = format!("/plugins/{name}/activate");
    let (status, done) = server.admin("POST", &route, Some(wanted)).await;
    assert_eq!(status, 200, "{done}");
    server
}

/// The next entry a session is told of that has a text in it.
async fn hears(socket: &mut TestSocket, wanted: &str) -> Value {
    loop {
        let told = socket.event("entry").await;
        if told.to_string().contains(wanted) {
            return told;
        }
    }
}

async fn account(server: &TestServer, who: &TestUser, name: &str) -> String {
    let path = format!("/v1/users?query={name}");
    let (_, found) = server.call("GET", &path, Some(&who.token), None).await;
    let users = found["users"].as_array().expect("users");
    let own = users.iter().find(|user| user["username"] == name);
    own.expect("the account")["id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

#[tokio::test]
async fn welcome_greets_who_joins_a_group_that_has_set_a_text() {
    let server = serving("welcome", "directory,send").await;
    let (ann, bob, cat) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("cat").await,
    );
    let greeter = account(&server, &ann, "welcome").await;
    let body = json!({"title": "us", "members": [bob.id, greeter]});
    let (status, group) = server
        .call("POST", "/v1/groups", Some(&ann.token), Some(body))
        .await;
    assert_eq!(status, 201, "{group}");
    let group = group["id"].as_str().expect("an id");
    let typed = |id: &str, text: &str| json!({"to": {"conversation": group}, "client_id": id, "content": {"type": "text", "text": text}});
    let mut member = server.session(&bob).await;
    let refused = member.request("send", typed("1", "/welcome hi")).await;
    assert_eq!(refused["err"]["code"], "forbidden", "{refused}");
    let mut owner = server.session(&ann).await;
    let set = owner
        .request("send", typed("2", "/welcome Hello, {name}!"))
        .await;
    assert!(
        set.to_string().contains("New members will read this"),
        "{set}"
    );
    let path = format!("/v1/groups/{group}/members");
    let (status, added) = server
        .call(
            "POST",
            &path,
            Some(&ann.token),
            Some(json!({"users": [cat.id]})),
        )
        .await;
    assert!(status < 300, "{added}");
    let heard = hears(&mut owner, "Hello, cat!").await;
    assert!(heard.to_string().contains(&greeter), "{heard}");
}

#[tokio::test]
async fn report_digest_tells_one_user_what_was_reported() {
    let server = serving("report-digest", "directory,kv,send").await;
    let (ann, bob, chief) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("chief").await,
    );
    let values = json!({"values": {"to": chief.username, "when": "every 1s"}});
    let route = "/plugins/report-digest/config";
    let (status, done) = server.admin("PUT", route, Some(values)).await;
    assert_eq!(status, 200, "{done}");
    let mut socket = server.session(&ann).await;
    socket.send_text(&bob.id, "first", "hello").await;
    let report = json!({"user": bob.id, "reason": "spam"});
    let (status, filed) = server
        .call("POST", "/v1/reports", Some(&ann.token), Some(report))
        .await;
    assert_eq!(status, 201, "{filed}");
    let mut listener = server.session(&chief).await;
    let told = hears(&mut listener, "since the last digest")
        .await
        .to_string();
    assert!(told.contains("report: 1"), "{told}");
    assert!(told.contains(&format!("{}: 1", bob.username)), "{told}");
}
