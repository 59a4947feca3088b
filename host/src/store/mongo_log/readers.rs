//! How far the members of a conversation are with one entry. Counts on demand; nothing of it is kept.
//! What it counts is what a majority has at this moment.

use mongodb::bson::{Document, doc};

use super::Shared;
use super::apply::About;
use super::docs::{self, lane_of};
use super::schema::MEMBERS;
use crate::conversation::Member;
use crate::entry::Entry;
use crate::ids::UserId;
use crate::store::{Readers, StoreError};

/// Members read at once.
const STRETCH: usize = 1_000;

impl Shared {
    pub async fn readers(
        &self,
        entry: Entry,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Readers, StoreError> {
        self.catch_up(About::Conversation(entry.conversation))
            .await?;
        let mut count = Count {
            entry,
            after,
            limit,
            readers: Readers::default(),
        };
        let lane = lane_of(count.entry.conversation);
        let mut last = String::new();
        loop {
            let filter = doc! {"c": &lane, "_id": {"$gt": &last}};
            let order = doc! {"_id": 1};
            let page: Vec<Document> = self.mongo.find(MEMBERS, filter, order, STRETCH).await?;
            for row in &page {
                count.one(docs::user_of(row)?, &docs::member(row)?);
            }
            match page.last().and_then(|row| docs::get_text(row, "_id")) {
                Some(place) if page.len() == STRETCH => place.clone_into(&mut last),
                _ => return Ok(count.readers),
            }
        }
    }
}

struct Count {
    entry: Entry,
    after: Option<UserId>,
    limit: usize,
    readers: Readers,
}

impl Count {
    /// Members come by rising id.
    fn one(&mut self, user: UserId, member: &Member) {
        let seq = self.entry.seq;
        if member.left.is_some() || member.visible_from > seq || !self.entry.is_for(user) {
            return;
        }
        let read = user == self.entry.from || member.read >= seq;
        self.readers.received += u64::from(read || member.received >= seq);
        if !read {
            return;
        }
        self.readers.read += 1;
        if self.after.is_some_and(|after| user <= after) {
            return;
        }
        if self.readers.users.len() < self.limit {
            self.readers.users.push(user);
        } else {
            self.readers.more = true;
        }
    }
}
