//! The two encodings of frames: JSON in text frames, MessagePack in binary ones, with the same field names.
//! It knows neither requests nor events.

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::WireError;

/// How frames are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    Json,
    Msgpack,
}

impl Codec {
    pub const ALL: [Self; 2] = [Self::Json, Self::Msgpack];

    /// The WebSocket subprotocol that stands for it.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "kith.v1.json",
            Self::Msgpack => "kith.v1.msgpack",
        }
    }

    /// A frame of any value.
    pub fn encode(self, value: &Value) -> Message {
        match self {
            Self::Json => Message::text(value.to_string()),
            Self::Msgpack => Message::binary(
                rmp_serde::to_vec_named(value).expect("a JSON value always encodes"),
            ),
        }
    }

    /// The value of a data frame; a frame of the other kind is unintelligible.
    pub fn decode(self, message: &Message) -> Result<Value, WireError> {
        let wrong = |why: String| WireError::Unintelligible(why);
        match (self, message) {
            (Self::Json, Message::Text(text)) => {
                serde_json::from_str(text).map_err(|error| wrong(format!("{error} in {text}")))
            }
            (Self::Msgpack, Message::Binary(bytes)) => {
                rmp_serde::from_slice(bytes).map_err(|error| wrong(error.to_string()))
            }
            _ => Err(wrong(format!(
                "a frame of the wrong kind for {}",
                self.subprotocol()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let value = json!({"id": u32::MAX, "op": "send", "text": "你好 ✓", "list": [1, -2, 3.5, null, true]});
        for codec in Codec::ALL {
            assert_eq!(codec.decode(&codec.encode(&value)), Ok(value.clone()));
        }
    }

    #[test]
    fn a_frame_of_the_other_kind_is_unintelligible() {
        for (one, other) in [(Codec::Json, Codec::Msgpack), (Codec::Msgpack, Codec::Json)] {
            let error = other
                .decode(&one.encode(&json!({})))
                .expect_err("of the other kind");
            assert_eq!(error.code(), "unintelligible");
        }
    }
}
