//! Reads of conversations, their entries, members and rows. Each first has projected what it depends on; nothing is served
//! from memory that another node may have changed.

use std::sync::Arc;

use mongodb::bson::{Bson, Document, doc};

use super::Shared;
use super::apply::About;
use super::docs::{self, Stored, damaged, get_blob, get_text, int, lane_of, member_id, row_id};
use super::engine::entry_filter;
use super::schema::{CONVERSATIONS, ENTRIES, MEMBERS, ROWS};
use crate::conversation::{Kind, Member};
use crate::entry::{DecisionRecord, Entry, Seq};
use crate::ids::{ConversationId, EntryId, HoldId, JoinRequestId, UserId};
use crate::store::groups::{JoinRequest, MemberRow, Roster};
use crate::store::judged::BesideLimits;
use crate::store::log::answers::{AnswerRow, StoredAnswer};
use crate::store::log::batch::acked_content;
use crate::store::log::heads::State;
use crate::store::log::rows::{EntryRow, Reader};
use crate::store::log::{held, join_request, key};
use crate::store::{
    CommitError, Extent, FirstAnswer, HeldMessage, Page, ResendKey, Span, Standing, StoreError,
};

/// Rows read at once where all are looked through.
const STRETCH: usize = 1_000;

impl Shared {
    /// A conversation as of everything a majority has, with the members of kinds that have few.
    pub async fn current(&self, id: ConversationId) -> Result<Option<(State, Stored)>, StoreError> {
        self.catch_up(About::Conversation(id)).await?;
        self.state(id).await
    }

    /// The row of whoever is or was a member; with a group's end everyone has left.
    pub async fn member_of(
        &self,
        state: &State,
        user: UserId,
    ) -> Result<Option<Member>, StoreError> {
        if state.conversation.kind != Kind::Group {
            return Ok(state.member(user).cloned());
        }
        let filter = docs::member_filter(state.conversation.id, user);
        let found = self.mongo.find_one(MEMBERS, filter).await?;
        let found = found.map(|found| docs::member(&found)).transpose()?;
        Ok(found.map(|member| Member {
            left: member.left.or(state.conversation.dissolved()),
            ..member
        }))
    }

    pub async fn standing(
        &self,
        id: ConversationId,
        user: UserId,
    ) -> Result<Option<Standing>, StoreError> {
        let Some((state, _)) = self.current(id).await? else {
            return Ok(None);
        };
        Ok(Some(Standing {
            conversation: state.conversation.clone(),
            member: self.member_of(&state, user).await?,
            head: state.head,
            unanswered: state.unanswered(user),
            answered: state.answered(user),
            floor: state.floor.seq,
        }))
    }

    pub async fn first_answer(
        &self,
        id: ConversationId,
        author: UserId,
        key: ResendKey,
    ) -> Result<Option<Result<FirstAnswer, CommitError>>, StoreError> {
        let name = docs::answer_key(author, &key.client_id);
        let filter = doc! {"c": lane_of(id), "k": name};
        let Some(mut found) = self.mongo.find_one(ENTRIES, filter.clone()).await? else {
            return Ok(None);
        };
        // An answer that stands may be about to change: a hold that was released, refused.
        if found.contains_key("a") && !found.contains_key("seq") {
            self.catch_up(About::Conversation(id)).await?;
            found = self.mongo.find_one(ENTRIES, filter).await?.unwrap_or(found);
        }
        let row = get_blob(&found, "a").ok_or_else(|| damaged("a first answer"))?;
        let row = AnswerRow::decode(row)?;
        if row.fingerprint != key.fingerprint {
            return Ok(Some(Err(CommitError::Conflict)));
        }
        Ok(Some(Ok(match row.answer {
            StoredAnswer::Held(hold) => FirstAnswer::Held { hold },
            StoredAnswer::Dropped { .. } => FirstAnswer::Dropped,
            StoredAnswer::Command { reply, .. } => FirstAnswer::Command { reply },
            StoredAnswer::Refused { by, reason, .. } => FirstAnswer::Refused { by, reason },
            StoredAnswer::Committed {
                seq,
                id: entry,
                replaced,
            } => {
                let row = match replaced {
                    true => self.entry_row(id, seq).await?,
                    false => None,
                };
                FirstAnswer::Committed {
                    seq,
                    id: entry,
                    replaced: row.and_then(acked_content),
                }
            }
        })))
    }

    pub async fn entry_row(
        &self,
        id: ConversationId,
        seq: Seq,
    ) -> Result<Option<EntryRow>, StoreError> {
        self.catch_up(About::Conversation(id)).await?;
        let found = self.mongo.find_one(ENTRIES, entry_filter(id, seq)).await?;
        found.map(|found| docs::entry_of(&found)).transpose()
    }

    pub async fn entry(
        &self,
        id: ConversationId,
        seq: Seq,
    ) -> Result<Option<(Arc<Entry>, DecisionRecord)>, StoreError> {
        let row = self.entry_row(id, seq).await?;
        Ok(row.map(|row| (row.entry, row.record)))
    }

    pub async fn page(
        &self,
        id: ConversationId,
        reader: UserId,
        span: Span,
    ) -> Result<Page, StoreError> {
        let mut page = Page {
            entries: Vec::new(),
            head: 0,
            floor: 1,
        };
        let Some((state, _)) = self.current(id).await? else {
            return Ok(page);
        };
        let member = self.member_of(&state, reader).await?;
        let visible_from = member.map_or(1, |member| member.visible_from.max(1));
        (page.head, page.floor) = (state.head, visible_from.max(state.floor.seq));
        let first = span
            .after
            .map_or(page.floor, |after| after.saturating_add(1).max(page.floor));
        let last = span.before.map_or(state.head, |before| {
            before.saturating_sub(1).min(state.head)
        });
        if first > last || span.limit == 0 {
            return Ok(page);
        }
        let newest = span.after.is_none();
        let filter = between(id, (first, last));
        let order = doc! {"seq": if newest { -1 } else { 1 }};
        let found = self.mongo.find(ENTRIES, filter, order, span.limit).await?;
        for document in &found {
            page.entries.push(docs::entry_of(document)?.entry);
        }
        if newest {
            page.entries.reverse();
        }
        Ok(page)
    }

    pub async fn members(&self, id: ConversationId) -> Result<Arc<[UserId]>, StoreError> {
        self.catch_up(About::Conversation(id)).await?;
        let Some(stored) = self.conversation(id).await? else {
            return Ok(Arc::from([]));
        };
        match stored.state.conversation.kind {
            Kind::Group => Ok(self.roster_of(id, &stored).await?.users),
            Kind::Direct | Kind::Own => Ok(stored.state.conversation.users.as_slice().into()),
        }
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Stored>, StoreError> {
        let filter = doc! {"_id": lane_of(id)};
        let found = self.mongo.find_one(CONVERSATIONS, filter).await?;
        found.map(|found| docs::stored(&found)).transpose()
    }

    pub async fn roster(&self, id: ConversationId) -> Result<Roster, StoreError> {
        self.catch_up(About::Conversation(id)).await?;
        match self.conversation(id).await? {
            Some(stored) => self.roster_of(id, &stored).await,
            None => Ok(Roster::default()),
        }
    }

    async fn roster_of(&self, id: ConversationId, stored: &Stored) -> Result<Roster, StoreError> {
        if let Some(known) = self.rosters.get(id, stored.moved) {
            return Ok(known);
        }
        let rows = self.present_members(id, None, 0).await?;
        let roster = Roster {
            users: rows.iter().map(|(user, _)| *user).collect(),
            since: rows.iter().map(|(_, member)| member.joined_seq).collect(),
        };
        self.rosters.put(id, stored.moved, roster.clone());
        Ok(roster)
    }

    /// Present members after one, by id, at most `limit` (0: all).
    async fn present_members(
        &self,
        id: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        let mut filter = doc! {"c": lane_of(id), "left": null};
        if let Some(after) = after {
            filter.insert("_id", doc! {"$gt": member_id(id, after)});
        }
        let order = doc! {"_id": 1};
        member_rows(&self.mongo.find(MEMBERS, filter, order, limit).await?)
    }

    pub async fn member_page(
        &self,
        id: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        self.catch_up(About::Conversation(id)).await?;
        self.present_members(id, after, limit).await
    }

    pub async fn members_among(
        &self,
        id: ConversationId,
        users: Vec<UserId>,
    ) -> Result<Vec<MemberRow>, StoreError> {
        self.catch_up(About::Conversation(id)).await?;
        let ids: Vec<String> = users.iter().map(|user| member_id(id, *user)).collect();
        let filter = doc! {"c": lane_of(id), "_id": {"$in": ids}, "left": null};
        let found = self.mongo.find(MEMBERS, filter, doc! {}, 0).await?;
        let mut rows = member_rows(&found)?;
        // As they were asked for.
        rows.sort_by_key(|(user, _)| users.iter().position(|asked| asked == user));
        Ok(rows)
    }

    /// Requests that wait after one, oldest first, at most `limit` (0: all).
    pub async fn join_requests(
        &self,
        id: ConversationId,
        after: Option<JoinRequestId>,
        limit: usize,
    ) -> Result<Vec<JoinRequest>, StoreError> {
        let first = JoinRequestId(after.map_or(0, |after| after.0.saturating_add(1)));
        let last = key::join_request(id, JoinRequestId(u64::MAX));
        let range = (row_id(&key::join_request(id, first)), row_id(&last));
        let rows = self.rows_between(range, limit).await?;
        let mut requests = Vec::new();
        for (place, bytes) in rows {
            let request = docs::row_key(&place).and_then(|key| Reader(key.get(17..)?).u64());
            let request = request.ok_or_else(|| damaged("a join request's key"))?;
            requests.push(join_request::decode(JoinRequestId(request), &bytes)?);
        }
        Ok(requests)
    }

    pub async fn waiting_requests(
        &self,
        id: ConversationId,
        after: Option<JoinRequestId>,
        limit: usize,
    ) -> Result<Vec<JoinRequest>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        self.catch_up(About::Conversation(id)).await?;
        self.join_requests(id, after, limit).await
    }

    pub async fn conversations_of(&self, user: UserId) -> Result<Vec<ConversationId>, StoreError> {
        self.catch_up(About::User(user, Vec::new())).await?;
        self.memberships(user, None, 0).await
    }

    /// Rows from one `_id` on and before another, in order, at most `limit` (0: all).
    pub async fn rows_between(
        &self,
        (from, to): (String, String),
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let filter = doc! {"_id": {"$gte": from, "$lt": to}, "v": {"$ne": null}};
        let found = self
            .mongo
            .find(ROWS, filter, doc! {"_id": 1}, limit)
            .await?;
        let read = |row: Document| {
            let id = get_text(&row, "_id")?.to_owned();
            Some((id, get_blob(&row, "v")?.to_vec()))
        };
        let rows: Option<Vec<_>> = found.into_iter().map(read).collect();
        rows.ok_or_else(|| damaged("a row"))
    }

    pub async fn direct_conversations(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        self.catch_up(About::User(user, Vec::new())).await?;
        let (mut found, mut after) = (Vec::new(), after);
        while found.len() < limit {
            let page = self.memberships(user, after, STRETCH).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            let lanes: Vec<String> = page.iter().map(|id| lane_of(*id)).collect();
            let filter = doc! {"_id": {"$in": lanes}, "kind": Kind::Direct.as_str()};
            let asked = (doc! {"_id": 1}, 0, doc! {"_id": 1});
            let direct = self.mongo.find_fields(CONVERSATIONS, filter, asked).await?;
            let ids = direct
                .iter()
                .filter_map(|one| get_text(one, "_id")?.parse::<ConversationId>().ok());
            found.extend(ids);
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Conversations a user is or was in, after one, at most `limit` (0: all).
    pub async fn memberships(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let mut filter = doc! {"u": int(user.0)};
        if let Some(after) = after {
            filter.insert("c", doc! {"$gt": lane_of(after)});
        }
        let asked = (doc! {"c": 1}, limit, doc! {"c": 1});
        let found = self.mongo.find_fields(MEMBERS, filter, asked).await?;
        found.iter().map(docs::conversation_of).collect()
    }

    pub async fn extents(
        &self,
        after: Option<ConversationId>,
        limit: usize,
        all: bool,
    ) -> Result<(Vec<Extent>, Option<ConversationId>), StoreError> {
        self.catch_up(About::All).await?;
        let mut filter = Document::new();
        if let Some(after) = after {
            filter.insert("_id", doc! {"$gt": lane_of(after)});
        }
        if !all {
            filter.insert("retention", true);
        }
        let order = doc! {"_id": 1};
        let found = self.mongo.find(CONVERSATIONS, filter, order, limit).await?;
        let mut extents = Vec::new();
        for document in &found {
            let state = docs::stored(document)?.state;
            extents.push(Extent {
                floor: state.floor.seq,
                head: state.head,
                conversation: state.conversation,
            });
        }
        let last = extents.last().map(|extent| extent.conversation.id);
        Ok((extents, last))
    }

    pub async fn first_since(
        &self,
        id: ConversationId,
        from: Seq,
        since_ms: u64,
        most: usize,
    ) -> Result<Seq, StoreError> {
        self.catch_up(About::Conversation(id)).await?;
        let filter = between(id, (from, i64::MAX as u64));
        let asked = (doc! {"seq": 1}, most.max(1), doc! {"seq": 1, "at": 1});
        let found = self.mongo.find_fields(ENTRIES, filter, asked).await?;
        let mut next = from;
        for document in &found {
            let seq = docs::get_int(document, "seq").ok_or_else(|| damaged("an entry"))?;
            let at = match document.get("at") {
                Some(Bson::DateTime(at)) => u64::try_from(at.timestamp_millis()).unwrap_or(0),
                _ => return Err(damaged("an entry's time")),
            };
            if at >= since_ms {
                return Ok(seq);
            }
            next = seq + 1;
        }
        Ok(next)
    }

    pub async fn held(&self, hold: HoldId) -> Result<Option<Arc<HeldMessage>>, StoreError> {
        self.catch_up(About::Holds).await?;
        let filter = doc! {"_id": row_id(&key::held(hold))};
        let found = self.mongo.find_one(ROWS, filter).await?;
        let row = found.as_ref().and_then(|found| get_blob(found, "v"));
        row.map(|bytes| held::decode(hold, bytes).map(Arc::new))
            .transpose()
    }

    pub async fn held_page(
        &self,
        author: Option<UserId>,
        after: Option<HoldId>,
        limit: usize,
    ) -> Result<Vec<Arc<HeldMessage>>, StoreError> {
        self.catch_up(About::Holds).await?;
        let (mut found, mut after) = (Vec::new(), after);
        let last = row_id(&key::held(HoldId(u64::MAX)));
        while found.len() < limit {
            let from = HoldId(after.map_or(0, |hold| hold.0.saturating_add(1)));
            let range = (row_id(&key::held(from)), last.clone());
            let rows = self.rows_between(range, STRETCH).await?;
            for (id, bytes) in &rows {
                let hold = docs::row_key(id).and_then(|key| Reader(key.get(1..)?).u64());
                let hold = HoldId(hold.ok_or_else(|| damaged("a hold's key"))?);
                let held = held::decode(hold, bytes)?;
                after = Some(hold);
                if author.is_none_or(|author| author == held.hold.author) {
                    found.push(Arc::new(held));
                }
            }
            if rows.len() < STRETCH {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Lets go of what hooks have read and is too old, or one too many.
    pub async fn forget_beside(&self, limits: BesideLimits) -> Result<(), StoreError> {
        let now = self.clock.now_ms();
        let old = EntryId::first_at(now.saturating_sub(limits.for_ms));
        let first = row_id(&[key::BESIDE]);
        self.forget_rows(&first, &row_id(&key::beside(old))).await?;
        let end = row_id(&[key::BESIDE + 1]);
        let filter = doc! {"_id": {"$gte": &first, "$lt": end}};
        let asked = (doc! {"_id": -1}, limits.count + 1, doc! {"_id": 1});
        let newest = self.mongo.find_fields(ROWS, filter, asked).await?;
        match newest
            .get(limits.count)
            .and_then(|one| get_text(one, "_id"))
        {
            Some(one_too_many) => {
                let end = format!("{one_too_many}0");
                self.forget_rows(&first, &end).await
            }
            None => Ok(()),
        }
    }

    async fn forget_rows(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let filter = doc! {"_id": {"$gte": from, "$lt": to}};
        self.mongo.delete(ROWS, filter).await.map(drop)
    }
}

/// Entries that are kept, of a stretch.
pub fn between(id: ConversationId, (first, last): (Seq, Seq)) -> Document {
    doc! {
        "c": lane_of(id),
        "seq": {"$gte": int(first.min(i64::MAX as u64)), "$lte": int(last.min(i64::MAX as u64))},
        "row": {"$exists": true},
    }
}

fn member_rows(found: &[Document]) -> Result<Vec<MemberRow>, StoreError> {
    let row = |document: &Document| Ok((docs::user_of(document)?, docs::member(document)?));
    found.iter().map(row).collect()
}
