//! The embedded log and the one in MongoDB are given the same changes, made up from a seed, and have to say the same: what
//! came of each, and everything that can be read afterwards. Ids differ, and are told apart by their order.

pub mod made_up;
pub mod told;

use std::sync::Arc;
use std::time::Duration;

use kith::clock::{Clock, ManualClock};
use kith::ids::{HoldId, JoinRequestId};
use kith::store::embedded_log::EmbeddedLog;
use kith::store::feed::Feed;
use kith::store::judged::Judged;
use kith::store::kv::PluginKv;
use kith::store::mongo_log::MongoLog;
use kith::store::{Change, CommitError, MessageLog, Origin, Outcome, Settlement, Submission};
use tokio::sync::mpsc;

use super::server::shared;
use made_up::Source;

const PATIENCE: Duration = Duration::from_secs(60);
const STEPS: usize = 400;
/// Steps between two looks at everything.
const LOOKS_EVERY: usize = 40;

/// One of both logs.
pub struct Twin {
    pub log: Arc<dyn MessageLog>,
    pub kv: Arc<dyn PluginKv>,
    pub feed: Arc<dyn Feed>,
    pub judged: Arc<dyn Judged>,
    settlements: mpsc::Receiver<Vec<Settlement>>,
    /// What was held and who asked, in order: by these places both know them.
    pub holds: Vec<HoldId>,
    pub requests: Vec<JoinRequestId>,
    /// Where each user's last `changes` ended.
    pub tokens: Vec<String>,
}

impl Twin {
    pub fn of<L>((log, settlements): (Arc<L>, mpsc::Receiver<Vec<Settlement>>)) -> Self
    where
        L: MessageLog + PluginKv + Feed + Judged,
    {
        let tokens = made_up::USERS.iter().map(|_| log.now_token()).collect();
        Self {
            kv: log.clone(),
            feed: log.clone(),
            judged: log.clone(),
            log,
            settlements,
            holds: Vec::new(),
            requests: Vec::new(),
            tokens,
        }
    }

    pub async fn settle(&mut self, change: Change) -> Result<Outcome, CommitError> {
        let origin = Origin::None;
        if self.log.submit(Submission { change, origin }).is_err() {
            panic!("the change was not taken");
        }
        let settled = tokio::time::timeout(PATIENCE, self.settlements.recv()).await;
        let mut settled = settled.expect("in time").expect("an open log");
        let result = settled.remove(0).result;
        match &result {
            Ok(Outcome::Held { hold, .. }) if !self.holds.contains(hold) => self.holds.push(*hold),
            Ok(Outcome::Group(done)) => {
                let new = done.request.filter(|one| !self.requests.contains(one));
                self.requests.extend(new);
            }
            _ => {}
        }
        result
    }
}

async fn both_say_the_same(seed: u64) {
    let server = shared().await;
    let clock = Arc::new(ManualClock::at(1_790_000_000_000));
    let shared_clock: Arc<dyn Clock> = clock.clone();
    let folder = tempfile::tempdir().expect("a folder");
    let embedded = EmbeddedLog::open(folder.path(), shared_clock.clone()).expect("opens");
    let in_mongo = MongoLog::open(&server.database(), shared_clock).await;
    let mut one = Twin::of(embedded);
    let mut other = Twin::of(in_mongo.expect("opens"));
    let mut source = Source::new(seed);
    for step in 0..STEPS {
        clock.advance(source.below(2_000) + 1);
        let made = source.change(one.holds.len(), one.requests.len());
        let change = made(&one);
        let asked = format!("seed {seed}, step {step}: {change:?}");
        let here = one.settle(change).await;
        let there = other.settle(made(&other)).await;
        assert_eq!(told::outcome(&here), told::outcome(&there), "{asked}");
        if step % LOOKS_EVERY == LOOKS_EVERY - 1 {
            let here = told::everything(&mut one, &source, clock.now_ms()).await;
            let there = told::everything(&mut other, &source, clock.now_ms()).await;
            for (here, there) in here.iter().zip(&there) {
                assert_eq!(here, there, "seed {seed}, after step {step}");
            }
            assert_eq!(here.len(), there.len());
        }
    }
    let stretches = told::feed(&one, None).await;
    let count = stretches.len();
    assert_eq!(
        stretches,
        told::feed(&other, Some(count)).await,
        "seed {seed}"
    );
}

#[tokio::test]
async fn both_engines_say_the_same_of_the_same_changes() {
    for seed in 1..=3 {
        both_say_the_same(seed).await;
    }
}
