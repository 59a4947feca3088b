//! The keys of the embedded log. Entries and first answers have tables of their own; of all other rows the first byte
//! of the key says what they are.

use crate::entry::Seq;
use crate::ids::{ConversationId, EntryId, HoldId, JoinRequestId, MediaId, UserId};

/// What hooks were shown and read that no entry holds.
pub const BESIDE: u8 = b'b';
pub const CONVERSATION: u8 = b'c';
/// Where the feed's consumers stand.
pub const CURSOR: u8 = b'f';
/// Who reacted how to what, last.
pub const REACTION: u8 = b'e';
pub const HELD: u8 = b'h';
pub const JOIN_REQUEST: u8 = b'j';
pub const KV: u8 = b'k';
/// How much each namespace of plugins keeps.
pub const KV_USED: u8 = b'q';
/// Where a log whose oldest entries are gone begins.
pub const FLOOR: u8 = b'l';
/// Conversations that have a media as their avatar.
pub const MEDIA_AVATAR: u8 = b'v';
/// Held messages that name media.
pub const MEDIA_HELD: u8 = b'o';
/// Media that something does not name any more.
pub const MEDIA_LEFT: u8 = b'p';
/// Entries that name media.
pub const MEDIA_USE: u8 = b'i';
pub const MEMBER: u8 = b'm';
pub const MENTION: u8 = b'n';
/// Which join request of a group is a user's.
pub const REQUEST_OF: u8 = b'r';
pub const MEMBERSHIP: u8 = b'u';
/// Messages that leave some members out.
pub const NARROWED: u8 = b'w';
pub const META: u8 = b'z';
/// Stands for everyone in a mention's key; no user has this id.
pub const ALL: UserId = UserId(0);

fn joined(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(kind);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

pub fn conversation(id: ConversationId) -> Vec<u8> {
    joined(CONVERSATION, &[&id.to_bytes()])
}

pub fn member(conversation: ConversationId, user: UserId) -> [u8; 25] {
    let mut key = [MEMBER; 25];
    key[1..17].copy_from_slice(&conversation.to_bytes());
    key[17..].copy_from_slice(&user.0.to_be_bytes());
    key
}

/// Every member of a conversation.
pub fn members(conversation: ConversationId) -> Vec<u8> {
    joined(MEMBER, &[&conversation.to_bytes()])
}

pub fn join_request(conversation: ConversationId, id: JoinRequestId) -> Vec<u8> {
    joined(
        JOIN_REQUEST,
        &[&conversation.to_bytes(), &id.0.to_be_bytes()],
    )
}

pub fn request_of(conversation: ConversationId, user: UserId) -> Vec<u8> {
    joined(
        REQUEST_OF,
        &[&conversation.to_bytes(), &user.0.to_be_bytes()],
    )
}

pub fn membership(user: UserId, conversation: ConversationId) -> Vec<u8> {
    joined(
        MEMBERSHIP,
        &[&user.0.to_be_bytes(), &conversation.to_bytes()],
    )
}

pub fn memberships(user: UserId) -> Vec<u8> {
    joined(MEMBERSHIP, &[&user.0.to_be_bytes()])
}

pub fn mention(conversation: ConversationId, user: UserId, seq: Seq) -> Vec<u8> {
    joined(
        MENTION,
        &[
            &conversation.to_bytes(),
            &user.0.to_be_bytes(),
            &seq.to_be_bytes(),
        ],
    )
}

pub fn narrowed(conversation: ConversationId, seq: Seq) -> Vec<u8> {
    joined(NARROWED, &[&conversation.to_bytes(), &seq.to_be_bytes()])
}

pub fn floor(conversation: ConversationId) -> Vec<u8> {
    joined(FLOOR, &[&conversation.to_bytes()])
}

pub fn reaction(conversation: ConversationId, target: Seq, user: UserId, emoji: &str) -> Vec<u8> {
    joined(
        REACTION,
        &[
            &conversation.to_bytes(),
            &target.to_be_bytes(),
            &user.0.to_be_bytes(),
            emoji.as_bytes(),
        ],
    )
}

/// Where the reactions to an entry begin, and those to the entry before it end.
pub fn reactions(conversation: ConversationId, target: Seq) -> Vec<u8> {
    joined(REACTION, &[&conversation.to_bytes(), &target.to_be_bytes()])
}

pub fn media_use(media: MediaId, conversation: ConversationId, seq: Seq) -> Vec<u8> {
    joined(
        MEDIA_USE,
        &[
            &media.0.to_be_bytes(),
            &conversation.to_bytes(),
            &seq.to_be_bytes(),
        ],
    )
}

pub fn media_uses(media: MediaId) -> Vec<u8> {
    joined(MEDIA_USE, &[&media.0.to_be_bytes()])
}

pub fn media_held(media: MediaId, hold: HoldId) -> Vec<u8> {
    joined(MEDIA_HELD, &[&media.0.to_be_bytes(), &hold.0.to_be_bytes()])
}

pub fn media_holds(media: MediaId) -> Vec<u8> {
    joined(MEDIA_HELD, &[&media.0.to_be_bytes()])
}

pub fn media_avatar(media: MediaId, conversation: ConversationId) -> Vec<u8> {
    joined(
        MEDIA_AVATAR,
        &[&media.0.to_be_bytes(), &conversation.to_bytes()],
    )
}

pub fn media_avatars(media: MediaId) -> Vec<u8> {
    joined(MEDIA_AVATAR, &[&media.0.to_be_bytes()])
}

pub fn media_left(media: MediaId) -> Vec<u8> {
    joined(MEDIA_LEFT, &[&media.0.to_be_bytes()])
}

pub fn held(hold: HoldId) -> Vec<u8> {
    joined(HELD, &[&hold.0.to_be_bytes()])
}

pub fn beside(entry: EntryId) -> [u8; 9] {
    let mut key = [BESIDE; 9];
    key[1..].copy_from_slice(&entry.0.to_be_bytes());
    key
}

pub fn kv(namespace: &str, name: &str) -> Vec<u8> {
    joined(KV, &[namespace.as_bytes(), &[0], name.as_bytes()])
}

pub fn kv_used(namespace: &str) -> Vec<u8> {
    joined(KV_USED, &[namespace.as_bytes()])
}

pub fn cursor(consumer: &str) -> Vec<u8> {
    joined(CURSOR, &[consumer.as_bytes()])
}

pub fn meta(name: &str) -> Vec<u8> {
    joined(META, &[name.as_bytes()])
}

/// The key of an entry.
pub fn entry(conversation: ConversationId, seq: Seq) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(&conversation.to_bytes());
    key[16..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// The seq in an entry's key.
pub fn seq_of(key: &[u8]) -> Option<Seq> {
    key.get(16..24)?.try_into().ok().map(Seq::from_be_bytes)
}

/// The key of a first answer.
pub fn answer(conversation: ConversationId, author: UserId, client_id: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(24 + client_id.len());
    key.extend_from_slice(&conversation.to_bytes());
    key.extend_from_slice(&author.0.to_be_bytes());
    key.extend_from_slice(client_id.as_bytes());
    key
}
