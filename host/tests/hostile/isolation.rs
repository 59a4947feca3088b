//! With `isolation = "message"` a rule, an observer and a responder that remember what they were shown find nothing of it in
//! their next call. The hooks on a message's path are in `hostile.rs`.

use serde_json::{Value, json};

use super::{SECRET, Siege, disguised};
use crate::conformance::bus::eventually;

/// Words of the secret that a hook is asked for.
const ROUNDS: usize = 4;

async fn isolated(hook: &str) -> Siege {
    let mut siege = Siege::begin().await;
    siege.bind(hook, json!({"isolation": "message"})).await;
    siege.renew().await;
    siege
}

/// What the rule says it remembers, by who registers.
async fn remembered(siege: &Siege, word: &str) -> String {
    let body =
        json!({"username": format!("rogue-seen-{word}"), "password": "correct horse battery"});
    let (status, denied) = siege
        .server
        .call("POST", "/v1/users", None, Some(body))
        .await;
    assert_eq!(
        (status, &denied["code"]),
        (422, &json!("rejected")),
        "{denied}"
    );
    let text = denied.to_string();
    match (text.contains("remembered"), text.contains("forgotten")) {
        (true, false) => "remembered".to_owned(),
        (false, true) => "forgotten".to_owned(),
        _ => panic!("{denied}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_in_isolation_remembers_nobody_it_was_asked_about() {
    let mut siege = Siege::begin().await;
    siege.server.user("quincejelly").await;
    assert_eq!(remembered(&siege, "quince").await, "remembered", "reused");
    siege
        .bind("admin-rule", json!({"isolation": "message"}))
        .await;
    siege.renew().await;
    for round in 0..ROUNDS {
        siege.server.user(&format!("plumjelly{round}")).await;
        assert_eq!(remembered(&siege, "plumjelly").await, "forgotten");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_in_isolation_finds_nothing_of_the_call_before() {
    let mut siege = isolated("observer").await;
    let number = async |siege: &Siege, name: &str| {
        let name = format!("kith_plugin_count_total{{name=\"{name}\",plugin=\"rogue\"}}");
        siege
            .metrics()
            .await
            .get(&name)
            .copied()
            .unwrap_or_default()
    };
    let mut asked = 0.0;
    for round in 0..ROUNDS {
        siege
            .provoke(&format!("the {SECRET} is in the {SECRET} {round}"))
            .await;
        has_caught_up(&siege, "observer").await;
        for question in [
            format!("seen {}", &SECRET[..5]),
            format!("search {}", disguised(SECRET)),
        ] {
            siege.provoke(&format!("rogue-observer {question}")).await;
            has_caught_up(&siege, "observer").await;
            asked += 1.0;
        }
    }
    eventually(async || (number(&siege, "found_nothing").await == asked).then_some(())).await;
    assert_eq!(number(&siege, "found").await, 0.0);
}

/// Everything was shown: what follows is another call.
async fn has_caught_up(siege: &Siege, hook: &str) {
    eventually(async || {
        let (_, shown) = siege.server.admin("GET", "/consumers", None).await;
        let rows = shown["consumers"].as_array().expect("rows");
        let own = rows.iter().find(|row| row["hook"] == hook);
        (own.expect("it is bound")["behind"] == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_responder_in_isolation_finds_nothing_of_the_call_before() {
    let mut siege = isolated("responder").await;
    let path = "/v1/users?query=rogue";
    let asking = siege.server.call("GET", path, Some(&siege.ann.token), None);
    let (_, found) = asking.await;
    let account = found["users"][0]["id"].as_str().expect("the account");
    let account = account.to_owned();
    let mut sent = 0;
    for _ in 0..ROUNDS {
        for (text, wanted) in [
            (format!("the {SECRET} is in the {SECRET}"), "well"),
            (format!("rogue-responder seen {}", &SECRET[..5]), "false"),
            (format!("the {SECRET} is in the {SECRET}"), "well"),
            (
                format!("rogue-responder search {}", disguised(SECRET)),
                "false",
            ),
        ] {
            sent += 1;
            let id = format!("r{sent}");
            let said = siege.attacker.send_text(&account, &id, &text).await;
            assert!(said["ok"]["seq"].is_u64(), "{said}");
            let answer = loop {
                let told: Value = siege.attacker.event("entry").await;
                if told["entry"]["from"] == account.as_str() {
                    break told["entry"]["content"]["text"].clone();
                }
            };
            assert_eq!(answer, wanted, "{text}");
        }
    }
}
