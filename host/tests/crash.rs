//! What an ack is worth: killed servers, failing disks, torn journals. Nothing acked may be missing, and nothing is
//! acked before it is on stable storage (I1, I3).

mod friends;
pub mod process;
mod rollout;
mod strace;
mod torn;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::support::{PATIENCE, TestSocket};
use process::ServerProcess;

/// What a client was told: the seq of each client id, by sender.
#[derive(Default)]
struct Ledger {
    acked: BTreeMap<String, u64>,
}

impl Ledger {
    /// Everything acked is in the log, at its place, once; the log is dense.
    async fn check(&self, reader: &mut TestSocket, conversation: &str) -> u64 {
        let (mut seen, mut after) = (BTreeMap::new(), 0);
        loop {
            let asked = json!({"conversation": conversation, "after": after, "limit": 200});
            let page = reader.request("history", asked).await["ok"].clone();
            let entries = page["entries"].as_array().expect("entries").clone();
            for entry in &entries {
                after += 1;
                assert_eq!(entry["seq"].as_u64(), Some(after), "the log is dense");
                let client_id = entry["client_id"]
                    .as_str()
                    .expect("the sender reads")
                    .to_owned();
                assert!(
                    seen.insert(client_id, after).is_none(),
                    "a message stands twice: {entry}"
                );
            }
            if entries.is_empty() {
                break;
            }
        }
        for (client_id, seq) in &self.acked {
            assert_eq!(
                seen.get(client_id),
                Some(seq),
                "the acked message {client_id} is not at its place"
            );
        }
        after
    }
}

/// Sends without waiting until the server is gone; notes every ack.
async fn load(
    socket: &mut TestSocket,
    to: &str,
    round: u32,
    ledger: &mut Ledger,
    stop: &mut tokio::sync::watch::Receiver<bool>,
    acked: &tokio::sync::watch::Sender<u32>,
) {
    let (mut sent, mut answered) = (0_u32, 0_u32);
    let mut ids = std::collections::VecDeque::new();
    while !*stop.borrow_and_update() {
        while sent - answered < 16 {
            let client_id = format!("{round}-{sent}");
            let content = json!({"type": "text", "text": "x".repeat(200)});
            let fields = json!({"to": {"user": to}, "client_id": client_id, "content": content});
            let Ok(request) = socket.try_start("send", fields).await else {
                return;
            };
            ids.push_back((request, client_id));
            sent += 1;
        }
        let Ok(frame) = socket.frame().await else {
            return;
        };
        if let (Some(re), Some((request, client_id))) = (frame["re"].as_u64(), ids.pop_front()) {
            assert_eq!(re, u64::from(request), "acks keep the order of the sends");
            let seq = frame["ok"]["seq"]
                .as_u64()
                .unwrap_or_else(|| panic!("no ack: {frame}"));
            ledger.acked.insert(client_id, seq);
            answered += 1;
            acked.send_replace(answered);
        }
    }
}

#[tokio::test]
async fn kill_nine_twenty_times_under_load_loses_nothing_acked() {
    let mut server = ServerProcess::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut ledger = Ledger::default();
    let mut conversation = String::new();
    for round in 0..20 {
        let mut socket = server.session(&ann).await;
        if conversation.is_empty() {
            let first = socket.send_text(&bob.id, "first", "x").await;
            conversation = first["ok"]["conversation"]
                .as_str()
                .expect("an ack")
                .to_owned();
            ledger.acked.insert("first".into(), 1);
        }
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let (acked, mut first_ack) = tokio::sync::watch::channel(0);
        let before = ledger.acked.len();
        let killing = async {
            let waiting = first_ack.wait_for(|acked| *acked > 0);
            let first = tokio::time::timeout(PATIENCE, waiting).await;
            first.expect("an ack in time").expect("a load that lasts");
            // A different moment of the server's life each time.
            tokio::time::sleep(Duration::from_millis(u64::from(round) * 9)).await;
            server.kill();
            stop.send_replace(true);
        };
        tokio::join!(
            load(
                &mut socket,
                &bob.id,
                round,
                &mut ledger,
                &mut stopped,
                &acked
            ),
            killing
        );
        assert!(
            ledger.acked.len() > before,
            "nothing was acked in round {round}"
        );
        server.restart().await;
        let mut reader = server.session(&ann).await;
        ledger.check(&mut reader, &conversation).await;
    }
    assert!(
        ledger.acked.len() > 200,
        "only {} acks in all",
        ledger.acked.len()
    );
}

#[tokio::test]
async fn no_ack_leaves_before_the_sync_that_covers_it() {
    let server = ServerProcess::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    socket.send_text(&bob.id, "warm", "x").await;
    let trace = strace::Trace::attach(
        server.pid(),
        &[
            "-e",
            "trace=write,sendto,writev,fdatasync,fsync",
            "-s",
            "4096",
        ],
    )
    .await;
    for n in 0..50 {
        let ack = socket
            .send_text(&bob.id, &format!("marked-{n}-"), "x")
            .await;
        assert_eq!(ack["ok"]["seq"], n + 2);
    }
    let calls = trace.finish().await;
    for n in 0..50 {
        let marker = format!("marked-{n}-");
        let written = calls
            .iter()
            .position(|call| call.name == "write" && call.text.contains(&marker));
        let written = written.unwrap_or_else(|| panic!("the write of {marker} was not seen"));
        let synced = calls[written..]
            .iter()
            .position(|call| call.name == "fdatasync" && call.done);
        let synced = written + synced.expect("a sync after the write");
        let seq = format!("\\\"seq\\\":{},", n + 2);
        let acked = calls
            .iter()
            .position(|call| call.name != "write" && call.text.contains(&seq));
        let acked = acked.unwrap_or_else(|| panic!("the ack of {marker} was not seen"));
        assert!(synced < acked, "the ack of {marker} left before its sync");
    }
}

/// System calls of the server for each of a conversation's messages, one after the other. Counts, not times: what grew
/// here would cost every message on every machine.
#[tokio::test]
async fn a_message_makes_no_more_system_calls_than_it_did() {
    const MESSAGES: u64 = 100;
    let server = ServerProcess::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    from.send_text(&bob.id, "warm", "x").await;
    to.event("entry").await;
    let trace = strace::Trace::attach(server.pid(), &["-s", "0"]).await;
    for n in 0..MESSAGES {
        from.send_text(&bob.id, &format!("{n}"), "x").await;
        to.event("entry").await;
    }
    let mut counts = BTreeMap::new();
    for call in trace.finish().await.into_iter().filter(|call| call.done) {
        *counts.entry(call.name).or_insert(0_u64) += 1;
    }
    let of = |names: &[&str]| -> u64 { names.iter().filter_map(|name| counts.get(*name)).sum() };
    let syncs = of(&["fdatasync", "fsync"]);
    assert!(
        (MESSAGES..=MESSAGES + 2).contains(&syncs),
        "one sync a message: {counts:?}"
    );
    // The request, and the attempt that finds nothing more.
    assert!(of(&["recvfrom", "read"]) <= 3 * MESSAGES, "{counts:?}");
    // The ack, the event, the log, and the wake-ups between their threads.
    assert!(
        of(&["sendto", "write", "writev", "sendmsg"]) <= 6 * MESSAGES,
        "{counts:?}"
    );
    let all: u64 = counts.values().sum();
    assert!(all <= 22 * MESSAGES, "{all} system calls: {counts:?}");
}

async fn refused_while(injected: &[&str], only_journal: bool) {
    let mut server = ServerProcess::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    let first = socket.send_text(&bob.id, "before", "x").await;
    let conversation = first["ok"]["conversation"]
        .as_str()
        .expect("an ack")
        .to_owned();
    let journal = server.journal();
    let mut arguments: Vec<&str> = injected.to_vec();
    if only_journal {
        arguments.extend(["-P", journal.to_str().expect("a path")]);
    }
    let trace = strace::Trace::attach(server.pid(), &arguments).await;
    for n in 0..3 {
        let refused = socket
            .send_text(&bob.id, &format!("refused-{n}"), "x")
            .await;
        assert_eq!(refused["err"]["code"], "unavailable", "{refused}");
        assert!(refused["err"]["retry_after_ms"].is_u64(), "{refused}");
    }
    let (status, ready) = server.get("/readyz").await;
    assert_eq!(
        (status, ready["status"].as_str()),
        (503, Some("unavailable"))
    );
    trace.finish().await;
    server.kill();
    server.restart().await;
    let mut reader = server.session(&ann).await;
    let ledger = Ledger {
        acked: BTreeMap::from([("before".to_owned(), 1)]),
    };
    let head = ledger.check(&mut reader, &conversation).await;
    let again = reader.send_text(&bob.id, "after", "x").await;
    assert_eq!(again["ok"]["seq"].as_u64(), Some(head + 1));
}

#[tokio::test]
async fn a_sync_that_fails_gives_unavailable_and_no_ack() {
    refused_while(&["-e", "inject=fdatasync,fsync:error=EIO"], false).await;
}

#[tokio::test]
async fn a_full_disk_gives_unavailable_and_no_ack() {
    refused_while(&["-e", "inject=write,pwrite64:error=ENOSPC"], true).await;
}
