//! The bus between nodes: what one node says to the sessions on others, who is connected where, rates that nodes share,
//! which nodes there are. Types and the seam; no I/O.
//!
//! Everything the bus carries is a hint or can be had again: the log and the store are the truth. What is lost is told
//! (`Received::Behind`, `Received::Resumed`), so that sessions read what they missed.

pub mod local;
pub mod redis;
pub mod turns;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::ids::{ConversationId, SessionId, UserId};
use crate::session::Bye;

/// Users one whereabouts lookup is made for; larger rooms are told everywhere instead.
pub const LOOKED_UP_MOST: usize = 512;

/// A node's name, unique in a cluster: 1 to 64 of letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeName(Arc<str>);

/// A text that no node may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a node's name is 1 to 64 letters, digits, '-', '_' and '.'")]
pub struct NotAName;

impl NodeName {
    pub fn new(name: &str) -> Result<Self, NotAName> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
            return Err(NotAName);
        }
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which of a device's connections is the newer one, whichever nodes they are on. Given by the bus; rises.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Of a connection that has not been given one.
    pub const NEW: Self = Self(0);
}

/// A session's claim to be found: in force as long as its node's own lease, which the node renews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub user: UserId,
    pub device: String,
    /// The device's kind.
    pub kind: String,
    pub session: SessionId,
    /// `Epoch::NEW` for a new connection, what it was given for one that is leased anew.
    pub epoch: Epoch,
    /// When the connection was made: one that is leased late, as new, is older than what came meanwhile.
    pub since: Instant,
}

/// A session as any node finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    pub user: UserId,
    pub device: String,
    pub kind: String,
    pub session: SessionId,
    pub epoch: Epoch,
    pub node: NodeName,
}

/// What became of a lease that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// `None` when the device has a newer connection: this one is over.
    pub epoch: Option<Epoch>,
    /// The user's other sessions, the same device's older one among them.
    pub others: Vec<Sighting>,
}

/// To whom something is said. Never to the node that says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// The nodes where these users' sessions are; each is told of its own users only.
    Users,
    /// Every other node.
    Everywhere,
    Node(NodeName),
}

/// An entry's place, for those who have to keep the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub conversation: ConversationId,
    pub seq: u64,
}

/// What one node says to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parcel {
    /// An event, as JSON, for every session of these users.
    Event {
        users: Vec<UserId>,
        json: Bytes,
    },
    /// An entry for members of a room, each kind of viewer with the event it gets.
    Entered {
        place: Place,
        views: Vec<(Vec<UserId>, Bytes)>,
    },
    /// An entry for all members of a large room; each node knows its own.
    Entry {
        place: Place,
        author: UserId,
        /// As the author's own devices get it.
        own: Bytes,
        /// As everybody else does.
        json: Bytes,
    },
    /// These users' (none named: all members') summary of a conversation changed; each node reads it for its own.
    Summary {
        conversation: ConversationId,
        users: Option<Vec<UserId>>,
    },
    /// Something was committed that could not be told: sessions read it.
    Behind,
    Signal(Signal),
}

impl Parcel {
    /// The users it names.
    pub fn users(&self) -> Vec<UserId> {
        match self {
            Self::Event { users, .. }
            | Self::Summary {
                users: Some(users), ..
            } => users.clone(),
            Self::Entered { views, .. } => {
                let each = views.iter().flat_map(|(users, _)| users);
                each.copied().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The part of it for some of the users it names; none when it names others only. One that names nobody is whole.
    pub fn part_for(&self, is_there: impl Fn(UserId) -> bool) -> Option<Self> {
        let there = |users: &[UserId]| -> Option<Vec<UserId>> {
            let users = users.iter().copied().filter(|user| is_there(*user));
            let users: Vec<UserId> = users.collect();
            (!users.is_empty()).then_some(users)
        };
        match self {
            Self::Event { users, json } => Some(Self::Event {
                users: there(users)?,
                json: json.clone(),
            }),
            Self::Entered { place, views } => {
                let part =
                    |(users, json): &(Vec<UserId>, Bytes)| Some((there(users)?, json.clone()));
                let views: Vec<_> = views.iter().filter_map(part).collect();
                (!views.is_empty()).then_some(Self::Entered {
                    place: *place,
                    views,
                })
            }
            Self::Summary {
                conversation,
                users: Some(users),
            } => Some(Self::Summary {
                conversation: *conversation,
                users: Some(there(users)?),
            }),
            other => Some(other.clone()),
        }
    }
}

/// What ends, changed or is ready, told to all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// Sessions of a user end: of one device or all, except one device.
    EndUser {
        user: UserId,
        device: Option<String>,
        except: Option<String>,
        bye: Bye,
    },
    /// Every session of a device ends, whoever's it is.
    EndDevice { device: String, bye: Bye },
    /// One session ends.
    EndSession {
        user: UserId,
        session: SessionId,
        bye: Bye,
    },
    /// Sessions of these users came or went.
    Presence(Vec<UserId>),
    /// The bans in the store changed.
    Bans,
    /// The node that says it has this generation of plugins loaded and warm.
    Ready { generation: u64 },
    /// This generation is in force.
    Activate { generation: u64 },
}

/// How a node stands to generations of plugins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// The newest one it has loaded.
    pub ready: u64,
    /// The one it judges by.
    pub serving: u64,
}

/// A node, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: NodeName,
    pub state: NodeState,
    /// Its lease is in force.
    pub live: bool,
    /// When it last renewed its lease, milliseconds since 1970 UTC by the bus's clock.
    pub last_seen_ms: u64,
}

/// What arrives at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// In the order they were said.
    Parcels {
        from: NodeName,
        parcels: Vec<Parcel>,
    },
    /// Something that was said to this node is lost.
    Behind,
    /// This node was cut off and is back: nothing it leased is known any more, and what was said meanwhile is lost.
    Resumed,
    /// A node is gone, its sessions with it. What it committed and had not said yet is said by nobody.
    Gone(NodeName),
}

/// A rate that nodes count together: a bucket of `burst`, one of which comes back every `refill`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// What is counted; any text.
    pub key: String,
    /// At least 1.
    pub burst: u32,
    pub refill: Duration,
}

/// The answer to one more of what a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// Not before this time has passed.
    After(Duration),
}

/// Round trips to the servers that carry the bus, since this node began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// All of them.
    pub requests: u64,
    /// Those that said something to another node.
    pub published: u64,
}

/// How the bus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Ok,
    /// Other nodes cannot be reached now; what is said to them is made up for later.
    Degraded,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
        }
    }
}

/// Why the bus did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Now; it is being tried to get it back.
    #[error("the bus cannot be reached: {0}")]
    Unavailable(String),
    /// What cannot be mended by waiting.
    #[error("the bus refuses: {0}")]
    Refused(String),
}

/// The bus as one node has it. Nothing here waits longer than a bounded while, and `send` does not wait at all.
#[async_trait]
pub trait Bus: Send + Sync + fmt::Debug + 'static {
    fn node(&self) -> &NodeName;

    /// No other node can hear this one: whoever would say something need not even prepare it.
    fn is_alone(&self) -> bool;

    /// Says something. Queued; what does not fit is dropped and told as `Behind` to whom it was for.
    fn send(&self, to: To, parcel: Parcel);

    /// Leases sessions of this node, in this order. A device's newer connection wins, on whatever node it is and whichever
    /// is leased first.
    async fn lease(&self, leases: &[Lease]) -> Result<Vec<Standing>, BusError>;

    /// These sessions of this node are over. Takes away exactly them: a newer connection of the same device stays.
    async fn release(&self, leases: &[Lease]) -> Result<(), BusError>;

    /// Every session of these users, on all nodes, this one's too.
    async fn whereabouts(&self, users: &[UserId]) -> Result<Vec<Sighting>, BusError>;

    /// One more of what a rate counts.
    async fn take(&self, rate: &Rate) -> Result<Taken, BusError>;

    /// The nodes by name, this one among them; those that have gone for a day after.
    async fn nodes(&self) -> Result<Vec<Node>, BusError>;

    /// How this node stands to generations, for `nodes`.
    fn announce(&self, state: NodeState);

    fn health(&self) -> Health;

    /// What this node has asked of the servers that carry the bus.
    fn counted(&self) -> Counted {
        Counted::default()
    }

    /// Ends this node's leases at once and tells the others. Nothing is sent or received any more.
    async fn leave(&self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_name_is_short_and_plain() {
        for fine in ["a", "node-1.example_org", &"n".repeat(64)] {
            assert_eq!(NodeName::new(fine).expect("fine").as_str(), fine);
        }
        for wrong in ["", "a b", "a|b", "a{b}", "ü", &"n".repeat(65)] {
            assert_eq!(NodeName::new(wrong), Err(NotAName), "{wrong}");
        }
    }
}
