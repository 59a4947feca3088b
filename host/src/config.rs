//! The configuration: one TOML file, every key also as environment `KITH_SECTION__KEY`, flags over environment over
//! file. Unknown keys are refused by name, and so is what cannot work together.

mod check;
mod sections;

use std::path::Path;

use toml::{Table, Value};

pub use check::database_of;
pub use sections::*;

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
        Value::Array(_) if text.trim_start().starts_with('[') => array(text),
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

/// A list as the file would have it.
fn array(text: &str) -> Result<Value, String> {
    let read = toml::from_str::<Table>(&format!("list = {text}"));
    let mut read = read.map_err(|error| format!("{text:?}: {}", one_line(&error)))?;
    match read.remove("list") {
        Some(list @ Value::Array(_)) if read.is_empty() => Ok(list),
        _ => Err(format!("{text:?} is not one list")),
    }
}

/// The example file: every setting with its default and what it means.
pub fn example() -> String {
    let defaults = Value::try_from(Config::default()).unwrap_or(Value::Table(Table::new()));
    let mut text = String::from(
        "# Every setting of Kith with its default. Generated from the program; a test compares them.\n\
         # Each is also an environment variable KITH_SECTION__KEY, such as KITH_LIMITS__RATE=false; a list is written there\n\
         # as here, or with commas alone: KITH_MEDIA__TYPES=image/*,audio/*.\n",
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

    #[test]
    fn a_list_from_the_environment_is_with_commas_or_as_in_the_file() {
        let types = |text: &str| with(&[("KITH_MEDIA__TYPES", text)]).map(|c| c.media.types);
        let wanted = ["image/*", "audio/ogg"];
        for text in [
            "image/*,audio/ogg",
            " image/* , audio/ogg, ",
            r#"["image/*", "audio/ogg"]"#,
            " ['image/*',\n  \"audio/ogg\", ]\n",
        ] {
            assert_eq!(types(text).expect(text), wanted);
        }
        assert!(types("[]").expect("none").is_empty());
        for wrong in [
            "[image/*]",
            r#"["image/*""#,
            "[]\n[limits]",
            "[]\nother = 1",
        ] {
            let error = types(wrong).expect_err(wrong).to_string();
            assert!(error.starts_with("KITH_MEDIA__TYPES: "), "{error}");
        }
        assert!(types("[1]").is_err());
        let key = "ed25519:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        let keys = with(&[("KITH_PLUGINS__TRUSTED_KEYS", &format!("[\"{key}\"]"))]);
        assert_eq!(keys.expect("good").plugins.trusted_keys, [key]);
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

    const BUS: &str = "redis://cache:6379";
    const STORE: &str = "mongodb://one,two/kith?replicaSet=set";

    /// On a bus of nodes, and with what else that asks for.
    fn on_redis<'a>(url: &'a str, store: &'a str) -> [(&'a str, &'a str); 6] {
        [
            ("KITH_STORE__ENGINE", "mongodb"),
            ("KITH_STORE__URL", store),
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
            (&on_redis("", STORE), "needs bus.url"),
            (&on_redis("cache:6379", STORE), "redis://"),
            (&on_redis(BUS, ""), "needs store.url"),
            (&on_redis(BUS, "host/kith"), "mongodb://"),
            (&on_redis(BUS, "mongodb://host:27017"), "no database"),
            (&on_redis(BUS, "mongodb://host/?ssl=true"), "no database"),
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
    fn a_store_of_many_nodes_names_its_database() {
        let config = with(&on_redis(BUS, STORE)).expect("good");
        assert_eq!(database_of(&config.store.url), Some("kith"));
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
