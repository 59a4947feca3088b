//! How entries of the embedded log look on disk: a compact hand-written encoding. No I/O.
//!
//! An entry's row opens with what a conversation's head must know, so that the newest row alone rebuilds it.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::entry::{
    Body, DecisionRecord, Entry, HookOutcome, HookTrace, Judgement, Made, Message, Seq,
};
use crate::ids::{ConversationId, EntryId, HoldId, UserId};
use crate::store::StoreError;

const VERSION: u8 = 1;
/// The same, with the circumstances of a judgement at its end.
const VERSION_ASKED: u8 = 2;
/// On the number of a hook's outcome: its decision's fingerprint follows.
const DECIDED: u8 = 0x80;

/// What the newest row tells of the whole conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// Messages up to and with this entry.
    pub ordinal: u64,
    /// The newest message up to and with this entry; 0 when there is none.
    pub last_message: Seq,
    /// Messages of `streak_author` since another one wrote, at most 255.
    pub streak: u8,
    pub streak_author: u64,
    /// Bit 0 and 1: the first and second user of a direct conversation have written.
    pub written: u8,
}

/// An entry with everything that is kept beside it.
#[derive(Debug, Clone)]
pub struct EntryRow {
    pub entry: Arc<Entry>,
    pub record: DecisionRecord,
    pub header: Header,
    /// A message's edits, oldest first.
    pub edits: Vec<Seq>,
    /// The recall entry of a recalled message; 0 otherwise.
    pub recalled_by: Seq,
    /// The ack carried the content.
    pub replaced: bool,
    /// What the ack carried, once an edit has taken its place in the entry.
    pub acked: Option<Box<RawValue>>,
    /// Edits of this message that are held.
    pub holds: Vec<HoldId>,
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} could not be read"))
}

/// Appends fixed and length-prefixed fields.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(bytes.len() as u32);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn content(&mut self, content: Option<&RawValue>) -> &mut Self {
        match content {
            Some(json) => self.bytes(json.get().as_bytes()),
            None => self.u32(u32::MAX),
        }
    }
}

/// Takes fields back in the order they were written.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    pub fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    pub fn content(&mut self) -> Option<Option<Box<RawValue>>> {
        let length = self.u32()?;
        if length == u32::MAX {
            return Some(None);
        }
        let text = String::from_utf8(self.take(length as usize)?.to_vec()).ok()?;
        RawValue::from_string(text).ok().map(Some)
    }
}

impl EntryRow {
    fn version(&self) -> u8 {
        match self.record.circumstances {
            Some(_) => VERSION_ASKED,
            None => VERSION,
        }
    }

    /// Appends the row to a buffer.
    pub fn encode_into(&self, buffer: &mut Vec<u8>) {
        let entry = &*self.entry;
        let mut out = Writer(std::mem::take(buffer));
        let (edited, recalled) = entry
            .message()
            .map_or((false, false), |m| (m.edited, m.recalled));
        let flags = u8::from(edited)
            | u8::from(recalled) << 1
            | u8::from(entry.audience.is_some()) << 2
            | u8::from(self.replaced) << 3
            | u8::from(self.record.recall_window_ms.is_some()) << 4
            | u8::from(self.acked.is_some()) << 5
            | u8::from(!self.holds.is_empty()) << 6
            | u8::from(entry.made.is_some()) << 7;
        out.u8(self.version())
            .u8(kind_number(&entry.body))
            .u8(flags)
            .u64(entry.id.0)
            .u64(entry.from.0);
        write_header(&mut out, &self.header);
        write_record(&mut out, &self.record);
        match &entry.body {
            Body::Message(message) => {
                out.bytes(message.client_id.as_bytes())
                    .u64(message.reply_to.unwrap_or(0))
                    .u64(self.recalled_by);
                out.u16(self.edits.len() as u16);
                self.edits.iter().for_each(|seq| {
                    out.u64(*seq);
                });
                out.content(message.content.as_deref());
            }
            Body::Recall { target, by } => {
                out.u64(*target).u64(by.0);
            }
            Body::Edit { target, content } => {
                out.u64(*target).content(content.as_deref());
            }
            Body::React { target, emoji, on } => {
                out.u64(*target).u8(u8::from(*on)).bytes(emoji.as_bytes());
            }
            Body::System { code, args } => {
                out.bytes(code.as_bytes()).content(Some(args));
            }
        }
        if let Some(audience) = &entry.audience {
            out.u32(audience.len() as u32);
            audience.iter().for_each(|user| {
                out.u64(user.0);
            });
        }
        if let Some(window) = self.record.recall_window_ms {
            out.u64(window);
        }
        if self.acked.is_some() {
            out.content(self.acked.as_deref());
        }
        if !self.holds.is_empty() {
            out.u16(self.holds.len() as u16);
            self.holds.iter().for_each(|hold| {
                out.u64(hold.0);
            });
        }
        if let Some(made) = &entry.made {
            write_made(&mut out, made);
        }
        asked::write(&mut out, self.record.circumstances.as_ref());
        *buffer = out.0;
    }

    pub fn decode(
        conversation: ConversationId,
        seq: Seq,
        bytes: &[u8],
    ) -> Result<Self, StoreError> {
        Self::read(conversation, seq, bytes).ok_or_else(|| damaged("an entry"))
    }

    fn read(conversation: ConversationId, seq: Seq, bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let version = from.u8()?;
        if ![VERSION, VERSION_ASKED].contains(&version) {
            return None;
        }
        let (kind, flags) = (from.u8()?, from.u8()?);
        let (id, author) = (EntryId(from.u64()?), UserId(from.u64()?));
        let header = read_header(&mut from)?;
        let mut record = read_record(&mut from)?;
        let (mut edits, mut recalled_by) = (Vec::new(), 0);
        let body = read_body(&mut from, (kind, flags), &mut edits, &mut recalled_by)?;
        let audience = if flags & 4 != 0 {
            let count = from.u32()?;
            let users: Option<Vec<UserId>> = (0..count).map(|_| from.u64().map(UserId)).collect();
            Some(users?.into())
        } else {
            None
        };
        if flags & 16 != 0 {
            record.recall_window_ms = Some(from.u64()?);
        }
        let acked = if flags & 32 != 0 {
            from.content()?
        } else {
            None
        };
        let held = if flags & 64 != 0 { from.u16()? } else { 0 };
        let holds = (0..held).map(|_| from.u64().map(HoldId));
        let holds = holds.collect::<Option<Vec<_>>>()?;
        let made = match flags & 128 != 0 {
            true => Some(Box::new(read_made(&mut from)?)),
            false => None,
        };
        if version == VERSION_ASKED {
            record.circumstances = Some(asked::read(&mut from)?);
        }
        let entry = Entry {
            conversation,
            seq,
            id,
            at: id.at_ms(),
            from: author,
            body,
            audience,
            made,
        };
        Some(Self {
            entry: Arc::new(entry),
            record,
            header,
            edits,
            recalled_by,
            replaced: flags & 8 != 0,
            acked,
            holds,
        })
    }

    /// When the entry was committed, without reading the rest.
    pub fn decode_time(bytes: &[u8]) -> Result<u64, StoreError> {
        let mut from = Reader(bytes);
        from.take(3)
            .and_then(|_| from.u64())
            .map(|id| EntryId(id).at_ms())
            .ok_or_else(|| damaged("an entry"))
    }

    /// The header alone, without reading the rest.
    pub fn decode_header(bytes: &[u8]) -> Result<Header, StoreError> {
        let mut from = Reader(bytes);
        from.take(3 + 16)
            .and_then(|_| read_header(&mut from))
            .ok_or_else(|| damaged("an entry"))
    }
}

fn write_made(out: &mut Writer, made: &Made) {
    out.bytes(made.plugin.as_bytes())
        .u8(made.depth)
        .bytes(made.stream.as_deref().unwrap_or_default().as_bytes());
}

fn read_made(from: &mut Reader<'_>) -> Option<Made> {
    Some(Made {
        plugin: from.text()?,
        depth: from.u8()?,
        stream: Some(from.text()?).filter(|stream| !stream.is_empty()),
    })
}

/// A body of a kind; the edits and the recall of a message beside it.
fn read_body(
    from: &mut Reader<'_>,
    (kind, flags): (u8, u8),
    edits: &mut Vec<Seq>,
    recalled_by: &mut Seq,
) -> Option<Body> {
    Some(match kind {
        0 => {
            let client_id = from.text()?;
            let reply_to = Some(from.u64()?).filter(|seq| *seq > 0);
            *recalled_by = from.u64()?;
            for _ in 0..from.u16()? {
                edits.push(from.u64()?);
            }
            let content = from.content()?;
            Body::Message(Message {
                client_id,
                content,
                reply_to,
                edited: flags & 1 != 0,
                recalled: flags & 2 != 0,
            })
        }
        1 => Body::Recall {
            target: from.u64()?,
            by: UserId(from.u64()?),
        },
        2 => Body::Edit {
            target: from.u64()?,
            content: from.content()?,
        },
        3 => {
            let (target, on) = (from.u64()?, from.u8()? != 0);
            Body::React {
                target,
                on,
                emoji: from.text()?,
            }
        }
        4 => Body::System {
            code: from.text()?,
            args: from.content()??,
        },
        _ => return None,
    })
}

fn kind_number(body: &Body) -> u8 {
    match body {
        Body::Message(_) => 0,
        Body::Recall { .. } => 1,
        Body::Edit { .. } => 2,
        Body::React { .. } => 3,
        Body::System { .. } => 4,
    }
}

pub fn write_header(out: &mut Writer, header: &Header) {
    let Header {
        ordinal,
        last_message,
        streak,
        streak_author,
        written,
    } = *header;
    out.u64(ordinal)
        .u64(last_message)
        .u8(streak)
        .u64(streak_author)
        .u8(written);
}

pub fn read_header(from: &mut Reader<'_>) -> Option<Header> {
    Some(Header {
        ordinal: from.u64()?,
        last_message: from.u64()?,
        streak: from.u8()?,
        streak_author: from.u64()?,
        written: from.u8()?,
    })
}

fn write_record(out: &mut Writer, record: &DecisionRecord) {
    write_judgement(out, record.generation, &record.hooks);
    out.u8(record.earlier.len() as u8);
    for earlier in &record.earlier {
        write_judgement(out, earlier.generation, &earlier.hooks);
    }
}

fn write_judgement(out: &mut Writer, generation: u64, hooks: &[HookTrace]) {
    out.u64(generation).u16(hooks.len() as u16);
    for hook in hooks {
        let decided = if hook.decision == 0 { 0 } else { DECIDED };
        out.u16(hook.binding)
            .u8(hook.outcome as u8 | decided)
            .u32(hook.duration_us);
        if hook.decision != 0 {
            out.u32(hook.decision);
        }
    }
}

fn read_record(from: &mut Reader<'_>) -> Option<DecisionRecord> {
    let (generation, hooks) = read_judgement(from)?;
    let mut earlier = Vec::new();
    for _ in 0..from.u8()? {
        let (generation, hooks) = read_judgement(from)?;
        earlier.push(Judgement { generation, hooks });
    }
    Some(DecisionRecord {
        generation,
        hooks,
        earlier,
        recall_window_ms: None,
        made: None,
        circumstances: None,
        beside: None,
    })
}

fn read_judgement(from: &mut Reader<'_>) -> Option<(u64, Vec<HookTrace>)> {
    let generation = from.u64()?;
    let count = from.u16()?;
    let hooks = (0..count).map(|_| {
        let (binding, number) = (from.u16()?, from.u8()?);
        Some(HookTrace {
            binding,
            outcome: HookOutcome::from_stored(number & !DECIDED)?,
            duration_us: from.u32()?,
            decision: match number & DECIDED {
                0 => 0,
                _ => from.u32()?,
            },
        })
    });
    Some((generation, hooks.collect::<Option<_>>()?))
}

mod asked;
#[cfg(test)]
mod tests;
