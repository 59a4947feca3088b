//! A query as the server takes it, and its answer as candidates.
//! It decides nothing about what matches: `terms` does.

use serde_json::{Value, json};

use super::kept::{any, long};
use crate::ids::{ConversationId, EntryId};
use crate::search::terms::{self, Term};
use crate::search::{Candidate, Mark, Order, Query, SearchError};

/// Conversations in one clause; servers take up to 65,536.
const ROOMS_AT_ONCE: usize = 32_768;
/// Conversations whose first visible seq is looked at by the server; of more, whoever asked looks.
const NARROWED_MOST: usize = 200;

/// The body of the request.
pub fn body(query: &Query) -> Value {
    let mut terms = Vec::new();
    for term in &query.terms {
        match term {
            Term::Word(word) => terms.push(token(word)),
            // Every pair of it is there: whether they follow each other the log says.
            Term::Run(run) => terms.extend(terms::run_tokens(run).iter().map(|pair| token(pair))),
        }
    }
    let mut filters = vec![rooms(query)];
    if let Some(from) = query.from {
        filters.push(json!({"term": {"from": from.to_string()}}));
    }
    if query.after_ms.is_some() || query.before_ms.is_some() {
        let oldest = query.after_ms.map_or(EntryId(0), EntryId::first_at);
        let newest = query.before_ms.map_or(EntryId(u64::MAX), EntryId::last_at);
        let between = json!({"gte": long(oldest.0), "lte": long(newest.0)});
        filters.push(json!({"range": {"id": between}}));
    }
    let scored = query.order == Order::Best;
    let must = if scored {
        terms
    } else {
        filters.append(&mut terms);
        Vec::new()
    };
    let newest_first = json!({"id": "desc"});
    let sort = match scored {
        true => json!([{"_score": "desc"}, newest_first]),
        false => json!([newest_first]),
    };
    let mut body = json!({
        "size": query.limit,
        "_source": false,
        "stored_fields": "_none_",
        "docvalue_fields": ["room", "seq"],
        "track_total_hits": false,
        "query": {"bool": {"must": must, "filter": filters}},
        "sort": sort,
    });
    if let Some(below) = query.below {
        let id = long(below.id.0);
        body["search_after"] = match scored {
            true => json!([below.rank, id]),
            false => json!([id]),
        };
    }
    body
}

fn token(token: &str) -> Value {
    json!({"term": {"tokens": {"value": token}}})
}

fn rooms(query: &Query) -> Value {
    let mut whole = Vec::new();
    let mut queries = Vec::new();
    for room in &query.rooms {
        let name = room.conversation.to_string();
        if room.from > 1 && queries.len() < NARROWED_MOST {
            let visible = json!({"range": {"seq": {"gte": long(room.from)}}});
            let room = json!({"term": {"room": name}});
            queries.push(json!({"bool": {"filter": [room, visible]}}));
        } else {
            whole.push(name);
        }
    }
    let chunks = whole.chunks(ROOMS_AT_ONCE);
    queries.extend(chunks.map(|rooms| json!({"terms": {"room": rooms}})));
    any(queries)
}

/// What the server found, in its order.
pub fn candidates(answer: &Value, order: Order) -> Result<Vec<Candidate>, SearchError> {
    if answer["timed_out"] == true {
        let why = "the server gave up before it had looked everywhere";
        return Err(SearchError::Unavailable(why.to_owned()));
    }
    let hits = answer["hits"]["hits"].as_array();
    let candidates = hits.and_then(|hits| hits.iter().map(|hit| candidate(hit, order)).collect());
    candidates.ok_or_else(|| {
        SearchError::Damaged("the index holds something that is no message".to_owned())
    })
}

fn candidate(hit: &Value, order: Order) -> Option<Candidate> {
    let fields = &hit["fields"];
    let conversation: ConversationId = fields["room"][0].as_str()?.parse().ok()?;
    let (rank, id) = match order {
        Order::Newest => (0, &hit["sort"][0]),
        // Whole, and far below 2^24, up to which a score holds every number.
        Order::Best => (hit["sort"][0].as_f64()? as u32, &hit["sort"][1]),
    };
    Some(Candidate {
        conversation,
        seq: fields["seq"][0].as_u64()?,
        mark: Mark {
            rank,
            id: EntryId(id.as_u64()?),
        },
    })
}
