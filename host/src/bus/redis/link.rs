//! The connection that commands go by: one server, whatever Sentinels say is the master, or a Cluster. Kept by a task of
//! its own, with growing pauses between attempts; whoever asks while there is none is refused at once (the breaker), so
//! that nobody waits for a server that is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult,
    ServerErrorKind, Value,
};
use tokio::sync::Notify;

use super::address::{Address, HostPort, Topology};
use crate::bus::BusError;

/// Longest for one answer.
pub const ANSWER: Duration = Duration::from_millis(500);
/// Longest for a connection, Sentinels' word included.
const CONNECT: Duration = Duration::from_secs(3);
/// Between two attempts to connect: at first, at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Answers that failed to come in a row, after which a connection is given up.
const SILENT_MOST: u32 = 3;
/// The same of a Cluster, whose client mends its connections itself and of which one part may be gone.
const CLUSTER_SILENT_MOST: u32 = 32;

/// A connection commands can be sent by; cheap to clone.
#[derive(Clone)]
pub enum Wire {
    Plain(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Plain(wire) => wire.req_packed_command(cmd),
            Self::Cluster(wire) => wire.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Plain(wire) => wire.req_packed_commands(pipeline, offset, count),
            Self::Cluster(wire) => wire.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Plain(wire) => wire.get_db(),
            Self::Cluster(wire) => wire.get_db(),
        }
    }
}

/// The kept connection.
pub struct Link {
    pub address: Address,
    wire: ArcSwapOption<Wire>,
    /// Failures since the last answer.
    silent: AtomicU32,
    broken: Notify,
    /// Requests so far.
    asked: AtomicU64,
}

impl Link {
    pub fn new(address: Address) -> Self {
        Self {
            address,
            wire: ArcSwapOption::empty(),
            silent: AtomicU32::new(0),
            broken: Notify::new(),
            asked: AtomicU64::new(0),
        }
    }

    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    pub fn is_up(&self) -> bool {
        self.wire.load().is_some()
    }

    pub fn is_cluster(&self) -> bool {
        matches!(self.address.topology, Topology::Cluster(_))
    }

    /// Keeps a connection until dropped.
    pub async fn keep(self: Arc<Self>) {
        let mut pause = PAUSES.0;
        loop {
            if self.wire.load().is_some() {
                self.broken.notified().await;
                continue;
            }
            match self.connect().await {
                Ok(()) => pause = PAUSES.0,
                Err(error) => {
                    tracing::debug!(%error, "no connection to Redis");
                    tokio::time::sleep(jittered(pause)).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Connects once.
    pub async fn connect(&self) -> Result<(), BusError> {
        // Its type is deep: whoever waits for a start would have to name all of it.
        let connecting: BoxFuture<'_, RedisResult<Wire>> = Box::pin(wire_to(&self.address));
        let wire = within(CONNECT, connecting).await.map_err(|e| told(&e))?;
        self.silent.store(0, Ordering::Relaxed);
        self.wire.store(Some(Arc::new(wire)));
        Ok(())
    }

    /// Asks something, by a clone of the connection; what does not answer in time has failed.
    pub async fn ask<T, A>(&self, ask: impl FnOnce(Wire) -> A) -> Result<T, BusError>
    where
        A: Future<Output = RedisResult<T>>,
    {
        let wire = self.wire.load_full();
        let Some(wire) = wire else {
            return Err(BusError::Unavailable("it is being connected to".to_owned()));
        };
        self.asked.fetch_add(1, Ordering::Relaxed);
        match within(ANSWER * 2, ask((*wire).clone())).await {
            Ok(answer) => {
                self.silent.store(0, Ordering::Relaxed);
                Ok(answer)
            }
            Err(error) => {
                self.failed(&wire, &error);
                Err(told(&error))
            }
        }
    }

    /// Gives the connection up where the error says that it, or its server, is of no use any more.
    fn failed(&self, wire: &Arc<Wire>, error: &RedisError) {
        if !error.is_io_error() && !error.is_cluster_error() && !is_over(error) {
            return;
        }
        let silent = self.silent.fetch_add(1, Ordering::Relaxed) + 1;
        let over = match **wire {
            Wire::Plain(_) => is_over(error) || silent >= SILENT_MOST,
            Wire::Cluster(_) => silent >= CLUSTER_SILENT_MOST,
        };
        if !over {
            return;
        }
        let current = self.wire.load_full();
        if current.is_some_and(|current| Arc::ptr_eq(&current, wire)) {
            tracing::warn!(%error, "the connection to Redis is given up");
            self.wire.store(None);
            self.broken.notify_one();
        }
    }
}

/// A pause of about this length, so that nodes do not come back all at once.
pub fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.75..1.25))
}

/// The error as others are told it.
pub fn told(error: &RedisError) -> BusError {
    let kept_out = matches!(error.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM"));
    match error.kind() {
        ErrorKind::InvalidClientConfig
        | ErrorKind::AuthenticationFailed
        | ErrorKind::RESP3NotSupported => BusError::Refused(error.to_string()),
        _ if kept_out => BusError::Refused(error.to_string()),
        _ => BusError::Unavailable(error.to_string()),
    }
}

/// The connection is gone, or leads to a server that is no master (any more).
fn is_over(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_connection_dropped()
        || matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::BusyLoading
            )
        )
}

pub async fn within<T>(
    longest: Duration,
    trial: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let ended = tokio::time::timeout(longest, trial).await;
    ended.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

async fn wire_to(address: &Address) -> RedisResult<Wire> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT / 2))
        .set_response_timeout(Some(ANSWER));
    match &address.topology {
        Topology::Cluster(seeds) => {
            let seeds: RedisResult<Vec<_>> =
                seeds.iter().map(|seed| address.server(seed)).collect();
            let client = ClusterClientBuilder::new(seeds?)
                .connection_timeout(CONNECT / 2)
                .response_timeout(ANSWER)
                .overall_response_timeout(Some(ANSWER * 2))
                .retries(3)
                .build()?;
            let mut wire = client.get_async_connection().await?;
            redis::cmd("PING").exec_async(&mut wire).await?;
            Ok(Wire::Cluster(wire))
        }
        _ => {
            let server = server_of(address).await?;
            let mut wire = server
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            redis::cmd("PING").exec_async(&mut wire).await?;
            Ok(Wire::Plain(wire))
        }
    }
}

/// The server that takes writes: the only one, or the master that Sentinels name.
pub async fn server_of(address: &Address) -> RedisResult<Client> {
    match &address.topology {
        Topology::Sentinel {
            sentinels,
            service,
            who,
        } => {
            let reached = |(host, port): &HostPort| {
                use redis::IntoConnectionInfo;
                let info =
                    redis::ConnectionAddr::Tcp(host.clone(), *port).into_connection_info()?;
                // Sentinels are asked little: any protocol will do.
                Ok(info
                    .set_redis_settings(who.settings().set_protocol(redis::ProtocolVersion::RESP2)))
            };
            let sentinels: RedisResult<Vec<_>> = sentinels.iter().map(reached).collect();
            let data =
                SentinelNodeConnectionInfo::default().set_redis_connection_info(address.settings());
            let mut client = SentinelClient::build(
                sentinels?,
                service.clone(),
                Some(data),
                SentinelServerType::Master,
            )?;
            client.async_get_client().await
        }
        Topology::Single(server) => Client::open(address.server(server)?),
        Topology::Cluster(seeds) => {
            let mut error = None;
            for seed in seeds {
                let client = Client::open(address.server(seed)?)?;
                match within(CONNECT / 2, client.get_multiplexed_async_connection()).await {
                    Ok(_) => return Ok(client),
                    Err(why) => error = Some(why),
                }
            }
            Err(error
                .unwrap_or_else(|| (ErrorKind::InvalidClientConfig, "no servers are named").into()))
        }
    }
}
