//! From what a batch wrote for one change to the one document that commits it: the entry and the first answer stand in it,
//! everything else as updates to be projected. Each update is guarded by the change's stamp, so that doing it twice, or after
//! a later one, changes nothing. No I/O.

use std::collections::{BTreeMap, HashMap, HashSet};

use mongodb::bson::{Bson, Document, doc};

use super::docs::{self, blob, damaged, int, row_id};
use super::engine::Put;
use super::feed::cursor_id;
use super::schema::{CONVERSATIONS, ENTRIES, KV, MEMBERS, META, ROWS};
use crate::conversation::Member;
use crate::entry::Seq;
use crate::ids::{ConversationId, UserId};
use crate::store::StoreError;
use crate::store::log::engine::Table;
use crate::store::log::feed::{Row as Item, Told};
use crate::store::log::heads::State;
use crate::store::log::key;
use crate::store::log::kv_row::{KvRow, bytes};
use crate::store::log::rows::EntryRow;

/// Older values of a plugin's key that are remembered, for those who read a moment ago's.
const OLDER_KEPT: i32 = 4;
/// Rows that are written otherwise, or follow from other documents.
const ELSEWHERE: [u8; 6] = [
    key::CONVERSATION,
    key::FLOOR,
    key::MEMBER,
    key::MEMBERSHIP,
    key::META,
    key::KV_USED,
];

/// Rows that say where media are named.
const MEDIA: [u8; 4] = [
    key::MEDIA_USE,
    key::MEDIA_HELD,
    key::MEDIA_AVATAR,
    key::MEDIA_LEFT,
];

/// The documents of one run of changes in a lane, one after another.
pub struct Composer<'a> {
    lane: &'a str,
    /// Which node and attempt this is.
    by: String,
    /// First answers that stand in a document already.
    answered: HashSet<String>,
    /// What the change at hand answers, if it has a client id: of others there is an answer to be changed.
    own: Option<String>,
    /// Members as the changes so far leave them.
    members: HashMap<(ConversationId, UserId), Option<Member>>,
}

/// What was written, the last of each key.
type Latest = BTreeMap<(u8, Vec<u8>), Option<Vec<u8>>>;

/// A commit in the making.
struct Commit {
    document: Document,
    updates: Vec<Document>,
    /// Users whose lists get a conversation.
    joined: Vec<Bson>,
    namespaces: Vec<Bson>,
    moved: bool,
    holds: bool,
    media: bool,
}

impl<'a> Composer<'a> {
    pub fn new(lane: &'a str, by: String, answered: HashSet<String>) -> Self {
        Self {
            lane,
            by,
            answered,
            own: None,
            members: HashMap::new(),
        }
    }

    /// A member as it stood before everything this composes.
    pub fn knows(&mut self, place: (ConversationId, UserId), member: Option<Member>) {
        self.members.entry(place).or_insert(member);
    }

    /// The members that a change writes and whose earlier rows are not known here yet.
    pub fn unknown(&self, puts: &[Put]) -> Vec<(ConversationId, UserId)> {
        let places = puts.iter().filter_map(member_place);
        places
            .filter(|place| !self.members.contains_key(place))
            .collect()
    }

    /// The change that comes next, and its client id if it has one.
    pub fn next(&mut self, own: Option<String>) {
        self.own = own;
    }

    /// The document of one change. `head` is the seq before it, `state` what it leaves.
    pub fn document(
        &mut self,
        puts: Vec<Put>,
        (n, stamp): (u64, u64),
        head: Seq,
        state: Option<&State>,
    ) -> Result<Document, StoreError> {
        let id = docs::commit_id(self.lane, n);
        let mut items = Vec::new();
        let mut latest = Latest::new();
        for put in puts {
            if put.table == Table::Feed {
                if let Some(item) = item(&put, head) {
                    let place = format!("{id}.{}", items.len());
                    items.push(told(&item, place));
                }
                continue;
            }
            latest.insert((put.table as u8, put.key), put.value);
        }
        let mut commit = Commit {
            document: doc! {
                "_id": id,
                "c": self.lane,
                "n": int(n),
                "s": int(stamp),
                "by": &self.by,
                "open": 1,
            },
            updates: Vec::new(),
            joined: Vec::new(),
            namespaces: Vec::new(),
            moved: false,
            holds: false,
            media: false,
        };
        let mut shows = false;
        for ((table, key), value) in latest {
            if table == Table::Entries as u8 {
                shows = true;
                self.entry(&mut commit, &key, value, (head, stamp))?;
            } else if table == Table::Answers as u8 {
                self.answer(&mut commit, &key, value, stamp)?;
            } else {
                shows |= [key::CONVERSATION, key::FLOOR].contains(&key[0]);
                self.row(&mut commit, &key, value, stamp)?;
            }
        }
        if let Some(state) = state.filter(|_| shows) {
            commit
                .updates
                .push(project(self.lane, state, stamp, commit.moved));
        }
        Ok(finish(commit, items))
    }

    fn entry(
        &self,
        commit: &mut Commit,
        key: &[u8],
        value: Option<Vec<u8>>,
        (head, stamp): (Seq, u64),
    ) -> Result<(), StoreError> {
        let seq = key::seq_of(key).ok_or_else(|| damaged("an entry's key"))?;
        let guard = doc! {"c": self.lane, "seq": int(seq), "v": {"$lt": int(stamp)}};
        let Some(row) = value else {
            let change = doc! {"$unset": {"row": ""}, "$set": {"v": int(stamp)}};
            commit.update(ENTRIES, guard, Bson::Document(change), false);
            return Ok(());
        };
        if seq <= head {
            let change = doc! {"$set": {"row": blob(&row), "v": int(stamp)}};
            commit.update(ENTRIES, guard, Bson::Document(change), false);
            return Ok(());
        }
        let at_ms = EntryRow::decode_time(&row)?;
        let entry = doc! {
            "seq": int(seq),
            "at": mongodb::bson::DateTime::from_millis(at_ms as i64),
            "row": blob(&row),
            "v": int(stamp),
        };
        if commit.document.contains_key("seq") {
            let filter = doc! {"_id": docs::further_id(self.lane, seq), "c": self.lane};
            let change = doc! {"$setOnInsert": entry};
            commit.update(ENTRIES, filter, Bson::Document(change), true);
        } else {
            commit.document.extend(entry);
        }
        Ok(())
    }

    fn answer(
        &mut self,
        commit: &mut Commit,
        key: &[u8],
        value: Option<Vec<u8>>,
        stamp: u64,
    ) -> Result<(), StoreError> {
        let (lane, name) =
            docs::answer_key_of(key).ok_or_else(|| damaged("a first answer's key"))?;
        let Some(row) = value else { return Ok(()) };
        if self.own.as_ref() == Some(&name) && self.answered.insert(name.clone()) {
            commit.document.insert("k", name);
            commit.document.insert("a", blob(&row));
            commit.document.insert("av", int(stamp));
            return Ok(());
        }
        let filter = doc! {"c": lane, "k": name, "av": {"$lt": int(stamp)}};
        let change = doc! {"$set": {"a": blob(&row), "av": int(stamp)}};
        commit.update(ENTRIES, filter, Bson::Document(change), false);
        Ok(())
    }

    fn row(
        &mut self,
        commit: &mut Commit,
        key: &[u8],
        value: Option<Vec<u8>>,
        stamp: u64,
    ) -> Result<(), StoreError> {
        match key[0] {
            key::MEMBER => self.member(commit, key, value, stamp),
            key::KV => value_update(commit, key, value, stamp),
            key::CURSOR => {
                let read = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
                let at = value.as_deref().and_then(read);
                let (Some(consumer), Some(at)) = (read(&key[1..]), at) else {
                    return Err(damaged("a consumer's place"));
                };
                let change = doc! {"$set": {"at": at}};
                let filter = doc! {"_id": cursor_id(&consumer)};
                commit.update(META, filter, Bson::Document(change), true);
                Ok(())
            }
            kind if ELSEWHERE.contains(&kind) => Ok(()),
            kind => {
                commit.holds |= kind == key::HELD;
                commit.media |= MEDIA.contains(&kind);
                let filter = doc! {"_id": row_id(key), "s": {"$lt": int(stamp)}};
                let change = match value {
                    Some(value) => doc! {
                        "$set": {"s": int(stamp), "v": blob(&value)},
                        "$unset": {"gone": ""},
                    },
                    None => doc! {
                        "$set": {"s": int(stamp), "v": Bson::Null},
                        "$currentDate": {"gone": true},
                    },
                };
                commit.update(ROWS, filter, Bson::Document(change), true);
                Ok(())
            }
        }
    }

    fn member(
        &mut self,
        commit: &mut Commit,
        key: &[u8],
        value: Option<Vec<u8>>,
        stamp: u64,
    ) -> Result<(), StoreError> {
        let read = || {
            let place = place_of(key)?;
            let member: Member = rmp_serde::from_slice(value.as_deref()?).ok()?;
            Some((place, member))
        };
        let (place, member) = read().ok_or_else(|| damaged("a member"))?;
        let before = self.members.get(&place).cloned().flatten();
        let left = |member: &Member| member.left.is_some();
        if before
            .as_ref()
            .is_none_or(|before| left(before) != left(&member))
        {
            commit.moved = true;
            commit.joined.push(int(place.1.0));
        }
        let filter = doc! {
            "_id": docs::member_id(place.0, place.1),
            "c": self.lane,
            "u": int(place.1.0),
            "s": {"$lt": int(stamp)},
        };
        let change = docs::member_change(before.as_ref(), &member, stamp);
        commit.update(MEMBERS, filter, Bson::Document(change), true);
        self.members.insert(place, Some(member));
        Ok(())
    }
}

impl Commit {
    fn update(&mut self, table: &str, filter: Document, change: Bson, upsert: bool) {
        self.updates
            .push(doc! {"t": table, "q": filter, "u": change, "upsert": upsert, "multi": false});
    }
}

/// Puts what is to be projected into the document, as bytes: names in it mean nothing to the server there.
fn finish(commit: Commit, items: Vec<Bson>) -> Document {
    let mut document = commit.document;
    if !commit.updates.is_empty() {
        let updates = mongodb::bson::serialize_to_vec(&doc! {"w": commit.updates});
        document.insert("w", blob(&updates.expect("updates encode")));
    }
    for (field, values) in [
        ("f", items),
        ("u", commit.joined),
        ("ns", commit.namespaces),
    ] {
        if !values.is_empty() {
            document.insert(field, values);
        }
    }
    for (field, is_there) in [("h", commit.holds), ("m", commit.media)] {
        if is_there {
            document.insert(field, true);
        }
    }
    document
}

/// What a commit's document says is to be projected, in order: collections and updates.
pub fn updates_of(document: &Document) -> Result<Vec<(String, Document)>, StoreError> {
    let Some(bytes) = docs::get_blob(document, "w") else {
        return Ok(Vec::new());
    };
    let read = || {
        let kept: Document = mongodb::bson::deserialize_from_slice(bytes).ok()?;
        let updates = kept.get_array("w").ok()?.iter();
        updates
            .map(|update| {
                let mut update = update.as_document()?.clone();
                let table = update.remove("t")?.as_str()?.to_owned();
                Some((table, update))
            })
            .collect::<Option<Vec<_>>>()
    };
    read().ok_or_else(|| damaged("what follows from a commit"))
}

fn project(lane: &str, state: &State, stamp: u64, moved: bool) -> Document {
    let mut set = docs::state_fields(state);
    set.insert("s", int(stamp));
    if moved {
        set.insert("moved", int(stamp));
    }
    let filter = doc! {"_id": lane, "s": {"$lt": int(stamp)}};
    doc! {"t": CONVERSATIONS, "q": filter, "u": {"$set": set}, "upsert": true, "multi": false}
}

fn value_update(
    commit: &mut Commit,
    key: &[u8],
    value: Option<Vec<u8>>,
    stamp: u64,
) -> Result<(), StoreError> {
    let (namespace, name) = split(key).ok_or_else(|| damaged("a plugin's key"))?;
    let row = value.map(|bytes| KvRow::decode(&bytes)).transpose()?;
    let version = row.as_ref().map_or(stamp, |row| row.version);
    let filter = doc! {
        "_id": format!("{namespace}\n{name}"),
        "ns": namespace,
        "key": name,
        "s": {"$lt": int(version)},
    };
    let literal = |value: Bson| doc! {"$literal": value};
    let older = doc! {"v": "$v", "s": "$s", "e": "$e"};
    let known = doc! {"$cond": [{"$gt": ["$s", Bson::Null]}, [older], []]};
    let kept = doc! {"$concatArrays": [known, {"$ifNull": ["$old", []]}]};
    let size = row.as_ref().map_or(0, |row| bytes(name, &row.value));
    let mut set = doc! {
        "old": {"$slice": [kept, OLDER_KEPT]},
        "s": literal(int(version)),
        "e": literal(int(row.as_ref().map_or(0, |row| row.expires_at))),
        "size": literal(int(size)),
        "gone": if row.is_some() { Bson::String("$$REMOVE".to_owned()) } else { Bson::String("$$NOW".to_owned()) },
    };
    let stored = row.map_or(Bson::Null, |row| blob(&row.value));
    set.insert("v", literal(stored));
    commit.namespaces.push(Bson::String(namespace.to_owned()));
    let change = Bson::Array(vec![Bson::Document(doc! {"$set": set})]);
    commit.update(KV, filter, change, true);
    Ok(())
}

/// The namespace and the name in a value's key.
fn split(key: &[u8]) -> Option<(&str, &str)> {
    let at = key.iter().position(|byte| *byte == 0)?;
    let namespace = std::str::from_utf8(key.get(1..at)?).ok()?;
    Some((namespace, std::str::from_utf8(key.get(at + 1..)?).ok()?))
}

fn member_place(put: &Put) -> Option<(ConversationId, UserId)> {
    let is_member = put.table == Table::Rows && put.key.first() == Some(&key::MEMBER);
    is_member.then(|| place_of(&put.key))?
}

fn place_of(key: &[u8]) -> Option<(ConversationId, UserId)> {
    let conversation = u128::from_be_bytes(key.get(1..17)?.try_into().ok()?);
    let user = u64::from_be_bytes(key.get(17..25)?.try_into().ok()?);
    Some((ConversationId(conversation), UserId(user)))
}

/// What the feed is told: an entry that has changed was told when it was new.
fn item(put: &Put, head: Seq) -> Option<Item> {
    let item = Item::read(&put.key, put.value.as_deref()?)?;
    (item.told != Told::Entry || item.seq > head).then_some(item)
}

fn told(item: &Item, place: String) -> Bson {
    let lane = docs::lane_of(item.conversation);
    Bson::Document(doc! {"i": place, "k": item.told as i32, "c": lane, "q": int(item.seq)})
}
