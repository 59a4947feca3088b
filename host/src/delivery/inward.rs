//! What other nodes say, carried out here: events to sessions that are here, entries at their place among this node's own,
//! sessions that end, presence that changed. Whose words they are the bus says; what they say is not trusted with more
//! than that.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Delivery;
use super::among::Arrival;
use super::arrivals::PATIENCE;
use super::presence::PresenceTeller;
use super::restoring::Restoring;
use crate::bus::{NodeName, Parcel, Place, Received, Signal};
use crate::ids::{ConversationId, UserId};
use crate::session::Event;

/// Whoever switches generations follows what nodes say of them.
pub type Generations = mpsc::Sender<(NodeName, Signal)>;

/// The task that carries it out.
pub struct Inward {
    pub delivery: Arc<Delivery>,
    pub presence: Arc<PresenceTeller>,
    pub restoring: Arc<Restoring>,
    /// `None` while nobody follows.
    pub generations: Option<Generations>,
}

impl Inward {
    /// Runs until the bus is over.
    pub async fn run(self, mut heard: mpsc::Receiver<Received>) {
        let mut tidy_at = Instant::now() + TIDY;
        loop {
            let arrivals = &self.delivery.arrivals;
            let wait = if arrivals.any_wait() {
                PATIENCE / 2
            } else {
                TIDY
            };
            match tokio::time::timeout(wait, heard.recv()).await {
                Ok(Some(received)) => self.take(received).await,
                Ok(None) => return,
                Err(_) => {}
            }
            let now = Instant::now();
            if arrivals.any_wait() || now >= tidy_at {
                arrivals.tick(now, |arrival| self.delivery.push_arrival(arrival));
                tidy_at = now + TIDY;
            }
        }
    }

    async fn take(&self, received: Received) {
        match received {
            Received::Parcels { from, parcels } => {
                for parcel in parcels {
                    self.carry_out(&from, parcel).await;
                }
            }
            Received::Behind => self.missed(),
            Received::Resumed => {
                self.restoring.resumed();
                self.presence.look_later();
            }
            Received::Gone(node) => {
                tracing::info!(%node, "a node is gone");
                // What it committed last it may have told nobody.
                self.restoring.behind();
                self.presence.look_again().await;
            }
        }
    }

    async fn carry_out(&self, from: &NodeName, parcel: Parcel) {
        let registry = &self.delivery.registry;
        match parcel {
            Parcel::Event { users, json } => {
                let event = Event::from_json(json);
                self.delivery
                    .push_arrival(Arrival::Views(vec![(users, event)]));
            }
            Parcel::Entered { place, views } => {
                let view = |(users, json): (Vec<UserId>, Bytes)| (users, Event::from_json(json));
                let views = views.into_iter().map(view).collect();
                self.arrive(place, Arrival::Views(views));
            }
            Parcel::Entry {
                place,
                author,
                own,
                json,
            } => {
                let Ok(roster) = self.delivery.log.roster(place.conversation).await else {
                    // Whoever should have seen it reads it.
                    return self.restoring.behind();
                };
                let arrival = Arrival::Room {
                    seq: place.seq,
                    roster,
                    author,
                    own: Event::from_json(own),
                    event: Event::from_json(json),
                };
                self.arrive(place, arrival);
            }
            Parcel::Summary {
                conversation,
                users,
            } => self.summarize(conversation, users).await,
            Parcel::Behind => self.missed(),
            Parcel::Signal(signal) => match signal {
                Signal::EndUser {
                    user,
                    device,
                    except,
                    bye,
                } => registry.end_here(user, device.as_deref(), except.as_deref(), bye),
                Signal::EndDevice { device, bye } => registry.end_devices_here(&device, bye),
                Signal::EndSession { user, session, bye } => {
                    registry.end_session(user, session, bye)
                }
                Signal::Presence(users) => self.presence.tell_all(&users).await,
                Signal::Bans => self.restoring.bans_changed().await,
                Signal::Ready { .. } | Signal::Activate { .. } => {
                    if let Some(generations) = &self.generations {
                        // Never waited for: what is lost here, whoever follows finds in the store.
                        let _ = generations.try_send((from.clone(), signal));
                    }
                }
            },
        }
    }

    /// Something that was said is lost: an event, or that somebody came or went.
    fn missed(&self) {
        self.restoring.behind();
        self.presence.look_later();
    }

    fn arrive(&self, place: Place, arrival: Arrival) {
        let push = |arrival| self.delivery.push_arrival(arrival);
        let arrivals = &self.delivery.arrivals;
        arrivals.offer(place, arrival, Instant::now(), push);
    }

    /// The changed summary to those who are here, each its own.
    async fn summarize(&self, conversation: ConversationId, users: Option<Vec<UserId>>) {
        let registry = &self.delivery.registry;
        let here = match users {
            Some(mut users) => {
                users.retain(|user| registry.is_online(*user));
                users
            }
            None => match self.delivery.log.members(conversation).await {
                Ok(members) => members
                    .iter()
                    .copied()
                    .filter(|user| registry.is_online(*user))
                    .collect(),
                Err(_) => return self.restoring.behind(),
            },
        };
        for user in here {
            self.delivery
                .push_summary_here(user, conversation, None)
                .await;
        }
    }
}

/// How often what is over is looked for where nothing happens.
const TIDY: std::time::Duration = std::time::Duration::from_secs(1);
