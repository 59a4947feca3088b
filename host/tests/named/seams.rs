//! The errors that come of the server's own trouble, each by its name: faults are made below the gateway, in what it
//! stands on, and what comes of them is looked at from outside.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, header};
use kith::delivery::presence::PresenceTeller;
use kith::gateway::conversations::{self, Conversations};
use kith::gateway::listen::AddressCount;
use kith::gateway::{Caller, ConnectionLimits, Doorkeeper, Gateway};
use kith::ids::UserId;
use kith::journey::reads::PageLimits;
use kith::journey::search::Finder;
use kith::refusal::{Code, Refusal};
use kith::session::OutboxLimits;
use kith::session::registry::{Registry, SessionRules};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{World, said};
use crate::parts::Parts;
use crate::support::PATIENCE;

#[tokio::test]
async fn error_internal() {
    let world = World::with_plugins().await;
    let conversation = world.direct().await;
    // What decided the entry is recorded, and the record is damaged.
    let path = world.server.data().join("accounts.sqlite");
    let stored = rusqlite::Connection::open(path).expect("opens");
    stored
        .busy_timeout(PATIENCE)
        .and_then(|()| stored.execute("UPDATE generations SET bindings = 'damaged'", []))
        .expect("damaged");
    let route = format!("GET /conversations/{conversation}/entries/1");
    let refusal = world.admin(500, &route, None).await;
    assert_eq!(refusal["code"], "internal");
    let says = refusal["message"].as_str().expect("a message");
    assert!(
        !says.contains("damaged"),
        "nothing of what is stored: {says}"
    );
}

#[tokio::test]
async fn error_unavailable() {
    let world = World::bare().await;
    // Nothing here searches.
    let refusal = world.no("unavailable", &world.ann, "GET /v1/search?q=x", None);
    assert!(refusal.await["retry_after_ms"].as_u64() > Some(0));
}

/// Takes a token for the user's id.
struct OpenDoor;

#[async_trait]
impl Doorkeeper for OpenDoor {
    async fn authenticate(&self, token: &str) -> Result<Caller, Refusal> {
        let unknown = |_| Refusal::new(Code::Unauthenticated, "no user's id");
        let user = token.parse().map_err(unknown)?;
        let device = "phone".to_owned();
        Ok(Caller {
            user,
            device,
            family: 1,
        })
    }

    async fn admit_connection(
        &self,
        _: &Caller,
        _: &str,
        _: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    async fn profile(&self, user: UserId) -> Result<Value, Refusal> {
        Ok(json!({"id": user}))
    }

    async fn name_device(&self, _: &Caller, _: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn admit_send(&self, _: UserId) -> Result<(), Refusal> {
        Ok(())
    }

    fn admit_request(&self, _: UserId) -> Result<(), Refusal> {
        Ok(())
    }

    fn admit_search(&self, _: UserId) -> Result<(), Refusal> {
        Ok(())
    }

    fn admit_signal(&self, _: UserId) -> Result<(), Refusal> {
        Ok(())
    }
}

/// The routes of conversations on parts of a server.
fn routes_on(parts: &Parts) -> axum::Router {
    let rules = SessionRules {
        heartbeat: Duration::from_secs(30),
        slow: Duration::from_secs(30),
        per_kind: 5,
    };
    let registry = Arc::new(Registry::new(rules, 0));
    let pages = PageLimits {
        default: 50,
        most: 200,
    };
    let gateway = Gateway {
        journey: parts.journey.clone(),
        registry: registry.clone(),
        presence: Arc::new(PresenceTeller::new(parts.journey.clone(), registry)),
        doorkeeper: Arc::new(OpenDoor),
        clock: parts.clock.clone(),
        outboxes: Arc::new(OutboxLimits::new(1 << 20, 1 << 24, 1 << 16)),
        limits: ConnectionLimits {
            hello: PATIENCE,
            frame_bytes: 65_536,
            text_chars: 8000,
            pages,
            requests: None,
            typing_members: 100,
        },
        next_session: AtomicU64::new(1),
    };
    let state = Conversations {
        gateway: Arc::new(gateway),
        addresses: AddressCount::new(0),
        finder: Arc::new(Finder::new(parts.log.clone(), None)),
    };
    conversations::routes().with_state(state).into()
}

#[tokio::test]
async fn error_timeout() {
    let parts = Parts::open().await;
    let (ann, bob) = (parts.user("ann").await, parts.user("bob").await);
    let (conversation, _) = parts.send(ann, bob, "1", "hello").await;
    let routes = routes_on(&parts);
    let send = async || {
        let body = json!({"client_id": "2", "content": said("are you there")});
        let request = Request::post(format!("/v1/conversations/{conversation}/entries"))
            .header(header::AUTHORIZATION, format!("Bearer {ann}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request");
        let response = routes.clone().oneshot(request).await.expect("an answer");
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        let body: Value = serde_json::from_slice(&bytes.expect("a body")).expect("JSON");
        (status, body)
    };
    // It is stored, and nobody is left to say so.
    parts.lose_settlements(true);
    let (status, refusal) = send().await;
    assert_eq!((status, refusal["code"].as_str()), (504, Some("timeout")));
    parts.lose_settlements(false);
    // As the protocol tells: again, with the same `client_id`.
    let (status, ack) = send().await;
    assert_eq!((status, ack["seq"].as_u64()), (200, Some(2)), "{ack}");
}
