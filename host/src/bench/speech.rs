//! What the contenders are told and what they say:
//! the generator's half of three protocols, without sockets.

pub mod anchor;

use std::io::Write;

/// Which protocol a contender speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    Kith,
    Anchor,
    /// Bytes back.
    Echo,
}

/// What a frame means to the generator.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// The message of this number is durable.
    Ack(u64),
    /// The message of this number has reached its receiver.
    Delivery(u64),
    /// A message was not taken; the server's words.
    Refused(String),
    Nothing,
}

/// Where a message goes, in the contender's words.
#[derive(Debug, Clone, Default)]
pub struct Address {
    /// Of the anchor: the receiver's number.
    pub number: u32,
    /// Of Kith: the conversation's id.
    pub conversation: String,
}

/// Digits every text begins with: the message's number.
const DIGITS: usize = 10;

impl Speech {
    /// The payload that sends `text`, which begins with the number.
    pub fn message(self, to: &Address, client: u64, number: u64, text: &str, out: &mut Vec<u8>) {
        match self {
            Self::Kith => {
                let conversation = &to.conversation;
                // Writing to memory cannot fail.
                let _ = write!(
                    out,
                    r#"{{"id":{number},"op":"send","to":{{"conversation":"{conversation}"}},"client_id":"b{client:x}-{number}","content":{{"type":"text","text":"{text}"}}}}"#
                );
            }
            Self::Anchor | Self::Echo => anchor::message(to.number, number, text, out),
        }
    }

    /// Reads a frame's payload.
    pub fn hear(self, payload: &[u8]) -> Heard {
        match self {
            Self::Kith => hear_kith(payload),
            Self::Anchor => anchor::hear(payload),
            Self::Echo => Heard::Delivery(u64::from(anchor::number_at(payload, 4))),
        }
    }
}

/// A text of about `bytes` bytes that begins with the number.
pub fn text(number: u64, bytes: usize, filler: &str) -> String {
    let mut text = format!("{number:0DIGITS$} ");
    for word in filler.split_inclusive(' ').cycle() {
        if text.len() + word.len() > bytes {
            break;
        }
        text.push_str(word);
    }
    text.extend(std::iter::repeat_n('.', bytes.saturating_sub(text.len())));
    text
}

/// Only what the measurement needs is read: an answer's id, or the number a delivered text begins with.
fn hear_kith(payload: &[u8]) -> Heard {
    if let Some(rest) = payload.strip_prefix(br#"{"re":"#) {
        if find(payload, br#""err":"#).is_some() {
            return Heard::Refused(String::from_utf8_lossy(payload).into_owned());
        }
        return Heard::Ack(digits(rest));
    }
    if find(payload, br#""ev":"entry""#).is_none() {
        return Heard::Nothing;
    }
    const TEXT: &[u8] = br#""text":""#;
    match find(payload, TEXT) {
        Some(at) => Heard::Delivery(digits(&payload[at + TEXT.len()..])),
        None => Heard::Nothing,
    }
}

fn digits(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |number, byte| number * 10 + u64::from(byte - b'0'))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_heard() {
        let text = text(42, 200, "all is well here ");
        assert_eq!(text.len(), 200);
        let mut sent = Vec::new();
        let to = Address {
            number: 7,
            ..Address::default()
        };
        Speech::Anchor.message(&to, 1, 42, &text, &mut sent);
        assert_eq!(anchor::number_at(&sent, 0), 7);
        assert_eq!(Speech::Echo.hear(&sent), Heard::Delivery(42));
        let mut delivered = vec![anchor::DELIVERY];
        delivered.extend_from_slice(&sent[4..]);
        assert_eq!(Speech::Anchor.hear(&delivered), Heard::Delivery(42));
        assert_eq!(
            Speech::Anchor.hear(&anchor::short(anchor::ACK, 9)),
            Heard::Ack(9)
        );
    }

    #[test]
    fn answers_and_entries_are_told_apart() {
        assert_eq!(hear_kith(br#"{"re":17,"ok":{"seq":3}}"#), Heard::Ack(17));
        assert_eq!(
            hear_kith(
                br#"{"ev":"entry","entry":{"content":{"type":"text","text":"0000000021 a"}}}"#
            ),
            Heard::Delivery(21)
        );
        assert!(matches!(
            hear_kith(br#"{"re":1,"err":{"code":"too_fast"}}"#),
            Heard::Refused(_)
        ));
        assert_eq!(hear_kith(br#"{"ev":"behind"}"#), Heard::Nothing);
    }
}
