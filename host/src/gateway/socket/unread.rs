//! What was read of a connection and is not yet taken: bytes in, frames out. While nothing is half read it has no
//! memory; it reads into a chunk that the thread lends. Touches no socket.

use std::cell::Cell;
use std::io::Cursor;
use std::ops::Range;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

use super::Fault;

/// Bytes read at once.
const CHUNK: usize = 8 * 1024;
/// Most bytes of a control frame's payload.
const CONTROL_BYTES: usize = 125;

thread_local! {
    /// A chunk, or nothing while it is lent.
    static READING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The bytes, and which of them are unread.
#[derive(Debug)]
pub struct Unread {
    bytes: Vec<u8>,
    at: Range<usize>,
}

/// One frame: what its header says, and where its payload is.
pub struct Frame {
    pub header: FrameHeader,
    pub payload: Range<usize>,
}

impl Unread {
    pub fn new(early: &[u8]) -> Self {
        Self {
            bytes: early.to_vec(),
            at: 0..early.len(),
        }
    }

    /// A payload that was taken, until something more is read.
    pub fn at(&self, payload: Range<usize>) -> &[u8] {
        &self.bytes[payload]
    }

    /// The next frame, unmasked, once it is there as a whole.
    pub fn take(&mut self, most: usize) -> Result<Option<Frame>, Fault> {
        let mut cursor = Cursor::new(&self.bytes[self.at.clone()]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Fault::Malformed)?;
        let Some((header, length)) = parsed else {
            return Ok(None);
        };
        let length = usize::try_from(length).map_err(|_| Fault::TooLarge)?;
        if length > most {
            return Err(Fault::TooLarge);
        }
        let is_control = matches!(header.opcode, OpCode::Control(_));
        let reserved = header.rsv1 || header.rsv2 || header.rsv3;
        if reserved || (is_control && (!header.is_final || length > CONTROL_BYTES)) {
            return Err(Fault::Malformed);
        }
        let mask = header.mask.ok_or(Fault::Malformed)?;
        let start = self.at.start + cursor.position() as usize;
        let payload = start..start + length;
        let Some(masked) = self.bytes[..self.at.end].get_mut(payload.clone()) else {
            self.make_room(payload.end - self.at.start);
            return Ok(None);
        };
        unmask(masked, mask);
        self.at.start = payload.end;
        Ok(Some(Frame { header, payload }))
    }

    /// Where to read to: at least one byte.
    pub fn room(&mut self) -> &mut [u8] {
        if self.at.is_empty() {
            self.at = 0..0;
            if self.bytes.len() < CHUNK {
                self.bytes = READING.take();
                self.bytes.resize(CHUNK, 0);
            }
        } else if self.at.end == self.bytes.len() {
            self.make_room(self.at.len() + CHUNK);
        }
        &mut self.bytes[self.at.end..]
    }

    /// So many bytes were put there.
    pub fn filled(&mut self, length: usize) {
        self.at.end += length;
    }

    /// Puts what is unread to the front of so many bytes.
    fn make_room(&mut self, length: usize) {
        self.bytes.copy_within(self.at.clone(), 0);
        self.at = 0..self.at.len();
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
    }

    /// Gives the memory back while there is nothing to read; what is half read keeps what it needs.
    pub fn rest(&mut self) {
        if self.at.is_empty() {
            self.at = 0..0;
            give_back(&READING, std::mem::take(&mut self.bytes), CHUNK);
        } else if self.bytes.len() >= CHUNK && self.at.len() < CHUNK / 2 {
            let half = self.bytes[self.at.clone()].to_vec();
            self.at = 0..half.len();
            give_back(&READING, std::mem::replace(&mut self.bytes, half), CHUNK);
        }
    }

    #[cfg(test)]
    pub fn is_without_memory(&self) -> bool {
        self.bytes.capacity() == 0
    }
}

/// Puts a lent buffer back. One that has grown beyond what is usual is let go.
pub fn give_back(
    place: &'static std::thread::LocalKey<Cell<Vec<u8>>>,
    buffer: Vec<u8>,
    usual: usize,
) {
    if buffer.capacity() > 0 && buffer.capacity() <= 2 * usual {
        place.set(buffer);
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let twice = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ twice).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}
