//! The decoder of frames by itself: whatever bytes come, it answers, and both codecs mean the same by the same fields.
//! No sockets.

use kith::gateway::frame::{BadFrame, Request, decode};
use kith::gateway::socket::Incoming;
use kith::session::Codec;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{odd, rounds, seeded};
use crate::properties::seeded::Seeded;

pub fn packed(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("encodes")
}

/// A request such as a client could send, its fields odd.
pub fn request(random: &mut Seeded) -> Value {
    let mut request = json!({
        "id": random.below(1 << 33), "op": "send", "to": {"user": "1"}, "client_id": "1", "reply_to": 1,
        "content": {"type": "text", "text": "hello", "mentions": ["all"]},
    });
    for _ in 0..random.below(4) {
        odd::spoil(&mut request, random);
    }
    request
}

fn text(said: String) -> Incoming<'static> {
    Incoming::Text(said.into_bytes().into())
}

fn binary(bytes: Vec<u8>) -> Incoming<'static> {
    Incoming::Binary(bytes.into())
}

/// What is decoded, comparable.
fn told(decoded: Result<Request, BadFrame>) -> Option<(u32, String, Value)> {
    let request = decoded.ok()?;
    Some((request.id, request.op, Value::Object(request.fields.into())))
}

#[test]
fn both_codecs_decode_the_same_fields_to_the_same_request() {
    let mut random = seeded(1);
    let mut good = 0;
    for _ in 0..rounds(40_000) {
        let request = request(&mut random);
        let json = decode(Codec::Json, &text(request.to_string()));
        let msgpack = decode(Codec::Msgpack, &binary(packed(&request)));
        let (json, msgpack) = (told(json), told(msgpack));
        assert_eq!(json, msgpack, "{request}");
        good += u64::from(json.is_some());
    }
    assert!(good > rounds(4000), "only {good} were requests");
}

/// Bytes that lie, nest, repeat themselves or are none of the codec's.
pub fn hostile(codec: Codec, random: &mut Seeded) -> Vec<u8> {
    let mut bytes = match (random.below(8), codec) {
        (0, _) => (0..random.below(200))
            .map(|_| random.below(256) as u8)
            .collect(),
        (1, Codec::Json) => nested(b"{\"id\":1,\"op\":\"ping\",\"x\":", b"[", random),
        (1, Codec::Msgpack) => nested(&open_map(3), &[0x91], random),
        (2, Codec::Json) => format!(
            "{{\"id\":1,\"op\":\"ping\",\"n\":{}{}}}",
            "9".repeat(random.below(400) as usize + 1),
            random.pick(&["", ".5", "e5", "e400", "e-400", "e", "."])
        )
        .into_bytes(),
        (2, Codec::Msgpack) => lie(random),
        (3, Codec::Json) => {
            br#"{"id":1,"id":"2","op":"ping","op":"\ud800","id":2,"op":"ping","\u0000":"\udc00"}"#
                .to_vec()
        }
        (3, Codec::Msgpack) => {
            // Twice the same name, then a text that is no UTF-8.
            let mut twice = open_map(4);
            twice.extend(packed(&json!("id")));
            twice.extend(packed(&json!(2)));
            twice.extend([0xa1, b'x', 0xa2, 0xc3, 0x28]);
            twice
        }
        (_, Codec::Json) => request(random).to_string().into_bytes(),
        (_, Codec::Msgpack) => packed(&request(random)),
    };
    if random.one_in(2) {
        odd::garble(&mut bytes, random);
    }
    bytes
}

/// A map of so many fields, the first two of them `id` and `op`.
fn open_map(fields: u8) -> Vec<u8> {
    let mut bytes = vec![0x80 | fields];
    for part in [json!("id"), json!(1), json!("op"), json!("ping")] {
        bytes.extend(packed(&part));
    }
    bytes
}

fn nested(head: &[u8], level: &[u8], random: &mut Seeded) -> Vec<u8> {
    let levels = *random.pick(&[10, 127, 128, 129, 1000, 1023, 1025, 30_000]);
    let mut bytes = head.to_vec();
    if head[0] & 0xf0 == 0x80 {
        bytes.extend(packed(&json!("x")));
    }
    for _ in 0..levels {
        bytes.extend(level);
    }
    bytes
}

/// A length that is not there: text, bytes, lists, maps and extensions of up to four thousand million.
fn lie(random: &mut Seeded) -> Vec<u8> {
    let mut bytes = open_map(3);
    bytes.extend(packed(&json!("x")));
    let marker = *random.pick(&[0xdb, 0xc6, 0xdd, 0xdf, 0xc9, 0xda, 0xdc, 0xde]);
    for _ in 0..=random.below(40) {
        bytes.push(marker);
        bytes.extend([0xff; 4]);
    }
    bytes
}

/// As the socket hands it on; `None` where it would not: text is UTF-8.
pub fn message(codec: Codec, bytes: Vec<u8>) -> Option<Message> {
    match codec {
        Codec::Json => Some(Message::text(String::from_utf8(bytes).ok()?)),
        Codec::Msgpack => Some(Message::binary(bytes)),
    }
}

#[test]
fn whatever_bytes_come_are_decoded_or_are_a_bad_frame() {
    let mut random = seeded(2);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..rounds(40_000) {
        let codec = *random.pick(&[Codec::Json, Codec::Msgpack]);
        let Some(message) = message(codec, hostile(codec, &mut random)) else {
            continue;
        };
        let arrived = match message {
            Message::Text(said) => text(said.to_string()),
            other => binary(other.into_data().to_vec()),
        };
        match told(decode(codec, &arrived)) {
            None => bad += 1,
            Some((id, op, fields)) => {
                good += 1;
                // Decoded once, it goes both ways: nothing in it that cannot be written again.
                let mut again = fields.clone();
                (again["id"], again["op"]) = (id.into(), op.as_str().into());
                let again = decode(Codec::Msgpack, &binary(packed(&again)));
                assert_eq!(told(again), Some((id, op, fields)));
            }
        }
    }
    assert!(
        good > rounds(2000) && bad > rounds(2000),
        "{good} and {bad}"
    );
}
