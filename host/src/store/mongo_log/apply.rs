//! Projecting commits: doing what a commit's document says is to follow, in the order of its lane, by whichever node comes to
//! it. A reader first has done what is not projected of the lanes it reads; so a node that died between a commit and its
//! projection leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::try_join_all;
use mongodb::bson::{Bson, Document, doc};

use super::Shared;
use super::compose::updates_of;
use super::docs::{self, get_int, get_text, int};
use super::feed::Commit;
use super::lanes::{Known, Lane};
use super::schema::{CONVERSATIONS, ENTRIES, MEMBERS};
use crate::conversation::Kind;
use crate::ids::{ConversationId, EntryId, UserId};
use crate::store::StoreError;
use crate::store::log::heads::State;
use crate::store::mongo::Update;

/// A commit that nobody has finished with for so long was left behind.
const LEFT_AFTER_MS: u64 = 10_000;
/// Commits that a namespace keeps, and how often older ones are looked for.
const COMMITS_KEPT: u64 = 1_024;
const PRUNED_EVERY: u64 = 64;
/// Commits that one sweep looks at.
const SWEPT_MOST: usize = 256;

/// Which commits a reader depends on.
#[derive(Debug, Clone)]
pub enum About {
    Conversation(ConversationId),
    /// Everything of a user: the conversations it is known to be in, and those it just came into.
    User(UserId, Vec<ConversationId>),
    Namespace(String),
    Holds,
    Media,
    /// Plugins' values, of whichever namespace.
    Values,
    /// Whatever there is.
    All,
}

impl About {
    fn filter(&self) -> Document {
        let open = |of: Document| {
            let mut filter = doc! {"open": 1};
            filter.extend(of);
            filter
        };
        match self {
            Self::Conversation(id) => open(doc! {"c": docs::lane_of(*id)}),
            Self::User(user, conversations) => {
                let lanes: Vec<String> =
                    conversations.iter().map(|id| docs::lane_of(*id)).collect();
                open(doc! {"$or": [{"c": {"$in": lanes}}, {"u": int(user.0)}]})
            }
            Self::Namespace(namespace) => open(doc! {"ns": namespace}),
            Self::Holds => open(doc! {"h": true}),
            Self::Media => open(doc! {"m": true}),
            Self::Values => open(doc! {"ns": {"$exists": true}}),
            Self::All => open(doc! {}),
        }
    }
}

impl Shared {
    /// Does what commits say is to follow. Each collection is one command; doing it again changes nothing.
    pub async fn apply(&self, documents: &[Document]) -> Result<(), StoreError> {
        let mut tables: BTreeMap<String, Vec<Document>> = BTreeMap::new();
        for document in documents {
            for (table, update) in updates_of(document)? {
                tables.entry(table).or_default().push(update);
            }
        }
        if let Some(projected) = tables.get_mut(CONVERSATIONS) {
            // Each is the whole state: the last one is enough, unless it says less of who is a member.
            newest_only(projected);
        }
        let updates = tables
            .into_iter()
            .map(|(table, updates)| self.apply_to(table, updates));
        try_join_all(updates).await.map(drop)
    }

    /// In order; what is there already in a later form is passed over.
    async fn apply_to(&self, table: String, mut updates: Vec<Document>) -> Result<(), StoreError> {
        while !updates.is_empty() {
            let written = self.mongo.update(&table, updates.clone()).await?;
            match written.duplicates.first() {
                Some(place) => drop(updates.drain(..=*place)),
                None => break,
            }
        }
        Ok(())
    }

    /// Has everything projected that a reader depends on.
    pub async fn catch_up(&self, about: About) -> Result<(), StoreError> {
        let fields = doc! {"c": 1, "n": 1};
        let order = doc! {"_id": 1};
        let open = self
            .mongo
            .find_fields(ENTRIES, about.filter(), (order, 0, fields))
            .await?;
        let mut behind = BTreeSet::new();
        for commit in &open {
            let (Some(name), Some(n)) = (get_text(commit, "c"), get_int(commit, "n")) else {
                continue;
            };
            let lane = self.lanes.known(name);
            if !lane.is_some_and(|lane| lane.has_applied(n)) {
                behind.insert(name.to_owned());
            }
        }
        for name in behind {
            let lane = self.lanes.lane(&name);
            // Waits for what this node itself is doing there.
            let _held = lane.work.lock().await;
            self.help(&lane).await?;
        }
        Ok(())
    }

    /// Projects what is not projected of a lane, which the caller holds. Whether there was anything.
    async fn help(&self, lane: &Lane) -> Result<bool, StoreError> {
        let filter = doc! {"open": 1, "c": &lane.name};
        let open = self.mongo.find(ENTRIES, filter, doc! {"_id": 1}, 0).await?;
        let mut open: Vec<Document> = open
            .into_iter()
            .filter(|commit| get_int(commit, "n").is_none_or(|n| !lane.has_applied(n)))
            .collect();
        open.sort_by_key(|commit| get_int(commit, "n"));
        let Some(newest) = open.last().and_then(|last| get_int(last, "n")) else {
            return Ok(false);
        };
        self.apply(&open).await?;
        let oldest = open.first().and_then(|first| get_int(first, "s"));
        if oldest.is_some_and(|stamp| self.is_left(stamp)) {
            self.touch(&lane.name).await?;
        }
        lane.note_applied(newest);
        self.teller
            .tell(open.iter().map(Commit::of).collect())
            .await;
        Ok(true)
    }

    fn is_left(&self, stamp: u64) -> bool {
        let now = self.clock.now_ms();
        EntryId(stamp).at_ms().saturating_add(LEFT_AFTER_MS) < now
    }

    /// What was committed with an old stamp is seen only now: whoever has a later token is told of the conversation again.
    async fn touch(&self, lane: &str) -> Result<(), StoreError> {
        let low = self.ids.last();
        self.notes.begin(low);
        let stamp = self.ids.next(self.clock.now_ms());
        let change = doc! {"$max": {"touched": int(stamp)}};
        let touch = Update::one(doc! {"_id": lane}, change).into_document();
        let touched = self.mongo.update(CONVERSATIONS, vec![touch]).await;
        self.notes.end(low);
        touched.map(drop)
    }

    /// Finishes with commits whose node did not.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let before = self.clock.now_ms().saturating_sub(LEFT_AFTER_MS);
        let filter = doc! {"open": 1, "s": {"$lt": int(EntryId::first_at(before).0)}};
        let asked = (doc! {"_id": 1}, SWEPT_MOST, doc! {"c": 1});
        let left = self.mongo.find_fields(ENTRIES, filter, asked).await?;
        let lanes: BTreeSet<&str> = left.iter().filter_map(|one| get_text(one, "c")).collect();
        for name in lanes {
            let lane = self.lanes.lane(name);
            let _held = lane.work.lock().await;
            if !self.help(&lane).await? {
                // Projected, and not told: the feed did not answer.
                let filter = doc! {"open": 1, "c": name};
                let told = self.mongo.find(ENTRIES, filter, doc! {"_id": 1}, 0).await?;
                self.teller
                    .tell(told.iter().map(Commit::of).collect())
                    .await;
            }
        }
        Ok(())
    }

    /// Takes away the older commits of a namespace, now and then: its values say everything. So many stay that nobody who
    /// has read the newest number a moment ago finds an old one free.
    pub async fn prune(&self, lane: &str, newest: u64) -> Result<(), StoreError> {
        if newest < COMMITS_KEPT || !newest.is_multiple_of(PRUNED_EVERY) {
            return Ok(());
        }
        let last = docs::commit_id(lane, newest - COMMITS_KEPT);
        let filter = doc! {
            "c": lane,
            "_id": {"$gte": docs::commit_id(lane, 0), "$lt": last},
            "open": {"$exists": false},
        };
        self.mongo.delete(ENTRIES, filter).await.map(drop)
    }

    /// A lane's newest commit with everything up to it projected. The caller holds the lane.
    pub async fn read_lane(&self, lane: &Arc<Lane>) -> Result<Known, StoreError> {
        loop {
            self.help(lane).await?;
            let fields = doc! {"n": 1, "s": 1, "open": 1};
            let asked = (doc! {"_id": -1}, 1, fields);
            let commits = docs::commits_of(&lane.name);
            let found = self.mongo.find_fields(ENTRIES, commits, asked).await?;
            let Some(newest) = found.first() else {
                return Ok(Known::default());
            };
            let n = get_int(newest, "n").ok_or_else(|| docs::damaged("a commit"))?;
            if newest.contains_key("open") && !lane.has_applied(n) {
                // Another node was here in between.
                continue;
            }
            let state = match lane.name.parse() {
                Ok(id) => self.state(id).await?.map(|(state, _)| Arc::new(state)),
                Err(_) => None,
            };
            return Ok(Known {
                n,
                stamp: get_int(newest, "s").unwrap_or_default(),
                state,
            });
        }
    }

    /// A conversation as projected, with the members of kinds that have few.
    pub async fn state(
        &self,
        id: ConversationId,
    ) -> Result<Option<(State, docs::Stored)>, StoreError> {
        let filter = doc! {"_id": docs::lane_of(id)};
        let Some(found) = self.mongo.find_one(CONVERSATIONS, filter).await? else {
            return Ok(None);
        };
        let stored = docs::stored(&found)?;
        let mut state = stored.state.clone();
        if state.conversation.kind != Kind::Group {
            let filter = doc! {"c": docs::lane_of(id)};
            let rows = self.mongo.find(MEMBERS, filter, doc! {"_id": 1}, 0).await?;
            for user in &state.conversation.users {
                let of_user = |row: &&Document| get_int(row, "u") == Some(user.0);
                let row = rows.iter().find(of_user);
                let row = row.ok_or_else(|| docs::damaged("a member"))?;
                state.members.push(docs::member(row)?);
            }
        }
        Ok(Some((state, stored)))
    }
}

/// Keeps the last update of each document, with the members' stamp of those before it.
fn newest_only(updates: &mut Vec<Document>) {
    let mut latest: BTreeMap<String, Document> = BTreeMap::new();
    for update in updates.drain(..) {
        let filter = update.get_document("q").ok();
        let id = filter.and_then(|filter| get_text(filter, "_id"));
        let id = id.unwrap_or_default().to_owned();
        let moved = |update: &Document| {
            let set = update
                .get_document("u")
                .and_then(|u| u.get_document("$set"));
            set.ok().and_then(|set| set.get("moved").cloned())
        };
        let before = latest.get(&id).and_then(moved);
        let mut update = update;
        if let Some(before) = before.filter(|_| moved(&update).is_none())
            && let Some(Bson::Document(change)) = update.get_mut("u")
            && let Some(Bson::Document(set)) = change.get_mut("$set")
        {
            set.insert("moved", before);
        }
        latest.insert(id, update);
    }
    updates.extend(latest.into_values());
}
