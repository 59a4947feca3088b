//! The wire codec: a frame to a request. What cannot be decoded, or has no usable `id` or `op`, is a bad frame and
//! ends the connection; everything else that is wrong is answered.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::protocol::frame::coding::Data;

use super::socket::Incoming;
use crate::ids::{ConversationId, UserId};
use crate::refusal::Refusal;
use crate::session::Codec;

/// A decoded request.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: u32,
    pub op: String,
    pub fields: Fields,
}

/// A frame that is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadFrame;

/// How deep a frame may nest, in either codec: what reads one needs some of the thread's stack for each level.
const LEVELS_MOST: usize = 128;

/// Decodes one data frame of the connection's codec.
pub fn decode(codec: Codec, message: &Incoming<'_>) -> Result<Request, BadFrame> {
    let mut fields: Fields = match (codec, message) {
        (Codec::Json, Incoming::Text(text)) => {
            serde_json::from_slice(text).map_err(|_| BadFrame)?
        }
        (Codec::Msgpack, Incoming::Binary(bytes)) => {
            // One object and nothing behind it, nested no deeper than JSON may be.
            let mut reading = rmp_serde::Deserializer::new(&bytes[..]);
            reading.set_max_depth(LEVELS_MOST);
            let fields = Deserialize::deserialize(&mut reading).map_err(|_| BadFrame)?;
            if !reading.get_ref().is_empty() {
                return Err(BadFrame);
            }
            fields
        }
        _ => return Err(BadFrame),
    };
    let id = fields
        .take("id")
        .and_then(|id| id.as_u64())
        .and_then(|id| u32::try_from(id).ok())
        .ok_or(BadFrame)?;
    let Some(Value::String(op)) = fields.take("op") else {
        return Err(BadFrame);
    };
    Ok(Request { id, op, fields })
}

/// The kind of frame a codec's replies and events are.
pub fn kind(codec: Codec) -> Data {
    match codec {
        Codec::Json => Data::Text,
        Codec::Msgpack => Data::Binary,
    }
}

/// The fields of a request, taken one by one; a field that is `null` is absent.
#[derive(Debug, Clone)]
pub struct Fields(Vec<(Cow<'static, str>, Value)>);

/// Names that nearly every request has; they are not copied.
const USUAL: [&str; 8] = [
    "id",
    "op",
    "to",
    "client_id",
    "content",
    "reply_to",
    "conversation",
    "seq",
];

impl From<Map<String, Value>> for Fields {
    fn from(map: Map<String, Value>) -> Self {
        let fields = map.into_iter();
        Self(fields.map(|(name, value)| (name.into(), value)).collect())
    }
}

impl From<Fields> for Map<String, Value> {
    fn from(fields: Fields) -> Self {
        let fields = fields.0.into_iter();
        fields
            .map(|(name, value)| (name.into_owned(), value))
            .collect()
    }
}

impl<'de> serde::Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;
        impl<'de> Visitor<'de> for OfMap {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::with_capacity(USUAL.len());
                while let Some(name) = map.next_key_seed(Name)? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(OfMap)
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'static, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Cow<'static, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }
    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        let usual = USUAL.iter().find(|usual| **usual == name);
        Ok(usual.map_or_else(|| name.to_owned().into(), |usual| (*usual).into()))
    }
    fn visit_bytes<E: serde::de::Error>(self, name: &[u8]) -> Result<Self::Value, E> {
        self.visit_str(std::str::from_utf8(name).map_err(E::custom)?)
    }
}

impl Fields {
    /// Takes a field out; of several with one name the last.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().rposition(|field| field.0 == name)?;
        let value = self.0.remove(at).1;
        // Of a name that stands twice the last counts, as it does everywhere.
        self.0.retain(|field| field.0 != name);
        Some(value).filter(|value| !value.is_null())
    }

    pub fn text(&mut self, name: &str) -> Result<String, Refusal> {
        self.text_or_none(name)?.ok_or_else(|| missing(name))
    }

    pub fn text_or_none(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "text")),
        }
    }

    pub fn bool(&mut self, name: &str) -> Result<bool, Refusal> {
        self.bool_or_none(name)?.ok_or_else(|| missing(name))
    }

    pub fn bool_or_none(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(bool)) => Ok(Some(bool)),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    /// A seq or a count: a whole number, not negative.
    pub fn number(&mut self, name: &str) -> Result<u64, Refusal> {
        self.number_or_none(name)?.ok_or_else(|| missing(name))
    }

    pub fn number_or_none(&mut self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => value
                .as_u64()
                .map(Some)
                .ok_or_else(|| wrong(name, "a whole number, not negative")),
        }
    }

    /// A limit: a whole number, of either sign, so that one below 1 can be told apart from one of a wrong type.
    pub fn limit(&mut self) -> Result<Option<i64>, Refusal> {
        match self.take("limit") {
            None => Ok(None),
            Some(value) => match (value.as_i64(), value.as_u64()) {
                (Some(limit), _) => Ok(Some(limit)),
                (None, Some(_)) => Ok(Some(i64::MAX)),
                _ => Err(wrong("limit", "a whole number")),
            },
        }
    }

    /// A conversation's id; one that is no id of ours is a conversation that does not exist.
    pub fn conversation(&mut self) -> Result<ConversationId, Refusal> {
        conversation_id(&self.text("conversation")?)
    }
}

/// Reads a conversation's id as a client gives it.
pub fn conversation_id(text: &str) -> Result<ConversationId, Refusal> {
    text.parse()
        .map_err(|_| Refusal::not_found("no such conversation"))
}

/// Reads a user's id as a client gives it.
pub fn user_id(text: &str) -> Result<UserId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("no such user"))
}

fn missing(name: &str) -> Refusal {
    Refusal::bad_request(format!("{name} is missing"))
}

fn wrong(name: &str, what: &str) -> Refusal {
    Refusal::bad_request(format!("{name} must be {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<Request, BadFrame> {
        decode(Codec::Json, &Incoming::Text(text.as_bytes().into()))
    }

    #[test]
    fn a_frame_without_a_usable_id_or_op_is_bad() {
        for bad in [
            "",
            "[]",
            "3",
            "{",
            r#"{"op":"ping"}"#,
            r#"{"id":1}"#,
            r#"{"id":-1,"op":"ping"}"#,
            r#"{"id":4294967296,"op":"ping"}"#,
            r#"{"id":"1","op":"ping"}"#,
            r#"{"id":1.5,"op":"ping"}"#,
            r#"{"id":1,"op":7}"#,
            r#"{"id":1,"op":"ping"} {}"#,
        ] {
            assert!(json(bad).is_err(), "{bad}");
        }
        assert_eq!(
            json(r#"{"id":4294967295,"op":"ping","more":1}"#).map(|r| r.id),
            Ok(u32::MAX)
        );
    }

    #[test]
    fn of_fields_with_one_name_the_last_counts() {
        let frame = r#"{"id":1,"op":"a","\u0073eq":5,"op":"b","seq":6,"limit":1,"limit":null}"#;
        let mut request = json(frame).expect("a request");
        assert_eq!(request.op, "b");
        assert_eq!(request.fields.number("seq"), Ok(6));
        assert_eq!(request.fields.limit(), Ok(None));
    }

    #[test]
    fn a_frame_of_the_other_kind_is_bad() {
        const PING: &[u8] = br#"{"id":1,"op":"ping"}"#;
        assert!(decode(Codec::Json, &Incoming::Binary(PING.into())).is_err());
        assert!(decode(Codec::Msgpack, &Incoming::Text(PING.into())).is_err());
        let packed =
            rmp_serde::to_vec_named(&serde_json::json!({"id": 7, "op": "ping"})).expect("encodes");
        assert_eq!(
            decode(Codec::Msgpack, &Incoming::Binary(packed.clone().into())).map(|r| r.id),
            Ok(7)
        );
        let followed = [packed, vec![0xc0]].concat();
        assert!(decode(Codec::Msgpack, &Incoming::Binary(followed.into())).is_err());
    }

    #[test]
    fn a_frame_nests_as_deep_in_either_codec() {
        for (levels, good) in [(126, true), (127, false), (1023, false), (60_000, false)] {
            let text = format!(
                r#"{{"id":1,"op":"ping","x":{}{}}}"#,
                "[".repeat(levels),
                "]".repeat(levels)
            );
            assert_eq!(json(&text).is_ok(), good, "{levels} levels of JSON");
            let mut packed = b"\x83\xa2id\x01\xa2op\xa4ping\xa1x".to_vec();
            packed.extend(std::iter::repeat_n(0x91, levels - 1));
            packed.push(0x90);
            let packed = decode(Codec::Msgpack, &Incoming::Binary(packed.into()));
            assert_eq!(packed.is_ok(), good, "{levels} levels of MessagePack");
        }
    }
}
