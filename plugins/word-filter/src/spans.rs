//! Hits as they are put together while a text is read: those of one rule that touch are one, and a text has a bounded
//! number of them. Knows no words and no texts.

use crate::words::Level;

/// Most hits of one reading of a text (pinyin with tones takes a second one). Beyond it a hit is joined to the one
/// before it of its rule, or else of its level, with what stands between: nothing is missed, and the answer stays small.
pub const MOST: usize = 256;
const NONE: usize = usize::MAX;

/// A stretch of a text that one rule hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
    pub group: usize,
    /// The one before it of the same group; where that is itself, the span has become part of a later one.
    before: usize,
}

/// Spans that end in the order in which they are added.
pub struct Spans {
    spans: Vec<Span>,
    alive: usize,
    groups: usize,
    /// The newest span of each group; made with the first hit.
    by_group: Vec<usize>,
    by_level: [usize; 3],
    #[cfg(test)]
    pub steps: usize,
}

impl Spans {
    /// A group is a level and a category: what hits are told apart by.
    pub fn new(groups: usize) -> Self {
        Self {
            spans: Vec::new(),
            alive: 0,
            groups,
            by_group: Vec::new(),
            by_level: [NONE; 3],
            #[cfg(test)]
            steps: 0,
        }
    }

    pub fn add(&mut self, group: usize, level: Level, start: u32, end: u32) {
        if self.by_group.is_empty() {
            self.by_group = vec![NONE; self.groups];
        }
        self.count();
        let newest = self.by_group[group];
        let touches = |span: &Span| start <= span.end;
        if self.spans.get(newest).is_some_and(touches) {
            return self.join(newest, start, end);
        }
        if self.alive >= MOST {
            let of_level = self.by_level[level as usize];
            let joined = if newest == NONE { of_level } else { newest };
            if joined != NONE {
                return self.join(joined, start, end);
            }
        }
        let place = self.spans.len();
        self.spans.push(Span {
            start,
            end,
            group,
            before: newest,
        });
        self.alive += 1;
        self.by_group[group] = place;
        self.by_level[level as usize] = place;
    }

    /// Makes a span wider; those of its group it now touches become part of it.
    fn join(&mut self, place: usize, start: u32, end: u32) {
        let mut span = self.spans[place];
        span.start = span.start.min(start);
        span.end = span.end.max(end);
        while let Some(before) = self.spans.get(span.before).copied() {
            if before.end < span.start {
                break;
            }
            self.count();
            self.spans[span.before].before = span.before;
            self.alive -= 1;
            span.start = span.start.min(before.start);
            span.before = before.before;
        }
        self.spans[place] = span;
    }

    /// Those that are left.
    pub fn into_spans(self) -> impl Iterator<Item = Span> {
        let numbered = self.spans.into_iter().enumerate();
        numbered.filter_map(|(place, span)| (span.before != place).then_some(span))
    }

    fn count(&mut self) {
        #[cfg(test)]
        {
            self.steps += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(spans: Spans) -> Vec<(usize, u32, u32)> {
        let spans = spans.into_spans();
        spans
            .map(|span| (span.group, span.start, span.end))
            .collect()
    }

    #[test]
    fn what_touches_is_one_and_other_rules_stay_apart() {
        let mut spans = Spans::new(2);
        spans.add(0, Level::Mask, 0, 2);
        spans.add(0, Level::Mask, 2, 4);
        spans.add(1, Level::Reject, 1, 4);
        spans.add(0, Level::Mask, 6, 8);
        assert_eq!(places(spans), [(0, 0, 4), (1, 1, 4), (0, 6, 8)]);
    }

    #[test]
    fn a_longer_hit_takes_in_the_ones_inside_it() {
        let mut spans = Spans::new(1);
        for (start, end) in [(0, 1), (2, 3), (4, 5), (1, 6)] {
            spans.add(0, Level::Mask, start, end);
        }
        assert_eq!(places(spans), [(0, 0, 6)]);
    }

    #[test]
    fn beyond_the_bound_hits_are_joined_and_every_level_is_kept() {
        let mut spans = Spans::new(4_000);
        for n in 0..3_000 {
            spans.add(n as usize, Level::Mask, n * 2, n * 2 + 1);
        }
        spans.add(3_500, Level::Reject, 6_000, 6_001);
        let found = places(spans);
        assert_eq!(found.len(), MOST + 1);
        assert_eq!(found[MOST - 1], (MOST - 1, 510, 5_999));
        assert_eq!(found[MOST], (3_500, 6_000, 6_001));
    }
}
