//! Commands whose connection breaks, before they reach the server or after it did them: what was not answered is looked up,
//! and nothing is doubled or lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use kith::ids::UserId;
use kith::store::mongo::MongoSettings;
use kith::store::{CommitError, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::nodes::{Node, message, seq_of};
use super::server::{durable, shared};

/// Commands that meet trouble, one in three that would.
const TROUBLES: u32 = 12;
/// Bytes read at once; a command of these tests is shorter.
const CHUNK: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// The command does not reach the server.
    Lost,
    /// It does, and nobody hears of it.
    Unheard,
    /// It does not, and the connection stays.
    Swallowed,
}

/// Stands between a node and the server, and cuts connections at commits.
struct Wire {
    commits: AtomicU32,
    troubles: AtomicU32,
    /// Every commit is swallowed from now on.
    swallows: AtomicBool,
    swallowed: Notify,
}

impl Wire {
    fn meets(&self, command: &[u8]) -> Trouble {
        let says = |text: &[u8]| command.windows(text.len()).any(|part| part == text);
        if !says(b"\x02insert\0") || !says(b"entries\0") {
            return Trouble::None;
        }
        if self.swallows.load(Ordering::Relaxed) {
            self.swallowed.notify_one();
            return Trouble::Swallowed;
        }
        let trouble = match self.commits.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Trouble::Unheard,
            1 => Trouble::Lost,
            _ => return Trouble::None,
        };
        if self.troubles.fetch_add(1, Ordering::Relaxed) >= TROUBLES {
            return Trouble::None;
        }
        trouble
    }

    async fn carry(&self, mut client: TcpStream, mut server: TcpStream) -> std::io::Result<()> {
        let (mut command, mut reply) = (vec![0; CHUNK], vec![0; CHUNK]);
        loop {
            tokio::select! {
                read = client.read(&mut command) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    let trouble = self.meets(&command[..read]);
                    match trouble {
                        Trouble::Lost => return Ok(()),
                        Trouble::Swallowed => continue,
                        Trouble::None | Trouble::Unheard => {}
                    }
                    server.write_all(&command[..read]).await?;
                    if trouble == Trouble::Unheard {
                        // It was done once there is a reply.
                        return server.read(&mut reply).await.map(drop);
                    }
                }
                read = server.read(&mut reply) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    client.write_all(&reply[..read]).await?;
                }
            }
        }
    }
}

/// An address behind which the server is, and the wire to it.
async fn wire_to(server: String) -> (String, Arc<Wire>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let wire = Arc::new(Wire {
        commits: AtomicU32::new(0),
        troubles: AtomicU32::new(0),
        swallows: AtomicBool::new(false),
        swallowed: Notify::new(),
    });
    let carried = wire.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (wire, server) = (carried.clone(), server.clone());
            tokio::spawn(async move {
                if let Ok(server) = TcpStream::connect(server).await {
                    let _ = wire.carry(client, server).await;
                }
            });
        }
    });
    (address, wire)
}

#[tokio::test]
async fn a_commit_that_was_not_answered_is_neither_lost_nor_doubled() {
    let server = shared().await;
    let settings = server.database();
    let (address, wire) = wire_to(server.address()).await;
    let behind = MongoSettings {
        url: format!("mongodb://{address}/?directConnection=true"),
        ..settings.clone()
    };
    let (mut node, other) = (Node::open(&behind).await, Node::open(&settings).await);
    let mut seqs = Vec::new();
    for n in 0..24 {
        let said = node.settle(message(UserId(11), &n.to_string())).await;
        seqs.push(seq_of(&said)); // I1
    }
    assert!(wire.troubles.load(Ordering::Relaxed) >= TROUBLES);
    assert_eq!(seqs, (1..=24).collect::<Vec<_>>()); // I3
    assert_eq!(other.seqs().await, seqs);
}

#[tokio::test]
async fn who_waits_behind_a_commit_that_is_not_answered_waits_no_longer_than_it() {
    let server = shared().await;
    let settings = server.database();
    let (address, wire) = wire_to(server.address()).await;
    let behind = MongoSettings {
        url: format!("mongodb://{address}/?directConnection=true"),
        wait: Duration::from_secs(3),
        ..settings.clone()
    };
    let (mut node, mut other) = (Node::open(&behind).await, Node::open(&settings).await);
    let said = |n: u32| message(UserId(11), &n.to_string());
    wire.swallows.store(true, Ordering::Relaxed);
    let began = Instant::now();
    node.submit(said(1));
    wire.swallowed.notified().await;
    // The first is under way; these are the next run.
    node.submit(said(2));
    node.submit(said(3));
    for result in node.settled(3).await {
        let told = result.expect_err("nothing is committed");
        assert!(
            matches!(told, CommitError::Timeout | CommitError::Unavailable),
            "{told}"
        );
    }
    // One after the other they would take twice the ten seconds that each is tried for, and a command's time each.
    assert!(began.elapsed() < Duration::from_secs(20));
    let again = [1, 2, 3].map(said);
    for (n, change) in (1..).zip(again) {
        assert_eq!(seq_of(&other.settle(change).await), n);
    }
}

#[tokio::test]
async fn a_server_that_is_killed_has_kept_what_was_answered() {
    let server = durable().await;
    let settings = server.database();
    let mut node = Node::open(&settings).await;
    let said = |n: usize| message(UserId(11), &n.to_string());
    for n in 0..40 {
        node.submit(said(n));
    }
    let mut results = node.settled(5).await;
    server.kill_and_start().await;
    results.extend(node.settled(40 - results.len()).await);
    let mut other = Node::open(&settings).await;
    let mut seqs = Vec::new();
    for (n, before) in results.iter().enumerate() {
        let again = seq_of(&other.settle(said(n)).await);
        if let Ok(Outcome::Committed(committed)) = before {
            assert_eq!(committed.entry.seq, again, "message {n}"); // I1, I2
        }
        seqs.push(again);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>()); // I3
    assert_eq!(other.seqs().await, seqs);
}
