//! MongoDB below a batch: reads of what is committed and projected, and a list of what the batch writes. Runs where waiting
//! is allowed; whoever runs it holds the lane, so that nothing of this conversation changes here meanwhile.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use mongodb::bson::{Document, doc};
use tokio::runtime::Handle;

use super::Shared;
use super::docs::{self, damaged, get_blob, get_text, row_id, row_key};
use super::feed::cursor_id;
use super::schema::{ENTRIES, MEMBERS, META, ROWS};
use crate::conversation::Member;
use crate::entry::Seq;
use crate::ids::{ConversationId, EntryId, HoldId, JoinRequestId, UserId};
use crate::store::groups::JoinRequest;
use crate::store::log::answers::AnswerRow;
use crate::store::log::engine::{Engine, Table};
use crate::store::log::heads::State;
use crate::store::log::kv_row::KvRow;
use crate::store::log::rows::{EntryRow, Header, Reader};
use crate::store::log::{held, join_request, key};
use crate::store::{HeldMessage, StoreError};

/// One row of a batch; `None` takes it away.
pub struct Put {
    pub table: Table,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// What a batch has written since this was last emptied.
pub type Puts = Rc<RefCell<Vec<Put>>>;

/// Plugins' values as they stood when the batch first asked for them, by namespace and name.
type Values = HashMap<(String, String), Option<KvRow>>;

/// Members of groups as they stood before the batch, those that it asked for.
pub type Seen = Rc<RefCell<HashMap<(ConversationId, UserId), Option<Member>>>>;

pub struct Reads<'a> {
    shared: &'a Shared,
    handle: Handle,
    /// The lane's conversation, as its newest commit left it.
    state: Option<Arc<State>>,
    answers: HashMap<String, AnswerRow>,
    members: Seen,
    values: RefCell<Values>,
    puts: Puts,
}

impl<'a> Reads<'a> {
    /// `answers` holds those client ids that are answered already, of those the batch is about.
    pub fn new(
        shared: &'a Shared,
        handle: Handle,
        state: Option<Arc<State>>,
        answers: HashMap<String, AnswerRow>,
    ) -> Self {
        Self {
            shared,
            handle,
            state,
            answers,
            members: Seen::default(),
            values: RefCell::default(),
            puts: Puts::default(),
        }
    }

    pub fn puts(&self) -> Puts {
        self.puts.clone()
    }

    pub fn seen(&self) -> Seen {
        self.members.clone()
    }

    fn wait<T>(&self, asked: impl Future<Output = T>) -> T {
        self.handle.block_on(asked)
    }

    fn one(&self, collection: &str, filter: Document) -> Result<Option<Document>, StoreError> {
        self.wait(self.shared.mongo.find_one(collection, filter))
    }
}

impl Engine for Reads<'_> {
    fn last_stamp(&self) -> u64 {
        self.shared.ids.last()
    }

    fn next_stamp(&mut self, now: u64) -> u64 {
        self.shared.ids.next(now)
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.puts.borrow_mut().push(Put {
            table,
            key: key.to_vec(),
            value: Some(value.to_vec()),
        });
    }

    fn remove(&mut self, table: Table, key: &[u8]) {
        self.puts.borrow_mut().push(Put {
            table,
            key: key.to_vec(),
            value: None,
        });
    }

    fn state(&mut self, id: ConversationId) -> Result<Option<Arc<State>>, StoreError> {
        let state = self.state.as_ref();
        Ok(state.filter(|state| state.conversation.id == id).cloned())
    }

    fn entry(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<EntryRow>, StoreError> {
        let found = self.one(ENTRIES, entry_filter(conversation, seq))?;
        found.map(|document| docs::entry_of(&document)).transpose()
    }

    fn header(&self, conversation: ConversationId, seq: Seq) -> Result<Option<Header>, StoreError> {
        Ok(self.entry(conversation, seq)?.map(|row| row.header))
    }

    fn member(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Member>, StoreError> {
        if let Some(known) = self.members.borrow().get(&(conversation, user)) {
            return Ok(known.clone());
        }
        let found = match &self.state {
            // Nobody was a member of what does not exist.
            None => None,
            Some(_) => self.one(MEMBERS, docs::member_filter(conversation, user))?,
        };
        let found = found.map(|found| docs::member(&found)).transpose()?;
        let mut members = self.members.borrow_mut();
        members.insert((conversation, user), found.clone());
        Ok(found)
    }

    fn answer_at(&self, key: &[u8]) -> Result<Option<AnswerRow>, StoreError> {
        let (_, name) = docs::answer_key_of(key).ok_or_else(|| damaged("an answer's key"))?;
        Ok(self.answers.get(&name).cloned())
    }

    fn held(&self, hold: HoldId) -> Result<Option<HeldMessage>, StoreError> {
        let row = self.row(&key::held(hold))?;
        row.map(|bytes| held::decode(hold, &bytes)).transpose()
    }

    fn join_request(
        &self,
        conversation: ConversationId,
        id: JoinRequestId,
    ) -> Result<Option<JoinRequest>, StoreError> {
        let row = self.row(&key::join_request(conversation, id))?;
        row.map(|bytes| join_request::decode(id, &bytes))
            .transpose()
    }

    fn request_of(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<JoinRequestId>, StoreError> {
        let row = self.row(&key::request_of(conversation, user))?;
        let id = |bytes: Vec<u8>| {
            Reader(&bytes)
                .u64()
                .ok_or_else(|| damaged("a join request"))
        };
        row.map(|bytes| id(bytes).map(JoinRequestId)).transpose()
    }

    fn join_requests(&self, conversation: ConversationId) -> Result<Vec<JoinRequest>, StoreError> {
        self.wait(self.shared.join_requests(conversation, None, 0))
    }

    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if key.first() == Some(&key::CURSOR) {
            let consumer = std::str::from_utf8(&key[1..]).map_err(|_| damaged("a consumer"))?;
            let found = self.one(META, doc! {"_id": cursor_id(consumer)})?;
            return Ok(found.and_then(|found| Some(get_text(&found, "at")?.as_bytes().to_vec())));
        }
        let found = self.one(ROWS, doc! {"_id": row_id(key)})?;
        Ok(found.and_then(|found| get_blob(&found, "v").map(<[u8]>::to_vec)))
    }

    fn keys(&self, range: Range<Vec<u8>>) -> Result<Vec<Vec<u8>>, StoreError> {
        let range = (row_id(&range.start), row_id(&range.end));
        let rows = self.wait(self.shared.rows_between(range, 0))?;
        rows.iter()
            .map(|(id, _)| row_key(id).ok_or_else(|| damaged("a row's key")))
            .collect()
    }

    fn expect_kv(&self, namespace: &str, names: &[&str]) -> Result<(), StoreError> {
        let mut rows = self.wait(self.shared.kv_rows_of(namespace, names))?;
        let mut values = self.values.borrow_mut();
        for name in names {
            let place = (namespace.to_owned(), (*name).to_owned());
            values.entry(place).or_insert_with(|| rows.remove(*name));
        }
        Ok(())
    }

    fn kv(&self, namespace: &str, name: &str) -> Result<Option<KvRow>, StoreError> {
        let place = (namespace.to_owned(), name.to_owned());
        if let Some(known) = self.values.borrow().get(&place) {
            return Ok(known.clone());
        }
        let row = self.wait(self.shared.kv_row(namespace, name))?;
        self.values.borrow_mut().insert(place, row.clone());
        Ok(row)
    }

    fn recount(&self, namespace: &str) -> Result<(), StoreError> {
        self.wait(self.shared.recount(namespace))
    }

    fn kv_used(&self, namespace: &str) -> Result<u64, StoreError> {
        self.wait(self.shared.kv_used_about(namespace))
    }

    fn kv_rows(
        &self,
        namespace: &str,
        more: &mut dyn FnMut(String, KvRow) -> bool,
    ) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let page = self.wait(self.shared.kv_after(namespace, "", &after, 1_000))?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after.clone_from(last);
            for (name, row) in page {
                if !more(name, row) {
                    return Ok(());
                }
            }
        }
    }

    fn refuse(&self, namespace: &str) -> u64 {
        self.shared.notes.refuse(namespace)
    }

    fn keep_beside(&mut self, _: EntryId, _: usize, _: u64) -> Vec<EntryId> {
        // What is too much goes by the clock: which there are is known to no single node.
        Vec::new()
    }

    fn has_beside(&mut self, _: EntryId) -> bool {
        true
    }
}

/// An entry that is kept.
pub fn entry_filter(conversation: ConversationId, seq: Seq) -> Document {
    let lane = docs::lane_of(conversation);
    doc! {"c": lane, "seq": docs::int(seq), "row": {"$exists": true}}
}
