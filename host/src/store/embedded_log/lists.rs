//! A user's lists: the summary of a conversation,
//! the pages of all of them, and what changed since a token.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::EmbeddedLog;
use crate::conversation::{Kind, Member, PeerReceipts, Summary};
use crate::entry::Entry;
use crate::ids::{ConversationId, EntryId, UserId};
use crate::store::log::heads::State;
use crate::store::{Changes, StoreError};

/// A sync token: of this store, up to this stamp.
pub fn token(instance: u64, stamp: u64) -> String {
    format!("{instance:016x}{stamp:016x}")
}

/// The stamp in a token of this store; `None` for any other text, and for tokens from the future.
pub fn stamp_of(log: &EmbeddedLog, since: &str) -> Option<u64> {
    if since.len() != 32 || !since.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let instance = u64::from_str_radix(&since[..16], 16).ok()?;
    let stamp = u64::from_str_radix(&since[16..], 16).ok()?;
    (instance == log.instance && stamp <= log.shared.settled.load(Ordering::Acquire))
        .then_some(stamp)
}

/// What a present member's list shows of a conversation.
pub fn summary(
    log: &EmbeddedLog,
    conversation: ConversationId,
    user: UserId,
) -> Result<Option<Summary>, StoreError> {
    let Some(state) = log.state(conversation)? else {
        return Ok(None);
    };
    match log
        .member_of(&state, user)?
        .filter(|member| member.left.is_none())
    {
        Some(member) => of_member(log, &state, user, member).map(Some),
        None => Ok(None),
    }
}

fn of_member(
    log: &EmbeddedLog,
    state: &State,
    user: UserId,
    mut member: Member,
) -> Result<Summary, StoreError> {
    let id = state.conversation.id;
    let floor = &state.floor;
    let span = (member.read.max(floor.seq - 1), state.head);
    let below = member.read_ordinal.max(floor.header.ordinal);
    let mut unread = state.header.ordinal.saturating_sub(below);
    let mut mentions = 0;
    if unread > 0 {
        let own = member.own_above.iter().filter(|own| **own > span.0);
        unread = unread
            .saturating_sub(own.count() as u64)
            .saturating_sub(log.tables().left_out(id, user, span)?);
        mentions = log.tables().mentions(id, user, span)?;
    }
    let last = last_for(log, state, user, &member)?;
    member.hidden = is_hidden(state, &member);
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

/// A new message shows a hidden conversation again.
fn is_hidden(state: &State, member: &Member) -> bool {
    member.hidden && state.header.last_message <= member.hidden_at
}

/// The newest message a member may see.
fn last_for(
    log: &EmbeddedLog,
    state: &State,
    user: UserId,
    member: &Member,
) -> Result<Option<Arc<Entry>>, StoreError> {
    let mut candidate = state.last_message.clone();
    while let Some(entry) = candidate {
        if entry.seq < member.visible_from {
            return Ok(None);
        }
        if entry.is_for(user) {
            return Ok(Some(entry));
        }
        let before = log
            .tables()
            .header(state.conversation.id, entry.seq - 1)?
            .map_or(0, |header| header.last_message);
        candidate = match before {
            0 => None,
            seq => log
                .tables()
                .entry(state.conversation.id, seq)?
                .map(|row| row.entry),
        };
    }
    Ok(None)
}

/// What a page's order is by: pinned first, then the newest message, then the id.
type Place = (bool, u64, ConversationId);

/// A page of a user's list.
pub fn summaries(
    log: &EmbeddedLog,
    user: UserId,
    cursor: Option<&str>,
    limit: usize,
) -> Result<(Vec<Summary>, Option<String>), StoreError> {
    let mut places: Vec<Place> = Vec::new();
    for id in log.tables().memberships(user)? {
        let Some(state) = log.state(id)? else {
            continue;
        };
        let Some(member) = log
            .member_of(&state, user)?
            .filter(|member| member.left.is_none())
        else {
            continue;
        };
        if is_hidden(&state, &member) || (state.conversation.kind == Kind::Own && state.head == 0) {
            continue;
        }
        // By the id, which tells apart what was said within one millisecond.
        let newest = last_for(log, &state, user, &member)?.map(|last| last.id);
        let newest = newest.unwrap_or_else(|| EntryId::first_at(member.joined_at));
        places.push((member.pinned, newest.0, id));
    }
    places.sort_unstable_by(|a, b| b.cmp(a));
    let after = match cursor {
        Some(cursor) => Some(read_cursor(cursor).ok_or(StoreError::NotACursor)?),
        None => None,
    };
    let mut rest = places
        .into_iter()
        .filter(|place| after.is_none_or(|after| *place < after))
        .peekable();
    let mut page = Vec::new();
    let mut last = None;
    while page.len() < limit
        && let Some(place) = rest.next()
    {
        if let Some(summary) = summary(log, place.2, user)? {
            page.push(summary);
        }
        last = Some(place);
    }
    let cursor = last
        .filter(|_| rest.peek().is_some())
        .map(|place| write_cursor(&place));
    Ok((page, cursor))
}

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
    Some((
        pinned,
        u64::from_str_radix(&text[1..17], 16).ok()?,
        text[17..].parse().ok()?,
    ))
}

/// Whatever differs for a user from what it was at a token, oldest change first.
pub fn changes(
    log: &EmbeddedLog,
    user: UserId,
    since: &str,
    limit: usize,
) -> Result<Changes, StoreError> {
    // Taken before anything is read: what changes while reading is told again next time rather than never.
    let now = log.shared.settled.load(Ordering::Acquire);
    let Some(since) = stamp_of(log, since) else {
        let since = token(log.instance, now);
        return Ok(Changes {
            changed: Vec::new(),
            gone: Vec::new(),
            since,
            more: false,
            reset: true,
        });
    };
    let mut touched = Vec::new();
    for id in log.tables().memberships(user)? {
        let Some(state) = log.state(id)? else {
            continue;
        };
        let Some(member) = log.member_of(&state, user)? else {
            continue;
        };
        let stamp = last_change(&state, user, &member);
        if stamp > since {
            touched.push((stamp, id, member.left.is_some()));
        }
    }
    touched.sort_unstable();
    let more = touched.len() > limit;
    touched.truncate(limit);
    let (mut changed, mut gone) = (Vec::new(), Vec::new());
    for (_, id, left) in &touched {
        match summary(log, *id, user)? {
            Some(summary) if !left => changed.push(summary),
            _ => gone.push(*id),
        }
    }
    let upto = touched
        .last()
        .filter(|_| more)
        .map_or(now, |(stamp, ..)| *stamp);
    Ok(Changes {
        changed,
        gone,
        since: token(log.instance, upto.max(since)),
        more,
        reset: false,
    })
}

/// The stamp of the last change of what a member's summary shows.
fn last_change(state: &State, user: UserId, member: &Member) -> u64 {
    if let Some(left) = member.left {
        return left;
    }
    let peer = state
        .conversation
        .peer_of(user)
        .and_then(|peer| state.member(peer))
        .map_or(0, |peer| peer.receipt_changed.max(peer.profile_changed));
    member
        .changed
        .max(peer)
        .max(state.head_id)
        .max(state.changed)
}
