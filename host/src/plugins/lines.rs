//! The newest lines of plugins' logs, for administrators: one ring for all plugins, which forgets its oldest lines (I5).
//! Nothing of it is stored; the host's own log has the lines too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kith_runtime::LineSink;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use crate::clock::Clock;

/// Lines kept, of all plugins together; each has at most 1 KiB.
pub const LINES_MOST: usize = 5000;

/// A line of a plugin's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// From 1, rising over all plugins.
    pub number: u64,
    /// Milliseconds since 1970 UTC.
    pub at: u64,
    #[serde(skip)]
    plugin: String,
    pub version: String,
    pub level: &'static str,
    pub text: String,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct LinePage {
    /// Of the one plugin, oldest first.
    pub lines: Vec<Line>,
    /// Where to go on.
    pub next: u64,
    /// Lines behind the reader's place were forgotten before they were read; they may have been of other plugins.
    pub missed: bool,
}

/// The ring.
pub struct PluginLines {
    clock: Arc<dyn Clock>,
    held: Mutex<VecDeque<Line>>,
    /// The number of the newest line.
    newest: watch::Sender<u64>,
}

impl PluginLines {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            held: Mutex::new(VecDeque::new()),
            newest: watch::Sender::new(0),
        }
    }

    /// A plugin's lines after a number; the newest `limit` where there is no number, the next ones where there is.
    pub fn read(&self, plugin: &str, after: Option<u64>, limit: usize) -> LinePage {
        let held = self.held.lock();
        let from = after.unwrap_or(0);
        let own = held
            .iter()
            .filter(|line| line.plugin == plugin && line.number > from);
        let mut lines: Vec<Line> = match after {
            Some(_) => own.take(limit).cloned().collect(),
            None => own.rev().take(limit).cloned().collect(),
        };
        if after.is_none() {
            lines.reverse();
        }
        let newest = held.back().map_or(from, |line| line.number);
        let cut_off = after.is_some() && lines.len() == limit;
        LinePage {
            next: match lines.last() {
                Some(last) if cut_off => last.number,
                _ => newest.max(from),
            },
            missed: after.is_some() && held.front().is_some_and(|line| line.number > from + 1),
            lines,
        }
    }

    /// As `read`, and waits so long for a line where there is none.
    pub async fn follow(
        &self,
        plugin: &str,
        after: Option<u64>,
        limit: usize,
        wait: Duration,
    ) -> LinePage {
        let mut newest = self.newest.subscribe();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            newest.mark_unchanged();
            let page = self.read(plugin, after, limit);
            if !page.lines.is_empty() || page.missed {
                return page;
            }
            let more = tokio::time::timeout_at(deadline, newest.changed()).await;
            if !matches!(more, Ok(Ok(()))) {
                return page;
            }
        }
    }
}

impl LineSink for PluginLines {
    fn line(&self, plugin: &str, version: &str, level: &'static str, text: &str) {
        let at = self.clock.now_ms();
        let mut held = self.held.lock();
        let number = *self.newest.borrow() + 1;
        if held.len() == LINES_MOST {
            held.pop_front();
        }
        held.push_back(Line {
            number,
            at,
            plugin: plugin.to_owned(),
            version: version.to_owned(),
            level,
            text: text.to_owned(),
        });
        self.newest.send_replace(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn texts(page: &LinePage) -> Vec<&str> {
        page.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_reader_sees_its_plugins_lines_in_order_and_what_it_missed() {
        let lines = PluginLines::new(Arc::new(SystemClock));
        for number in 1..=6 {
            let plugin = if number % 2 == 0 { "even" } else { "odd" };
            lines.line(plugin, "1.0.0", "info", &number.to_string());
        }
        let newest = lines.read("even", None, 2);
        assert_eq!((texts(&newest), newest.next), (vec!["4", "6"], 6));
        let first = lines.read("even", Some(0), 2);
        assert_eq!(
            (texts(&first), first.next, first.missed),
            (vec!["2", "4"], 4, false)
        );
        let rest = lines.read("even", Some(first.next), 2);
        assert_eq!((texts(&rest), rest.next), (vec!["6"], 6));
        for _ in 0..LINES_MOST {
            lines.line("odd", "1.0.0", "info", "more");
        }
        let late = lines.read("even", Some(2), 2);
        assert!(late.missed && late.lines.is_empty());
    }

    #[tokio::test]
    async fn following_ends_with_a_line_or_with_its_time() {
        let lines = Arc::new(PluginLines::new(Arc::new(SystemClock)));
        let none = lines.follow("one", Some(0), 10, Duration::ZERO).await;
        assert!(none.lines.is_empty());
        let wait = Duration::from_secs(20);
        let follower = {
            let lines = lines.clone();
            tokio::spawn(async move { lines.follow("one", Some(0), 10, wait).await })
        };
        tokio::task::yield_now().await;
        lines.line("another", "1.0.0", "info", "not this");
        lines.line("one", "1.0.0", "warn", "this");
        let page = follower.await.expect("a page");
        assert_eq!((texts(&page), page.next), (vec!["this"], 2));
    }
}
