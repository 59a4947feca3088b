//! Alerts, dashboards and documents name metrics that the program has, with labels that it gives them, and every alert has
//! its page in the runbook.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{documents, place, text};
use crate::support::{TestServer, plugins_folder};

/// Where the host names what it exposes.
const SOURCES: [&str; 4] = [
    "src/telemetry.rs",
    "src/gateway/admin/metrics.rs",
    "src/plugins/after.rs",
    "src/plugins/measured.rs",
];

/// Families that have no sample before something has happened, and what.
const SEEN_LATER: [(&str, &str); 9] = [
    ("kith_consumer_events_total", "a plugin follows the log"),
    ("kith_consumer_lag_seconds", "a plugin follows the log"),
    ("kith_plugin_count_total", "a plugin counts"),
    ("kith_plugin_value", "a plugin measures"),
    ("kith_plugin_instances_retired_total", "a plugin traps"),
    ("kith_sessions_ended_total", "a session is ended"),
    ("kith_store_reads_total", "a server keeps the log"),
    ("kith_store_writes_total", "a server keeps the log"),
    ("kith_plugin_instances", "an instance is kept"),
];

/// Files that name metrics.
fn naming() -> Vec<(String, String)> {
    let mut files: Vec<String> = ["alerts.yml", "alerts_test.yml"]
        .iter()
        .map(|name| format!("prometheus/{name}"))
        .collect();
    for item in place("grafana/dashboards").read_dir().expect("a folder") {
        let name = item.expect("an item").file_name();
        files.push(format!("grafana/dashboards/{}", name.to_string_lossy()));
    }
    files.extend(["README.md", "RUNBOOK.md", "CAPACITY.md"].map(str::to_owned));
    files
        .into_iter()
        .map(|file| (file.clone(), text(&file)))
        .collect()
}

/// Every `kith_…` in a text.
fn names(text: &str) -> BTreeSet<String> {
    let in_a_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let starts = text.match_indices("kith_").filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    let name = |(at, _): (usize, &str)| {
        let rest = &text[at..];
        let end = rest.find(|c| !in_a_name(c)).unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    starts.map(name).collect()
}

/// A sample's family: a histogram's samples end otherwise.
fn family<'a>(name: &'a str, families: &BTreeSet<String>) -> &'a str {
    let ends = ["_bucket", "_sum", "_count"].iter();
    let mut whole = ends.filter_map(|end| name.strip_suffix(end));
    whole
        .find(|whole| families.contains(*whole))
        .unwrap_or(name)
}

fn in_the_sources() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for source in SOURCES {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let text = std::fs::read_to_string(&file).expect("a source");
        let own = text.split("#[cfg(test)]").next().unwrap_or_default();
        known.extend(names(own));
    }
    known
}

/// The families of a server that was used, each with the labels of its samples.
async fn exposed() -> BTreeMap<String, BTreeSet<String>> {
    let server = TestServer::with(|config| {
        config.server.plugins = plugins_folder().display().to_string();
        config.search.engine = kith::config::SearchEngine::Embedded;
    })
    .await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    let said = socket.send_text(&bob.id, "1", "hello").await;
    assert!(said["ok"].is_object(), "{said}");
    let url = format!("http://{}/metrics", server.app().admin_address);
    let answer = server.http.get(url).send().await.expect("an answer");
    let text = answer.text().await.expect("a text");
    let declared = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let declared: BTreeSet<_> = declared
        .filter_map(|line| line.split_once(' '))
        .map(|(name, _)| name.to_owned())
        .collect();
    let mut exposed: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let name = name.split(' ').next().expect("a name");
        let own = exposed
            .entry(family(name, &declared).to_owned())
            .or_default();
        let labels = labels.split('}').next().expect("its end").split(',');
        own.extend(labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned())));
    }
    exposed
}

#[tokio::test]
async fn every_metric_that_is_named_is_one() {
    let (known, exposed) = (in_the_sources(), exposed().await);
    for (later, _) in SEEN_LATER {
        assert!(known.contains(later), "{later} is nowhere in the sources");
    }
    let seen: BTreeSet<String> = exposed
        .keys()
        .cloned()
        .chain(SEEN_LATER.map(|(name, _)| name.to_owned()))
        .collect();
    let mut checked = BTreeSet::new();
    for (file, text) in naming() {
        for name in names(&text) {
            let family = family(&name, &seen).to_owned();
            assert!(seen.contains(&family), "{file}: there is no metric {name}");
            assert!(known.contains(&family), "{file}: no source has {name}");
            checked.insert(family);
        }
    }
    assert!(checked.len() > 15, "{checked:?}");
    assert!(!seen.contains("kith_session"), "a name is a whole one");
}

/// Labels in a selector's braces behind a name.
fn selected(query: &str, families: &BTreeSet<String>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in query.match_indices("kith_") {
        let rest = &query[at..];
        let Some((name, after)) = rest.split_once('{') else {
            continue;
        };
        if name.contains(|c: char| !(c.is_ascii_lowercase() || c == '_')) {
            continue;
        }
        let inside = after.split('}').next().unwrap_or_default();
        let labels = inside.split(',').filter_map(|label| {
            let end = label.find(['=', '!'])?;
            Some(label[..end].trim().to_owned())
        });
        let family = family(name, families);
        found.extend(labels.map(|label| (family.to_owned(), label)));
    }
    found
}

#[tokio::test]
async fn queries_ask_for_labels_that_samples_have() {
    let exposed = exposed().await;
    let families: BTreeSet<_> = exposed.keys().cloned().collect();
    // Prometheus's own, and those of families that were not seen.
    let given = ["job", "instance", "le"];
    let mut checked = 0;
    for (file, text) in naming() {
        let text = text.replace("\\\"", "\"");
        for (family, label) in selected(&text, &families) {
            let Some(labels) = exposed.get(&family) else {
                continue;
            };
            let known = labels.contains(&label) || given.contains(&label.as_str());
            assert!(known, "{file}: {family} has no label {label}");
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn every_alert_is_tried_and_has_its_page_in_the_runbook() {
    let rules = documents("prometheus/alerts.yml").remove(0);
    let rules = rules["groups"][0]["rules"].as_array().expect("a list");
    let tests = documents("prometheus/alerts_test.yml").remove(0);
    let tests = tests["tests"].as_array().expect("a list");
    let runbook = text("RUNBOOK.md");
    let tried: Vec<&Value> = tests
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().expect("a list"))
        .collect();
    for rule in rules {
        let alert = rule["alert"].as_str().expect("a name");
        let of_it = |wanted: &&&Value| wanted["alertname"] == alert;
        let raises = |it: &&Value| !it["exp_alerts"].as_array().expect("a list").is_empty();
        let own: Vec<_> = tried.iter().filter(of_it).copied().collect();
        assert!(own.iter().any(raises), "{alert} is never raised");
        assert!(!own.iter().all(raises), "{alert} is never quiet");
        assert!(
            runbook.lines().any(|line| line == format!("### {alert}")),
            "the runbook has no {alert}"
        );
    }
    let pages = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("### Kith"));
    assert_eq!(pages.count(), rules.len(), "no page without its alert");
}
