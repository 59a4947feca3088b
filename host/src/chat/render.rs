//! How things look on the screen, as lines of text. What people write is shown as text and can never move the cursor
//! or change a colour. No I/O.

mod system;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::client::WireError;

/// The time of day in a zone; with the date when it is not today's.
pub(super) fn clock(at_ms: u64, now: Timestamp, zone: &TimeZone) -> String {
    let at = i64::try_from(at_ms).ok();
    let Some(at) = at.and_then(|at| Timestamp::from_millisecond(at).ok()) else {
        return "--:--".to_owned();
    };
    let (at, now) = (
        at.to_zoned_datetime(zone.clone()),
        now.to_zoned_datetime(zone.clone()),
    );
    let format = if at.date() == now.date() {
        "%H:%M"
    } else {
        "%Y-%m-%d %H:%M"
    };
    at.strftime(format).to_string()
}

/// What an entry says, without time and seq. `from` and `name` give users' names.
pub(super) fn entry(entry: &Value, from: &str, name: impl Fn(&str) -> String) -> String {
    match entry["kind"].as_str() {
        Some("message") => {
            let reply = entry["reply_to"].as_u64();
            let reply = reply.map(|seq| format!("(to #{seq}) ")).unwrap_or_default();
            let edited = if entry["edited"] == true {
                " (edited)"
            } else {
                ""
            };
            if entry["recalled"] == true {
                format!("{from}: (taken back)")
            } else {
                format!("{from}: {reply}{}{edited}", content(&entry["content"]))
            }
        }
        Some("recall") => format!("— {from} took back #{}", entry["target"]),
        Some("edit") => format!(
            "— {from} changed #{} to: {}",
            entry["target"],
            content(&entry["content"])
        ),
        Some("react") => {
            let (emoji, target) = (plain(text_of(&entry["emoji"])), &entry["target"]);
            let verb = if entry["on"] == false {
                "takes back"
            } else {
                "puts"
            };
            format!("— {from} {verb} {emoji} on #{target}")
        }
        Some("system") => format!("— {}", system::sentence(entry, from, name)),
        Some("void") => "— (not for you)".to_owned(),
        other => format!("— {}", plain(other.unwrap_or("something"))),
    }
}

/// A content in one line, or in more when a text has more.
pub(super) fn content(content: &Value) -> String {
    let field = |name: &str| plain(text_of(&content[name]));
    match text_of(&content["type"]) {
        "text" => field("text"),
        "location" => format!(
            "[location {}, {} {}]",
            content["lat"],
            content["lon"],
            field("title")
        ),
        "card" => format!(
            "[card {} {} {}]",
            field("title"),
            field("text"),
            field("url")
        ),
        "custom" => format!("[{}]", field("name")),
        kind @ ("image" | "voice" | "video" | "file") => file(kind, content),
        kind => format!("[{}]", plain(kind)),
    }
}

/// What is known of a file: its name, how large a picture is, how long a sound lasts, how many bytes there are.
fn file(kind: &str, content: &Value) -> String {
    let number = |name: &str| content[name].as_u64();
    let size_of_picture = number("width").zip(number("height"));
    let known = [
        Some(label(text_of(&content["name"]))).filter(|name| !name.is_empty()),
        size_of_picture.map(|(width, height)| format!("{width}×{height}")),
        number("duration_ms").map(duration),
        number("bytes").map(size),
    ];
    let known: Vec<String> = known.into_iter().flatten().collect();
    let gap = if known.is_empty() { "" } else { " " };
    format!("[{kind}{gap}{}]", known.join(", "))
}

/// Minutes and seconds, to the nearest.
fn duration(millis: u64) -> String {
    let seconds = millis.saturating_add(500) / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// So many bytes, in the unit that suits.
pub(super) fn size(bytes: u64) -> String {
    let (divisor, unit) = match bytes {
        0..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => (1e3, "kB"),
        1_000_000..1_000_000_000 => (1e6, "MB"),
        _ => (1e9, "GB"),
    };
    format!("{:.1} {unit}", bytes as f64 / divisor)
}

/// A refusal as the person at the keyboard should read it.
pub(super) fn refusal(error: &WireError) -> String {
    match error.refused() {
        Some(refused) if refused.code == "rejected" => {
            let by = refused.by.as_deref().unwrap_or("a rule");
            let reason = refused.reason.as_deref().unwrap_or(&refused.message);
            format!("rejected by {}: {}", plain(by), plain(reason))
        }
        Some(refused) if refused.code.is_empty() => plain(&refused.message),
        Some(refused) => match refused.message.as_str() {
            "" => refused.code.clone(),
            message => format!("{} ({})", plain(message), refused.code),
        },
        None => error.to_string(),
    }
}

/// Text without characters that steer a terminal; further lines are set in.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\n      "),
            '\t' => out.push(' '),
            c if c.is_control() || steers(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The same in one line: what has a place in a list, a title, a name.
pub(super) fn label(text: &str) -> String {
    let mut label = String::with_capacity(text.len());
    for part in text.split_whitespace() {
        if !label.is_empty() {
            label.push(' ');
        }
        label.push_str(&plain(part));
    }
    label
}

/// Columns of the screen a text takes; a Chinese character takes two.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// The text and spaces up to so many columns.
pub(super) fn padded(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// The text, or as much of it as so many columns hold.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        short.push(c);
        if width(&short) >= columns {
            short.pop();
            break;
        }
    }
    short.push('…');
    short
}

/// Rows with their cells below each other; a column that is empty in every row takes no place but the first.
pub(super) fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let most = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..most)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| width(cell)).max().unwrap_or(0)
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.filter(|(column, (_, width))| *column == 0 || **width > 0);
        let cells: Vec<String> = cells
            .map(|(_, (cell, width))| padded(cell, *width))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Whether somebody is here, and with what, or since when not.
pub(super) fn presence(state: &Value, seen: Option<String>) -> String {
    let kinds: Vec<String> = state["kinds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|kind| kind.as_str().map(label))
        .collect();
    match (state["online"] == true, seen) {
        (true, _) if kinds.is_empty() => "is here".to_owned(),
        (true, _) => format!("is here ({})", kinds.join(", ")),
        (false, Some(seen)) => format!("is away, was seen {seen}"),
        (false, None) => "is away".to_owned(),
    }
}

/// Marks that turn the direction of writing around for what follows.
fn steers(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Refused;
    use serde_json::json;

    fn shown(value: Value) -> String {
        entry(&value, "bob", |user| format!("<{user}>"))
    }

    #[test]
    fn each_kind_of_entry_has_its_line() {
        let text = |text: &str| json!({"type": "text", "text": text});
        for (value, line) in [
            (
                json!({"kind": "message", "content": text("你好")}),
                "bob: 你好",
            ),
            (
                json!({"kind": "message", "reply_to": 3, "edited": true, "content": text("b")}),
                "bob: (to #3) b (edited)",
            ),
            (
                json!({"kind": "message", "recalled": true}),
                "bob: (taken back)",
            ),
            (json!({"kind": "recall", "target": 4}), "— bob took back #4"),
            (
                json!({"kind": "edit", "target": 4, "content": text("c")}),
                "— bob changed #4 to: c",
            ),
            (
                json!({"kind": "react", "emoji": "👍", "target": 4, "on": true}),
                "— bob puts 👍 on #4",
            ),
            (
                json!({"kind": "system", "code": "member_joined", "args": {"user": "7"}}),
                "— <7> joined",
            ),
            (
                json!({"kind": "message", "content": {"type": "image", "name": "a.png"}}),
                "bob: [image a.png]",
            ),
            (
                json!({"kind": "message", "content": {"type": "image", "width": 4, "height": 3, "bytes": 999}}),
                "bob: [image 4×3, 999 B]",
            ),
            (
                json!({"kind": "message", "content": {"type": "voice", "duration_ms": 61_500, "bytes": 12_340}}),
                "bob: [voice 1:02, 12.3 kB]",
            ),
            (
                json!({"kind": "message", "content": {"type": "file", "name": "a\nb", "bytes": 2_000_000}}),
                "bob: [file a b, 2.0 MB]",
            ),
            (
                json!({"kind": "message", "content": {"type": "video"}}),
                "bob: [video]",
            ),
        ] {
            assert_eq!(shown(value), line);
        }
    }

    #[test]
    fn what_people_write_cannot_steer_the_terminal() {
        let nasty = json!({"kind": "message", "content": {"type": "text", "text": "a\u{1b}[2Jb\r\u{202e}c\nd"}});
        let line = shown(nasty);
        assert!(!line.contains(['\u{1b}', '\r', '\u{202e}']), "{line:?}");
        assert!(line.ends_with("c\n      d"), "{line:?}");
    }

    #[test]
    fn chinese_stands_in_columns_like_everything_else() {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let rows = [row(["", "ann", "", "owner"]), row(["*", "小明", "", "x"])];
        assert_eq!(columns(&rows), ["   ann   owner", "*  小明  x"]);
        assert_eq!((width("小明"), padded("小明", 6)), (4, "小明  ".to_owned()));
        assert_eq!(cut("今天天气很好", 8), "今天天…");
        assert_eq!(cut("short", 5), "short");
        assert_eq!(label(" a\u{1b}[2J\n b "), "a\u{fffd}[2J b");
    }

    #[test]
    fn presence_says_with_what_or_since_when() {
        let here = json!({"online": true, "kinds": ["web", "ios"]});
        assert_eq!(presence(&here, None), "is here (web, ios)");
        let away = json!({"online": false, "kinds": []});
        assert_eq!(presence(&away, None), "is away");
        let seen = Some("12:00".to_owned());
        assert_eq!(presence(&away, seen), "is away, was seen 12:00");
    }

    #[test]
    fn times_of_other_days_carry_their_date() {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        let now = Timestamp::from_second(1_764_000_000).expect("a time");
        assert_eq!(clock(1_764_000_000_000, now, &zone), "00:00");
        assert_eq!(clock(1_763_999_999_000, now, &zone), "2025-11-24 23:59");
    }

    #[test]
    fn a_rejection_names_the_plugin_and_its_reason() {
        let refused = Refused {
            code: "rejected".into(),
            by: Some("word-filter".into()),
            reason: Some("sensitive".into()),
            ..Refused::default()
        };
        let line = refusal(&WireError::Refused(refused));
        assert_eq!(line, "rejected by word-filter: sensitive");
    }
}
