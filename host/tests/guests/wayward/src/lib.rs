//! A filter that behaves the way its version's suffix says: `good`, `other`, `slow`, `trapping`, `looping`, `hoarding`,
//! `strict` (rejects what `good` masks), `sluggish` or `growing`. For the host's tests of swapping under load and of trying
//! versions.

use kith_plugin::{ContentFilter, Hit, HookDefault, Plugin, Text};

const KIND: &str = match option_env!("KITH_PLUGIN_VERSION_SUFFIX") {
    Some(kind) => kind,
    None => "good",
};

struct Wayward {
    word: &'static str,
}

impl Plugin for Wayward {
    const SUMMARY: &'static str = "Behaves as its version says.";
    const CONFIG_SCHEMA: &'static str = r#"{"type": "object", "properties": {}}"#;

    fn hooks() -> Vec<HookDefault> {
        vec![HookDefault::new("content-filter")]
    }

    fn configure(_: &[u8]) -> Result<Self, String> {
        let word = if KIND == "other" { "right" } else { "left" };
        Ok(Self { word })
    }
}

impl ContentFilter for Wayward {
    fn scan(&self, text: &Text) -> Vec<Hit> {
        let number = text.text.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok());
        misbehave(number.unwrap_or(1));
        let level = if KIND == "strict" { "reject" } else { "mask" };
        Hit::every(&text.text, self.word, level, KIND)
    }
}

fn misbehave(number: u64) {
    match KIND {
        "slow" => {
            for turn in 0..300_000_u64 {
                std::hint::black_box(turn);
            }
        }
        "sluggish" => {
            for turn in 0..30_000_000_u64 {
                std::hint::black_box(turn);
            }
        }
        "growing" => drop(std::hint::black_box(Vec::leak(vec![1_u8; 1 << 20]))),
        "trapping" if number.is_multiple_of(3) => panic!("told to trap"),
        "looping" if number.is_multiple_of(40) => loop {
            std::hint::black_box(());
        },
        "hoarding" if number.is_multiple_of(5) => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1; 1 << 20]));
            }
        }
        _ => {}
    }
}

kith_plugin::register_plugin!(Wayward: content_filter);
