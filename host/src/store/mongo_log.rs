//! The message log in MongoDB, for many nodes at once. Implements `MessageLog`; knows no other adapter. One document commits
//! a change (`compose`); whose turn it is in a conversation its number settles (`commit`); what follows from it is projected
//! (`apply`) and told (`feed`). Why: `host/decisions/0019-one-document-commits-and-its-number-settles-the-race.md`.

mod apply;
mod commit;
mod compose;
mod docs;
mod engine;
mod feed;
mod housekeeping;
mod insert;
mod judged;
mod kv;
mod lanes;
mod lists;
mod media;
mod nodes;
mod notes;
mod own;
mod portable;
mod readers;
mod reads;
mod rosters;
pub mod schema;
mod seam;
mod settle;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mongodb::bson::doc;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;

use self::feed::Teller;
use self::lanes::Lanes;
use self::nodes::Node;
use self::notes::Notes;
use self::rosters::Rosters;
use super::judged::BesideLimits;
use super::mongo::{Mongo, MongoSettings};
use super::{Settlement, StoreError};
use crate::clock::Clock;
use crate::ids::IdSource;
use crate::store::log::in_flight::Counts;

/// Runs of a lane whose settlements may wait to be delivered.
const SETTLED_RUNS: usize = 64;
/// Lanes that commit at the same time.
const HANDS: usize = 64;
/// How often a node says that it lives, and looks what others say.
const BEAT: Duration = Duration::from_secs(1);
/// How often the feed's end is looked for, where other nodes write it.
const LOOK: Duration = Duration::from_millis(250);
/// How often commits are looked for whose node did not finish with them.
const SWEEP: Duration = Duration::from_secs(5);

/// What every part of an open log shares.
pub struct Shared {
    mongo: Mongo,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    node: Node,
    /// Which database this is; in every token.
    instance: u64,
    lanes: Lanes,
    /// `None` once the log is closed: whoever takes them is to see their end.
    settlements: Mutex<Option<mpsc::Sender<Vec<Settlement>>>>,
    in_flight: Counts,
    notes: Notes,
    rosters: Rosters,
    teller: Teller,
    beside: Mutex<BesideLimits>,
    runs: AtomicU64,
    changes: AtomicU64,
    inserts: AtomicU64,
    lost: AtomicU64,
}

/// An open log, with the threads that do its work.
pub struct MongoLog {
    shared: Arc<Shared>,
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
}

/// An open log and the channel its settlements come through.
pub type Opened = (Arc<MongoLog>, mpsc::Receiver<Vec<Settlement>>);

/// What an open log has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Round trips to the server that read, and that wrote.
    pub reads: u64,
    pub writes: u64,
    /// Runs of changes that were committed, and the changes in them.
    pub runs: u64,
    pub changes: u64,
    /// Commands that inserted commits: what stands between a change and its answer.
    pub inserts: u64,
    /// Runs that another node was faster than.
    pub lost: u64,
}

impl MongoLog {
    /// Connects, brings the database to this program's version, and takes a node's number.
    pub async fn open(
        settings: &MongoSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Opened, StoreError> {
        // Its own, so that what waits on a message's path without being async never waits for itself.
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(HANDS + 8)
            .thread_name("kith-mongo")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Unavailable(format!("threads for MongoDB: {error}")))?;
        let handle = runtime.handle().clone();
        let (sender, receiver) = mpsc::channel(SETTLED_RUNS);
        let opening = begin(settings.clone(), clock, sender);
        match handle.spawn(opening).await.map_err(ended)? {
            Ok(shared) => {
                let log = Self {
                    shared,
                    handle,
                    runtime: Mutex::new(Some(runtime)),
                };
                Ok((Arc::new(log), receiver))
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// The number this node's ids carry.
    pub fn number(&self) -> u16 {
        self.shared.node.number()
    }

    pub fn counted(&self) -> Counted {
        let shared = &self.shared;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (reads, writes) = shared.mongo.round_trips();
        Counted {
            reads,
            writes,
            runs: read(&shared.runs),
            changes: read(&shared.changes),
            inserts: read(&shared.inserts),
            lost: read(&shared.lost),
        }
    }

    /// Does something in the log's own threads: its connections live there.
    async fn on<T, F>(&self, work: impl FnOnce(Arc<Shared>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let work = work(self.shared.clone());
        self.handle.spawn(work).await.map_err(ended)?
    }
}

/// Has a future run in the log's threads and waits for it in this one.
fn waits<T: Send + 'static>(
    handle: &Handle,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    handle.spawn(async move {
        let _ = sender.send(work.await);
    });
    receiver.recv().map_err(ended)?
}

fn ended(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("the message log has ended: {error}"))
}

async fn begin(
    settings: MongoSettings,
    clock: Arc<dyn Clock>,
    settlements: mpsc::Sender<Vec<Settlement>>,
) -> Result<Arc<Shared>, StoreError> {
    let mongo = Mongo::connect(&settings).await?;
    schema::bring(&mongo).await?;
    let instance = instance(&mongo).await?;
    let (node, floor) = Node::begin(&mongo).await?;
    let ids = IdSource::new(node.number(), floor);
    let (teller, told) = Teller::begin(&mongo).await?;
    let shared = Arc::new(Shared {
        mongo,
        clock,
        ids,
        node,
        instance,
        lanes: Lanes::new(HANDS),
        settlements: Mutex::new(Some(settlements)),
        in_flight: Counts::default(),
        notes: Notes::default(),
        rosters: Rosters::default(),
        teller,
        beside: Mutex::default(),
        runs: AtomicU64::new(0),
        changes: AtomicU64::new(0),
        inserts: AtomicU64::new(0),
        lost: AtomicU64::new(0),
    });
    tokio::spawn(feed::tell(shared.clone(), told));
    tokio::spawn(nodes::live(shared.clone()));
    tokio::spawn(every(shared.clone(), LOOK, |shared| async move {
        shared.look_for_news().await
    }));
    tokio::spawn(every(shared.clone(), SWEEP, |shared| async move {
        shared.sweep().await
    }));
    Ok(shared)
}

/// Does something again and again until the log is closed. What fails is tried again the next time.
async fn every<F>(shared: Arc<Shared>, pause: Duration, work: impl Fn(Arc<Shared>) -> F)
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if shared.lanes.is_closed() {
            return;
        }
        if let Err(error) = work(shared.clone()).await {
            tracing::debug!(%error, "MongoDB did not answer; trying again");
        }
    }
}

/// The database's own number, given by whoever came first.
async fn instance(mongo: &Mongo) -> Result<u64, StoreError> {
    let fresh = docs::int(rand::random::<u64>() >> 1);
    let make = doc! {
        "q": {"_id": "instance"},
        "u": {"$setOnInsert": {"value": fresh}},
        "upsert": true,
    };
    mongo.update(schema::META, vec![make]).await?;
    let made = mongo
        .find_one(schema::META, doc! {"_id": "instance"})
        .await?;
    made.and_then(|made| docs::get_int(&made, "value"))
        .ok_or_else(|| docs::damaged("the database's number"))
}

impl Drop for MongoLog {
    fn drop(&mut self) {
        self.shared.lanes.close();
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}
