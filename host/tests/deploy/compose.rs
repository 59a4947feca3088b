//! The compose file: every node's environment is one that the program takes, in each of the profiles, and what services
//! name of each other is there.

use std::collections::{BTreeMap, BTreeSet};

use kith::config::MediaEngine;
use serde_json::Value;

use super::{documents, is_a_node_of_a_cluster, loaded, place, text, texts};

const FILE: &str = "compose/compose.yaml";
/// Longest that a node drains, seconds.
const DRAIN_S: u64 = 10;

/// The example of `.env`, filled in, with the lines of one profile.
pub fn example(profile: &str) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let example = text("compose/env.example");
    let line = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let value = if value.is_empty() { "filled" } else { value };
        Some((name.to_owned(), value.to_owned()))
    };
    let plain = example.lines().filter(|line| !line.starts_with('#'));
    settings.extend(plain.filter_map(line));
    if settings["COMPOSE_PROFILES"] != profile {
        let marked = example.lines().filter_map(|line| line.strip_prefix("# "));
        let marked = marked.filter_map(line).collect::<BTreeMap<_, _>>();
        assert_eq!(marked["COMPOSE_PROFILES"], profile, "as the example has it");
        for name in ["COMPOSE_PROFILES", "KITH_STORE_URL"] {
            settings.insert(name.to_owned(), marked[name].clone());
        }
    }
    settings
}

/// The nodes' environments by their service, with the settings put in.
pub fn environments(
    settings: &BTreeMap<String, String>,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let file = documents(FILE).remove(0);
    let nodes = nodes(&file);
    let filled = |service: &Value| {
        let environment = texts(&service["environment"]).into_iter();
        environment
            .map(|(name, value)| (name, interpolated(&value, settings)))
            .collect()
    };
    nodes
        .into_iter()
        .map(|(name, service)| (name.to_owned(), filled(service)))
        .collect()
}

/// The services that are nodes.
fn nodes(file: &Value) -> BTreeMap<&str, &Value> {
    let services = file["services"].as_object().expect("services");
    let is_node = |(_, service): &(&String, &Value)| service["image"] == "kith";
    let nodes: BTreeMap<_, _> = services
        .iter()
        .filter(is_node)
        .map(|(name, service)| (name.as_str(), service))
        .collect();
    assert_eq!(nodes.len(), 3, "{:?}", nodes.keys());
    nodes
}

/// `${NAME}`, `${NAME:-default}` and `${NAME:?why}`, as compose puts them in.
fn interpolated(value: &str, settings: &BTreeMap<String, String>) -> String {
    let mut whole = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, after) = after.split_once('}').expect("it ends");
        let (name, otherwise) = inside.split_once(':').unwrap_or((inside, "-"));
        let set = settings.get(name).map(String::as_str);
        let default = otherwise.strip_prefix('-');
        let found = set.or(default);
        whole.push_str(before);
        whole.push_str(found.unwrap_or_else(|| panic!("{name} has to be set")));
        rest = after;
    }
    whole + rest
}

fn strings<'a>(list: &'a Value, of: &str) -> Vec<&'a str> {
    let list = list.as_array().unwrap_or_else(|| panic!("{of} is a list"));
    list.iter()
        .map(|item| item.as_str().unwrap_or_else(|| panic!("{of}: {item}")))
        .collect()
}

#[test]
fn every_node_of_every_profile_has_settings_the_program_takes() {
    for profile in ["replica-set", "sharded"] {
        let settings = example(profile);
        let mut names = BTreeSet::new();
        for (service, environment) in environments(&settings) {
            let config = loaded(&environment);
            is_a_node_of_a_cluster(&config);
            assert_eq!(config.media.engine, MediaEngine::None);
            assert_eq!(config.store.url, settings["KITH_STORE_URL"]);
            assert_eq!(config.node.name, service);
            names.insert(config.node.name);
        }
        assert_eq!(names.len(), 3, "names are unique");
    }
}

#[test]
fn uploads_are_kept_in_a_bucket_once_the_settings_name_one() {
    let example = text("compose/env.example");
    let mut settings = self::example("replica-set");
    let marked = example
        .lines()
        .filter_map(|line| line.strip_prefix("# KITH_MEDIA"));
    for line in marked {
        let (name, value) = line.split_once('=').expect("a setting");
        let value = if value.is_empty() { "filled" } else { value };
        settings.insert(format!("KITH_MEDIA{name}"), value.to_owned());
    }
    for environment in environments(&settings).values() {
        let config = loaded(environment);
        assert_eq!(config.media.engine, MediaEngine::S3);
        assert_eq!(config.media.url, "s3://bucket");
    }
}

#[test]
fn what_services_name_of_each_other_is_there() {
    let file = documents(FILE).remove(0);
    let services = file["services"].as_object().expect("services");
    let declared = |kind: &str| texts_of_keys(&file[kind]);
    let (volumes, networks) = (declared("volumes"), declared("networks"));
    let mut used = BTreeSet::new();
    for (name, service) in services {
        for other in keys_or_items(&service["depends_on"]) {
            assert!(services.contains_key(&other), "{name} waits for {other}");
        }
        for network in keys_or_items(&service["networks"]) {
            assert!(networks.contains(&network), "{name} is on {network}");
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let (source, _) = volume
                .as_str()
                .and_then(|it| it.split_once(':'))
                .expect("a mount");
            match source.strip_prefix("../") {
                Some(path) => assert!(place(path).exists(), "{name} mounts {source}"),
                None => {
                    assert!(volumes.contains(source), "{name} mounts {source}");
                    used.insert(source.to_owned());
                }
            }
        }
    }
    assert_eq!(used, volumes, "each volume is somebody's");
    // Whoever is named in an address of the store is started by the profile.
    for profile in ["replica-set", "sharded"] {
        let url = example(profile)["KITH_STORE_URL"].clone();
        let (_, rest) = url.split_once("://").expect("a URL");
        for host in rest.split('/').next().expect("hosts").split(',') {
            let service = services.get(host).unwrap_or_else(|| panic!("no {host}"));
            assert_eq!(strings(&service["profiles"], host), [profile]);
        }
    }
}

#[test]
fn only_the_front_door_is_open_and_nobody_is_root() {
    let file = documents(FILE).remove(0);
    let services = file["services"].as_object().expect("services");
    for (name, service) in services {
        for port in service["ports"].as_array().into_iter().flatten() {
            let port = port.as_str().expect("a text");
            let open = name == "front" || port.starts_with("127.0.0.1:");
            assert!(open, "{name} opens {port}");
        }
    }
    assert_eq!(file["networks"]["stores"]["internal"], true);
    let door = &services["front"]["networks"]["nodes"]["ipv4_address"];
    for (name, node) in nodes(&file) {
        assert!(node["ports"].is_null(), "{name} is behind the door");
        assert_eq!(node["read_only"], true, "{name}");
        assert_eq!(strings(&node["cap_drop"], name), ["ALL"]);
        assert_eq!(&node["environment"]["KITH_SERVER__PROXIES"], door);
        let grace = node["stop_grace_period"].as_str().expect("a time");
        let grace: u64 = grace.trim_end_matches('s').parse().expect("seconds");
        assert!(grace > DRAIN_S, "{name} is killed while it drains");
        let data = format!("{name}:/var/lib/kith");
        assert_eq!(strings(&node["volumes"], name), [data.as_str()]);
    }
}

#[test]
fn the_door_and_prometheus_know_every_node() {
    let file = documents(FILE).remove(0);
    let nodes = nodes(&file);
    let door = text("nginx/nginx.conf");
    let servers = door
        .lines()
        .filter_map(|line| line.trim().strip_prefix("server "));
    let servers: Vec<_> = servers
        .filter_map(|server| server.split_once(":7700 "))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(servers, nodes.keys().copied().collect::<Vec<_>>());
    let scraped = documents("prometheus/prometheus.yml").remove(0);
    let targets = &scraped["scrape_configs"][0]["static_configs"][0]["targets"];
    let wanted: Vec<_> = nodes.keys().map(|name| format!("{name}:7701")).collect();
    assert_eq!(strings(targets, "targets"), wanted);
}

fn texts_of_keys(mapping: &Value) -> BTreeSet<String> {
    mapping
        .as_object()
        .expect("a mapping")
        .keys()
        .cloned()
        .collect()
}

/// Both spellings compose knows.
fn keys_or_items(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Null => BTreeSet::new(),
        Value::Array(_) => strings(value, "names")
            .into_iter()
            .map(str::to_owned)
            .collect(),
        mapping => texts_of_keys(mapping),
    }
}
