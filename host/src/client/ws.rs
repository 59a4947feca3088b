//! The live half of the protocol: one WebSocket, requests answered by their id, events and the close as they come.
//! Every queue here is bounded: a caller who does not take events is told `behind`, as the server would say it.

mod ops;
mod pump;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{Codec, Device, Refused, WireError, choose_tls_provider, root_cause};

pub use ops::To;

/// The bare socket, for callers who speak frames themselves.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a connection keeps for reading.
const READ_BUFFER: usize = 4096;
/// Requests that may wait for the socket.
const OUTGOING: usize = 256;
/// Events and answers that may wait for the caller.
const INCOMING: usize = 4096;

/// One WebSocket connection. Cheap to clone; the last clone dropped closes it.
#[derive(Debug, Clone)]
pub struct Connection {
    outgoing: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
}

/// What arrives unasked, in the order the server sent it.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Incoming>);

/// One thing that arrived.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// An event frame, `ev` and all. `{"ev":"behind"}` also stands for what this client had no room for.
    Event(Value),
    /// The answer to a `post`, at its place among the events.
    Answer {
        id: u32,
        result: Result<Value, WireError>,
    },
}

/// How a connection ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closing {
    /// The close frame's code; `None` when the connection broke.
    pub code: Option<u16>,
    /// The `bye` event's reason, or the close frame's, or what broke.
    pub reason: String,
    pub retry_after_ms: Option<u64>,
}

impl fmt::Display for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{} ({code})", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

#[derive(Debug)]
enum Outgoing {
    Frame(Message),
    KeepAlive(Duration),
    Close,
}

#[derive(Debug)]
struct Shared {
    codec: Codec,
    next_id: AtomicU32,
    waiting: Mutex<HashMap<u32, Waiter>>,
    closing: watch::Sender<Option<Closing>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

#[derive(Debug)]
enum Waiter {
    Alone(oneshot::Sender<Result<Value, WireError>>),
    InStream,
}

/// A request that was sent and is not answered yet.
#[derive(Debug)]
pub struct Pending {
    answer: oneshot::Receiver<Result<Value, WireError>>,
    shared: Arc<Shared>,
}

impl Pending {
    /// Waits for the answer; an error too when the connection ends before it.
    pub async fn answer(self) -> Result<Value, WireError> {
        match self.answer.await {
            Ok(result) => result,
            Err(_) => Err(self.shared.closed_error()),
        }
    }
}

/// The WebSocket address of a server's address: `http://…` or `ws://…` to `ws://…/v1/ws`.
pub fn address(base: &str) -> String {
    let base = base.trim_end_matches('/');
    let base = match base.split_once("://") {
        Some(("https" | "wss", rest)) => format!("wss://{rest}"),
        Some((_, rest)) => format!("ws://{rest}"),
        None => format!("ws://{base}"),
    };
    if base.ends_with("/v1/ws") {
        base
    } else {
        format!("{base}/v1/ws")
    }
}

/// The handshake alone; `None` offers no subprotocol. What follows is the caller's.
pub async fn handshake(base: &str, codec: Option<Codec>) -> Result<Socket, WireError> {
    choose_tls_provider();
    let url = address(base);
    let unreachable = |error: &dyn std::error::Error| WireError::Unreachable {
        url: url.clone(),
        why: root_cause(error),
    };
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|error| unreachable(&error))?;
    if let Some(codec) = codec {
        let offer = HeaderValue::from_static(codec.subprotocol());
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", offer);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(READ_BUFFER);
    match tokio_tungstenite::connect_async_with_config(request, Some(config), true).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            let status = response.status();
            Err(match Refused::read(Some(status.as_u16()), &body) {
                Some(refused) => WireError::Refused(refused),
                None => WireError::Unintelligible(format!("the handshake was answered {status}")),
            })
        }
        Err(error) => Err(unreachable(&error)),
    }
}

impl Connection {
    /// Connects without saying hello.
    pub async fn open(base: &str, codec: Codec) -> Result<(Self, Events), WireError> {
        Ok(Self::over(handshake(base, Some(codec)).await?, codec))
    }

    /// Connects and says hello; the third is the hello's answer.
    pub async fn connect(
        base: &str,
        token: &str,
        device: &Device,
        codec: Codec,
    ) -> Result<(Self, Events, Value), WireError> {
        let (connection, events) = Self::open(base, codec).await?;
        let welcome = connection.hello(token, device).await?;
        Ok((connection, events, welcome))
    }

    /// Speaks over a socket whose handshake is done.
    pub fn over(socket: Socket, codec: Codec) -> (Self, Events) {
        let (outgoing, to_write) = mpsc::channel(OUTGOING);
        let (arrived, events) = mpsc::channel(INCOMING);
        let shared = Arc::new(Shared {
            codec,
            next_id: AtomicU32::new(1),
            waiting: Mutex::default(),
            closing: watch::Sender::new(None),
            tasks: Mutex::default(),
        });
        let tasks = pump::start(socket, to_write, arrived, &shared);
        *shared.tasks.lock() = tasks;
        (Self { outgoing, shared }, Events(events))
    }

    /// Sends a request and waits for its answer: the `ok` or the `err`. Many may run at once.
    pub async fn request(&self, op: &str, fields: Value) -> Result<Value, WireError> {
        self.begin(op, fields).await?.answer().await
    }

    /// Sends a request; requests are written in the order in which these calls return.
    pub async fn begin(&self, op: &str, fields: Value) -> Result<Pending, WireError> {
        let (sender, answer) = oneshot::channel();
        self.submit(op, fields, Waiter::Alone(sender)).await?;
        Ok(Pending {
            answer,
            shared: self.shared.clone(),
        })
    }

    /// Sends a request whose answer comes among the events, where the server put it; gives the request's id.
    pub async fn post(&self, op: &str, fields: Value) -> Result<u32, WireError> {
        self.submit(op, fields, Waiter::InStream).await
    }

    /// Sends any frame as it is.
    pub async fn send_raw(&self, frame: Message) -> Result<(), WireError> {
        let sent = self.outgoing.send(Outgoing::Frame(frame)).await;
        sent.map_err(|_| self.shared.closed_error())
    }

    /// Pings whenever this long has passed.
    pub async fn keep_alive(&self, every: Duration) {
        let _ = self.outgoing.send(Outgoing::KeepAlive(every)).await;
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) -> Closing {
        let mut closing = self.shared.closing.subscribe();
        match closing.wait_for(Option::is_some).await {
            Ok(closing) => closing.clone().unwrap_or_default(),
            Err(_) => Closing::default(),
        }
    }

    /// Closes in the orderly way and waits for the server's half.
    pub async fn close(&self) -> Closing {
        let _ = self.outgoing.send(Outgoing::Close).await;
        self.closed().await
    }

    /// Drops the socket without a word, as a lost network does.
    pub fn cut(&self) {
        for task in self.shared.tasks.lock().drain(..) {
            task.abort();
        }
        self.shared.end(Closing {
            reason: "cut here".to_owned(),
            ..Closing::default()
        });
    }

    async fn submit(&self, op: &str, fields: Value, waiter: Waiter) -> Result<u32, WireError> {
        let mut frame = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        let id = self.shared.wait(waiter)?;
        frame.insert("id".to_owned(), id.into());
        frame.insert("op".to_owned(), op.into());
        let frame = self.shared.codec.encode(&Value::Object(frame));
        self.send_raw(frame).await?;
        Ok(id)
    }
}

impl Events {
    /// The next thing that arrived; `None` once the connection has ended and everything is taken.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.0.recv().await
    }

    /// The next event; answers to posts are passed over.
    pub async fn event(&mut self) -> Option<Value> {
        loop {
            if let Incoming::Event(event) = self.next().await? {
                return Some(event);
            }
        }
    }

    /// The next event of a kind; others are passed over.
    pub async fn event_of(&mut self, ev: &str) -> Option<Value> {
        loop {
            let event = self.event().await?;
            if event["ev"] == ev {
                return Some(event);
            }
        }
    }

    /// What has arrived already, without waiting.
    pub fn take_ready(&mut self) -> Option<Incoming> {
        self.0.try_recv().ok()
    }
}

impl Shared {
    /// A fresh id with its waiter.
    fn wait(&self, waiter: Waiter) -> Result<u32, WireError> {
        let mut waiting = self.waiting.lock();
        // Asked under the lock: whoever ends the connection says so before it takes the waiters.
        if self.closing.borrow().is_some() {
            return Err(self.closed_error());
        }
        loop {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            if let Entry::Vacant(free) = waiting.entry(id) {
                free.insert(waiter);
                return Ok(id);
            }
        }
    }

    /// The connection is over; the first reason given counts.
    fn end(&self, closing: Closing) {
        self.closing.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(closing);
            }
            first
        });
        self.waiting.lock().clear();
    }

    fn closed_error(&self) -> WireError {
        WireError::Closed(self.closing.borrow().clone().unwrap_or_default())
    }
}

/// The fields of `hello`, for those who write frames themselves.
pub fn hello_fields(token: &str, device: &Device) -> Value {
    json!({"token": token, "device": {"id": device.id, "kind": device.kind, "name": device.name}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_address_leads_to_its_socket() {
        for (base, url) in [
            ("http://127.0.0.1:7700", "ws://127.0.0.1:7700/v1/ws"),
            ("https://im.example.org/", "wss://im.example.org/v1/ws"),
            ("ws://h:1/v1/ws", "ws://h:1/v1/ws"),
            ("h:1", "ws://h:1/v1/ws"),
        ] {
            assert_eq!(address(base), url);
        }
    }
}
