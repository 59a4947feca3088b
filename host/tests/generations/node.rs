//! Nodes that share a bus and a store, in one process: the second half of the store is in memory here, so that it can be
//! cut, refuse or wait for one node alone. Holds no assertions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kith::bus::local::{Hub, LocalBus};
use kith::bus::{self, Bus, NodeName, Parcel, Received, Signal};
use kith::clock::{Clock, SystemClock};
use kith::content::ContentLimits;
use kith::ids::IdSource;
use kith::plugins::rollout::{Among, AmongRules, Rollout, RolloutRules, Signatures};
use kith::plugins::words::{FILTER, Word, Words};
use kith::plugins::{Scope, Text, Verdict};
use kith::store::StoreError;
use kith::store::accounts::Accounts;
use kith::store::embedded_log::EmbeddedLog;
use kith::store::generations::{SharedGenerations, Standing};
use kith::store::sqlite_accounts::SqliteAccounts;
use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::until;
use crate::support::plugins_folder;

/// How long a node that vanished counts as there.
const LEASE: Duration = Duration::from_millis(200);

/// What all nodes share.
pub struct Cluster {
    folder: TempDir,
    hub: Arc<Hub>,
    log: Arc<EmbeddedLog>,
    accounts: Arc<SqliteAccounts>,
    kept: Arc<Kept>,
    numbers: Mutex<u16>,
}

/// The generation in force, and the provisions.
#[derive(Default)]
struct Kept {
    in_force: Mutex<u64>,
    provisions: Mutex<HashMap<String, Vec<u8>>>,
}

/// One node's way to the store.
struct Wire {
    kept: Arc<Kept>,
    accounts: Arc<SqliteAccounts>,
    cut: AtomicBool,
    without_provisions: AtomicBool,
    /// Nothing is put in force: whoever wants it waits for ever.
    stuck: AtomicBool,
}

impl Wire {
    fn check(&self) -> Result<(), StoreError> {
        match self.cut.load(Ordering::Acquire) {
            true => Err(StoreError::Unavailable("cut off".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl SharedGenerations for Wire {
    async fn standing(&self) -> Result<Standing, StoreError> {
        self.check()?;
        let in_force = *self.kept.in_force.lock();
        let newest = self.accounts.newest_generation().await?;
        Ok(Standing {
            newest: newest.map_or(0, |newest| newest.number),
            in_force,
        })
    }

    async fn put_in_force(&self, number: u64) -> Result<u64, StoreError> {
        if self.stuck.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
        self.check()?;
        let mut in_force = self.kept.in_force.lock();
        *in_force = number.max(*in_force);
        Ok(*in_force)
    }

    async fn put_provision(&self, name: &str, bytes: &[u8], _: u64) -> Result<(), StoreError> {
        self.check()?;
        let mut provisions = self.kept.provisions.lock();
        provisions.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    async fn has_provision(&self, name: &str) -> Result<bool, StoreError> {
        self.check()?;
        Ok(self.kept.provisions.lock().contains_key(name))
    }

    async fn provision(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.check()?;
        if self.without_provisions.load(Ordering::Acquire) {
            return Err(StoreError::Timeout);
        }
        Ok(self.kept.provisions.lock().get(name).cloned())
    }

    async fn keep_provisions(&self, _: &[String], _: u64) -> Result<(), StoreError> {
        self.check()
    }
}

/// One node. Dropped, it is killed.
pub struct Node {
    pub rollout: Arc<Rollout>,
    words: Words,
    bus: Arc<LocalBus>,
    wire: Arc<Wire>,
    deaf: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
    _cache: TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Cluster {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (log, _) =
            EmbeddedLog::open(&folder.path().join("log"), clock.clone()).expect("the log opens");
        let accounts =
            SqliteAccounts::open(&folder.path().join("accounts.sqlite")).expect("accounts open");
        let filter = format!("{FILTER}.wasm");
        let first = folder.path().join("first");
        std::fs::create_dir(&first).expect("a folder");
        let copied = std::fs::copy(plugins_folder().join(&filter), first.join(&filter));
        copied.expect("the filter");
        Self {
            folder,
            hub: Hub::new(clock, LEASE),
            log,
            accounts,
            kept: Arc::default(),
            numbers: Mutex::new(0),
        }
    }

    /// A node that begins with the filter where nothing serves yet.
    pub async fn first(&self, name: &str) -> Node {
        self.start(name, AmongRules::default(), true).await
    }

    /// The same, which soon goes on without those that are not ready.
    pub async fn impatient(&self, name: &str) -> Node {
        let rules = AmongRules {
            ready: Duration::from_millis(500),
            ..AmongRules::default()
        };
        self.start(name, rules, true).await
    }

    pub async fn node(&self, name: &str) -> Node {
        self.start(name, AmongRules::default(), false).await
    }

    pub async fn with(&self, name: &str, change: impl FnOnce(&mut AmongRules)) -> Node {
        let mut rules = AmongRules::default();
        change(&mut rules);
        self.start(name, rules, false).await
    }

    async fn start(&self, name: &str, rules: AmongRules, begins: bool) -> Node {
        let name = NodeName::new(name).expect("a name");
        let (bus, heard) = self.hub.join(name);
        let cache = tempfile::tempdir().expect("a folder");
        let settings = kith_runtime::Settings {
            total_instances: 32,
            instances_per_version: 4,
            ..kith_runtime::Settings::new(cache.path())
        };
        let runtime = kith_runtime::Runtime::new(settings).expect("a runtime");
        let wire = Arc::new(Wire {
            kept: self.kept.clone(),
            accounts: self.accounts.clone(),
            cut: AtomicBool::new(false),
            without_provisions: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
        });
        let number = {
            let mut numbers = self.numbers.lock();
            *numbers += 1;
            *numbers
        };
        let first = begins.then(|| self.folder.path().join("first"));
        let rollout = Rollout::start(
            runtime,
            (self.accounts.clone(), self.log.clone()),
            (Arc::new(SystemClock), Arc::new(IdSource::new(number, 0))),
            RolloutRules {
                signatures: Signatures::Off,
                trusted_keys: Vec::new(),
                watch_ms: 0,
                drift_percent: 0,
                drift_least: 0,
            },
            ContentLimits::default(),
            first.as_deref(),
            Some(Among::new(bus.clone(), wire.clone(), rules)),
        );
        let rollout = rollout.await.expect("it starts");
        let among = rollout.among().expect("others").clone();
        let (generations, said) = mpsc::channel(16);
        let deaf = Arc::new(AtomicBool::new(false));
        let tasks = vec![
            tokio::spawn(among.look(said)),
            tokio::spawn(rollout.clone().follow()),
            tokio::spawn(hear(heard, generations, deaf.clone())),
        ];
        Node {
            words: Words::new(rollout.clone()),
            rollout,
            bus,
            wire,
            deaf,
            tasks,
            _cache: cache,
        }
    }
}

/// Hands on what the bus says about generations, unless it is to be lost.
async fn hear(
    mut heard: mpsc::Receiver<Received>,
    generations: mpsc::Sender<(NodeName, Signal)>,
    deaf: Arc<AtomicBool>,
) {
    while let Some(received) = heard.recv().await {
        let Received::Parcels { from, parcels } = received else {
            continue;
        };
        for parcel in parcels {
            let lost = deaf.load(Ordering::Acquire);
            if let (Parcel::Signal(signal), false) = (parcel, lost)
                && generations.send((from.clone(), signal)).await.is_err()
            {
                return;
            }
        }
    }
}

impl Node {
    pub async fn add_word(&self, word: &str) {
        let word = Word {
            word: word.to_owned(),
            level: "mask".to_owned(),
            category: None,
        };
        self.words.add(vec![word]).await.expect("added");
    }

    /// Whether its filter masks a word.
    pub fn masks(&self, word: &str) -> bool {
        self.rollout.trial(word)["verdict"] == "mask"
    }

    pub async fn listed(&self) -> Value {
        self.words.list().await.expect("a list")["words"].clone()
    }

    pub fn generation(&self) -> u64 {
        self.rollout.generation()
    }

    /// By which generation a message is judged here; none where it is refused for now.
    pub fn judges_by(&self) -> Option<u64> {
        let judge = self.rollout.judge();
        let text = [Text {
            place: "message",
            text: "hello",
        }];
        let ruling = judge.filter(Scope::Direct.into(), &text, 0);
        match ruling.verdict {
            Verdict::Unavailable { .. } => None,
            _ => Some(judge.generation()),
        }
    }

    /// Why nothing is judged here.
    pub fn lapsed(&self) -> Option<String> {
        self.rollout.among().expect("others").standing().lapsed
    }

    /// Components configured and baked here, not fetched.
    pub fn baked(&self) -> u64 {
        self.rollout.usage().baked
    }

    /// Who was not ready for what serves here.
    pub fn left_behind(&self) -> Vec<String> {
        let among = self.rollout.among().expect("others");
        among.left_behind(self.generation())
    }

    /// Another node, as this one sees it.
    pub async fn sees(&self, name: &str) -> bus::Node {
        let nodes = self.bus.nodes().await.expect("the nodes");
        let mut nodes = nodes.into_iter();
        let found = nodes.find(|node| node.name.as_str() == name);
        found.expect("a node of that name")
    }

    /// Loses what the bus says about generations.
    pub fn deaf(&self, is: bool) {
        self.deaf.store(is, Ordering::Release);
    }

    /// Cuts it off from what the store says is in force.
    pub fn cut(&self, is: bool) {
        self.wire.cut.store(is, Ordering::Release);
    }

    pub fn without_provisions(&self, is: bool) {
        self.wire.without_provisions.store(is, Ordering::Release);
    }

    /// From now on what it wants to put in force waits for ever.
    pub fn stick(&self) {
        self.wire.stuck.store(true, Ordering::Release);
    }

    /// Returns once this node serves what another one does.
    pub async fn follows(&self, other: &Self) {
        until("it follows", || self.generation() == other.generation()).await;
    }
}
