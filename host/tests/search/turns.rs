//! Nodes that share an index: one of them writes it, all ask it,
//! and when the one that writes is gone another goes on.

use std::sync::Arc;

use kith::ids::UserId;
use kith::journey::search::{Finder, Wanted};
use kith::search::indexer::Indexer;
use kith::search::serving::Serving;
use kith::store::feed::Feed;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::library::{Library, message, texts};
use super::servers::{BOTH, SearchServer, fresh_prefix, shared};
use crate::support::PATIENCE;

/// One node's part in a shared index.
struct Node {
    serving: Arc<Serving>,
    finder: Finder,
    turn: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Node {
    fn start(library: &Library, server: &SearchServer, prefix: &str, writes: bool) -> Self {
        let serving = Arc::new(Serving::elsewhere(Arc::new(server.engine(prefix))));
        let turn = watch::Sender::new(writes);
        let indexer = Indexer {
            log: library.log.clone(),
            feed: library.log.clone(),
            serving: serving.clone(),
            clock: library.clock.clone(),
            turn: turn.subscribe(),
        };
        Self {
            finder: Finder::new(library.log.clone(), Some(serving.clone())),
            serving,
            turn,
            task: tokio::spawn(indexer.run()),
        }
    }

    /// What a user finds here once everything committed can be found.
    async fn texts(&self, library: &Library, words: &str) -> Vec<String> {
        let newest = *library.log.commits().borrow();
        let reached = tokio::time::timeout(PATIENCE, self.serving.reached(newest)).await;
        reached.expect("up to date in time");
        let wanted = Wanted {
            words: words.into(),
            limit: 50,
            ..Wanted::default()
        };
        texts(&self.finder.find(UserId(1), &wanted).await.expect("found"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn one_node_writes_the_index_they_share_and_another_goes_on() {
    let said = |text: &str| message(UserId(1), UserId(2), text);
    for kind in BOTH {
        let lease = shared(kind).await;
        let prefix = fresh_prefix();
        let mut library = Library::open();
        library.commit([said("first words")]).await;
        let one = Node::start(&library, &lease.server, &prefix, true);
        let other = Node::start(&library, &lease.server, &prefix, false);
        for node in [&one, &other] {
            assert_eq!(node.texts(&library, "words").await, ["first words"]);
        }
        // The one that wrote is gone, without a word.
        drop(one);
        library.commit([said("second words")]).await;
        other.turn.send_replace(true);
        let both = ["second words", "first words"];
        assert_eq!(other.texts(&library, "words").await, both);
        // It is back, and its turn is over while another writes.
        let back = Node::start(&library, &lease.server, &prefix, false);
        assert_eq!(back.texts(&library, "words").await, both);
        other.turn.send_replace(false);
        back.turn.send_replace(true);
        library.commit([said("third words")]).await;
        for node in [&back, &other] {
            let found = node.texts(&library, "words").await;
            assert_eq!(found, ["third words", "second words", "first words"]);
        }
    }
}
