//! The sessions of other nodes, as this one treats them: what is said here reaches them, a device's newer connection ends
//! its older one wherever that is. Costs one look at a flag where there are no other nodes. Knows no adapter.

use std::sync::Arc;

use super::registry::Registry;
use super::{Bye, Event, Session};
use crate::bus::{Bus, LOOKED_UP_MOST, Lease, NodeName, Parcel, Sighting, Signal, Standing, To};
use crate::ids::UserId;

/// Ended sessions that are remembered while the bus does not take their end.
const LEFT_MOST: usize = 100_000;
/// Sessions that are leased by one request.
const TOGETHER: usize = 256;

impl Registry {
    /// The bus, where another node may hear.
    pub fn others(&self) -> Option<&Arc<dyn Bus>> {
        self.bus.as_ref().filter(|bus| !bus.is_alone())
    }

    /// An event for users' sessions on other nodes. Where so many are meant that asking where they are costs more than it
    /// saves, every node is told.
    pub fn push_elsewhere(&self, users: Vec<UserId>, event: &Event) {
        if users.is_empty() {
            return;
        }
        if let Some(bus) = self.others() {
            let to = if users.len() <= LOOKED_UP_MOST {
                To::Users
            } else {
                To::Everywhere
            };
            let json = event.json().clone();
            bus.send(to, Parcel::Event { users, json });
        }
    }

    /// Tells every other node.
    pub fn tell_nodes(&self, signal: impl FnOnce() -> Signal) {
        if let Some(bus) = self.others() {
            bus.send(To::Everywhere, Parcel::Signal(signal()));
        }
    }

    pub(super) fn note_left(&self, session: &Session) {
        self.left.lock().push(session.lease());
    }

    fn take_left(&self) -> Vec<Lease> {
        std::mem::take(&mut self.left.lock())
    }

    /// These are to be tried again; of very many the newest, the bus forgets the rest by itself.
    fn still_left(&self, mut earlier: Vec<Lease>) {
        let mut left = self.left.lock();
        earlier.append(&mut left);
        let surplus = earlier.len().saturating_sub(LEFT_MOST);
        *left = earlier.split_off(surplus);
    }

    /// Devices of a user that are connected to other nodes; none while the bus cannot be asked.
    pub async fn devices_elsewhere(&self, user: UserId) -> Vec<String> {
        let Some(bus) = self.others() else {
            return Vec::new();
        };
        let seen = bus.whereabouts(&[user]).await.unwrap_or_default();
        let elsewhere = seen.into_iter().filter(|seen| seen.node != *bus.node());
        elsewhere.map(|seen| seen.device).collect()
    }

    /// Makes a session that was attached known to other nodes. What fails is tried again by `lease_late`.
    pub async fn lease(&self, session: &Arc<Session>) {
        if !self.lease_all(std::slice::from_ref(session)).await {
            self.unleased.lock().push(session.clone());
        }
    }

    /// Makes those known whose lease failed; they are told that they are behind, since nobody could find them till then.
    pub async fn lease_late(&self) {
        let mut late = std::mem::take(&mut *self.unleased.lock());
        late.retain(|session| self.is_attached(session));
        if late.is_empty() {
            return;
        }
        if self.lease_all(&late).await {
            late.iter().for_each(|session| session.outbox.fall_behind());
        } else {
            self.unleased.lock().append(&mut late);
        }
    }

    /// Sessions that ended are taken from where other nodes find them. What fails is tried again with the next.
    pub async fn release_left(&self) {
        let left = self.take_left();
        let Some(bus) = self.others().filter(|_| !left.is_empty()) else {
            return;
        };
        if let Err(error) = bus.release(&left).await {
            tracing::debug!(%error, "sessions that ended are not taken from the bus yet");
            self.still_left(left);
        }
    }

    /// The same for many; whether it worked.
    pub async fn lease_all(&self, sessions: &[Arc<Session>]) -> bool {
        let Some(bus) = self.others() else {
            return true;
        };
        let mut worked = true;
        // One that is about to end would take the place of its device's newer connection, and leave nobody there.
        let stay = |session: &&Arc<Session>| !session.outbox.is_closing();
        let staying: Vec<_> = sessions.iter().filter(stay).cloned().collect();
        for sessions in staying.chunks(TOGETHER) {
            let leases: Vec<_> = sessions.iter().map(|session| session.lease()).collect();
            match bus.lease(&leases).await {
                Ok(standings) => {
                    for (session, standing) in sessions.iter().zip(standings) {
                        self.stands(&**bus, session, standing);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "sessions are not known to other nodes yet");
                    worked = false;
                }
            }
        }
        worked
    }

    fn stands(&self, bus: &dyn Bus, session: &Arc<Session>, standing: Standing) {
        match standing.epoch {
            None => session.outbox.close(Bye::Replaced),
            Some(epoch) => session.is_number(epoch),
        }
        if !self.is_attached(session) {
            // It ended meanwhile, perhaps before the lease was written.
            self.note_left(session);
        } else if standing.epoch.is_some() {
            let elsewhere = standing
                .others
                .into_iter()
                .filter(|other| other.node != *bus.node());
            let here = self.of_kind(session);
            for (node, signal) in displaced(session, here, elsewhere, self.rules().per_kind) {
                bus.send(To::Node(node), Parcel::Signal(signal));
            }
        }
        // Told once the lease is there, so that whoever looks finds it.
        self.presence.touched(session.user);
    }
}

/// Sessions on other nodes that end because of this one: the same device's, and of too many of a kind those connected
/// longest. `here` are this node's of its kind, itself among them.
fn displaced(
    session: &Session,
    here: usize,
    elsewhere: impl Iterator<Item = Sighting>,
    per_kind: usize,
) -> Vec<(NodeName, Signal)> {
    let (mut ended, others): (Vec<Sighting>, Vec<Sighting>) =
        elsewhere.partition(|other| other.device == session.device);
    let mut of_kind: Vec<Sighting> = others
        .into_iter()
        .filter(|other| other.kind == session.kind)
        .collect();
    of_kind.sort_by_key(|other| other.epoch);
    let surplus = (here + of_kind.len()).saturating_sub(per_kind);
    of_kind.truncate(surplus);
    ended.extend(of_kind);
    let end = |other: Sighting| {
        let signal = Signal::EndSession {
            user: other.user,
            session: other.session,
            bye: Bye::Replaced,
        };
        (other.node, signal)
    };
    ended.into_iter().map(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Epoch;
    use crate::ids::SessionId;
    use crate::session::{Codec, Holder, OutboxLimits};

    #[test]
    fn a_new_session_ends_its_devices_older_one_and_the_oldest_of_too_many() {
        let holder = Holder {
            user: UserId(1),
            device: "phone".to_owned(),
            kind: "web".to_owned(),
            family: 1,
        };
        let limits = Arc::new(OutboxLimits::new(100, 100, 100));
        let session = Session::new(SessionId(9), holder, Codec::Json, limits, 0);
        let seen = |device: &str, kind: &str, epoch: u64| Sighting {
            user: UserId(1),
            device: device.to_owned(),
            kind: kind.to_owned(),
            session: SessionId(epoch),
            epoch: Epoch(epoch),
            node: NodeName::new("b").expect("a name"),
        };
        let elsewhere = [
            seen("phone", "web", 1),
            seen("desk", "web", 3),
            seen("tv", "web", 2),
            seen("pocket", "ios", 1),
        ];
        let ended = |here, per_kind| -> Vec<u64> {
            let ended = displaced(&session, here, elsewhere.iter().cloned(), per_kind);
            let number = |(_, signal)| match signal {
                Signal::EndSession { session, .. } => session.0,
                other => panic!("{other:?}"),
            };
            ended.into_iter().map(number).collect()
        };
        assert_eq!(ended(1, 5), [1], "the same device's alone");
        assert_eq!(ended(1, 2), [1, 2], "and the one connected longest");
        assert_eq!(ended(2, 1), [1, 2, 3]);
    }
}
