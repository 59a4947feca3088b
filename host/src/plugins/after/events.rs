//! From an item of the feed to the event a plugin is shown. Contents are as they stand when it is read; nothing is decided
//! here.

use kith_runtime::{BindingScope, Event, Scope};

use super::{AfterCommit, Bound};
use crate::content::Content;
use crate::conversation::Kind;
use crate::entry::{Body, Entry};
use crate::ids::UserId;
use crate::store::StoreError;
use crate::store::feed::{FeedItem, FeedPage};

/// An event with where it stands.
pub struct Placed {
    pub event: Event,
    /// Of its place in the feed.
    pub stamp: u64,
    /// How many entries of plugins it follows from.
    pub depth: u8,
}

impl AfterCommit {
    /// The first events of a page that are one binding's: where a canary has some of the conversations, the page is cut
    /// before the other's first one.
    pub(super) async fn of_one(
        &self,
        bounds: Vec<Bound>,
        page: &mut FeedPage,
    ) -> Result<Option<(Bound, Vec<Placed>)>, StoreError> {
        let mut all = Vec::with_capacity(bounds.len());
        for bound in bounds {
            let mut events = self.events(page, bound.binding().scope).await?;
            let share = &bound.binding().share;
            events.retain(|placed| share.holds(&placed.event.conversation));
            if let Some(first) = events.first() {
                all.push((first.stamp, bound, events));
            }
        }
        all.sort_by_key(|(first, _, _)| *first);
        let mut all = all.into_iter();
        let Some((first, bound, mut events)) = all.next() else {
            return Ok(None);
        };
        if let Some((others, _, _)) = all.next() {
            events.retain(|placed| placed.stamp < others);
            let last = events.last().map_or(first, |placed| placed.stamp);
            page.next = self.feed.place(last);
            page.more = true;
        }
        Ok(Some((bound, events)))
    }

    /// The events of a page that a binding covers.
    pub(super) async fn events(
        &self,
        page: &FeedPage,
        scope: BindingScope,
    ) -> Result<Vec<Placed>, StoreError> {
        let mut events = Vec::with_capacity(page.items.len());
        for (item, stamp) in page.items.iter().zip(&page.places) {
            let kind = match item {
                FeedItem::Entry(entry) => {
                    let standing = self.journey.log.standing(entry.conversation, entry.from);
                    standing.await?.map(|standing| standing.conversation.kind)
                }
                FeedItem::Erased { .. } | FeedItem::Gone { .. } => None,
            };
            if kind.is_none_or(|kind| scope.covers(to_scope(kind))) {
                events.push(placed(item, *stamp, kind));
            }
        }
        Ok(events)
    }
}

pub fn to_scope(kind: Kind) -> Scope {
    match kind {
        Kind::Direct => Scope::Direct,
        Kind::Group => Scope::Group,
        Kind::Own => Scope::Own,
    }
}

fn placed(item: &FeedItem, stamp: u64, kind: Option<Kind>) -> Placed {
    let (event, depth) = match item {
        FeedItem::Entry(entry) => (of_entry(entry, kind), depth(entry)),
        FeedItem::Erased {
            conversation,
            below,
        } => {
            let event = Event {
                kind: "erased".to_owned(),
                conversation: conversation.to_string(),
                seq: *below,
                ..empty(format!("erased-{stamp}"))
            };
            (event, 0)
        }
        FeedItem::Gone { conversation } => {
            let event = Event {
                kind: "gone".to_owned(),
                conversation: conversation.to_string(),
                ..empty(format!("gone-{stamp}"))
            };
            (event, 0)
        }
    };
    Placed {
        event,
        stamp,
        depth,
    }
}

pub fn depth(entry: &Entry) -> u8 {
    entry.made.as_ref().map_or(0, |made| made.depth)
}

fn empty(id: String) -> Event {
    Event {
        id,
        kind: String::new(),
        conversation: String::new(),
        conversation_kind: String::new(),
        seq: 0,
        at_ms: 0,
        sender: String::new(),
        entry_kind: String::new(),
        content_type: String::new(),
        text: String::new(),
        content: String::new(),
        target: 0,
        attempt: 0,
        facts: Vec::new(),
    }
}

/// A time that is due. The same one is the same event, however often it is shown.
pub fn of_schedule(name: &str, at_ms: u64, attempt: u32) -> Event {
    Event {
        kind: "schedule".to_owned(),
        text: name.to_owned(),
        at_ms,
        attempt,
        ..empty(format!("schedule-{name}-{at_ms}"))
    }
}

/// What a plugin sees of an entry.
pub fn of_entry(entry: &Entry, kind: Option<Kind>) -> Event {
    let mut event = Event {
        kind: "entry".to_owned(),
        conversation: entry.conversation.to_string(),
        conversation_kind: kind.map_or("", Kind::as_str).to_owned(),
        seq: entry.seq,
        at_ms: entry.at,
        sender: entry.from.to_string(),
        ..empty(format!("entry-{}", entry.id))
    };
    let fact = |name: &str, value: String| kith_runtime::EventFact {
        name: name.to_owned(),
        value,
    };
    match &entry.body {
        Body::Message(message) => {
            event.entry_kind = "message".to_owned();
            event.target = message.reply_to.unwrap_or(0);
            say(&mut event, message.content.as_deref());
        }
        Body::Recall { target, .. } => {
            event.entry_kind = "recall".to_owned();
            event.target = *target;
        }
        Body::Edit { target, content } => {
            event.entry_kind = "edit".to_owned();
            event.target = *target;
            say(&mut event, content.as_deref());
        }
        Body::React { target, emoji, on } => {
            event.entry_kind = "react".to_owned();
            event.target = *target;
            event.content_type.clone_from(emoji);
            event.facts.push(fact("on", on.to_string()));
        }
        Body::System { code, args } => {
            event.entry_kind = "system".to_owned();
            event.content_type.clone_from(code);
            event.content = args.get().to_owned();
        }
    }
    if let Some(made) = &entry.made {
        event.facts.push(fact("plugin", made.plugin.clone()));
        event.facts.push(fact("depth", made.depth.to_string()));
    }
    event
}

fn say(event: &mut Event, content: Option<&serde_json::value::RawValue>) {
    let Some(json) = content else {
        return;
    };
    event.content = json.get().to_owned();
    if let Some(content) = Content::from_stored(json.get()) {
        event.content_type = content.kind().to_owned();
        event.text = content.text().to_owned();
    }
}

/// Whether a responder is asked about an entry: a message of somebody else that its account may see.
pub fn is_for_responder(entry: &Entry, account: UserId) -> bool {
    let present = entry
        .message()
        .is_some_and(|message| message.content.is_some());
    present && entry.from != account && entry.is_for(account)
}
