//! The media a content names, and what the host knows of them: its facts stand over what a client wrote.
//! Nothing here does I/O, and nothing here decides who may use what.

use serde_json::Value;

use super::Content;
use crate::ids::MediaId;

/// What the host found in the bytes of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFacts {
    pub mime: String,
    pub bytes: u64,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub duration_ms: Option<u64>,
    /// The thumbnail the host made.
    pub thumb: Option<MediaId>,
}

/// How the JSON of every text ends: fields stand in the order of their names.
const TEXT_ENDS: &str = r#""type":"text"}"#;

/// The media a stored content names; looks no further than the end of a text.
pub fn media_in(json: &str) -> Vec<MediaId> {
    if json.ends_with(TEXT_ENDS) {
        return Vec::new();
    }
    Content::from_stored(json).map_or_else(Vec::new, |content| content.media_ids())
}

impl Content {
    /// Whether contents of this type can name media.
    pub fn may_name_media(&self) -> bool {
        !matches!(self.kind, "text" | "location" | "custom")
    }

    /// A picture named beside the media, or by a card: a thumbnail of the client's own, or a card's image when that
    /// is a media id and not a link.
    pub fn picture(&self) -> Option<&str> {
        let card = self.kind == "card";
        let named = self.fields.get(if card { "image" } else { "thumb" });
        named
            .and_then(Value::as_str)
            .filter(|text| !card || text.parse::<MediaId>().is_ok())
    }

    /// Every media id it names.
    pub fn media_ids(&self) -> Vec<MediaId> {
        if !self.may_name_media() {
            return Vec::new();
        }
        [self.media(), self.picture()]
            .into_iter()
            .flatten()
            .filter_map(|text| text.parse().ok())
            .collect()
    }

    /// Puts the host's facts over the client's; what the host does not know stays. Whether anything changed.
    pub fn set_facts(&mut self, facts: &MediaFacts) -> bool {
        let known = [
            ("mime", Some(Value::from(facts.mime.as_str()))),
            ("bytes", Some(facts.bytes.into())),
            ("width", facts.width.map(Value::from)),
            ("height", facts.height.map(Value::from)),
            ("duration_ms", facts.duration_ms.map(Value::from)),
            ("thumb", facts.thumb.map(|id| id.to_string().into())),
        ];
        let mut changed = false;
        for (name, value) in known {
            if let Some(value) = value
                && self.fields.get(name) != Some(&value)
            {
                self.fields.insert(name.to_owned(), value);
                changed = true;
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ContentLimits;
    use super::*;

    fn parse(value: Value) -> Content {
        Content::parse(value, &ContentLimits::default()).expect("valid")
    }

    #[test]
    fn the_media_of_a_content_are_found_in_its_json() {
        for (value, expected) in [
            (json!({"type": "text", "text": r#""media":"7""#}), vec![]),
            (
                json!({"type": "custom", "name": "n", "data": {"media": "7"}}),
                vec![],
            ),
            (
                json!({"type": "file", "media": "7", "mime": "a/b", "bytes": 1}),
                vec![7],
            ),
            (
                json!({"type": "video", "media": "7", "mime": "a/b", "bytes": 1, "thumb": "8"}),
                vec![7, 8],
            ),
            (json!({"type": "card", "title": "t", "image": "9"}), vec![9]),
            (
                json!({"type": "card", "title": "t", "image": "https://example.org/9"}),
                vec![],
            ),
        ] {
            let expected: Vec<MediaId> = expected.into_iter().map(MediaId).collect();
            assert_eq!(
                media_in(&parse(value.clone()).to_json()),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn the_hosts_facts_stand_over_the_clients_and_the_rest_stays() {
        let mut content = parse(
            json!({"type": "video", "media": "7", "mime": "video/mp4", "bytes": 1, "width": 5, "duration_ms": 9}),
        );
        let facts = MediaFacts {
            mime: "video/mp4".to_owned(),
            bytes: 2,
            width: Some(6),
            height: None,
            duration_ms: None,
            thumb: None,
        };
        assert!(content.set_facts(&facts));
        assert!(!content.set_facts(&facts), "nothing is left to change");
        assert_eq!(
            content.to_json(),
            r#"{"bytes":2,"duration_ms":9,"media":"7","mime":"video/mp4","type":"video","width":6}"#
        );
    }
}
