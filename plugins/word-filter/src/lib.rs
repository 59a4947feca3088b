//! Finds sensitive words, up to 100,000 and more, however they are written: any case or width, traditional or
//! simplified, with blanks, punctuation or invisible characters between, and in pinyin where the administrator wants.
//!
//! The words and levels arrive as configuration; the automaton is made once, in `prepare`.

mod fold;
mod spans;
mod words;

use kith_plugin::{ContentFilter, Hit, HookDefault, Plugin, Preparation, Text};
use serde::Deserialize;

use crate::words::{Level, Word, Words};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config<'a> {
    #[serde(borrow, default)]
    words: Vec<Row<'a>>,
    #[serde(default)]
    pinyin: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    #[serde(borrow)]
    word: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    level: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    category: Option<std::borrow::Cow<'a, str>>,
}

/// The filter, its words ready.
pub struct WordFilter {
    words: Words,
}

impl Plugin for WordFilter {
    const SUMMARY: &'static str = "Masks, rejects or holds texts with sensitive words.";
    const CONFIG_SCHEMA: &'static str = r#"{
        "type": "object",
        "properties": {
            "words": {
                "type": "array", "default": [],
                "description": "objects of word, level (mask, reject or hold) and category; `kith admin words` keeps them",
                "items": { "type": "object" }
            },
            "pinyin": {
                "type": "boolean", "default": false,
                "description": "also find Chinese words of two and more characters written in pinyin without tones"
            }
        }
    }"#;

    fn hooks() -> Vec<HookDefault> {
        vec![HookDefault::new("content-filter")]
    }

    fn configure(prepared: &[u8]) -> Result<Self, String> {
        let words = Words::from_bytes(prepared).ok_or("the prepared words could not be read")?;
        fold::warm();
        Ok(Self { words })
    }

    fn self_test(&self) -> Result<(), String> {
        let probe = Words::build(
            &[Word {
                word: "k i t h",
                level: Level::Mask,
                category: None,
            }],
            false,
        )?;
        if probe.find("a Ｋi.th!").len() != 1 || !probe.find("kithing").is_empty() {
            return Err("the matcher does not find its probe".to_owned());
        }
        kith_plugin::log(
            kith_plugin::Level::Info,
            &format!("{} forms are looked for", self.words.len()),
        );
        Ok(())
    }
}

impl Preparation for WordFilter {
    fn prepare(config: &[u8]) -> Result<Vec<u8>, String> {
        let config: Config<'_> =
            serde_json::from_slice(config).map_err(|error| error.to_string())?;
        let words = config.words.iter().enumerate().map(|(row, word)| {
            let level = Level::from_name(&word.level).ok_or_else(|| {
                format!(
                    "word {}: {} is no level: mask, reject or hold",
                    row + 1,
                    word.level
                )
            })?;
            Ok(Word {
                word: &word.word,
                level,
                category: word.category.as_deref(),
            })
        });
        let words = words.collect::<Result<Vec<_>, String>>()?;
        Ok(Words::build(&words, config.pinyin)?.to_bytes())
    }
}

impl ContentFilter for WordFilter {
    fn scan(&self, text: &Text) -> Vec<Hit> {
        self.words.find(&text.text)
    }
}

kith_plugin::register_plugin!(WordFilter: content_filter, preparation);

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(config: &str) -> WordFilter {
        let prepared = WordFilter::prepare(config.as_bytes()).expect("a good configuration");
        let filter = WordFilter::configure(&prepared).expect("prepared bytes");
        filter.self_test().expect("well");
        filter
    }

    fn places(filter: &WordFilter, text: &str) -> Vec<(u32, u32)> {
        filter
            .scan(&Text::message(text))
            .iter()
            .map(|hit| (hit.start, hit.end))
            .collect()
    }

    #[test]
    fn words_are_found_however_they_are_written() {
        let filter = filter(
            r#"{"words":[{"word":"赌博","level":"mask"},{"word":"Bad Word","level":"mask"},{"word":"國","level":"mask"}]}"#,
        );
        for (text, found) in [
            ("网络赌博站", vec![(2, 4)]),
            ("赌 博", vec![(0, 3)]),
            ("赌\u{200b}，博", vec![(0, 4)]),
            ("賭博", vec![(0, 2)]),
            ("BADWORD", vec![(0, 7)]),
            ("ｂａｄ-word", vec![(0, 8)]),
            ("中国", vec![(1, 2)]),
            ("赌", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(places(&filter, text), found, "{text}");
        }
    }

    #[test]
    fn a_word_of_letters_begins_and_ends_at_a_boundary() {
        let filter = filter(r#"{"words":[{"word":"ass","level":"mask"}]}"#);
        for (text, found) in [
            ("ass", true),
            ("an ass.", true),
            ("a s s", true),
            ("你ass好", true),
            ("as soon", false),
            ("class", false),
            ("assume", false),
            ("ass1", false),
            ("a ss", true),
        ] {
            assert_eq!(!places(&filter, text).is_empty(), found, "{text}");
        }
    }

    #[test]
    fn a_strict_word_inside_a_mild_one_is_found_too() {
        let filter = filter(
            r#"{"words":[{"word":"甲乙丙丁","level":"mask"},{"word":"乙丙","level":"reject","category":"bad"}]}"#,
        );
        let hits = filter.scan(&Text::message("甲乙丙丁"));
        let mut levels: Vec<_> = hits
            .iter()
            .map(|hit| (hit.level.as_str(), hit.rule.as_str()))
            .collect();
        levels.sort_unstable();
        assert_eq!(levels, [("mask", "words"), ("reject", "bad")]);
    }

    #[test]
    fn pinyin_is_found_where_it_is_wanted() {
        let words = r#""words":[{"word":"赌博","level":"hold"}]"#;
        let with = filter(&format!(r#"{{{words},"pinyin":true}}"#));
        assert_eq!(places(&with, "du bo"), [(0, 5)]);
        assert_eq!(places(&with, "Dubo网"), [(0, 4)]);
        assert!(places(&with, "dubot").is_empty());
        assert!(places(&filter(&format!("{{{words}}}")), "du bo").is_empty());
    }

    #[test]
    fn pinyin_is_found_with_tones_and_with_two_dots() {
        let with = filter(
            r#"{"words":[{"word":"赌博","level":"mask"},{"word":"妇女","level":"mask"}],"pinyin":true}"#,
        );
        for (text, found) in [
            ("dǔ bó", vec![(0, 5)]),
            ("Du\u{30c}bo\u{301}!", vec![(0, 6)]),
            ("fu nü", vec![(0, 5)]),
            ("fù nǚ", vec![(0, 5)]),
            ("fu nv", vec![(0, 5)]),
            ("du bo, dǔbó", vec![(0, 5), (7, 11)]),
            ("dǔbót", vec![]),
            ("dự bo", vec![]),
        ] {
            assert_eq!(places(&with, text), found, "{text}");
        }
    }

    #[test]
    fn no_way_of_writing_a_word_hides_it() {
        let filter = filter(
            r#"{"words":[{"word":"赌博","level":"mask"},{"word":"カジノ","level":"mask"},{"word":"café","level":"mask"}]}"#,
        );
        for (text, found) in [
            ("赌\u{3164}博", (0, 3)),
            ("赌\u{FFA0}\u{115F}\u{1160}博", (0, 5)),
            ("ｶｼﾞﾉ", (0, 4)),
            ("カシ\u{3099}ノ", (0, 4)),
            ("a cafe\u{301}.", (2, 7)),
            ("CAFÉ", (0, 4)),
        ] {
            assert_eq!(places(&filter, text), [found], "{text}");
        }
        assert!(places(&filter, "cafe").is_empty());
    }

    #[test]
    fn of_two_words_with_one_form_the_stricter_counts() {
        let filter =
            filter(r#"{"words":[{"word":"Ab","level":"reject"},{"word":"ab","level":"mask"}]}"#);
        assert_eq!(filter.scan(&Text::message("AB"))[0].level, "reject");
    }

    #[test]
    fn a_wrong_word_is_named_by_its_row() {
        let refused = |config: &str| {
            WordFilter::prepare(config.as_bytes()).expect_err("a wrong configuration")
        };
        assert!(
            refused(r#"{"words":[{"word":"a","level":"mask"},{"word":"..","level":"mask"}]}"#)
                .contains("word 2")
        );
        assert!(refused(r#"{"words":[{"word":"a","level":"shout"}]}"#).contains("shout"));
        assert!(places(&filter("{}"), "anything").is_empty());
    }

    #[test]
    fn a_hundred_thousand_words_are_each_found() {
        let han = |n: u32| char::from_u32(0x4E00 + n).expect("Han");
        let word = |n: u32| -> String {
            [han(n % 5000), han(n / 5000 + 6000), han(n * 7 % 4999)]
                .iter()
                .collect()
        };
        let rows: Vec<_> = (0..100_000)
            .map(|n| format!(r#"{{"word":"{}","level":"mask"}}"#, word(n)))
            .collect();
        let filter = filter(&format!(r#"{{"words":[{}]}}"#, rows.join(",")));
        for n in (0..100_000).step_by(997) {
            assert!(
                !places(&filter, &format!("是{}吗", word(n))).is_empty(),
                "{n}"
            );
        }
    }
}
