//! The first-party observer: signed deliveries, repeated until they are taken, each event known by its id; where it is not
//! granted its receiver, nothing leaves.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::receiver::{Receiver, Taken};
use crate::support::{TestServer, plugins_folder};

const SECRET: &str = "a-secret-of-the-tests";

async fn serving(receiver: &Receiver, grants: &str) -> TestServer {
    let server = TestServer::bare().await;
    let file = plugins_folder().join("webhook-out.wasm");
    let (status, pushed) = server.push(std::fs::read(file).expect("the plugin")).await;
    assert_eq!(status, 201, "{pushed}");
    let wanted = json!({"version": pushed["version"], "grants": grants});
    let route = "/plugins/webhook-out/activate";
    let (status, done) = server.admin("POST", route, Some(wanted)).await;
    assert_eq!(status, 200, "{done}");
    let values = json!({"values": {"url": receiver.url("/hook"), "secret": SECRET}});
    let route = "/plugins/webhook-out/config";
    let (status, done) = server.admin("PUT", route, Some(values)).await;
    assert_eq!(status, 200, "{done}");
    server
}

/// Waits until so many were taken.
async fn taken(receiver: &Receiver, count: usize) -> Vec<Taken> {
    let arrived = async {
        while receiver.all().len() < count {
            receiver.desk.arrived.notified().await;
        }
    };
    let waited = tokio::time::timeout(crate::support::PATIENCE, arrived).await;
    waited.expect("deliveries in time");
    receiver.all()
}

fn header<'a>(taken: &'a Taken, name: &str) -> &'a str {
    let value = taken
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// HMAC-SHA256 as RFC 2104 has it, for keys of up to 64 bytes.
fn hmac(key: &str, message: &[u8]) -> String {
    let padded = |with: u8| {
        let mut block = [with; 64];
        block
            .iter_mut()
            .zip(key.bytes())
            .for_each(|(pad, byte)| *pad ^= byte);
        block
    };
    let inner = Sha256::new()
        .chain_update(padded(0x36))
        .chain_update(message)
        .finalize();
    let outer = Sha256::new()
        .chain_update(padded(0x5c))
        .chain_update(inner)
        .finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn deliveries_are_signed_repeated_until_taken_and_in_order() {
    let receiver = Receiver::start().await;
    *receiver.desk.refusing.lock() = 2;
    let grants = format!("http:private={},metrics", receiver.host());
    let server = serving(&receiver, &grants).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    for n in 0..3 {
        let reply = socket
            .send_text(&bob.id, &format!("n{n}"), &format!("hello {n}"))
            .await;
        assert!(reply["ok"]["seq"].is_u64(), "{reply}");
    }
    let all = taken(&receiver, 5).await;
    let texts: Vec<String> = all
        .iter()
        .map(|taken| {
            let signed = [header(taken, "kith-event").as_bytes(), b".", &taken.body].concat();
            let signature = format!("sha256={}", hmac(SECRET, &signed));
            assert_eq!(header(taken, "kith-signature"), signature);
            let body: Value = serde_json::from_slice(&taken.body).expect("JSON");
            assert_eq!(body["id"], header(taken, "kith-event"));
            assert_eq!(body["from"], ann.id.as_str());
            body["content"]["text"].as_str().expect("a text").to_owned()
        })
        .collect();
    assert_eq!(
        texts,
        ["hello 0", "hello 0", "hello 0", "hello 1", "hello 2"]
    );
    let attempts: Vec<_> = all
        .iter()
        .map(|taken| header(taken, "kith-attempt"))
        .collect();
    assert_eq!(attempts, ["0", "1", "2", "0", "0"]);
}

#[tokio::test]
async fn without_the_receivers_grant_nothing_leaves_and_the_report_says_why() {
    let receiver = Receiver::start().await;
    let server = serving(&receiver, "http:host=elsewhere.example,metrics").await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    socket.send_text(&bob.id, "1", "hello").await;
    let refused = async {
        loop {
            let (_, report) = server
                .admin("GET", "/plugins/webhook-out/consumers", None)
                .await;
            if report["consumers"].to_string().contains("is not granted") {
                return report;
            }
        }
    };
    let report = tokio::time::timeout(crate::support::PATIENCE, refused)
        .await
        .expect("in time");
    assert!(report["metrics"]["failed"].as_u64() > Some(0), "{report}");
    assert_eq!(receiver.all().len(), 0);
}
