//! One connection of the generator: a plain socket and the few frames of RFC 6455 a client needs. It is leaner than a
//! library because the generator has one core for everybody and must not be what is measured.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::speech::Speech;

/// How long a blocking step may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// The mask of every frame. It hides nothing here; the server has the same work with it as with any other.
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x6e];

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A client's socket with what it has half read and not yet written.
#[derive(Debug)]
pub struct Link {
    pub stream: TcpStream,
    speech: Speech,
    unread: Vec<u8>,
    unwritten: Vec<u8>,
}

impl Link {
    /// Connects and upgrades; the socket blocks until `unblock`.
    pub fn open(address: SocketAddr, speech: Speech) -> Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut link = Self {
            stream,
            speech,
            unread: Vec::new(),
            unwritten: Vec::new(),
        };
        if speech != Speech::Echo {
            link.upgrade(address)?;
        }
        Ok(link)
    }

    fn upgrade(&mut self, address: SocketAddr) -> Result<()> {
        let protocol = match self.speech {
            Speech::Kith => "Sec-WebSocket-Protocol: kith.v1.json\r\n",
            Speech::Anchor | Speech::Echo => "",
        };
        write!(
            self.stream,
            "GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n"
        )?;
        let end = loop {
            let end = self.unread.windows(4).position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => self.read_some()?,
            };
        };
        if !self.unread.starts_with(b"HTTP/1.1 101") {
            bail!("no upgrade: {}", String::from_utf8_lossy(&self.unread));
        }
        self.unread.drain(..end);
        Ok(())
    }

    /// Puts a frame behind what is unwritten.
    pub fn queue(&mut self, payload: &[u8]) {
        let opcode = match self.speech {
            Speech::Kith => TEXT,
            Speech::Anchor | Speech::Echo => BINARY,
        };
        self.frame(opcode, payload);
    }

    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        // The echo sends frames back as they are, and servers' frames have no mask.
        let masked = self.speech != Speech::Echo;
        let flag = if masked { 0x80 } else { 0 };
        self.unwritten.push(0x80 | opcode);
        match payload.len() {
            length @ 0..126 => self.unwritten.push(flag | length as u8),
            length @ 126..65_536 => {
                self.unwritten.push(flag | 126);
                self.unwritten
                    .extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                self.unwritten.push(flag | 127);
                self.unwritten
                    .extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if masked {
            self.unwritten.extend_from_slice(&MASK);
            let masked = payload.iter().zip(MASK.iter().cycle());
            self.unwritten
                .extend(masked.map(|(byte, mask)| byte ^ mask));
        } else {
            self.unwritten.extend_from_slice(payload);
        }
    }

    /// Writes what it can; whether everything is out.
    pub fn flush(&mut self) -> Result<bool> {
        while !self.unwritten.is_empty() {
            match self.stream.write(&self.unwritten) {
                Ok(0) => bail!("the server takes nothing more"),
                Ok(written) => drop(self.unwritten.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot write"),
            }
        }
        Ok(true)
    }

    /// Reads what is there and gives every whole frame's payload to `each`.
    pub fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<()> {
        loop {
            let read = match self.read_some() {
                Ok(read) => read,
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            self.take_frames(&mut each)?;
            if read < CHUNK {
                return Ok(());
            }
        }
    }

    /// Reads once, waiting while the socket blocks, and gives every whole frame's payload to `each`.
    pub fn receive_some(&mut self, mut each: impl FnMut(&[u8])) -> Result<()> {
        self.read_some()?;
        self.take_frames(&mut each)
    }

    fn take_frames(&mut self, each: &mut impl FnMut(&[u8])) -> Result<()> {
        let mut taken = 0;
        while let Some((opcode, start, end)) = frame_at(&self.unread[taken..]) {
            let (start, end) = (taken + start, taken + end);
            match opcode {
                TEXT | BINARY => each(&self.unread[start..end]),
                PING => {
                    let payload = self.unread[start..end].to_vec();
                    self.frame(PONG, &payload);
                }
                CLOSE => {
                    let reason = self.unread.get(start + 2..end).unwrap_or_default();
                    bail!(
                        "the server closed: {} {}",
                        u16::from_be_bytes([self.unread[start], self.unread[start + 1]]),
                        String::from_utf8_lossy(reason)
                    );
                }
                _ => {}
            }
            taken = end;
        }
        self.unread.drain(..taken);
        Ok(())
    }

    /// Sends a request and waits for its `ok`; only while the socket blocks. Events are passed over.
    pub fn request(&mut self, request: &Value) -> Result<Value> {
        self.queue(request.to_string().as_bytes());
        self.flush()?;
        let id = &request["id"];
        self.wait(|frame| frame["re"] == *id).and_then(|answer| {
            if answer["err"].is_null() {
                Ok(answer["ok"].clone())
            } else {
                bail!("{} was refused: {}", request["op"], answer["err"])
            }
        })
    }

    /// Waits for a JSON frame; only while the socket blocks. Others are passed over.
    pub fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            let mut found = None;
            self.take_frames(&mut |payload| {
                let frame: Value = serde_json::from_slice(payload).unwrap_or_default();
                if found.is_none() && wanted(&frame) {
                    found = Some(frame);
                }
            })?;
            match found {
                Some(frame) => return Ok(frame),
                None => self.read_some()?,
            };
        }
    }

    /// Waits for any frame; only while the socket blocks.
    pub fn wait_any(&mut self) -> Result<()> {
        let mut seen = false;
        while !seen {
            self.read_some()?;
            self.take_frames(&mut |_| seen = true)?;
        }
        Ok(())
    }

    /// From here on reading and writing return at once.
    pub fn unblock(&self) -> Result<()> {
        Ok(self.stream.set_nonblocking(true)?)
    }

    fn read_some(&mut self) -> Result<usize> {
        let before = self.unread.len();
        self.unread.resize(before + CHUNK, 0);
        let read = self.stream.read(&mut self.unread[before..]);
        self.unread
            .truncate(before + read.as_ref().copied().unwrap_or(0));
        match read? {
            0 => bail!("the server hung up"),
            read => Ok(read),
        }
    }
}

fn would_block(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// The first frame's opcode and where its payload begins and ends, if it is there as a whole. Servers do not mask.
fn frame_at(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (opcode, length) = (bytes.first()? & 0x0f, usize::from(bytes.get(1)? & 0x7f));
    let (start, length) = match length {
        126 => {
            let two = bytes.get(2..4)?.try_into().ok()?;
            (4, usize::from(u16::from_be_bytes(two)))
        }
        127 => {
            let eight = bytes.get(2..10)?.try_into().ok()?;
            (10, usize::try_from(u64::from_be_bytes(eight)).ok()?)
        }
        length => (2, length),
    };
    (bytes.len() >= start + length).then_some((opcode, start, start + length))
}
