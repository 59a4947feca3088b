//! What is found and what is kept of a group: by members of now, from where each may see,
//! for as long as the group says.

use kith::config::SearchEngine;
use serde_json::{Value, json};

use super::{call, group_with, history, say};
use crate::support::{TestServer, TestUser};

async fn finds(server: &TestServer, user: &TestUser, fields: &str) -> Vec<String> {
    server.app().indexed().await;
    let path = format!("/v1/search?{fields}");
    let (status, answer) = server.call("GET", &path, Some(&user.token), None).await;
    assert_eq!(status, 200, "{answer}");
    let messages = answer["messages"].as_array().expect("messages");
    let text = |hit: &Value| hit["entry"]["content"]["text"].as_str().map(str::to_owned);
    messages.iter().filter_map(text).collect()
}

#[tokio::test]
async fn members_find_what_they_may_see_and_former_ones_nothing() {
    let server = TestServer::with(|config| config.search.engine = SearchEngine::Embedded).await;
    let ann = server.user("ann").await;
    let (bob, cid) = (server.user("bob").await, server.user("cid").await);
    for (past, later_finds) in [
        ("from_joining", vec!["otter two"]),
        ("all", vec!["otter two", "otter one"]),
    ] {
        let settings = json!({"history": past});
        let group = group_with(&server, &ann, &[&bob], settings).await;
        let mut from = server.session(&ann).await;
        say(&mut from, &group, "1", "otter one").await;
        let joins = json!({"users": [cid.id]});
        call(&server, &ann, "POST", &group, "/members", Some(joins)).await;
        say(&mut from, &group, "2", "otter two").await;

        let everywhere = "q=otter";
        let here = format!("q=otter&conversation={group}");
        for fields in [everywhere, &here] {
            assert_eq!(finds(&server, &cid, fields).await, later_finds, "{past}");
            let all = ["otter two", "otter one"];
            assert_eq!(finds(&server, &bob, fields).await[..2], all, "{past}");
        }
        let path = format!("/members/{}", cid.id);
        let (status, _) = call(&server, &ann, "DELETE", &group, &path, None).await;
        assert_eq!(status, 204);
        assert!(finds(&server, &cid, everywhere).await.is_empty(), "{past}");
        let refused = format!("/v1/search?{here}");
        let (status, refusal) = server.call("GET", &refused, Some(&cid.token), None).await;
        assert_eq!((status, &refusal["code"]), (403, &json!("not_member")));
        let (status, _) = call(&server, &ann, "DELETE", &group, "", None).await;
        assert_eq!(status, 204);
        assert!(finds(&server, &bob, everywhere).await.is_empty(), "{past}");
    }
}

#[tokio::test]
async fn a_group_keeps_as_much_as_it_says_and_others_everything() {
    let mut server = TestServer::with(|_| {}).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let short = group_with(&server, &ann, &[&bob], json!({"retention": {"count": 2}})).await;
    let long = group_with(&server, &ann, &[&bob], json!({})).await;
    let mut from = server.session(&ann).await;
    for client_id in ["1", "2", "3"] {
        say(&mut from, &short, client_id, "said").await;
        say(&mut from, &long, client_id, "said").await;
    }
    drop(from);
    // The first round is at the start.
    server.restart().await;
    let mut to = server.session(&bob).await;
    let kept = loop {
        let kept = history(&mut to, &short).await;
        if kept.len() == 2 {
            break kept;
        }
    };
    let client_ids: Vec<_> = kept.iter().map(|entry| &entry["seq"]).collect();
    assert_eq!(client_ids, [&json!(4), &json!(5)]);
    assert_eq!(history(&mut to, &long).await.len(), 5);
}
