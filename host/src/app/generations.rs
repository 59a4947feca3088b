//! Generations of plugins where nodes share a store: this node's place among them, and the tasks that keep it. A node that
//! has its store to itself has none of it.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::bus::{Bus, NodeState};
use crate::delivery::inward::Generations;
use crate::gateway::http::health::Health;
use crate::plugins::rollout::{Among, AmongRules, Rollout};
use crate::store::generations::SharedGenerations;

/// Words of other nodes that may wait here. What is too much waits with its node's other words.
const WAITING_MOST: usize = 256;

/// This node among those that share a store, if any do.
pub fn among(
    bus: &Arc<dyn Bus>,
    shared: &Option<Arc<dyn SharedGenerations>>,
) -> Option<Arc<Among>> {
    let shared = shared.clone()?;
    Some(Among::new(bus.clone(), shared, AmongRules::default()))
}

/// Has `readyz` say how this node stands.
pub fn watch(health: &Health, rollout: &Rollout) {
    if let Some(among) = rollout.among().cloned() {
        health.watch_generations(Box::new(move || match among.standing().lapsed {
            Some(why) => Err(why),
            None => Ok(()),
        }));
    }
}

/// Starts what follows the other nodes, and where their words about generations go.
pub fn start(
    rollout: &Arc<Rollout>,
    bus: &Arc<dyn Bus>,
) -> (Vec<JoinHandle<()>>, Option<Generations>) {
    let Some(among) = rollout.among() else {
        let told = announce(rollout.clone(), bus.clone());
        return (vec![tokio::spawn(told)], None);
    };
    let (generations, said) = mpsc::channel(WAITING_MOST);
    let tasks = vec![
        tokio::spawn(among.clone().look(said)),
        tokio::spawn(rollout.clone().follow()),
    ];
    (tasks, Some(generations))
}

/// Other nodes are told which generation this one serves.
async fn announce(rollout: Arc<Rollout>, bus: Arc<dyn Bus>) {
    let mut generations = crate::plugins::Plugins::generations(&*rollout);
    loop {
        let serving = *generations.borrow_and_update();
        let serving = serving.max(rollout.generation());
        bus.announce(NodeState {
            ready: serving,
            serving,
        });
        if generations.changed().await.is_err() {
            return;
        }
    }
}
