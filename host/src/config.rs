//! The configuration: one TOML file, every key also as environment `KITH_SECTION__KEY`, flags over environment over
//! file. Unknown keys are refused by name, and so is what cannot work together.

mod sections;

use std::path::Path;

use toml::{Table, Value};

pub use sections::*;

use crate::bus::NodeName;

/// Why a configuration was not taken: one line, what and how to mend it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Reads a file (none is the defaults), then the environment over it.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table = match file {
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    ConfigError(format!("cannot read {}: {error}", file.display()))
                })?;
                toml::from_str::<Table>(&text).map_err(|error| {
                    ConfigError(format!("{}: {}", file.display(), one_line(&error)))
                })?
            }
            None => Table::new(),
        };
        let known =
            Value::try_from(Self::default()).map_err(|error| ConfigError(error.to_string()))?;
        for (name, value) in environment {
            if let Some((section, key)) = name
                .strip_prefix("KITH_")
                .and_then(|rest| rest.split_once("__"))
            {
                let (section, key) = (section.to_lowercase(), key.to_lowercase());
                let default = known.get(&section).and_then(|section| section.get(&key));
                let default = default.ok_or_else(|| {
                    ConfigError(format!("{name}: there is no setting {section}.{key}"))
                })?;
                let value = read_as(default, &value)
                    .map_err(|what| ConfigError(format!("{name}: {what}")))?;
                let section = table
                    .entry(section)
                    .or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(section) = section {
                    section.insert(key, value);
                }
            }
        }
        let config: Self = Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| {
                ConfigError(format!("the configuration: {}", one_line(&error)))
            })?;
        config.check()?;
        Ok(config)
    }

    /// What cannot work, with the way to mend it.
    fn check(&self) -> Result<(), ConfigError> {
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
        self.check_bus()?;
        if self.store.engine == StoreEngine::Mongodb {
            return refuse(
                "this build runs on the embedded store only: leave store.engine and bus.engine as they are",
            );
        }
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

/// A text as the type its setting has.
fn read_as(default: &Value, text: &str) -> Result<Value, String> {
    match default {
        Value::String(_) => Ok(Value::String(text.to_owned())),
        Value::Integer(_) => text
            .parse()
            .map(Value::Integer)
            .map_err(|_| format!("{text} is not a whole number")),
        Value::Boolean(_) => text
            .parse()
            .map(Value::Boolean)
            .map_err(|_| format!("{text} is not true or false")),
        Value::Array(_) => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Ok(Value::Array(
                items.map(|item| Value::String(item.to_owned())).collect(),
            ))
        }
        _ => Err("cannot be set by the environment".to_owned()),
    }
}

/// The example file: every setting with its default and what it means.
pub fn example() -> String {
    let defaults = Value::try_from(Config::default()).unwrap_or(Value::Table(Table::new()));
    let mut text = String::from(
        "# Every setting of Kith with its default. Generated from the program; a test compares them.\n\
         # Each is also an environment variable KITH_SECTION__KEY, such as KITH_LIMITS__RATE=false.\n",
    );
    for (section, about, fields) in SECTIONS {
        text.push_str(&format!("\n# {}\n[{section}]\n", about.trim()));
        for (field, docs) in *fields {
            for line in *docs {
                text.push_str(&format!("# {}\n", line.trim()));
            }
            let value = defaults.get(section).and_then(|section| section.get(field));
            text.push_str(&format!(
                "{field} = {}\n",
                value.map(Value::to_string).unwrap_or_default()
            ));
        }
    }
    text
}

/// What is wrong and at which key, in one line.
fn one_line(error: &toml::de::Error) -> String {
    let told = error.to_string();
    let lines: Vec<&str> = told
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::load(
            None,
            environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    fn with_file(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        Config::load(Some(file.path()), std::iter::empty())
    }

    #[test]
    fn the_environment_is_over_the_file_and_unknown_keys_are_named() {
        let config = with(&[
            ("KITH_LIMITS__RATE", "false"),
            ("KITH_ADMIN_TOKEN", "x"),
            ("KITH_AUTH__ARGON2_PASSES", "3"),
        ]);
        let config = config.expect("good");
        assert_eq!((config.limits.rate, config.auth.argon2_passes), (false, 3));
        assert_eq!(
            with(&[("KITH_LIMITS__RAET", "1")])
                .expect_err("unknown")
                .to_string(),
            "KITH_LIMITS__RAET: there is no setting limits.raet"
        );
        assert!(
            with_file("[limits]\nraet = 1\n")
                .expect_err("unknown")
                .to_string()
                .contains("raet")
        );
        assert!(with(&[("KITH_LIMITS__RATE", "perhaps")]).is_err());
    }

    /// On a server, with one setting more.
    fn searching<'a>(key: &str, value: &'a str) -> [(&'a str, &'a str); 3] {
        let name = match key {
            "PREFIX" => "KITH_SEARCH__PREFIX",
            "PASSWORD" => "KITH_SEARCH__PASSWORD",
            _ => "KITH_SEARCH__URL",
        };
        [
            ("KITH_SEARCH__ENGINE", "elasticsearch"),
            ("KITH_SEARCH__URL", "http://localhost:9200"),
            (name, value),
        ]
    }

    /// On a bus of nodes, and with what else that asks for.
    fn on_redis(url: &str) -> [(&str, &str); 5] {
        [
            ("KITH_STORE__ENGINE", "mongodb"),
            ("KITH_BUS__ENGINE", "redis"),
            ("KITH_BUS__URL", url),
            ("KITH_SEARCH__ENGINE", "none"),
            ("KITH_MEDIA__ENGINE", "none"),
        ]
    }

    #[test]
    fn what_cannot_work_together_is_refused_with_the_way_to_mend_it() {
        for (environment, mended_by) in [
            (&[("KITH_STORE__ENGINE", "mongodb")][..], "bus.engine"),
            (&[("KITH_BUS__ENGINE", "redis")], "store.engine"),
            (
                &[
                    ("KITH_STORE__ENGINE", "mongodb"),
                    ("KITH_BUS__ENGINE", "redis"),
                    ("KITH_SEARCH__ENGINE", "embedded"),
                ],
                "search.engine",
            ),
            (&[("KITH_SEARCH__ENGINE", "elasticsearch")], "search.url"),
            (&on_redis(""), "needs bus.url"),
            (&on_redis("cache:6379"), "redis://"),
            (&[("KITH_NODE__NAME", "node one")], "node.name"),
            (&[("KITH_SESSION__LEASE_MS", "999")], "session.lease_ms"),
            (&searching("URL", "host:9200"), "http://"),
            (&searching("PREFIX", "Team"), "search.prefix"),
            (&searching("PASSWORD", "secret"), "search.user"),
            (&[("KITH_MEDIA__ENGINE", "s3")], "media.url"),
            (
                &[
                    ("KITH_MEDIA__ENGINE", "s3"),
                    ("KITH_MEDIA__URL", "s3://pictures"),
                ],
                "media.access_key",
            ),
            (&[("KITH_MEDIA__LINK_TTL_S", "0")], "media.link_ttl_s"),
            (&[("KITH_MEDIA__TYPES", "pictures")], "media.types"),
            (
                &[("KITH_AUTH__ARGON2_MEMORY_KIB", "1")],
                "argon2_memory_kib",
            ),
        ] {
            let error = with(environment).expect_err("cannot work").to_string();
            assert!(error.contains(mended_by), "{error}");
        }
    }

    #[test]
    fn the_example_file_is_what_the_program_has() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kith.example.toml");
        if std::env::var_os("KITH_WRITE_EXAMPLE").is_some() {
            std::fs::write(&file, example()).expect("written");
        }
        assert_eq!(
            std::fs::read_to_string(&file).expect("the example file"),
            example()
        );
        assert_eq!(
            Config::load(Some(&file), std::iter::empty()).expect("loads"),
            Config::default()
        );
    }
}
