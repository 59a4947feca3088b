//! What happens when somebody asks too often or opens too much: told when to come again, nobody else the worse for it,
//! and none of it when rates are off.

use std::time::Duration;

use kith::config::Config;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Ended, PATIENCE, TestServer, TestUser};

/// Rates on, each of them high; a test lowers the one it is about.
fn rated(config: &mut Config) {
    let limits = &mut config.limits;
    limits.rate = true;
    for rate in [
        &mut limits.sends_per_s,
        &mut limits.sends_burst,
        &mut limits.requests_per_s,
        &mut limits.requests_burst,
        &mut limits.device_requests_per_s,
        &mut limits.device_requests_burst,
        &mut limits.searches_per_s,
        &mut limits.searches_burst,
        &mut limits.friend_requests_per_hour,
        &mut limits.reports_per_hour,
        &mut limits.requests_per_s_per_address,
        &mut limits.requests_burst_per_address,
        &mut limits.sign_ins_per_minute_per_address,
        &mut limits.sign_ins_per_minute_per_user,
        &mut limits.registers_per_hour_per_address,
    ] {
        *rate = 100_000;
    }
}

async fn with_rates(lower: impl FnOnce(&mut Config)) -> TestServer {
    TestServer::with(|config| {
        rated(config);
        lower(config);
    })
    .await
}

/// It is refused, and when to come again is told within `most_ms`.
fn too_often(refusal: &Value, most_ms: u64) {
    assert_eq!(refusal["code"], "rate_limited", "{refusal}");
    let wait = refusal["retry_after_ms"].as_u64().expect("a wait");
    assert!((1..=most_ms).contains(&wait), "{refusal}");
}

/// Asks until it is refused; how often it was not, and the refusal.
async fn until_refused<A, F>(mut ask: A) -> (u32, Value)
where
    A: FnMut(u32) -> F,
    F: Future<Output = Result<(), Value>>,
{
    for answered in 0..200 {
        if let Err(refusal) = ask(answered).await {
            return (answered, refusal);
        }
    }
    panic!("never refused");
}

/// A REST answer: fine, or refused as too often.
fn taken((status, body): (u16, Value)) -> Result<(), Value> {
    match status {
        429 => Err(body),
        200 | 201 => Ok(()),
        other => panic!("{other}: {body}"),
    }
}

const SECOND: u64 = 1000;
const HOUR: u64 = 3_600_000;

#[tokio::test]
async fn sends_are_counted_by_user_over_all_devices_and_ways() {
    let server = with_rates(|config| {
        (config.limits.sends_per_s, config.limits.sends_burst) = (1, 3);
    })
    .await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let laptop = server.sign_in(&ann.username, "laptop").await;
    let token = laptop["access_token"].as_str().expect("a token");
    let (mut phone, mut laptop) = (
        server.session(&ann).await,
        server.session_of(token, "laptop").await,
    );
    let began = std::time::Instant::now();
    let first = phone.send_text(&bob.id, "first", "x").await;
    let conversation = first["ok"]["conversation"].as_str().expect("an id");
    let mut sent = 1;
    for (name, socket) in [("phone", &mut phone), ("laptop", &mut laptop)] {
        for n in 0.. {
            let reply = socket.send_text(&bob.id, &format!("{name}-{n}"), "x").await;
            if reply["ok"].is_null() {
                too_often(&reply["err"], SECOND);
                break;
            }
            sent += 1;
        }
    }
    let path = format!("/v1/conversations/{conversation}/entries");
    let by_rest = until_refused(|n| {
        let content = json!({"type": "text", "text": "x"});
        let body = Some(json!({"client_id": format!("rest-{n}"), "content": content}));
        let sending = server.call("POST", &path, Some(token), body);
        async { taken(sending.await) }
    });
    let (more, refusal) = by_rest.await;
    too_often(&refusal, SECOND);
    sent += u64::from(more);
    // One allowance for all: three at once, one more a second.
    assert!(
        (3..=4 + began.elapsed().as_secs()).contains(&sent),
        "{sent}"
    );
    // Nothing was stored of what was refused, and others are free.
    let page = phone
        .request("history", json!({"conversation": conversation}))
        .await;
    assert_eq!(page["ok"]["head"], sent);
    let mut bobs = server.session(&bob).await;
    let reply = bobs.send_text(&ann.id, "1", "x").await;
    assert_eq!(reply["ok"]["seq"], sent + 1);
}

#[tokio::test]
async fn a_device_that_asks_too_often_is_told_and_one_that_never_stops_is_closed() {
    let server = with_rates(|config| {
        let limits = &mut config.limits;
        (limits.device_requests_per_s, limits.device_requests_burst) = (1, 4);
    })
    .await;
    let ann = server.user("ann").await;
    let mut phone = server.session(&ann).await;
    for _ in 0..4 {
        assert!(phone.request("ping", json!({})).await["ok"].is_object());
    }
    let refused = loop {
        let reply = phone.request("ping", json!({})).await;
        if reply["ok"].is_null() {
            break reply["err"].clone();
        }
    };
    too_often(&refused, SECOND);
    let tokens = server.sign_in(&ann.username, "laptop").await;
    let token = tokens["access_token"].as_str().expect("a token");
    let mut calm = server.session_of(token, "laptop").await;
    assert!(calm.request("ping", json!({})).await["ok"].is_object());
    for _ in 0..100 {
        if phone.try_start("ping", json!({})).await.is_err() {
            break;
        }
    }
    let ended = phone.end().await;
    assert_eq!(ended, (Some("too_fast".to_owned()), Ended::Closed(4429)));
    assert!(calm.request("ping", json!({})).await["ok"].is_object());
}

#[tokio::test]
async fn rest_requests_are_counted_by_user() {
    let server = with_rates(|config| {
        (config.limits.requests_per_s, config.limits.requests_burst) = (1, 5);
    })
    .await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    for path in ["/v1/me", "/v1/conversations", "/v1/friends", "/v1/held"] {
        let asking = until_refused(|_| {
            let asked = server.call("GET", path, Some(&ann.token), None);
            async { taken(asked.await) }
        });
        too_often(&asking.await.1, SECOND);
    }
    let (status, _) = server.call("GET", "/v1/me", Some(&bob.token), None).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn requests_of_an_address_are_counted_whoever_asks() {
    let server = with_rates(|config| {
        let limits = &mut config.limits;
        limits.requests_per_s_per_address = 1;
        limits.requests_burst_per_address = 10;
    })
    .await;
    let (answered, refusal) = until_refused(|_| {
        let asked = server.call("GET", "/v1/me", Some("nonsense"), None);
        async {
            match asked.await {
                (401, _) => Ok(()),
                other => taken(other),
            }
        }
    })
    .await;
    assert!(answered >= 10, "{answered}");
    too_often(&refusal, SECOND);
    // The handshake is a request too; what watches the server is not counted.
    let url = format!("ws://{}/v1/ws", server.app().address);
    let (_, refusal) = until_refused(|_| {
        let connecting = tokio_tungstenite::connect_async(url.clone());
        async {
            connecting
                .await
                .map(drop)
                .map_err(|error| error.to_string().into())
        }
    })
    .await;
    assert!(
        refusal.as_str().is_some_and(|why| why.contains("429")),
        "{refusal}"
    );
    for _ in 0..20 {
        assert_eq!(server.call("GET", "/readyz", None, None).await.0, 200);
    }
}

#[tokio::test]
async fn searches_and_friend_requests_and_reports_have_rates_of_their_own() {
    let server = with_rates(|config| {
        let limits = &mut config.limits;
        (limits.searches_per_s, limits.searches_burst) = (1, 2);
        (limits.friend_requests_per_hour, limits.reports_per_hour) = (2, 1);
    })
    .await;
    let ann = server.user("ann").await;
    let others: [TestUser; 3] = [
        server.user("bob").await,
        server.user("cid").await,
        server.user("dan").await,
    ];
    let token = Some(ann.token.as_str());
    let searching = until_refused(|_| {
        let found = server.call("GET", "/v1/users?query=bob", token, None);
        async { taken(found.await) }
    });
    too_often(&searching.await.1, SECOND);
    let ask = async |to: &str| {
        let body = Some(json!({"user": to}));
        server
            .call("POST", "/v1/friend-requests", token, body)
            .await
    };
    assert_eq!(ask(&others[0].id).await.0, 201);
    assert_eq!(ask(&others[1].id).await.0, 201);
    let (status, refusal) = ask(&others[2].id).await;
    assert_eq!(status, 429);
    too_often(&refusal, HOUR);
    let report = async || {
        let body = Some(json!({"user": others[0].id, "reason": "spam"}));
        server.call("POST", "/v1/reports", token, body).await
    };
    assert_eq!(report().await.0, 201);
    let (status, refusal) = report().await;
    assert_eq!(status, 429);
    too_often(&refusal, HOUR);
    assert_eq!(server.call("GET", "/v1/me", token, None).await.0, 200);
}

async fn sign_in(server: &TestServer, username: &str, password: &str) -> (u16, Value) {
    let form = [
        ("grant_type", "password"),
        ("username", username),
        ("password", password),
        ("device_id", "guesser"),
        ("device_kind", "web"),
    ];
    server.token_call(&form).await
}

#[tokio::test]
async fn a_password_is_guessed_slowly_wherever_it_can_be_guessed() {
    let server = with_rates(|config| config.limits.sign_ins_per_minute_per_user = 4).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    for _ in 0..3 {
        let (status, error) = sign_in(&server, &ann.username, "guess").await;
        assert_eq!(
            (status, error["error"].as_str()),
            (400, Some("invalid_grant"))
        );
    }
    // One more than allowed, and the right one is not told from a wrong one.
    let (status, refusal) = sign_in(&server, &ann.username, "password-1").await;
    assert_eq!(status, 429);
    too_often(&refusal, 60 * SECOND);
    // A name nobody has is counted as well, so that it is not told from one that somebody has.
    for _ in 0..4 {
        assert_eq!(sign_in(&server, "nobody", "guess").await.0, 400);
    }
    assert_eq!(sign_in(&server, "nobody", "guess").await.0, 429);
    let body = json!({"current": "guess", "new": "password-2"});
    for expected in [403, 403, 403, 403, 429] {
        let token = Some(bob.token.as_str());
        let changed = server.call("PUT", "/v1/me/password", token, Some(body.clone()));
        assert_eq!(changed.await.0, expected);
    }
    assert_eq!(sign_in(&server, &bob.username, "password-1").await.0, 200);
}

#[tokio::test]
async fn sign_ins_and_registrations_of_an_address_are_counted() {
    let server = with_rates(|config| {
        config.limits.sign_ins_per_minute_per_address = 3;
        config.limits.registers_per_hour_per_address = 2;
    })
    .await;
    let ann = server.user("ann").await;
    assert_eq!(sign_in(&server, "one", "guess").await.0, 400);
    assert_eq!(sign_in(&server, "two", "guess").await.0, 400);
    let (status, refusal) = sign_in(&server, "three", "guess").await;
    assert_eq!(status, 429);
    too_often(&refusal, 60 * SECOND);
    let refresh = ann.tokens["refresh_token"].as_str().expect("a token");
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    assert_eq!(server.token_call(&form).await.0, 429);
    let register = async |name: &str| {
        let body = Some(json!({"username": name, "password": "password-1"}));
        server.call("POST", "/v1/users", None, body).await
    };
    assert_eq!(register("second").await.0, 201);
    let (status, refusal) = register("third").await;
    assert_eq!(status, 429);
    too_often(&refusal, HOUR);
}

#[tokio::test]
async fn rates_that_are_off_refuse_nothing() {
    let server = TestServer::with(|config| {
        rated(config);
        let limits = &mut config.limits;
        limits.rate = false;
        (limits.sends_per_s, limits.sends_burst) = (1, 1);
        (limits.requests_per_s, limits.requests_burst) = (1, 1);
        (limits.device_requests_per_s, limits.device_requests_burst) = (1, 1);
        (limits.searches_per_s, limits.searches_burst) = (1, 1);
        limits.friend_requests_per_hour = 1;
        limits.requests_burst_per_address = 1;
        limits.sign_ins_per_minute_per_user = 1;
        limits.registers_per_hour_per_address = 1;
    })
    .await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut phone = server.session(&ann).await;
    for n in 1..=5 {
        let sent = phone.send_text(&bob.id, &n.to_string(), "x").await;
        assert_eq!(sent["ok"]["seq"], n);
        let found = server.call("GET", "/v1/users?query=bob", Some(&ann.token), None);
        assert_eq!(found.await.0, 200);
        assert_eq!(sign_in(&server, &bob.username, "guess").await.0, 400);
    }
}

#[tokio::test]
async fn a_handshake_over_the_cap_of_its_address_is_refused_until_one_goes() {
    let server = TestServer::with(|config| config.limits.connections_per_address = 2).await;
    let url = format!("ws://{}/v1/ws", server.app().address);
    let first = server.connect(None).await;
    let _second = server.connect(None).await;
    let refused = tokio_tungstenite::connect_async(&url).await;
    let tokio_tungstenite::tungstenite::Error::Http(response) = refused.expect_err("refused")
    else {
        panic!("an HTTP answer");
    };
    assert_eq!(response.status(), 429);
    let body = response.body().clone().expect("a body");
    too_often(&serde_json::from_slice(&body).expect("JSON"), SECOND);
    drop(first);
    let again = async {
        while tokio_tungstenite::connect_async(&url).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again)
        .await
        .expect("room when one has gone");
}

#[tokio::test]
async fn a_socket_over_the_cap_of_all_is_told_and_closed() {
    let server = TestServer::with(|config| config.limits.connections = 2).await;
    let address = server.app().address;
    let ask = async |socket: &mut TcpStream| {
        let request = b"GET /healthz HTTP/1.1\r\nhost: kith\r\n\r\n";
        socket.write_all(request).await.expect("writes");
        let mut answer = vec![0; 1024];
        let read = socket.read(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(address).await.expect("connects");
        assert!(ask(&mut socket).await.starts_with("HTTP/1.1 200"));
        open.push(socket);
    }
    let mut refused = TcpStream::connect(address).await.expect("connects");
    let mut answer = String::new();
    let reading = refused.read_to_string(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(5), reading).await;
    read.expect("an answer in time").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(answer.contains("\"code\":\"rate_limited\""), "{answer}");
    open.clear();
    let again = async {
        loop {
            let mut socket = TcpStream::connect(address).await.expect("connects");
            let request = b"GET /healthz HTTP/1.1\r\nhost: kith\r\nconnection: close\r\n\r\n";
            let mut answer = String::new();
            if socket.write_all(request).await.is_ok()
                && socket.read_to_string(&mut answer).await.is_ok()
                && answer.starts_with("HTTP/1.1 200")
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again)
        .await
        .expect("room when they have gone");
}

#[tokio::test]
async fn a_rate_of_nothing_is_refused_at_start() {
    for name in ["KITH_LIMITS__SEARCHES_PER_S", "KITH_LIMITS__REQUESTS_BURST"] {
        let environment = [(name.to_owned(), "0".to_owned())];
        let loaded = Config::load(None, environment.into_iter());
        let why = loaded.expect_err("nobody could do anything").to_string();
        assert!(why.contains("at least 1"), "{why}");
    }
}
