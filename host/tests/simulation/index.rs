//! An index that only remembers: the host's own indexer follows the feed into it. It is checked that the feed tells every
//! entry once and each conversation's in order, whatever becomes of the node that follows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use kith::entry::Seq;
use kith::ids::ConversationId;
use kith::search::{Candidate, IndexChange, Query, Search, SearchError};
use kith::store::feed::FeedPosition;
use parking_lot::Mutex;

use super::chance::{Sim, wrong};
use super::store::short;

type Place = (ConversationId, Seq);

#[derive(Default)]
struct Inner {
    found: BTreeSet<Place>,
    newest: BTreeMap<ConversationId, Seq>,
    position: Option<FeedPosition>,
    pending: Vec<IndexChange>,
}

pub struct Index {
    sim: Arc<Sim>,
    inner: Mutex<Inner>,
}

impl Index {
    pub fn new(sim: &Arc<Sim>) -> Arc<Self> {
        Arc::new(Self {
            sim: sim.clone(),
            inner: Mutex::default(),
        })
    }

    /// What can be found.
    pub fn found(&self) -> BTreeSet<Place> {
        self.inner.lock().found.clone()
    }

    fn take(&self, inner: &mut Inner, change: &IndexChange) {
        match change {
            IndexChange::Add(added) => {
                let (lane, seq) = (added.conversation, added.seq);
                let newest = inner.newest.entry(lane).or_default();
                if seq <= *newest {
                    wrong!(
                        self.sim,
                        "feed: {seq} of {} is told after {newest}",
                        short(lane)
                    );
                }
                *newest = seq;
                inner.found.insert((lane, seq));
            }
            IndexChange::Replace(kept) => {
                inner.found.insert((kept.conversation, kept.seq));
            }
            IndexChange::Remove {
                conversation, seq, ..
            } => {
                inner.found.remove(&(*conversation, *seq));
            }
            IndexChange::RemoveBelow { .. } | IndexChange::RemoveConversation(_) => {}
        }
    }
}

type Done<T> = Result<T, SearchError>;

#[async_trait]
impl Search for Index {
    async fn open(&self) -> Done<Option<FeedPosition>> {
        let mut inner = self.inner.lock();
        inner.pending.clear();
        Ok(inner.position.clone())
    }

    async fn clear(&self) -> Done<()> {
        *self.inner.lock() = Inner::default();
        Ok(())
    }

    async fn apply(&self, mut changes: Vec<IndexChange>) -> Done<()> {
        self.inner.lock().pending.append(&mut changes);
        Ok(())
    }

    async fn commit(&self, at: &FeedPosition, _: u64) -> Done<()> {
        let mut inner = self.inner.lock();
        for change in std::mem::take(&mut inner.pending) {
            self.take(&mut inner, &change);
        }
        inner.position = Some(at.clone());
        Ok(())
    }

    async fn find(&self, _: Query) -> Done<Vec<Candidate>> {
        Ok(Vec::new())
    }

    fn removed_at(&self) -> Option<u64> {
        None
    }

    async fn purge(&self) -> Done<()> {
        Ok(())
    }

    async fn close(&self) {}
}
