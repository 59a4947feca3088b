//! Every route of both documents of a live server, asked in every wrong way by everybody: the answer is one the document
//! declares, never a defect's, and what is refused is refused in the protocol's words.

use std::collections::BTreeMap;

use kith::config::SearchEngine;
use kith::refusal::Code;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use super::pool::Pool;
use super::schema::{Route, routes};
use super::{odd, rounds, seeded};
use crate::properties::seeded::Seeded;
use crate::support::{TestServer, TestUser, plugins_folder};

/// Errors of the token endpoint by its own standard.
const OAUTH: [&str; 4] = [
    "invalid_request",
    "invalid_grant",
    "unsupported_grant_type",
    "invalid_client",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Stranger,
    User,
    Administrator,
}

/// A live server and those who ask it.
struct Field {
    server: TestServer,
    user: TestUser,
    admin: String,
    pool: Pool,
    random: Seeded,
    /// What was answered wrongly, and the first request that was.
    found: BTreeMap<String, String>,
}

/// One request, as it can be told.
#[derive(Debug)]
struct Asked {
    who: Who,
    method: String,
    /// From the host on.
    target: String,
    kind: Option<String>,
    body: Option<Vec<u8>>,
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

impl Field {
    async fn new(test: u64) -> Self {
        let mut server = TestServer::with(|config| {
            config.server.plugins = plugins_folder().display().to_string();
            config.search.engine = SearchEngine::Embedded;
        })
        .await;
        // A connection whose body nobody read is not used again, and its end may cross the next request.
        let alone = reqwest::Client::builder().pool_max_idle_per_host(0);
        server.http = alone.build().expect("a client");
        let (user, other, third) = (
            server.user("ann").await,
            server.user("bob").await,
            server.user("cat").await,
        );
        let made = server
            .admin("POST", "/tokens", Some(json!({"name": "fuzz"})))
            .await;
        let mut pool = Pool::new();
        pool.add("conversation", "1");
        for user in [&user, &other, &third] {
            for name in ["user", "id"] {
                pool.add(name, &user.id);
            }
            pool.add("username", &user.username);
        }
        for (one, to) in [(&user, &other), (&other, &third)] {
            let ack = server
                .session(one)
                .await
                .send_text(&to.id, "1", "hello")
                .await;
            pool.add("conversation", &text(&ack["ok"]["conversation"]));
        }
        for owner in [&user, &other] {
            let body = json!({"title": "us", "members": [third.id], "join": "approval"});
            let (_, group) = server
                .call("POST", "/v1/groups", Some(&owner.token), Some(body))
                .await;
            pool.add("conversation", &text(&group["id"]));
        }
        let (_, request) = server
            .call(
                "POST",
                "/v1/friend-requests",
                Some(&third.token),
                Some(json!({"user": user.id})),
            )
            .await;
        pool.add("id", &text(&request["id"]));
        pool.add("id", "laptop");
        Self {
            admin: text(&made.1["token"]),
            server,
            user,
            pool,
            random: seeded(test),
            found: BTreeMap::new(),
        }
    }

    fn found_nothing(&self) {
        let all: Vec<_> = self
            .found
            .iter()
            .map(|(what, told)| format!("{what}\n{told}"))
            .collect();
        assert!(
            all.is_empty(),
            "{} findings\n\n{}",
            all.len(),
            all.join("\n\n")
        );
    }

    /// The user may have been signed out, or worse.
    async fn user_again(&mut self) {
        let (status, _) = self
            .server
            .call("GET", "/v1/me", Some(&self.user.token), None)
            .await;
        if status != 200 {
            self.user = self.server.user("again").await;
            self.pool.add("user", &self.user.id);
        }
    }

    fn made(&mut self, route: &Route, rightful: Who) -> Asked {
        let (pool, random) = (&self.pool, &mut self.random);
        let mut target = route.path.clone();
        let mut query = Vec::new();
        for parameter in &route.parameters {
            let name = &parameter.name;
            let mut given = match parameter.schema["type"].as_str() {
                Some("integer") => pool.number(name, random).to_string(),
                _ => pool.text(name, random),
            };
            given.truncate(given.floor_char_boundary(600));
            if name == "wait_s" && given.parse::<u64>().is_ok_and(|seconds| seconds > 1) {
                // A wait is kept: what comes in time is another test's.
                given = "1".to_owned();
            }
            if parameter.place == "path" {
                target = target.replace(&format!("{{{name}}}"), &in_path(&given, random));
            } else if parameter.place == "query" && !random.one_in(3) {
                query.push(format!("{name}={}", escaped(given.as_bytes())));
            }
        }
        if random.one_in(20) {
            query.push("limit=1&limit=2&unknown=%ff".to_owned());
        }
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        let (kind, body) = match &route.body {
            Some((kind, schema)) => body(route, kind, schema, pool, random),
            None => (None, None),
        };
        let who = match random.below(8) {
            0 => Who::Stranger,
            1 => Who::User,
            2 => Who::Administrator,
            _ => rightful,
        };
        Asked {
            who,
            method: route.method.clone(),
            target,
            kind,
            body,
        }
    }

    async fn ask(&self, asked: &Asked, base: &str) -> (u16, Option<HeaderValue>, Vec<u8>) {
        let method = asked.method.parse().expect("a method");
        let url = format!("http://{base}{}", asked.target);
        let mut request = self.server.http.request(method, url);
        request = match asked.who {
            Who::Stranger => request,
            Who::User => request.bearer_auth(&self.user.token),
            Who::Administrator => request.bearer_auth(&self.admin),
        };
        if let Some(kind) = &asked.kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(body) = &asked.body {
            request = request.body(body.clone());
        }
        let response = request
            .send()
            .await
            .unwrap_or_else(|e| panic!("{asked:?}: {e}"));
        let status = response.status().as_u16();
        let kind = response.headers().get(CONTENT_TYPE).cloned();
        let endless = |kind: &HeaderValue| kind.as_bytes().starts_with(b"text/event-stream");
        if kind.as_ref().is_some_and(endless) {
            return (status, kind, Vec::new());
        }
        let body = response.bytes().await;
        (status, kind, body.expect("a body").into())
    }

    /// Asks once and looks at the answer.
    async fn probe(&mut self, route: &Route, rightful: Who, base: &str) -> u16 {
        let asked = self.made(route, rightful);
        let (status, kind, body) = self.ask(&asked, base).await;
        let told = || {
            let shown = asked.body.as_deref().map(String::from_utf8_lossy);
            let answer = String::from_utf8_lossy(&body);
            format!(
                "{} {} as {:?}, {:?}\n{shown:.600?}\n{status}: {answer:.600}",
                asked.method, asked.target, asked.who, asked.kind
            )
        };
        let read = serde_json::from_slice::<Value>(&body).ok();
        let wrong = if !route.statuses.contains(&status) {
            Some("not declared")
        } else if status == 500 {
            Some("a defect")
        } else if route.asks_for_a_token && asked.who != rightful && status != 401 {
            Some("answered without a right")
        } else if status == 204 {
            (!body.is_empty()).then_some("a body of nothing")
        } else if status < 300 {
            let begins = match kind.as_ref().map(HeaderValue::as_bytes) {
                Some(b"application/wasm") => &b"\0asm"[..],
                Some(b"application/octet-stream") => b"kithmove",
                _ => b"",
            };
            let is_file = !begins.is_empty() && body.starts_with(begins);
            // Its head alone was read: it has no end.
            let is_stream = kind.is_some_and(|kind| kind == "text/event-stream");
            let good = read.is_some() || is_file || is_stream;
            (!good).then_some("neither JSON nor the file it says")
        } else {
            let read = read.unwrap_or_default();
            (!is_refusal(&read, status, &route.path)).then_some("no error object")
        };
        if let Some(wrong) = wrong {
            let what = format!("{} {}: {status}, {wrong}", route.method, route.path);
            self.found.entry(what).or_insert_with(told);
        }
        status
    }

    /// What a path does not take is told so.
    async fn other_method(&mut self, all: &[Route], route: &Route, base: &str) {
        let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"];
        let method = *self.random.pick(&methods);
        let taken = |other: &Route| other.path == route.path && other.method == method;
        if all.iter().any(taken) || route.path == "/v1/ws" {
            return;
        }
        let mut asked = self.made(route, Who::User);
        asked.method = method.to_owned();
        let (status, _, body) = self.ask(&asked, base).await;
        let read: Value = serde_json::from_slice(&body).unwrap_or_default();
        let refused = (status, read["code"].as_str());
        assert_eq!(refused, (405, Some("bad_request")), "{asked:?}");
    }
}

/// The protocol's error object, with the status that goes with its code; or the token endpoint's own.
fn is_refusal(body: &Value, status: u16, path: &str) -> bool {
    if path.starts_with("/v1/oauth/") && status == 400 {
        return OAUTH.iter().any(|known| body["error"] == *known);
    }
    let known = Code::ALL.iter().find(|code| body["code"] == code.as_str());
    let waits = !matches!(status, 429 | 503) || body["retry_after_ms"].is_u64();
    known.is_some_and(|code| code.status() == status) && body["message"].is_string() && waits
}

/// One segment of a path: never empty, never one that clients take out.
fn in_path(given: &str, random: &mut Seeded) -> String {
    if random.one_in(40) {
        return "%ff%fe".to_owned();
    }
    match given {
        "" | "." | ".." => "%20".to_owned(),
        other => escaped(other.as_bytes()),
    }
}

fn escaped(bytes: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(*byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    bytes.iter().map(escape).collect()
}

type Body = (Option<String>, Option<Vec<u8>>);

fn body(route: &Route, kind: &str, schema: &Value, pool: &Pool, random: &mut Seeded) -> Body {
    let mut value = route.value("body", schema, pool, random);
    for _ in 0..random.below(6).saturating_sub(3) {
        odd::spoil(&mut value, random);
    }
    let mut bytes = match kind {
        "application/json" => value.to_string().into_bytes(),
        "application/x-www-form-urlencoded" => form(&value),
        "text/csv" => {
            format!("word,level,category\n{},mask,\n", pool.text("word", random)).into_bytes()
        }
        // A component, or what begins like one.
        _ => [
            b"\0asm\x0d\0\x01\0".to_vec(),
            odd::text(random).into_bytes(),
        ]
        .concat(),
    };
    match random.below(30) {
        0 => bytes = vec![b'['; 100_000],
        1 => bytes = vec![b' '; 300 * 1024],
        2 => bytes.clear(),
        3 => bytes = b"{\"user\":\"1\",\"user\":2,\"seq\":1e999}".to_vec(),
        4 => bytes.extend(b"{}"),
        5..8 => odd::garble(&mut bytes, random),
        _ => {}
    }
    let kind = match random.below(20) {
        0 => None,
        1 => Some("text/plain".to_owned()),
        2 => Some("application/x-www-form-urlencoded".to_owned()),
        3 => Some("application/json; charset=utf-16".to_owned()),
        _ => Some(kind.to_owned()),
    };
    (kind, Some(bytes))
}

fn form(value: &Value) -> Vec<u8> {
    let fields = value.as_object().into_iter().flatten();
    let pairs = fields.map(|(name, value)| {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        format!("{}={}", escaped(name.as_bytes()), escaped(value.as_bytes()))
    });
    pairs.collect::<Vec<_>>().join("&").into_bytes()
}

async fn document(server: &TestServer, url: &str) -> Vec<Route> {
    let document = server.http.get(url).send().await.expect("an answer");
    routes(&document.json().await.expect("JSON"))
}

/// Everybody can still talk and be told of it.
async fn lives(field: &mut Field) {
    let (status, _) = field.server.call("GET", "/healthz", None, None).await;
    assert_eq!(status, 200);
    let (one, other) = (
        field.server.user("one").await,
        field.server.user("two").await,
    );
    let (mut from, mut to) = (
        field.server.session(&one).await,
        field.server.session(&other).await,
    );
    // What the administrators were made to set up may refuse it; it is answered.
    let ack = from.send_text(&other.id, "1", "still here").await;
    if ack["ok"]["state"] == "committed" {
        assert_eq!(to.event("entry").await["entry"]["seq"], 1);
    } else {
        assert!(
            ack["ok"].is_object() || ack["err"]["code"].is_string(),
            "{ack}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_public_route_answers_anything_as_its_document_says() {
    let mut field = Field::new(5).await;
    let all = document(&field.server, &field.server.url("/v1/openapi.json")).await;
    let base = field.server.app().address.to_string();
    let mut fine = 0;
    for _ in 0..rounds(25) {
        field.user_again().await;
        for route in &all {
            for _ in 0..3 {
                fine += u64::from(field.probe(route, Who::User, &base).await < 300);
            }
        }
        let route = field.random.below(all.len() as u64) as usize;
        field.other_method(&all, &all[route], &base).await;
    }
    field.found_nothing();
    assert!(fine > rounds(200), "only {fine} requests were good ones");
    lives(&mut field).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_of_the_administration_answers_anything_as_its_document_says() {
    let mut field = Field::new(6).await;
    let all = document(&field.server, &field.server.admin_url("/openapi.json")).await;
    let base = field.server.app().admin_address.to_string();
    let mut fine = 0;
    for _ in 0..rounds(12) {
        for route in &all {
            let asked = field.probe(route, Who::Administrator, &base).await;
            fine += u64::from(asked < 300);
        }
        let route = field.random.below(all.len() as u64) as usize;
        field.other_method(&all, &all[route], &base).await;
    }
    field.found_nothing();
    assert!(fine > rounds(40), "only {fine} requests were good ones");
    lives(&mut field).await;
}
