//! Finding messages: where a query is answered (the log or the index), where its asker may look, and whether a
//! candidate is a hit. The log is the truth: every hit is read from it, so nothing recalled, hidden or edited away is
//! shown, whatever the index still has.

use std::collections::HashMap;
use std::sync::Arc;

use super::store_refusal;
use crate::content::Content;
use crate::entry::{Entry, Seq};
use crate::ids::{ConversationId, EntryId, UserId};
use crate::refusal::{Code, Refusal};
use crate::search::serving::Serving;
use crate::search::terms::{self, Highlight, QUERY_CHARS, Term};
use crate::search::{Candidate, Mark, Order, Query, Room, SearchError};
use crate::store::{MessageLog, Span};

/// Candidates that one request looks at: what is left is the next page's.
const EXAMINED_MOST: usize = 2_000;
/// Candidates asked of an index at once, at most and at least.
const ASKED_MOST: usize = 256;
const ASKED_LEAST: usize = 16;
/// Entries read of a log at once.
const STRETCH: usize = 200;

/// What somebody looks for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub words: String,
    pub conversation: Option<ConversationId>,
    pub from: Option<UserId>,
    /// Not before, milliseconds since 1970 UTC.
    pub after_ms: Option<u64>,
    /// Not after.
    pub before_ms: Option<u64>,
    pub order: Order,
    /// From the page before.
    pub cursor: Option<String>,
    pub limit: usize,
}

/// A page of hits.
#[derive(Debug, Default)]
pub struct Found {
    pub hits: Vec<Hit>,
    pub cursor: Option<String>,
}

#[derive(Debug)]
pub struct Hit {
    pub entry: Arc<Entry>,
    /// With the field of the content they are in.
    pub highlights: Vec<(&'static str, Highlight)>,
}

/// Finds messages for their readers.
pub struct Finder {
    log: Arc<dyn MessageLog>,
    /// `None` where nothing searches.
    index: Option<Arc<Serving>>,
}

/// Which conversations may be looked into and from which seq on, as far as it is known; learned hit by hit.
struct Sight {
    user: UserId,
    known: HashMap<ConversationId, Option<Seq>>,
}

impl Finder {
    pub fn new(log: Arc<dyn MessageLog>, index: Option<Arc<Serving>>) -> Self {
        Self { log, index }
    }

    /// A page of what a user may see of what is wanted.
    pub async fn find(&self, user: UserId, wanted: &Wanted) -> Result<Found, Refusal> {
        if wanted.words.chars().count() > QUERY_CHARS {
            let message = format!("q has more than {QUERY_CHARS} characters");
            return Err(Refusal::bad_request(message));
        }
        let terms = terms::terms(&wanted.words);
        let filtered =
            wanted.from.is_some() || wanted.after_ms.is_some() || wanted.before_ms.is_some();
        let blank = wanted.words.trim().is_empty();
        if blank && !filtered && wanted.conversation.is_none() {
            return Err(Refusal::bad_request("q or a filter is needed"));
        }
        let below = wanted.cursor.as_deref().map(|cursor| {
            read_cursor(cursor, wanted.order)
                .ok_or_else(|| Refusal::bad_request("not a cursor of this list"))
        });
        let below = below.transpose()?;
        let mut sight = Sight {
            user,
            known: HashMap::new(),
        };
        if let Some(conversation) = wanted.conversation {
            self.admit(&mut sight, conversation).await?;
            if blank && !filtered {
                return self.newest(user, conversation, wanted, below).await;
            }
        }
        if terms.is_empty() && !blank {
            return Ok(Found::default());
        }
        let index = self
            .index
            .as_deref()
            .ok_or_else(|| Refusal::unavailable("this deployment has no search"))?;
        self.matches(index, &mut sight, terms, wanted, below).await
    }

    /// Strangers are told there is nothing here, former members that they left.
    async fn admit(&self, sight: &mut Sight, conversation: ConversationId) -> Result<(), Refusal> {
        let standing = self
            .log
            .standing(conversation, sight.user)
            .await
            .map_err(|e| store_refusal(&e))?;
        match standing.and_then(|standing| standing.member) {
            None => Err(Refusal::not_found("no such conversation")),
            Some(member) if member.left.is_some() => Err(Refusal::new(
                Code::NotMember,
                "no longer a member of this conversation",
            )),
            Some(member) => {
                sight
                    .known
                    .insert(conversation, Some(member.visible_from.max(1)));
                Ok(())
            }
        }
    }

    /// A conversation without words: the log itself, newest first.
    async fn newest(
        &self,
        user: UserId,
        conversation: ConversationId,
        wanted: &Wanted,
        below: Option<Mark>,
    ) -> Result<Found, Refusal> {
        // Here a mark's id is a seq: a cursor leads back to where it was given.
        let mut before = below.map(|mark| mark.id.0);
        let mut found = Found::default();
        for _ in 0..EXAMINED_MOST / STRETCH {
            let span = Span {
                after: None,
                before,
                limit: STRETCH,
            };
            let page = self
                .log
                .page(conversation, user, span)
                .await
                .map_err(|e| store_refusal(&e))?;
            let Some(oldest) = page.entries.first().map(|entry| entry.seq) else {
                found.cursor = None;
                return Ok(found);
            };
            for entry in page.entries.into_iter().rev() {
                let seq = entry.seq;
                if is_shown(&entry, user) {
                    if found.hits.len() == wanted.limit {
                        return Ok(found);
                    }
                    found.hits.push(Hit {
                        entry,
                        highlights: Vec::new(),
                    });
                }
                found.cursor = Some(write_cursor(wanted.order, at_seq(seq)));
            }
            before = Some(oldest);
        }
        Ok(found)
    }

    /// Words, or filters together: the index's candidates, each held against the log.
    async fn matches(
        &self,
        index: &Serving,
        sight: &mut Sight,
        terms: Vec<Term>,
        wanted: &Wanted,
        below: Option<Mark>,
    ) -> Result<Found, Refusal> {
        let conversations = match wanted.conversation {
            Some(conversation) => vec![conversation],
            None => self
                .log
                .conversations_of(sight.user)
                .await
                .map_err(|e| store_refusal(&e))?,
        };
        let mut query = Query {
            terms,
            rooms: Vec::new(),
            from: wanted.from,
            after_ms: wanted.after_ms,
            before_ms: wanted.before_ms,
            order: wanted.order,
            below,
            limit: 0,
        };
        let (mut found, mut examined) = (Found::default(), 0);
        loop {
            query.rooms = sight.rooms(&conversations);
            query.limit = (wanted.limit + 1 - found.hits.len()).clamp(ASKED_LEAST, ASKED_MOST);
            let candidates = index
                .find(query.clone())
                .await
                .map_err(|error| search_refusal(&error))?;
            for candidate in &candidates {
                if let Some(hit) = self.hit(sight, candidate, &query).await? {
                    if found.hits.len() == wanted.limit {
                        return Ok(found);
                    }
                    found.hits.push(hit);
                }
                found.cursor = Some(write_cursor(wanted.order, candidate.mark));
            }
            if candidates.len() < query.limit {
                found.cursor = None;
                return Ok(found);
            }
            examined += candidates.len();
            if examined >= EXAMINED_MOST {
                return Ok(found);
            }
            query.below = candidates.last().map(|candidate| candidate.mark);
        }
    }

    /// The message a candidate leads to, if it is there, may be seen, and is what was asked for as it stands now.
    async fn hit(
        &self,
        sight: &mut Sight,
        candidate: &Candidate,
        query: &Query,
    ) -> Result<Option<Hit>, Refusal> {
        let visible = self.sees(sight, candidate.conversation).await?;
        if visible.is_none_or(|from| candidate.seq < from) {
            return Ok(None);
        }
        let entry = self
            .log
            .entry(candidate.conversation, candidate.seq)
            .await
            .map_err(|e| store_refusal(&e))?;
        let Some((entry, _)) = entry else {
            return Ok(None);
        };
        let fits = is_shown(&entry, sight.user)
            && query.from.is_none_or(|from| entry.from == from)
            && query.after_ms.is_none_or(|after| entry.at >= after)
            && query.before_ms.is_none_or(|before| entry.at <= before);
        if !fits {
            return Ok(None);
        }
        Ok(highlights(&entry, &query.terms).map(|highlights| Hit { entry, highlights }))
    }

    async fn sees(
        &self,
        sight: &mut Sight,
        conversation: ConversationId,
    ) -> Result<Option<Seq>, Refusal> {
        if let Some(known) = sight.known.get(&conversation) {
            return Ok(*known);
        }
        let standing = self
            .log
            .standing(conversation, sight.user)
            .await
            .map_err(|e| store_refusal(&e))?;
        let visible = standing
            .and_then(|standing| standing.member)
            .filter(|member| member.left.is_none())
            .map(|member| member.visible_from.max(1));
        sight.known.insert(conversation, visible);
        Ok(visible)
    }
}

impl Sight {
    /// Where to look: what turned out to be closed is left out, what is visible in part from there on.
    fn rooms(&self, conversations: &[ConversationId]) -> Vec<Room> {
        let room = |conversation: &ConversationId| {
            let from = match self.known.get(conversation) {
                None => 1,
                Some(known) => (*known)?,
            };
            Some(Room {
                conversation: *conversation,
                from,
            })
        };
        conversations.iter().filter_map(room).collect()
    }
}

/// A message whose content is there, for this reader.
fn is_shown(entry: &Entry, user: UserId) -> bool {
    let has_content = entry
        .message()
        .is_some_and(|message| message.content.is_some());
    has_content && entry.is_for(user)
}

/// Where a message has what was asked for; `None` when it does not have all of it.
fn highlights(entry: &Entry, terms: &[Term]) -> Option<Vec<(&'static str, Highlight)>> {
    if terms.is_empty() {
        return Some(Vec::new());
    }
    let content = Content::from_stored(entry.message()?.content.as_deref()?.get())?;
    let (fields, texts): (Vec<&str>, Vec<&str>) = content.searchable().unzip();
    let found = terms::find(terms, &texts)?;
    let of_field = |(field, found): (&'static str, Vec<Highlight>)| {
        found.into_iter().map(move |highlight| (field, highlight))
    };
    Some(fields.into_iter().zip(found).flat_map(of_field).collect())
}

fn search_refusal(error: &SearchError) -> Refusal {
    tracing::debug!(%error, "a search was not answered");
    Refusal::unavailable("search is not available at the moment")
}

fn at_seq(seq: Seq) -> Mark {
    Mark {
        rank: 0,
        id: EntryId(seq),
    }
}

fn write_cursor(order: Order, mark: Mark) -> String {
    let order = match order {
        Order::Newest => 'n',
        Order::Best => 'b',
    };
    format!("{order}{:08x}{:016x}", mark.rank, mark.id.0)
}

fn read_cursor(text: &str, order: Order) -> Option<Mark> {
    let canonical = text.len() == 25 && text.is_ascii();
    let expected = match order {
        Order::Newest => 'n',
        Order::Best => 'b',
    };
    if !canonical || !text.starts_with(expected) {
        return None;
    }
    let mark = Mark {
        rank: u32::from_str_radix(&text[1..9], 16).ok()?,
        id: EntryId(u64::from_str_radix(&text[9..], 16).ok()?),
    };
    (write_cursor(order, mark) == text).then_some(mark)
}
