//! The composition root: the only file that names concrete adapters. Builds every part in dependency order, starts
//! what runs by itself, and ends it all in the reverse order.

mod background;
mod bus;
pub mod doctor;
mod generations;
mod limits;
mod machine;
mod measured;
pub mod media;
pub mod moving;
mod names;
mod plugins;
mod replay;
mod search;
pub mod stores;
pub mod upkeep;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::stores::{Log, Tables};
use crate::bus::turns::Turns;
use crate::bus::{Bus, Received};
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::config::Config;
use crate::content::ContentLimits;
use crate::delivery::Delivery;
use crate::delivery::arrivals::Arrivals;
use crate::delivery::presence::PresenceTeller;
use crate::gateway::admin::{self, Admin};
use crate::gateway::conversations::Conversations;
use crate::gateway::http::health::Health;
use crate::gateway::http::{self, HttpState};
use crate::gateway::listen::AddressCount;
use crate::gateway::rate::StrangerRates;
use crate::gateway::{ConnectionLimits, Gateway};
use crate::identity::{Identity, PasswordCost, Passwords, TokenLife, Tokens};
use crate::journey::Journey;
use crate::journey::reads::PageLimits;
use crate::journey::search::Finder;
use crate::media::Media;
use crate::moderation::bans::Bans;
use crate::moderation::{HAPPENED_MOST, Rules};
use crate::moving::Deployment;
use crate::plugins::after::AfterCommit;
use crate::plugins::after::services::Services;
use crate::plugins::lines::PluginLines;
use crate::plugins::replay::Replays;
use crate::plugins::rollout::Rollout;
use crate::plugins::words::Words;
use crate::refusal::Refusal;
use crate::search::serving::Serving;
use crate::session::registry::Registry;
use crate::session::{Bye, OutboxLimits};
use crate::store::Settlement;
use crate::store::accounts::Accounts;

/// What only the command line, the environment or a test says.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// Accepted as an administrator's token until the first one exists.
    pub bootstrap_token: Option<String>,
    /// In place of the machine's clock.
    pub clock: Option<Arc<ManualClock>>,
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
    presence: Arc<PresenceTeller>,
    bus: Arc<dyn Bus>,
    log: Arc<dyn Log>,
    index: Option<Arc<Serving>>,
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
        let clock = launch.clock();
        let data = machine::data_folder(config)?;
        let opened = stores::open(config, &data, &clock).await?;
        let (number, ids) = (opened.number, opened.ids());
        let (log, settlements, tables) = (opened.log, opened.settlements, opened.tables);
        let accounts: Arc<dyn Accounts> = tables.clone();
        let bans = Arc::new(Bans::load(tables.clone(), clock.now_ms()).await?);
        let media = media::start(config, &data, (&tables, &log), &clock).await?;
        let moving = moving::of(&log, &tables, &media);
        let index = search::index(config, &data, &clock)?;
        let (bus, turns, heard) = bus::join(config, &clock).await?;
        let health = Health::new((log.clone(), accounts.clone()), bus.clone(), index.clone());
        let health = Arc::new(health);
        let among = generations::among(&bus, &opened.generations);
        let (rollout, lines) =
            plugins::start(config, &data, (&accounts, &log), (&clock, &ids), among).await?;
        generations::watch(&health, &rollout);
        let journey = journey(config, (&log, &tables), (&rollout, &media, &bans), &clock);
        let registry = Registry::new(limits::sessions(config), clock.now_ms());
        let registry = Arc::new(registry.with_bus(bus.clone()));
        let parts = (&rollout, &journey, &registry);
        let after = after_commit((config, &turns), parts, (&log, &tables));
        let replays = replay::start(config, &data, (&rollout, &journey, &log), &clock)?;
        let rules = rules((&tables, &log), &rollout, bans, &registry, (&clock, &turns));
        let identity = identity(config, &accounts, &rules, &bus).await?;
        let presence = Arc::new(PresenceTeller::new(journey.clone(), registry.clone()));
        let strangers = limits::strangers(&config.limits, &bus);
        let parts = (&journey, &registry, &presence);
        let gateway = gateway((config, number), parts, &identity, &clock);
        let public = http::router(
            HttpState {
                identity: identity.clone(),
                accounts: accounts.clone(),
                journey: journey.clone(),
                names: names::filtered(&rollout, &clock),
                clock: clock.clone(),
                ids,
                strangers: strangers.clone(),
                pages: page_limits(config),
                health: health.clone(),
                media: media.clone(),
                public_url: config.server.public_url.as_str().into(),
            },
            conversations(config, gateway, Finder::new(log.clone(), index.clone())),
        );
        let running = Running {
            stop: watch::Sender::new(false),
            journey,
            registry,
            presence,
            rollout,
            rules,
            after,
            media,
            bus,
            turns,
            heard,
            log,
            index,
            health,
            settlements,
            moving,
        };
        let owned = (accounts, replays, lines);
        let admin = running.admin((&launch, &data), owned, (&clock, &identity));
        running
            .listen(config, (public, admin), (clock, identity, strangers))
            .await
    }

    /// Refuses new work, says goodbye to every session, lets commits finish; at most ten seconds.
    pub async fn drain(self) {
        self.health.draining();
        self.registry.end_all(Bye::Draining);
        let ended = async {
            while self.registry.count() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // Until here requests were taken and refused with `unavailable`; who asks now finds nobody.
            self.presence.keep_seen().await;
            self.bus.leave().await;
            self.log.close().await;
            let _ = self.stop.send(true);
            for listener in self.listeners {
                let _ = listener.await;
            }
            let _ = self.delivery.await;
        };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            tracing::warn!("the drain took too long; what was committed is safe");
        }
        self.background.iter().for_each(JoinHandle::abort);
        if let Some(index) = &self.index {
            index.close().await;
        }
    }

    /// Returns once everything committed so far can be found; at once where nothing searches.
    pub async fn indexed(&self) {
        if let Some(index) = &self.index {
            let newest = *self.log.commits().borrow();
            index.reached(newest).await;
        }
    }
}

impl Launch {
    fn clock(&self) -> Arc<dyn Clock> {
        match &self.clock {
            Some(clock) => clock.clone(),
            None => Arc::new(SystemClock),
        }
    }

    fn bootstrap(self) -> Option<Arc<str>> {
        self.bootstrap_token
            .filter(|token| !token.is_empty())
            .map(Arc::from)
    }
}

/// What is built and not yet reachable.
struct Running {
    stop: watch::Sender<bool>,
    journey: Arc<Journey>,
    registry: Arc<Registry>,
    presence: Arc<PresenceTeller>,
    rollout: Arc<Rollout>,
    rules: Arc<Rules>,
    after: Arc<AfterCommit>,
    media: Arc<Media>,
    bus: Arc<dyn Bus>,
    turns: Arc<Turns>,
    heard: mpsc::Receiver<Received>,
    log: Arc<dyn Log>,
    index: Option<Arc<Serving>>,
    health: Arc<Health>,
    settlements: mpsc::Receiver<Vec<Settlement>>,
    moving: Deployment,
}

impl Running {
    /// What administrators reach.
    fn admin(
        &self,
        (launch, data): (&Launch, &Path),
        (accounts, replays, lines): (Arc<dyn Accounts>, Arc<Replays>, Arc<PluginLines>),
        (clock, identity): (&Arc<dyn Clock>, &Arc<Identity>),
    ) -> axum::Router {
        admin::router(Admin {
            accounts,
            journey: self.journey.clone(),
            registry: self.registry.clone(),
            words: Arc::new(Words::new(self.rollout.clone())),
            rollout: self.rollout.clone(),
            after: self.after.clone(),
            replays,
            lines,
            clock: clock.clone(),
            ender: identity.clone(),
            rules: self.rules.clone(),
            health: self.health.clone(),
            bootstrap: launch.clone().bootstrap(),
            bus: self.bus.clone(),
            sources: measured::Stores::new(data, &self.log, &self.index),
            streams: admin::audit::Streams::new(self.stop.subscribe()),
            exports: admin::export::Exports::new(
                self.moving.clone(),
                self.stop.subscribe(),
                self.registry.rules().slow,
            ),
        })
    }

    /// Starts what runs by itself, opens both listeners, says it is ready.
    async fn listen(
        self,
        config: &Config,
        (public, admin): (axum::Router, axum::Router),
        (clock, identity, strangers): (Arc<dyn Clock>, Arc<Identity>, Option<Arc<StrangerRates>>),
    ) -> Result<App> {
        let delivery = Arc::new(Delivery {
            journey: self.journey.clone(),
            log: self.log.clone(),
            registry: self.registry.clone(),
            receipt_members: config.limits.receipt_members,
            arrivals: Arrivals::default(),
        });
        let wires = bus::Wires {
            delivery: delivery.clone(),
            presence: self.presence.clone(),
            identity: identity.clone(),
            rollout: self.rollout.clone(),
        };
        let mut background = wires.start(config, self.bus.clone(), self.heard);
        let delivery = tokio::spawn(delivery.run(self.settlements));
        let stopped = || self.stop.subscribe();
        let entrance = limits::entrance(config);
        let (address, public) =
            machine::listen_on(&config.server.listen, public, entrance, stopped()).await?;
        let entrance = limits::admin_entrance();
        let (admin_address, admin) =
            machine::listen_on(&config.server.admin_listen, admin, entrance, stopped()).await?;
        if let Some(serving) = &self.index {
            background.extend(search::follow(&self.log, serving, (&self.turns, &clock)));
        }
        let sweep = background::sweep(self.registry.clone(), clock.clone(), identity, strangers);
        let second = background::judge_held_again(self.journey.clone(), self.rollout.clone());
        let (happened, happens) = mpsc::channel(HAPPENED_MOST);
        self.rollout.tell(happened);
        background.extend([
            tokio::spawn(sweep),
            tokio::spawn(self.rollout.clone().watch()),
            tokio::spawn(second),
            tokio::spawn(self.rules.run(happens)),
            tokio::spawn(self.after.run()),
            tokio::spawn(self.turns.run()),
            tokio::spawn(background::keep_paying(self.journey.clone())),
            tokio::spawn(media::sweep(self.media.clone(), clock.clone())),
            tokio::spawn(self.presence.clone().run()),
            tokio::spawn(background::scrub(scrub_of(&self.log))),
            tokio::spawn(replay::forget(self.rollout.clone(), self.log.clone())),
            tokio::spawn(background::retain(
                self.journey.clone(),
                limits::retention(config),
            )),
        ]);
        self.health.ready();
        Ok(App {
            journey: self.journey,
            registry: self.registry,
            presence: self.presence,
            rollout: self.rollout,
            media: self.media,
            address,
            admin_address,
            bus: self.bus,
            log: self.log,
            index: self.index,
            health: self.health,
            stop: self.stop,
            listeners: vec![public, admin],
            delivery,
            background,
        })
    }
}

fn journey(
    config: &Config,
    (log, tables): (&Arc<dyn Log>, &Arc<dyn Tables>),
    (rollout, media, bans): (&Arc<Rollout>, &Arc<Media>, &Arc<Bans>),
    clock: &Arc<dyn Clock>,
) -> Arc<Journey> {
    let journey = Journey::new(
        log.clone(),
        tables.clone(),
        tables.clone(),
        rollout.clone(),
        clock.clone(),
        (content_limits(config), limits::people(&config.limits)),
        media.clone(),
    );
    let journey = journey.with_groups_of(config.limits.group_members);
    Arc::new(journey.with_bans(bans.clone()))
}

fn rules(
    (tables, log): (&Arc<dyn Tables>, &Arc<dyn Log>),
    rollout: &Arc<Rollout>,
    bans: Arc<Bans>,
    registry: &Arc<Registry>,
    (clock, turns): (&Arc<dyn Clock>, &Arc<Turns>),
) -> Arc<Rules> {
    Arc::new(Rules {
        plugins: rollout.clone(),
        bans,
        store: tables.clone(),
        log: log.clone(),
        registry: registry.clone(),
        marks: log.clone(),
        turns: turns.clone(),
        clock: clock.clone(),
    })
}

fn after_commit(
    (config, turns): (&Config, &Arc<Turns>),
    (rollout, journey, registry): (&Arc<Rollout>, &Arc<Journey>, &Arc<Registry>),
    (log, tables): (&Arc<dyn Log>, &Arc<dyn Tables>),
) -> Arc<AfterCommit> {
    AfterCommit::new(
        (rollout.clone(), journey.clone(), registry.clone()),
        (log.clone(), log.clone()),
        tables.clone(),
        (Services::default(), turns.clone()),
        config.limits.receipt_members,
    )
}

async fn identity(
    config: &Config,
    accounts: &Arc<dyn Accounts>,
    rules: &Arc<Rules>,
    bus: &Arc<dyn Bus>,
) -> Result<Arc<Identity>> {
    let cost = PasswordCost {
        memory_kib: config.auth.argon2_memory_kib,
        passes: config.auth.argon2_passes,
    };
    Ok(Arc::new(Identity {
        accounts: accounts.clone(),
        passwords: Passwords::new(cost).map_err(|why| anyhow!("auth.argon2: {why}"))?,
        tokens: Tokens::load(&**accounts).await.map_err(refused)?,
        clock: rules.clock.clone(),
        registry: rules.registry.clone(),
        life: TokenLife {
            access_s: config.auth.access_ttl_s,
            refresh_s: config.auth.refresh_ttl_s,
        },
        devices_most: config.devices.signed_in,
        rules: rules.clone(),
        rates: limits::users(&config.limits, bus),
    }))
}

fn gateway(
    (config, number): (&Config, u16),
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
            requests: limits::devices(&config.limits),
            typing_members: config.limits.receipt_members,
        },
        next_session: AtomicU64::new(first_session(number)),
    })
}

fn conversations(config: &Config, gateway: Arc<Gateway>, finder: Finder) -> Conversations {
    Conversations {
        gateway,
        addresses: AddressCount::new(config.limits.connections_per_address),
        finder: Arc::new(finder),
    }
}

/// Sessions of nodes that run at the same time have different ids.
fn first_session(number: u16) -> u64 {
    (u64::from(number) << SESSIONS_BITS) + 1
}

/// Sessions of one node; with a node's number before them they are still exact as a JSON number.
const SESSIONS_BITS: u32 = 42;

/// What every session may have waiting even when all sessions together have too much.
const FAIR_QUEUE_BYTES: usize = 16 * 1024;

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

fn scrub_of(log: &Arc<dyn Log>) -> background::Scrub {
    let log = log.clone();
    Arc::new(move |wait| log.scrub_when_due(wait))
}

fn refused(refusal: Refusal) -> anyhow::Error {
    anyhow!("{}", refusal.message)
}
