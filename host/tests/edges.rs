//! The edges of connections and of REST: goodbyes that arrive, floods before hello, what the administration answers to
//! nonsense, and that the OpenAPI documents say what is served; by the protocol.

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::crash::process::ServerProcess;
use crate::support::{BOOTSTRAP, Ended, PATIENCE, TestServer};

#[tokio::test]
async fn a_clients_own_close_is_answered() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let greeted = server.session(&ann).await;
    for mut socket in [server.connect(None).await, greeted] {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        socket.socket.close(Some(frame)).await.expect("closes");
        assert_eq!(socket.frame().await, Err(Ended::Closed(1000)));
    }
}

#[tokio::test]
async fn the_goodbye_to_a_frame_that_is_too_large_arrives_and_ends_without_a_reset() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let mut socket = server.session(&ann).await;
    // Larger than what the sockets hold, so that the server is still being written to when it says goodbye.
    let sending = socket.socket.get_mut();
    let payload = vec![b'x'; 300_000];
    let mut frame = vec![0x81, 0xff];
    frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&payload);
    tokio::io::AsyncWriteExt::write_all(sending, &frame)
        .await
        .expect("writes");
    assert_eq!(
        socket.end().await,
        (Some("too_large".into()), Ended::Closed(4413))
    );
    let after = tokio::time::timeout(PATIENCE, socket.socket.next()).await;
    let after = after.expect("the end in time");
    assert!(
        matches!(
            after,
            None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed))
        ),
        "{after:?}"
    );
}

#[tokio::test]
async fn who_floods_and_never_reads_before_hello_has_no_longer_than_others() {
    let server = TestServer::with(|config| config.session.hello_ms = 500).await;
    let mut socket = server.connect(None).await;
    let flood = async {
        loop {
            let long = "x".repeat(20_000);
            let message = Message::text(json!({"id": 1, "op": "hello", "token": long}).to_string());
            if futures_util::SinkExt::send(&mut socket.socket, message)
                .await
                .is_err()
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, flood)
        .await
        .expect("the connection ends");
}

#[tokio::test]
async fn a_drain_says_goodbye_before_hello_too() {
    let mut server = TestServer::bare().await;
    let mut socket = server.connect(None).await;
    let app = server.app.take().expect("a running server");
    let (end, ()) = tokio::join!(socket.end(), app.drain());
    assert_eq!(end, (Some("draining".into()), Ended::Closed(4503)));
}

#[tokio::test]
async fn asking_to_reload_does_not_end_the_server() {
    let server = ServerProcess::start().await;
    let pid = rustix::process::Pid::from_raw(server.pid().cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("a signal");
    // The signal has arrived when `kill` returns: a server that it ended would answer nothing more.
    for _ in 0..20 {
        assert_eq!(server.get("/healthz").await.0, 200);
    }
}

#[tokio::test]
async fn the_administration_answers_nonsense_with_documented_errors() {
    let server = TestServer::bare().await;
    let call = |method: &str, path: &str, body: &'static str| {
        let method: reqwest::Method = method.parse().expect("a method");
        let request = server.http.request(method, server.admin_url(path));
        request
            .bearer_auth(BOOTSTRAP)
            .header("content-type", "application/json")
            .body(body)
            .send()
    };
    for (method, path, body, status) in [
        ("POST", "/held/1/refuse", "{}", 400),
        ("POST", "/held/1/refuse", "{", 400),
        ("POST", "/tokens", r#"{"name":1}"#, 400),
        ("POST", "/words", "[]", 400),
        ("POST", "/plugins/none/activate", "nonsense", 400),
        ("GET", "/users?limit=x", "", 400),
        ("GET", "/users?limit=0", "", 400),
        ("GET", "/held?cursor=x", "", 400),
        ("GET", "/nothing", "", 404),
        ("DELETE", "/users", "", 405),
    ] {
        let response = call(method, path, body).await.expect("an answer");
        assert_eq!(response.status(), status, "{method} {path}");
        let refusal: Value = response.json().await.expect("JSON");
        assert!(refusal["code"].is_string(), "{method} {path}: {refusal}");
    }
}

#[tokio::test]
async fn the_documents_say_where_every_parameter_stands() {
    let server = TestServer::bare().await;
    for url in [
        server.url("/v1/openapi.json"),
        server.admin_url("/openapi.json"),
    ] {
        let document = server.http.get(&url).send().await.expect("an answer");
        let document: Value = document.json().await.expect("JSON");
        for (path, methods) in document["paths"].as_object().expect("paths") {
            let wanted: Vec<&str> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            for (method, route) in methods.as_object().expect("methods") {
                let none = Vec::new();
                let parameters = route["parameters"].as_array().unwrap_or(&none);
                let mut found: Vec<&str> = Vec::new();
                let of_the_url = |parameter: &&Value| parameter["in"] != "header";
                for parameter in parameters.iter().filter(of_the_url) {
                    let name = parameter["name"].as_str().expect("a name");
                    let in_path = wanted.contains(&name);
                    let expected = if in_path { "path" } else { "query" };
                    assert_eq!(parameter["in"], expected, "{method} {path}: {name}");
                    if in_path {
                        assert_eq!(parameter["required"], true, "{method} {path}: {name}");
                        found.push(name);
                    }
                }
                found.sort_unstable();
                let mut all = wanted.clone();
                all.sort_unstable();
                assert_eq!(found, all, "{method} {path} declares its path");
            }
        }
    }
}
