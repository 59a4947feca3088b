//! The command that searches what was said, page by page, and how a hit is shown.
//! The server finds; nothing is searched here.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::commands::{Action, Command, name, words};
use super::render;
use super::requests::More;
use super::talk::Talk;
use crate::client::WireError;
use crate::client::rest::encoded;

/// Hits on one page.
const HITS: usize = 10;
/// Characters of a long text shown before what was found in it, and characters shown at all.
const BEFORE: usize = 24;
const SHOWN: usize = 96;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Search {
    pub words: Vec<String>,
    /// Only the open conversation.
    pub here: bool,
    pub from: Option<String>,
    /// From the beginning of this day.
    pub after: Option<Date>,
    /// To the end of the day before this one.
    pub before: Option<Date>,
}

pub(super) const COMMANDS: &[Command] = &[Command {
    usage: ":search WORDS [in:here] [from:NAME] [after:DATE] [before:DATE]",
    about: "find messages, newest first; a date is 2030-01-31",
    read: |rest| read(rest).map(Action::Search),
}];

fn read(rest: &str) -> Option<Search> {
    let mut search = Search::default();
    for word in words(rest)? {
        let filter = word.split_once(':');
        match filter {
            Some(("in", place)) => search.here = (place == "here").then_some(true)?,
            Some(("from", who)) => search.from = Some(name(who)?),
            Some(("after", date)) => search.after = Some(date.parse().ok()?),
            Some(("before", date)) => search.before = Some(date.parse().ok()?),
            _ => search.words.push(word),
        }
    }
    (search != Search::default()).then_some(search)
}

/// When a day begins, in milliseconds since 1970 UTC.
fn begin_ms(date: Date, zone: &TimeZone) -> i64 {
    let begins = date.to_zoned_datetime(zone.clone());
    begins.map_or(0, |begins| begins.timestamp().as_millisecond())
}

impl Talk {
    pub(super) async fn search(&mut self, search: Search) -> Result<(), WireError> {
        let mut query = format!("limit={HITS}&q={}", encoded(&search.words.join(" ")));
        if search.here {
            query.push_str(&format!("&conversation={}", encoded(&self.opened()?)));
        }
        if let Some(from) = &search.from {
            query.push_str(&format!("&from={}", encoded(&self.find(from).await?)));
        }
        if let Some(after) = search.after {
            query.push_str(&format!("&after={}", begin_ms(after, self.zone()).max(0)));
        }
        if let Some(before) = search.before {
            let last = begin_ms(before, self.zone()).saturating_sub(1).max(0);
            query.push_str(&format!("&before={last}"));
        }
        self.search_page(query).await
    }

    pub(super) async fn search_page(&mut self, query: String) -> Result<(), WireError> {
        let rest = self.account.rest().await?;
        let found = rest.get(&format!("/v1/search?{query}")).await?;
        let hits = found["messages"].as_array().cloned().unwrap_or_default();
        for hit in &hits {
            let line = self.hit_line(hit).await;
            self.say(&line).await;
        }
        let cursor = found["cursor"].as_str();
        if hits.is_empty() && cursor.is_none() {
            self.say("* nothing was found").await;
        }
        if let Some(cursor) = cursor {
            let (query, _) = query.split_once("&cursor=").unwrap_or((&query, ""));
            let next = format!("{query}&cursor={}", encoded(cursor));
            self.goes_on(More::Search(next)).await;
        }
        Ok(())
    }

    async fn hit_line(&mut self, hit: &Value) -> String {
        let entry = &hit["entry"];
        let from = entry["from"].as_str().unwrap_or_default();
        let from = self.name(from).await;
        let place = self.title_of(entry["conversation"].as_str().unwrap_or_default());
        let at = self.clock(entry["at"].as_u64().unwrap_or_default());
        let said = match entry["content"]["text"].as_str() {
            Some(text) => excerpt(text, &hit["highlights"]),
            None => render::content(&entry["content"]),
        };
        format!("  {at} {place} #{} {from}: {said}", entry["seq"])
    }
}

/// The part of a text around what was found, which stands in brackets.
fn excerpt(text: &str, highlights: &Value) -> String {
    let stretches: Vec<(usize, usize)> = highlights
        .as_array()
        .into_iter()
        .flatten()
        .filter(|stretch| stretch["field"].is_null() || stretch["field"] == "text")
        .filter_map(|stretch| {
            let place = |field: &str| usize::try_from(stretch[field].as_u64()?).ok();
            Some((place("start")?, place("end")?))
        })
        .collect();
    let length = text.chars().count();
    let found_at = stretches.iter().map(|(start, _)| *start).min().unwrap_or(0);
    let begin = if length <= SHOWN {
        0
    } else {
        found_at.saturating_sub(BEFORE)
    };
    let end = length.min(begin + SHOWN);
    let mut out = String::from(if begin > 0 { "…" } else { "" });
    for (index, c) in text.chars().enumerate().take(end).skip(begin) {
        if stretches.iter().any(|(start, _)| *start == index) {
            out.push('[');
        }
        out.push(c);
        if stretches.iter().any(|(_, end)| *end == index + 1) {
            out.push(']');
        }
    }
    out.push_str(if end < length { "…" } else { "" });
    render::label(&out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters_stand_among_the_words() {
        let day = |day: i8| Some(Date::constant(2026, 11, day));
        let search =
            read("蓝天 in:here from:@bob \"two words\" after:2026-11-01 before:2026-11-30");
        let wanted = Search {
            words: vec!["蓝天".into(), "two words".into()],
            here: true,
            from: Some("bob".into()),
            after: day(1),
            before: day(30),
        };
        assert_eq!(search, Some(wanted));
        assert!(read("from:bob").is_some_and(|search| search.words.is_empty()));
        let link = read("see https://a.b").map(|search| search.words);
        assert_eq!(link, Some(vec!["see".to_owned(), "https://a.b".to_owned()]));
        for wrong in [
            "",
            "x in:there",
            "x from:",
            "x after:soon",
            "x before:2026-13-01",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_found_stands_in_brackets_and_long_texts_are_cut_around_it() {
        let at = |start: u64, end: u64| json!([{"start": start, "end": end}]);
        assert_eq!(excerpt("看蓝天吧", &at(1, 3)), "看[蓝天]吧");
        let other = json!([{"start": 0, "end": 1, "field": "title"}]);
        assert_eq!(excerpt("a\nb", &other), "a b");
        let long = format!("{}walrus{}", "x".repeat(300), "y".repeat(300));
        let shown = excerpt(&long, &at(300, 306));
        let begins = format!("…{}[walrus]yy", "x".repeat(BEFORE));
        assert!(
            shown.starts_with(&begins) && shown.ends_with("y…"),
            "{shown}"
        );
        assert_eq!(shown.chars().count(), SHOWN + 4);
    }

    #[test]
    fn a_day_begins_where_one_is() {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        let date = Date::constant(1970, 1, 2);
        assert_eq!(begin_ms(date, &zone), 16 * 3_600_000);
    }
}
