//! What is in `deploy/` fits the program: its settings are settings, its metrics are metrics, its probes are answered,
//! the front door lets people talk, and the capacity page follows from its figures. What other tools have to say of these
//! files is asked by `cargo xtask deploy`.

mod capacity;
mod compose;
mod door;
mod image;
mod kubernetes;
mod metrics;
mod stored;

use std::collections::BTreeMap;
use std::path::PathBuf;

use kith::config::{BusEngine, Config, StoreEngine};
use serde::Deserialize;
use serde_json::Value;

/// A file or folder of `deploy/`.
fn place(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(path)
}

fn text(path: &str) -> String {
    let file = place(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Every document of a YAML file, with what it merges merged.
fn documents(path: &str) -> Vec<Value> {
    let text = text(path);
    let read = |document: serde_yaml_ng::Deserializer<'_>| {
        let mut value = serde_yaml_ng::Value::deserialize(document)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        value.apply_merge().expect("it merges mappings");
        serde_json::to_value(value).expect("it is as JSON is")
    };
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(read)
        .collect()
}

/// The texts of a mapping; numbers and booleans as a program would be given them.
fn texts(mapping: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mapping = mapping.as_object().expect("a mapping");
    mapping
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// What the program makes of an environment; its refusal is the test's end.
fn loaded(environment: &BTreeMap<String, String>) -> Config {
    let pairs = environment.clone().into_iter();
    Config::load(None, pairs).unwrap_or_else(|error| panic!("{error}\n{environment:#?}"))
}

/// A node of a cluster, reachable from outside its container.
fn is_a_node_of_a_cluster(config: &Config) {
    assert_eq!(config.store.engine, StoreEngine::Mongodb);
    let url = mongodb::options::ConnectionString::parse(&config.store.url);
    url.unwrap_or_else(|error| panic!("{}: {error}", config.store.url));
    assert_eq!(config.bus.engine, BusEngine::Redis);
    assert!(!config.node.name.is_empty(), "nodes have names");
    assert_eq!(config.server.listen, "0.0.0.0:7700");
    assert_eq!(config.server.admin_listen, "0.0.0.0:7701");
    assert!(!config.server.proxies.is_empty(), "something is in front");
}

#[test]
fn a_setting_that_is_none_or_does_not_fit_is_found() {
    let good = compose::environments(&compose::example("replica-set")).remove("kith-1");
    let good = good.expect("a node");
    loaded(&good);
    for (from, to) in [
        ("KITH_BUS__URL", "KITH_BUS__UR"),
        ("KITH_SEARCH__ENGINE", "KITH_SEARCH__ENGIN"),
    ] {
        let mut wrong = good.clone();
        let value = wrong.remove(from).expect("it is set");
        wrong.insert(to.to_owned(), value);
        assert!(Config::load(None, wrong.into_iter()).is_err(), "{to}");
    }
    let mut wrong = good;
    wrong.insert("KITH_BUS__ENGINE".into(), "local".into());
    assert!(Config::load(None, wrong.into_iter()).is_err());
}
