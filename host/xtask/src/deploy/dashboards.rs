//! Grafana's dashboards: every query is one that Prometheus reads, every panel has its own place and number.
//! What a query names is compared with what the host exposes elsewhere (`host/tests/deploy/metrics.rs`).

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::tools::Tools;
use crate::child;

/// What Grafana puts in before it asks, and something of that kind.
const VARIABLES: [(&str, &str); 3] = [
    ("$__rate_interval", "1m"),
    ("$node", "kith-1"),
    ("$plugin", "word-filter"),
];

/// Every dashboard.
pub fn check(tools: &Tools, deploy: &Path, scratch: &Path) -> Result<()> {
    let folder = deploy.join("grafana/dashboards");
    let mut rules = String::from("groups:\n  - name: dashboards\n    rules:\n");
    let mut queries = 0;
    for item in folder.read_dir()? {
        let path = item?.path();
        let text = std::fs::read_to_string(&path)?;
        let board: Value = serde_json::from_str(&text)
            .with_context(|| format!("{} is not JSON", path.display()))?;
        let found = of(&board).with_context(|| path.display().to_string())?;
        for query in found {
            let query = filled(&query);
            if let Some(unknown) = query.split('$').nth(1) {
                bail!(
                    "{}: there is no variable ${}",
                    path.display(),
                    unknown.split('"').next().unwrap_or(unknown)
                );
            }
            // As a rule, which promtool reads; JSON's texts are YAML's too.
            let query = serde_json::to_string(&query)?;
            rules.push_str(&format!(
                "      - record: query_{queries}\n        expr: {query}\n"
            ));
            queries += 1;
        }
    }
    if queries == 0 {
        bail!("there are no queries in {}", folder.display());
    }
    let file = scratch.join("dashboards.yml");
    std::fs::write(&file, rules)?;
    child::run(tools.promtool().args(["check", "rules"]).arg(file))
}

/// The queries of a dashboard whose panels are as they should be.
fn of(board: &Value) -> Result<Vec<String>> {
    let panels = board["panels"].as_array().context("it has no panels")?;
    let mut numbers = BTreeSet::new();
    let mut queries = Vec::new();
    let mut places: Vec<[i64; 4]> = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().context("a panel has no title")?;
        if !numbers.insert(panel["id"].as_i64()) {
            bail!("{title}: its number is another's too");
        }
        let side = |name| panel["gridPos"][name].as_i64().unwrap_or(-1);
        let place = [side("x"), side("y"), side("w"), side("h")];
        if place[0] < 0
            || place[0] + place[2] > 24
            || places.iter().any(|other| meet(other, &place))
        {
            bail!("{title}: its place is another's too, or none");
        }
        places.push(place);
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().filter(|all| !all.is_empty());
        for target in targets.with_context(|| format!("{title} asks nothing"))? {
            let query = target["expr"].as_str();
            queries.push(
                query
                    .with_context(|| format!("{title} has no query"))?
                    .to_owned(),
            );
        }
    }
    Ok(queries)
}

/// Two places (left, top, width, height) that lie over each other.
fn meet(one: &[i64; 4], other: &[i64; 4]) -> bool {
    let apart =
        |at: usize| one[at] + one[at + 2] <= other[at] || other[at] + other[at + 2] <= one[at];
    !apart(0) && !apart(1)
}

fn filled(query: &str) -> String {
    let mut query = query.to_owned();
    for (name, value) in VARIABLES {
        query = query.replace(name, value);
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn board(places: [[i64; 4]; 2]) -> Value {
        let panel = |id: i64, [x, y, w, h]: [i64; 4]| {
            json!({"id": id, "title": "a", "type": "stat", "gridPos": {"x": x, "y": y, "w": w, "h": h},
                "targets": [{"expr": "up"}]})
        };
        json!({"panels": [panel(1, places[0]), panel(2, places[1])]})
    }

    #[test]
    fn panels_that_lie_over_each_other_are_found() {
        let beside = of(&board([[0, 0, 12, 8], [12, 0, 12, 8]]));
        assert_eq!(beside.expect("fine"), ["up", "up"]);
        assert!(of(&board([[0, 0, 12, 8], [11, 7, 12, 8]])).is_err());
        assert!(of(&board([[0, 0, 12, 8], [13, 0, 12, 8]])).is_err());
    }
}
