//! What one node does for all: whose turn it is. Nodes that live share it out by their names, each thing for itself, so that it
//! changes hands only when its node goes or a node comes that it falls to.
//!
//! Two may believe it for a moment, one that is cut off for longer: what must happen once is fenced where it is written.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{Bus, NodeName};

/// How often it is looked who lives.
const LOOK: Duration = Duration::from_secs(1);

/// Shares out what one node does for all.
#[derive(Debug)]
pub struct Turns {
    bus: Arc<dyn Bus>,
    live: watch::Sender<Arc<[NodeName]>>,
}

impl Turns {
    /// A node that is alone has every turn, one among others none before `run` has looked.
    pub fn new(bus: Arc<dyn Bus>) -> Arc<Self> {
        let live: Arc<[NodeName]> = match bus.is_alone() {
            true => Arc::from([bus.node().clone()]),
            false => Arc::from([]),
        };
        let live = watch::Sender::new(live);
        Arc::new(Self { bus, live })
    }

    /// Looks again and again who lives; ends at once where this node is alone. Without the bus it stays as it was.
    pub async fn run(self: Arc<Self>) {
        while !self.bus.is_alone() {
            if let Ok(nodes) = self.bus.nodes().await {
                let live = nodes.into_iter().filter(|node| node.live);
                let live: Vec<NodeName> = live.map(|node| node.name).collect();
                // Who is not there itself is only just back, and so are others.
                if live.contains(self.bus.node()) {
                    self.saw(live);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn saw(&self, now: Vec<NodeName>) {
        self.live.send_if_modified(|live| {
            let changed = **live != *now;
            if changed {
                *live = now.into();
            }
            changed
        });
    }

    pub fn is_own(&self, what: &str) -> bool {
        self.whose(what)
            .is_some_and(|node| node == *self.bus.node())
    }

    /// None until it was looked.
    pub fn whose(&self, what: &str) -> Option<NodeName> {
        whose(&self.live.borrow(), what).cloned()
    }

    /// Whether there are others to share with.
    pub fn are_shared(&self) -> bool {
        !self.bus.is_alone()
    }

    /// Changes when turns may have.
    pub fn changes(&self) -> watch::Receiver<Arc<[NodeName]>> {
        self.live.subscribe()
    }
}

/// The highest of the hashes of the names, each with what it is about.
fn whose<'a>(live: &'a [NodeName], what: &str) -> Option<&'a NodeName> {
    live.iter().max_by_key(|node| {
        let mut hash = Sha256::new();
        hash.update(what.as_bytes());
        hash.update([0]);
        hash.update(node.as_str().as_bytes());
        hash.finalize()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_leaves_is_shared_out_and_nothing_else_changes_hands() {
        let names = ["a", "b", "c"].map(|name| NodeName::new(name).expect("a name"));
        let things: Vec<String> = (0..300).map(|n| format!("thing/{n}")).collect();
        let mut shares = [0; 3];
        for thing in &things {
            let first = whose(&names, thing).expect("somebody");
            let at = names.iter().position(|name| name == first);
            shares[at.expect("one of them")] += 1;
            let without_c = whose(&names[..2], thing).expect("somebody");
            assert!(first == without_c || *first == names[2], "{thing}");
        }
        assert!(shares.iter().all(|share| *share > 50), "{shares:?}");
        assert_eq!(whose(&[], "thing"), None);
    }
}
