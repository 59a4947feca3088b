//! Searching by the protocol: what is found, for whom, in which order, and how long after it was said. What an index
//! survives is in `search/lifetimes.rs`, the engine's own suite in `search/conformance.rs`, what needs no server in
//! `search/visibility.rs`, indexes on servers of their own in `search/elastic.rs`.

mod conformance;
mod elastic;
mod faults;
pub mod library;
mod lifetimes;
mod scale;
pub mod servers;
mod turns;
mod visibility;

use std::time::{Duration, Instant};

use kith::config::SearchEngine;
use serde_json::{Value, json};

use crate::media::steps::{content, uploaded};
use crate::support::{PATIENCE, TestServer, TestSocket, TestUser};

async fn searching() -> TestServer {
    TestServer::with(|config| config.search.engine = SearchEngine::Embedded).await
}

/// The answer to a search, once all that was committed is indexed.
async fn search(server: &TestServer, user: &TestUser, fields: &str) -> Value {
    server.app().indexed().await;
    let (status, answer) = ask(server, user, fields).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn ask(server: &TestServer, user: &TestUser, fields: &str) -> (u16, Value) {
    let path = format!("/v1/search?{fields}");
    server.call("GET", &path, Some(&user.token), None).await
}

fn texts(answer: &Value) -> Vec<&str> {
    let messages = answer["messages"].as_array().expect("messages");
    messages
        .iter()
        .map(|hit| hit["entry"]["content"]["text"].as_str().expect("a text"))
        .collect()
}

/// Sends texts, each acked before the next; the conversation.
async fn say(socket: &mut TestSocket, to: &TestUser, texts: &[&str]) -> String {
    let mut conversation = String::new();
    for text in texts {
        let ack = socket.send_text(&to.id, &fresh_id(), text).await;
        assert_eq!(ack["ok"]["state"], "committed", "{ack}");
        conversation = ack["ok"]["conversation"]
            .as_str()
            .expect("an id")
            .to_owned();
    }
    conversation
}

fn fresh_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("s{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

#[tokio::test]
async fn a_message_is_found_within_two_seconds_of_its_ack() {
    let server = searching().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    say(&mut socket, &bob, &["the first one"]).await;
    server.app().indexed().await;
    let mut quickest = PATIENCE;
    for word in ["walrus", "otter", "heron"] {
        say(&mut socket, &bob, &[word]).await;
        let acked = Instant::now();
        while texts(&ask(&server, &bob, &format!("q={word}")).await.1).is_empty() {
            assert!(acked.elapsed() < PATIENCE, "never found");
            tokio::task::yield_now().await;
        }
        quickest = quickest.min(acked.elapsed());
    }
    assert!(quickest < Duration::from_secs(2), "{quickest:?}");
}

#[tokio::test]
async fn every_substring_of_chinese_is_found_and_other_words_whole() {
    let server = searching().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    let (one, two) = (
        "我们明天在北京市长安街见面",
        "新的iPhone手机用Kubernetes部署，ＧＯＯＤ",
    );
    say(&mut socket, &bob, &[one, two, "北 京"]).await;
    let chars: Vec<char> = one.chars().collect();
    for length in [1, 2, 3, 5, 13] {
        for part in chars.windows(length) {
            let words: String = part.iter().collect();
            let answer = search(&server, &bob, &format!("q={words}")).await;
            assert!(texts(&answer).contains(&one), "{words}: {answer}");
        }
    }
    for (words, expected) in [
        ("市长", &[one][..]),
        ("京北", &[]),
        ("北京", &[one]),
        ("京", &["北 京", one]),
        ("iphone手机", &[two]),
        ("手机 部署", &[two]),
        ("手机用kubernetes", &[two]),
        ("KUBERNETES good", &[two]),
        ("ｇｏｏｄ", &[two]),
        ("kube", &[]),
        ("手机 北京", &[]),
        ("，", &[]),
    ] {
        let answer = search(&server, &bob, &format!("q={words}")).await;
        assert_eq!(texts(&answer), expected, "{words}");
    }
}

#[tokio::test]
async fn filters_narrow_by_conversation_sender_and_time() {
    let server = searching().await;
    let (ann, bob, eve) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let (mut of_ann, mut of_bob) = (server.session(&ann).await, server.session(&bob).await);
    let with_bob = say(&mut of_ann, &bob, &["plan one", "no word"]).await;
    let with_eve = say(&mut of_ann, &eve, &["plan two"]).await;
    say(&mut of_bob, &ann, &["plan three"]).await;
    let all = search(&server, &ann, "q=plan").await;
    assert_eq!(
        texts(&all),
        ["plan three", "plan two", "plan one"],
        "newest first"
    );
    assert!(all["cursor"].is_null());
    let at: Vec<u64> = all["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|hit| hit["entry"]["at"].as_u64().expect("a time"))
        .collect();
    for (fields, expected) in [
        (
            format!("q=plan&conversation={with_bob}"),
            vec!["plan three", "plan one"],
        ),
        (format!("q=plan&conversation={with_eve}"), vec!["plan two"]),
        (format!("q=plan&from={}", bob.id), vec!["plan three"]),
        (format!("from={}", bob.id), vec!["plan three"]),
        (
            format!("q=plan&after={}&before={}", at[0] + 1, u64::MAX),
            vec![],
        ),
        (format!("q=plan&before={}", at[2] - 1), vec![]),
        (
            format!("conversation={with_bob}"),
            vec!["plan three", "no word", "plan one"],
        ),
        (
            format!("conversation={with_bob}&from={}", ann.id),
            vec!["no word", "plan one"],
        ),
        (
            format!(
                "conversation={with_bob}&q=plan&from={}&after={}&before={}",
                ann.id, at[2], at[2]
            ),
            vec!["plan one"],
        ),
        ("q=plan&from=77".to_owned(), vec![]),
    ] {
        let answer = search(&server, &ann, &fields).await;
        assert_eq!(texts(&answer), expected, "{fields}");
    }
    let inclusive = search(
        &server,
        &ann,
        &format!("q=plan&after={}&before={}", at[0], at[0]),
    )
    .await;
    assert!(texts(&inclusive).contains(&"plan three"));
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip_while_more_is_said() {
    let server = searching().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    let said: Vec<String> = (0..25)
        .map(|n| format!("walrus {}", "more ".repeat(n % 5)))
        .collect();
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    let conversation = say(&mut socket, &bob, &said).await;
    for fields in ["q=walrus", "q=walrus&order=best", "conversation=@"] {
        let fields = fields.replace('@', &conversation);
        let (mut cursor, mut seen) = (String::new(), Vec::new());
        for page in 0.. {
            let answer = search(&server, &bob, &format!("{fields}&limit=7{cursor}")).await;
            let messages = answer["messages"].as_array().expect("messages");
            assert!(messages.len() <= 7);
            seen.extend(
                messages
                    .iter()
                    .map(|hit| hit["entry"]["seq"].as_u64().expect("a seq")),
            );
            let Some(next) = answer["cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
            assert!(page < 20);
            if page == 0 {
                say(&mut socket, &bob, &["something else"]).await;
            }
        }
        let mut once: Vec<u64> = seen.iter().copied().filter(|seq| *seq <= 25).collect();
        once.sort_unstable();
        assert_eq!(once, (1..=25).collect::<Vec<_>>(), "{fields}");
    }
}

#[tokio::test]
async fn the_best_match_comes_first_when_that_is_asked_for() {
    let server = searching().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    let short = "budget budget";
    let long = "somewhere in a long message about everything else stands the budget too";
    say(&mut socket, &bob, &[short, long]).await;
    let newest = search(&server, &ann, "q=budget&order=newest").await;
    assert_eq!(texts(&newest), [long, short]);
    let best = search(&server, &ann, "q=budget&order=best").await;
    assert_eq!(texts(&best), [short, long]);
}

#[tokio::test]
async fn highlights_are_in_scalar_values_of_the_text_they_are_in() {
    let server = searching().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    say(&mut socket, &bob, &["👍🏽 cafe\u{301} 北京，北京 CAFÉ"]).await;
    let answer = search(&server, &bob, "q=北京 café").await;
    let expected = json!([{"start": 3, "end": 8}, {"start": 9, "end": 11}, {"start": 12, "end": 14}, {"start": 15, "end": 19}]);
    assert_eq!(answer["messages"][0]["highlights"], expected, "{answer}");
    let file = uploaded(&server, &ann, "a", "text/plain", b"a file".to_vec()).await;
    let mut file = content("file", &file);
    file["name"] = "an invoice.pdf".into();
    for (content, query, field) in [
        (file, "invoice", "name"),
        (
            json!({"type": "location", "lat": 1, "lon": 2, "title": "a lighthouse"}),
            "lighthouse",
            "title",
        ),
        (
            json!({"type": "card", "title": "a trip", "text": "to mars"}),
            "trip",
            "title",
        ),
    ] {
        let fields = json!({"to": {"user": bob.id}, "client_id": fresh_id(), "content": content});
        let ack = socket.request("send", fields).await;
        assert_eq!(ack["ok"]["state"], "committed", "{ack}");
        let answer = search(&server, &bob, &format!("q={query}")).await;
        let highlight = &answer["messages"][0]["highlights"][0];
        assert_eq!(highlight["field"], field, "{answer}");
        assert!(highlight["end"].as_u64() > highlight["start"].as_u64());
    }
    let across = search(&server, &bob, "q=mars trip").await;
    assert_eq!(
        across["messages"][0]["highlights"].as_array().map(Vec::len),
        Some(2)
    );
}

#[tokio::test]
async fn nobody_finds_what_is_not_theirs() {
    let server = searching().await;
    let (ann, bob, eve) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let mut socket = server.session(&ann).await;
    let conversation = say(&mut socket, &bob, &["a secret"]).await;
    assert!(texts(&search(&server, &eve, "q=secret").await).is_empty());
    let by_sender = search(&server, &eve, &format!("from={}", ann.id)).await;
    assert!(texts(&by_sender).is_empty());
    for fields in [
        format!("conversation={conversation}"),
        format!("q=secret&conversation={conversation}"),
        "q=x&conversation=none".to_owned(),
    ] {
        let (status, answer) = ask(&server, &eve, &fields).await;
        assert_eq!(
            (status, answer["code"].as_str()),
            (404, Some("not_found")),
            "{fields}"
        );
    }
    let (status, answer) = server.call("GET", "/v1/search?q=secret", None, None).await;
    assert_eq!(
        (status, answer["code"].as_str()),
        (401, Some("unauthenticated"))
    );
}

#[tokio::test]
async fn what_was_recalled_is_found_by_nobody_and_leaves_the_disk() {
    let server = searching().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    let conversation = say(&mut socket, &bob, &["the word is zyzzyva", "another word"]).await;
    assert_eq!(texts(&search(&server, &bob, "q=zyzzyva").await).len(), 1);
    let recalled = socket
        .request("recall", json!({"conversation": conversation, "seq": 1}))
        .await;
    assert!(recalled["ok"].is_object(), "{recalled}");
    // At once: the log is asked, however late the index is.
    let (_, answer) = ask(&server, &bob, "q=zyzzyva").await;
    assert!(texts(&answer).is_empty());
    assert!(texts(&search(&server, &bob, "q=zyzzyva").await).is_empty());
    assert_eq!(
        texts(&search(&server, &bob, "q=word").await),
        ["another word"]
    );
    assert_eq!(
        texts(&search(&server, &bob, &format!("conversation={conversation}")).await),
        ["another word"]
    );
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let server = searching().await;
    let ann = server.user("ann").await;
    server.app().indexed().await;
    let long = format!("q={}", "好".repeat(257));
    for fields in [
        "",
        "q=",
        "q=%20",
        &long,
        "q=a&limit=0",
        "q=a&order=oldest",
        "q=a&cursor=x",
        "q=a&after=x",
        "q=a&cursor=b0000000000000000000000001",
    ] {
        let (status, answer) = ask(&server, &ann, fields).await;
        assert_eq!(
            (status, answer["code"].as_str()),
            (400, Some("bad_request")),
            "{fields}: {answer}"
        );
    }
    let (status, _) = ask(&server, &ann, &format!("q={}", "好".repeat(256))).await;
    assert_eq!(status, 200);
    let (_, document) = server.call("GET", "/v1/openapi.json", None, None).await;
    let parameters = document["paths"]["/v1/search"]["get"]["parameters"]
        .as_array()
        .expect("parameters");
    assert_eq!(parameters.len(), 8, "{parameters:?}");
}

#[tokio::test]
async fn too_many_searches_at_once_are_told_when_to_come_again() {
    let server = TestServer::with(|config| {
        config.search.engine = SearchEngine::Embedded;
        config.limits.rate = true;
    })
    .await;
    let ann = server.user("ann").await;
    server.app().indexed().await;
    let mut refused = None;
    for _ in 0..200 {
        let (status, answer) = ask(&server, &ann, "q=a").await;
        if status != 200 {
            refused = Some((status, answer));
            break;
        }
    }
    let (status, answer) = refused.expect("a bound");
    assert_eq!(
        (status, answer["code"].as_str()),
        (429, Some("rate_limited"))
    );
    assert!(answer["retry_after_ms"].as_u64().is_some());
}

#[tokio::test]
async fn without_search_only_a_conversation_is_looked_through() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    let conversation = say(&mut socket, &bob, &["one", "two"]).await;
    let (status, answer) = ask(&server, &ann, "q=one").await;
    assert_eq!(
        (status, answer["code"].as_str()),
        (503, Some("unavailable"))
    );
    assert!(answer["retry_after_ms"].as_u64().is_some());
    let (_, answer) = ask(&server, &ann, &format!("conversation={conversation}")).await;
    assert_eq!(texts(&answer), ["two", "one"]);
    let (_, ready) = server.call("GET", "/readyz", None, None).await;
    assert_eq!(ready["parts"]["search"], "ok", "{ready}");
}
