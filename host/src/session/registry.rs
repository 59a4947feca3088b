//! Which sessions are here, by user. The one place that starts and ends a session's standing; sweeps the silent
//! and the slow. Knows no socket: ending a session means asking its outbox to say goodbye.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::presence::Presence;
use super::{Bye, Event, Session};
use crate::ids::{SessionId, UserId};

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
    pub presence: Presence,
}

impl Registry {
    pub fn new(rules: SessionRules, now_ms: u64) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            rules,
            count: AtomicUsize::new(0),
            coarse_now: AtomicU64::new(now_ms),
            presence: Presence::default(),
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
        self.presence.touched(session.user);
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
        self.presence.touched(session.user);
    }

    /// Looks at a user's sessions.
    pub fn with<T>(&self, user: UserId, look: impl FnOnce(&[Arc<Session>]) -> T) -> T {
        let shard = self.shard(user).lock();
        look(shard.get(&user).map_or(&[], Vec::as_slice))
    }

    /// Pushes an event to every session of a user but one.
    pub fn push(&self, user: UserId, except: Option<SessionId>, event: &Event) {
        let now = self.coarse_now();
        self.with(user, |sessions| {
            for session in sessions.iter().filter(|session| Some(session.id) != except) {
                session.outbox.push(event.frame(session.codec), now);
            }
        });
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

    /// Ends sessions of a user: of one device or all, except one device.
    pub fn end(&self, user: UserId, device: Option<&str>, except: Option<&str>, bye: Bye) {
        self.with(user, |sessions| {
            for session in sessions {
                let named = device.is_none_or(|device| session.device == device);
                if named && except != Some(session.device.as_str()) {
                    session.outbox.close(bye);
                }
            }
        });
    }

    /// Ends every session here.
    pub fn end_all(&self, bye: Bye) {
        for shard in &self.shards {
            shard
                .lock()
                .values()
                .flatten()
                .for_each(|session| session.outbox.close(bye));
        }
    }

    /// Moves the coarse clock; ends sessions that have been silent or slow for too long. Call about once a second.
    pub fn sweep(&self, now_ms: u64) {
        self.coarse_now.store(now_ms, Ordering::Relaxed);
        let silent = self.rules.heartbeat.as_millis() as u64 * 2;
        let slow = self.rules.slow.as_millis() as u64;
        for shard in &self.shards {
            for session in shard.lock().values().flatten() {
                if session
                    .outbox
                    .full_since()
                    .is_some_and(|since| now_ms.saturating_sub(since) > slow)
                {
                    session.outbox.close(Bye::Slow);
                } else if now_ms.saturating_sub(session.heard_at()) > silent {
                    session.outbox.close(Bye::Idle);
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
    use crate::session::{Codec, OutboxLimits};

    const RULES: SessionRules = SessionRules {
        heartbeat: Duration::from_secs(30),
        slow: Duration::from_secs(30),
        per_kind: 2,
    };

    fn session(id: u64, device: &str, heard_at: u64) -> Arc<Session> {
        let limits = Arc::new(OutboxLimits::new(100, 1000, 100));
        Session::new(
            SessionId(id),
            UserId(1),
            device.into(),
            "web".into(),
            Codec::Json,
            limits,
            heard_at,
        )
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
}
