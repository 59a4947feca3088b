//! What searches, as the configuration wants it: an index in the data folder, one on a server, or none.
//! Nothing is open or connected yet: the indexer does that, in the background.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow};

use crate::clock::Clock;
use crate::config::{Config, SearchEngine};
use crate::search::elastic::{ASK, ElasticSearch, ElasticSettings};
use crate::search::embedded::EmbeddedSearch;
use crate::search::indexer::Indexer;
use crate::search::serving::Serving;
use crate::store::embedded_log::EmbeddedLog;

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
pub fn indexer(log: &Arc<EmbeddedLog>, serving: &Arc<Serving>, clock: Arc<dyn Clock>) -> Indexer {
    Indexer {
        log: log.clone(),
        feed: log.clone(),
        serving: serving.clone(),
        clock,
    }
}
