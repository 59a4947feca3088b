//! A backup that is taken from servers while people talk: it holds everything that was acked before it began, and no half of
//! anything. And one that its reader forgets.

use std::collections::BTreeSet;
use std::path::Path;

use kith::config::{BusEngine, Config, StoreEngine};
use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::named;
use crate::conformance::bus::eventually;
use crate::conformance::bus::servers::{Kind, Servers};
use crate::media::steps;
use crate::mongo::server::shared;
use crate::named::text;
use crate::support::{BOOTSTRAP, TestServer, TestSocket, TestUser};

/// What was acked: conversation, seq and id.
type Ledger = Vec<(String, u64, String)>;

/// Sends without an end, here and there in turn; says what was acked.
async fn talk(
    mut socket: TestSocket,
    places: [Value; 2],
    acked: watch::Sender<Ledger>,
    stop: watch::Receiver<bool>,
) {
    for number in 1_usize.. {
        if *stop.borrow() {
            return;
        }
        let message = json!({
            "to": places[number % 2],
            "client_id": number.to_string(),
            "content": {"type": "text", "text": format!("something to keep, {number}")},
        });
        let ack = socket.request("send", message).await;
        let seq = ack["ok"]["seq"].as_u64();
        let seq = seq.unwrap_or_else(|| panic!("not acked: {ack}"));
        let place = (
            text(&ack["ok"]["conversation"]),
            seq,
            text(&ack["ok"]["id"]),
        );
        acked.send_modify(|acked| acked.push(place));
    }
}

async fn entries(server: &TestServer, user: &TestUser, conversation: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/v1/conversations/{conversation}/entries?after={after}&limit=100");
        let (status, page) = server.call("GET", &path, Some(&user.token), None).await;
        assert_eq!(status, 200, "{page}");
        let found = page["entries"].as_array().expect("entries").clone();
        let Some(last) = found.last() else {
            return all;
        };
        after = last["seq"].as_u64().expect("a seq");
        all.extend(found);
    }
}

async fn reached(acked: &mut watch::Receiver<Ledger>, count: usize) {
    let waited = acked.wait_for(|acked| acked.len() >= count);
    let in_time = tokio::time::timeout(crate::support::PATIENCE, waited);
    in_time
        .await
        .expect("acks in time")
        .expect("somebody talks");
}

/// Ann and Cat, who talk in a group and to Bob, each through a server of hers.
struct Talk {
    ann: TestUser,
    cat: TestUser,
    group: String,
    acked: Vec<watch::Receiver<Ledger>>,
    stop: watch::Sender<bool>,
    talking: Vec<JoinHandle<()>>,
}

impl Talk {
    async fn begin(servers: [&TestServer; 2]) -> Self {
        let one = servers[0];
        let (ann, bob, cat) = (
            one.user("ann").await,
            one.user("bob").await,
            one.user("cat").await,
        );
        let group = json!({"title": "all of us", "members": [bob.id, cat.id]});
        let made = one
            .call("POST", "/v1/groups", Some(&ann.token), Some(group))
            .await;
        assert_eq!(made.0, 201, "{}", made.1);
        let group = text(&made.1["id"]);
        let stop = watch::Sender::new(false);
        let (mut talking, mut acked) = (Vec::new(), Vec::new());
        for (server, from) in servers.into_iter().zip([&ann, &cat]) {
            let ledger = watch::Sender::new(Ledger::new());
            acked.push(ledger.subscribe());
            let places = [json!({"user": bob.id}), json!({"conversation": group})];
            let socket = server.session(from).await;
            let life = talk(socket, places, ledger, stop.subscribe());
            talking.push(tokio::spawn(life));
        }
        for ledger in &mut acked {
            reached(ledger, 50).await;
        }
        Self {
            ann,
            cat,
            group,
            acked,
            stop,
            talking,
        }
    }

    /// Everything so far.
    fn ledger(&self) -> Ledger {
        let each = self.acked.iter().map(|ledger| ledger.borrow().clone());
        each.flatten().collect()
    }

    /// They go on for a while, and end.
    async fn ends(&mut self) {
        for ledger in &mut self.acked {
            let count = ledger.borrow().len();
            reached(ledger, count + 20).await;
        }
        self.stop.send_replace(true);
        for one in self.talking.drain(..) {
            one.await.expect("ends well");
        }
    }

    /// What is restored is the beginning of each conversation, without a gap, with everything that was acked before.
    async fn is_in(&self, restored: &TestServer, server: &TestServer, before: &Ledger) {
        let mut missing: BTreeSet<_> = before.iter().cloned().collect();
        for user in [&self.ann, &self.cat] {
            let list = server
                .call("GET", "/v1/conversations", Some(&user.token), None)
                .await
                .1;
            let list = list["conversations"].as_array().expect("a list");
            assert_eq!(list.len(), 2, "{list:?}");
            for conversation in list {
                let id = text(&conversation["id"]);
                let all = entries(server, user, &id).await;
                let kept = entries(restored, user, &id).await;
                assert_eq!(kept, all[..kept.len()], "the beginning of what there is");
                let seqs = kept.iter().filter_map(|entry| entry["seq"].as_u64());
                let seqs: Vec<u64> = seqs.collect();
                let first = *seqs.first().expect("entries");
                assert_eq!(seqs, (first..first + seqs.len() as u64).collect::<Vec<_>>());
                for entry in &kept {
                    let seq = entry["seq"].as_u64().expect("a seq");
                    missing.remove(&(id.clone(), seq, text(&entry["id"])));
                }
            }
        }
        assert!(missing.is_empty(), "acked and not there: {missing:?}");
        // Whoever comes goes on behind it.
        let last = entries(restored, &self.ann, &self.group).await;
        let last = last.last().map(|entry| entry["seq"].as_u64());
        let mut socket = restored.session(&self.ann).await;
        let message = json!({
            "to": {"conversation": self.group},
            "client_id": "after",
            "content": {"type": "text", "text": "and on"},
        });
        let ack = socket.request("send", message).await;
        let next = last.flatten().expect("a last one") + 1;
        assert_eq!(ack["ok"]["seq"], next, "{ack}");
    }
}

async fn export(server: &TestServer, file: &Path) {
    let request = server
        .http
        .get(server.admin_url("/export"))
        .bearer_auth(BOOTSTRAP);
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let bytes = answer.bytes().await.expect("everything");
    std::fs::write(file, &bytes).expect("writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_holds_what_was_acked_before_it_began() {
    let server = TestServer::bare().await;
    let files = tempdir().expect("a folder");
    let file = named(&files, "backup");
    let mut talk = Talk::begin([&server, &server]).await;
    let before = talk.ledger();
    export(&server, &file).await;
    talk.ends().await;
    let restored = TestServer::moved_from(&file, |_| {}).await;
    talk.is_in(&restored, &server, &before).await;
}

/// What makes a server one node of a deployment, with its rows in a database.
pub fn shares(config: &mut Config, database: &str, bus: &Servers) {
    config.store.engine = StoreEngine::Mongodb;
    config.store.url = database.to_owned();
    config.store.timeout_ms = 30_000;
    config.bus.engine = BusEngine::Redis;
    config.bus.url = bus.url();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_two_nodes_under_load_holds_what_either_acked_before_it_began() {
    let (mongo, bus, other_bus) = tokio::join!(
        shared(),
        Servers::start(Kind::Single),
        Servers::start(Kind::Single)
    );
    let files = tempdir().expect("a folder");
    let file = named(&files, "backup");
    let (from, into) = (mongo.url_of_database(), mongo.url_of_database());
    let node = async |name: &str| {
        let change = |config: &mut Config| {
            shares(config, &from, &bus);
            config.node.name = name.to_owned();
        };
        TestServer::with(change).await
    };
    let (one, other) = (node("one").await, node("other").await);
    let mut talk = Talk::begin([&one, &other]).await;
    let before = talk.ledger();
    export(&one, &file).await;
    talk.ends().await;
    let restored = TestServer::moved_from(&file, |config| shares(config, &into, &other_bus));
    let restored = restored.await;
    talk.is_in(&restored, &other, &before).await;
}

#[tokio::test]
async fn one_export_at_a_time_and_none_without_a_token() {
    let server = TestServer::bare().await;
    let bare = server.http.get(server.admin_url("/export")).send().await;
    assert_eq!(bare.expect("an answer").status(), 401);
    let user = server.user("ann").await;
    let request = server.http.get(server.admin_url("/export"));
    let others = request.bearer_auth(&user.token).send().await;
    assert_eq!(others.expect("an answer").status(), 401);
    let (status, audit) = server.admin("GET", "/audit?prefix=export", None).await;
    assert_eq!((status, &audit["lines"]), (200, &json!([])), "{audit}");
    let request = server.http.get(server.admin_url("/export?media=false"));
    let answer = request
        .bearer_auth(BOOTSTRAP)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(!answer.bytes().await.expect("a file").is_empty());
    let (_, audit) = server.admin("GET", "/audit?prefix=export", None).await;
    assert!(audit.to_string().contains("without media"), "{audit}");
}

/// A connection that has asked for an export, and takes little of it by itself.
async fn asks_for_an_export(server: &TestServer) -> TcpStream {
    let address = server.app().admin_address;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(address).await.expect("connects");
    let request = format!(
        "GET /admin/v1/export HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {BOOTSTRAP}\r\n\r\n"
    );
    let sent = stream.write_all(request.as_bytes()).await;
    sent.expect("asks");
    stream
}

#[tokio::test]
async fn an_export_that_nobody_reads_ends_and_the_next_one_begins() {
    let server = TestServer::with(|config| config.session.slow_ms = 300).await;
    let ann = server.user("ann").await;
    // More than what waits on the way takes.
    let much = vec![7; 24 << 20];
    steps::uploaded(&server, &ann, "much.bin", "application/octet-stream", much).await;
    let mut stalled = asks_for_an_export(&server).await;
    let mut begun = [0; 12];
    let read = stalled.read_exact(&mut begun).await;
    assert_eq!(read.expect("a status"), 12);
    assert_eq!(&begun, b"HTTP/1.1 200");
    let next = async || {
        let request = server.http.get(server.admin_url("/export?media=false"));
        let answer = request.bearer_auth(BOOTSTRAP).send().await;
        let answer = answer.expect("an answer");
        match answer.status().as_u16() {
            429 => None,
            status => Some((status, answer.bytes().await.expect("everything"))),
        }
    };
    let (status, file) = eventually(next).await;
    assert_eq!(status, 200);
    assert!(!file.is_empty());
    // Whoever reads on finds what was on its way, and that it breaks off.
    let mut rest = Vec::new();
    let ended = stalled.read_to_end(&mut rest).await;
    assert!(ended.is_err() || !rest.ends_with(b"\r\n0\r\n\r\n"));
    assert!(rest.len() < 24 << 20, "{} bytes", rest.len());
}
