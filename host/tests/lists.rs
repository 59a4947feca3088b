//! Lists that are right: a device that was away catches up with few reads, and what is not to be kept goes
//! without a count going wrong; by the protocol and, where days pass, with a clock of the test's own.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::parts::Parts;
use crate::support::{TestServer, TestSocket, TestUser};
use kith::journey::retention::Retention;

const BATCH: u64 = 200;

/// A client that was away: it counts what it asks.
struct Returning {
    socket: TestSocket,
    asked: usize,
}

impl Returning {
    async fn ask(&mut self, op: &str, fields: Value) -> Value {
        self.asked += 1;
        let reply = self.socket.request(op, fields).await;
        assert!(reply["ok"].is_object(), "{op}: {reply}");
        reply["ok"].clone()
    }

    /// `sync`, then `history after` for what changed: everything there is since, by seq.
    async fn catch_up(
        &mut self,
        since: Value,
        known: impl Fn(&str) -> u64,
    ) -> Vec<(String, Vec<u64>)> {
        let (mut since, mut changed) = (since, Vec::new());
        loop {
            let answer = self.ask("sync", json!({"since": since})).await;
            changed.extend(answer["changed"].as_array().expect("changed").clone());
            since = answer["since"].clone();
            if answer["more"] == false {
                break;
            }
        }
        let mut all = Vec::new();
        for summary in changed {
            let id = summary["id"].as_str().expect("an id").to_owned();
            let (mut after, head) = (known(&id), summary["head"].as_u64().expect("a head"));
            let mut seqs = Vec::new();
            while after < head {
                let fields = json!({"conversation": id, "after": after, "limit": BATCH});
                let page = self.ask("history", fields).await;
                let entries = page["entries"].as_array().expect("entries").clone();
                seqs.extend(entries.iter().filter_map(|entry| entry["seq"].as_u64()));
                after = *seqs.last().expect("a page that is not empty");
            }
            all.push((id, seqs));
        }
        all
    }
}

/// Several texts at once; the conversation.
async fn write(from: &mut TestSocket, to: &TestUser, texts: u64, mark: &str) -> Value {
    let mut ids = Vec::new();
    for n in 0..texts {
        let content = json!({"type": "text", "text": format!("{mark} {n}")});
        let fields =
            json!({"to": {"user": to.id}, "client_id": format!("{mark} {n}"), "content": content});
        ids.push(from.start("send", fields).await);
    }
    let mut conversation = Value::Null;
    for id in ids {
        conversation = from.reply(id).await["ok"]["conversation"].clone();
    }
    conversation
}

#[tokio::test]
async fn a_device_that_was_away_converges_with_few_reads() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let mut socket = server.connect(None).await;
    let since = socket.hello(&ann.token, "phone").await["ok"]["since"].clone();
    drop(socket);
    // A minute: one conversation, a few messages. Two reads.
    let bob = server.user("bob").await;
    let mut writer = server.session(&bob).await;
    let first = write(&mut writer, &ann, 3, "minute").await;
    let mut socket = server.connect(None).await;
    let now = socket.hello(&ann.token, "phone").await["ok"]["since"].clone();
    let mut back = Returning { socket, asked: 0 };
    let all = back.catch_up(since, |_| 0).await;
    assert_eq!(
        all,
        [(first.as_str().expect("an id").to_owned(), vec![1, 2, 3])]
    );
    assert_eq!(back.asked, 2);
    drop(back);
    // A year: one conversation with much more, 250 others with one message each.
    write(&mut writer, &ann, 450, "year").await;
    for n in 0..250 {
        let other = server.user(&format!("u{n}-")).await;
        let mut socket = server.session(&other).await;
        write(&mut socket, &ann, 1, "hello").await;
    }
    let mut back = Returning {
        socket: server.session(&ann).await,
        asked: 0,
    };
    let known = |id: &str| if first == id { 3 } else { 0 };
    let all = back.catch_up(now, known).await;
    assert_eq!(all.len(), 251);
    for (id, seqs) in &all {
        let expected: Vec<u64> = if first == **id {
            (4..=453).collect()
        } else {
            vec![1]
        };
        assert_eq!(seqs, &expected);
    }
    // Two pages of changes, three pages of the long one, one page of each other.
    assert_eq!(back.asked, 2 + 3 + 250);
}

#[tokio::test]
async fn only_the_newest_entries_are_kept_and_every_count_stays_exact() {
    let mut server = TestServer::with(|config| config.retention.count = 4).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let conversation = write(&mut from, &bob, 3, "old").await;
    let mention = json!({"type": "text", "text": "@", "mentions": [bob.id]});
    let send = |id: &str| json!({"to": {"user": bob.id}, "client_id": id, "content": mention});
    from.request("send", send("m1")).await;
    let react = json!({"conversation": conversation, "seq": 1, "emoji": "👍", "on": true});
    from.request("react", react.clone()).await;
    from.request("send", send("m2")).await;
    write(&mut from, &bob, 3, "new").await;
    drop(from);
    // The first round is at the start.
    server.restart().await;
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let page = loop {
        let fields = json!({"conversation": conversation});
        let page = to.request("history", fields).await["ok"].clone();
        if page["floor"] == 6 {
            break page;
        }
    };
    let entries = page["entries"].as_array().expect("entries").clone();
    let seqs: Vec<u64> = entries
        .iter()
        .filter_map(|entry| entry["seq"].as_u64())
        .collect();
    assert_eq!((seqs, &page["head"]), (vec![6, 7, 8, 9], &json!(9)));
    let list = to.request("conversations", json!({})).await["ok"]["conversations"][0].clone();
    assert_eq!((&list["unread"], &list["mentions"]), (&json!(4), &json!(1)));
    let after = json!({"conversation": conversation, "after": 2, "limit": 2});
    let page = to.request("history", after).await["ok"].clone();
    assert_eq!(page["entries"][0]["seq"], 6, "what is gone is skipped");
    for (op, fields) in [
        (
            "edit",
            json!({"conversation": conversation, "seq": 2, "content": {"type": "text", "text": "x"}}),
        ),
        ("recall", json!({"conversation": conversation, "seq": 2})),
        ("react", react),
        ("readers", json!({"conversation": conversation, "seq": 2})),
    ] {
        let reply = from.request(op, fields).await;
        assert_eq!(reply["err"]["code"], "not_found", "{op}");
    }
    // Reading below and at the floor, then on: exact at every step.
    for (read, unread) in [(2, 4), (5, 4), (6, 3), (9, 0)] {
        to.request("read", json!({"conversation": conversation, "seq": read}))
            .await;
        let list = to.request("conversations", json!({})).await["ok"]["conversations"][0].clone();
        assert_eq!(
            (&list["unread"], &list["read"]),
            (&json!(unread), &json!(read))
        );
    }
    // A resend of what is gone has its first answer, and the next message its next seq.
    let ack = from.send_text(&bob.id, "old 0", "old 0").await;
    assert_eq!(ack["ok"]["seq"], 1);
    assert_eq!(
        from.send_text(&bob.id, "next", "next").await["ok"]["seq"],
        10
    );
}

#[tokio::test]
async fn entries_older_than_the_days_go_even_when_none_is_left() {
    let mut parts = Parts::open().await;
    let (ann, bob) = (parts.user("ann").await, parts.user("bob").await);
    let week = Retention { days: 7, count: 0 };
    let (conversation, _) = parts.send(ann, bob, "1", "old").await;
    parts.send(ann, bob, "2", "old").await;
    parts.clock.advance(5 * 86_400_000);
    parts.send(ann, bob, "3", "young").await;
    parts.clock.advance(3 * 86_400_000);
    let journey = Arc::clone(&parts.journey);
    assert_eq!(journey.retain(week).await.expect("retains"), 2);
    assert_eq!(journey.retain(week).await.expect("retains"), 0);
    parts.clock.advance(8 * 86_400_000);
    assert_eq!(journey.retain(week).await.expect("retains"), 1);
    drop(journey);
    // An empty log still knows where it is, also after opening it again.
    parts = parts.reopen().await;
    let summary = parts.summary(bob, conversation).await;
    assert_eq!(
        (&summary["head"], &summary["unread"], &summary["last"]),
        (&json!(3), &json!(0), &Value::Null)
    );
    let (_, seq) = parts.send(ann, bob, "4", "new").await;
    assert_eq!(seq, 4);
    let summary = parts.summary(bob, conversation).await;
    assert_eq!(
        (&summary["head"], &summary["unread"]),
        (&json!(4), &json!(1))
    );
}
