//! Presence: tells watchers who came and went, answers who is here, and keeps when users were last seen.
//!
//! Whom a user has blocked sees it offline and never when it was there. Nothing here waits for a reader.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::bus::{Parcel, Signal, To};
use crate::ids::UserId;
use crate::journey::{Journey, store_refusal};
use crate::refusal::Refusal;
use crate::session::presence::{Here, TooMany, WATCHES_MOST};
use crate::session::registry::Registry;
use crate::session::{Event, Session};

/// How long what was last seen may wait to be kept: one write for everybody who came and went meanwhile.
const KEPT_EVERY: Duration = Duration::from_secs(2);

/// Users whose coming and going is told in one signal, and looked up at once.
const TOGETHER: usize = 500;

/// Presence of all users: of those on this node by its own sessions, of others by their leases.
pub struct PresenceTeller {
    journey: Arc<Journey>,
    registry: Arc<Registry>,
    /// Seen and not kept yet, milliseconds since 1970 UTC.
    seen: Mutex<HashMap<UserId, u64>>,
    /// Users who are looked at again in a while: something about them could not be found out, or may have been missed.
    again: Mutex<BTreeSet<UserId>>,
    /// One look at a time is told: an older one would be told last otherwise.
    telling: tokio::sync::Mutex<()>,
}

impl PresenceTeller {
    pub fn new(journey: Arc<Journey>, registry: Arc<Registry>) -> Self {
        Self {
            journey,
            registry,
            seen: Mutex::default(),
            again: Mutex::default(),
            telling: tokio::sync::Mutex::default(),
        }
    }

    /// Runs until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut kept_at = tokio::time::Instant::now();
        loop {
            let _ = tokio::time::timeout(KEPT_EVERY, self.registry.presence.changed()).await;
            let changed: Vec<UserId> = self.registry.presence.take_changed().into_iter().collect();
            for &user in &changed {
                self.note_seen(user);
            }
            self.tell_nodes(&changed).await;
            self.tell_all(&changed).await;
            if kept_at.elapsed() >= KEPT_EVERY {
                let again: Vec<UserId> = std::mem::take(&mut *self.again.lock())
                    .into_iter()
                    .collect();
                self.tell_all(&again).await;
                self.keep_seen().await;
                kept_at = tokio::time::Instant::now();
            }
        }
    }

    /// Sessions that ended are taken from where other nodes find them; then those are told to look.
    async fn tell_nodes(&self, changed: &[UserId]) {
        let Some(bus) = self.registry.others() else {
            return;
        };
        self.registry.release_left().await;
        self.registry.lease_late().await;
        for users in changed.chunks(TOGETHER) {
            let signal = Signal::Presence(users.to_vec());
            bus.send(To::Everywhere, Parcel::Signal(signal));
        }
    }

    /// A node is gone: whoever is watched may have been there.
    pub async fn look_again(&self) {
        self.tell_all(&self.registry.presence.watched()).await;
    }

    /// What other nodes say may have been missed: whoever is watched is looked at in a while.
    pub fn look_later(&self) {
        self.again.lock().extend(self.registry.presence.watched());
    }

    /// Keeps when users were last seen; what cannot be kept now is tried again.
    pub async fn keep_seen(&self) {
        for user in self.registry.presence.take_changed() {
            self.note_seen(user);
        }
        let seen: Vec<(UserId, u64)> = self.seen.lock().drain().collect();
        if seen.is_empty() {
            return;
        }
        if let Err(error) = self.journey.accounts.put_last_seen(&seen).await {
            tracing::warn!(%error, "when users were last seen could not be kept");
            let mut waiting = self.seen.lock();
            for (user, at) in seen {
                waiting.entry(user).or_insert(at);
            }
        }
    }

    fn note_seen(&self, user: UserId) -> u64 {
        let now = self.journey.clock.now_ms();
        self.seen.lock().insert(user, now);
        now
    }

    /// Tells those who watch them how these users are now.
    pub async fn tell_all(&self, users: &[UserId]) {
        let watched = |user: &UserId| self.registry.presence.is_watched(*user);
        let watched: Vec<UserId> = users.iter().copied().filter(watched).collect();
        for users in watched.chunks(TOGETHER) {
            let _one = self.telling.lock().await;
            // Who cannot be looked for is not told to be gone.
            let Some(elsewhere) = self.elsewhere(users).await else {
                self.again.lock().extend(users);
                continue;
            };
            for &user in users {
                self.tell(user, self.here(user, &elsewhere)).await;
            }
        }
    }

    async fn tell(&self, user: UserId, here: Here) {
        let now = self.journey.clock.now_ms();
        let watchers = self.registry.presence.to_tell(user, &here);
        if watchers.is_empty() {
            return;
        }
        let seen = event(user, &here, Some(now));
        let unseen = event(user, &Here::default(), None);
        for (session, watcher) in watchers {
            let told = match self.is_hidden(watcher, user).await {
                Ok(false) => &seen,
                Ok(true) if here.kinds.is_empty() => &unseen,
                Ok(true) => continue,
                Err(_) => {
                    self.registry.presence.untold(user);
                    self.again.lock().insert(user);
                    continue;
                }
            };
            let missed = self.registry.with(watcher, |sessions| {
                let target = sessions.iter().find(|other| other.id == session);
                target.is_some_and(|target| {
                    target.outbox.push(told.frame(target.codec), now);
                    target.outbox.is_behind()
                })
            });
            if missed {
                // Nothing it asks for after `behind` would tell it.
                self.registry.presence.missed(user, session);
                self.again.lock().insert(user);
            }
        }
    }

    /// Who of these is here, as the session's user may know it; those who are no users are left out. With `watch`
    /// the session is told of changes from now on, or no more.
    pub async fn look(
        &self,
        session: &Session,
        users: &[UserId],
        watch: Option<bool>,
    ) -> Result<Value, Refusal> {
        let mut known = Vec::with_capacity(users.len());
        for &user in users {
            let found = self.journey.accounts.user(user).await;
            if found.map_err(|e| store_refusal(&e))?.is_some() {
                known.push(user);
            }
        }
        let elsewhere = match watch {
            Some(true) => self.elsewhere_or_nobody(&known).await,
            _ => HashMap::new(),
        };
        let here = |user| self.here(user, &elsewhere);
        // Watched first: what changes from here on is told, what came before is in the answer.
        match watch {
            Some(true) => self
                .registry
                .presence
                .watch(session.id, session.user, &known, here)
                .map_err(|TooMany| {
                    Refusal::bad_request(format!("a session watches at most {WATCHES_MOST} users"))
                })?,
            Some(false) => self.registry.presence.unwatch(session.id, users),
            None => {}
        }
        let kept = self.journey.accounts.last_seen(&known).await;
        let kept: HashMap<UserId, u64> = kept.map_err(|e| store_refusal(&e))?.into_iter().collect();
        let now_elsewhere = self.elsewhere_or_nobody(&known).await;
        if watch == Some(true) && now_elsewhere != elsewhere {
            // Somebody came or went elsewhere just now, perhaps before it was watched.
            self.tell_all(&known).await;
        }
        let mut hidden = Vec::with_capacity(known.len());
        for &user in &known {
            hidden.push(self.is_hidden(session.user, user).await?);
        }
        // From here on nothing is waited for: what is told meanwhile would be overtaken by the answer, which is older.
        let mut answer = Map::new();
        for (user, hidden) in known.into_iter().zip(hidden) {
            let state = if hidden {
                state(&Here::default(), None)
            } else {
                let here = self.here(user, &now_elsewhere);
                if watch == Some(true) && self.registry.presence.answered(user, &here) {
                    self.again.lock().insert(user);
                }
                let seen = self.seen.lock().get(&user).or(kept.get(&user)).copied();
                state(&here, self.heard_at(user).or(seen))
            };
            answer.insert(user.to_string(), state);
        }
        Ok(json!({"users": answer}))
    }

    /// How a user is here, with what is known of other nodes.
    fn here(&self, user: UserId, elsewhere: &HashMap<UserId, Here>) -> Here {
        let mut here = elsewhere.get(&user).cloned().unwrap_or_default();
        self.registry.with(user, |sessions| {
            let kinds = sessions.iter().map(|session| session.kind.clone());
            here.kinds.extend(kinds);
        });
        here
    }

    /// Which of these users are on other nodes, and how; `None` while the bus cannot be asked.
    async fn elsewhere(&self, users: &[UserId]) -> Option<HashMap<UserId, Here>> {
        let mut elsewhere: HashMap<UserId, Here> = HashMap::new();
        let Some(bus) = self.registry.others() else {
            return Some(elsewhere);
        };
        let sightings = bus.whereabouts(users).await.ok()?.into_iter();
        // Of its own sessions this node knows better.
        for seen in sightings.filter(|seen| seen.node != *bus.node()) {
            let here = elsewhere.entry(seen.user).or_default();
            here.kinds.insert(seen.kind);
        }
        Some(elsewhere)
    }

    /// The same for an answer, which is corrected when the bus can be asked again.
    async fn elsewhere_or_nobody(&self, users: &[UserId]) -> HashMap<UserId, Here> {
        let elsewhere = self.elsewhere(users).await;
        elsewhere.unwrap_or_else(|| {
            self.again.lock().extend(users);
            HashMap::new()
        })
    }

    /// When something last arrived from a user who is here.
    fn heard_at(&self, user: UserId) -> Option<u64> {
        self.registry.with(user, |sessions| {
            sessions.iter().map(|session| session.heard_at()).max()
        })
    }

    /// The user has blocked the one who looks.
    async fn is_hidden(&self, looking: UserId, user: UserId) -> Result<bool, Refusal> {
        let relation = self.journey.accounts.relation(looking, user).await;
        relation
            .map(|relation| relation.blocked)
            .map_err(|e| store_refusal(&e))
    }
}

fn state(here: &Here, last_seen: Option<u64>) -> Value {
    json!({"online": !here.kinds.is_empty(), "kinds": here.kinds, "last_seen": last_seen})
}

fn event(user: UserId, here: &Here, last_seen: Option<u64>) -> Event {
    let mut event = state(here, last_seen);
    event["ev"] = "presence".into();
    event["user"] = user.to_string().into();
    Event::from_json(serde_json::to_vec(&event).expect("a JSON value always encodes"))
}
