//! A rebuild: the new version's observer is shown the newest commits, up to where the version before stands, and what it
//! keeps becomes its state. Of what it decides nothing else is done.

use std::sync::Arc;

use kith_runtime::{AfterCall, Binding, Event, Generation, Hook, Observed};

use super::Moving;
use crate::ids::UserId;
use crate::journey::store_refusal;
use crate::plugins::after::abilities::{Call, Cause};
use crate::plugins::after::effects::write;
use crate::plugins::after::events::Placed;
use crate::plugins::after::follow::BATCH;
use crate::plugins::after::{Bound, consumer_name};
use crate::refusal::Refusal;
use crate::store::feed::FeedPosition;
use crate::store::kv::KvChange;

/// Most commits that are shown.
const COMMITS_MOST: u64 = 1_000_000;
/// Calls for one event before it is passed over.
const TRIES: u32 = 3;

/// Where a rebuild stands.
pub struct Rebuild {
    consumer: String,
    at: FeedPosition,
    account: UserId,
}

impl Rebuild {
    /// So many commits before the place where the version before stands.
    pub async fn begin(moving: &Moving, commits: u64) -> Result<Self, Refusal> {
        let hooks = &moving.version.inspection().hooks;
        if !hooks.contains(&Hook::Observer) {
            return Err(Refusal::bad_request(format!(
                "{} wants its state rebuilt and exports no observer that could be shown anything",
                moving.plugin
            )));
        }
        let commits = commits.min(COMMITS_MOST);
        moving.progress(|progress| progress.of = commits);
        let consumer = consumer_name(&moving.plugin, Hook::Observer);
        let feed = &moving.shared.feed;
        let stands = feed
            .cursor(&consumer)
            .await
            .map_err(|e| store_refusal(&e))?;
        let stands = stands.unwrap_or_else(|| feed.feed_end());
        let at = feed.feed_before(&stands, commits).await;
        Ok(Self {
            at: at.map_err(|e| store_refusal(&e))?,
            account: moving.shared.account(&moving.plugin).await?,
            consumer,
        })
    }
}

impl Moving {
    /// Shows everything between the rebuild's place and the one where the version before stands now.
    pub(super) async fn replay(&mut self) -> Result<(), Refusal> {
        let Some(mut rebuild) = self.rebuild.take() else {
            return Ok(());
        };
        let feed = self.shared.feed.clone();
        let stands = feed.cursor(&rebuild.consumer).await;
        let stands = stands.map_err(|e| store_refusal(&e))?;
        let until = stands.and_then(|at| feed.stamp(&at)).unwrap_or(u64::MAX);
        let bound = self.bound();
        loop {
            let page = feed.feed(&rebuild.at, BATCH).await;
            let mut page = page.map_err(|e| store_refusal(&e))?;
            let within = page.places.partition_point(|stamp| *stamp <= until);
            let reached = within < page.places.len();
            page.items.truncate(within);
            page.places.truncate(within);
            let events = self.shared.events(&page, bound.binding().scope).await;
            let events = events.map_err(|e| store_refusal(&e))?;
            self.show(&bound, rebuild.account, &events).await?;
            self.progress(|progress| progress.done += within as u64);
            rebuild.at = match page.places.last() {
                Some(last) if reached => feed.place(*last),
                _ if reached => rebuild.at,
                _ => page.next,
            };
            if reached || !page.more {
                break;
            }
        }
        self.rebuild = Some(rebuild);
        Ok(())
    }

    /// The version's observer as it will be bound, with nothing granted but what it keeps.
    fn bound(&self) -> Bound {
        let mut bindings = Vec::new();
        if let Some(mut binding) = Binding::as_wished(&self.version, Hook::Observer) {
            binding.namespace = self.new.clone();
            binding.grants = Arc::new(self.grants.only("kv"));
            bindings.push(binding);
        }
        Bound {
            generation: Arc::new(Generation::new(0, bindings)),
            place: 0,
        }
    }

    /// A batch, and where calls for it fail, its events one at a time.
    async fn show(&self, bound: &Bound, account: UserId, events: &[Placed]) -> Result<(), Refusal> {
        let mut begin = 0;
        let (mut most, mut tries) = (events.len(), 0);
        while begin < events.len() {
            let shown = &events[begin..events.len().min(begin + most)];
            match self.observe(bound, account, shown).await {
                Some(observed) if observed.done > 0 => {
                    begin += observed.done as usize;
                    tries = 0;
                    self.keep(bound, observed).await?;
                }
                _ if most > 1 => most = 1,
                _ if tries < TRIES => tries += 1,
                _ => {
                    let event = &shown[0].event.id;
                    tracing::warn!(
                        plugin = &*self.plugin,
                        event,
                        "a rebuild passes over an event"
                    );
                    (begin, tries) = (begin + 1, 0);
                }
            }
        }
        Ok(())
    }

    async fn observe(&self, bound: &Bound, account: UserId, events: &[Placed]) -> Option<Observed> {
        let shown: Arc<[Event]> = events.iter().map(|placed| placed.event.clone()).collect();
        let cause = Cause {
            name: shown.first()?.id.clone(),
            conversations: Vec::new(),
            depth: 0,
            answering: None,
        };
        let who = (&self.plugin, Hook::Observer);
        let call = AfterCall {
            grants: bound.binding().grants.clone(),
            host: Call::new(&self.shared, who, account, bound, cause),
            namespace: self.new.clone(),
            now_ms: self.shared.journey.clock.now_ms(),
        };
        let observed = bound.binding().observe(call, shown).await;
        observed
            .inspect_err(|failure| tracing::debug!(plugin = &*self.plugin, %failure, "a rebuild's call failed"))
            .ok()
    }

    async fn keep(&self, bound: &Bound, observed: Observed) -> Result<(), Refusal> {
        let mut writes = Vec::new();
        for effect in observed.effects {
            let effect = effect.effect;
            let value = match effect.kind.as_str() {
                "kv-put" => Some(effect.value),
                "kv-delete" => None,
                _ => continue,
            };
            writes.push(write(bound.binding(), effect.key, value)?);
        }
        if writes.is_empty() {
            return Ok(());
        }
        let change = KvChange {
            namespace: self.new.to_string(),
            writes,
            quota: self.grants.kv_bytes(),
            cursor: None,
        };
        self.shared.settle_kv(change).await.map(drop)
    }
}
