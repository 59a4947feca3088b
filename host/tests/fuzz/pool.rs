//! What fields mean by their names: ids of things that are there, one's own and others', and words that fit.
//! Guesses nothing about routes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::odd;
use crate::properties::seeded::Seeded;

/// Texts by the name of the field or parameter they fit.
#[derive(Default)]
pub struct Pool(BTreeMap<&'static str, Vec<String>>);

/// The few that mean the same under several names.
const ALSO: [(&str, &str); 4] = [
    ("users", "user"),
    ("members", "user"),
    ("from", "user"),
    ("version", "fallback"),
];

impl Pool {
    pub fn new() -> Self {
        let mut pool = Self::default();
        for (name, texts) in [
            ("username", &["new-user", "ann", "a.b_c-d"][..]),
            ("password", &["password-1", "password-2", "short"]),
            ("current", &["password-1", "password-2"]),
            ("new", &["password-1", "password-2"]),
            ("display_name", &["Ann", "赌博", "badger"]),
            ("device_id", &["phone", "laptop"]),
            ("device_kind", &["web", "ios", "bot"]),
            ("grant_type", &["password", "refresh_token"]),
            ("join", &["invite", "approval", "open"]),
            ("history", &["from_joining", "all"]),
            ("role", &["member", "admin", "owner"]),
            ("order", &["newest", "best"]),
            (
                "name",
                &["word-filter", "direct-strategy", "group-strategy", "none"],
            ),
            ("hook", &["content-filter", "message-strategy", "none"]),
            ("scope", &["all", "direct", "group", "self"]),
            (
                "on_failed",
                &["pass", "reject", "unavailable", "hold", "fallback"],
            ),
            ("on_absent", &["pass", "reject", "unavailable", "hold"]),
            ("isolation", &["reuse", "message"]),
            ("level", &["mask", "reject", "hold"]),
            ("word", &["badger", "赌博", "spam"]),
            ("words", &["badger", "赌博", "none"]),
            ("q", &["hello", "赌", "h e", "\"", "*"]),
            ("query", &["ann", "b"]),
            ("title", &["us", "badger"]),
            ("reason", &["rude", "off-topic"]),
            ("fallback", &["0.1.0", "9.9.9", "sha256:00"]),
            ("seq", &["1", "2"]),
        ] {
            pool.0
                .insert(name, texts.iter().map(|&text| text.to_owned()).collect());
        }
        pool
    }

    pub fn add(&mut self, name: &'static str, text: &str) {
        let texts = self.0.entry(name).or_default();
        if texts.len() < 40 && !texts.iter().any(|known| known == text) {
            texts.push(text.to_owned());
        }
    }

    /// Mostly one that fits.
    pub fn text(&self, name: &str, random: &mut Seeded) -> String {
        let also = ALSO.iter().find(|(known, _)| *known == name);
        let name = also.map_or(name, |(_, of)| of);
        match self.0.get(name) {
            Some(texts) if !random.one_in(6) => random.pick(texts).clone(),
            _ => odd::text(random),
        }
    }

    pub fn number(&self, name: &str, random: &mut Seeded) -> Value {
        match (random.below(6), name) {
            (0, _) => odd::number(random),
            (_, "seq" | "reply_to") => json!(1 + random.below(3)),
            (_, "muted_until") => json!([0_u64, 4_102_444_800_000][random.below(2) as usize]),
            _ => json!(random.below(100)),
        }
    }

    /// One whose fields no schema names.
    pub fn object(&self, name: &str, random: &mut Seeded) -> Value {
        match (name, random.below(4)) {
            (_, 0) => odd::value(random),
            ("content", _) => json!({"type": "text", "text": self.text("q", random)}),
            ("values", _) => json!({"edit_window_s": random.below(100)}),
            ("texts", _) => json!({"edit_window_s": random.below(100).to_string()}),
            _ => json!({}),
        }
    }
}
