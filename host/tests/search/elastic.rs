//! The index on real servers, Elasticsearch and OpenSearch: the suite every engine must pass, the same messages for the
//! same queries as the embedded one, what writers on their own may not undo, and what leaves the server's disk.
//! What happens when a server is gone or slow is in `faults.rs`.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kith::config::SearchEngine;
use kith::ids::{ConversationId, EntryId, UserId};
use kith::search::elastic::ElasticSearch;
use kith::search::{Document, IndexChange, Order, Query, Room, Search, SearchError, terms};
use kith::store::feed::FeedPosition;
use serde_json::{Value, json};

use super::conformance::conforms;
use super::servers::{BOTH, Kind, fresh_prefix, shared};
use super::{ask, say, search, texts};
use crate::crash::process::ServerProcess;
use crate::support::{PATIENCE, TestServer};

async fn conforms_on(kind: Kind) {
    let lease = shared(kind).await;
    conforms(Arc::new(lease.server.engine(&fresh_prefix()))).await;
}

#[tokio::test]
async fn elasticsearch_does_what_every_engine_must() {
    conforms_on(Kind::Elasticsearch).await;
}

#[tokio::test]
async fn opensearch_does_what_every_engine_must() {
    conforms_on(Kind::OpenSearch).await;
}

/// Everything one may ask of a few messages, and what was answered.
async fn answers(server: &TestServer) -> Vec<(String, Vec<String>)> {
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    let long = "我们明天在北京市长安街见面";
    let said = [
        long,
        "新的iPhone手机用Kubernetes部署，ＧＯＯＤ",
        "北 京",
        "市长说：北京市的预算，三月 budget",
        "The March budget, e\u{301}te\u{301} 2026",
        "好👍🏽的 ｱｲｳ 한국어",
        "東京と京都、繁體中文與简体中文",
    ];
    say(&mut socket, &bob, &said).await;
    let chars: Vec<char> = long.chars().collect();
    let mut queries: Vec<String> = (1..=4)
        .flat_map(|length| chars.windows(length).map(|part| part.iter().collect()))
        .collect();
    let others = [
        "市长",
        "京北",
        "京",
        "iphone手机",
        "手机 部署",
        "KUBERNETES good",
        "kube",
        "手机 北京",
        "budget 三月",
        "ÉTÉ",
        "👍",
        "アイ",
        "국어",
        "中文",
        "繁体",
        "繁體",
        "京都 東京",
        "2026",
    ];
    queries.extend(others.map(str::to_owned));
    let mut answers = Vec::new();
    for words in queries {
        for order in ["newest", "best"] {
            let fields = format!("q={words}&order={order}&limit=50");
            let answer = search(server, &bob, &fields).await;
            let mut found: Vec<String> = texts(&answer).iter().map(ToString::to_string).collect();
            if order == "best" {
                found.sort_unstable();
            }
            answers.push((fields, found));
        }
    }
    answers
}

#[tokio::test]
async fn the_same_queries_find_the_same_messages_on_all_three_engines() {
    let embedded = TestServer::with(|config| config.search.engine = SearchEngine::Embedded).await;
    let expected = answers(&embedded).await;
    let hits: usize = expected.iter().map(|(_, found)| found.len()).sum();
    assert!(hits > 2 * 42, "each part of the long text: {hits}");
    for kind in BOTH {
        let lease = shared(kind).await;
        let server = TestServer::with(|config| lease.server.used_by(config)).await;
        assert_eq!(answers(&server).await, expected, "{kind:?}");
    }
}

const ROOM: ConversationId = ConversationId(77);

fn message(id: u64, text: &str) -> Document {
    Document {
        id: EntryId(id << 20),
        conversation: ROOM,
        seq: id,
        from: UserId(1),
        texts: vec![text.to_owned()],
    }
}

async fn found(engine: &ElasticSearch, words: &str) -> Vec<u64> {
    let query = Query {
        terms: terms::terms(words),
        rooms: vec![Room {
            conversation: ROOM,
            from: 1,
        }],
        from: None,
        after_ms: None,
        before_ms: None,
        order: Order::Newest,
        below: None,
        limit: 50,
    };
    let candidates = engine.find(query).await.expect("found");
    candidates.iter().map(|candidate| candidate.seq).collect()
}

fn at(place: &str) -> FeedPosition {
    FeedPosition(place.to_owned())
}

#[tokio::test]
async fn a_writer_that_was_overtaken_undoes_nothing() {
    for kind in BOTH {
        let lease = shared(kind).await;
        let prefix = fresh_prefix();
        let (late, next) = (lease.server.engine(&prefix), lease.server.engine(&prefix));
        late.open().await.expect("opens");
        let first = (1..=2).map(|id| IndexChange::Add(message(id, "first words")));
        late.apply(first.collect()).await.expect("applied");
        late.commit(&at("one"), 1).await.expect("committed");

        assert_eq!(next.open().await.expect("opens"), Some(at("one")));
        let edited = vec![
            IndexChange::Replace(message(1, "other words")),
            IndexChange::Remove {
                id: EntryId(2 << 20),
                conversation: ROOM,
                seq: 2,
            },
        ];
        next.apply(edited).await.expect("applied");
        next.commit(&at("two"), 2).await.expect("committed");

        for id in [1, 2] {
            late.apply(vec![IndexChange::Add(message(id, "first words"))])
                .await
                .ok();
            let overtaken = late.commit(&at("late"), 3).await;
            assert!(
                matches!(overtaken, Err(SearchError::Unavailable(_))),
                "{overtaken:?}"
            );
        }
        next.apply(vec![IndexChange::Add(message(3, "third words"))])
            .await
            .expect("applied");
        next.commit(&at("three"), 3).await.expect("still writes");
        assert_eq!(found(&next, "words").await, [3, 1], "{kind:?}");
        assert_eq!(found(&next, "other").await, [1]);
        assert_eq!(late.open().await.expect("opens again"), Some(at("three")));
    }
}

/// Whether a word stands in any file below a folder.
fn keeps(folder: &Path, word: &str) -> bool {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|entry| entry.path()).any(|path| {
        if path.is_dir() {
            return keeps(&path, word);
        }
        // Files come and go while the server works.
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes
            .windows(word.len())
            .any(|window| window == word.as_bytes())
    })
}

#[tokio::test]
async fn what_was_removed_leaves_the_servers_disk_with_a_purge() {
    for kind in BOTH {
        let lease = shared(kind).await;
        let engine = lease.server.engine(&fresh_prefix());
        engine.open().await.expect("opens");
        let said = vec![
            IndexChange::Add(message(1, "the word is zyzzyva")),
            IndexChange::Add(message(2, "the word is quokka")),
        ];
        engine.apply(said).await.expect("applied");
        engine.commit(&at("one"), 1).await.expect("committed");
        let data = lease.server.data();
        assert!(keeps(&data, "zyzzyva"), "nothing to erase");
        let erased = IndexChange::RemoveBelow {
            conversation: ROOM,
            below: 2,
        };
        engine.apply(vec![erased]).await.expect("applied");
        engine.commit(&at("two"), 2).await.expect("committed");
        assert_eq!(engine.removed_at(), Some(2));
        engine.purge().await.expect("purged");
        assert_eq!(engine.removed_at(), None);
        assert!(!keeps(&data, "zyzzyva"), "{kind:?} still has it");
        assert!(keeps(&data, "quokka"));
        engine.clear().await.expect("cleared");
    }
}

/// Calls a server itself.
async fn raw(method: &str, url: String, body: Value) -> Value {
    let method = method.parse().expect("a method");
    let request = reqwest::Client::new().request(method, url).json(&body);
    let answer = request.send().await.expect("an answer");
    answer.json().await.expect("JSON")
}

#[tokio::test]
async fn an_index_of_somebody_elses_is_left_alone() {
    for kind in BOTH {
        let lease = shared(kind).await;
        let prefix = fresh_prefix();
        let url = format!("{}/{prefix}-messages", lease.server.url());
        raw("PUT", url.clone(), json!({})).await;
        let engine = lease.server.engine(&prefix);
        let refused = engine.open().await.expect_err("refused").to_string();
        assert!(refused.contains("search.prefix"), "{refused}");
        engine.clear().await.expect_err("refused");
        let there = raw("GET", url, json!({})).await;
        assert!(there[format!("{prefix}-messages")].is_object(), "{there}");
    }
}

#[tokio::test]
async fn reindex_and_compact_work_on_a_server() {
    let lease = shared(Kind::OpenSearch).await;
    let prefix = fresh_prefix();
    let mut server = ServerProcess::searching_at(&lease.server.url(), &prefix).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    let ack = socket.send_text(&bob.id, "1", "a walrus").await;
    assert_eq!(ack["ok"]["state"], "committed");
    socket.send_text(&bob.id, "2", "an otter").await;
    server.stop().await;
    let index = format!("{}/{prefix}-messages-1", lease.server.url());
    raw("DELETE", index.clone(), json!({})).await;
    let (status, printed, said) = server.run(&["admin", "reindex", "--json"]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("indexed 2 of about 2"), "{said}");
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(printed["indexed"], 2, "{printed}");
    let (status, printed, said) = server.run(&["admin", "compact"]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(
        printed.contains("the search index is rewritten"),
        "{printed}"
    );
    let count = raw("GET", format!("{index}/_count"), json!({})).await;
    assert_eq!(count["count"], 3, "two messages and the note: {count}");
    server.restart().await;
    let began = Instant::now();
    while server.get_as(&bob, "/v1/search?q=otter").await.1["messages"][0].is_null() {
        assert!(began.elapsed() < PATIENCE, "never found");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_index_that_was_deleted_is_made_anew_while_the_server_runs() {
    let lease = shared(Kind::Elasticsearch).await;
    let mut prefix = String::new();
    let server = TestServer::with(|config| {
        lease.server.used_by(config);
        prefix.clone_from(&config.search.prefix);
    })
    .await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    say(&mut socket, &bob, &["a walrus", "an otter"]).await;
    assert_eq!(texts(&search(&server, &bob, "q=walrus").await).len(), 1);
    let url = format!("{}/{prefix}-messages-1", lease.server.url());
    raw("DELETE", url.clone(), json!({})).await;
    say(&mut socket, &bob, &["a second walrus"]).await;
    let began = Instant::now();
    loop {
        let (status, answer) = ask(&server, &bob, "q=walrus").await;
        if status == 200 && texts(&answer).len() == 2 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{status}: {answer}");
        tokio::task::yield_now().await;
    }
    let made = raw("GET", url, json!({})).await;
    let mappings = &made[format!("{prefix}-messages-1")]["mappings"];
    assert_eq!(mappings["dynamic"], "strict", "{made}");
}
