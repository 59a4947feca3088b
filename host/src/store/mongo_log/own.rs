//! Changes of one document that need no number in their lane: receipts, preferences, a profile's change, notes about media.
//! Receipts only ever raise what is stored (I6), so it does not matter on how many nodes one member's devices are.

use std::sync::Arc;

use mongodb::bson::{Bson, Document, doc};

use super::Shared;
use super::commit::commit_error;
use super::docs::{self, int, row_id};
use super::engine::entry_filter;
use super::lanes::{Known, Lane, Waiting};
use super::schema::{ENTRIES, MEMBERS, ROWS};
use crate::conversation::{Kind, Member};
use crate::entry::Seq;
use crate::ids::{ConversationId, MediaId, UserId};
use crate::store::log::heads::State;
use crate::store::log::key;
use crate::store::mongo::Update;
use crate::store::{Change, CommitError, Outcome, Prefs, StoreError};

type Done = Result<Result<Outcome, CommitError>, StoreError>;

const NO_CONVERSATION: CommitError = CommitError::Gone("no such conversation");
const NO_MEMBER: CommitError = CommitError::Gone("no longer a member of this conversation");

/// A member's place.
#[derive(Clone, Copy)]
struct Place {
    conversation: ConversationId,
    user: UserId,
}

impl Shared {
    /// Does one such change. The caller holds the lane.
    pub async fn change_own(
        &self,
        held: &mut Option<Known>,
        lane: &Arc<Lane>,
        waiting: &Waiting,
    ) -> Result<Outcome, CommitError> {
        let low = self.ids.last();
        self.notes.begin(low);
        let done = self.do_own(held, lane, &waiting.submission.change).await;
        self.notes.end(low);
        done.unwrap_or_else(|error| {
            tracing::warn!(%error, "a member's own change was not stored");
            *held = None;
            Err(commit_error(&error))
        })
    }

    async fn do_own(&self, held: &mut Option<Known>, lane: &Arc<Lane>, change: &Change) -> Done {
        match change {
            Change::MediaSeen { media } => self.forget_left(media).await,
            Change::Receipt {
                conversation,
                user,
                received,
                read,
            } => {
                let place = Place {
                    conversation: *conversation,
                    user: *user,
                };
                // A head that is known here may be older than what another node delivered.
                let newest = (*received).max(*read);
                let reread = |state: &State| newest > state.head;
                match self.state_for(held, lane, reread).await? {
                    Some(state) => self.receipt(held, place, &state, (*received, *read)).await,
                    None => Ok(Err(NO_CONVERSATION)),
                }
            }
            Change::Prefs {
                conversation,
                user,
                prefs,
            } => {
                let place = Place {
                    conversation: *conversation,
                    user: *user,
                };
                // What is hidden shows again with the next message: which is the newest has to be known.
                let reread = |_: &State| prefs.hidden.is_some();
                match self.state_for(held, lane, reread).await? {
                    Some(state) => self.prefs(held, place, &state, prefs).await,
                    None => Ok(Err(NO_CONVERSATION)),
                }
            }
            Change::Profile { conversation, user } => {
                let place = Place {
                    conversation: *conversation,
                    user: *user,
                };
                match self.state_for(held, lane, |_| false).await? {
                    Some(state) => self.profile(held, place, &state).await,
                    None => Ok(Err(NO_CONVERSATION)),
                }
            }
            _ => Ok(Err(CommitError::Unavailable)),
        }
    }

    /// The lane's conversation, read anew where what is known is not enough.
    async fn state_for(
        &self,
        held: &mut Option<Known>,
        lane: &Arc<Lane>,
        reread: impl Fn(&State) -> bool,
    ) -> Result<Option<Arc<State>>, StoreError> {
        let enough = |known: &Known| known.state.as_ref().is_some_and(|state| !reread(state));
        if !held.as_ref().is_some_and(enough) {
            *held = None;
            *held = Some(self.read_lane(lane).await?);
        }
        let known = held.as_ref().and_then(|known| known.state.clone());
        if let Some(known) = held {
            self.ids.raise(known.stamp);
        }
        Ok(known)
    }

    /// A present member's row as stored; none for everyone else.
    async fn present(&self, place: Place, state: &State) -> Result<Option<Member>, StoreError> {
        if state.conversation.dissolved().is_some() {
            return Ok(None);
        }
        let filter = docs::member_filter(place.conversation, place.user);
        let found = self.mongo.find_one(MEMBERS, filter).await?;
        let member = found.map(|found| docs::member(&found)).transpose()?;
        Ok(member.filter(|member| member.left.is_none()))
    }

    async fn receipt(
        &self,
        held: &mut Option<Known>,
        place: Place,
        state: &State,
        (received, read): (Seq, Seq),
    ) -> Done {
        let Some(mut member) = self.present(place, state).await? else {
            return Ok(Err(NO_MEMBER));
        };
        let head = state.head;
        let read = member.read.max(read.min(head)); // I6
        let received = member.received.max(received.min(head)).max(read);
        if (received, read) == (member.received, member.read) {
            return Ok(Ok(member_outcome(member, false, head)));
        }
        let moves = read != member.read;
        let said_above = !member.own_above.is_empty();
        if moves {
            member.read_ordinal = self.ordinal_at(state, read).await?;
            member.own_above.retain(|own| *own > read);
        }
        (member.received, member.read) = (received, read);
        member.changed = self.ids.next(self.clock.now_ms());
        member.receipt_changed = member.changed;
        let mut change = doc! {"$max": docs::rising_fields(&member)};
        if moves && said_above {
            change.insert("$pull", doc! {"own_above": {"$lte": int(read)}});
        }
        self.write_member(held, place, (change, member), head).await
    }

    /// Messages up to and with an entry; of erased ones, as many as were erased.
    async fn ordinal_at(&self, state: &State, seq: Seq) -> Result<u64, StoreError> {
        if seq == state.head {
            return Ok(state.header.ordinal);
        }
        if seq < state.floor.seq {
            return Ok(state.floor.header.ordinal);
        }
        let filter = entry_filter(state.conversation.id, seq);
        let found = self.mongo.find_one(ENTRIES, filter).await?;
        let found = found.ok_or_else(|| docs::damaged("the entry that was read"))?;
        Ok(docs::entry_of(&found)?.header.ordinal)
    }

    async fn prefs(
        &self,
        held: &mut Option<Known>,
        place: Place,
        state: &State,
        prefs: &Prefs,
    ) -> Done {
        let Some(before) = self.present(place, state).await? else {
            return Ok(Err(NO_MEMBER));
        };
        let (head, newest) = (state.head, state.header.last_message);
        let mut member = before.clone();
        let mut set = Document::new();
        if let Some(pinned) = prefs.pinned {
            member.pinned = pinned;
            set.insert("pinned", pinned);
        }
        if let Some(muted) = prefs.muted {
            member.muted = muted;
            set.insert("muted", muted);
        }
        if let Some(hidden) = prefs.hidden {
            (member.hidden, member.hidden_at) = (hidden, newest);
            set.insert("hidden", hidden);
            set.insert("hidden_at", int(newest));
        }
        if let Some(draft) = &prefs.draft {
            member.draft = Some(draft.clone()).filter(|draft| !draft.is_empty());
            set.insert("draft", member.draft.clone());
        }
        if member == before {
            return Ok(Ok(member_outcome(member, false, head)));
        }
        member.changed = self.ids.next(self.clock.now_ms());
        let change = doc! {"$set": set, "$max": {"changed": int(member.changed)}};
        self.write_member(held, place, (change, member), head).await
    }

    async fn profile(&self, held: &mut Option<Known>, place: Place, state: &State) -> Done {
        let Some(mut member) = self.present(place, state).await? else {
            return Ok(Err(NO_MEMBER));
        };
        member.profile_changed = self.ids.next(self.clock.now_ms());
        let change = doc! {"$max": {"profile_changed": int(member.profile_changed)}};
        let head = state.head;
        self.write_member(held, place, (change, member), head).await
    }

    /// Writes what changed of a present member; one that has left meanwhile is left alone.
    async fn write_member(
        &self,
        held: &mut Option<Known>,
        place: Place,
        (change, member): (Document, Member),
        head: Seq,
    ) -> Done {
        let mut filter = docs::member_filter(place.conversation, place.user);
        filter.insert("left", Bson::Null);
        let update = Update::one(filter, change).into_document();
        if self.mongo.update(MEMBERS, vec![update]).await?.count == 0 {
            return Ok(Err(NO_MEMBER));
        }
        remember(held, place.user, &member);
        Ok(Ok(member_outcome(member, true, head)))
    }

    /// Notes about media that were taken over go, unless they were written again since they were read.
    async fn forget_left(&self, media: &[MediaId]) -> Done {
        let seen: Vec<(MediaId, u64)> = {
            let left = self.notes.left.lock();
            let known = media.iter().filter_map(|id| Some((*id, *left.get(&id.0)?)));
            known.collect()
        };
        for (id, stamp) in &seen {
            let filter = doc! {"_id": row_id(&key::media_left(*id)), "s": {"$lte": int(*stamp)}};
            self.mongo.delete(ROWS, filter).await?;
        }
        let mut left = self.notes.left.lock();
        for (id, _) in &seen {
            left.remove(&id.0);
        }
        Ok(Ok(Outcome::Done))
    }
}

fn member_outcome(member: Member, moved: bool, head: Seq) -> Outcome {
    Outcome::Member {
        member,
        moved,
        head,
    }
}

/// What the lane knows of a direct conversation's members follows.
fn remember(held: &mut Option<Known>, user: UserId, member: &Member) {
    if let Some(known) = held
        && let Some(state) = &mut known.state
        && state.conversation.kind != Kind::Group
        && let Some(at) = state.index_of(user)
    {
        let mut changed = State::clone(state);
        changed.members[at] = member.clone();
        *state = Arc::new(changed);
    }
}
