//! Live WebSockets of both subprotocols under odd requests and broken frames: each request is answered once, each frame
//! that is none ends its connection as the protocol says, and others talk on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kith::gateway::ops::OPS;
use kith::refusal::Code;
use kith::session::Codec;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use super::frames::{hostile, message, packed};
use super::{odd, rounds, seeded};
use crate::properties::seeded::Seeded;
use crate::support::{Ended, PATIENCE, TestServer, TestSocket, TestUser};

/// The server's default for a frame.
const FRAME_BYTES: usize = 65_536;
const EVENTS: [&str; 8] = [
    "entry",
    "conversation",
    "gone",
    "receipt",
    "typing",
    "presence",
    "held",
    "behind",
];

/// What the protocol makes of a frame.
#[derive(Debug, PartialEq, Eq)]
enum Meant {
    Request(u32),
    BadFrame,
    TooLarge,
}

/// By the protocol's words alone.
fn meant(codec: Codec, frame: &Message) -> Meant {
    if frame.len() > FRAME_BYTES {
        return Meant::TooLarge;
    }
    let read = match (codec, frame) {
        (Codec::Json, Message::Text(text)) => serde_json::from_str::<Value>(text).ok(),
        (Codec::Msgpack, Message::Binary(bytes)) => {
            let mut reading = rmp_serde::Deserializer::new(&bytes[..]);
            reading.set_max_depth(128);
            let read = Value::deserialize(&mut reading).ok();
            read.filter(|_| reading.get_ref().is_empty())
        }
        _ => None,
    };
    let Some(Value::Object(fields)) = read else {
        return Meant::BadFrame;
    };
    let id = fields.get("id").and_then(Value::as_u64);
    match (id.map(u32::try_from), fields.get("op")) {
        (Some(Ok(id)), Some(Value::String(_))) => Meant::Request(id),
        _ => Meant::BadFrame,
    }
}

fn framed(codec: Codec, request: &Value) -> Message {
    match codec {
        Codec::Json => Message::text(request.to_string()),
        Codec::Msgpack => Message::binary(packed(request)),
    }
}

/// One client that behaves oddly.
struct Odd {
    server: TestServer,
    codec: Codec,
    user: TestUser,
    /// Ids that mean something, and some that are others'.
    users: Vec<String>,
    conversations: Vec<String>,
    random: Seeded,
    socket: Option<TestSocket>,
    asked: u64,
}

impl Odd {
    async fn hello(&mut self) -> TestSocket {
        let name = match self.codec {
            Codec::Json => "kith.v1.json",
            Codec::Msgpack => "kith.v1.msgpack",
        };
        let mut socket = self.server.connect(Some(name)).await;
        if self.random.one_in(3) {
            // What is no good hello is told, and may be said better.
            let wrong =
                json!({"id": 1, "op": "hello", "token": 1, "device": odd::value(&mut self.random)});
            socket.raw(framed(self.codec, &wrong)).await;
            check(&socket.reply(1).await);
        }
        let device = json!({"id": "phone", "kind": "web"});
        let hello = json!({"id": 2, "op": "hello", "token": self.user.token, "device": device});
        socket.raw(framed(self.codec, &hello)).await;
        let reply = socket.reply(2).await;
        assert!(reply["ok"].is_object(), "{reply}");
        socket
    }

    async fn line(&mut self) -> TestSocket {
        match self.socket.take() {
            Some(socket) => socket,
            None => self.hello().await,
        }
    }

    fn request(&mut self, id: u32) -> Value {
        let random = &mut self.random;
        let conversation = random.pick(&self.conversations).clone();
        let user = random.pick(&self.users).clone();
        let op = match random.one_in(20) {
            true => odd::text(random),
            false => (*random.pick(&OPS)).to_owned(),
        };
        let to = match random.one_in(2) {
            true => json!({"user": user}),
            false => json!({"conversation": conversation}),
        };
        let mut fields = json!({
            "to": to, "client_id": format!("c{}", random.below(50)), "conversation": conversation,
            "content": content(random), "seq": random.below(6), "emoji": "👍", "on": random.one_in(2),
            "text": "about to", "users": [user], "watch": random.one_in(2), "since": "0",
            "pinned": random.one_in(2), "limit": 1 + random.below(3),
        });
        for _ in 0..random.below(3) {
            odd::spoil(&mut fields, random);
        }
        let mut request = match fields {
            Value::Object(_) => fields,
            other => json!({"strange": other}),
        };
        request["id"] = id.into();
        request["op"] = op.into();
        request
    }

    /// Many at once: each is answered, once.
    async fn batch(&mut self) {
        let mut socket = self.line().await;
        let mut waiting = BTreeMap::new();
        for _ in 0..=self.random.below(24) {
            let id = self.random.below(1 << 32) as u32;
            let request = self.request(id);
            let frame = framed(self.codec, &request);
            if meant(self.codec, &frame) == Meant::Request(id) && !waiting.contains_key(&id) {
                socket.raw(frame).await;
                waiting.insert(id, request);
                self.asked += 1;
            }
        }
        let mut pinged = false;
        while !pinged || !waiting.is_empty() {
            if waiting.is_empty() {
                let id = 0;
                let ping = json!({"id": id, "op": "ping"});
                pinged = true;
                socket.raw(framed(self.codec, &ping)).await;
                waiting.insert(id, ping);
            }
            let frame = tokio::time::timeout(PATIENCE / 2, socket.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("never answered: {waiting:?}"));
            let frame = frame.expect("an answer before the end");
            if let Some(id) = check(&frame) {
                let asked = waiting.remove(&id);
                assert!(asked.is_some(), "answered and not asked: {frame}");
            }
        }
        self.socket = Some(socket);
    }

    /// One frame that may be anything.
    async fn broken(&mut self) {
        let bytes = match self.random.below(12) {
            0 => vec![b' '; FRAME_BYTES + 1 + self.random.below(2000) as usize],
            1 => {
                let mut bytes = packed(&json!({"id": 1, "op": "ping", "x": "x".repeat(65_500)}));
                bytes.truncate(FRAME_BYTES);
                bytes
            }
            _ => hostile(self.codec, &mut self.random),
        };
        let other = match self.codec {
            Codec::Json => Codec::Msgpack,
            Codec::Msgpack => Codec::Json,
        };
        let kind = if self.random.one_in(10) {
            other
        } else {
            self.codec
        };
        let Some(frame) = message(kind, bytes) else {
            return;
        };
        let mut socket = self.line().await;
        let meant = meant(self.codec, &frame);
        let shown = format!("{frame:?}").chars().take(400).collect::<String>();
        socket.raw(frame).await;
        match meant {
            Meant::Request(id) => {
                check(&socket.reply(id).await);
                self.asked += 1;
                self.socket = Some(socket);
            }
            Meant::BadFrame => {
                let end = (Some("bad_frame".to_owned()), Ended::Closed(4400));
                assert_eq!(socket.end().await, end, "{shown}");
            }
            Meant::TooLarge => {
                let end = (Some("too_large".to_owned()), Ended::Closed(4413));
                assert_eq!(socket.end().await, end, "{shown}");
            }
        }
    }

    /// Bytes that are no WebSocket.
    async fn unframed(&mut self) {
        let mut socket = self.line().await;
        let no_mask = [0; 4];
        let (bytes, reason, code): (Vec<u8>, _, _) = match self.random.below(7) {
            0 => (vec![0x83, 0x80, 0, 0, 0, 0], "bad_frame", 4400),
            1 => (vec![0x81, 0x02, b'{', b'}'], "bad_frame", 4400),
            2 => (vec![0x80, 0x80, 0, 0, 0, 0], "bad_frame", 4400),
            3 => (vec![0xc1, 0x80, 0, 0, 0, 0], "bad_frame", 4400),
            4 => (vec![0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe], "bad_frame", 4400),
            5 => {
                let head = [0x89, 0xfe, 0, 126, 0, 0, 0, 0];
                ([&head[..], &[b'x'; 126]].concat(), "bad_frame", 4400)
            }
            _ => {
                let head = [0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
                ([&head[..], &no_mask].concat(), "too_large", 4413)
            }
        };
        let sending = socket.socket.get_mut();
        sending.write_all(&bytes).await.expect("writes");
        let end = (Some(reason.to_owned()), Ended::Closed(code));
        let ended = tokio::time::timeout(PATIENCE / 2, socket.end()).await;
        let ended = ended.unwrap_or_else(|_| panic!("no end after {bytes:?}"));
        assert_eq!(ended, end, "{bytes:?}");
    }

    /// Whatever, and gone: nothing can be told to who does not listen.
    async fn noise(&mut self) {
        let mut socket = self.line().await;
        let noise: Vec<u8> = (0..self.random.below(300))
            .map(|_| self.random.below(256) as u8)
            .collect();
        // The server may have hung up in the middle of it.
        let _ = socket.socket.get_mut().write_all(&noise).await;
    }
}

fn content(random: &mut Seeded) -> Value {
    match random.below(8) {
        0 => json!({"type": "location", "lat": 1.5, "lon": -2.25, "title": "here"}),
        1 => json!({"type": "card", "title": "one", "url": "https://example.com"}),
        2 => json!({"type": "custom", "name": "x", "data": {"a": [1, {"b": null}]}}),
        3 => json!({"type": "image", "media": "1", "mime": "image/png", "bytes": 10}),
        4 => json!({"type": "text", "text": odd::text(random), "mentions": ["all"]}),
        _ => json!({"type": "text", "text": format!("words {}", random.below(9))}),
    }
}

/// A frame of the server's is as the protocol has it; whose answer it is.
fn check(frame: &Value) -> Option<u32> {
    if frame["re"].is_null() {
        let event = frame["ev"].as_str().expect("an event");
        assert!(EVENTS.contains(&event), "{frame}");
        return None;
    }
    let id = frame["re"].as_u64().and_then(|id| u32::try_from(id).ok());
    if frame["ok"].is_null() {
        let code = frame["err"]["code"].as_str().expect("a code");
        assert!(
            Code::ALL.iter().any(|known| known.as_str() == code),
            "{frame}"
        );
        assert!(!["internal", "timeout"].contains(&code), "{frame}");
        assert!(frame["err"]["message"].is_string(), "{frame}");
    } else {
        assert!(frame["ok"].is_object() && frame["err"].is_null(), "{frame}");
    }
    Some(id.expect("the id of a request"))
}

/// Two who only talk, until they are told to stop; how often they did.
async fn talk(
    (mut from, mut to): (TestSocket, TestSocket),
    other: String,
    stop: Arc<AtomicBool>,
) -> u64 {
    let mut said = 0;
    while !stop.load(Ordering::Relaxed) {
        said += 1;
        let ack = from.send_text(&other, &said.to_string(), "steady").await;
        assert_eq!(ack["ok"]["state"], "committed", "{ack}");
        let told = to.event("entry").await;
        assert_eq!(told["entry"]["seq"], ack["ok"]["seq"]);
    }
    said
}

async fn storm(codec: Codec, seed: u64) {
    let server = TestServer::with_plugins().await;
    let names = ["ann", "bob", "cat", "dan", "eve"];
    let mut users = Vec::new();
    for name in names {
        users.push(server.user(name).await);
    }
    let [ann, bob, cat, dan, eve] = users.try_into().ok().expect("five users");
    let mut conversations = vec!["1".to_owned()];
    for (one, other) in [(&ann, &bob), (&bob, &cat)] {
        let ack = server
            .session(one)
            .await
            .send_text(&other.id, "0", "hello")
            .await;
        conversations.push(
            ack["ok"]["conversation"]
                .as_str()
                .expect("an id")
                .to_owned(),
        );
    }
    let body = json!({"title": "us", "members": [bob.id, cat.id]});
    let (_, group) = server
        .call("POST", "/v1/groups", Some(&ann.token), Some(body))
        .await;
    conversations.push(group["id"].as_str().expect("an id").to_owned());
    let talkers = (server.session(&dan).await, server.session(&eve).await);
    let stop = Arc::new(AtomicBool::new(false));
    let talking = tokio::spawn(talk(talkers, eve.id.clone(), stop.clone()));
    let mut odd = Odd {
        users: vec![
            ann.id.clone(),
            bob.id.clone(),
            cat.id.clone(),
            "1".to_owned(),
        ],
        server,
        codec,
        user: ann,
        conversations,
        random: seeded(seed),
        socket: None,
        asked: 0,
    };
    for _ in 0..rounds(250) {
        match odd.random.below(16) {
            0..6 => odd.batch().await,
            6 => odd.unframed().await,
            7 => odd.noise().await,
            _ => odd.broken().await,
        }
        assert!(!talking.is_finished(), "the others were disturbed");
    }
    stop.store(true, Ordering::Relaxed);
    let said = talking.await.expect("they talked on");
    assert!(
        said > 10 && odd.asked > rounds(250),
        "{said}, {}",
        odd.asked
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_json_is_answered_or_ends_its_connection_and_others_talk_on() {
    storm(Codec::Json, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_msgpack_is_answered_or_ends_its_connection_and_others_talk_on() {
    storm(Codec::Msgpack, 4).await;
}
