//! What holds after every step, what must come to hold once the faults have stopped, and what a client reads anew then,
//! which is what it knows.

use std::collections::BTreeMap;
use std::time::Duration;

use kith::entry::Viewer;
use kith::ids::{ConversationId, SessionId, UserId};
use kith::store::{MessageLog, Span};
use serde_json::Value;
use tokio::time::Instant;

use super::chance::wrong;
use super::client::Client;
use super::log::WAITING_MOST;
use super::node::Node;
use super::store::short;
use super::world::{World, place};

/// How long other nodes may take to find a session, and to end the device's older one.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);
/// The same where the bus lost something: then a round of leasing anew, or silence, mends it.
const MENDED_WITHIN: Duration = Duration::from_secs(45);
/// Before it is seen, what causes it may have been lost.
const BEFORE: Duration = Duration::from_secs(10);

/// What was seen at earlier steps.
#[derive(Default)]
pub struct Checks {
    /// Sessions that other nodes do not find, and since when.
    unfound: BTreeMap<SessionId, Instant>,
    /// Since when a device has more sessions than one.
    doubled: BTreeMap<(UserId, String), Instant>,
    heads: BTreeMap<ConversationId, usize>,
}

/// A session that is to stay.
struct Seen {
    user: UserId,
    device: String,
    id: SessionId,
    at: usize,
}

fn sessions(world: &World) -> Vec<Seen> {
    let mut seen = Vec::new();
    for node in world.nodes.iter().flatten() {
        for client in &world.clients {
            node.gateway.registry.with(client.user, |sessions| {
                for session in sessions {
                    if session.device == client.device && !session.outbox.is_closing() {
                        seen.push(Seen {
                            user: client.user,
                            device: client.device.clone(),
                            id: session.id,
                            at: node.index,
                        });
                    }
                }
            });
        }
    }
    seen
}

impl Checks {
    pub fn after_a_step(&mut self, world: &World) {
        for node in world.nodes.iter().flatten() {
            if node.log.waiting() > WAITING_MOST {
                wrong!(
                    world.sim,
                    "I5: {} changes wait at {}",
                    node.log.waiting(),
                    node.name
                );
            }
        }
        let truth = world.shared.store.truth.lock();
        for (id, log) in &truth.logs {
            let before = self.heads.insert(*id, log.len()).unwrap_or_default();
            if log.len() < before {
                wrong!(
                    world.sim,
                    "I1: {} of {} were there, {} are",
                    before,
                    short(*id),
                    log.len()
                );
            }
        }
        drop(truth);
        self.sessions_are_found(world);
    }

    /// Every session is found by other nodes, and a device has one.
    fn sessions_are_found(&mut self, world: &World) {
        let (sim, hub) = (&world.sim, &world.shared.hub);
        let seen = sessions(world);
        let well = |at: usize| world.node(at).is_some_and(|node| !hub.is_cut(&node.name));
        if !(0..super::world::NODES).all(well) {
            // While somebody is cut off nobody knows.
            self.unfound.clear();
            self.doubled.clear();
            return;
        }
        let (mut unfound, mut doubled) = (BTreeMap::new(), BTreeMap::new());
        for one in &seen {
            let alike = |other: &&Seen| other.user == one.user && other.device == one.device;
            let place = (one.user, one.device.clone());
            if seen.iter().filter(alike).count() > 1 {
                let since = self.doubled.get(&place).copied();
                doubled.insert(place, since.unwrap_or_else(Instant::now));
            } else if !hub
                .finds(one.user, &one.device)
                .iter()
                .any(|(_, id)| *id == one.id)
            {
                let since = self.unfound.get(&one.id).copied();
                unfound.insert(one.id, since.unwrap_or_else(Instant::now));
            }
        }
        let is_late = |since: &Instant| {
            let lost = hub.has_lost(since.checked_sub(BEFORE).unwrap_or(*since));
            since.elapsed() > if lost { MENDED_WITHIN } else { KNOWN_WITHIN }
        };
        for (id, since) in &unfound {
            if is_late(since) {
                let one = seen.iter().find(|one| one.id == *id);
                let what = one.map(|one| format!("u{}-{} on n{}", one.user, one.device, one.at));
                wrong!(sim, "no other node finds {}", what.unwrap_or_default());
            }
        }
        for ((user, device), since) in &doubled {
            if is_late(since) {
                wrong!(sim, "u{user}-{device} has more than one session");
            }
        }
        (self.unfound, self.doubled) = (unfound, doubled);
    }

    /// What is still different between what is known and what is so.
    pub fn differs(&self, world: &World) -> Option<String> {
        for client in &world.clients {
            if let Some(wants) = client.wants() {
                return Some(format!("{}: {wants}", client.name()));
            }
        }
        let truth = world.shared.store.truth.lock();
        for client in &world.clients {
            for (id, log) in &truth.logs {
                let group = world
                    .shared
                    .store
                    .inner
                    .lock()
                    .tables
                    .memberships(client.user);
                if !group.contains(id) {
                    continue;
                }
                let known = client.look(|state| {
                    let known = state.known.conversations.get(id);
                    known.map_or(0, |known| known.entries.len())
                });
                if known != log.len() {
                    let (name, id) = (client.name(), short(*id));
                    return Some(format!("{name} knows {known} of {} of {id}", log.len()));
                }
            }
        }
        drop(truth);
        self.presence_differs(world)
            .or_else(|| self.index_differs(world))
            .or_else(|| self.receipts_differ(world))
    }

    fn presence_differs(&self, world: &World) -> Option<String> {
        let seen = sessions(world);
        for client in &world.clients {
            let told = client.look(|state| state.online.clone());
            for user in &client.watches {
                let online = seen.iter().any(|one| one.user == *user);
                if told.get(user) != Some(&online) {
                    let name = client.name();
                    return Some(format!(
                        "{name} does not know that {user} is online: {online}"
                    ));
                }
            }
        }
        let found = |one: &&Seen| {
            let found = world.shared.hub.finds(one.user, &one.device);
            !found.iter().any(|(_, id)| *id == one.id)
        };
        let lost = seen.iter().find(found);
        lost.map(|one| format!("no other node finds u{}-{}", one.user, one.device))
    }

    fn index_differs(&self, world: &World) -> Option<String> {
        let found = world.shared.index.found();
        let inner = world.shared.store.inner.lock();
        let truth = world.shared.store.truth.lock();
        if inner.feed.len() != inner.made.len() {
            return Some(format!(
                "the feed tells {} of {}",
                inner.feed.len(),
                inner.made.len()
            ));
        }
        for (id, log) in &truth.logs {
            for at in 0..log.len() {
                let seq = at as u64 + 1;
                let row = inner.tables.entry(*id, seq).ok().flatten();
                let message = row.as_ref().and_then(|row| row.entry.message());
                let stands = message.is_some_and(|message| !message.recalled);
                if stands != found.contains(&(*id, seq)) {
                    return Some(format!("the index differs at {}", place(*id, at + 1)));
                }
            }
        }
        None
    }

    fn receipts_differ(&self, world: &World) -> Option<String> {
        let inner = world.shared.store.inner.lock();
        for client in &world.clients {
            for id in inner.tables.memberships(client.user) {
                let Ok(Some(summary)) = inner.tables.summary(id, client.user) else {
                    continue;
                };
                let differs = client.look(|state| {
                    let known = state.known.conversations.get(&id)?;
                    let own = known.receipts.get(&client.user).copied();
                    let so = (summary.member.received, summary.member.read);
                    if own.unwrap_or_default() != so {
                        return Some(format!("{own:?} for {so:?} of its own"));
                    }
                    let peer = summary.peer?;
                    let told = known.receipts.get(&peer.user).copied();
                    let so = (peer.received, peer.read);
                    (told.unwrap_or_default() != so)
                        .then(|| format!("{told:?} for {so:?} of the peer"))
                });
                if let Some(differs) = differs {
                    let name = client.name();
                    return Some(format!("{name} has receipts in {}: {differs}", short(id)));
                }
            }
        }
        None
    }

    /// I7: what was known before and the events since make what is read anew.
    pub async fn at_the_end(&self, world: &World) {
        for client in &world.clients {
            if let Some(node) = world.nodes.iter().flatten().next() {
                self.reads_anew(world, node, client).await;
            }
        }
        self.sends_are_there(world);
    }

    async fn reads_anew(&self, world: &World, node: &Node, client: &Client) {
        let Ok(summaries) = node.log.summaries(client.user, None, 100).await else {
            return wrong!(world.sim, "the list cannot be read");
        };
        for summary in summaries.0 {
            let id = summary.conversation.id;
            let span = Span {
                after: Some(0),
                before: None,
                limit: 10_000,
            };
            let page = node.gateway.journey.history(client.user, id, span).await;
            let Ok(page) = page else {
                return wrong!(world.sim, "{} cannot be read", short(id));
            };
            let fresh: Vec<Value> = page
                .entries
                .iter()
                .map(|entry| {
                    let view = entry.view(Viewer::of(entry, client.user));
                    serde_json::to_value(view).unwrap_or_default()
                })
                .collect();
            client.look(|state| {
                let Some(known) = state.known.conversations.get(&id) else {
                    return wrong!(
                        world.sim,
                        "I7: {} knows nothing of {}",
                        client.name(),
                        short(id)
                    );
                };
                let pairs = known.entries.iter().zip(&fresh).enumerate();
                for (at, (known, fresh)) in pairs {
                    if known != fresh {
                        let (name, place) = (client.name(), place(id, at + 1));
                        wrong!(
                            world.sim,
                            "I7: {name} knows {place} as {known}, it is {fresh}"
                        );
                    }
                }
                let (unread, so) = (known.unread(client.user), summary.unread);
                if unread != so {
                    let name = client.name();
                    wrong!(
                        world.sim,
                        "I7: {name} counts {unread} unread in {}, there are {so}",
                        short(id)
                    );
                }
            });
        }
    }

    /// What was acked is there, and every send was answered.
    fn sends_are_there(&self, world: &World) {
        for client in &world.clients {
            client.look(|state| {
                let unanswered = state.sends.iter().find(|send| !send.answered);
                if let Some(send) = unanswered {
                    wrong!(world.sim, "{} was never answered", send.client_id);
                }
            });
        }
    }
}
