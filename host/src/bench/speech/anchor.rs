//! The anchor's frames, for both its sides:
//! receiver and number of four bytes each, then the text.

use tokio_tungstenite::tungstenite::Bytes;

use super::Heard;

pub const ACK: u8 = 0;
pub const DELIVERY: u8 = 1;
/// Bytes before a message's text.
pub const HEADER: usize = 8;

/// `to`, number, text.
pub fn message(to: u32, number: u64, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&to.to_le_bytes());
    out.extend_from_slice(&(number as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A frame of a kind and a number.
pub fn short(kind: u8, number: u32) -> Bytes {
    let number = number.to_le_bytes();
    Bytes::copy_from_slice(&[kind, number[0], number[1], number[2], number[3]])
}

/// The four bytes from a place on; 0 when they are not there.
pub fn number_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_le_bytes)
}

pub fn hear(payload: &[u8]) -> Heard {
    let number = u64::from(number_at(payload, 1));
    match payload.first() {
        Some(&ACK) => Heard::Ack(number),
        Some(&DELIVERY) => Heard::Delivery(number),
        _ => Heard::Nothing,
    }
}
