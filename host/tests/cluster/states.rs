//! A plugin's state on three nodes: it moves to another form while all of them write it, and nothing is lost or left behind in
//! the old form.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::consumers::{Talk, in_force};
use super::{Cluster, PATIENCE};
use crate::state;
use crate::support::TestSocket;

/// Before the version with the other form is activated.
const WRITTEN_FIRST: usize = 30;
const AGAIN: Duration = Duration::from_millis(50);
/// Between two messages of a writer: what stands in for MongoDB is slow, and so is a busy machine.
const PACE: Duration = Duration::from_millis(200);

/// Writes one key after another until it is told to stop. A node may give a message back while generations change, and it
/// is sent again under its id then, as clients do.
async fn write(
    (mut socket, peer, name): (TestSocket, String, String),
    (stop, written): (Arc<AtomicBool>, Arc<AtomicUsize>),
) {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let (id, began) = (format!("{name}-{n}"), Instant::now());
        loop {
            let told = socket.send_text(&peer, &id, &format!("put {id}")).await;
            if told["ok"]["seq"].is_u64() {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{id}: {told}");
            tokio::time::sleep(AGAIN).await;
        }
        written.fetch_add(1, Ordering::Relaxed);
        n += 1;
        tokio::time::sleep(PACE).await;
    }
}

/// Activates the version with the other form. A store that is too slow for it refuses, the version before goes on, and an
/// administrator tries again.
async fn take_over(cluster: &Cluster, component: &[u8]) {
    let node = &cluster.nodes[1];
    let pushed = node.administer("/plugins", component.to_vec()).await;
    let version = json!({"version": pushed["version"]}).to_string();
    let began = Instant::now();
    loop {
        let activation = node.begin_administer("/plugins/keeper/activate", version.clone());
        let status = activation.await.expect("not aborted").expect("an answer");
        match status {
            200 => return,
            503 | 504 => assert!(began.elapsed() < 3 * PATIENCE, "refused again and again"),
            other => panic!("activation was answered with {other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_moves_while_three_nodes_write_it() {
    let cluster = Cluster::start(3).await;
    let components = tokio::task::spawn_blocking(state::versions).await;
    let components = components.expect("the guests");
    in_force(&cluster, "keeper", components[0].clone(), state::GRANTS).await;
    let (stop, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let mut writers = Vec::new();
    for (n, node) in cluster.nodes.iter().enumerate() {
        let (user, peer) = (format!("writer-{n}"), format!("reader-{n}"));
        let (user, peer) = (node.user(&user).await, node.user(&peer).await);
        let mut answers = node.session(&peer).await;
        answers.send_text(&user.id, "hello", "hello").await;
        let writes = (node.session(&user).await, peer.id, format!("w{n}"));
        writers.push(tokio::spawn(write(writes, (stop.clone(), written.clone()))));
    }
    let ann = cluster.nodes[2].user("ann").await;
    let mut talk = Talk::begin(&cluster.nodes[2], ann, "keeper").await;
    let began = Instant::now();
    while written.load(Ordering::Relaxed) < WRITTEN_FIRST {
        assert!(began.elapsed() < PATIENCE, "nothing is written");
        tokio::time::sleep(AGAIN).await;
    }
    let before = written.load(Ordering::Relaxed);
    take_over(&cluster, &components[1]).await;
    let taken_over = written.load(Ordering::Relaxed);
    let again = Instant::now();
    while written.load(Ordering::Relaxed) < taken_over + WRITTEN_FIRST {
        assert!(again.elapsed() < PATIENCE, "nothing is written any more");
        tokio::time::sleep(AGAIN).await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("every message was taken");
    }
    let all = written.load(Ordering::Relaxed);
    assert!(all >= before + WRITTEN_FIRST, "{before} {all}");
    let wanted = format!("k 0 m {all} r 0 odd 0");
    let began = Instant::now();
    loop {
        talk.say("list").await;
        let list = talk.heard().await;
        if list == wanted {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{list} is not {wanted}");
    }
    // As every node shows it.
    for node in &cluster.nodes {
        let rows = node.ask("/plugins").await;
        let rows = rows["plugins"].as_array().expect("plugins").iter();
        let mut active = rows.filter(|row| row["state"] == "active");
        let version = active.next().map(|row| row["version"].clone());
        assert_eq!(version, Some(json!("0.1.0-two")));
    }
}
