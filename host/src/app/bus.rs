//! The bus as the configuration wants it: this process alone, or nodes on Redis; and what follows from what other nodes
//! say. A node that is alone starts none of that.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::bus::local::Hub;
use crate::bus::redis::{RedisBus, RedisSettings};
use crate::bus::turns::Turns;
use crate::bus::{Bus, NodeName, Received};
use crate::clock::Clock;
use crate::config::{BusEngine, Config};
use crate::delivery::Delivery;
use crate::delivery::inward::Inward;
use crate::delivery::presence::PresenceTeller;
use crate::delivery::restoring::Restoring;
use crate::identity::Identity;
use crate::plugins::rollout::Rollout;

/// Joins the bus under this node's name; with it comes whose turn it is.
pub async fn join(
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<dyn Bus>, Arc<Turns>, mpsc::Receiver<Received>)> {
    let name = super::machine::node_name(config, clock.now_ms());
    let node = NodeName::new(&name).map_err(|why| anyhow!("node.name: {name}: {why}"))?;
    let (bus, heard): (Arc<dyn Bus>, _) = match config.bus.engine {
        BusEngine::Local => {
            let (bus, heard) = Hub::alone(clock.clone(), node);
            (bus, heard)
        }
        BusEngine::Redis => {
            let settings = RedisSettings {
                url: config.bus.url.clone(),
                node,
                lease: lease(config),
            };
            let opening: BoxFuture<'_, _> = Box::pin(RedisBus::open(&settings));
            let (bus, heard) = opening.await?;
            (bus, heard)
        }
    };
    Ok((bus.clone(), Turns::new(bus), heard))
}

fn lease(config: &Config) -> Duration {
    Duration::from_millis(config.session.lease_ms)
}

/// What is done about what other nodes say.
pub struct Wires {
    pub delivery: Arc<Delivery>,
    pub presence: Arc<PresenceTeller>,
    pub identity: Arc<Identity>,
    pub rollout: Arc<Rollout>,
}

impl Wires {
    /// Starts what runs by itself; nothing where nobody else can be heard.
    pub fn start(
        self,
        config: &Config,
        bus: Arc<dyn Bus>,
        heard: mpsc::Receiver<Received>,
    ) -> Vec<JoinHandle<()>> {
        if config.bus.engine == BusEngine::Local {
            return Vec::new();
        }
        let restoring = Arc::new(Restoring::new(
            self.identity.registry.clone(),
            self.identity.clone(),
            self.identity.rules.bans.clone(),
            self.identity.clock.clone(),
        ));
        let (mut tasks, generations) = super::generations::start(&self.rollout, &bus);
        tasks.push(tokio::spawn(self.delivery.clone().follow_found()));
        let inward = Inward {
            delivery: self.delivery,
            presence: self.presence,
            restoring: restoring.clone(),
            generations,
        };
        tasks.extend([
            tokio::spawn(inward.run(heard)),
            tokio::spawn(restoring.clone().run()),
            tokio::spawn(restoring.keep_leased(lease(config) / 3)),
        ]);
        tasks
    }
}
