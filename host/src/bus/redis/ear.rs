//! What this node hears: a connection of its own, subscribed to the node's channel. It never waits for whoever takes what
//! is heard; what finds no room is dropped and told. A connection that does not bring back what the node says to itself
//! is dead, whatever it looks like.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::address::Topology;
use super::link::{ANSWER, jittered, server_of, within};
use super::wire::{Says, decode};
use super::{Shared, scripts};
use crate::bus::Received;

/// Publishes that may wait to be read, and their bytes.
const UNREAD_MOST: usize = 4096;
const UNREAD_BYTES: usize = 64 * 1024 * 1024;
/// Between two attempts to subscribe: at first, at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Longest to subscribe.
const SUBSCRIBE: Duration = Duration::from_secs(3);
/// Redirections of a Cluster that are followed.
const REDIRECTED_MOST: usize = 3;

/// What the connection's own task and the reader share.
#[derive(Default)]
struct Unread {
    bytes: AtomicUsize,
    /// Something found no room.
    lost: AtomicBool,
}

/// A subscription: while it is held, what is said to the node arrives.
struct Subscription {
    _connection: MultiplexedConnection,
    unread: Arc<Unread>,
    pushed: mpsc::Receiver<Option<Vec<u8>>>,
}

/// The task that hears.
pub struct Ear {
    shared: Arc<Shared>,
    heard: mpsc::Sender<Received>,
    /// `Behind` is owed to whoever takes what is heard.
    behind: bool,
}

impl Ear {
    pub fn new(shared: Arc<Shared>, heard: mpsc::Sender<Received>) -> Self {
        Self {
            shared,
            heard,
            behind: false,
        }
    }

    /// Runs until dropped.
    pub async fn run(mut self) {
        let mut pause = PAUSES.0;
        loop {
            match within(SUBSCRIBE, self.subscribe()).await {
                Ok(subscription) => {
                    pause = PAUSES.0;
                    self.shared.hears(true);
                    self.listen(subscription).await;
                    self.shared.hears(false);
                }
                Err(error) => tracing::debug!(%error, "nothing can be heard from other nodes"),
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Until the connection is over or dead.
    async fn listen(&mut self, mut subscription: Subscription) {
        let echo = self.shared.pace.echo;
        let mut dead_at = Instant::now() + self.shared.pace.deaf;
        loop {
            match tokio::time::timeout(echo, subscription.pushed.recv()).await {
                Ok(Some(Some(bytes))) => {
                    subscription
                        .unread
                        .bytes
                        .fetch_sub(bytes.len(), Ordering::Relaxed);
                    if self.take(&bytes) {
                        dead_at = Instant::now() + self.shared.pace.deaf;
                    }
                }
                Ok(_) => return,
                Err(_) => {}
            }
            self.behind |= subscription.unread.lost.swap(false, Ordering::Relaxed);
            if self.behind && self.heard.try_send(Received::Behind).is_ok() {
                self.behind = false;
            }
            // Only what could be said can be expected back.
            if !self.shared.link.is_up() {
                dead_at = Instant::now() + self.shared.pace.deaf;
            }
            if Instant::now() >= dead_at {
                tracing::warn!("nothing comes back from Redis; subscribing anew");
                return;
            }
        }
    }

    /// One publish; whether it was the node's own echo.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let Some(envelope) = decode(bytes) else {
            tracing::warn!("another node says what this one cannot read; its version differs");
            self.behind = true;
            return false;
        };
        let received = match envelope.says {
            Says::Echo => return envelope.from == self.shared.name,
            Says::Lost => {
                self.behind = true;
                return false;
            }
            Says::Leaving => {
                self.shared.forget_node(&envelope.from);
                Received::Gone(envelope.from)
            }
            Says::Parcels(parcels) => Received::Parcels {
                from: envelope.from,
                parcels,
            },
        };
        if self.heard.try_send(received).is_err() {
            self.behind = true;
        }
        false
    }

    async fn subscribe(&self) -> RedisResult<Subscription> {
        let channel = scripts::channel(self.shared.link.address.db, self.shared.name.as_str());
        let mut client = server_of(&self.shared.link.address).await?;
        let command = match self.shared.link.address.topology {
            Topology::Cluster(_) => "SSUBSCRIBE",
            _ => "SUBSCRIBE",
        };
        for _ in 0..REDIRECTED_MOST {
            let (mut connection, unread, pushed) = connect(&client).await?;
            match redis::cmd(command)
                .arg(&channel)
                .exec_async(&mut connection)
                .await
            {
                Ok(()) => {
                    return Ok(Subscription {
                        _connection: connection,
                        unread,
                        pushed,
                    });
                }
                // The channel's slot is another server's.
                Err(error) => match error.redirect_node().map(|(server, _)| server.to_owned()) {
                    Some(server) => client = self.at(&server)?,
                    None => return Err(error),
                },
            }
        }
        Err((redis::ErrorKind::Client, "too many redirections").into())
    }

    fn at(&self, server: &str) -> RedisResult<Client> {
        let (host, port) = server.rsplit_once(':').unwrap_or((server, "6379"));
        let port = port
            .parse()
            .map_err(|_| (redis::ErrorKind::Client, "a redirection without a port"))?;
        Client::open(self.shared.link.address.server(&(host.to_owned(), port))?)
    }
}

async fn connect(
    client: &Client,
) -> RedisResult<(
    MultiplexedConnection,
    Arc<Unread>,
    mpsc::Receiver<Option<Vec<u8>>>,
)> {
    let (push, pushed) = mpsc::channel(UNREAD_MOST);
    let unread = Arc::new(Unread::default());
    let room = unread.clone();
    let sender = move |info: PushInfo| {
        put(&push, &room, info);
        Ok::<(), std::convert::Infallible>(())
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(SUBSCRIBE / 2))
        .set_response_timeout(Some(ANSWER))
        .set_push_sender(sender);
    let connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    Ok((connection, unread, pushed))
}

/// Puts what the connection brought where the reader finds it. Where there is no room to say that the connection is over,
/// the word to oneself that does not come back says it.
fn put(push: &mpsc::Sender<Option<Vec<u8>>>, unread: &Unread, mut info: PushInfo) {
    match info.kind {
        PushKind::Message | PushKind::SMessage => {
            let Some(Value::BulkString(bytes)) = info.data.pop() else {
                return;
            };
            let length = bytes.len();
            let waiting = unread.bytes.fetch_add(length, Ordering::Relaxed) + length;
            if waiting > UNREAD_BYTES || push.try_send(Some(bytes)).is_err() {
                unread.bytes.fetch_sub(length, Ordering::Relaxed);
                unread.lost.store(true, Ordering::Relaxed);
            }
        }
        PushKind::Disconnection | PushKind::SUnsubscribe | PushKind::Unsubscribe
            if push.try_send(None).is_err() =>
        {
            unread.lost.store(true, Ordering::Relaxed);
        }
        _ => {}
    }
}
