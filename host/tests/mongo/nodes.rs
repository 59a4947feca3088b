//! Several nodes on one database: one dense log, one answer for a client id, nothing lost with a node, a feed that skips
//! nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kith::clock::{Clock, SystemClock};
use kith::content::Fingerprint;
use kith::conversation::Kind;
use kith::conversation::group::{JoinPolicy, Past};
use kith::entry::{Body, DecisionRecord, Message, Seq};
use kith::ids::{ConversationId, UserId};
use kith::store::feed::{Feed, FeedItem, FeedPosition};
use kith::store::groups::{GroupAct, GroupChange, NewGroup};
use kith::store::kv::{Advance, KvChange, KvWrite, PluginKv};
use kith::store::mongo::{Mongo, MongoSettings};
use kith::store::mongo_log::{MongoLog, schema};
use kith::store::{
    Append, Change, CommitError, FirstAnswer, MessageLog, Opening, Origin, Outcome, ResendKey,
    Settlement, Span, Submission,
};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::server::{MongoServer, shared};

const PATIENCE: Duration = Duration::from_secs(60);
const ANN: UserId = UserId(11);
const BOB: UserId = UserId(22);

/// One node.
pub struct Node {
    log: Arc<MongoLog>,
    settlements: mpsc::Receiver<Vec<Settlement>>,
}

/// A database with as many nodes as are opened on it.
struct Cluster {
    _server: Arc<MongoServer>,
    settings: MongoSettings,
}

impl Cluster {
    async fn new() -> Self {
        let server = shared().await;
        let settings = server.database();
        Self {
            _server: server,
            settings,
        }
    }

    async fn node(&self) -> Node {
        Node::open(&self.settings).await
    }
}

impl Node {
    pub async fn open(settings: &MongoSettings) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let opened = MongoLog::open(settings, clock).await;
        let (log, settlements) = opened.expect("the log opens");
        Self { log, settlements }
    }

    pub fn submit(&self, change: Change) {
        let origin = Origin::None;
        if self.log.submit(Submission { change, origin }).is_err() {
            panic!("the change was not taken");
        }
    }

    pub async fn settled(&mut self, count: usize) -> Vec<Result<Outcome, CommitError>> {
        let mut results = Vec::new();
        while results.len() < count {
            let batch = tokio::time::timeout(PATIENCE, self.settlements.recv())
                .await
                .expect("a settlement in time")
                .expect("an open log");
            results.extend(batch.into_iter().map(|settlement| settlement.result));
        }
        results
    }

    pub async fn settle(&mut self, change: Change) -> Result<Outcome, CommitError> {
        self.submit(change);
        self.settled(1).await.remove(0)
    }

    pub async fn seqs(&self) -> Vec<Seq> {
        let span = Span {
            limit: 10_000,
            ..Span::default()
        };
        let page = self.log.page(place(), BOB, span).await.expect("a page");
        page.entries.iter().map(|entry| entry.seq).collect()
    }
}

fn place() -> ConversationId {
    ConversationId::direct(ANN, BOB)
}

pub fn message(from: UserId, client_id: &str) -> Change {
    let content = serde_json::json!({"type": "text", "text": client_id});
    let body = Body::Message(Message {
        client_id: client_id.to_owned(),
        content: RawValue::from_string(content.to_string()).ok(),
        reply_to: None,
        edited: false,
        recalled: false,
    });
    Change::Append(Box::new(Append {
        conversation: place(),
        opening: Some(Opening {
            kind: Kind::Direct,
            users: vec![ANN, BOB],
        }),
        author: from,
        key: Some(ResendKey {
            client_id: client_id.to_owned(),
            fingerprint: Fingerprint::of(&content),
        }),
        body,
        audience: None,
        replaced: false,
        record: DecisionRecord::default(),
        effects: Vec::new(),
        moves_read: true,
        releases: None,
    }))
}

pub fn seq_of(result: &Result<Outcome, CommitError>) -> Seq {
    match result {
        Ok(Outcome::Committed(committed)) => committed.entry.seq,
        Ok(Outcome::Resent(FirstAnswer::Committed { seq, .. })) => *seq,
        other => panic!("no entry: {other:?}"),
    }
}

#[tokio::test]
async fn whoever_takes_settlements_sees_their_end_once_the_log_is_closed() {
    let server = shared().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let opened = MongoLog::open(&server.database(), clock).await;
    let (log, mut settlements) = opened.expect("opens");
    log.close().await;
    let end = tokio::time::timeout(PATIENCE, settlements.recv()).await;
    assert!(end.expect("in time").is_none());
}

#[tokio::test]
async fn two_nodes_make_one_dense_log() {
    let cluster = Cluster::new().await;
    let (mut one, mut other) = (cluster.node().await, cluster.node().await);
    for n in 0..60 {
        one.submit(message(ANN, &format!("a{n}")));
        other.submit(message(BOB, &format!("b{n}")));
    }
    let (of_one, of_other) = tokio::join!(one.settled(60), other.settled(60));
    let own: Vec<Seq> = of_one.iter().map(seq_of).collect();
    assert!(own.is_sorted(), "a sender's order stays: {own:?}");
    let mut all: Vec<Seq> = of_one.iter().chain(&of_other).map(seq_of).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=120).collect::<Vec<_>>()); // I3
    assert_eq!(one.seqs().await, all);
    assert_eq!(other.seqs().await, all);
}

#[tokio::test]
async fn a_resend_to_another_node_gets_the_first_answer() {
    let cluster = Cluster::new().await;
    let (mut one, mut other) = (cluster.node().await, cluster.node().await);
    let first = seq_of(&one.settle(message(ANN, "x")).await);
    let again = other.settle(message(ANN, "x")).await;
    assert!(matches!(
        again,
        Ok(Outcome::Resent(FirstAnswer::Committed { seq, .. })) if seq == first // I2
    ));
}

#[tokio::test]
async fn what_a_node_remembers_of_a_conversation_is_no_reason_to_refuse() {
    let cluster = Cluster::new().await;
    let (mut one, mut other) = (cluster.node().await, cluster.node().await);
    let dropped = Change::Drop {
        conversation: place(),
        author: ANN,
        key: ResendKey {
            client_id: "d".to_owned(),
            fingerprint: Fingerprint::of(&serde_json::json!("d")),
        },
    };
    let answer = one.settle(dropped).await;
    assert!(matches!(answer, Ok(Outcome::Dropped)), "{answer:?}");
    // The other node opens the conversation that this one has seen not to be there.
    assert_eq!(seq_of(&other.settle(message(BOB, "b")).await), 1);
    let mut next = message(ANN, "a");
    if let Change::Append(append) = &mut next {
        append.opening = None;
    }
    assert_eq!(seq_of(&one.settle(next).await), 2);
}

#[tokio::test]
async fn one_client_id_on_two_nodes_at_once_makes_one_entry() {
    let cluster = Cluster::new().await;
    let (mut one, mut other) = (cluster.node().await, cluster.node().await);
    for n in 0..20 {
        one.submit(message(ANN, &n.to_string()));
        other.submit(message(ANN, &n.to_string()));
    }
    let (of_one, of_other) = tokio::join!(one.settled(20), other.settled(20));
    for (here, there) in of_one.iter().zip(&of_other) {
        assert_eq!(seq_of(here), seq_of(there)); // I2
    }
    assert_eq!(one.seqs().await, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_commit_is_one_write_before_its_answer() {
    let cluster = Cluster::new().await;
    let mut node = cluster.node().await;
    for n in 0..40 {
        node.submit(message(ANN, &n.to_string()));
    }
    node.settled(40).await;
    let counted = node.log.counted();
    assert_eq!((counted.changes, counted.lost), (40, 0));
    assert_eq!(counted.inserts, counted.runs, "one command a run");
    assert!(counted.runs < 40, "what waits is committed together");
}

#[tokio::test]
async fn whenever_a_node_ends_another_shows_all_it_has_answered() {
    let cluster = Cluster::new().await;
    let other = cluster.node().await;
    let mut said = 0;
    for round in 0..12 {
        let mut node = cluster.node().await;
        for n in 0..8 {
            node.submit(message(ANN, &format!("{round}.{n}")));
        }
        let answered = 1 + round % 8;
        node.settled(answered).await;
        // Its threads end here, whatever they were at.
        drop(node);
        said += answered as Seq;
        let seqs = other.seqs().await;
        assert!(seqs.len() as Seq >= said, "{} of {said}", seqs.len()); // I1
        assert_eq!(seqs, (1..=seqs.len() as Seq).collect::<Vec<_>>()); // I3
        said = seqs.len() as Seq;
        let summary = other.log.summary(place(), BOB).await.expect("a read");
        assert_eq!(summary.expect("a summary").unread, said);
    }
}

#[tokio::test]
async fn the_feed_tells_each_commit_once_and_a_conversations_in_order() {
    let cluster = Cluster::new().await;
    let (mut one, mut other) = (cluster.node().await, cluster.node().await);
    let follower = cluster.node().await;
    for n in 0..50 {
        one.submit(message(ANN, &format!("a{n}")));
        other.submit(message(BOB, &format!("b{n}")));
    }
    let following = async {
        let (mut seqs, mut at) = (Vec::new(), FeedPosition::default());
        let mut commits = follower.log.commits();
        while seqs.len() < 100 {
            let page = follower.log.feed(&at, 7).await.expect("a page");
            assert!(!page.reset);
            for item in &page.items {
                let FeedItem::Entry(entry) = item else {
                    panic!("an entry");
                };
                seqs.push(entry.seq);
            }
            at = page.next;
            if page.items.is_empty() {
                let news = tokio::time::timeout(PATIENCE, commits.changed()).await;
                news.expect("news in time").expect("an open log");
            }
        }
        (seqs, at)
    };
    let (_, _, (seqs, at)) = tokio::join!(one.settled(50), other.settled(50), following);
    assert_eq!(seqs, (1..=100).collect::<Vec<_>>());
    let rest = one.log.feed(&at, 100).await.expect("a page");
    assert!(!rest.reset && rest.items.is_empty());
    let before = follower.log.feed_before(&at, 30).await.expect("a place");
    let again = follower.log.feed(&before, 100).await.expect("a page");
    assert_eq!(again.items.len(), 30);
}

#[tokio::test]
async fn receipts_of_two_nodes_only_move_forward() {
    let cluster = Cluster::new().await;
    let (mut one, mut other) = (cluster.node().await, cluster.node().await);
    for n in 0..10 {
        one.settle(message(ANN, &n.to_string()))
            .await
            .expect("commits");
    }
    let receipt = |read: Seq| Change::Receipt {
        conversation: place(),
        user: BOB,
        received: read,
        read,
    };
    for read in [3, 9, 4] {
        one.submit(receipt(read));
        other.submit(receipt(read - 1));
    }
    tokio::join!(one.settled(3), other.settled(3));
    for node in [&one, &other] {
        let summary = node.log.summary(place(), BOB).await.expect("a read");
        let summary = summary.expect("a summary");
        assert_eq!((summary.member.read, summary.unread), (9, 1)); // I6
    }
}

#[tokio::test]
async fn a_token_of_one_node_is_told_what_another_commits() {
    let cluster = Cluster::new().await;
    let (mut one, mut other) = (cluster.node().await, cluster.node().await);
    one.settle(message(ANN, "a")).await.expect("commits");
    let token = one.log.now_token();
    other.settle(message(ANN, "b")).await.expect("commits");
    for node in [&one, &other] {
        let changes = node.log.changes(BOB, &token, 10).await.expect("changes");
        assert!(!changes.reset);
        assert_eq!(changes.changed.len(), 1);
        assert_eq!(changes.changed[0].head, 2);
    }
}

fn own_write(value: &str, expected: u64) -> Change {
    Change::Kv(Box::new(KvChange {
        namespace: "clerk".to_owned(),
        writes: vec![KvWrite {
            key: "count".to_owned(),
            value: Some(value.as_bytes().to_vec()),
            expected: Some(expected),
            expires_at: 0,
        }],
        quota: 1 << 10,
        cursor: None,
    }))
}

#[tokio::test]
async fn of_two_nodes_that_expect_the_same_version_one_writes() {
    let cluster = Cluster::new().await;
    let (mut one, mut other) = (cluster.node().await, cluster.node().await);
    let mut version = 0;
    for n in 0..10 {
        one.submit(own_write(&format!("one {n}"), version));
        other.submit(own_write(&format!("other {n}"), version));
        let (here, there) = tokio::join!(one.settled(1), other.settled(1));
        let written: Vec<u64> = here
            .iter()
            .chain(&there)
            .filter_map(|result| match result {
                Ok(Outcome::Kv(versions)) => Some(versions[0]),
                Err(CommitError::Changed) => None,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(written.len(), 1);
        version = written[0];
        let stored = one.log.kv("clerk", "count").await.expect("a read");
        assert_eq!(stored.expect("a value").version, version);
    }
}

#[tokio::test]
async fn of_two_nodes_that_move_a_consumer_on_one_does_and_writes_what_goes_with_it() {
    let cluster = Cluster::new().await;
    let (mut one, mut other) = (cluster.node().await, cluster.node().await);
    let at = |n: u64| FeedPosition(n.to_string());
    let first = one.log.move_cursor("clerk", None, &at(0)).await;
    assert!(first.expect("noted"));
    let second = other.log.move_cursor("clerk", None, &at(7)).await;
    assert!(!second.expect("told"), "it stands somewhere");
    for n in 0..10 {
        let change = |who: &str| {
            let Change::Kv(mut change) = own_write(&format!("{who} {n}"), 0) else {
                unreachable!("a write of values");
            };
            change.writes[0].expected = None;
            change.cursor = Some(Advance {
                consumer: "clerk".to_owned(),
                from: Some(at(2 * n)),
                to: at(2 * n + 1),
            });
            Change::Kv(change)
        };
        one.submit(change("one"));
        other.submit(change("other"));
        let (here, there) = tokio::join!(one.settled(1), other.settled(1));
        let mut written = Vec::new();
        for (who, result) in [("one", &here[0]), ("other", &there[0])] {
            match result {
                Ok(Outcome::Kv(_)) => written.push(format!("{who} {n}")),
                Err(CommitError::Changed) => {}
                other => panic!("{other:?}"),
            }
        }
        let kept = one.log.kv("clerk", "count").await.expect("a read");
        let kept = String::from_utf8(kept.expect("a value").value).expect("text");
        assert_eq!(written, [kept]);
        let (from, to) = (at(2 * n + 1), at(2 * n + 2));
        let (here, there) = tokio::join!(
            one.log.move_cursor("clerk", Some(&from), &to),
            other.log.move_cursor("clerk", Some(&from), &to)
        );
        let moved = [here.expect("told"), there.expect("told")];
        assert_eq!(moved.iter().filter(|moved| **moved).count(), 1);
        let stands = other.log.cursor("clerk").await.expect("a read");
        assert_eq!(stands, Some(to));
    }
}

fn group(id: ConversationId, author: UserId, act: GroupAct) -> Change {
    Change::Group(Box::new(GroupChange {
        conversation: id,
        author,
        act,
        record: DecisionRecord::default(),
        effects: Vec::new(),
    }))
}

#[tokio::test]
async fn members_that_one_node_adds_and_removes_are_the_others_too() {
    let cluster = Cluster::new().await;
    let (mut one, mut other) = (cluster.node().await, cluster.node().await);
    let id = ConversationId::random();
    let users: Vec<UserId> = (100..140).map(UserId).collect();
    let create = GroupAct::Create(Box::new(NewGroup {
        title: "all of them".to_owned(),
        avatar: None,
        join: JoinPolicy::Open,
        history: Past::All,
        slow_mode_s: None,
        retention: None,
        users: users.clone(),
    }));
    one.settle(group(id, ANN, create)).await.expect("commits");
    let members = other.log.members(id).await.expect("a read");
    assert_eq!(members.len(), 41);
    let remove = GroupAct::Remove { user: users[3] };
    other.settle(group(id, ANN, remove)).await.expect("commits");
    for node in [&one, &other] {
        let roster = node.log.roster(id).await.expect("a read");
        assert_eq!(roster.users.len(), 40);
        assert!(!roster.users.contains(&users[3]));
    }
    let join = GroupAct::Join { most: 100 };
    one.settle(group(id, users[3], join))
        .await
        .expect("commits");
    let page = other.log.member_page(id, None, 100).await.expect("a page");
    assert_eq!(page.len(), 41);
    let token = other.log.changes(users[3], "", 10).await.expect("a token");
    assert!(token.reset);
    let span = Span {
        limit: 100,
        ..Span::default()
    };
    let log = other.log.page(id, ANN, span).await.expect("a page");
    let seqs: Vec<Seq> = log.entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(
        seqs,
        (1..=43).collect::<Vec<_>>(),
        "one for each who came or went"
    );
}

#[tokio::test]
async fn many_nodes_may_bring_a_database_up_at_once() {
    let cluster = Cluster::new().await;
    let bring = || async {
        let mongo = Mongo::connect(&cluster.settings).await.expect("connects");
        schema::bring(&mongo).await.expect("migrates")
    };
    let (one, other, third) = tokio::join!(bring(), bring(), bring());
    assert_eq!((one.to, other.to, third.to), (1, 1, 1));
    assert_eq!(bring().await.from, Some(1));
    let mut numbers = BTreeMap::new();
    for _ in 0..3 {
        let node = cluster.node().await;
        numbers.insert(node.log.number(), node);
    }
    assert_eq!(numbers.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
}
