//! Which nodes run on this database: each has a number that its ids carry, says every second that it lives, and promises up
//! to which stamp it has nothing under way. Nobody compares clocks: a node that others have not seen move for a while is
//! taken for dead, and one whose document was taken away finds that out before it says anything more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use super::docs::{get_int, get_text, int};
use super::schema::NODES;
use super::{BEAT, Shared};
use crate::ids::EntryId;
use crate::store::StoreError;
use crate::store::mongo::{Mongo, Update};

/// A node that has not moved for so long holds nobody back any more.
const SILENT: Duration = Duration::from_secs(15);
/// After this its number may be another one's.
const DEAD: Duration = Duration::from_secs(60);
/// Numbers there are; 0 is a server without others.
const NUMBERS: u16 = 1023;

pub struct Node {
    number: u16,
    owner: String,
    others: Mutex<Others>,
}

#[derive(Default)]
struct Others {
    /// What each was last seen to say, and when that was new.
    seen: HashMap<u64, Seen>,
    /// The lowest stamp any of them promises; none where there are no others.
    promised: Option<u64>,
}

struct Seen {
    beat: u64,
    since: Instant,
}

impl Node {
    /// Takes a number that nobody has. With it, the highest stamp that was promised under it before.
    pub async fn begin(mongo: &Mongo) -> Result<(Self, u64), StoreError> {
        let owner = format!("{:016x}", rand::random::<u64>());
        let found = mongo.find(NODES, doc! {}, doc! {"_id": 1}, 0).await?;
        for number in 1..=u64::from(NUMBERS) {
            let known = found.iter().find(|one| number_of(one) == Some(number));
            if known.is_some_and(|known| get_text(known, "owner").is_some()) {
                continue;
            }
            let filter = doc! {"_id": int(number), "owner": null};
            let change = doc! {"$set": {"owner": &owner, "beat": int(0)}};
            let take = Update::upsert(filter, change).into_document();
            let written = mongo.update(NODES, vec![take]).await?;
            if written.duplicates.is_empty() && written.count > 0 {
                let floor = known.and_then(|known| get_int(known, "promise"));
                let node = Self {
                    number: u16::try_from(number).unwrap_or(NUMBERS),
                    owner,
                    others: Mutex::default(),
                };
                return Ok((node, floor.unwrap_or_default()));
            }
        }
        let taken = found.len();
        Err(StoreError::Unavailable(format!(
            "all {taken} numbers of nodes are in use"
        )))
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    /// Whether other nodes were seen to live.
    pub fn has_others(&self) -> bool {
        self.others.lock().promised.is_some()
    }

    pub fn owner(&self) -> &str {
        &self.owner
    }
}

fn number_of(document: &Document) -> Option<u64> {
    get_int(document, "_id")
}

/// Says that this node lives, until the log is closed; then gives its number back.
pub async fn live(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beat = 0;
    loop {
        ticks.tick().await;
        if shared.lanes.is_closed() && shared.lanes.is_idle() {
            return;
        }
        beat += 1;
        if let Err(error) = shared.beat(beat).await {
            tracing::debug!(%error, "this node could not say that it lives");
        }
    }
}

impl Shared {
    /// Up to this stamp, everything of every node is committed or never will be.
    pub fn settled(&self) -> u64 {
        let own = self.notes.settled(self.ids.last());
        let others = self.node.others.lock().promised;
        others.map_or(own, |others| others.min(own))
    }

    pub async fn beat(&self, beat: u64) -> Result<(), StoreError> {
        // Whatever is given out from here on is higher: an idle node holds nobody back.
        self.ids.raise(EntryId::first_at(self.clock.now_ms()).0);
        let promise = self.notes.settled(self.ids.last());
        let filter = doc! {"_id": int(u64::from(self.node.number)), "owner": &self.node.owner};
        let change = doc! {"$set": {"beat": int(beat)}, "$max": {"promise": int(promise)}};
        let update = Update::one(filter, change).into_document();
        let written = self.mongo.update(NODES, vec![update]).await?;
        if written.count == 0 {
            let why = "other nodes have given this one up: it was not heard of for too long";
            self.lanes.break_down(why.to_owned());
            return Ok(());
        }
        self.look_at_others().await
    }

    async fn look_at_others(&self) -> Result<(), StoreError> {
        let owned = doc! {"owner": {"$type": "string"}};
        let nodes = self.mongo.find(NODES, owned, doc! {"_id": 1}, 0).await?;
        let mut dead = Vec::new();
        {
            let mut others = self.node.others.lock();
            let mut promised: Option<u64> = None;
            let mut there = Vec::new();
            for node in &nodes {
                let number = number_of(node).unwrap_or_default();
                if number == u64::from(self.node.number) {
                    continue;
                }
                there.push(number);
                let beat = get_int(node, "beat").unwrap_or_default();
                let seen = others.seen.entry(number).or_insert_with(|| Seen {
                    beat,
                    since: Instant::now(),
                });
                if seen.beat != beat {
                    (seen.beat, seen.since) = (beat, Instant::now());
                }
                let silent = seen.since.elapsed();
                if silent > DEAD {
                    dead.push((number, beat));
                } else if silent < SILENT {
                    let promise = get_int(node, "promise").unwrap_or_default();
                    promised = Some(promised.map_or(promise, |known| known.min(promise)));
                }
            }
            others.seen.retain(|number, _| there.contains(number));
            others.promised = promised;
        }
        for (number, beat) in dead {
            let filter = doc! {"_id": int(number), "beat": int(beat)};
            let give_up = Update::one(filter, doc! {"$set": {"owner": null}});
            self.mongo
                .update(NODES, vec![give_up.into_document()])
                .await?;
        }
        Ok(())
    }

    /// Gives the number back.
    pub async fn leave(&self) -> Result<(), StoreError> {
        let filter = doc! {"_id": int(u64::from(self.node.number)), "owner": &self.node.owner};
        let last = int(self.ids.last());
        let change = doc! {"$set": {"owner": null}, "$max": {"promise": last}};
        let update = Update::one(filter, change).into_document();
        self.mongo.update(NODES, vec![update]).await.map(drop)
    }
}
