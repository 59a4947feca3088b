//! What cannot work together in a configuration, each with the way to mend it.
//! Looked at once it is read, before anything starts.

use super::{BusEngine, Config, ConfigError, LimitsConfig, MediaEngine, SearchEngine, StoreEngine};
use crate::bus::NodeName;

impl Config {
    /// What cannot work, with the way to mend it.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |what: &str| Err(ConfigError(what.to_owned()));
        if self.store.engine == StoreEngine::Mongodb && self.bus.engine == BusEngine::Local {
            return refuse(
                "nodes that share a store must share a bus: set bus.engine = \"redis\" beside store.engine = \"mongodb\"",
            );
        }
        if self.bus.engine == BusEngine::Redis && self.store.engine == StoreEngine::Embedded {
            return refuse(
                "an embedded store is one node's alone: set store.engine = \"mongodb\" beside bus.engine = \"redis\"",
            );
        }
        if self.store.engine == StoreEngine::Mongodb && self.search.engine == SearchEngine::Embedded
        {
            return refuse(
                "an embedded index is one node's alone: set search.engine to \"elasticsearch\" or \"none\"",
            );
        }
        if self.store.engine == StoreEngine::Mongodb && self.media.engine == MediaEngine::Local {
            return refuse(
                "local media are one node's alone: set media.engine to \"s3\" or \"none\"",
            );
        }
        self.check_store()?;
        self.check_bus()?;
        self.check_search()?;
        self.check_media()?;
        for key in &self.plugins.trusted_keys {
            kith_runtime::check_key(key)
                .map_err(|error| ConfigError(format!("plugins.trusted_keys: {error}")))?;
        }
        if self.plugins.drift_percent > 100 {
            return refuse("plugins.drift_percent is 0 to 100");
        }
        if self.auth.argon2_memory_kib < 8 || self.auth.argon2_passes < 1 {
            return refuse(
                "auth.argon2_memory_kib must be at least 8 and auth.argon2_passes at least 1",
            );
        }
        if self.limits.frame_bytes < 1024 {
            return refuse("limits.frame_bytes must be at least 1024");
        }
        let zero =
            self.session.heartbeat_ms == 0 || self.session.hello_ms == 0 || self.limits.batch == 0;
        if zero || rates(&self.limits).contains(&0) {
            return refuse(
                "session.heartbeat_ms, session.hello_ms, limits.batch and the rates must be at least 1",
            );
        }
        Ok(())
    }

    /// Where MongoDB is.
    fn check_store(&self) -> Result<(), ConfigError> {
        let refuse = |what: &str| Err(ConfigError(what.to_owned()));
        if self.store.engine != StoreEngine::Mongodb {
            return Ok(());
        }
        let url = &self.store.url;
        if url.is_empty() {
            return refuse(
                "store.engine = \"mongodb\" needs store.url, the database's address: \"mongodb://host/kith\"",
            );
        }
        if !url.starts_with("mongodb://") && !url.starts_with("mongodb+srv://") {
            return refuse("store.url must begin with mongodb:// or mongodb+srv://");
        }
        if self.store.timeout_ms < 100 {
            return refuse("store.timeout_ms must be at least 100");
        }
        if database_of(url).is_none() {
            return refuse("store.url names no database: \"mongodb://host/kith\"");
        }
        Ok(())
    }

    /// The bus and this node's place on it.
    fn check_bus(&self) -> Result<(), ConfigError> {
        let refuse = |what: &str| Err(ConfigError(what.to_owned()));
        let schemes = ["redis://", "redis+sentinel://", "redis+cluster://"];
        if self.bus.engine == BusEngine::Redis {
            if self.bus.url.is_empty() {
                return refuse(
                    "bus.engine = \"redis\" needs bus.url, the server's address: \"redis://host:6379\"",
                );
            }
            if !schemes
                .iter()
                .any(|scheme| self.bus.url.starts_with(scheme))
            {
                return refuse(
                    "bus.url must begin with redis://, redis+sentinel:// or redis+cluster://",
                );
            }
        }
        if !self.node.name.is_empty() && NodeName::new(&self.node.name).is_err() {
            return refuse("node.name must be 1 to 64 letters, digits, '-', '_' and '.'");
        }
        if self.session.lease_ms < 1000 {
            return refuse("session.lease_ms must be at least 1000");
        }
        Ok(())
    }

    fn check_search(&self) -> Result<(), ConfigError> {
        let refuse = |what: &str| Err(ConfigError(what.to_owned()));
        let search = &self.search;
        if search.engine != SearchEngine::Elasticsearch {
            return Ok(());
        }
        if search.url.is_empty() {
            return refuse(
                "search.engine = \"elasticsearch\" needs search.url, the server's address: \"http://host:9200\"",
            );
        }
        if !search.url.starts_with("http://") && !search.url.starts_with("https://") {
            return refuse("search.url must begin with http:// or https://");
        }
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        let begins = search.prefix.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || !search.prefix.chars().all(known) || search.prefix.len() > 100 {
            return refuse(
                "search.prefix must be a small letter, then small letters, digits, - and _, at most 100",
            );
        }
        if search.user.is_empty() && !search.password.is_empty() {
            return refuse("search.password needs search.user");
        }
        Ok(())
    }

    fn check_media(&self) -> Result<(), ConfigError> {
        let refuse = |what: &str| Err(ConfigError(what.to_owned()));
        let media = &self.media;
        if media.engine == MediaEngine::S3 {
            if !media.url.starts_with("s3://") {
                return refuse(
                    "media.engine = \"s3\" needs media.url, the bucket: \"s3://bucket\"",
                );
            }
            if media.access_key.is_empty() || media.secret_key.is_empty() {
                return refuse("media.engine = \"s3\" needs media.access_key and media.secret_key");
            }
        }
        // The longest that S3 signs for.
        let week = 1..=604_800;
        if !week.contains(&media.ticket_ttl_s) || !week.contains(&media.link_ttl_s) {
            return refuse("media.ticket_ttl_s and media.link_ttl_s must be 1 to 604800");
        }
        if media.open_tickets == 0 || media.uploads == 0 || media.uploads_of_one == 0 {
            return refuse(
                "media.open_tickets, media.uploads and media.uploads_of_one must be at least 1",
            );
        }
        let well_formed = |pattern: &String| {
            pattern
                .split_once('/')
                .is_some_and(|(family, name)| !family.is_empty() && !name.is_empty())
        };
        if !media.types.iter().all(well_formed) {
            return refuse(
                "media.types must be types such as \"image/png\", \"image/*\" or \"*/*\"",
            );
        }
        Ok(())
    }
}

/// The database a URL of MongoDB names: what stands after the servers.
pub fn database_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    let name = path.split(['?', '#']).next()?;
    (!name.is_empty()).then_some(name)
}

/// Every rate: a rate of nothing would keep everybody out.
fn rates(limits: &LimitsConfig) -> [u32; 15] {
    [
        limits.sends_per_s,
        limits.sends_burst,
        limits.requests_per_s,
        limits.requests_burst,
        limits.device_requests_per_s,
        limits.device_requests_burst,
        limits.searches_per_s,
        limits.searches_burst,
        limits.friend_requests_per_hour,
        limits.reports_per_hour,
        limits.requests_per_s_per_address,
        limits.requests_burst_per_address,
        limits.sign_ins_per_minute_per_address,
        limits.sign_ins_per_minute_per_user,
        limits.registers_per_hour_per_address,
    ]
}
