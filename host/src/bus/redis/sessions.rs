//! Sessions' leases in Redis: written, taken away, looked up for many users in one round trip. A lease is in force while
//! its node lives under the incarnation that wrote it, so nothing has to be cleaned up after a node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::link::Wire;
use super::pulse::peers;
use super::{Peers, Shared, scripts};
use crate::bus::{BusError, Epoch, Lease, NodeName, Sighting, Standing};
use crate::ids::UserId;

/// Leases written at once.
const AT_ONCE: usize = 128;
/// Users asked for by one pipeline.
const TOGETHER: usize = 512;
/// How long a bucket whose server did not answer is not asked for.
const SILENT: Duration = Duration::from_secs(1);
/// A user's sessions are forgotten after so many leases of their node without one of them being leased anew.
const KEPT_LEASES: u64 = 64;

/// Where users are.
pub struct Found {
    pub sightings: Vec<Sighting>,
    /// Of these it could not be found out.
    pub unknown: BTreeSet<UserId>,
    /// All nodes are known; else those of a while ago.
    pub all_nodes: bool,
}

/// A user's sessions as Redis keeps them: by device.
type Kept = Vec<(String, String)>;
/// Users who are asked for together; in a Cluster with their bucket.
type Group = (Option<u64>, Vec<UserId>);

impl Shared {
    pub(super) async fn lease(&self, leases: &[Lease]) -> Result<Vec<Standing>, BusError> {
        let writing = async {
            let mut written = Vec::with_capacity(leases.len());
            for leases in leases.chunks(AT_ONCE) {
                let writing: Vec<_> = leases.iter().map(|lease| self.lease_one(lease)).collect();
                written.extend(join_all(writing).await);
            }
            written
        };
        let (peers, written) = tokio::join!(self.ask_for_peers(), writing);
        let written: Result<Vec<(Option<Epoch>, Kept)>, BusError> = written.into_iter().collect();
        let (peers, written) = match (peers, written) {
            (Ok(peers), Ok(written)) => (peers, written),
            (Err(error), _) | (_, Err(error)) => {
                self.may_have_lost_some();
                return Err(error);
            }
        };
        let standing = |(lease, (epoch, before)): (&Lease, (Option<Epoch>, Kept))| {
            let mut others = sightings(lease.user, before, &peers);
            others.retain(|other| other.node != self.name || other.session != lease.session);
            Standing { epoch, others }
        };
        Ok(leases.iter().zip(written).map(standing).collect())
    }

    async fn lease_one(&self, lease: &Lease) -> Result<(Option<Epoch>, Kept), BusError> {
        let lease_ms = u64::try_from(self.pace.lease.as_millis()).unwrap_or(u64::MAX);
        let write = self.scripts.lease.key(scripts::sessions(lease.user));
        let write = write.arg(&lease.device).arg(&self.name);
        let write = write.arg(self.incarnation.load()).arg(lease.session);
        let write = write.arg(&lease.kind).arg(lease.epoch.0);
        let write = write.arg(lease_ms.saturating_mul(KEPT_LEASES));
        let write = write.arg(lease.since.elapsed().as_millis());
        let written = self.link.ask(|wire| write.run::<(u64, Kept)>(wire));
        let (epoch, before) = written.await?;
        Ok(((epoch > 0).then_some(Epoch(epoch)), before))
    }

    pub(super) async fn release(&self, leases: &[Lease]) -> Result<(), BusError> {
        for leases in leases.chunks(AT_ONCE) {
            let taking: Vec<_> = leases.iter().map(|lease| self.release_one(lease)).collect();
            let taken: Result<(), BusError> = join_all(taking).await.into_iter().collect();
            if taken.is_err() {
                self.may_have_lost_some();
                return taken;
            }
        }
        Ok(())
    }

    async fn release_one(&self, lease: &Lease) -> Result<(), BusError> {
        let take = self.scripts.release.key(scripts::sessions(lease.user));
        let take = take.arg(&lease.device).arg(&self.name).arg(lease.session);
        let taken = self.link.ask(|wire| take.run::<u64>(wire));
        taken.await.map(drop)
    }

    /// The other nodes, and where users are; all of it asked for at once.
    pub(super) async fn look_up(&self, users: &[UserId]) -> (Vec<NodeName>, Found) {
        let (groups, silent) = self.groups(users);
        let asking: Vec<_> = groups
            .iter()
            .map(|(_, users)| self.ask_for(users))
            .collect();
        let (peers, answers) = tokio::join!(self.ask_for_peers(), join_all(asking));
        let all_nodes = peers.is_ok();
        let peers = match peers {
            Ok(peers) => {
                self.remember_nodes(&peers);
                peers
            }
            Err(_) => Peers::clone(&self.peers.load()),
        };
        let mut found = Found {
            sightings: Vec::new(),
            unknown: silent,
            all_nodes,
        };
        for ((bucket, users), answer) in groups.into_iter().zip(answers) {
            match answer {
                Ok(kept) => {
                    for (user, kept) in users.into_iter().zip(kept) {
                        found.sightings.extend(sightings(user, kept, &peers));
                    }
                }
                Err(_) => {
                    found.unknown.extend(users);
                    if let Some(bucket) = bucket {
                        self.silent.lock().insert(bucket, Instant::now() + SILENT);
                        self.may_have_lost_some();
                    }
                }
            }
        }
        let others = peers.into_keys().filter(|name| *name != self.name);
        (others.collect(), found)
    }

    /// A server of a Cluster did not answer: it may come back, or another in its place, without what it was told last.
    /// Elsewhere a server that is lost takes the connection that hears with it, which is noticed.
    fn may_have_lost_some(&self) {
        if self.link.is_cluster() {
            self.must_resume();
        }
    }

    /// Users who are asked for together; and those who are not, since nobody would answer. In a Cluster those of one
    /// bucket, which names them.
    fn groups(&self, users: &[UserId]) -> (Vec<Group>, BTreeSet<UserId>) {
        if !self.link.is_cluster() {
            let together = users.chunks(TOGETHER).map(|users| (None, users.to_vec()));
            return (together.collect(), BTreeSet::new());
        }
        let mut by_bucket: BTreeMap<u64, Vec<UserId>> = BTreeMap::new();
        for &user in users {
            let bucket = by_bucket.entry(scripts::bucket(user)).or_default();
            bucket.push(user);
        }
        let now = Instant::now();
        let mut silent = self.silent.lock();
        silent.retain(|_, until| *until > now);
        let (mut asked, mut left) = (Vec::new(), BTreeSet::new());
        for (bucket, users) in by_bucket {
            if silent.contains_key(&bucket) {
                left.extend(users);
            } else {
                asked.push((Some(bucket), users));
            }
        }
        (asked, left)
    }

    async fn ask_for(&self, users: &[UserId]) -> Result<Vec<Kept>, BusError> {
        let mut pipeline = redis::pipe();
        for user in users {
            pipeline.cmd("HGETALL").arg(scripts::sessions(*user));
        }
        let pipeline = &pipeline;
        let asked = self
            .link
            .ask(|mut wire: Wire| async move { pipeline.query_async(&mut wire).await });
        asked.await
    }

    pub(super) async fn ask_for_peers(&self) -> Result<Peers, BusError> {
        let mut all = redis::cmd("HGETALL");
        all.arg(scripts::LIVE);
        let all = &all;
        let kept = self
            .link
            .ask(|mut wire: Wire| async move { all.query_async::<Kept>(&mut wire).await });
        kept.await.map(peers)
    }
}

/// The leases that are in force, of those that are kept: `epoch|node|incarnation|session|kind` by device.
fn sightings(user: UserId, kept: Kept, peers: &Peers) -> Vec<Sighting> {
    let seen = |(device, text): (String, String)| {
        let mut parts = text.splitn(5, '|');
        let epoch = Epoch(parts.next()?.parse().ok()?);
        let node = NodeName::new(parts.next()?).ok()?;
        let incarnation = parts.next()?;
        let session = parts.next()?.parse().ok()?;
        let kind = parts.next()?.to_owned();
        let in_force = peers.get(&node)?.incarnation == incarnation;
        in_force.then_some(Sighting {
            user,
            device,
            kind,
            session,
            epoch,
            node,
        })
    };
    kept.into_iter().filter_map(seen).collect()
}
