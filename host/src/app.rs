//! The composition root: the only file that names concrete adapters. Builds every part in dependency order, starts
//! what runs by itself, and ends it all in the reverse order.

mod background;
mod names;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, SignaturePolicy};
use crate::content::ContentLimits;
use crate::delivery::Delivery;
use crate::delivery::presence::PresenceTeller;
use crate::gateway::admin::{self, Admin};
use crate::gateway::conversations::Conversations;
use crate::gateway::http::health::Health;
use crate::gateway::http::{self, HttpState};
use crate::gateway::listen::{self, AddressCount};
use crate::gateway::rate::{StrangerRates, UserRate};
use crate::gateway::{ConnectionLimits, Gateway};
use crate::identity::{Identity, PasswordCost, Passwords, TokenLife, Tokens};
use crate::ids::IdSource;
use crate::journey::Journey;
use crate::journey::reads::PageLimits;
use crate::journey::retention::Retention;
use crate::plugins::rollout::{Rollout, RolloutRules, Signatures};
use crate::plugins::words::Words;
use crate::refusal::Refusal;
use crate::session::registry::{Registry, SessionRules};
use crate::session::{Bye, OutboxLimits};
use crate::store::accounts::Accounts;
use crate::store::embedded_log::{EmbeddedLog, upkeep};
use crate::store::sqlite_accounts::SqliteAccounts;
use crate::store::{MessageLog, Settlement};

/// What only the command line or the environment says.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// Accepted as an administrator's token until the first one exists.
    pub bootstrap_token: Option<String>,
}

/// A running server.
pub struct App {
    pub journey: Arc<Journey>,
    pub registry: Arc<Registry>,
    pub rollout: Arc<Rollout>,
    /// Where clients connect: the address bound, port included.
    pub address: std::net::SocketAddr,
    pub admin_address: std::net::SocketAddr,
    presence: Arc<PresenceTeller>,
    log: Arc<EmbeddedLog>,
    health: Arc<Health>,
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
    delivery: JoinHandle<()>,
    background: Vec<JoinHandle<()>>,
}

/// Sessions and commits may take this long to end.
const DRAIN: Duration = Duration::from_secs(10);

impl App {
    /// Builds and starts everything; returns once it serves.
    pub async fn start(config: &Config, launch: Launch) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let data = PathBuf::from(&config.server.data);
        make_folder(&data)?;
        let (log, settlements) = EmbeddedLog::open(&data.join("log"), clock.clone())?;
        let accounts: Arc<dyn Accounts> = SqliteAccounts::open(&data.join("accounts.sqlite"))?;
        let health = Arc::new(Health::new(log.clone(), accounts.clone()));
        let rollout = start_plugins(config, &data, &accounts, &clock).await?;

        let limits = content_limits(config);
        let journey = Arc::new(Journey::new(
            log.clone(),
            accounts.clone(),
            rollout.clone(),
            clock.clone(),
            limits,
        ));
        let registry = Arc::new(Registry::new(session_rules(config), clock.now_ms()));
        let identity = Arc::new(identity(config, &accounts, &clock, &registry).await?);
        let presence = Arc::new(PresenceTeller::new(journey.clone(), registry.clone()));
        let gateway = gateway(config, (&journey, &registry, &presence), &identity, &clock);
        let strangers = strangers(config);
        let public = http::router(
            HttpState {
                identity: identity.clone(),
                accounts: accounts.clone(),
                names: Arc::new(names::FilteredNames {
                    rollout: rollout.clone(),
                    clock: clock.clone(),
                }),
                clock: clock.clone(),
                ids: Arc::new(IdSource::new(0, 0)),
                strangers: strangers.clone(),
                pages: page_limits(config),
                health: health.clone(),
            },
            Conversations {
                gateway,
                addresses: AddressCount::new(config.limits.connections_per_address),
            },
        );
        let admin = admin::router(Admin {
            accounts: accounts.clone(),
            journey: journey.clone(),
            registry: registry.clone(),
            words: Arc::new(Words::new(accounts, rollout.clone())),
            rollout: rollout.clone(),
            clock: clock.clone(),
            ender: identity.clone(),
            health: health.clone(),
            bootstrap: launch.bootstrap(),
            node: node_name(config, clock.now_ms()).into(),
        });
        let running = Running {
            journey,
            registry,
            presence,
            rollout,
            log,
            health,
            settlements,
        };
        running
            .listen(config, (public, admin), (clock, identity, strangers))
            .await
    }

    /// Refuses new work, says goodbye to every session, lets commits finish; at most ten seconds.
    pub async fn drain(self) {
        self.health.draining();
        let _ = self.stop.send(true);
        self.registry.end_all(Bye::Draining);
        let ended = async {
            while self.registry.count() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for listener in self.listeners {
                let _ = listener.await;
            }
            self.presence.keep_seen().await;
            self.log.close().await;
            let _ = self.delivery.await;
        };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            tracing::warn!("the drain took too long; what was committed is safe");
        }
        self.background.iter().for_each(JoinHandle::abort);
    }
}

impl Launch {
    fn bootstrap(self) -> Option<Arc<str>> {
        self.bootstrap_token
            .filter(|token| !token.is_empty())
            .map(Arc::from)
    }
}

/// What is built and not yet reachable.
struct Running {
    journey: Arc<Journey>,
    registry: Arc<Registry>,
    presence: Arc<PresenceTeller>,
    rollout: Arc<Rollout>,
    log: Arc<EmbeddedLog>,
    health: Arc<Health>,
    settlements: mpsc::Receiver<Vec<Settlement>>,
}

impl Running {
    /// Starts what runs by itself, opens both listeners, says it is ready.
    async fn listen(
        self,
        config: &Config,
        (public, admin): (axum::Router, axum::Router),
        (clock, identity, strangers): (Arc<dyn Clock>, Arc<Identity>, Option<Arc<StrangerRates>>),
    ) -> Result<App> {
        let Self {
            journey,
            registry,
            presence,
            rollout,
            log,
            health,
            settlements,
        } = self;
        let delivery = Delivery {
            journey: journey.clone(),
            log: log.clone(),
            registry: registry.clone(),
            receipt_members: config.limits.receipt_members,
        };
        let delivery = tokio::spawn(delivery.run(settlements));
        let (stop, stopped) = watch::channel(false);
        let (address, public) = listen_on(&config.server.listen, public, stopped.clone()).await?;
        let (admin_address, admin) = listen_on(&config.server.admin_listen, admin, stopped).await?;
        let background = vec![
            tokio::spawn(background::sweep(
                registry.clone(),
                clock,
                identity,
                strangers,
            )),
            tokio::spawn(rollout.clone().watch()),
            tokio::spawn(background::judge_held_again(
                journey.clone(),
                rollout.clone(),
            )),
            tokio::spawn(presence.clone().run()),
            tokio::spawn(background::scrub(scrub_of(&log))),
            tokio::spawn(background::retain(journey.clone(), retention(config))),
        ];
        health.ready();
        Ok(App {
            journey,
            registry,
            presence,
            rollout,
            address,
            admin_address,
            log,
            health,
            stop,
            listeners: vec![public, admin],
            delivery,
            background,
        })
    }
}

async fn start_plugins(
    config: &Config,
    data: &Path,
    accounts: &Arc<dyn Accounts>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Rollout>> {
    let mut settings = kith_runtime::Settings::new(data.join("plugin-cache"));
    settings.hard_stop = Duration::from_millis(config.plugins.hard_stop_ms.max(1));
    settings.memory_cap_bytes = usize::try_from(config.plugins.memory_mib.max(1) << 20)?;
    let runtime = kith_runtime::Runtime::new(settings)?;
    let rules = RolloutRules {
        signatures: match config.plugins.signatures {
            SignaturePolicy::Off => Signatures::Off,
            SignaturePolicy::Warn => Signatures::Warn,
            SignaturePolicy::Require => Signatures::Require,
        },
        trusted_keys: config.plugins.trusted_keys.clone(),
    };
    let folder = plugins_folder(config);
    let (accounts, clock) = (accounts.clone(), clock.clone());
    let started = Rollout::start(
        runtime,
        accounts,
        clock,
        rules,
        content_limits(config),
        folder.as_deref(),
    )
    .await;
    started.map_err(refused)
}

/// The configured folder, or `plugins` beside the program.
fn plugins_folder(config: &Config) -> Option<PathBuf> {
    if !config.server.plugins.is_empty() {
        return Some(PathBuf::from(&config.server.plugins));
    }
    let beside = std::env::current_exe().ok()?.parent()?.join("plugins");
    beside.is_dir().then_some(beside)
}

async fn identity(
    config: &Config,
    accounts: &Arc<dyn Accounts>,
    clock: &Arc<dyn Clock>,
    registry: &Arc<Registry>,
) -> Result<Identity> {
    let cost = PasswordCost {
        memory_kib: config.auth.argon2_memory_kib,
        passes: config.auth.argon2_passes,
    };
    let limits = &config.limits;
    let sends = NonZeroU32::new(limits.sends_per_s).zip(NonZeroU32::new(limits.sends_burst));
    Ok(Identity {
        accounts: accounts.clone(),
        passwords: Passwords::new(cost).map_err(|why| anyhow!("auth.argon2: {why}"))?,
        tokens: Tokens::load(&**accounts).await.map_err(refused)?,
        clock: clock.clone(),
        registry: registry.clone(),
        life: TokenLife {
            access_s: config.auth.access_ttl_s,
            refresh_s: config.auth.refresh_ttl_s,
        },
        sends: sends
            .filter(|_| limits.rate)
            .map(|(per_s, burst)| UserRate::new(per_s, burst)),
        signals: NonZeroU32::new(SIGNALS_PER_S)
            .filter(|_| limits.rate)
            .map(|per_s| UserRate::signals(per_s, per_s)),
    })
}

fn gateway(
    config: &Config,
    (journey, registry, presence): (&Arc<Journey>, &Arc<Registry>, &Arc<PresenceTeller>),
    identity: &Arc<Identity>,
    clock: &Arc<dyn Clock>,
) -> Arc<Gateway> {
    let session = &config.session;
    Arc::new(Gateway {
        journey: journey.clone(),
        registry: registry.clone(),
        presence: presence.clone(),
        doorkeeper: identity.clone(),
        clock: clock.clone(),
        outboxes: Arc::new(OutboxLimits::new(
            session.queue_bytes,
            session.total_queue_bytes,
            FAIR_QUEUE_BYTES.min(session.queue_bytes),
        )),
        limits: ConnectionLimits {
            hello: Duration::from_millis(session.hello_ms),
            frame_bytes: config.limits.frame_bytes,
            text_chars: config.limits.text_chars,
            pages: page_limits(config),
            requests_per_s: if config.limits.rate {
                REQUESTS_PER_S
            } else {
                0
            },
            typing_members: config.limits.receipt_members,
        },
        next_session: AtomicU64::new(1),
    })
}

/// What every session may have waiting even when all sessions together have too much.
const FAIR_QUEUE_BYTES: usize = 16 * 1024;
/// Typing signals, drafts and looks at presence of one user a second, and at once.
const SIGNALS_PER_S: u32 = 20;
/// Requests of one connection a second before it is closed.
const REQUESTS_PER_S: u32 = 500;

fn strangers(config: &Config) -> Option<Arc<StrangerRates>> {
    let per_hour = NonZeroU32::new(config.limits.registers_per_hour_per_address)?;
    config
        .limits
        .rate
        .then(|| Arc::new(StrangerRates::new(per_hour)))
}

fn content_limits(config: &Config) -> ContentLimits {
    ContentLimits {
        text_chars: config.limits.text_chars,
        ..ContentLimits::default()
    }
}

fn page_limits(config: &Config) -> PageLimits {
    PageLimits {
        default: 50.min(config.limits.batch),
        most: config.limits.batch,
    }
}

fn session_rules(config: &Config) -> SessionRules {
    SessionRules {
        heartbeat: Duration::from_millis(config.session.heartbeat_ms),
        slow: Duration::from_millis(config.session.slow_ms),
        per_kind: config.devices.per_kind,
    }
}

fn node_name(config: &Config, now_ms: u64) -> String {
    if !config.node.name.is_empty() {
        return config.node.name.clone();
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{now_ms}", host.trim())
}

async fn listen_on(
    address: &str,
    router: axum::Router,
    stopped: watch::Receiver<bool>,
) -> Result<(std::net::SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: is another kith running?"))?;
    let bound = listener.local_addr()?;
    Ok((
        bound,
        tokio::spawn(listen::serve(listener, router, stopped)),
    ))
}

fn make_folder(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the data folder {}", folder.display()))
}

fn scrub_of(log: &Arc<EmbeddedLog>) -> background::Scrub {
    let log = log.clone();
    Arc::new(move |wait| log.scrub_when_due(wait))
}

fn retention(config: &Config) -> Retention {
    Retention {
        days: config.retention.days,
        count: config.retention.count,
    }
}

fn refused(refusal: Refusal) -> anyhow::Error {
    anyhow!("{}", refusal.message)
}

/// Cuts a damaged message log before its damage; prints what was done.
pub fn repair(data: &Path) -> Result<()> {
    let repaired = upkeep::repair(&data.join("log"))?;
    match repaired.aside {
        None => println!("the message log is not damaged"),
        Some(aside) => {
            println!("the journals as they were found are in {}", aside.display());
            for (journal, kept, lost) in repaired.cut {
                println!(
                    "{}: {kept} bytes kept, {lost} bytes after the damage left out",
                    journal.display()
                );
            }
        }
    }
    Ok(())
}

/// Rewrites the stores so that erased content is gone.
pub fn compact(data: &Path) -> Result<()> {
    upkeep::compact(&data.join("log"))?;
    SqliteAccounts::compact(&data.join("accounts.sqlite"))?;
    println!("the message log and the accounts are rewritten");
    Ok(())
}
