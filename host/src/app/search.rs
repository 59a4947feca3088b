//! What searches, as the configuration wants it: an index in the data folder, one on a server, or none.
//! Nothing is open or connected yet: the indexer does that, in the background.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::stores::Log;
use crate::bus::turns::Turns;
use crate::clock::Clock;
use crate::config::{Config, SearchEngine};
use crate::search::elastic::{ASK, ElasticSearch, ElasticSettings};
use crate::search::embedded::EmbeddedSearch;
use crate::search::indexer::Indexer;
use crate::search::serving::Serving;

/// What the node that writes the index has.
const TURN: &str = "search";

/// `None` where nothing searches.
pub fn index(config: &Config, data: &Path, clock: &Arc<dyn Clock>) -> Result<Option<Arc<Serving>>> {
    Ok(match config.search.engine {
        SearchEngine::None => None,
        SearchEngine::Embedded => {
            let engine = Arc::new(EmbeddedSearch::new(&data.join("search")));
            Some(Arc::new(Serving::new(engine)))
        }
        SearchEngine::Elasticsearch => {
            let engine = Arc::new(server(config, clock)?);
            Some(Arc::new(Serving::elsewhere(engine)))
        }
    })
}

/// The index on a server.
pub fn server(config: &Config, clock: &Arc<dyn Clock>) -> Result<ElasticSearch> {
    let search = &config.search;
    let settings = ElasticSettings {
        url: search.url.clone(),
        user: search.user.clone(),
        password: search.password.clone(),
        prefix: search.prefix.clone(),
        ask: ASK,
    };
    ElasticSearch::new(&settings, clock.clone()).map_err(|why| anyhow!(why))
}

/// What keeps an index up to date with a log.
pub fn indexer(
    log: &Arc<dyn Log>,
    serving: &Arc<Serving>,
    clock: Arc<dyn Clock>,
    turn: watch::Receiver<bool>,
) -> Indexer {
    Indexer {
        log: log.clone(),
        feed: log.clone(),
        serving: serving.clone(),
        clock,
        turn,
    }
}

/// What keeps an index up to date while this node runs; of several nodes that share it only where it is its turn.
pub fn follow(
    log: &Arc<dyn Log>,
    serving: &Arc<Serving>,
    (turns, clock): (&Arc<Turns>, &Arc<dyn Clock>),
) -> Vec<JoinHandle<()>> {
    let (turn, own) = watch::channel(turns.is_own(TURN));
    let indexer = indexer(log, serving, clock.clone(), own);
    let looking = keep_turn(turns.clone(), turn);
    vec![tokio::spawn(looking), tokio::spawn(indexer.run())]
}

/// Says whose turn it is to write the index. Runs for ever.
async fn keep_turn(turns: Arc<Turns>, turn: watch::Sender<bool>) {
    let mut changes = turns.changes();
    loop {
        changes.borrow_and_update();
        let own = turns.is_own(TURN);
        turn.send_if_modified(|turn| std::mem::replace(turn, own) != own);
        if changes.changed().await.is_err() {
            return;
        }
    }
}
