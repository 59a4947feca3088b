//! Delivery where there are several nodes: what is committed here is said to the others as well, and what they say about
//! entries is put among this node's own, in the order of each log. Not called where a node is alone.

use tokio::time::Instant;

use super::{Delivery, frames};
use crate::bus::{Bus, LOOKED_UP_MOST, Parcel, Place, To};
use crate::conversation::Kind;
use crate::entry::{Entry, Viewer};
use crate::ids::{ConversationId, SessionId, UserId};
use crate::session::Event;
use crate::store::groups::Roster;
use crate::store::{Committed, Origin};

/// Users one parcel names.
pub(super) const NAMED_MOST: usize = 10_000;

/// An entry another node committed, for those who are here.
#[derive(Debug)]
pub enum Arrival {
    Views(Vec<(Vec<UserId>, Event)>),
    Room {
        seq: u64,
        roster: Roster,
        author: UserId,
        own: Event,
        event: Event,
    },
}

impl Delivery {
    /// Answer and entry at their place here, and the entry to the other nodes.
    pub(super) async fn deliver_among_nodes(
        &self,
        bus: &dyn Bus,
        committed: &Committed,
        origin: &Origin,
        answer: Option<Vec<u8>>,
    ) {
        let entry = &*committed.entry;
        let sender = super::session_of(origin).filter(|_| committed.released.is_none());
        let roster = match committed.conversation.kind {
            Kind::Group => match self.log.roster(entry.conversation).await {
                Ok(roster) => Some(roster),
                Err(error) => {
                    self.cannot_tell(&error);
                    None
                }
            },
            Kind::Direct | Kind::Own => None,
        };
        let own = |late: bool| {
            self.put_answer(origin, answer);
            if !late {
                self.push_own(committed, roster.as_ref(), sender);
            }
        };
        let push = |arrival| self.push_arrival(arrival);
        self.arrivals
            .commit(place_of(entry), Instant::now(), own, push);
        match &roster {
            Some(roster) => self.say_to_room(bus, entry, roster),
            None => self.say_to(bus, entry, committed.conversation.users.iter().copied()),
        }
    }

    fn push_own(&self, committed: &Committed, roster: Option<&Roster>, sender: Option<SessionId>) {
        match roster {
            Some(roster) => self.push_entry(roster, &committed.entry, sender),
            None => self.push_to_few(&committed.entry, &committed.conversation.users, sender),
        }
    }

    /// An entry of a group's change, here and to the other nodes.
    pub(super) fn push_entry_among_nodes(&self, bus: &dyn Bus, entry: &Entry, roster: &Roster) {
        let own = |late: bool| {
            if !late {
                self.push_entry(roster, entry, None);
            }
        };
        let push = |arrival| self.push_arrival(arrival);
        self.arrivals
            .commit(place_of(entry), Instant::now(), own, push);
        self.say_to_room(bus, entry, roster);
    }

    fn say_to_room(&self, bus: &dyn Bus, entry: &Entry, roster: &Roster) {
        if roster.users.len() > LOOKED_UP_MOST && entry.audience.is_none() {
            let json = |viewer| frames::entry_event(entry, viewer).json().clone();
            let parcel = Parcel::Entry {
                place: place_of(entry),
                author: entry.from,
                own: json(Viewer::Author),
                json: json(Viewer::Member),
            };
            return bus.send(To::Everywhere, parcel);
        }
        let gets = |(place, user): (usize, &UserId)| roster.gets(place, entry.seq).then_some(*user);
        self.say_to(bus, entry, roster.users.iter().enumerate().filter_map(gets));
    }

    /// An entry to users wherever else they are: one parcel for all kinds of viewers.
    fn say_to(&self, bus: &dyn Bus, entry: &Entry, users: impl Iterator<Item = UserId>) {
        let mut viewers: [Vec<UserId>; 3] = Default::default();
        let mut count = 0;
        for user in users {
            viewers[Viewer::of(entry, user) as usize].push(user);
            count += 1;
        }
        let kinds = [Viewer::Author, Viewer::Member, Viewer::LeftOut];
        let view = |viewer: Viewer| {
            let users = std::mem::take(&mut viewers[viewer as usize]);
            let json = || frames::entry_event(entry, viewer).json().clone();
            (!users.is_empty()).then(|| (users, json()))
        };
        let parcel = Parcel::Entered {
            place: place_of(entry),
            views: kinds.into_iter().filter_map(view).collect(),
        };
        let to = if count <= LOOKED_UP_MOST {
            To::Users
        } else {
            To::Everywhere
        };
        bus.send(to, parcel);
    }

    /// To those who are here.
    pub(super) fn push_arrival(&self, arrival: Arrival) {
        let mut delivered = 0;
        match arrival {
            Arrival::Views(views) => {
                for (users, event) in views {
                    for user in users {
                        delivered += self.registry.push_here(user, None, &event);
                    }
                }
            }
            Arrival::Room {
                seq,
                roster,
                author,
                own,
                event,
            } => {
                let choose = |place: usize| {
                    let event = if roster.users[place] == author {
                        &own
                    } else {
                        &event
                    };
                    roster.gets(place, seq).then_some(event)
                };
                delivered += self.registry.push_each(&roster.users, None, choose);
            }
        }
        self.registry.telemetry.delivered.inc_by(delivered);
    }

    /// Users' summary of a conversation changed: other nodes read it for those who are there.
    pub(super) fn summarize_elsewhere(&self, users: &[UserId], conversation: ConversationId) {
        let Some(bus) = self.registry.others() else {
            return;
        };
        for users in users.chunks(NAMED_MOST) {
            let to = if users.len() <= LOOKED_UP_MOST {
                To::Users
            } else {
                To::Everywhere
            };
            let users = Some(users.to_vec());
            bus.send(
                to,
                Parcel::Summary {
                    conversation,
                    users,
                },
            );
        }
    }

    /// The same for every member.
    pub(super) fn summarize_all_elsewhere(&self, conversation: ConversationId) {
        if let Some(bus) = self.registry.others() {
            let users = None;
            bus.send(
                To::Everywhere,
                Parcel::Summary {
                    conversation,
                    users,
                },
            );
        }
    }

    /// The members of a room that is no more, wherever else they are.
    pub(super) fn gone_elsewhere(&self, roster: &Roster, gone: &Event) {
        for users in roster.users.chunks(NAMED_MOST) {
            if self.registry.others().is_some() {
                self.registry.push_elsewhere(users.to_vec(), gone);
            }
        }
    }
}

pub(super) fn place_of(entry: &Entry) -> Place {
    Place {
        conversation: entry.conversation,
        seq: entry.seq,
    }
}
