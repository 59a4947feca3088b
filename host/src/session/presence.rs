//! Who watches whom, whose presence may have changed, and when users were last seen. Bounded: watches by session,
//! the rest by users who came and went since it was last looked at. Tells nobody anything itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ids::{SessionId, UserId};

/// Users that one session may watch.
pub const WATCHES_MOST: usize = 1000;

/// A user as others see it now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Here {
    /// The kinds of the devices that are connected; none of them is offline.
    pub kinds: BTreeSet<String>,
}

/// Sessions that watch one user, and what they were told last.
#[derive(Debug, Default)]
struct Watched {
    watchers: Vec<(SessionId, UserId)>,
    /// `None` where not all of them may know.
    told: Option<Here>,
    /// Those of them that had no room for what they were told.
    missed: Vec<SessionId>,
}

#[derive(Debug, Default)]
struct Watches {
    by_user: BTreeMap<UserId, Watched>,
    by_session: HashMap<SessionId, HashSet<UserId>>,
}

/// The watches of all sessions here.
#[derive(Debug, Default)]
pub struct Presence {
    watches: Mutex<Watches>,
    /// Users with a session that came or went. In an order that does not differ from run to run, as all that is told.
    changed: Mutex<BTreeSet<UserId>>,
    wake: Notify,
}

/// A session watches as many users as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Presence {
    /// A session of the user came or went.
    pub fn touched(&self, user: UserId) {
        self.changed.lock().insert(user);
        self.wake.notify_one();
    }

    /// Resolves when somebody's session came or went.
    pub async fn changed(&self) {
        loop {
            if !self.changed.lock().is_empty() {
                return;
            }
            self.wake.notified().await;
        }
    }

    /// Those whose sessions came or went since this was last asked.
    pub fn take_changed(&self) -> BTreeSet<UserId> {
        std::mem::take(&mut self.changed.lock())
    }

    /// A session watches users from now on; all of them or, when they are too many, none.
    pub fn watch(
        &self,
        session: SessionId,
        watcher: UserId,
        users: &[UserId],
        here: impl Fn(UserId) -> Here,
    ) -> Result<(), TooMany> {
        let mut watches = self.watches.lock();
        let Watches {
            by_user,
            by_session,
        } = &mut *watches;
        let watched = by_session.entry(session).or_default();
        let new: HashSet<UserId> = users
            .iter()
            .filter(|user| !watched.contains(user))
            .copied()
            .collect();
        if watched.len() + new.len() > WATCHES_MOST {
            return Err(TooMany);
        }
        for user in new {
            watched.insert(user);
            let entry = by_user.entry(user).or_insert_with(|| Watched {
                watchers: Vec::new(),
                told: Some(here(user)),
                missed: Vec::new(),
            });
            entry.watchers.push((session, watcher));
        }
        Ok(())
    }

    /// A session watches users no more.
    pub fn unwatch(&self, session: SessionId, users: &[UserId]) {
        let mut watches = self.watches.lock();
        let mut gone = Vec::new();
        if let Some(watched) = watches.by_session.get_mut(&session) {
            gone.extend(users.iter().filter(|user| watched.remove(user)));
            if watched.is_empty() {
                watches.by_session.remove(&session);
            }
        }
        watches.forget(session, gone);
    }

    /// A session is over, and its watches with it.
    pub fn end(&self, session: SessionId) {
        let mut watches = self.watches.lock();
        if let Some(watched) = watches.by_session.remove(&session) {
            watches.forget(session, watched);
        }
    }

    /// Whether any session here watches a user.
    pub fn is_watched(&self, user: UserId) -> bool {
        self.watches.lock().by_user.contains_key(&user)
    }

    /// Users that sessions here watch.
    pub fn watched(&self) -> Vec<UserId> {
        self.watches.lock().by_user.keys().copied().collect()
    }

    /// Not everybody who watches a user could be told: the next look tells all of them.
    pub fn untold(&self, user: UserId) {
        if let Some(watched) = self.watches.lock().by_user.get_mut(&user) {
            watched.told = None;
        }
    }

    /// A session had no room for what it was told of a user: the next look tells it again.
    pub fn missed(&self, user: UserId, session: SessionId) {
        if let Some(watched) = self.watches.lock().by_user.get_mut(&user) {
            watched.missed.push(session);
        }
    }

    /// One who watches a user was answered that the user is here like this. Whether the watchers were told otherwise: then
    /// they no longer know the same, and the next look tells all of them.
    pub fn answered(&self, user: UserId, here: &Here) -> bool {
        let mut watches = self.watches.lock();
        let watched = watches.by_user.get_mut(&user);
        let otherwise = watched.filter(|watched| watched.told.as_ref() != Some(here));
        otherwise.map(|watched| watched.told = None).is_some()
    }

    /// Who is to be told that a user is here like this; nobody when they know, but for those who missed it.
    pub fn to_tell(&self, user: UserId, here: &Here) -> Vec<(SessionId, UserId)> {
        let mut watches = self.watches.lock();
        let Some(watched) = watches.by_user.get_mut(&user) else {
            return Vec::new();
        };
        let missed = std::mem::take(&mut watched.missed);
        let mut to_tell = watched.watchers.clone();
        if watched.told.as_ref() == Some(here) {
            to_tell.retain(|(session, _)| missed.contains(session));
        }
        watched.told = Some(here.clone());
        to_tell
    }
}

impl Watches {
    fn forget(&mut self, session: SessionId, users: impl IntoIterator<Item = UserId>) {
        for user in users {
            if let Some(watched) = self.by_user.get_mut(&user) {
                watched.watchers.retain(|(other, _)| *other != session);
                if watched.watchers.is_empty() {
                    self.by_user.remove(&user);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(kinds: &[&str]) -> Here {
        Here {
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        }
    }

    #[test]
    fn whoever_had_no_room_for_it_is_told_again_and_nobody_else() {
        let presence = Presence::default();
        let (full, other, user) = (SessionId(1), SessionId(2), UserId(3));
        for session in [full, other] {
            let watched = presence.watch(session, UserId(1), &[user], |_| here(&[]));
            assert_eq!(watched, Ok(()));
        }
        let online = here(&["web"]);
        assert_eq!(presence.to_tell(user, &online).len(), 2);
        presence.missed(user, full);
        assert_eq!(presence.to_tell(user, &online), [(full, UserId(1))]);
        assert_eq!(presence.to_tell(user, &online), []);
    }

    #[test]
    fn an_answer_other_than_what_was_told_has_everybody_told_once_more() {
        let presence = Presence::default();
        let (session, watcher, user) = (SessionId(1), UserId(1), UserId(2));
        let online = here(&["web"]);
        let watched = presence.watch(session, watcher, &[user], |_| here(&["web"]));
        assert_eq!(watched, Ok(()));
        assert!(!presence.answered(user, &online));
        assert_eq!(presence.to_tell(user, &online), []);
        assert!(presence.answered(user, &here(&[])));
        assert_eq!(presence.to_tell(user, &online), [(session, watcher)]);
        assert!(!presence.answered(UserId(3), &online), "nobody watches");
    }

    #[test]
    fn watchers_are_told_each_change_once_until_their_session_ends() {
        let presence = Presence::default();
        let (session, watcher, user) = (SessionId(1), UserId(1), UserId(2));
        let watch = || presence.watch(session, watcher, &[user, user], |_| here(&[]));
        assert_eq!((watch(), watch()), (Ok(()), Ok(())));
        let online = here(&["web"]);
        assert_eq!(presence.to_tell(user, &online), [(session, watcher)]);
        assert_eq!(presence.to_tell(user, &online), []);
        presence.end(session);
        assert_eq!(presence.to_tell(user, &here(&[])), []);
        assert!(presence.watches.lock().by_user.is_empty());
    }

    #[test]
    fn a_session_watches_only_so_many() {
        let presence = Presence::default();
        let many: Vec<_> = (1..=WATCHES_MOST as u64).map(UserId).collect();
        let watch =
            |users: &[UserId]| presence.watch(SessionId(1), UserId(1), users, |_| here(&[]));
        assert_eq!(watch(&many), Ok(()));
        assert_eq!(watch(&[UserId(9999)]), Err(TooMany));
        presence.unwatch(SessionId(1), &many[..1]);
        assert_eq!(watch(&[UserId(9999)]), Ok(()));
    }
}
