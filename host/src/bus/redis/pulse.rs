//! The node's pulse: its lease renewed at a third of its length, a word to itself to see that it is heard, and beginning
//! anew after a cut. Whatever may have been lost ends here in one `Resumed`, and only once all of Redis answers again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::link::Wire;
use super::wire::{Envelope, Says, encode};
use super::{Peer, Peers, Shared, random_name, scripts};
use crate::bus::{BusError, Node, NodeName, NodeState, Received};

/// What Redis answers to a beat.
pub struct Beaten {
    said: String,
    now_ms: u64,
    live: Peers,
    /// When leases end, milliseconds since 1970 UTC.
    ends: BTreeMap<NodeName, u64>,
    gone: BTreeMap<NodeName, u64>,
}

pub struct Pulse {
    shared: Arc<Shared>,
    heard: mpsc::Sender<Received>,
    beat_at: Instant,
    /// The name was this process's already.
    joined: bool,
    /// What is still to be told.
    gone: BTreeSet<NodeName>,
    resumed: bool,
}

impl Pulse {
    pub fn new(shared: Arc<Shared>, heard: mpsc::Sender<Received>) -> Self {
        Self {
            shared,
            heard,
            beat_at: Instant::now(),
            joined: false,
            gone: BTreeSet::new(),
            resumed: false,
        }
    }

    /// Runs until dropped.
    pub async fn run(mut self) {
        let mut echo_at = Instant::now();
        let mut announced = NodeState::default();
        loop {
            let pulse = self.shared.pulse.notified();
            let woken = tokio::time::timeout_at(echo_at.min(self.beat_at), pulse)
                .await
                .is_ok();
            let shared = &self.shared;
            if !shared.link.is_up() || !shared.hearing.load(Ordering::Acquire) {
                echo_at = Instant::now() + shared.pace.echo;
                self.beat_at = self.beat_at.max(echo_at);
                continue;
            }
            if Instant::now() >= echo_at {
                self.echo().await;
                echo_at = Instant::now() + self.shared.pace.echo;
            }
            let state = *self.shared.state.lock();
            if self.shared.must_resume.swap(false, Ordering::AcqRel) {
                if !self.resume().await {
                    self.shared.must_resume.store(true, Ordering::Release);
                    self.beat_at = Instant::now() + self.shared.pace.echo;
                }
            } else if Instant::now() >= self.beat_at || woken && state != announced {
                self.renew().await;
            }
            announced = state;
            self.tell();
        }
    }

    /// Tells whoever takes what is heard; what finds no room is told the next time. A beat does not wait for that.
    fn tell(&mut self) {
        let heard = &self.heard;
        let untold = |name: &NodeName| heard.try_send(Received::Gone(name.clone())).is_err();
        self.gone.retain(untold);
        if self.resumed && heard.try_send(Received::Resumed).is_ok() {
            self.resumed = false;
        }
    }

    async fn echo(&self) {
        let echo = encode(&Envelope {
            from: self.shared.name.clone(),
            says: Says::Echo,
        });
        if let Err(error) = self.shared.publish(&self.shared.name, echo).await {
            tracing::debug!(%error, "nothing can be said");
        }
    }

    async fn renew(&mut self) {
        if self.shared.taken.load(Ordering::Acquire) {
            self.beat_at = Instant::now() + self.shared.pace.beat;
            return;
        }
        match self.shared.beat("renew").await {
            Ok(beaten) if beaten.said == "taken" => self.is_taken(),
            Ok(beaten) if beaten.said == "lost" => {
                tracing::warn!("this node's lease is not known any more; leasing anew");
                self.shared.must_resume();
            }
            Ok(beaten) => self.met(beaten),
            // Tried again with the next word to oneself; the lease lasts for three beats.
            Err(error) => {
                tracing::warn!(%error, "this node's lease could not be renewed");
                self.beat_at = Instant::now() + self.shared.pace.echo;
                return;
            }
        }
        self.beat_at = Instant::now() + self.shared.pace.beat;
    }

    fn is_taken(&self) {
        self.shared.taken.store(true, Ordering::Release);
        tracing::error!(
            node = %self.shared.name,
            "another node has this one's name: give each its own node.name; this one is not found any more"
        );
    }

    /// A new incarnation: every lease before it is void. Whether it is known to Redis, all of which answers.
    async fn resume(&mut self) -> bool {
        if self.shared.taken.load(Ordering::Acquire) {
            return true;
        }
        if let Err(error) = self.shared.probe().await {
            tracing::debug!(%error, "a part of Redis does not answer yet");
            return false;
        }
        self.shared.incarnation.store(Arc::new(random_name()));
        let what = if self.joined { "rejoin" } else { "join" };
        let Ok(beaten) = self.shared.beat(what).await else {
            return false;
        };
        self.beat_at = Instant::now() + self.shared.pace.beat;
        if beaten.said == "taken" {
            self.is_taken();
            return true;
        }
        self.joined = true;
        self.met(beaten);
        self.shared.joined.notify_one();
        if self.shared.opened.load(Ordering::Acquire) {
            tracing::info!("this node is back on the bus");
            self.resumed = true;
        }
        true
    }

    /// Looks who came and went.
    fn met(&mut self, beaten: Beaten) {
        *self.shared.beaten_at.lock() = Some(Instant::now());
        let before = self.shared.peers.swap(Arc::new(beaten.live.clone()));
        for (name, peer) in before.iter().filter(|(name, _)| **name != self.shared.name) {
            let now = beaten.live.get(name);
            // A node that began anew tells so itself, by leasing; one that was started anew has lost its sessions.
            if now.is_none_or(|now| now.process != peer.process) {
                self.gone.insert(name.clone());
            }
        }
    }
}

impl Shared {
    /// Every server that holds sessions answers.
    async fn probe(&self) -> Result<(), BusError> {
        if !self.link.is_cluster() {
            return Ok(());
        }
        let asking: Vec<_> = (0..scripts::BUCKETS)
            .map(|bucket| self.probe_one(bucket))
            .collect();
        join_all(asking).await.into_iter().collect()
    }

    async fn probe_one(&self, bucket: u64) -> Result<(), BusError> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(scripts::probe(bucket));
        let exists = &exists;
        let asked = self
            .link
            .ask(|mut wire: Wire| async move { exists.exec_async(&mut wire).await });
        asked.await
    }

    /// One beat: `join`, `rejoin`, `renew` or `leave`.
    pub(super) async fn beat(&self, what: &str) -> Result<Beaten, BusError> {
        let state = *self.state.lock();
        let lease_ms = u64::try_from(self.pace.lease.as_millis()).unwrap_or(u64::MAX);
        let beat = self.scripts.beat.key(scripts::LIVE);
        let beat = beat.key(scripts::ENDS).key(scripts::GONE);
        let beat = beat.arg(&self.name).arg(&self.process);
        let beat = beat.arg(self.incarnation.load());
        let beat = beat.arg(format!("{}|{}", state.ready, state.serving));
        let beat = beat.arg(lease_ms).arg(what);
        type Told = (
            String,
            u64,
            Vec<(String, String)>,
            Vec<(String, f64)>,
            Vec<(String, u64)>,
        );
        let told = self.link.ask(|wire| beat.run::<Told>(wire));
        let (said, now_ms, live, ends, gone) = told.await?;
        Ok(Beaten {
            said,
            now_ms,
            live: peers(live),
            ends: named(ends.into_iter().map(|(name, at)| (name, at as u64))),
            gone: named(gone),
        })
    }

    pub(super) async fn nodes(&self) -> Result<Vec<Node>, BusError> {
        let beaten = self.beat("renew").await?;
        let lease = u64::try_from(self.pace.lease.as_millis()).unwrap_or(u64::MAX);
        let live = beaten.live.into_iter().map(|(name, peer)| {
            let ends = beaten.ends.get(&name).copied().unwrap_or(beaten.now_ms);
            Node {
                state: peer.state,
                live: ends > beaten.now_ms,
                last_seen_ms: ends.saturating_sub(lease),
                name,
            }
        });
        let mut nodes: Vec<Node> = live.collect();
        nodes.extend(beaten.gone.into_iter().map(|(name, at)| Node {
            name,
            state: NodeState::default(),
            live: false,
            last_seen_ms: at,
        }));
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(nodes)
    }
}

/// The membership as Redis keeps it: `process|incarnation|ready|serving` by name.
pub fn peers(kept: impl IntoIterator<Item = (String, String)>) -> Peers {
    let peer = |text: &str| {
        let mut parts = text.split('|');
        Some(Peer {
            process: parts.next()?.to_owned(),
            incarnation: parts.next()?.to_owned(),
            state: NodeState {
                ready: parts.next()?.parse().ok()?,
                serving: parts.next()?.parse().ok()?,
            },
        })
    };
    let read = kept.into_iter();
    read.filter_map(|(name, text)| Some((NodeName::new(&name).ok()?, peer(&text)?)))
        .collect()
}

fn named<T>(kept: impl IntoIterator<Item = (String, T)>) -> BTreeMap<NodeName, T> {
    let read = kept.into_iter();
    read.filter_map(|(name, value)| Some((NodeName::new(&name).ok()?, value)))
        .collect()
}
