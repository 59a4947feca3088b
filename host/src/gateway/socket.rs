//! Frames of RFC 6455 on a bare socket, the server's side, without extensions: whole messages in, frames out.
//!
//! A connection on which nothing happens keeps no buffer: bytes are read into, and frames written from, memory that
//! the thread lends. Only what is half read, or what the client does not take, stays with the connection, and that is
//! bounded (I5). What a message says is not known here.

mod unread;

use std::borrow::Cow;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use self::unread::{Frame, Unread, give_back};

/// Frames are gathered to about so many bytes before they are written.
const GATHERED: usize = 16 * 1024;

thread_local! {
    /// Room for what is gathered, or nothing while it is lent.
    static WRITING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    Text(Cow<'a, [u8]>),
    Binary(Cow<'a, [u8]>),
    /// A ping, whose answer is queued, or a pong.
    Alive,
    /// The client closes; the answer is queued.
    Closed,
}

/// Why nothing more can be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is gone.
    Lost,
    /// Bytes that are no frame a client may send here.
    Malformed,
    /// A message over the limit.
    TooLarge,
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

/// An upgraded connection.
#[derive(Debug)]
pub struct Socket<S> {
    stream: S,
    /// Bytes of the largest message that is taken.
    most: usize,
    unread: Unread,
    /// The frames so far of a message whose last one has not come.
    begun: Option<Box<(Data, Vec<u8>)>>,
    unwritten: Vec<u8>,
    /// The newest ping's payload, until its answer is queued.
    ping: Option<Box<[u8]>>,
    closing: bool,
}

/// What a frame completes.
enum Found {
    Message(Data, Range<usize>),
    Joined(Data, Vec<u8>),
    Alive,
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// `early` was read together with the handshake; a message may have `most` bytes.
    pub fn new(stream: S, early: &[u8], most: usize) -> Self {
        Self {
            stream,
            most,
            unread: Unread::new(early),
            begun: None,
            unwritten: Vec::new(),
            ping: None,
            closing: false,
        }
    }

    /// The next message or sign of life. Dropping the future loses nothing. Answers to pings go out meanwhile.
    pub async fn next(&mut self) -> Result<Incoming<'_>, Fault> {
        let found = loop {
            if let Some(found) = self.take()? {
                break found;
            }
            poll_fn(|cx| self.poll_more(cx)).await?;
        };
        let message = |kind, bytes| match kind {
            Data::Text => Incoming::Text(bytes),
            _ => Incoming::Binary(bytes),
        };
        Ok(match found {
            Found::Message(kind, at) => message(kind, Cow::Borrowed(self.unread.at(at))),
            Found::Joined(kind, bytes) => message(kind, Cow::Owned(bytes)),
            Found::Alive => Incoming::Alive,
            Found::Closed => Incoming::Closed,
        })
    }

    /// Queues one message behind what is unwritten.
    pub fn queue(&mut self, kind: Data, payload: &[u8]) {
        self.put(OpCode::Data(kind), payload);
    }

    /// Whether so much is queued that it should be written before more is.
    pub fn has_gathered(&self) -> bool {
        self.unwritten.len() >= GATHERED
    }

    /// Queues the close; nothing more may be queued.
    pub fn close(&mut self, code: u16, reason: &str) {
        if !self.closing {
            self.closing = true;
            let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
            self.put(OpCode::Control(Control::Close), &payload);
        }
    }

    /// Writes everything that is queued.
    pub async fn flush(&mut self) -> Result<(), Fault> {
        Ok(poll_fn(|cx| self.poll_flush(cx)).await?)
    }

    /// Says that nothing more comes, and reads until the client says so too. After bytes that were no frame the rest
    /// of what the client sends is none either; unread, it would turn the end of the connection into a reset.
    pub async fn finish(&mut self) -> Result<(), Fault> {
        self.stream.shutdown().await?;
        let mut unread = [0; 1024];
        while self.stream.read(&mut unread).await? > 0 {}
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Found>, Fault> {
        while let Some(Frame { header, payload }) = self.unread.take(self.most)? {
            let found = match header.opcode {
                OpCode::Control(control) => Some(self.control(control, payload)?),
                OpCode::Data(kind) => self.data(kind, header.is_final, payload)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn control(&mut self, control: Control, payload: Range<usize>) -> Result<Found, Fault> {
        let payload = self.unread.at(payload);
        match control {
            Control::Ping => {
                self.ping = (!self.closing).then(|| payload.into());
                Ok(Found::Alive)
            }
            Control::Close => {
                let answer = answer_to_close(payload)?;
                if !self.closing {
                    self.closing = true;
                    self.ping = None;
                    self.put(OpCode::Control(Control::Close), &answer);
                }
                Ok(Found::Closed)
            }
            _ => Ok(Found::Alive),
        }
    }

    /// A message, if this was its last frame.
    fn data(
        &mut self,
        kind: Data,
        is_final: bool,
        payload: Range<usize>,
    ) -> Result<Option<Found>, Fault> {
        match (&mut self.begun, kind) {
            (None, Data::Text | Data::Binary) if is_final => {
                Ok(Some(Found::Message(kind, payload)))
            }
            (None, Data::Text | Data::Binary) => {
                let bytes = self.unread.at(payload).to_vec();
                self.begun = Some(Box::new((kind, bytes)));
                Ok(None)
            }
            (Some(begun), Data::Continue) => {
                if begun.1.len() + payload.len() > self.most {
                    return Err(Fault::TooLarge);
                }
                begun.1.extend_from_slice(self.unread.at(payload));
                let whole = self.begun.take_if(|_| is_final);
                Ok(whole.map(|whole| Found::Joined(whole.0, whole.1)))
            }
            _ => Err(Fault::Malformed),
        }
    }

    /// Reads once, into a lent buffer when there is none; what is unwritten goes out as far as it can.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        // What blocks is gone on with when there is room; reading does not wait for it.
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error.into()));
        }
        let mut room = ReadBuf::new(self.unread.room());
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut room);
        let length = room.filled().len();
        match read {
            Poll::Ready(Ok(())) if length > 0 => {
                self.unread.filled(length);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(_) => Poll::Ready(Err(Fault::Lost)),
            Poll::Pending => {
                self.unread.rest();
                Poll::Pending
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(ping) = self.ping.take_if(|_| self.unwritten.is_empty()) {
            self.put(OpCode::Control(Control::Pong), &ping);
        }
        let mut written = 0;
        while written < self.unwritten.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.unwritten[written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(length)) => written += length,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if written > 0 || self.unwritten.capacity() > self.unwritten.len() {
                        let rest = self.unwritten[written..].to_vec();
                        let lent = std::mem::replace(&mut self.unwritten, rest);
                        give_back(&WRITING, lent, GATHERED);
                    }
                    return Poll::Pending;
                }
            }
        }
        give_back(&WRITING, std::mem::take(&mut self.unwritten), GATHERED);
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    fn put(&mut self, opcode: OpCode, payload: &[u8]) {
        if self.unwritten.capacity() == 0 {
            self.unwritten = WRITING.take();
            self.unwritten.clear();
        }
        let header = FrameHeader {
            opcode,
            mask: None,
            ..FrameHeader::default()
        };
        header
            .format(payload.len() as u64, &mut self.unwritten)
            .expect("memory takes every header");
        self.unwritten.extend_from_slice(payload);
    }
}

/// The payload that answers a close: the same code, unless it may not be sent.
fn answer_to_close(payload: &[u8]) -> Result<Vec<u8>, Fault> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(Vec::new())
        } else {
            Err(Fault::Malformed)
        };
    };
    if std::str::from_utf8(reason).is_err() {
        return Err(Fault::Malformed);
    }
    if CloseCode::from(u16::from_be_bytes(*code)).is_allowed() {
        return Ok(payload.to_vec());
    }
    Ok(u16::from(CloseCode::Protocol).to_be_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{DuplexStream, duplex};

    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 250];
    const FINAL: u8 = 0x80;

    /// A client's frame; `first` is its first byte.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        let masked = payload.iter().zip(MASK.iter().cycle());
        frame.extend(masked.map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn connected(room: usize) -> (Socket<DuplexStream>, DuplexStream) {
        let (here, there) = duplex(room);
        (Socket::new(here, &[], 1000), there)
    }

    async fn first_fault(bytes: &[u8]) -> Fault {
        let (mut socket, mut client) = connected(64 * 1024);
        client.write_all(bytes).await.expect("there is room");
        loop {
            if let Err(fault) = socket.next().await {
                return fault;
            }
        }
    }

    #[tokio::test]
    async fn messages_come_whole_however_they_are_cut() {
        let long = vec![b'x'; 900];
        let bytes = [
            frame(FINAL | 1, b"one"),
            frame(2, b"t"),
            frame(FINAL | 9, b"are you there"),
            frame(0, b""),
            frame(FINAL, b"wo"),
            frame(FINAL | 1, &long),
        ]
        .concat();
        let wanted = [
            Incoming::Text(b"one".into()),
            Incoming::Alive,
            Incoming::Binary(b"two".into()),
            Incoming::Text((&long[..]).into()),
        ];
        for cut in [1, 2, 7, 100, bytes.len()] {
            let (mut socket, mut client) = connected(64 * 1024);
            let writing = async {
                for some in bytes.chunks(cut) {
                    client.write_all(some).await.expect("there is room");
                    tokio::task::yield_now().await;
                }
                client
            };
            let reading = async {
                for wanted in &wanted {
                    assert_eq!(socket.next().await.as_ref(), Ok(wanted), "cut by {cut}");
                }
                socket.flush().await.expect("there is room");
            };
            let (mut client, ()) = tokio::join!(writing, reading);
            let mut pong = [0; 15];
            client.read_exact(&mut pong).await.expect("an answer");
            assert_eq!(&pong, b"\x8a\x0dare you there");
        }
    }

    #[tokio::test]
    async fn what_came_with_the_handshake_is_read_first() {
        let (here, _there) = duplex(64);
        let mut socket = Socket::new(here, &frame(FINAL | 1, b"early"), 100);
        assert_eq!(socket.next().await, Ok(Incoming::Text(b"early".into())));
    }

    #[tokio::test]
    async fn what_is_no_frame_of_a_client_is_malformed_or_too_large() {
        let unmasked = [FINAL | 1, 2, b'h', b'i'];
        for wrong in [
            unmasked.to_vec(),
            frame(FINAL | 0x40 | 1, b"compressed"),
            frame(FINAL | 3, b"of no kind"),
            frame(9, b"control in pieces"),
            frame(FINAL | 9, &[0; 126]),
            frame(FINAL, b"goes on with nothing"),
            [frame(1, b"begins"), frame(FINAL | 1, b"begins again")].concat(),
            frame(FINAL | 8, b"\x03"),
            frame(FINAL | 8, b"\x03\xe8\xff\xff"),
        ] {
            assert_eq!(first_fault(&wrong).await, Fault::Malformed, "{wrong:x?}");
        }
        for large in [
            frame(FINAL | 1, &[b'x'; 1001]),
            [frame(1, &[b'x'; 900]), frame(FINAL, &[b'x'; 101])].concat(),
            // The length alone is enough: nobody waits for what would not be taken.
            [FINAL | 1, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4].to_vec(),
        ] {
            assert_eq!(first_fault(&large).await, Fault::TooLarge);
        }
    }

    #[tokio::test]
    async fn a_close_is_answered_with_its_code_unless_that_may_not_be_sent() {
        for (said, answered) in [
            (&b"\x03\xe9away"[..], &b"\x88\x06\x03\xe9away"[..]),
            (b"", b"\x88\x00"),
            (b"\x03\xed", b"\x88\x02\x03\xea"),
        ] {
            let (mut socket, mut client) = connected(1024);
            client
                .write_all(&frame(FINAL | 8, said))
                .await
                .expect("there is room");
            assert_eq!(socket.next().await, Ok(Incoming::Closed));
            socket.flush().await.expect("there is room");
            drop(socket);
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("an answer");
            assert_eq!(answer, answered);
        }
    }

    #[tokio::test]
    async fn a_connection_without_traffic_keeps_no_buffer() {
        let (mut socket, mut client) = connected(64 * 1024);
        client
            .write_all(&frame(FINAL | 1, b"hello"))
            .await
            .expect("there is room");
        socket.next().await.expect("a message");
        socket.queue(Data::Text, b"welcome");
        socket.flush().await.expect("there is room");
        tokio::select! {
            biased;
            _ = socket.next() => panic!("nothing was sent"),
            () = tokio::task::yield_now() => {}
        }
        assert!(socket.unread.is_without_memory());
        assert_eq!(socket.unwritten.capacity(), 0);
    }

    #[tokio::test]
    async fn a_slow_reader_gets_everything_in_order_and_the_newest_pong() {
        let (mut socket, mut client) = connected(100);
        for number in 0..50 {
            socket.queue(Data::Text, &[number; 120]);
        }
        let stuck = tokio::time::timeout(Duration::ZERO, socket.flush()).await;
        assert!(stuck.is_err());
        for ping in [b"1", b"2"] {
            client
                .write_all(&frame(FINAL | 9, ping))
                .await
                .expect("there is room");
            assert_eq!(socket.next().await, Ok(Incoming::Alive));
        }
        socket.queue(Data::Text, b"last");
        let reading = async {
            let mut bytes = vec![0; 50 * 122 + 6 + 3];
            client.read_exact(&mut bytes).await.expect("all of it");
            bytes
        };
        let flushing = async {
            socket.flush().await.expect("the client reads");
            socket.flush().await.expect("the client reads");
        };
        let (bytes, ()) = tokio::join!(reading, flushing);
        let (frames, rest) = bytes.split_at(50 * 122);
        for (number, frame) in (0_u8..).zip(frames.chunks(122)) {
            assert_eq!(frame[..2], [0x81, 120]);
            assert!(frame[2..].iter().all(|byte| *byte == number));
        }
        assert_eq!(rest, b"\x81\x04last\x8a\x012");
    }
}
