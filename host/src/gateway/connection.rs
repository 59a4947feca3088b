//! One WebSocket connection from hello to goodbye: reads requests while they come, then writes everything that
//! waits with one flush. A client that does not read costs its bounded outbox and nothing more.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::frame::{self, Request};
use super::rate::{Bucket, Turn};
use super::socket::{Fault, Incoming, Socket};
use super::{Gateway, ops};
use crate::delivery::{error_json, ok_json};
use crate::ids::SessionId;
use crate::refusal::{Code, Refusal};
use crate::session::registry::Registry;
use crate::session::{Bye, Codec, Drained, Holder, Session, to_msgpack};
use crate::telemetry::Telemetry;

/// Requests read in a row before what waits is written.
const BURST: usize = 64;
/// How long the goodbye may take to be written and answered.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a connection is over.
enum End {
    /// The client is gone; nothing more can be said.
    Lost,
    /// The client closed: its close is answered.
    Closed,
    Goodbye(Bye),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Lost => Self::Lost,
            Fault::Malformed => Self::Goodbye(Bye::BadFrame),
            Fault::TooLarge => Self::Goodbye(Bye::TooLarge),
        }
    }
}

/// A session that is taken away again with the connection, however that ends.
struct Attached<'a> {
    registry: &'a Registry,
    session: Arc<Session>,
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.registry.detach(&self.session);
    }
}

/// A connection that is counted while it is open.
struct Open<'a>(&'a Telemetry);

impl<'a> Open<'a> {
    fn new(telemetry: &'a Telemetry) -> Self {
        telemetry.connections.inc();
        Self(telemetry)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// Serves a connection until it ends.
pub async fn serve<S>(
    gateway: Arc<Gateway>,
    mut socket: Socket<S>,
    codec: Codec,
    address: Option<IpAddr>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let open = Open::new(&gateway.registry.telemetry);
    let welcomed = Box::pin(welcome_in_time(&gateway, &mut socket, (codec, address))).await;
    let end = match welcomed {
        Ok((attached, hello)) => attended(&gateway, &mut socket, &attached.session, hello).await,
        Err(end) => end,
    };
    match end {
        End::Lost => {}
        End::Closed => Box::pin(answer_close(&mut socket)).await,
        End::Goodbye(bye) => {
            open.0.goodbye(bye);
            Box::pin(goodbye(&mut socket, codec, bye)).await;
        }
    }
}

/// A connection may take this long for its `hello`, whatever it says or leaves unread, and while the server stays.
async fn welcome_in_time<'a, S>(
    gateway: &'a Gateway,
    socket: &mut Socket<S>,
    from: (Codec, Option<IpAddr>),
) -> Result<(Attached<'a>, Vec<u8>), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio::select! {
        biased;
        welcomed = tokio::time::timeout(gateway.limits.hello, welcome(gateway, socket, from)) => {
            welcomed.unwrap_or(Err(End::Goodbye(Bye::Idle)))
        }
        bye = gateway.registry.ending() => Err(End::Goodbye(bye)),
    }
}

/// Waits for a good `hello`; the session it makes is already attached, so nothing after its `since` is missed.
async fn welcome<'a, S>(
    gateway: &'a Gateway,
    socket: &mut Socket<S>,
    (codec, address): (Codec, Option<IpAddr>),
) -> Result<(Attached<'a>, Vec<u8>), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bucket = Bucket::new(gateway.limits.requests);
    loop {
        let Some(mut request) = next_request(socket, codec).await? else {
            continue;
        };
        if !matches!(bucket.take(Instant::now()), Turn::Taken) {
            return Err(End::Goodbye(Bye::TooFast));
        }
        if request.op != "hello" {
            let refusal = Refusal::new(Code::Unauthenticated, "say hello first");
            reply(socket, codec, error_json(request.id, &refusal)).await?;
            return Err(End::Goodbye(Bye::Unauthenticated));
        }
        match greet(gateway, (codec, address), &mut request).await {
            Ok(greeted) => return Ok(greeted),
            Err(refusal) => {
                reply(socket, codec, error_json(request.id, &refusal)).await?;
                match refusal.code {
                    Code::Unauthenticated => return Err(End::Goodbye(Bye::Unauthenticated)),
                    Code::Expired => return Err(End::Goodbye(Bye::Expired)),
                    Code::Banned => return Err(End::Goodbye(Bye::Banned)),
                    // A rule's word: asking again at once would be answered alike.
                    Code::Rejected | Code::Blocked | Code::Forbidden => {
                        return Err(End::Goodbye(Bye::Kicked));
                    }
                    _ => {}
                }
            }
        }
    }
}

const DEVICE_NAME_CHARS: usize = 64;
const DEVICE_KINDS: [&str; 5] = ["web", "ios", "android", "desktop", "bot"];

async fn greet<'a>(
    gateway: &'a Gateway,
    (codec, address): (Codec, Option<IpAddr>),
    request: &mut Request,
) -> Result<(Attached<'a>, Vec<u8>), Refusal> {
    let token = request.fields.text("token")?;
    let Some(Value::Object(device)) = request.fields.take("device") else {
        return Err(Refusal::bad_request("device must be an object"));
    };
    let mut device = frame::Fields::from(device);
    let (device_id, kind) = (device.text("id")?, device.text("kind")?);
    let name = device.text_or_none("name")?;
    if !DEVICE_KINDS.contains(&kind.as_str()) {
        return Err(Refusal::bad_request(
            "device.kind must be web, ios, android, desktop or bot",
        ));
    }
    let caller = gateway.doorkeeper.authenticate(&token).await?;
    if caller.device != device_id {
        return Err(Refusal::new(
            Code::Unauthenticated,
            "the token was issued for another device",
        ));
    }
    let admitted = gateway.doorkeeper.admit_connection(&caller, &kind, address);
    admitted.await?;
    if let Some(name) = name.as_deref().map(shown).filter(|name| !name.is_empty()) {
        gateway.doorkeeper.name_device(&caller, &name).await?;
    }
    let user = gateway.doorkeeper.profile(caller.user).await?;
    let id = SessionId(gateway.next_session.fetch_add(1, Ordering::Relaxed));
    let now = gateway.clock.now_ms();
    let holder = Holder {
        user: caller.user,
        device: device_id,
        kind,
        family: caller.family,
    };
    let session = Session::new(id, holder, codec, gateway.outboxes.clone(), now);
    gateway.registry.attach(&session);
    let registry = &*gateway.registry;
    let attached = Attached { registry, session };
    // Other nodes find it from here on, so what is committed after `since` reaches it.
    registry.lease(&attached.session).await;
    // Asked again once attached: whoever ended the device in between has not seen this session.
    gateway.doorkeeper.authenticate(&token).await?;
    let limits = &gateway.limits;
    let ok = json!({
        "session": id,
        "user": user,
        "now": now,
        "heartbeat_ms": gateway.registry.rules().heartbeat.as_millis() as u64,
        "since": gateway.journey.log.now_token(),
        "limits": {"frame_bytes": limits.frame_bytes, "text_chars": limits.text_chars, "batch": limits.pages.most},
    });
    Ok((attached, ok_json(request.id, &ok)))
}

/// A device's name as it is kept: of a sane length, without control characters.
fn shown(name: &str) -> String {
    let shown = name.trim().chars().filter(|c| !c.is_control());
    shown.take(DEVICE_NAME_CHARS).collect()
}

/// The attended part: until the client goes or the session is to end.
async fn attended<S>(
    gateway: &Arc<Gateway>,
    socket: &mut Socket<S>,
    session: &Arc<Session>,
    hello: Vec<u8>,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Err(end) = reply(socket, session.codec, hello).await {
        return end;
    }
    let mut bucket = Bucket::new(gateway.limits.requests);
    loop {
        let mut read = 0;
        while read < BURST && !session.outbox.is_full() {
            tokio::select! {
                biased;
                message = socket.next() => {
                    session.heard(gateway.registry.coarse_now());
                    match request_of(message, session.codec) {
                        Ok(None) => {}
                        Ok(Some(request)) => {
                            match bucket.take(Instant::now()) {
                                Turn::Taken => Box::pin(ops::handle(gateway, session, request)).await,
                                Turn::Refused(refusal) => ops::refuse(gateway, session, request.id, &refusal),
                                Turn::Hopeless => return End::Goodbye(Bye::TooFast),
                            }
                        }
                        Err(end) => return end,
                    }
                    read += 1;
                }
                () = session.outbox.ready() => break,
            }
        }
        if let Err(end) = write_waiting(socket, session, gateway.clock.now_ms()).await {
            return end;
        }
    }
}

/// Writes everything that waits and flushes once; a reader too slow for that is ended by the sweep.
async fn write_waiting<S>(socket: &mut Socket<S>, session: &Session, now_ms: u64) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (frames, behind, bye) = match session.outbox.drain(now_ms) {
        Drained::Frames(frames) => (frames, false, None),
        Drained::Behind(frames) => (frames, true, None),
        Drained::Bye(frames, bye) => (frames, false, Some(bye)),
    };
    let writing = async {
        let kind = frame::kind(session.codec);
        for payload in frames {
            socket.queue(kind, &payload);
            if socket.has_gathered() {
                socket.flush().await?;
            }
        }
        if behind {
            let event = in_codec(session.codec, br#"{"ev":"behind"}"#.to_vec());
            socket.queue(kind, &event);
        }
        socket.flush().await?;
        session.outbox.written();
        Ok::<(), End>(())
    };
    match bye {
        Some(bye) => {
            let _ = tokio::time::timeout(GOODBYE, writing).await;
            Err(End::Goodbye(bye))
        }
        None => {
            tokio::select! {
                biased;
                written = writing => written,
                bye = session.outbox.closing() => Err(End::Goodbye(bye)),
            }
        }
    }
}

/// The next request; `None` for frames that only show the client is there.
async fn next_request<S>(socket: &mut Socket<S>, codec: Codec) -> Result<Option<Request>, End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let message = socket.next().await;
    request_of(message, codec)
}

fn request_of(message: Result<Incoming<'_>, Fault>, codec: Codec) -> Result<Option<Request>, End> {
    match message? {
        Incoming::Alive => Ok(None),
        Incoming::Closed => Err(End::Closed),
        message => frame::decode(codec, &message)
            .map(Some)
            .map_err(|_| End::Goodbye(Bye::BadFrame)),
    }
}

async fn reply<S>(socket: &mut Socket<S>, codec: Codec, json: Vec<u8>) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    socket.queue(frame::kind(codec), &in_codec(codec, json));
    Ok(socket.flush().await?)
}

/// Says `bye`, closes with its code, and waits briefly for the client to do the same.
async fn goodbye<S>(socket: &mut Socket<S>, codec: Codec, bye: Bye)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut event = json!({"ev": "bye", "reason": bye.reason()});
    if matches!(bye, Bye::Draining | Bye::TooFast) {
        event["retry_after_ms"] = 1000.into();
    }
    let payload = serde_json::to_vec(&event).expect("a JSON value always encodes");
    let parting = async {
        socket.queue(frame::kind(codec), &in_codec(codec, payload));
        socket.close(bye.close_code(), bye.reason());
        socket.flush().await?;
        while !matches!(socket.next().await, Ok(Incoming::Closed) | Err(_)) {}
        socket.finish().await
    };
    let _ = tokio::time::timeout(GOODBYE, parting).await;
}

/// The client has closed: it gets its answer, and the connection is over.
async fn answer_close<S>(socket: &mut Socket<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = tokio::time::timeout(GOODBYE, socket.flush()).await;
}

fn in_codec(codec: Codec, json: Vec<u8>) -> bytes::Bytes {
    match codec {
        Codec::Json => json.into(),
        Codec::Msgpack => to_msgpack(&json),
    }
}
