//! The audit log as a stream: every step in its order, taken up again where it was left, for administrators alone, and
//! bounded. The reader here knows server-sent events and nothing else.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{audit, canary, done, server, shadow};
use crate::support::{BOOTSTRAP, PATIENCE, TestServer};
use crate::swap;

/// One stream, read line by line.
struct Events {
    response: reqwest::Response,
    unread: String,
}

impl Events {
    async fn open(server: &TestServer, query: &str, seen: Option<u64>) -> Self {
        let request = server
            .http
            .get(server.admin_url(&format!("/events{query}")));
        let mut request = request.bearer_auth(BOOTSTRAP);
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen.to_string());
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            unread: String::new(),
        }
    }

    /// The next event: its name and its data; its id is its line's. `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    let found = lines.find_map(|line| line.strip_prefix(name));
                    found.map(|value| value.trim_start_matches(": ").trim_start_matches(':'))
                };
                let read = field("data").map(|data| {
                    let data: Value = serde_json::from_str(data.trim()).expect("JSON");
                    let id = field("id").expect("an id").trim().to_owned();
                    assert_eq!(data["id"].as_u64(), id.parse().ok());
                    (field("event").expect("a name").trim().to_owned(), data)
                });
                self.unread = rest.to_owned();
                match read {
                    Some(read) => return Some(read),
                    None => continue, // a comment that keeps the connection
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("something in time").ok().flatten()?;
            self.unread
                .push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }
}

#[tokio::test]
async fn every_step_is_an_event_in_order_and_a_stream_goes_on_where_it_was_left() {
    let server = server(&["good", "other", "strict"], |_| {}).await;
    let mut events = Events::open(&server, "?prefix=plugin.", None).await;
    shadow(&server, "strict").await;
    canary(&server, "other", 10).await;
    canary(&server, "other", 20).await;
    let (name, first) = events.next().await.expect("an event");
    assert_eq!(name, "plugin.shadow");
    assert_eq!(
        (&first["actor"], &first["subject"], &first["to"]),
        (
            &json!("bootstrap"),
            &json!("wayward"),
            &json!("1.0.0-strict")
        )
    );
    assert!(first["at"].is_u64() && first["detail"]["generation"].is_u64());
    drop(events);

    swap::activate(&server, "other").await;
    done(&server, "rollback", json!({})).await;
    done(&server, "rollback", json!({})).await;
    done(&server, "disable", json!({})).await;
    let seen = first["id"].as_u64();
    let mut events = Events::open(&server, "?prefix=plugin.", seen).await;
    let steps = [
        ("plugin.canary", Some("1.0.0-good"), Some("1.0.0-other")),
        ("plugin.canary", Some("1.0.0-good"), Some("1.0.0-other")),
        ("plugin.activate", Some("1.0.0-good"), Some("1.0.0-other")),
        ("plugin.canary.end", Some("1.0.0-other"), None),
        ("plugin.shadow.end", Some("1.0.0-strict"), None),
        ("plugin.rollback", Some("1.0.0-other"), Some("1.0.0-good")),
        ("plugin.disable", None, None),
    ];
    let mut last = seen;
    for (action, from, to) in steps {
        let (name, line) = events.next().await.expect("an event");
        assert_eq!(name, action, "{line}");
        assert_eq!(line["action"], action);
        assert_eq!((line["from"].as_str(), line["to"].as_str()), (from, to));
        assert!(line["id"].as_u64() > last, "ids rise");
        last = line["id"].as_u64();
    }
    // The same lines as a page, and as the newest ones first.
    let lines = audit(&server).await;
    let newest = "/audit?prefix=plugin.&limit=2";
    let (_, page) = server.admin("GET", newest, None).await;
    let page = page["lines"].as_array().expect("lines").clone();
    assert_eq!(page.len(), 2);
    assert_eq!(
        (&page[0], &page[1]),
        (&lines[lines.len() - 1], &lines[lines.len() - 2])
    );
    let before = format!("{newest}&before={}", page[1]["id"]);
    let (_, older) = server.admin("GET", &before, None).await;
    assert_eq!(older["lines"][0], lines[lines.len() - 3]);
}

#[tokio::test]
async fn a_stream_ends_with_the_server_and_goes_on_with_the_next() {
    let mut server = server(&["good", "other"], |_| {}).await;
    let mut events = Events::open(&server, "?after=0", None).await;
    let mut last = None;
    while last.is_none() {
        let (name, line) = events.next().await.expect("an event");
        if name == "plugin.activate" {
            last = line["id"].as_u64();
        }
    }
    let ((), end) = tokio::join!(server.stop(), events.next());
    assert!(end.is_none(), "{end:?}");
    server.start().await;
    let mut events = Events::open(&server, "", last).await;
    canary(&server, "other", 10).await;
    let (name, _) = events.next().await.expect("an event");
    assert_eq!(name, "plugin.canary");
}

#[tokio::test]
async fn streams_are_for_administrators_and_only_so_many() {
    let server = TestServer::bare().await;
    let url = server.admin_url("/events");
    for token in ["", "none"] {
        let asked = server.http.get(&url).bearer_auth(token).send().await;
        assert_eq!(asked.expect("an answer").status(), 401);
    }
    let wrong = server.http.get(&url).bearer_auth(BOOTSTRAP);
    let wrong = wrong.header("last-event-id", "soon").send().await;
    assert_eq!(wrong.expect("an answer").status(), 400);
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(Events::open(&server, "", None).await);
    }
    let one_more = || server.http.get(&url).bearer_auth(BOOTSTRAP).send();
    assert_eq!(one_more().await.expect("an answer").status(), 429);
    open.clear();
    // A place is free as soon as the server notices that somebody left.
    let free = async {
        while one_more().await.expect("an answer").status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, free)
        .await
        .expect("a place in time");
}

/// A stream whose token is good no more ends: the bootstrap token counts until the first administrator has one.
#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let server = TestServer::bare().await;
    let mut events = Events::open(&server, "", None).await;
    let body = json!({"name": "ops"});
    let (status, made) = server.admin("POST", "/tokens", Some(body)).await;
    assert_eq!(status, 201, "{made}");
    assert!(events.next().await.is_none(), "the stream of a stranger");
    let token = made["token"].as_str().expect("a token");
    let request = server.http.get(server.admin_url("/events?after=0"));
    let response = request.bearer_auth(token).send().await.expect("an answer");
    let mut chunks = response.bytes_stream();
    let first = tokio::time::timeout(PATIENCE, chunks.next()).await;
    let first = first.expect("in time").expect("a chunk").expect("bytes");
    let first = String::from_utf8_lossy(&first).into_owned();
    assert!(
        first.contains("token.create") && first.contains("bootstrap"),
        "{first}"
    );
}

/// The details of a plugin's steps of one kind, oldest first.
async fn details(server: &TestServer, action: &str, plugin: &str) -> Vec<Value> {
    let lines = audit(server).await.into_iter();
    let own = lines.filter(|line| line["action"] == action);
    own.map(|line| {
        assert_eq!(line["subject"], plugin, "{line}");
        assert!(line["detail"]["generation"].is_u64(), "{line}");
        line["detail"].clone()
    })
    .collect()
}

#[tokio::test]
async fn a_configuration_is_told_by_the_names_of_its_keys_and_never_by_its_values() {
    let server = TestServer::with_plugins().await;
    let path = "/plugins/direct-strategy/config";
    let change = async |method: &str, path: &str, body: Value| {
        let (status, done) = server.admin(method, path, Some(body)).await;
        assert_eq!(status, 200, "{done}");
        done
    };
    let texts = json!({"recall_window_s": "86123", "edit_window_s": "86124"});
    let done = change("PATCH", path, json!({"texts": texts})).await;
    // Whatever `config` shows may come back; what is as before is not named.
    let mut values = done["values"].clone();
    values["edit_window_s"] = 86125.into();
    let second = change("PUT", path, json!({"values": values})).await;
    let rollback = format!("{path}/rollback");
    let third = change("POST", &rollback, json!({})).await;
    let told = details(&server, "plugin.config", "direct-strategy").await;
    let wanted = [
        json!({"keys": ["edit_window_s", "recall_window_s"], "generation": done["generation"]}),
        json!({"keys": ["edit_window_s"], "generation": second["generation"]}),
    ];
    assert_eq!(told, wanted);
    let told = details(&server, "plugin.config.rollback", "direct-strategy").await;
    let wanted = json!({"keys": ["edit_window_s"], "generation": third["generation"]});
    assert_eq!(told, [wanted]);
}

#[tokio::test]
async fn a_binding_is_told_with_what_changed_of_it() {
    let server = server(&["good", "other"], |_| {}).await;
    let path = "/plugins/wayward/bindings/content-filter";
    for change in [
        json!({"order": 7, "on_failed": "fallback", "fallback": "1.0.0-other"}),
        json!({"order": 7, "isolation": "message"}),
    ] {
        let (status, done) = server.admin("PATCH", path, Some(change)).await;
        assert_eq!(status, 200, "{done}");
    }
    let (status, refused) = server
        .admin("PATCH", path, Some(json!({"scope": "moon"})))
        .await;
    assert_eq!(status, 400, "{refused}");
    let told = details(&server, "plugin.bind", "wayward").await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|detail| detail["hook"] == "content-filter"));
    let first = &told[0]["changes"];
    let mut fields: Vec<_> = first.as_object().expect("changes").keys().collect();
    fields.sort();
    assert_eq!(fields, ["fallback", "on_failed", "order"]);
    assert_eq!(first["order"]["to"], 7, "{first}");
    assert!(first["order"]["from"].is_i64(), "{first}");
    let failed = json!({"from": "hold", "to": "fallback"});
    assert_eq!(first["on_failed"], failed);
    assert_eq!(first["fallback"]["from"], Value::Null);
    assert_eq!(first["fallback"]["to"]["version"], "1.0.0-other");
    let isolation = json!({"isolation": {"from": "reuse", "to": "message"}});
    assert_eq!(told[1]["changes"], isolation);
}
