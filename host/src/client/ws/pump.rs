//! The two tasks of a connection: one writes what waits with one flush, one reads and hands out.
//! Reading never waits for the caller, so that an answer is never stuck behind events nobody takes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::super::{Refused, WireError};
use super::{Closing, Incoming, Outgoing, Shared, Socket, Waiter};

pub(super) fn start(
    socket: Socket,
    outgoing: mpsc::Receiver<Outgoing>,
    arrived: mpsc::Sender<Incoming>,
    shared: &Arc<Shared>,
) -> Vec<AbortHandle> {
    let (sink, stream) = socket.split();
    let reader = Reader {
        arrived,
        shared: shared.clone(),
        bye: None,
        left_out: false,
    };
    vec![
        tokio::spawn(write(sink, outgoing)).abort_handle(),
        tokio::spawn(reader.run(stream)).abort_handle(),
    ]
}

async fn write(mut sink: SplitSink<Socket, Message>, mut outgoing: mpsc::Receiver<Outgoing>) {
    let mut beat = None;
    loop {
        let mut next = tokio::select! {
            biased;
            next = outgoing.recv() => next.unwrap_or(Outgoing::Close),
            () = due(&mut beat) => Outgoing::Frame(Message::Ping(Vec::new().into())),
        };
        loop {
            let fed = match next {
                Outgoing::Frame(frame) => sink.feed(frame).await,
                Outgoing::KeepAlive(every) => {
                    beat = Some(heartbeat(every));
                    Ok(())
                }
                Outgoing::Close => {
                    let _ = sink.close().await;
                    return;
                }
            };
            if fed.is_err() {
                return;
            }
            match outgoing.try_recv() {
                Ok(more) => next = more,
                Err(_) => break,
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
}

fn heartbeat(every: Duration) -> Interval {
    let every = every.max(Duration::from_millis(1));
    let mut beat = interval_at(Instant::now() + every, every);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

async fn due(beat: &mut Option<Interval>) {
    match beat {
        Some(beat) => drop(beat.tick().await),
        None => std::future::pending().await,
    }
}

struct Reader {
    arrived: mpsc::Sender<Incoming>,
    shared: Arc<Shared>,
    /// The last `bye`, which says why the close comes.
    bye: Option<Value>,
    /// Something was left out and the caller does not know yet.
    left_out: bool,
}

impl Reader {
    async fn run(mut self, mut stream: SplitStream<Socket>) {
        let closing = loop {
            if let Some(closing) = self.step(&mut stream).await {
                break closing;
            }
        };
        self.shared.end(closing);
    }

    /// One frame, or the word that some were left out; the end when there is one.
    async fn step(&mut self, stream: &mut SplitStream<Socket>) -> Option<Closing> {
        let message = if self.left_out {
            tokio::select! {
                biased;
                room = self.arrived.reserve() => {
                    self.left_out = false;
                    if let Ok(room) = room {
                        room.send(Incoming::Event(json!({"ev": "behind"})));
                    }
                    return None;
                }
                message = stream.next() => message,
            }
        } else {
            stream.next().await
        };
        match message {
            None => Some(self.closing(None, "the server closed the connection".to_owned())),
            Some(Err(Error::ConnectionClosed)) => Some(self.closing(None, "closed".to_owned())),
            Some(Err(error)) => Some(self.closing(None, error.to_string())),
            Some(Ok(Message::Close(frame))) => {
                let code = frame.as_ref().map(|frame| u16::from(frame.code));
                let reason = frame.map(|frame| frame.reason.to_string());
                Some(self.closing(code, reason.unwrap_or_default()))
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => None,
            Some(Ok(message)) => match self.shared.codec.decode(&message) {
                Ok(value) => {
                    self.hand_out(value);
                    None
                }
                Err(error) => Some(self.closing(None, error.to_string())),
            },
        }
    }

    fn hand_out(&mut self, mut value: Value) {
        if value.get("ev").is_some() {
            if value["ev"] == "bye" {
                self.bye = Some(value.clone());
            }
            return self.deliver(Incoming::Event(value));
        }
        let id = value["re"].as_u64().and_then(|id| u32::try_from(id).ok());
        let Some(id) = id else { return };
        let Some(waiter) = self.shared.waiting.lock().remove(&id) else {
            return;
        };
        let (ok, err) = (value.get_mut("ok").map(Value::take), value.get("err"));
        let result = match (ok, err) {
            (Some(ok), None) => Ok(ok),
            (None, Some(err)) => Err(Refused::read(None, err).map_or_else(
                || WireError::Unintelligible(format!("an err without a code: {err}")),
                WireError::Refused,
            )),
            _ => Err(WireError::Unintelligible(value.to_string())),
        };
        match waiter {
            Waiter::Alone(waiter) => drop(waiter.send(result)),
            Waiter::InStream => self.deliver(Incoming::Answer { id, result }),
        }
    }

    fn deliver(&mut self, incoming: Incoming) {
        if let Err(TrySendError::Full(_)) = self.arrived.try_send(incoming) {
            self.left_out = true;
        }
    }

    fn closing(&mut self, code: Option<u16>, reason: String) -> Closing {
        let bye = self.bye.take().unwrap_or_default();
        Closing {
            code,
            reason: bye["reason"].as_str().map_or(reason, str::to_owned),
            retry_after_ms: bye["retry_after_ms"].as_u64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Connection, Events};
    use super::*;
    use crate::client::Codec;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;
    use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, client_async};

    type Peer = WebSocketStream<TcpStream>;

    /// A connection of ours and the other end of its socket.
    async fn pair() -> (Connection, Events, Peer) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let accepted = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.expect("a connection");
            accept_async(socket).await.expect("a handshake")
        });
        let socket = TcpStream::connect(address).await.expect("a socket");
        let (socket, _) = client_async("ws://x/", MaybeTlsStream::Plain(socket))
            .await
            .expect("a handshake");
        let (connection, events) = Connection::over(socket, Codec::Json);
        (connection, events, accepted.await.expect("accepted"))
    }

    async fn request(peer: &mut Peer) -> Value {
        let frame = peer.next().await.expect("a frame").expect("a good one");
        Codec::Json.decode(&frame).expect("a request")
    }

    async fn say(peer: &mut Peer, value: Value) {
        peer.send(Codec::Json.encode(&value)).await.expect("sent");
    }

    #[tokio::test]
    async fn answers_find_their_requests_in_any_order() {
        let (connection, _events, mut peer) = pair().await;
        let first = connection.begin("ping", json!({})).await.expect("sent");
        let second = connection.begin("nope", json!({})).await.expect("sent");
        let (one, two) = (request(&mut peer).await, request(&mut peer).await);
        assert_eq!((&one["op"], &two["op"]), (&json!("ping"), &json!("nope")));
        let err = json!({"code": "bad_request", "message": "unknown op"});
        say(&mut peer, json!({"re": two["id"], "err": err})).await;
        say(&mut peer, json!({"re": one["id"], "ok": {"now": 5}})).await;
        assert_eq!(
            second.answer().await.expect_err("refused").code(),
            "bad_request"
        );
        assert_eq!(first.answer().await, Ok(json!({"now": 5})));
    }

    #[tokio::test]
    async fn posted_answers_keep_their_place_among_the_events() {
        let (connection, mut events, mut peer) = pair().await;
        let id = connection.post("send", json!({})).await.expect("sent");
        request(&mut peer).await;
        say(&mut peer, json!({"ev": "entry", "n": 1})).await;
        say(&mut peer, json!({"re": id, "ok": {"seq": 2}})).await;
        say(&mut peer, json!({"ev": "entry", "n": 3})).await;
        let ack = Incoming::Answer {
            id,
            result: Ok(json!({"seq": 2})),
        };
        let entry = |n| Incoming::Event(json!({"ev": "entry", "n": n}));
        for expected in [entry(1), ack, entry(3)] {
            assert_eq!(events.next().await, Some(expected));
        }
    }

    #[tokio::test]
    async fn the_close_code_and_the_reason_of_the_goodbye_are_seen() {
        let (connection, mut events, mut peer) = pair().await;
        let waiting = connection.begin("ping", json!({})).await.expect("sent");
        say(
            &mut peer,
            json!({"ev": "bye", "reason": "draining", "retry_after_ms": 9}),
        )
        .await;
        let frame = CloseFrame {
            code: 4503.into(),
            reason: "going".into(),
        };
        peer.close(Some(frame)).await.expect("closed");
        let closing = Closing {
            code: Some(4503),
            reason: "draining".into(),
            retry_after_ms: Some(9),
        };
        assert_eq!(connection.closed().await, closing);
        assert_eq!(
            waiting.answer().await,
            Err(WireError::Closed(closing.clone()))
        );
        let late = connection.request("ping", json!({})).await;
        assert_eq!(late, Err(WireError::Closed(closing)));
        assert_eq!(events.event().await.expect("the goodbye")["ev"], "bye");
        assert_eq!(events.next().await, None);
    }

    #[tokio::test]
    async fn events_nobody_takes_are_left_out_with_a_word_and_answers_still_come() {
        let (connection, mut events, mut peer) = pair().await;
        let flood = super::super::INCOMING + 10;
        for n in 0..flood {
            let frame = Codec::Json.encode(&json!({"ev": "entry", "n": n}));
            peer.feed(frame).await.expect("fed");
        }
        peer.flush().await.expect("flushed");
        let asked = connection.begin("ping", json!({})).await.expect("sent");
        let id = request(&mut peer).await["id"].clone();
        say(&mut peer, json!({"re": id, "ok": {}})).await;
        assert_eq!(asked.answer().await, Ok(json!({})));
        let mut seen = 0;
        while events.event().await.expect("an event")["ev"] == "entry" {
            seen += 1;
        }
        assert_eq!(seen, super::super::INCOMING, "then came `behind`");
    }
}
