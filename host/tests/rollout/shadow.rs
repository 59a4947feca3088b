//! Shadows: what is compared and counted, and that nothing of it reaches anybody. The shadow here rejects what the version
//! that serves masks.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Talk, done, judged, report, server, shadow, states, told};
use crate::support::{PATIENCE, TestServer};

/// The counts at the filter, once so many were compared, failed or were dropped.
async fn compared(server: &TestServer, least: u64) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let report = report(server).await;
        let hook = &report["shadow"]["hooks"][0];
        let of = |field: &str| hook[field].as_u64().unwrap_or(0);
        let counts = ["agreed", "differed", "failed", "dropped"].map(of);
        if counts.iter().sum::<u64>() >= least {
            return hook.clone();
        }
        assert!(Instant::now() < until, "{counts:?} of {least}: {report}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_shadow_is_compared_and_nothing_of_it_takes_effect() {
    let mut server = server(&["good", "strict"], |_| {}).await;
    let mut talk = Talk::begin(&server).await;
    let begun = shadow(&server, "strict").await;
    assert_eq!(
        (&begun["state"], &begun["version"], &begun["serves"]),
        (
            &json!("shadow"),
            &json!("1.0.0-strict"),
            &json!("1.0.0-good")
        )
    );
    assert_eq!(states(&server).await, ["good active", "strict shadow"]);
    for n in 0..20 {
        let reply = talk.say(&format!("left of nothing {n}")).await;
        let text = format!("**** of nothing {n}");
        assert_eq!(reply["ok"]["content"]["text"], text, "{reply}");
        let seq = reply["ok"]["seq"].as_u64().expect("a seq");
        let by = judged(&server, &talk.conversation, seq).await;
        let good = ("1.0.0-good".to_owned(), "replaced".to_owned());
        assert_eq!(by, [good], "a shadow stands in no record");
    }
    for n in 0..10 {
        let reply = talk.say(&format!("straight on {n}")).await;
        assert!(reply["ok"]["seq"].is_u64(), "{reply}");
    }
    let hook = compared(&server, 30).await;
    assert_eq!(
        (&hook["hook"], &hook["agreed"], &hook["differed"]),
        (&json!("content-filter"), &json!(10), &json!(20))
    );
    assert_eq!((&hook["failed"], &hook["dropped"]), (&json!(0), &json!(0)));
    let examples = hook["examples"].as_array().expect("examples");
    assert_eq!(examples.len(), 20);
    for example in examples {
        assert_eq!(example["conversation"], talk.conversation.as_str());
        assert_eq!(example["served_by"], "1.0.0-good");
        assert_eq!(
            (&example["served"], &example["shadow"]),
            (&json!("replaced"), &json!("rejected"))
        );
        assert_eq!(example["differs"], json!(["outcome", "hits"]));
    }
    let shown = hook.to_string();
    assert!(!shown.contains("nothing"), "no text: {shown}");

    server.restart().await;
    assert_eq!(states(&server).await, ["good active", "strict shadow"]);
    talk.from = server.session(&talk.ann).await;
    let reply = talk.say("left again").await;
    assert_eq!(reply["ok"]["content"]["text"], "**** again");
    assert_eq!(compared(&server, 1).await["differed"], 1);

    let ended = done(&server, "rollback", json!({})).await;
    assert_eq!(ended["ended"], json!(["shadow"]));
    assert_eq!(states(&server).await, ["good active", "strict available"]);
    told(&server, "plugin.shadow.end").await;
    assert!(report(&server).await["shadow"].is_null());
}

#[tokio::test]
async fn a_slow_shadow_is_left_behind_and_what_it_misses_is_counted() {
    const MESSAGES: u64 = 700;
    let server = server(&["good", "sluggish"], |_| {}).await;
    let mut talk = Talk::begin(&server).await;
    // Otherwise its breaker would open, because it is slow, and it would not be asked.
    let path = "/plugins/wayward/bindings/content-filter";
    let patience = json!({"budget_us": 1_000_000});
    let (status, bound) = server.admin("PATCH", path, Some(patience)).await;
    assert_eq!(status, 200, "{bound}");
    shadow(&server, "sluggish").await;
    // Each call of it takes tens of milliseconds; were they waited for, its queue would never fill.
    let mut requests = std::collections::VecDeque::new();
    for n in 0..MESSAGES {
        let content = json!({"type": "text", "text": format!("left {n}")});
        let to = json!({"user": talk.bob.id});
        let fields = json!({"to": to, "client_id": format!("m{n}"), "content": content});
        requests.push_back(talk.from.start("send", fields).await);
        if requests.len() == 16 {
            let reply = talk.from.reply(requests.pop_front().expect("one")).await;
            assert!(reply["ok"]["seq"].is_u64(), "{reply}");
        }
    }
    for request in requests {
        let reply = talk.from.reply(request).await;
        assert!(reply["ok"]["seq"].is_u64(), "{reply}");
    }
    let report = report(&server).await;
    let dropped = report["shadow"]["hooks"][0]["dropped"].as_u64();
    assert!(dropped.is_some_and(|dropped| dropped > 0), "{report}");
    // Its end is the end of all that still waits for it.
    done(&server, "rollback", json!({})).await;
    assert!(super::report(&server).await["shadow"].is_null());
}

#[tokio::test]
async fn a_plugin_that_never_served_can_be_shown_what_happens() {
    let server = TestServer::bare().await;
    crate::swap::push(&server, &["strict"]).await;
    // Names are shown to filters as well: these are there before.
    let mut talk = Talk::begin(&server).await;
    let begun = shadow(&server, "strict").await;
    assert_eq!(begun["serves"], Value::Null);
    assert_eq!(states(&server).await, ["strict shadow"]);
    for text in ["left right 1", "straight on"] {
        let reply = talk.say(text).await;
        assert!(reply["ok"]["seq"].is_u64(), "{reply}");
        assert!(reply["ok"]["content"].is_null(), "as it was sent: {reply}");
    }
    let hook = compared(&server, 2).await;
    assert_eq!((&hook["agreed"], &hook["differed"]), (&json!(1), &json!(1)));
    assert_eq!(hook["examples"][0]["served_by"], "");
    done(&server, "rollback", json!({})).await;
    assert_eq!(states(&server).await, ["strict available"]);
}
