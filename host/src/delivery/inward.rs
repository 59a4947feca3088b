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

/// Parcels and whatever else has to be carried out in its turn that may wait, a batch each.
const TOLD_MOST: usize = 256;
/// Ends and bans that may wait.
const ORDERS_MOST: usize = 1024;

/// The task that carries it out. What ends a session does not wait behind what is read from the store meanwhile.
pub struct Inward {
    pub delivery: Arc<Delivery>,
    pub presence: Arc<PresenceTeller>,
    pub restoring: Arc<Restoring>,
    /// `None` while nobody follows.
    pub generations: Option<Generations>,
}

/// What is carried out one after another, and may wait for the store.
enum Told {
    Parcels(Vec<Parcel>),
    Gone,
}

impl Inward {
    /// Runs until the bus is over.
    pub async fn run(self, heard: mpsc::Receiver<Received>) {
        let (orders, ordered) = mpsc::channel(ORDERS_MOST);
        let (told, telling) = mpsc::channel(TOLD_MOST);
        tokio::join!(
            self.hear(heard, orders, told),
            self.obey(ordered),
            self.tell(telling),
        );
    }

    /// Never waits for anything but what is heard. What finds no room is lost, and made up for like what the bus loses.
    async fn hear(
        &self,
        mut heard: mpsc::Receiver<Received>,
        orders: mpsc::Sender<Signal>,
        told: mpsc::Sender<Told>,
    ) {
        while let Some(received) = heard.recv().await {
            match received {
                Received::Parcels { from, parcels } => {
                    let mut rest = Vec::with_capacity(parcels.len());
                    for parcel in parcels {
                        match parcel {
                            Parcel::Signal(signal) => {
                                rest.extend(self.signalled(&from, signal, &orders));
                            }
                            parcel => rest.push(parcel),
                        }
                    }
                    if !rest.is_empty() && told.try_send(Told::Parcels(rest)).is_err() {
                        self.missed();
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
                    if told.try_send(Told::Gone).is_err() {
                        self.presence.look_later();
                    }
                }
            }
        }
    }

    /// Carries a signal out, or sees to it that it is; given back is what has its turn among what is told.
    fn signalled(
        &self,
        from: &NodeName,
        signal: Signal,
        orders: &mpsc::Sender<Signal>,
    ) -> Option<Parcel> {
        match signal {
            Signal::EndSession { user, session, bye } => {
                self.delivery.registry.end_session(user, session, bye);
            }
            Signal::Ready { .. } | Signal::Activate { .. } => {
                if let Some(generations) = &self.generations {
                    // Never waited for: what is lost here, whoever follows finds in the store.
                    let _ = generations.try_send((from.clone(), signal));
                }
            }
            Signal::EndUser { .. } | Signal::EndDevice { .. } | Signal::Bans => {
                if orders.try_send(signal).is_err() {
                    self.missed();
                }
            }
            Signal::Presence(_) => return Some(Parcel::Signal(signal)),
        }
        None
    }

    /// Ends sessions once the bans that were made before are known: whom a ban ends does not come back meanwhile.
    async fn obey(&self, mut orders: mpsc::Receiver<Signal>) {
        let registry = &self.delivery.registry;
        while let Some(signal) = orders.recv().await {
            match signal {
                Signal::EndUser {
                    user,
                    device,
                    except,
                    bye,
                } => registry.end_here(user, device.as_deref(), except.as_deref(), bye),
                Signal::EndDevice { device, bye } => registry.end_devices_here(&device, bye),
                _ => self.restoring.bans_changed().await,
            }
        }
    }

    async fn tell(&self, mut told: mpsc::Receiver<Told>) {
        let mut tidy_at = Instant::now() + TIDY;
        loop {
            let arrivals = &self.delivery.arrivals;
            let wait = if arrivals.any_wait() {
                PATIENCE / 2
            } else {
                TIDY
            };
            match tokio::time::timeout(wait, told.recv()).await {
                Ok(Some(Told::Parcels(parcels))) => {
                    for parcel in parcels {
                        self.carry_out(parcel).await;
                    }
                }
                Ok(Some(Told::Gone)) => self.presence.look_again().await,
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

    async fn carry_out(&self, parcel: Parcel) {
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
            Parcel::Signal(Signal::Presence(users)) => self.presence.tell_all(&users).await,
            // Carried out as it was heard.
            Parcel::Signal(_) => {}
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
