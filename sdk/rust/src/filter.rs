//! The hook `content-filter`: finds what must not be said.
//! The host masks, refuses or holds.

use crate::Plugin;

/// One text about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Where it will stand: `message`, `edit`, `card`, `title`, `username` ….
    pub place: String,
    pub text: String,
}

impl Text {
    /// The text of a message.
    pub fn message(text: &str) -> Self {
        Self {
            place: "message".to_owned(),
            text: text.to_owned(),
        }
    }
}

/// A place in a text, counted in Unicode scalar values: `start` is in it, `end` is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    pub start: u32,
    pub end: u32,
    /// `mask`, `reject` or `hold`.
    pub level: String,
    /// Which rule hit.
    pub rule: String,
}

impl Hit {
    /// A hit on every place a word stands, exactly as it is written.
    pub fn every(text: &str, word: &str, level: &str, rule: &str) -> Vec<Self> {
        if word.is_empty() {
            return Vec::new();
        }
        let length = word.chars().count() as u32;
        let (mut hits, mut bytes, mut chars) = (Vec::new(), 0, 0);
        while let Some(found) = text[bytes..].find(word) {
            let start = chars + text[bytes..bytes + found].chars().count() as u32;
            hits.push(Self {
                start,
                end: start + length,
                level: level.to_owned(),
                rule: rule.to_owned(),
            });
            bytes += found + word.len();
            chars = start + length;
        }
        hits
    }
}

/// A content filter. Called before texts are stored, on the sender's path: be quick, be pure.
pub trait ContentFilter: Plugin {
    /// The hits in one text; none to let it pass.
    fn scan(&self, text: &Text) -> Vec<Hit> {
        let _ = text;
        Vec::new()
    }
}
