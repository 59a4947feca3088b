//! A user's lists: the summary of a conversation, the pages of all of them, and what changed since a token. A whole list is a
//! few commands, however long it is.

use std::collections::HashMap;
use std::sync::Arc;

use mongodb::bson::{Document, doc};

use super::Shared;
use super::apply::About;
use super::docs::{self, Stored, lane_of, row_id};
use super::schema::{CONVERSATIONS, ENTRIES, MEMBERS};
use crate::conversation::{Kind, Member, PeerReceipts, Summary};
use crate::entry::{Entry, Seq};
use crate::ids::{ConversationId, EntryId, UserId};
use crate::store::log::heads::State;
use crate::store::log::key;
use crate::store::log::rows::Reader;
use crate::store::{Changes, StoreError};

/// Entries looked at in one step back to a message that a member may see.
const BACK: usize = 64;
/// How far ahead of this node's clock another node's token may be.
const AHEAD_MS: u64 = 60_000;

/// A conversation with the row of the user whose list it is in.
struct Listed {
    stored: Stored,
    member: Member,
}

impl Listed {
    fn id(&self) -> ConversationId {
        self.stored.state.conversation.id
    }

    fn is_present(&self) -> bool {
        self.member.left.is_none()
    }
}

impl Shared {
    pub async fn summary(
        &self,
        id: ConversationId,
        user: UserId,
    ) -> Result<Option<Summary>, StoreError> {
        let Some((state, stored)) = self.current(id).await? else {
            return Ok(None);
        };
        let member = self.member_of(&state, user).await?;
        match member.filter(|member| member.left.is_none()) {
            Some(member) => {
                let listed = Listed {
                    stored: Stored { state, ..stored },
                    member,
                };
                self.of_member(listed, user).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn of_member(&self, listed: Listed, user: UserId) -> Result<Summary, StoreError> {
        let last = self.last_for(&listed, user).await?;
        let Listed { stored, mut member } = listed;
        let state = stored.state;
        let (id, floor) = (state.conversation.id, &state.floor);
        let span = (member.read.max(floor.seq - 1), state.head);
        let below = member.read_ordinal.max(floor.header.ordinal);
        let mut unread = state.header.ordinal.saturating_sub(below);
        let mut mentions = 0;
        if unread > 0 {
            let own = member.own_above.iter().filter(|own| **own > span.0);
            unread = unread
                .saturating_sub(own.count() as u64)
                .saturating_sub(self.left_out(id, user, span).await?);
            mentions = self.mentions(id, user, span).await?;
        }
        member.hidden = is_hidden(&state, &member);
        let peer = state.conversation.peer_of(user).and_then(|peer| {
            let receipts = state.member(peer)?;
            Some(PeerReceipts {
                user: peer,
                received: receipts.received,
                read: receipts.read,
            })
        });
        Ok(Summary {
            conversation: state.conversation.clone(),
            head: state.head,
            unread,
            mentions,
            updated_at: last.as_ref().map_or(member.joined_at, |entry| entry.at),
            last,
            peer,
            member,
        })
    }

    /// Others' messages of a stretch that leave a user out.
    async fn left_out(
        &self,
        id: ConversationId,
        user: UserId,
        (after, head): (Seq, Seq),
    ) -> Result<u64, StoreError> {
        let range = (key::narrowed(id, after + 1), key::narrowed(id, head + 1));
        let range = (row_id(&range.0), row_id(&range.1));
        let mut count = 0;
        for (_, users) in self.rows_between(range, 0).await? {
            count += u64::from(!among(&users, user));
        }
        Ok(count)
    }

    /// Others' messages of a stretch that mention a user, or everyone.
    async fn mentions(
        &self,
        id: ConversationId,
        user: UserId,
        (after, head): (Seq, Seq),
    ) -> Result<u64, StoreError> {
        let mut seqs = std::collections::BTreeSet::new();
        for whom in [user, key::ALL] {
            let range = (
                row_id(&key::mention(id, whom, after + 1)),
                row_id(&key::mention(id, whom, head + 1)),
            );
            for (place, author) in self.rows_between(range, 0).await? {
                if Reader(&author).u64() != Some(user.0) {
                    seqs.insert(place[place.len().saturating_sub(16)..].to_owned());
                }
            }
        }
        Ok(seqs.len() as u64)
    }

    /// The newest message a member may see.
    async fn last_for(
        &self,
        listed: &Listed,
        user: UserId,
    ) -> Result<Option<Arc<Entry>>, StoreError> {
        let Some(newest) = listed.stored.state.last_message.clone() else {
            return Ok(None);
        };
        let visible_from = listed.member.visible_from;
        let mut before = newest.seq;
        if before < visible_from {
            return Ok(None);
        }
        if newest.is_for(user) {
            return Ok(Some(newest));
        }
        // Rare: whoever is left out of many messages in a row is shown an older one.
        loop {
            let stretch = (visible_from, before.saturating_sub(1));
            let filter = super::reads::between(listed.id(), stretch);
            let found = self
                .mongo
                .find(ENTRIES, filter, doc! {"seq": -1}, BACK)
                .await?;
            for document in &found {
                let entry = docs::entry_of(document)?.entry;
                before = entry.seq;
                if entry.message().is_some() && entry.is_for(user) {
                    return Ok(Some(entry));
                }
            }
            if found.len() < BACK {
                return Ok(None);
            }
        }
    }

    /// Everything a user is or was in.
    async fn listed(&self, user: UserId) -> Result<Vec<Listed>, StoreError> {
        let conversations = self.memberships(user, None, 0).await?;
        self.catch_up(About::User(user, conversations)).await?;
        let filter = doc! {"u": docs::int(user.0)};
        let rows = self.mongo.find(MEMBERS, filter, doc! {}, 0).await?;
        let lanes: Vec<String> = rows
            .iter()
            .map(|row| docs::conversation_of(row).map(lane_of))
            .collect::<Result<_, _>>()?;
        let filter = doc! {"_id": {"$in": &lanes}};
        let found = self.mongo.find(CONVERSATIONS, filter, doc! {}, 0).await?;
        let mut stored = HashMap::new();
        for document in &found {
            let one = docs::stored(document)?;
            stored.insert(one.state.conversation.id, one);
        }
        self.with_few_members(&mut stored).await?;
        let mut listed = Vec::new();
        for row in &rows {
            let Some(stored) = stored.remove(&docs::conversation_of(row)?) else {
                continue;
            };
            let member = docs::member(row)?;
            let left = member.left.or(stored.state.conversation.dissolved());
            let member = Member { left, ..member };
            listed.push(Listed { stored, member });
        }
        Ok(listed)
    }

    /// Puts both members into direct conversations, all with one command.
    async fn with_few_members(
        &self,
        stored: &mut HashMap<ConversationId, Stored>,
    ) -> Result<(), StoreError> {
        let few = stored
            .values()
            .filter(|one| one.state.conversation.kind != Kind::Group);
        let ids = few.flat_map(|one| {
            let conversation = &one.state.conversation;
            let users = conversation.users.iter();
            users.map(|user| docs::member_id(conversation.id, *user))
        });
        let ids: Vec<String> = ids.collect();
        let lanes: Vec<String> = stored.keys().map(|id| lane_of(*id)).collect();
        let filter = doc! {"c": {"$in": lanes}, "_id": {"$in": ids}};
        let rows: Vec<Document> = self.mongo.find(MEMBERS, filter, doc! {}, 0).await?;
        let mut members = HashMap::new();
        for row in &rows {
            let place = (docs::conversation_of(row)?, docs::user_of(row)?);
            members.insert(place, docs::member(row)?);
        }
        for (id, one) in stored {
            let users = one.state.conversation.users.iter();
            let of_users = users.filter_map(|user| members.remove(&(*id, *user)));
            one.state.members = of_users.collect();
        }
        Ok(())
    }

    pub async fn summaries(
        &self,
        user: UserId,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Summary>, Option<String>), StoreError> {
        let after = match cursor {
            Some(cursor) => Some(read_cursor(&cursor).ok_or(StoreError::NotACursor)?),
            None => None,
        };
        let mut places: Vec<(Place, Listed)> = Vec::new();
        for listed in self.listed(user).await? {
            let state = &listed.stored.state;
            let empty_own = state.conversation.kind == Kind::Own && state.head == 0;
            if !listed.is_present() || is_hidden(state, &listed.member) || empty_own {
                continue;
            }
            let newest = self.last_for(&listed, user).await?.map(|last| last.id);
            let newest = newest.unwrap_or_else(|| EntryId::first_at(listed.member.joined_at));
            let place = (listed.member.pinned, newest.0, listed.id());
            if after.is_none_or(|after| place < after) {
                places.push((place, listed));
            }
        }
        places.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        let more = places.len() > limit;
        places.truncate(limit);
        let last = places.last().map(|(place, _)| *place);
        let mut page = Vec::with_capacity(places.len());
        for (_, listed) in places {
            page.push(self.of_member(listed, user).await?);
        }
        let cursor = last.filter(|_| more);
        Ok((page, cursor.map(|place| write_cursor(&place))))
    }

    /// The token of this moment: nothing of any node up to its stamp is still to come.
    pub fn now_token(&self) -> String {
        docs::token(self.instance, self.settled())
    }

    pub async fn changes(
        &self,
        user: UserId,
        since: String,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        // Taken before anything is read: what changes while reading is told again next time rather than never.
        let now = self.settled();
        let read = docs::read_token(&since);
        // Another node may be a little ahead of what this one knows; what is far ahead is of a database that was lost.
        let ahead = EntryId::last_at(self.clock.now_ms().saturating_add(AHEAD_MS)).0;
        let ahead = ahead.max(now);
        let read = read.filter(|(instance, stamp)| *instance == self.instance && *stamp <= ahead);
        let Some((_, since)) = read else {
            return Ok(Changes {
                changed: Vec::new(),
                gone: Vec::new(),
                since: docs::token(self.instance, now),
                more: false,
                reset: true,
            });
        };
        let mut touched = Vec::new();
        for listed in self.listed(user).await? {
            let stamp = last_change(&listed, user);
            if stamp > since {
                touched.push((stamp, listed));
            }
        }
        touched.sort_unstable_by_key(|(stamp, listed)| (*stamp, listed.id()));
        let more = touched.len() > limit;
        touched.truncate(limit);
        let upto = touched
            .last()
            .filter(|_| more)
            .map_or(now, |(stamp, _)| *stamp);
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        for (_, listed) in touched {
            match listed.is_present() {
                true => changed.push(self.of_member(listed, user).await?),
                false => gone.push(listed.id()),
            }
        }
        Ok(Changes {
            changed,
            gone,
            since: docs::token(self.instance, upto.max(since)),
            more,
            reset: false,
        })
    }
}

/// A new message shows a hidden conversation again.
fn is_hidden(state: &State, member: &Member) -> bool {
    member.hidden && state.header.last_message <= member.hidden_at
}

/// Whether a user is among those a row names: none named is nobody.
pub fn among(users: &[u8], user: UserId) -> bool {
    let mut users = Reader(users);
    std::iter::from_fn(|| users.u64()).any(|other| other == user.0)
}

/// What a page's order is by: pinned first, then the newest message, then the id.
type Place = (bool, u64, ConversationId);

fn write_cursor((pinned, newest, id): &Place) -> String {
    format!("{}{newest:016x}{id}", u8::from(*pinned))
}

fn read_cursor(text: &str) -> Option<Place> {
    if text.len() != 49 || !text.is_ascii() {
        return None;
    }
    let pinned = match &text[..1] {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    let newest = u64::from_str_radix(&text[1..17], 16).ok()?;
    Some((pinned, newest, text[17..].parse().ok()?))
}

/// The stamp of the last change of what a member's summary shows.
fn last_change(listed: &Listed, user: UserId) -> u64 {
    let Listed { stored, member } = listed;
    if let Some(left) = member.left {
        return left.max(stored.touched);
    }
    let state = &stored.state;
    let peer = state.conversation.peer_of(user);
    let peer = peer.and_then(|peer| state.member(peer));
    let peer = peer.map_or(0, |peer| peer.receipt_changed.max(peer.profile_changed));
    member
        .changed
        .max(peer)
        .max(state.head_id)
        .max(state.changed)
        .max(stored.touched)
}
