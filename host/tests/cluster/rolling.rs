//! Nodes are restarted one after the other while people talk: what was on its way is healed by saying it again, sessions are
//! soon back on another node, and nobody is told that somebody left who did not.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Cluster, Crowd, LEASE_MS};
use crate::support::connect_to;

/// Sessions are back within this.
const BACK: Duration = Duration::from_secs(5);

/// A drain that waits for something that never ends gives up after ten seconds.
const DRAINED: Duration = Duration::from_secs(9);

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_message_and_sessions_are_soon_back() {
    let mut cluster = Cluster::start(3).await;
    let crowd = Crowd::gather(&cluster, 6).await;
    crowd.goes_on(20).await;
    for n in 0..3 {
        cluster.told_without(n);
        let began = Instant::now();
        cluster.nodes[n].stop().await;
        assert!(began.elapsed() < DRAINED, "{:?}", began.elapsed());
        crowd.goes_on(10).await;
        cluster.nodes[n].restart().await;
        cluster.told();
        crowd.goes_on(10).await;
    }
    crowd.agrees().await;
    let away: Vec<Duration> = {
        let memories = crowd.memories.iter();
        memories
            .flat_map(|memory| memory.lock().away.clone())
            .collect()
    };
    assert!(away.len() >= 6, "everybody was somewhere: {away:?}");
    let longest = away.iter().max().expect("some were away");
    assert!(*longest <= BACK, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_called_away_for_longer_than_a_lease_while_their_node_restarts() {
    let mut cluster = Cluster::start(3).await;
    let (watcher, mover) = {
        let first = &cluster.nodes[0];
        (first.user("watcher").await, first.user("mover").await)
    };
    // The watcher's node stays.
    let mut watching = cluster.nodes[2].session(&watcher).await;
    let mut moving = cluster.nodes[0].session(&mover).await;
    let watch = json!({"users": [mover.id], "watch": true});
    let seen = watching.request("presence", watch).await;
    assert_eq!(seen["ok"]["users"][&mover.id]["online"], true, "{seen}");
    for n in [0, 1] {
        let stopping = cluster.nodes[n].begin_stop();
        // Told to go, it comes again where it can.
        moving.end().await;
        let address = cluster.nodes[1 - n].address();
        moving = connect_to(address, None).await;
        let reply = moving.hello(&mover.token, "phone").await;
        assert!(reply["ok"].is_object(), "{reply}");
        stopping.await;
        cluster.nodes[n].restart().await;
    }
    // Looked for rather than listened for: a change back may be told as nothing at all.
    let (mut away, began) = (None, Instant::now());
    while began.elapsed() < Duration::from_millis(2 * LEASE_MS) {
        let look = json!({"users": [mover.id]});
        let seen = watching.request("presence", look).await;
        let online = seen["ok"]["users"][&mover.id]["online"].as_bool();
        match online.expect("whether online") {
            true => away = None,
            false => {
                let since: Instant = *away.get_or_insert_with(Instant::now);
                assert!(since.elapsed() <= Duration::from_millis(LEASE_MS), "{seen}");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(away.is_none(), "it is there");
}
