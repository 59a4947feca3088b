//! What a message says: the content types of the protocol, checked, and the texts in them that filters see.
//!
//! A content is kept as the compact JSON that is stored and sent; nothing re-encodes it for each reader. Nothing
//! here does I/O.

mod fingerprint;
pub mod media;

use std::fmt;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

pub use self::fingerprint::Fingerprint;
use crate::refusal::{Code, Refusal};

/// The bounds a content is checked against.
#[derive(Debug, Clone, Copy)]
pub struct ContentLimits {
    /// Unicode scalar values in a text.
    pub text_chars: usize,
    /// Bytes of a custom content's `data` as compact JSON.
    pub data_bytes: usize,
}

impl Default for ContentLimits {
    fn default() -> Self {
        Self {
            text_chars: 8000,
            data_bytes: 16 * 1024,
        }
    }
}

/// A checked content object.
#[derive(Clone, PartialEq)]
pub struct Content {
    kind: &'static str,
    fields: Map<String, Value>,
}

impl fmt::Debug for Content {
    /// Never the text: contents are not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({})", self.kind)
    }
}

/// What a type may carry: its fields, and which of them are text for filters and where they stand.
struct Shape {
    kind: &'static str,
    fields: &'static [(&'static str, Field, bool)],
}

#[derive(Clone, Copy)]
enum Field {
    Text(&'static str),
    /// Text that no filter sees: ids, types, links.
    Plain,
    Count,
    Degrees(f64),
    Mentions,
    Data,
}

const MEDIA: &[(&str, Field, bool)] = &[
    ("media", Field::Plain, true),
    ("name", Field::Text("file-name"), false),
    ("mime", Field::Plain, true),
    ("bytes", Field::Count, true),
    ("width", Field::Count, false),
    ("height", Field::Count, false),
    ("duration_ms", Field::Count, false),
    ("thumb", Field::Plain, false),
];

const SHAPES: &[Shape] = &[
    Shape {
        kind: "text",
        fields: &[
            ("text", Field::Text("message"), true),
            ("mentions", Field::Mentions, false),
        ],
    },
    Shape {
        kind: "image",
        fields: MEDIA,
    },
    Shape {
        kind: "voice",
        fields: MEDIA,
    },
    Shape {
        kind: "video",
        fields: MEDIA,
    },
    Shape {
        kind: "file",
        fields: MEDIA,
    },
    Shape {
        kind: "location",
        fields: &[
            ("lat", Field::Degrees(90.0), true),
            ("lon", Field::Degrees(180.0), true),
            ("title", Field::Text("location"), false),
        ],
    },
    Shape {
        kind: "card",
        fields: &[
            ("title", Field::Text("card"), true),
            ("text", Field::Text("card"), false),
            ("url", Field::Plain, false),
            ("image", Field::Plain, false),
        ],
    },
    Shape {
        kind: "custom",
        fields: &[
            ("name", Field::Text("custom"), true),
            ("data", Field::Data, true),
        ],
    },
];

impl Content {
    /// Checks a content as a client or a plugin gives it. Unknown fields are left out, fields that are `null` too.
    pub fn parse(value: Value, limits: &ContentLimits) -> Result<Self, Refusal> {
        let Value::Object(mut given) = value else {
            return Err(Refusal::bad_request("content must be an object"));
        };
        let Some(kind) = given.get("type").and_then(Value::as_str) else {
            return Err(Refusal::bad_request("content needs a type"));
        };
        let Some(shape) = SHAPES.iter().find(|shape| shape.kind == kind) else {
            return Err(Refusal::bad_request("unknown content type"));
        };
        for &(name, field, required) in shape.fields {
            match given.get(name) {
                None | Some(Value::Null) if required => {
                    return Err(Refusal::bad_request(format!(
                        "{} content needs {name}",
                        shape.kind
                    )));
                }
                None | Some(Value::Null) => {}
                Some(value) => check_field(name, field, value, limits)?,
            }
        }
        let known = |name: &str| name == "type" || shape.fields.iter().any(|field| field.0 == name);
        given.retain(|name, value| !value.is_null() && known(name));
        Ok(Self {
            kind: shape.kind,
            fields: given,
        })
    }

    /// Reads back what `to_json` wrote; for stored contents, which were checked when they were stored.
    pub fn from_stored(json: &str) -> Option<Self> {
        let Ok(Value::Object(fields)) = serde_json::from_str(json) else {
            return None;
        };
        let kind = fields.get("type")?.as_str()?;
        let shape = SHAPES.iter().find(|shape| shape.kind == kind)?;
        Some(Self {
            kind: shape.kind,
            fields,
        })
    }

    /// `text`, `image` ….
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The text of a text message; empty for every other type.
    pub fn text(&self) -> &str {
        self.fields
            .get("text")
            .filter(|_| self.kind == "text")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The same with another text, which is no longer than its own.
    pub fn with_text(&self, text: &str) -> Self {
        let mut changed = self.clone();
        changed.fields.insert("text".to_owned(), text.into());
        changed
    }

    /// The media id of an image, a voice message, a video or a file.
    pub fn media(&self) -> Option<&str> {
        self.fields.get("media").and_then(Value::as_str)
    }

    /// Who a text mentions: user ids as given, or `all`.
    pub fn mentions(&self) -> impl Iterator<Item = &str> {
        self.fields
            .get("mentions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// Compact JSON, as it is stored and sent.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.fields).expect("a map of JSON values always encodes")
    }

    /// The same, known to be JSON.
    pub fn to_raw(&self) -> Box<RawValue> {
        to_raw_value(&self.fields).expect("a map of JSON values always encodes")
    }

    /// Every text a filter must see, with its place, in a fixed order.
    pub fn texts(&self, edit: bool) -> Vec<(&'static str, &str)> {
        let mut texts = Vec::with_capacity(1);
        for (place, name) in self.text_fields() {
            if let Some(Value::String(text)) = self.fields.get(name) {
                texts.push((
                    if edit && place == "message" {
                        "edit"
                    } else {
                        place
                    },
                    text.as_str(),
                ));
            }
        }
        if let Some(data) = self.fields.get("data") {
            strings_of(data, &mut |text| texts.push(("custom", text)));
        }
        texts
    }

    /// Every text a search looks through, with the name of its field.
    pub fn searchable(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.text_fields()
            .filter(|(place, _)| *place != "custom")
            .filter_map(move |(_, name)| match self.fields.get(name) {
                Some(Value::String(text)) => Some((name, text.as_str())),
                _ => None,
            })
    }

    /// Puts masked texts back, in the order `texts` gave them; `None` leaves one as it is.
    pub fn with_texts(mut self, masked: Vec<Option<String>>) -> Self {
        let mut masked = masked.into_iter();
        let names: Vec<&'static str> = self.text_fields().map(|(_, name)| name).collect();
        for name in names {
            if let Some(Value::String(text)) = self.fields.get_mut(name)
                && let Some(Some(new)) = masked.next()
            {
                *text = new;
            }
        }
        if let Some(data) = self.fields.get_mut("data") {
            replace_strings(data, &mut masked);
        }
        self
    }

    fn text_fields(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let shape = SHAPES.iter().find(|shape| shape.kind == self.kind);
        shape
            .into_iter()
            .flat_map(|shape| shape.fields)
            .filter_map(|&(name, field, _)| match field {
                Field::Text(place) => Some((place, name)),
                _ => None,
            })
    }
}

fn check_field(
    name: &str,
    field: Field,
    value: &Value,
    limits: &ContentLimits,
) -> Result<(), Refusal> {
    let wrong = |what: &str| Err(Refusal::bad_request(format!("{name} must be {what}")));
    match (field, value) {
        (Field::Text(_) | Field::Plain, Value::String(text)) => {
            if text.len() > limits.text_chars && text.chars().count() > limits.text_chars {
                let message = format!("{name} is longer than {} characters", limits.text_chars);
                return Err(Refusal::new(Code::TooLarge, message));
            }
            Ok(())
        }
        (Field::Text(_) | Field::Plain, _) => wrong("text"),
        (Field::Count, Value::Number(number)) if number.as_u64().is_some() => Ok(()),
        (Field::Count, _) => wrong("a whole number, not negative"),
        (Field::Degrees(most), Value::Number(number))
            if number.as_f64().is_some_and(|n| n.abs() <= most) =>
        {
            Ok(())
        }
        (Field::Degrees(_), _) => wrong("degrees"),
        (Field::Mentions, Value::Array(items)) => {
            let well_formed = |item: &Value| {
                item.as_str()
                    .is_some_and(|text| text == "all" || text.parse::<crate::ids::UserId>().is_ok())
            };
            if !items.iter().all(well_formed) {
                return wrong("a list of user ids or \"all\"");
            }
            if items.len() > MENTIONS_MAX {
                return Err(Refusal::new(
                    Code::TooLarge,
                    format!("more than {MENTIONS_MAX} mentions"),
                ));
            }
            Ok(())
        }
        (Field::Mentions, _) => wrong("a list of user ids or \"all\""),
        (Field::Data, Value::Object(_)) => {
            if nests_deeper(value, LEVELS_MAX) {
                return wrong(&format!("nested at most {LEVELS_MAX} levels"));
            }
            let bytes = serde_json::to_vec(value)
                .expect("a JSON value always encodes")
                .len();
            if bytes > limits.data_bytes {
                let message = format!("data is larger than {} bytes", limits.data_bytes);
                return Err(Refusal::new(Code::TooLarge, message));
            }
            Ok(())
        }
        (Field::Data, _) => wrong("an object"),
    }
}

/// How deep a custom content's `data` may nest: far less than what any codec stops reading at, so that whatever is
/// stored can be read and written in every one of them.
const LEVELS_MAX: usize = 32;

/// Whether arrays and objects stand in each other more than `levels` deep.
fn nests_deeper(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else {
        return value.is_array() || value.is_object();
    };
    match value {
        Value::Array(items) => items.iter().any(|item| nests_deeper(item, below)),
        Value::Object(fields) => fields.values().any(|field| nests_deeper(field, below)),
        _ => false,
    }
}

/// How many users one text may mention by id.
const MENTIONS_MAX: usize = 200;

fn strings_of<'a>(value: &'a Value, each: &mut impl FnMut(&'a str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| strings_of(item, each)),
        Value::Object(fields) => fields.values().for_each(|field| strings_of(field, each)),
        _ => {}
    }
}

fn replace_strings(value: &mut Value, masked: &mut impl Iterator<Item = Option<String>>) {
    match value {
        Value::String(text) => {
            if let Some(Some(new)) = masked.next() {
                *text = new;
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| replace_strings(item, masked)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| replace_strings(field, masked)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<Content, Refusal> {
        Content::parse(value, &ContentLimits::default())
    }

    #[test]
    fn unknown_types_and_missing_fields_are_bad_requests() {
        for wrong in [
            json!(3),
            json!({}),
            json!({"type": "song"}),
            json!({"type": "text"}),
            json!({"type": "text", "text": 5}),
            json!({"type": "text", "text": "x", "mentions": ["nobody"]}),
            json!({"type": "location", "lat": 91, "lon": 0}),
            json!({"type": "image", "media": "1", "mime": "image/png", "bytes": -1}),
            json!({"type": "custom", "name": "n", "data": []}),
        ] {
            assert_eq!(
                parse(wrong.clone()).map(|_| ()).map_err(|r| r.code),
                Err(Code::BadRequest),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_text_is_counted_in_scalar_values() {
        assert!(parse(json!({"type": "text", "text": "好".repeat(8000)})).is_ok());
        let refusal =
            parse(json!({"type": "text", "text": "好".repeat(8001)})).expect_err("too long");
        assert_eq!(refusal.code, Code::TooLarge);
    }

    #[test]
    fn data_nested_too_deep_is_a_bad_request() {
        let nested = |levels: usize| {
            let data = (1..levels).fold(json!({}), |inner, _| json!({"a": inner}));
            parse(json!({"type": "custom", "name": "n", "data": data}))
        };
        assert!(nested(LEVELS_MAX).is_ok());
        let refusal = nested(LEVELS_MAX + 1).expect_err("too deep");
        assert_eq!(refusal.code, Code::BadRequest);
    }

    #[test]
    fn unknown_fields_are_left_out() {
        let content = parse(json!({"type": "text", "text": "a", "colour": 1})).expect("valid");
        assert_eq!(content.to_json(), r#"{"text":"a","type":"text"}"#);
    }

    #[test]
    fn masked_texts_go_back_where_they_came_from() {
        let value = json!({"type": "custom", "name": "n", "data": {"a": "x", "b": [1, "y"]}});
        let content = parse(value).expect("valid");
        assert_eq!(
            content.texts(false),
            [("custom", "n"), ("custom", "x"), ("custom", "y")]
        );
        let masked = content.with_texts(vec![None, None, Some("*".to_owned())]);
        assert_eq!(
            masked.to_json(),
            r#"{"data":{"a":"x","b":[1,"*"]},"name":"n","type":"custom"}"#
        );
    }
}
