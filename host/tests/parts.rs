//! The host's parts put together without sockets or plugins, on a clock of the test's own: for what takes days.
//! Holds no assertions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kith::app::stores::{Log, Tables};
use kith::bus::Bus;
use kith::clock::{Clock, ManualClock};
use kith::config::{Config, MediaEngine};
use kith::content::ContentLimits;
use kith::conversation::Profile;
use kith::delivery::Delivery;
use kith::delivery::arrivals::Arrivals;
use kith::ids::{ConversationId, UserId};
use kith::journey::held::Sent;
use kith::journey::{Draft, Journey, Target};
use kith::plugins::{
    Command, CommandRuling, CommandVerdict, FilterRuling, Invocation, Judge, Occasion, Plugins,
    Rule, RuleRuling, Scope, Site, StrategyRuling, Text, Verdict,
};
use kith::session::registry::{Registry, SessionRules};
use kith::store::accounts::{Accounts, User, UserKind};
use kith::store::embedded_log::EmbeddedLog;
use kith::store::people::PeopleLimits;
use kith::store::sqlite_accounts::SqliteAccounts;
use kith::store::{MessageLog, Origin, Outcome, Settlement};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// No plugins: everything passes.
struct Nothing;

impl Plugins for Nothing {
    fn pin(&self) -> Arc<dyn Judge> {
        Arc::new(Self)
    }

    fn generations(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::channel(0).1
    }
}

impl Judge for Nothing {
    fn generation(&self) -> u64 {
        0
    }

    fn is_well(&self, _: &str) -> bool {
        true
    }

    fn recent(&self, _: Scope) -> usize {
        0
    }

    fn strategy(&self, _: Scope, _: &Command<'_>) -> StrategyRuling {
        StrategyRuling {
            verdict: Verdict::Pass,
            content: None,
            audience: None,
            silent: false,
            recall_window_ms: None,
            effects: Vec::new(),
            hooks: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn filter(&self, _: Site<'_>, texts: &[Text<'_>], _: u64) -> FilterRuling {
        FilterRuling {
            verdict: Verdict::Pass,
            masked: vec![None; texts.len()],
            masked_by: None,
            hooks: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn binds(&self, _: Site<'_>, _: &str) -> bool {
        false
    }

    fn rule_schedules(&self) -> Vec<(String, Vec<(String, kith::plugins::When)>)> {
        Vec::new()
    }

    fn rule_of(&self, _: &str, occasion: &Occasion) -> RuleRuling {
        self.rule(occasion, false)
    }

    fn has_rules(&self) -> bool {
        false
    }

    fn rule(&self, _: &Occasion, _: bool) -> RuleRuling {
        RuleRuling {
            rule: Rule::Abstain,
            actions: Vec::new(),
        }
    }

    fn command(&self, _: Scope, _: &Invocation<'_>) -> CommandRuling {
        CommandRuling {
            verdict: CommandVerdict::Pass,
            effects: Vec::new(),
            hooks: Vec::new(),
            reads: Vec::new(),
        }
    }
}

pub struct Parts {
    pub folder: TempDir,
    pub clock: Arc<ManualClock>,
    pub log: Arc<EmbeddedLog>,
    pub journey: Arc<Journey>,
    pub accounts: Arc<SqliteAccounts>,
    pub registry: Arc<Registry>,
    delivery: JoinHandle<()>,
    lost: Arc<AtomicBool>,
}

/// Hands settlements on, unless they are to be lost.
fn relay(
    mut settlements: mpsc::Receiver<Vec<Settlement>>,
    lost: Arc<AtomicBool>,
) -> mpsc::Receiver<Vec<Settlement>> {
    let (sender, heard) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(settled) = settlements.recv().await {
            let lost = lost.load(Ordering::Relaxed);
            if !lost && sender.send(settled).await.is_err() {
                return;
            }
        }
    });
    heard
}

impl Parts {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::open_at(folder, Arc::new(ManualClock::at(1_700_000_000_000)), None).await
    }

    /// As one node of several.
    pub async fn on(bus: Arc<dyn Bus>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        Self::open_at(folder, clock, Some(bus)).await
    }

    /// The sessions of a node.
    pub fn sessions(bus: Option<Arc<dyn Bus>>, now_ms: u64) -> Arc<Registry> {
        let rules = SessionRules {
            heartbeat: std::time::Duration::from_secs(30),
            slow: std::time::Duration::from_secs(30),
            per_kind: 5,
        };
        let registry = Registry::new(rules, now_ms);
        Arc::new(match bus {
            Some(bus) => registry.with_bus(bus),
            None => registry,
        })
    }

    async fn open_at(folder: TempDir, clock: Arc<ManualClock>, bus: Option<Arc<dyn Bus>>) -> Self {
        let shared: Arc<dyn Clock> = clock.clone();
        let (log, settlements) =
            EmbeddedLog::open(&folder.path().join("log"), shared.clone()).expect("the log opens");
        let accounts =
            SqliteAccounts::open(&folder.path().join("accounts.sqlite")).expect("accounts open");
        let mut config = Config::default();
        config.media.engine = MediaEngine::None;
        let data = folder.path();
        let stores: (Arc<dyn Tables>, Arc<dyn Log>) = (accounts.clone(), log.clone());
        let media = kith::app::media::start(&config, data, (&stores.0, &stores.1), &shared).await;
        let media = media.expect("no media");
        let people = PeopleLimits {
            friends: 10,
            waiting_sent: 10,
            waiting_received: 10,
        };
        let journey = Arc::new(Journey::new(
            log.clone(),
            accounts.clone(),
            accounts.clone(),
            Arc::new(Nothing),
            shared,
            (ContentLimits::default(), people),
            media,
        ));
        let registry = Self::sessions(bus, clock.now_ms());
        let delivery = Arc::new(Delivery {
            journey: journey.clone(),
            log: log.clone(),
            registry: registry.clone(),
            receipt_members: 500,
            arrivals: Arrivals::default(),
        });
        let lost = Arc::new(AtomicBool::new(false));
        let heard = relay(settlements, lost.clone());
        Self {
            lost,
            folder,
            log,
            journey,
            accounts,
            registry,
            delivery: tokio::spawn(delivery.run(heard)),
            clock,
        }
    }

    /// Closes everything and opens it again on the same folder.
    pub async fn reopen(self) -> Self {
        let Self {
            folder,
            clock,
            log,
            journey,
            accounts,
            delivery,
            ..
        } = self;
        log.close().await;
        delivery.await.expect("delivery ends with the log");
        drop((log, journey, accounts));
        Self::open_at(folder, clock, None).await
    }

    /// Whether nobody hears what becomes of a commit.
    pub fn lose_settlements(&self, lose: bool) {
        self.lost.store(lose, Ordering::Relaxed);
    }

    pub async fn user(&self, name: &str) -> UserId {
        let id = UserId(1 + name.bytes().map(u64::from).sum::<u64>());
        let profile = Profile {
            id,
            username: name.to_owned(),
            display_name: name.to_owned(),
            avatar: None,
        };
        let user = User {
            profile,
            kind: UserKind::Person,
            password: None,
            disabled: false,
            created_at: self.clock.now_ms(),
        };
        assert!(self.accounts.create_user(&user).await.expect("stored"));
        id
    }

    /// A text; its conversation and its seq.
    pub async fn send(
        &self,
        from: UserId,
        to: UserId,
        client_id: &str,
        text: &str,
    ) -> (ConversationId, u64) {
        let draft = Draft {
            to: Target::User(to),
            client_id: client_id.to_owned(),
            content: json!({"type": "text", "text": text}),
            reply_to: None,
            made: None,
        };
        match self.journey.send_and_wait(from, draft).await.expect("sent") {
            Sent::Now(Outcome::Committed(committed)) => {
                (committed.entry.conversation, committed.entry.seq)
            }
            other => panic!("not committed: {other:?}"),
        }
    }

    pub async fn recall(&self, from: UserId, conversation: ConversationId, seq: u64) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let step = self
            .journey
            .recall(from, conversation, seq, Origin::Caller(sender))
            .await;
        step.expect("recalled");
        receiver.await.expect("settled").expect("committed");
    }

    pub async fn summary(&self, user: UserId, conversation: ConversationId) -> Value {
        let summary = self.journey.summary_json(user, conversation).await;
        summary.expect("read").expect("a member")
    }
}
