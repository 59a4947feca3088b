//! What follows a commit in a group: its entries to the members who are here, the conversation to those who have just
//! been given it, `gone` to those who are no members any more. An entry from before somebody joined is never pushed to it.

use std::cell::OnceCell;

use super::{Delivery, frames};
use crate::bus::{Parcel, To};
use crate::entry::{Entry, Viewer};
use crate::ids::SessionId;
use crate::session::Event;
use crate::store::StoreError;
use crate::store::groups::{GroupDone, Roster};

/// Entries of one change that are pushed. Of more, the newest: a client sees its seq jump and reads the gap, which is
/// less for everyone than hundreds of events at once.
const PUSHED_MOST: usize = 100;

impl Delivery {
    /// An entry to every session of every member but the one that sent it.
    pub(super) async fn deliver_to_group(&self, entry: &Entry, sender: Option<SessionId>) {
        match self.log.roster(entry.conversation).await {
            Ok(roster) => self.push_entry(&roster, entry, sender),
            Err(error) => self.cannot_tell(&error),
        }
    }

    /// Whom a commit concerns cannot be read: every session looks for itself what it has missed.
    pub(super) fn cannot_tell(&self, why: &StoreError) {
        tracing::warn!(error = %why, "a group's members cannot be read; every session is told to look");
        self.registry.all_fall_behind();
        if let Some(bus) = self.registry.others() {
            bus.send(To::Everywhere, Parcel::Behind);
        }
    }

    /// To those on this node.
    pub(super) fn push_entry(&self, roster: &Roster, entry: &Entry, sender: Option<SessionId>) {
        let events: [OnceCell<Event>; 3] = Default::default();
        let delivered = self.registry.push_each(&roster.users, sender, |place| {
            if !roster.gets(place, entry.seq) {
                return None;
            }
            let viewer = Viewer::of(entry, roster.users[place]);
            Some(events[viewer as usize].get_or_init(|| frames::entry_event(entry, viewer)))
        });
        self.registry.telemetry.delivered.inc_by(delivered);
    }

    /// Everything that follows a change of a group, in the order its members are to see it.
    pub(super) async fn tell_group(&self, done: &GroupDone) {
        let id = done.conversation.id;
        let roster = match self.log.roster(id).await {
            Ok(roster) => roster,
            Err(error) => return self.cannot_tell(&error),
        };
        self.push_summaries(&done.joined, id, None).await;
        let newest = done.entries.len().saturating_sub(PUSHED_MOST);
        for entry in &done.entries[newest..] {
            match self.registry.others() {
                Some(bus) => self.push_entry_among_nodes(&**bus, entry, &roster),
                None => self.push_entry(&roster, entry, None),
            }
        }
        let gone = Event::from_json(frames::gone_json(id));
        self.registry
            .push_to(done.left.iter().copied(), None, &gone);
        if done.conversation.dissolved().is_some() {
            let everyone = |_| Some(&gone);
            self.registry.push_each(&roster.users, None, everyone);
            self.gone_elsewhere(&roster, &gone);
            return;
        }
        if !done.shown {
            self.push_summaries(&done.touched, id, None).await;
            return;
        }
        self.summarize_all_elsewhere(id);
        for user in self.registry.online_among(&roster.users) {
            self.push_summary_here(user, id, None).await;
        }
    }
}
