//! A query as tantivy takes it, and the collector that keeps the first of an order. Scores are made with fixed numbers
//! in place of the index's statistics, so that a message's rank is the same at all times.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::ColumnValues;
use tantivy::query::{
    AllQuery, Bm25StatisticsProvider, BooleanQuery, ConstScoreQuery, Query as TantivyQuery,
    TermQuery, TermSetQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, Score, Searcher, SegmentOrdinal, SegmentReader, Term};

use super::kept::{self, Fields};
use crate::entry::Seq;
use crate::ids::{ConversationId, EntryId};
use crate::search::terms::{self, Term as Asked};
use crate::search::{Candidate, Mark, Order, Query};

/// With so few conversations their messages are looked up first; with more each match is looked at.
const FEW_ROOMS: usize = 64;

pub fn find(
    searcher: &Searcher,
    fields: &Fields,
    query: &Query,
) -> tantivy::Result<Vec<Candidate>> {
    if query.limit == 0 || query.rooms.is_empty() {
        return Ok(Vec::new());
    }
    let collector = First {
        rooms: Arc::new(rooms(query)),
        oldest: query.after_ms.map_or(EntryId(0), EntryId::first_at),
        newest: query.before_ms.map_or(EntryId(u64::MAX), EntryId::last_at),
        below: query.below,
        limit: query.limit,
        scored: query.order == Order::Best,
    };
    let asked = asked(fields, query);
    searcher.search_with_statistics_provider(&*asked, &collector, &FixedStatistics)
}

/// Everything that must hold, as far as the index's terms go.
fn asked(fields: &Fields, query: &Query) -> Box<dyn TantivyQuery> {
    let mut all: Vec<Box<dyn TantivyQuery>> = Vec::new();
    for term in &query.terms {
        all.push(term_query(fields.text, term));
    }
    // Filters add nothing to a score.
    let mut filter = |query: Box<dyn TantivyQuery>| {
        all.push(Box::new(ConstScoreQuery::new(query, 0.0)));
    };
    if let Some(from) = query.from {
        let from = Term::from_field_u64(fields.from, from.0);
        filter(Box::new(TermQuery::new(from, IndexRecordOption::Basic)));
    }
    if query.rooms.len() <= FEW_ROOMS {
        let rooms = query
            .rooms
            .iter()
            .map(|room| fields.room_term(room.conversation));
        filter(Box::new(TermSetQuery::new(rooms)));
    }
    match all.len() {
        0 => Box::new(AllQuery),
        _ => Box::new(BooleanQuery::intersection(all)),
    }
}

fn term_query(text: Field, term: &Asked) -> Box<dyn TantivyQuery> {
    let single = |token: &str| -> Box<dyn TantivyQuery> {
        let term = Term::from_field_text(text, token);
        Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
    };
    match term {
        Asked::Word(word) => single(word),
        // Every pair of it is there: whether they follow each other the log says.
        Asked::Run(run) => {
            let tokens = terms::run_tokens(run);
            match tokens.as_slice() {
                [token] => single(token),
                tokens => {
                    let pairs = tokens.iter().map(|token| single(token));
                    Box::new(BooleanQuery::intersection(pairs.collect()))
                }
            }
        }
    }
}

type Rooms = HashMap<u64, Seq, BuildHasherDefault<Itself>>;

fn rooms(query: &Query) -> Rooms {
    let room = |room: &crate::search::Room| (kept::halves(room.conversation).1, room.from);
    query.rooms.iter().map(room).collect()
}

/// Halves of conversations' ids are uniformly distributed: they are their own hash.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }
}

/// As of a large index of chat, whatever this one holds.
struct FixedStatistics;

impl Bm25StatisticsProvider for FixedStatistics {
    fn total_num_tokens(&self, _: Field) -> tantivy::Result<u64> {
        Ok(20_000_000)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(1_000_000)
    }

    fn doc_freq(&self, _: &Term) -> tantivy::Result<u64> {
        Ok(1_000)
    }
}

/// Keeps the first of the order among what passes the filters.
struct First {
    rooms: Arc<Rooms>,
    oldest: EntryId,
    newest: EntryId,
    below: Option<Mark>,
    limit: usize,
    scored: bool,
}

impl Collector for First {
    type Fruit = Vec<Candidate>;
    type Child = FirstOfSegment;

    fn for_segment(
        &self,
        _: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<FirstOfSegment> {
        let column = |name| segment.fast_fields().column_first_or_default(name);
        Ok(FirstOfSegment {
            id: column(kept::ID)?,
            room: column(kept::ROOM)?,
            room_high: column(kept::ROOM_HIGH)?,
            seq: column(kept::SEQ)?,
            rooms: self.rooms.clone(),
            oldest: self.oldest,
            newest: self.newest,
            below: self.below,
            limit: self.limit,
            scored: self.scored,
            least: 0,
            matched: Vec::new(),
            first: BinaryHeap::new(),
        })
    }

    fn requires_scoring(&self) -> bool {
        self.scored
    }

    fn merge_fruits(&self, segments: Vec<Vec<Candidate>>) -> tantivy::Result<Vec<Candidate>> {
        let mut all: Vec<Candidate> = segments.into_iter().flatten().collect();
        all.sort_unstable_by_key(|candidate| Reverse(candidate.mark));
        all.truncate(self.limit);
        Ok(all)
    }
}

struct FirstOfSegment {
    id: Arc<dyn ColumnValues<u64>>,
    room: Arc<dyn ColumnValues<u64>>,
    room_high: Arc<dyn ColumnValues<u64>>,
    seq: Arc<dyn ColumnValues<u64>>,
    rooms: Arc<Rooms>,
    oldest: EntryId,
    newest: EntryId,
    below: Option<Mark>,
    limit: usize,
    scored: bool,
    /// What has a lower rank is not among the first.
    least: u32,
    /// Without scores: everything that matched, looked at when it is complete.
    matched: Vec<DocId>,
    /// The last of the order on top.
    first: BinaryHeap<Reverse<(Mark, DocId)>>,
}

/// Documents whose ids are read at once.
const AT_ONCE: usize = 512;

impl FirstOfSegment {
    /// A segment's documents are about in the order of their time. From its end on nearly all that comes after the
    /// first few is older than what there is already, and passed over at a glance; from its beginning on each would be
    /// newer than all before it.
    fn look_from_the_end(&mut self) {
        let matched = std::mem::take(&mut self.matched);
        let mut ids = Vec::with_capacity(AT_ONCE);
        for docs in matched.rchunks(AT_ONCE) {
            ids.resize(docs.len(), 0);
            self.id.get_vals(docs, &mut ids);
            for (doc, id) in docs.iter().zip(&ids).rev() {
                let mark = Mark {
                    rank: 0,
                    id: EntryId(*id),
                };
                self.consider(mark, *doc);
            }
        }
    }

    fn consider(&mut self, mark: Mark, doc: DocId) {
        let full = self.first.len() == self.limit;
        let too_late = full
            && self
                .first
                .peek()
                .is_some_and(|Reverse((last, _))| mark <= *last);
        if too_late || self.below.is_some_and(|below| mark >= below) {
            return;
        }
        if mark.id < self.oldest || mark.id > self.newest {
            return;
        }
        let Some(&from) = self.rooms.get(&self.room.get_val(doc)) else {
            return;
        };
        if from > 1 && self.seq.get_val(doc) < from {
            return;
        }
        if full {
            self.first.pop();
        }
        self.first.push(Reverse((mark, doc)));
        if self.first.len() == self.limit
            && let Some(Reverse((last, _))) = self.first.peek()
        {
            self.least = last.rank;
        }
    }
}

impl SegmentCollector for FirstOfSegment {
    type Fruit = Vec<Candidate>;

    fn collect(&mut self, doc: DocId, score: Score) {
        if !self.scored {
            self.matched.push(doc);
            return;
        }
        // Thousandths: sums of floats may differ in their last bits.
        let rank = (score * 1000.0) as u32;
        // Nearly all end here, before anything is read of them.
        if rank < self.least || self.below.is_some_and(|below| rank > below.rank) {
            return;
        }
        let id = EntryId(self.id.get_val(doc));
        self.consider(Mark { rank, id }, doc);
    }

    fn collect_block(&mut self, docs: &[DocId]) {
        self.matched.extend_from_slice(docs);
    }

    fn harvest(mut self) -> Vec<Candidate> {
        self.look_from_the_end();
        let candidate = |Reverse((mark, doc)): &Reverse<(Mark, DocId)>| {
            let (high, low) = (self.room_high.get_val(*doc), self.room.get_val(*doc));
            Candidate {
                conversation: ConversationId(u128::from(high) << 64 | u128::from(low)),
                seq: self.seq.get_val(*doc),
                mark: *mark,
            }
        };
        self.first.iter().map(candidate).collect()
    }
}
