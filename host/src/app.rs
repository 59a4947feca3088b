//! The composition root: the only file that names concrete adapters. Builds every part in dependency order, starts
//! what runs by itself, and ends it all in the reverse order.

mod media;
mod names;
mod plugins;

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
use crate::config::{Config, MediaEngine};
use crate::content::ContentLimits;
use crate::delivery::Delivery;
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
use crate::media::Media;
use crate::media::blobs::Blobs;
use crate::media::local::LocalBlobs;
use crate::media::s3::{S3Blobs, S3Settings};
use crate::plugins::rollout::Rollout;
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
    pub media: Arc<Media>,
    /// Where clients connect: the address bound, port included.
    pub address: std::net::SocketAddr,
    pub admin_address: std::net::SocketAddr,
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
        let tables = SqliteAccounts::open(&data.join("accounts.sqlite"))?;
        let accounts: Arc<dyn Accounts> = tables.clone();
        let media = start_media(config, &data, (&tables, &log), &clock).await?;
        let health = Arc::new(Health::new(log.clone(), accounts.clone()));
        let rollout = plugins::start(config, &data, &accounts, &clock).await?;

        let limits = content_limits(config);
        let journey = Arc::new(Journey::new(
            log.clone(),
            accounts.clone(),
            rollout.clone(),
            clock.clone(),
            limits,
            media.clone(),
        ));
        let registry = Arc::new(Registry::new(session_rules(config), clock.now_ms()));
        let identity = Arc::new(identity(config, &accounts, &clock, &registry).await?);
        let gateway = gateway(config, &journey, &registry, &identity, &clock);
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
                media: media.clone(),
                public_url: config.server.public_url.as_str().into(),
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
            rollout,
            media,
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
    rollout: Arc<Rollout>,
    media: Arc<Media>,
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
            rollout,
            media,
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
            tokio::spawn(media::sweep(media.clone(), clock.clone())),
            tokio::spawn(sweep(registry.clone(), clock, identity, strangers)),
            tokio::spawn(rollout.clone().watch()),
            tokio::spawn(judge_held_again(journey.clone(), rollout.clone())),
        ];
        health.ready();
        Ok(App {
            journey,
            registry,
            rollout,
            media,
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

async fn start_media(
    config: &Config,
    data: &Path,
    (tables, log): (&Arc<SqliteAccounts>, &Arc<EmbeddedLog>),
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Media>> {
    Ok(Arc::new(Media::new(
        blobs(config, data)?,
        tables.clone(),
        log.clone(),
        clock.clone(),
        media::links(&**tables).await?,
        media::rules(config),
    )))
}

/// Where the bytes of media are kept; `None` when they are not.
fn blobs(config: &Config, data: &Path) -> Result<Option<Arc<dyn Blobs>>> {
    let media = &config.media;
    Ok(match media.engine {
        MediaEngine::None => None,
        MediaEngine::Local => {
            let folder = data.join("media");
            let opened = LocalBlobs::open(&folder);
            Some(opened.with_context(|| format!("cannot use the folder {}", folder.display()))?)
        }
        MediaEngine::S3 => {
            let staging = data.join("media-staging");
            make_folder(&staging)?;
            let settings = S3Settings {
                url: media.url.clone(),
                endpoint: media.endpoint.clone(),
                region: media.region.clone(),
                access_key: media.access_key.clone(),
                secret_key: media.secret_key.clone(),
                direct: media.direct,
                staging,
            };
            Some(S3Blobs::new(settings).map_err(|why| anyhow!(why))?)
        }
    })
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
    })
}

fn gateway(
    config: &Config,
    journey: &Arc<Journey>,
    registry: &Arc<Registry>,
    identity: &Arc<Identity>,
    clock: &Arc<dyn Clock>,
) -> Arc<Gateway> {
    let session = &config.session;
    Arc::new(Gateway {
        journey: journey.clone(),
        registry: registry.clone(),
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
        },
        next_session: AtomicU64::new(1),
    })
}

/// What every session may have waiting even when all sessions together have too much.
const FAIR_QUEUE_BYTES: usize = 16 * 1024;
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

async fn sweep(
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    identity: Arc<Identity>,
    strangers: Option<Arc<StrangerRates>>,
) {
    let period = registry.rules().heartbeat.min(Duration::from_secs(2)) / 2;
    let mut ticks = tokio::time::interval(period.max(Duration::from_millis(10)));
    for round in 0_u64.. {
        ticks.tick().await;
        registry.sweep(clock.now_ms());
        if round % 64 == 63 {
            if let Some(rate) = &identity.sends {
                rate.tidy();
            }
            if let Some(rates) = &strangers {
                rates.tidy();
            }
        }
    }
}

/// Messages held for a failure are judged again when a generation took over or a hook is well, and now and then.
async fn judge_held_again(journey: Arc<Journey>, rollout: Arc<Rollout>) {
    loop {
        let _ = tokio::time::timeout(Duration::from_secs(2), rollout.switched()).await;
        if let Err(refusal) = journey.judge_held_again().await {
            tracing::warn!(message = %refusal.message, "held messages could not be judged again");
        }
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

/// Deletes what nobody uses any more and rewrites the message log, so that erased content is gone.
pub fn compact(data: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let deleted = runtime.block_on(delete_unused_media(data))?;
    println!("{deleted} unused media are deleted");
    upkeep::compact(&data.join("log"))?;
    println!("the message log is rewritten");
    Ok(())
}

/// While no server runs nobody can begin to use what nobody uses: both looks are taken at once.
async fn delete_unused_media(data: &Path) -> Result<usize> {
    let folder = data.join("media");
    if !folder.is_dir() {
        return Ok(0);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (log, settlements) = EmbeddedLog::open(&data.join("log"), clock.clone())?;
    let tables = SqliteAccounts::open(&data.join("accounts.sqlite"))?;
    let answers = tokio::spawn(media::answer_callers(settlements));
    let unused = Media::new(
        Some(LocalBlobs::open(&folder)?),
        tables.clone(),
        log.clone(),
        clock.clone(),
        media::links(&*tables).await?,
        media::rules(&Config::default()),
    );
    let deleted = media::sweep_twice(&unused, clock.now_ms()).await;
    log.close().await;
    let _ = answers.await;
    deleted.map_err(refused)
}
