//! Making up for what the bus lost. Sessions are leased anew, then told that they are behind, and looked at whether they
//! are still good: what ended them may have been said while nobody heard. Part by part, so that not every client reads
//! at the same moment.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::moderation::bans::Bans;
use crate::session::registry::Registry;
use crate::session::{Bye, Session};

/// What is lost within so long is made up for at once: after a cut every node tells that it lost something.
const GATHERED: Duration = Duration::from_millis(200);
/// Between two parts of all sessions.
const APART: Duration = Duration::from_millis(20);
/// Sessions that are looked at together: one after another, a hundred thousand would take minutes.
const LOOKED_AT: usize = 64;
/// Between two tries to lease anew.
const AGAIN: Duration = Duration::from_millis(500);

/// Whether what a session began with is still good.
#[async_trait]
pub trait StillGood: Send + Sync + 'static {
    /// Why the session is to end, if it is. What cannot be found out is no reason.
    async fn ended(&self, session: &Session) -> Option<Bye>;
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    #[default]
    Nothing,
    /// To tell sessions that they are behind.
    Behind,
    /// And to lease them anew before.
    Leases,
}

/// The task that makes up for it, and what it is told.
pub struct Restoring {
    registry: Arc<Registry>,
    good: Arc<dyn StillGood>,
    bans: Arc<Bans>,
    clock: Arc<dyn Clock>,
    wanted: Mutex<Wanted>,
    wake: Notify,
}

impl Restoring {
    pub fn new(
        registry: Arc<Registry>,
        good: Arc<dyn StillGood>,
        bans: Arc<Bans>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            registry,
            good,
            bans,
            clock,
            wanted: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Something for sessions here is lost.
    pub fn behind(&self) {
        self.want(Wanted::Behind);
    }

    /// This node was cut off; none of its sessions is known to others.
    pub fn resumed(&self) {
        self.want(Wanted::Leases);
    }

    fn want(&self, more: Wanted) {
        let mut wanted = self.wanted.lock();
        if *wanted != Wanted::Leases {
            *wanted = more;
        }
        drop(wanted);
        self.wake.notify_one();
    }

    /// The bans in the store are others than those in memory.
    pub async fn bans_changed(&self) {
        if let Err(error) = self.bans.read_again(self.clock.now_ms()).await {
            tracing::warn!(%error, "the bans could not be read again");
        }
    }

    /// Runs until dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.wake.notified().await;
            tokio::time::sleep(GATHERED).await;
            let wanted = std::mem::take(&mut *self.wanted.lock());
            match wanted {
                Wanted::Nothing => continue,
                Wanted::Behind => {}
                Wanted::Leases => {
                    if !self.lease_anew().await {
                        tokio::time::sleep(AGAIN).await;
                        self.resumed();
                        continue;
                    }
                }
            }
            self.bans_changed().await;
            self.make_up().await;
        }
    }

    async fn lease_anew(&self) -> bool {
        for part in 0..Registry::PARTS {
            if !self.registry.lease_all(&self.registry.part(part)).await {
                return false;
            }
        }
        true
    }

    async fn make_up(&self) {
        for part in 0..Registry::PARTS {
            let sessions = self.registry.part(part);
            for session in &sessions {
                session.outbox.fall_behind();
            }
            let any = !sessions.is_empty();
            let look = |session: Arc<Session>| async move {
                if let Some(bye) = self.good.ended(&session).await {
                    session.outbox.close(bye);
                }
            };
            stream::iter(sessions)
                .for_each_concurrent(LOOKED_AT, look)
                .await;
            if any {
                tokio::time::sleep(APART).await;
            }
        }
    }

    /// Leases what is here anew, a part at a time: what the bus forgets by itself it is told again long before.
    pub async fn keep_leased(self: Arc<Self>, every: Duration) {
        for part in (0..Registry::PARTS).cycle() {
            tokio::time::sleep(every).await;
            if self.registry.others().is_some() {
                self.registry.lease_all(&self.registry.part(part)).await;
            }
        }
    }
}
