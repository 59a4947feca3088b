//! Generations of plugins on three nodes that are processes: words said to one act on all, each node's state is seen on the
//! others, and one that was killed or restarted serves what is in force.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Cluster, PATIENCE};
use crate::crash::process::ServerProcess;
use crate::support::plugins_folder;

/// Words act on every node within this.
const ACT: Duration = Duration::from_secs(3);
const GLANCE: Duration = Duration::from_millis(20);

async fn verdict(node: &ServerProcess, text: &str) -> Value {
    let asked = json!({"text": text}).to_string();
    node.administer("/words/test", asked).await["verdict"].take()
}

async fn masked_on_all(cluster: &Cluster, text: &str) {
    let began = Instant::now();
    for node in &cluster.nodes {
        while verdict(node, text).await != "mask" {
            assert!(began.elapsed() < PATIENCE, "{text} passes");
            tokio::time::sleep(GLANCE).await;
        }
    }
}

async fn add_word(node: &ServerProcess, word: &str) {
    let words = json!({"words": [{"word": word, "level": "mask"}]});
    node.administer("/words", words.to_string()).await;
}

/// States of all nodes as one of them sees them, by name.
async fn states(node: &ServerProcess) -> Vec<(String, u64, u64)> {
    let nodes = node.ask("/nodes").await;
    let nodes = nodes.as_array().expect("a list").iter();
    nodes
        .map(|node| {
            (
                node["state"].as_str().expect("a state").to_owned(),
                node["generation"].as_u64().expect("a number"),
                node["lag"].as_u64().expect("a number"),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn words_said_to_one_node_act_on_three_within_three_seconds() {
    let mut cluster = Cluster::start(3).await;
    let filter = std::fs::read(plugins_folder().join("word-filter.wasm")).expect("the filter");
    let pushed = cluster.nodes[0].administer("/plugins", filter).await;
    let version = json!({"version": pushed["version"]}).to_string();
    let path = "/plugins/word-filter/activate";
    let activated = cluster.nodes[1].administer(path, version).await;
    assert_eq!(activated["state"], "active", "{activated}");
    let mut quickest = Duration::MAX;
    for n in 0..3 {
        let (word, said) = (format!("gurke{n}"), Instant::now());
        add_word(&cluster.nodes[n], &word).await;
        masked_on_all(&cluster, &word).await;
        quickest = quickest.min(said.elapsed());
    }
    assert!(quickest < ACT, "{quickest:?}");
    let generation = activated["generation"].as_u64().expect("a number") + 3;
    let began = Instant::now();
    let all = vec![("ready".to_owned(), generation, 0); 3];
    while states(&cluster.nodes[2]).await != all {
        let seen = states(&cluster.nodes[2]).await;
        assert!(began.elapsed() < PATIENCE, "{seen:?}");
        tokio::time::sleep(GLANCE).await;
    }
    // One is killed; it is not waited for when it is known to be gone, and comes back to what is in force.
    cluster.nodes[2].kill();
    add_word(&cluster.nodes[0], "tomate").await;
    cluster.nodes[2].restart().await;
    masked_on_all(&cluster, "tomate").await;
    let (status, ready) = cluster.nodes[2].get("/readyz").await;
    assert_eq!((status, &ready["parts"]["plugins"]), (200, &json!("ok")));
    let metrics = cluster.nodes[2].metrics().await;
    assert_eq!(metrics.get("kith_generation_lag"), Some(&0.0));
    assert_eq!(metrics.get("kith_generation_judges"), Some(&1.0));
}
