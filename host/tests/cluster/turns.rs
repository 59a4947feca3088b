//! What one node at a time does for all, while it changes hands: an answer that is being written goes over with the turn, and
//! the times of schedules come once.

use std::time::Instant;

use serde_json::{Value, json};

use super::consumers::{Talk, in_force, name, whose};
use super::{Cluster, PATIENCE};
use crate::crash::process::ServerProcess;
use crate::{after, state};

/// A call that never ends by itself is ended by the host alone.
const NEVER_MS: u64 = 600_000;

/// What comes of a reply, up to a piece that says so.
async fn pieces_until(talk: &mut Talk, mut so: impl FnMut(&Value) -> bool) -> Vec<Value> {
    let mut pieces = Vec::new();
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "it does not come: {pieces:?}");
        let frame = talk.socket.any_event().await;
        if frame["ev"] == "stream" {
            let enough = so(&frame);
            pieces.push(frame);
            if enough {
                return pieces;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_being_written_goes_over_with_the_turn() {
    let patient = ("KITH_PLUGINS__AFTER_STOP_MS", NEVER_MS.to_string());
    let mut cluster = Cluster::with(2, vec![patient]).await;
    let components = tokio::task::spawn_blocking(after::versions).await;
    let guest = components.expect("the guests")[0].clone();
    in_force(&cluster, "observant", guest, after::GRANTS).await;
    let names = [name(0), name(1)];
    let all: Vec<&ServerProcess> = cluster.nodes.iter().collect();
    let first = whose(&all, &names, "responder").await;
    let ends = usize::from(names[0] != first);
    let ann = cluster.nodes[1 - ends].user("ann").await;
    let mut talk = Talk::begin(&cluster.nodes[1 - ends], ann, "observant").await;

    cluster.nodes[ends].kill();
    let asked = talk.say("answer wait and linger").await;
    let begun = pieces_until(&mut talk, |piece| piece["delta"] == "linger").await;
    assert!(begun.iter().all(|piece| piece["done"] != true), "{begun:?}");
    // Whose turn it was is back: what the other has begun ends, and is begun again.
    cluster.nodes[ends].restart().await;
    let (mut ended, mut again) = (false, false);
    let gone_over = pieces_until(&mut talk, |piece| {
        ended |= piece["done"] == true;
        again |= piece["delta"] == "linger";
        ended && again
    })
    .await;
    let stream = &begun[0]["stream"];
    assert!(
        gone_over.iter().all(|piece| piece["stream"] == *stream),
        "one name: {begun:?} {gone_over:?}"
    );
    let all: Vec<&ServerProcess> = cluster.nodes.iter().collect();
    assert_eq!(whose(&all, &names, "responder").await, first);
    // The new one watches for what ends it, as the old one did.
    let target = json!({"conversation": begun[0]["conversation"], "seq": asked});
    let recalled = talk.socket.request("recall", target).await;
    assert!(recalled["ok"].is_object(), "{recalled}");
    pieces_until(&mut talk, |piece| piece["done"] == true).await;
    let told = talk.told(&cluster.nodes[ends]).await;
    assert_eq!(told, Vec::<String>::new());
}

/// Times in what begins so, in order.
fn times(texts: &[String], begins: &str) -> Vec<u64> {
    let own = texts.iter().filter(|text| text.starts_with(begins));
    let times = own.map(|text| text.rsplit(' ').next().and_then(|at| at.parse().ok()));
    times.map(|at| at.expect("a time")).collect()
}

/// What the rule has told administrators, oldest first.
async fn notices(node: &ServerProcess) -> Vec<String> {
    let page = node.ask("/notices?limit=200").await;
    let rows = page["notices"].as_array().expect("rows").iter().rev();
    let texts = rows.filter_map(|row| row["text"].as_str());
    texts.map(str::to_owned).collect()
}

/// Returns once the observer and the rule have been told two more times than there were, as a node sees it.
async fn go_on(talk: &Talk, node: &ServerProcess, before: (usize, usize)) -> (usize, usize) {
    let began = Instant::now();
    loop {
        let now = (talk.told(node).await.len(), notices(node).await.len());
        if now.0 >= before.0 + 2 && now.1 >= before.1 + 2 {
            return now;
        }
        assert!(began.elapsed() < PATIENCE, "{now:?} after {before:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_comes_once_whichever_node_is_killed() {
    let mut cluster = Cluster::start(3).await;
    let components = tokio::task::spawn_blocking(state::versions).await;
    let guest = components.expect("the guests")[0].clone();
    in_force(&cluster, "keeper", guest, state::GRANTS).await;
    let ann = cluster.nodes[0].user("ann").await;
    let values = json!({"values": {"times": {"tick": "every 1s"}, "tell": ann.id}});
    let path = "/plugins/keeper/config";
    let put = reqwest::Method::PUT;
    let configured = cluster.nodes[1].administer_by(put, path, values.to_string());
    configured.await;
    let talk = Talk::begin(&cluster.nodes[0], ann, "keeper").await;
    let mut count = go_on(&talk, &cluster.nodes[0], (0, 0)).await;
    for killed in 0..3 {
        cluster.nodes[killed].kill();
        let other = (killed + 1) % 3;
        count = go_on(&talk, &cluster.nodes[other], count).await;
        cluster.nodes[killed].restart().await;
        count = go_on(&talk, &cluster.nodes[other], count).await;
    }
    let told = talk.told(&cluster.nodes[1]).await;
    for (n, text) in told.iter().enumerate() {
        assert!(text.starts_with(&format!("tick {} at ", n + 1)), "{told:?}");
    }
    for times in [
        times(&told, "tick "),
        times(&notices(&cluster.nodes[2]).await, "tick at "),
    ] {
        assert!(times.len() >= 14, "{times:?}");
        assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
    }
}
