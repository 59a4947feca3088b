//! How the circumstances of a judgement look in an entry's row.
//! No I/O.

use super::{Reader, Writer};
use crate::conversation::Role;
use crate::entry::Circumstances;

const BLOCKED: u8 = 1;
const BLOCKING: u8 = 2;
const FRIENDS: u8 = 4;
const MUTED: u8 = 8;
const ANSWERED: u8 = 16;
const BESIDE: u8 = 32;
const LOOKED_BACK: u8 = 64;

pub fn write(out: &mut Writer, asked: Option<&Circumstances>) {
    let Some(asked) = asked else { return };
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    let looked_back = asked.recent != (0, 0);
    let flags = bit(asked.blocked, BLOCKED)
        | bit(asked.blocking, BLOCKING)
        | bit(asked.friends, FRIENDS)
        | bit(asked.muted, MUTED)
        | bit(asked.answered, ANSWERED)
        | bit(asked.beside, BESIDE)
        | bit(looked_back, LOOKED_BACK);
    out.u64(asked.at_ms)
        .u8(flags)
        .u8(asked.role as u8)
        .u8(asked.unanswered);
    if looked_back {
        out.u64(asked.recent.0).u64(asked.recent.1);
    }
}

pub fn read(from: &mut Reader<'_>) -> Option<Circumstances> {
    let (at_ms, flags) = (from.u64()?, from.u8()?);
    let role = match from.u8()? {
        0 => Role::Member,
        1 => Role::Admin,
        2 => Role::Owner,
        _ => return None,
    };
    let unanswered = from.u8()?;
    let recent = match flags & LOOKED_BACK {
        0 => (0, 0),
        _ => (from.u64()?, from.u64()?),
    };
    Some(Circumstances {
        at_ms,
        role,
        blocked: flags & BLOCKED != 0,
        blocking: flags & BLOCKING != 0,
        friends: flags & FRIENDS != 0,
        muted: flags & MUTED != 0,
        answered: flags & ANSWERED != 0,
        unanswered,
        recent,
        beside: flags & BESIDE != 0,
    })
}
