//! The newest stretch of the feed, in memory: what follows the commits closely reads what was just written without
//! asking the tables. Bounded by bytes; whatever else than new entries was committed empties it, so that it never
//! holds a content as it was before.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::entry::Entry;
use crate::store::log::batch::News;

/// Bytes of entries that are kept.
const BYTES_MOST: usize = 8 * 1024 * 1024;
/// What an entry takes besides its content.
const ENTRY_BYTES: usize = 384;

/// The newest entries of all conversations.
#[derive(Default)]
pub struct Tail(Mutex<Stretch>);

#[derive(Default)]
struct Stretch {
    /// Everything with a later stamp than this, and nothing else, is here; `None` before the first commit.
    after: Option<u64>,
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

impl Tail {
    /// Takes what was committed; `newest` is the newest stamp of it, `before` the newest of all that was earlier.
    pub fn extend(&self, news: News, before: u64, newest: u64) {
        let mut stretch = self.0.lock();
        if news.other {
            *stretch = Stretch {
                after: Some(newest),
                ..Stretch::default()
            };
            return;
        }
        stretch.after.get_or_insert(before);
        stretch.bytes += news.entries.iter().map(|entry| bytes(entry)).sum::<usize>();
        stretch.entries.extend(news.entries);
        while stretch.bytes > BYTES_MOST
            && let Some(oldest) = stretch.entries.pop_front()
        {
            stretch.bytes -= bytes(&oldest);
            stretch.after = Some(oldest.id.0);
        }
    }

    /// At most `limit` entries with stamps after one and up to another, and whether there are more; `None` when not
    /// all of them are here.
    pub fn read(&self, after: u64, to: u64, limit: usize) -> Option<(Vec<Arc<Entry>>, bool)> {
        let stretch = self.0.lock();
        if stretch.after.is_none_or(|first| after < first) {
            return None;
        }
        let upto = |stamp| stretch.entries.partition_point(|entry| entry.id.0 <= stamp);
        let (from, to) = (upto(after), upto(to));
        let end = to.min(from + limit).max(from);
        let entries = stretch.entries.range(from..end).cloned().collect();
        Some((entries, end < to))
    }
}

fn bytes(entry: &Entry) -> usize {
    let content = entry
        .message()
        .and_then(|message| message.content.as_deref());
    ENTRY_BYTES + content.map_or(0, |json| json.get().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Body;
    use crate::ids::{ConversationId, EntryId, UserId};

    fn entry(id: u64) -> Arc<Entry> {
        Arc::new(Entry {
            conversation: ConversationId(1),
            seq: id,
            id: EntryId(id),
            at: 0,
            from: UserId(1),
            body: Body::React {
                target: 1,
                emoji: String::new(),
                on: true,
            },
            audience: None,
            made: None,
        })
    }

    fn news(ids: impl IntoIterator<Item = u64>) -> News {
        News {
            entries: ids.into_iter().map(entry).collect(),
            other: false,
        }
    }

    fn ids(read: Option<(Vec<Arc<Entry>>, bool)>) -> Option<(Vec<u64>, bool)> {
        read.map(|(entries, more)| (entries.iter().map(|entry| entry.id.0).collect(), more))
    }

    #[test]
    fn what_was_committed_is_read_in_stretches() {
        let tail = Tail::default();
        assert_eq!(ids(tail.read(0, 9, 9)), None);
        tail.extend(news([11, 12]), 10, 12);
        tail.extend(news([15]), 12, 15);
        assert_eq!(ids(tail.read(9, 15, 9)), None);
        assert_eq!(ids(tail.read(10, 15, 2)), Some((vec![11, 12], true)));
        assert_eq!(ids(tail.read(12, 15, 2)), Some((vec![15], false)));
        assert_eq!(ids(tail.read(10, 12, 9)), Some((vec![11, 12], false)));
        assert_eq!(ids(tail.read(15, 15, 9)), Some((vec![], false)));
        assert_eq!(ids(tail.read(16, 15, 9)), Some((vec![], false)));
    }

    #[test]
    fn a_change_of_what_stands_empties_it() {
        let tail = Tail::default();
        tail.extend(news([1, 2]), 0, 2);
        tail.extend(
            News {
                other: true,
                ..news([3])
            },
            2,
            4,
        );
        assert_eq!(ids(tail.read(3, 4, 9)), None);
        assert_eq!(ids(tail.read(4, 4, 9)), Some((vec![], false)));
    }

    #[test]
    fn the_oldest_make_room() {
        let tail = Tail::default();
        let most = (BYTES_MOST / ENTRY_BYTES) as u64;
        tail.extend(news(1..=most + 2), 0, most + 2);
        assert_eq!(ids(tail.read(1, most, 1)), None);
        assert_eq!(ids(tail.read(2, most, 1)), Some((vec![3], true)));
    }
}
