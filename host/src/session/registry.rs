//! Which sessions are here, by user. The one place that starts and ends a session's standing; sweeps the silent
//! and the slow. Knows no socket: ending a session means asking its outbox to say goodbye.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::presence::Presence;
use super::{Bye, Event, Session};
use crate::bus::{Bus, Lease, Signal};
use crate::ids::{SessionId, UserId};
use crate::maps::HashMap;
use crate::telemetry::Telemetry;

const SHARDS: usize = 64;

/// How long a session may be silent or slow, and how many devices of a kind a user may have online.
#[derive(Debug, Clone, Copy)]
pub struct SessionRules {
    /// A connection from which nothing arrives for two of these is closed.
    pub heartbeat: Duration,
    /// How long an outbox may stay full.
    pub slow: Duration,
    /// Devices of one kind of one user online at once.
    pub per_kind: usize,
}

type Shard = HashMap<UserId, Vec<Arc<Session>>>;

/// The sessions of this node.
#[derive(Debug)]
pub struct Registry {
    shards: Vec<Mutex<Shard>>,
    rules: SessionRules,
    count: AtomicUsize,
    /// Milliseconds since 1970 UTC, moved by `sweep`; good to about a second.
    coarse_now: AtomicU64,
    /// Set once every session is to end, those to come too.
    ending: watch::Sender<Option<Bye>>,
    pub presence: Presence,
    pub telemetry: Telemetry,
    pub(super) bus: Option<Arc<dyn Bus>>,
    /// Sessions that ended and that other nodes may still find.
    pub(super) left: Mutex<Vec<Lease>>,
    /// Sessions that other nodes may not find yet.
    pub(super) unleased: Mutex<Vec<Arc<Session>>>,
}

impl Registry {
    pub fn new(rules: SessionRules, now_ms: u64) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            rules,
            count: AtomicUsize::new(0),
            coarse_now: AtomicU64::new(now_ms),
            ending: watch::Sender::new(None),
            presence: Presence::default(),
            telemetry: Telemetry::default(),
            bus: None,
            left: Mutex::default(),
            unleased: Mutex::default(),
        }
    }

    /// With other nodes, once there are some.
    pub fn with_bus(self, bus: Arc<dyn Bus>) -> Self {
        Self {
            bus: Some(bus),
            ..self
        }
    }

    pub fn rules(&self) -> &SessionRules {
        &self.rules
    }

    /// Good to about a second: for what need not be exact and is asked for every frame.
    pub fn coarse_now(&self) -> u64 {
        self.coarse_now.load(Ordering::Relaxed)
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Adds a session. The same device's older one is replaced; of too many devices of a kind the longest idle goes.
    pub fn attach(&self, session: &Arc<Session>) {
        let mut shard = self.shard(session.user).lock();
        let sessions = shard.entry(session.user).or_default();
        for older in sessions
            .iter()
            .filter(|older| older.device == session.device)
        {
            older.outbox.close(Bye::Replaced);
        }
        let mut of_kind: Vec<_> = sessions
            .iter()
            .filter(|other| {
                other.kind == session.kind
                    && other.device != session.device
                    && !other.outbox.is_closing()
            })
            .collect();
        of_kind.sort_by_key(|other| other.heard_at());
        let surplus = (of_kind.len() + 1).saturating_sub(self.rules.per_kind);
        for idle in of_kind.into_iter().take(surplus) {
            idle.outbox.close(Bye::Replaced);
        }
        sessions.push(session.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        if let Some(bye) = *self.ending.borrow() {
            session.outbox.close(bye);
        }
        self.presence.touched(session.user);
    }

    /// Resolves when every session is to end.
    pub async fn ending(&self) -> Bye {
        let mut ending = self.ending.subscribe();
        let told = ending.wait_for(Option::is_some).await;
        told.ok().and_then(|bye| *bye).unwrap_or(Bye::Draining)
    }

    /// Takes this very session away; a newer one of the same device stays.
    pub fn detach(&self, session: &Session) {
        self.presence.end(session.id);
        let mut shard = self.shard(session.user).lock();
        let Some(sessions) = shard.get_mut(&session.user) else {
            return;
        };
        let before = sessions.len();
        sessions.retain(|other| other.id != session.id);
        self.count
            .fetch_sub(before - sessions.len(), Ordering::Relaxed);
        if sessions.is_empty() {
            shard.remove(&session.user);
        }
        drop(shard);
        if self.others().is_some() {
            self.note_left(session);
        }
        self.presence.touched(session.user);
    }

    /// Whether this very session is here.
    pub fn is_attached(&self, session: &Session) -> bool {
        let this = |other: &Arc<Session>| other.id == session.id;
        self.with(session.user, |sessions| sessions.iter().any(this))
    }

    /// Sessions of this one's user and kind that stay, itself among them.
    pub(super) fn of_kind(&self, session: &Session) -> usize {
        let alike =
            |other: &&Arc<Session>| other.kind == session.kind && !other.outbox.is_closing();
        self.with(session.user, |sessions| {
            sessions.iter().filter(alike).count()
        })
    }

    /// How many parts `part` has.
    pub const PARTS: usize = SHARDS;

    /// The sessions of one part of all users, those connected longest first; `number` is below `PARTS`.
    pub fn part(&self, number: usize) -> Vec<Arc<Session>> {
        let shard = self.shards[number % SHARDS].lock();
        let mut sessions: Vec<_> = shard.values().flatten().cloned().collect();
        drop(shard);
        sessions.sort_unstable_by_key(|session| session.id);
        sessions
    }

    /// Looks at a user's sessions.
    pub fn with<T>(&self, user: UserId, look: impl FnOnce(&[Arc<Session>]) -> T) -> T {
        let shard = self.shard(user).lock();
        look(shard.get(&user).map_or(&[], Vec::as_slice))
    }

    /// Pushes an event to every session of a user but one, on other nodes too; to how many here.
    pub fn push(&self, user: UserId, except: Option<SessionId>, event: &Event) -> u64 {
        if self.others().is_some() {
            self.push_elsewhere(vec![user], event);
        }
        self.push_here(user, except, event)
    }

    /// Pushes an event to every session of several users but one, on other nodes too.
    pub fn push_to(
        &self,
        users: impl Iterator<Item = UserId> + Clone,
        except: Option<SessionId>,
        event: &Event,
    ) {
        if self.others().is_some() {
            self.push_elsewhere(users.clone().collect(), event);
        }
        for user in users {
            self.push_here(user, except, event);
        }
    }

    /// To every session of a user but one, on this node alone; to how many.
    pub fn push_here(&self, user: UserId, except: Option<SessionId>, event: &Event) -> u64 {
        let now = self.coarse_now();
        self.with(user, |sessions| {
            let mut pushed = 0;
            for session in sessions.iter().filter(|session| Some(session.id) != except) {
                session.outbox.push(event.frame(session.codec), now);
                pushed += 1;
            }
            pushed
        })
    }

    /// Pushes to every session but one of those of some users who are on this node. `users` ascend; `event` is given a user's
    /// place among them. Costs as much as there are of users, or of those who are here, whichever are fewer. Answers to
    /// how many sessions.
    pub fn push_each<'a>(
        &self,
        users: &[UserId],
        except: Option<SessionId>,
        event: impl Fn(usize) -> Option<&'a Event>,
    ) -> u64 {
        let now = self.coarse_now();
        let mut pushed = 0;
        let mut push = |sessions: &[Arc<Session>], event: &Event| {
            for session in sessions.iter().filter(|session| Some(session.id) != except) {
                session.outbox.push(event.frame(session.codec), now);
                pushed += 1;
            }
        };
        if users.len() <= self.count() {
            for (place, user) in users.iter().enumerate() {
                self.with(*user, |sessions| {
                    if !sessions.is_empty()
                        && let Some(event) = event(place)
                    {
                        push(sessions, event);
                    }
                });
            }
            return pushed;
        }
        for shard in &self.shards {
            for (user, sessions) in &*shard.lock() {
                if let Ok(place) = users.binary_search(user)
                    && let Some(event) = event(place)
                {
                    push(sessions, event);
                }
            }
        }
        pushed
    }

    /// Which of some users, ascending, are here.
    pub fn online_among(&self, users: &[UserId]) -> Vec<UserId> {
        if users.len() <= self.count() {
            let here = |user: &&UserId| self.is_online(**user);
            return users.iter().filter(here).copied().collect();
        }
        let mut online = self.online();
        online.retain(|user| users.binary_search(user).is_ok());
        online
    }

    /// Whether a push to this user that leaves one session out would reach another.
    pub fn is_reached(&self, user: UserId, except: Option<SessionId>) -> bool {
        self.with(user, |sessions| {
            sessions.iter().any(|session| Some(session.id) != except)
        })
    }

    pub fn is_online(&self, user: UserId) -> bool {
        self.with(user, |sessions| !sessions.is_empty())
    }

    /// Users with a session here.
    pub fn online(&self) -> Vec<UserId> {
        self.shards
            .iter()
            .flat_map(|shard| shard.lock().keys().copied().collect::<Vec<_>>())
            .collect()
    }

    /// Ends sessions of a user, on all nodes: of one device or all, except one device.
    pub fn end(&self, user: UserId, device: Option<&str>, except: Option<&str>, bye: Bye) {
        self.tell_nodes(|| Signal::EndUser {
            user,
            device: device.map(str::to_owned),
            except: except.map(str::to_owned),
            bye,
        });
        self.end_here(user, device, except, bye);
    }

    /// The same on this node alone.
    pub fn end_here(&self, user: UserId, device: Option<&str>, except: Option<&str>, bye: Bye) {
        self.with(user, |sessions| {
            for session in sessions {
                let named = device.is_none_or(|device| session.device == device);
                if named && except != Some(session.device.as_str()) {
                    session.outbox.close(bye);
                }
            }
        });
    }

    /// Ends one session that is here.
    pub fn end_session(&self, user: UserId, session: SessionId, bye: Bye) {
        self.with(user, |sessions| {
            if let Some(ended) = sessions.iter().find(|other| other.id == session) {
                ended.outbox.close(bye);
            }
        });
    }

    /// Ends every session of a device, whoever's it is, on all nodes.
    pub fn end_devices(&self, device: &str, bye: Bye) {
        self.tell_nodes(|| Signal::EndDevice {
            device: device.to_owned(),
            bye,
        });
        self.end_devices_here(device, bye);
    }

    /// The same on this node alone.
    pub fn end_devices_here(&self, device: &str, bye: Bye) {
        for shard in &self.shards {
            let shard = shard.lock();
            let sessions = shard.values().flatten();
            for session in sessions.filter(|session| session.device == device) {
                session.outbox.close(bye);
            }
        }
    }

    /// Ends every session here, and each that comes.
    pub fn end_all(&self, bye: Bye) {
        self.ending.send_replace(Some(bye));
        for shard in &self.shards {
            shard
                .lock()
                .values()
                .flatten()
                .for_each(|session| session.outbox.close(bye));
        }
    }

    /// Something that nobody can say whom it concerns was not told.
    pub fn all_fall_behind(&self) {
        for shard in &self.shards {
            let sessions = shard.lock();
            let each = sessions.values().flatten();
            each.for_each(|session| session.outbox.fall_behind());
        }
    }

    /// Moves the coarse clock; ends sessions that have been silent or slow for too long. Call about once a second.
    pub fn sweep(&self, now_ms: u64) {
        self.coarse_now.store(now_ms, Ordering::Relaxed);
        let silent = self.rules.heartbeat.as_millis() as u64 * 2;
        let slow = self.rules.slow.as_millis() as u64;
        for shard in &self.shards {
            for session in shard.lock().values().flatten() {
                // While a client does not take what it is sent, it is not listened to: its silence says nothing.
                let (since, limit, bye) = match session.outbox.full_since() {
                    Some(since) => (since, slow, Bye::Slow),
                    None => (session.heard_at(), silent, Bye::Idle),
                };
                if now_ms.saturating_sub(since) > limit {
                    session.outbox.close(bye);
                }
            }
        }
    }

    fn shard(&self, user: UserId) -> &Mutex<Shard> {
        let spread = user.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.shards[spread as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Codec, Drained, Holder, OutboxLimits};

    const RULES: SessionRules = SessionRules {
        heartbeat: Duration::from_secs(30),
        slow: Duration::from_secs(30),
        per_kind: 2,
    };

    fn session(id: u64, device: &str, heard_at: u64) -> Arc<Session> {
        let limits = Arc::new(OutboxLimits::new(100, 1000, 100));
        let holder = Holder {
            user: UserId(1),
            device: device.into(),
            kind: "web".into(),
            family: 1,
        };
        Session::new(SessionId(id), holder, Codec::Json, limits, heard_at)
    }

    #[test]
    fn a_device_that_connects_again_replaces_its_older_session_and_outlives_its_end() {
        let registry = Registry::new(RULES, 1);
        let (older, newer) = (session(1, "a", 1), session(2, "a", 2));
        registry.attach(&older);
        registry.attach(&newer);
        assert!(older.outbox.is_closing() && !newer.outbox.is_closing());
        registry.detach(&older);
        assert!(registry.is_online(UserId(1)));
        registry.detach(&newer);
        assert_eq!(
            (registry.is_online(UserId(1)), registry.count()),
            (false, 0)
        );
    }

    #[test]
    fn of_too_many_devices_of_a_kind_the_longest_idle_goes() {
        let registry = Registry::new(RULES, 1);
        let (busy, idle, third) = (session(1, "a", 9), session(2, "b", 5), session(3, "c", 10));
        for each in [&busy, &idle, &third] {
            registry.attach(each);
        }
        assert_eq!(
            [&busy, &idle, &third].map(|each| each.outbox.is_closing()),
            [false, true, false]
        );
    }

    #[test]
    fn an_event_for_many_reaches_those_who_are_here_however_many_are_not() {
        let registry = Registry::new(RULES, 1);
        let here = session(1, "a", 1);
        registry.attach(&here);
        let event = Event::from_json(b"{}".to_vec());
        let crowd: Vec<UserId> = (0..50).map(UserId).collect();
        let without: Vec<UserId> = (2..50).map(UserId).collect();
        for users in [&crowd[1..2], &crowd[..], &without[..]] {
            registry.push_each(users, None, |place| {
                assert_eq!(users[place], UserId(1));
                Some(&event)
            });
            registry.push_each(users, Some(SessionId(1)), |_| Some(&event));
            registry.push_each(users, None, |_| None);
        }
        assert!(matches!(here.outbox.drain(0), Drained::Frames(frames) if frames.len() == 2));
        assert_eq!(registry.online_among(&crowd), [UserId(1)]);
        assert_eq!(registry.online_among(&crowd[1..2]), [UserId(1)]);
        assert!(registry.online_among(&without).is_empty());
    }

    #[test]
    fn the_silent_and_the_slow_are_swept() {
        let registry = Registry::new(RULES, 0);
        let (silent, slow, lively) = (
            session(1, "a", 0),
            session(2, "b", 60_000),
            session(3, "c", 60_000),
        );
        for each in [&silent, &slow, &lively] {
            registry.attach(each);
        }
        slow.outbox.push(bytes::Bytes::from(vec![0; 200]), 25_000);
        registry.sweep(60_001);
        assert!(
            silent.outbox.is_closing() && slow.outbox.is_closing() && !lively.outbox.is_closing()
        );
    }

    #[test]
    fn a_client_that_takes_no_answers_is_slow_and_not_idle() {
        let registry = Registry::new(RULES, 0);
        let (piling, stuck) = (session(1, "a", 0), session(2, "b", 0));
        registry.attach(&piling);
        registry.attach(&stuck);
        piling
            .outbox
            .answer(bytes::Bytes::from(vec![0; 200]), 40_000);
        stuck.outbox.answer(bytes::Bytes::from(vec![0; 10]), 40_000);
        stuck.outbox.drain(40_000);
        let reason = |session: &Session| match session.outbox.drain(0) {
            crate::session::Drained::Bye(_, bye) => Some(bye),
            _ => None,
        };
        registry.sweep(70_000);
        assert!(!piling.outbox.is_closing() && !stuck.outbox.is_closing());
        registry.sweep(70_001);
        assert_eq!(
            (reason(&piling), reason(&stuck)),
            (Some(Bye::Slow), Some(Bye::Slow))
        );
    }
}
