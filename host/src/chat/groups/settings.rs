//! A group's settings: the words that change them, and how they are shown.
//! No I/O.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::chat::commands::first;
use crate::chat::render;

/// A mute without an end: longer than anybody waits, and still a time.
const FOR_GOOD_MS: u64 = 100 * 365 * 86_400_000;

#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Setting {
    /// A field and what it is to be.
    To(&'static str, Value),
    /// Everyone but owner and admins is muted for minutes, or until it is lifted.
    MuteAll(Option<u64>),
}

impl Setting {
    /// The change as the server takes it.
    pub(super) fn change(&self, now: Timestamp) -> Value {
        match self {
            Self::To(field, value) => json!({*field: value}),
            Self::MuteAll(minutes) => json!({"muted_until": mute_end(*minutes, now)}),
        }
    }
}

/// Reads a key and its value.
pub(super) fn read(rest: &str) -> Option<Setting> {
    let (key, value) = first(rest);
    let set = |field, value| Some(Setting::To(field, value));
    match (key, value) {
        ("join", "invite" | "approval" | "open") => set("join", value.into()),
        ("history", "joining") => set("history", "from_joining".into()),
        ("history", "all") => set("history", "all".into()),
        ("slow", "off") => set("slow_mode_s", Value::Null),
        ("slow", seconds) => set("slow_mode_s", seconds.parse::<u32>().ok()?.into()),
        ("keep", "off") => set("retention", Value::Null),
        ("keep", kept) => set("retention", retention(kept)?),
        ("mute", "off") => set("muted_until", Value::Null),
        ("mute", "on") => Some(Setting::MuteAll(None)),
        ("mute", minutes_of) => Some(Setting::MuteAll(Some(minutes(minutes_of)?))),
        _ => None,
    }
}

/// `30d`, `1000` or both.
fn retention(kept: &str) -> Option<Value> {
    let mut retention = json!({});
    for word in kept.split_whitespace() {
        let (field, number) = match word.strip_suffix('d') {
            Some(days) => ("days", days),
            None => ("count", word),
        };
        let number: u32 = number.parse().ok().filter(|number| *number > 0)?;
        if !retention[field].is_null() {
            return None;
        }
        retention[field] = number.into();
    }
    (retention != json!({})).then_some(retention)
}

/// A number of minutes, at least one.
pub(super) fn minutes(text: &str) -> Option<u64> {
    let minutes = text.parse::<u32>().ok()?;
    (minutes > 0).then(|| minutes.into())
}

/// When a mute ends, in milliseconds since 1970 UTC.
pub(super) fn mute_end(minutes: Option<u64>, now: Timestamp) -> u64 {
    let lasts_ms = minutes.map_or(FOR_GOOD_MS, |minutes| minutes * 60_000);
    now_ms(now).saturating_add(lasts_ms)
}

/// Whether a mute has no end that anybody would wait for.
pub(super) fn is_for_good(until_ms: u64, now: Timestamp) -> bool {
    until_ms > now_ms(now).saturating_add(FOR_GOOD_MS / 2)
}

fn now_ms(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or_default()
}

pub(super) fn title(group: &Value) -> String {
    render::label(group["title"].as_str().unwrap_or_default())
}

/// A group and its settings under the words that change them.
pub(super) fn lines(group: &Value, owner: &str, muted: Option<&str>) -> Vec<String> {
    let text = |field: &str| render::label(group[field].as_str().unwrap_or_default());
    let history = match group["history"].as_str() {
        Some("all") => "all: new members see everything",
        _ => "joining: new members see what comes from then on",
    };
    let slow = group["slow_mode_s"].as_u64();
    let slow = slow.map(|seconds| format!("{seconds} s between two messages of a member"));
    let (days, count) = (&group["retention"]["days"], &group["retention"]["count"]);
    let mut kept = Vec::new();
    if let Some(days) = days.as_u64() {
        kept.push(format!("{days} days"));
    }
    if let Some(count) = count.as_u64() {
        kept.push(format!("the newest {count}"));
    }
    let kept = match kept.is_empty() {
        true => "off: as long as the server keeps it".to_owned(),
        false => kept.join(", "),
    };
    let off = || "off".to_owned();
    let rows = [
        ("title", title(group)),
        ("id", text("id")),
        ("members", group["members"].to_string()),
        ("owner", owner.to_owned()),
        ("join", text("join")),
        ("history", history.to_owned()),
        ("slow", slow.unwrap_or_else(off)),
        ("keep", kept),
        (
            "mute",
            muted.map_or_else(off, |until| format!("everybody, {until}")),
        ),
    ]
    .map(|(key, value)| vec![String::new(), key.to_owned(), value]);
    render::columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_takes_its_own_values() {
        let now = Timestamp::from_second(1000).expect("a time");
        for (line, change) in [
            ("join approval", json!({"join": "approval"})),
            ("history joining", json!({"history": "from_joining"})),
            ("slow 30", json!({"slow_mode_s": 30})),
            ("slow off", json!({"slow_mode_s": null})),
            ("keep 30d", json!({"retention": {"days": 30}})),
            (
                "keep 30d 1000",
                json!({"retention": {"days": 30, "count": 1000}}),
            ),
            ("keep off", json!({"retention": null})),
            ("mute off", json!({"muted_until": null})),
            ("mute 2", json!({"muted_until": 1_120_000})),
        ] {
            let setting = read(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(setting.change(now), change, "{line}");
        }
        for wrong in [
            "join",
            "join all",
            "history",
            "slow",
            "slow x",
            "keep",
            "keep 0d",
            "keep 1d 2d",
            "mute",
            "mute 0",
            "colour red",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_mute_without_an_end_is_told_from_one_with() {
        let now = Timestamp::from_second(1000).expect("a time");
        assert!(is_for_good(mute_end(None, now), now));
        assert!(!is_for_good(mute_end(Some(60), now), now));
    }

    #[test]
    fn settings_are_shown_under_the_words_that_change_them() {
        let group = json!({
            "id": "7", "title": "我们", "join": "open", "history": "all", "members": 3,
            "retention": {"days": 7, "count": 100}, "slow_mode_s": 5,
        });
        let shown = lines(&group, "ann", Some("until 12:00"));
        assert_eq!(shown[0], "  title    我们");
        assert_eq!(shown[7], "  keep     7 days, the newest 100");
        assert_eq!(shown[8], "  mute     everybody, until 12:00");
    }
}
