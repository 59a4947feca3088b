//! How the log's documents look, read and written: ids as texts that sort as the numbers do, members as fields, the rest of a
//! conversation's state beside what is searched by. No I/O.

use std::sync::Arc;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};

use crate::conversation::{Conversation, Member, Role};
use crate::entry::{DecisionRecord, Entry, Seq};
use crate::ids::{ConversationId, UserId};
use crate::store::StoreError;
use crate::store::log::floor::Floor;
use crate::store::log::heads::State;
use crate::store::log::rows::{EntryRow, Header, Reader, Writer, read_header, write_header};

pub fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} could not be read"))
}

/// Stamps, seqs and ids are below 2^63, but for users' ids, which come back as they were.
pub fn int(value: u64) -> Bson {
    Bson::Int64(value as i64)
}

pub fn blob(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    })
}

pub fn maybe(value: Option<u64>) -> Bson {
    value.map_or(Bson::Null, int)
}

pub fn get_int(document: &Document, field: &str) -> Option<u64> {
    match document.get(field)? {
        Bson::Int64(value) => Some(*value as u64),
        Bson::Int32(value) => Some(*value as u64),
        Bson::Double(value) => Some(*value as u64),
        _ => None,
    }
}

pub fn get_blob<'a>(document: &'a Document, field: &str) -> Option<&'a [u8]> {
    match document.get(field)? {
        Bson::Binary(binary) => Some(&binary.bytes),
        _ => None,
    }
}

pub fn get_text<'a>(document: &'a Document, field: &str) -> Option<&'a str> {
    document.get_str(field).ok()
}

/// A token: of this database, up to this stamp.
pub fn token(instance: u64, stamp: u64) -> String {
    format!("{instance:016x}{stamp:016x}")
}

/// Instance and stamp of a token.
pub fn read_token(token: &str) -> Option<(u64, u64)> {
    if token.len() != 32 || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let part = |text| u64::from_str_radix(text, 16).ok();
    Some((part(&token[..16])?, part(&token[16..])?))
}

/// The name of a conversation's lane, which is its id.
pub fn lane_of(id: ConversationId) -> String {
    id.to_string()
}

/// The `_id` of the commit with a number in a lane.
pub fn commit_id(lane: &str, n: u64) -> String {
    format!("{lane}n{n:016x}")
}

/// The `_id` of an entry that came with another one.
pub fn further_id(lane: &str, seq: Seq) -> String {
    format!("{lane}e{seq:016x}")
}

/// Every commit of a lane.
pub fn commits_of(lane: &str) -> Document {
    doc! {"c": lane, "_id": {"$gte": format!("{lane}n"), "$lt": format!("{lane}o")}}
}

pub fn member_id(conversation: ConversationId, user: UserId) -> String {
    format!("{conversation}{:016x}", user.0)
}

/// One member's document.
pub fn member_filter(conversation: ConversationId, user: UserId) -> Document {
    doc! {"_id": member_id(conversation, user), "c": lane_of(conversation)}
}

/// A row's key as an `_id` that sorts as the key does.
pub fn row_id(key: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let two = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[digit as usize]));
    key.iter().flat_map(two).collect()
}

pub fn row_key(id: &str) -> Option<Vec<u8>> {
    let digits = id.as_bytes().chunks_exact(2);
    digits
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok())
        .collect()
}

/// By which a first answer is found in its conversation.
pub fn answer_key(author: UserId, client_id: &str) -> String {
    format!("{}:{client_id}", author.0)
}

/// The same, of the key an engine is asked with.
pub fn answer_key_of(key: &[u8]) -> Option<(String, String)> {
    let conversation = u128::from_be_bytes(key.get(..16)?.try_into().ok()?);
    let author = u64::from_be_bytes(key.get(16..24)?.try_into().ok()?);
    let client_id = std::str::from_utf8(key.get(24..)?).ok()?;
    let lane = lane_of(ConversationId(conversation));
    Some((lane, answer_key(UserId(author), client_id)))
}

/// An entry of a document that has one.
pub fn entry_of(document: &Document) -> Result<EntryRow, StoreError> {
    let read = || {
        let conversation = get_text(document, "c")?.parse().ok()?;
        let seq = get_int(document, "seq")?;
        Some((conversation, seq, get_blob(document, "row")?))
    };
    let (conversation, seq, row) = read().ok_or_else(|| damaged("an entry"))?;
    EntryRow::decode(conversation, seq, row)
}

fn header_bytes(header: &Header) -> Vec<u8> {
    let mut out = Writer::default();
    write_header(&mut out, header);
    out.0
}

/// A conversation's document but for its `_id`, its stamp and what only others raise.
pub fn state_fields(state: &State) -> Document {
    let conversation = rmp_serde::to_vec_named(&*state.conversation);
    let conversation = conversation.expect("a conversation encodes");
    let own = state.conversation.group.as_ref();
    let last = state.last_message.as_ref().map_or(Bson::Null, |entry| {
        let mut bytes = Vec::new();
        bare(entry).encode_into(&mut bytes);
        Bson::Document(doc! {"seq": int(entry.seq), "row": blob(&bytes)})
    });
    doc! {
        "kind": state.conversation.kind.as_str(),
        "changed": int(state.changed),
        "head": int(state.head),
        "head_id": int(state.head_id),
        "generation": int(state.generation),
        "retention": own.is_some_and(|group| group.retention.is_some()),
        "conversation": blob(&conversation),
        "header": blob(&header_bytes(&state.header)),
        "floor": blob(&state.floor.encode()),
        "last": last,
    }
}

/// An entry as a row of its own, for showing it alone.
fn bare(entry: &Arc<Entry>) -> EntryRow {
    EntryRow {
        entry: entry.clone(),
        record: DecisionRecord::default(),
        header: Header::default(),
        edits: Vec::new(),
        recalled_by: 0,
        replaced: false,
        acked: None,
        holds: Vec::new(),
    }
}

/// A conversation's document as it was read.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Without members, whatever its kind.
    pub state: State,
    /// The stamp of the commit it was made from.
    pub stamp: u64,
    /// The stamp of the last change of who is a member.
    pub moved: u64,
    /// When somebody else brought it up to date late: whatever was told before is told again.
    pub touched: u64,
}

pub fn stored(document: &Document) -> Result<Stored, StoreError> {
    read_stored(document).ok_or_else(|| damaged("a conversation"))
}

fn read_stored(document: &Document) -> Option<Stored> {
    let conversation: Conversation =
        rmp_serde::from_slice(get_blob(document, "conversation")?).ok()?;
    let id = conversation.id;
    let last = match document.get("last") {
        Some(Bson::Document(last)) => {
            let row = get_blob(last, "row")?;
            Some(EntryRow::decode(id, get_int(last, "seq")?, row).ok()?.entry)
        }
        _ => None,
    };
    Some(Stored {
        state: State {
            conversation: Arc::new(conversation),
            changed: get_int(document, "changed")?,
            head: get_int(document, "head")?,
            head_id: get_int(document, "head_id")?,
            generation: get_int(document, "generation")?,
            header: read_header(&mut Reader(get_blob(document, "header")?))?,
            floor: Floor::decode(get_blob(document, "floor")?).ok()?,
            last_message: last,
            members: Vec::new(),
        },
        stamp: get_int(document, "s")?,
        moved: get_int(document, "moved").unwrap_or_default(),
        touched: get_int(document, "touched").unwrap_or_default(),
    })
}

/// What a member's own commit or an administrator's sets, whole.
fn set_fields(member: &Member) -> Document {
    doc! {
        "role": member.role as i32,
        "joined_at": int(member.joined_at),
        "visible_from": int(member.visible_from),
        "joined_seq": int(member.joined_seq),
        "muted_until": maybe(member.muted_until),
        "nickname": member.nickname.clone(),
        "left": maybe(member.left),
    }
}

/// What members set for themselves.
pub fn prefs_fields(member: &Member) -> Document {
    doc! {
        "pinned": member.pinned,
        "muted": member.muted,
        "hidden": member.hidden,
        "hidden_at": int(member.hidden_at),
        "draft": member.draft.clone(),
    }
}

/// What only rises, so that it does not matter who writes last (I6).
pub fn rising_fields(member: &Member) -> Document {
    doc! {
        "received": int(member.received),
        "read": int(member.read),
        "read_ordinal": int(member.read_ordinal),
        "spoke_at": int(member.spoke_at),
        "changed": int(member.changed),
        "receipt_changed": int(member.receipt_changed),
        "profile_changed": int(member.profile_changed),
    }
}

/// How a member's document gets from what it was to what it is: only what a commit changed is written, since receipts and
/// preferences are changed beside it.
pub fn member_change(before: Option<&Member>, after: &Member, stamp: u64) -> Document {
    let fresh = before.is_none_or(|before| before.left.is_some() && after.left.is_none());
    let mut set = doc! {"s": int(stamp)};
    let mut change = Document::new();
    if fresh || before.is_some_and(|before| set_fields(before) != set_fields(after)) {
        set.extend(set_fields(after));
    }
    if fresh {
        set.extend(prefs_fields(after));
        set.insert("own_above", own_above(&after.own_above));
    } else {
        let known = before.map_or(&[][..], |before| &before.own_above);
        let added = after.own_above.clone();
        let added: Vec<Seq> = added
            .into_iter()
            .filter(|seq| !known.contains(seq))
            .collect();
        if !added.is_empty() {
            change.insert(
                "$addToSet",
                doc! {"own_above": {"$each": own_above(&added)}},
            );
        } else if known.len() > after.own_above.len() {
            let read = int(after.read);
            change.insert("$pull", doc! {"own_above": {"$lte": read}});
        }
    }
    change.insert("$set", set);
    change.insert("$max", rising_fields(after));
    change
}

fn own_above(seqs: &[Seq]) -> Bson {
    Bson::Array(seqs.iter().map(|seq| int(*seq)).collect())
}

pub fn user_of(document: &Document) -> Result<UserId, StoreError> {
    let user = get_int(document, "u").map(UserId);
    user.ok_or_else(|| damaged("a member"))
}

pub fn conversation_of(document: &Document) -> Result<ConversationId, StoreError> {
    let id = get_text(document, "c").and_then(|text| text.parse().ok());
    id.ok_or_else(|| damaged("a member"))
}

pub fn member(document: &Document) -> Result<Member, StoreError> {
    read_member(document).ok_or_else(|| damaged("a member"))
}

fn read_member(document: &Document) -> Option<Member> {
    let int = |field: &str| get_int(document, field);
    let flag = |field: &str| document.get_bool(field).unwrap_or_default();
    let text = |field: &str| get_text(document, field).map(str::to_owned);
    let role = match int("role")? {
        0 => Role::Member,
        1 => Role::Admin,
        2 => Role::Owner,
        _ => return None,
    };
    let read = int("read")?;
    let own_above = document.get_array("own_above").ok();
    let own_above = own_above.into_iter().flatten().filter_map(Bson::as_i64);
    Some(Member {
        role,
        joined_at: int("joined_at")?,
        visible_from: int("visible_from")?,
        received: int("received")?.max(read),
        read,
        read_ordinal: int("read_ordinal")?,
        own_above: own_above
            .map(|seq| seq as Seq)
            .filter(|seq| *seq > read)
            .collect(),
        pinned: flag("pinned"),
        muted: flag("muted"),
        hidden: flag("hidden"),
        hidden_at: int("hidden_at").unwrap_or_default(),
        draft: text("draft"),
        joined_seq: int("joined_seq").unwrap_or_default(),
        muted_until: int("muted_until"),
        nickname: text("nickname"),
        spoke_at: int("spoke_at").unwrap_or_default(),
        changed: int("changed").unwrap_or_default(),
        profile_changed: int("profile_changed").unwrap_or_default(),
        receipt_changed: int("receipt_changed").unwrap_or_default(),
        left: int("left"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_as_the_numbers_do() {
        let keys = [vec![1], vec![1, 0], vec![1, 255], vec![2]];
        let ids: Vec<String> = keys.iter().map(|key| row_id(key)).collect();
        assert!(ids.is_sorted());
        for (key, id) in keys.iter().zip(&ids) {
            assert_eq!(row_key(id).as_ref(), Some(key));
        }
        assert!(commit_id("a", 9) < commit_id("a", 10));
        assert!(further_id("a", u64::MAX) < commit_id("a", 0));
    }

    #[test]
    fn a_member_comes_back_as_it_was() {
        let mut one = Member::new(Role::Admin, 5, 2, 7, 6, 90);
        (one.draft, one.muted_until, one.own_above) = (Some("x".to_owned()), Some(3), vec![8, 9]);
        let change = member_change(None, &one, 90);
        let mut document = doc! {"c": "", "u": 1_i64};
        for part in ["$set", "$max"] {
            document.extend(change.get_document(part).expect("fields").clone());
        }
        assert_eq!(member(&document).expect("reads"), one);
    }

    #[test]
    fn a_commit_writes_only_what_it_changed_of_a_member() {
        let before = Member::new(Role::Member, 5, 1, 7, 6, 90);
        let after = Member {
            read: 8,
            received: 8,
            ..before.clone()
        };
        let change = member_change(Some(&before), &after, 91);
        let set = change.get_document("$set").expect("a stamp");
        assert_eq!(set.keys().collect::<Vec<_>>(), ["s"]);
    }
}
