//! The ids of Kith, as types: what they are made of and how they look on the wire.
//!
//! Every id is text to clients. Inside, users, entries, holds and sessions are 64-bit, conversations 128-bit and
//! uniformly distributed, so that a sharded store spreads them. Nothing here does I/O or reads a clock.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not an id of the kind it was read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind")]
pub struct NotAnId;

macro_rules! decimal_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let canonical = !text.is_empty() && (text.len() == 1 || !text.starts_with('0'));
                if !canonical || !text.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(NotAnId);
                }
                text.parse().map($name).map_err(|_| NotAnId)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

decimal_id!(
    /// A person, or a service account.
    UserId
);
decimal_id!(
    /// An entry, unique in the deployment; its high bits are the milliseconds of its commit, so it sorts by time.
    EntryId
);
decimal_id!(
    /// A message that waits for an administrator.
    HoldId
);
decimal_id!(
    /// A friend request.
    RequestId
);
decimal_id!(
    /// Somebody's wish to join a group; its high bits are the milliseconds it was made at.
    JoinRequestId
);
decimal_id!(
    /// One connected device of one user, for as long as it is connected.
    SessionId
);
decimal_id!(
    /// An uploaded file, or the thumbnail of one; random, so that one tells nothing of any other.
    MediaId
);

impl MediaId {
    /// A new one.
    pub fn random() -> Self {
        Self((rand::random::<u64>() >> 1).max(1))
    }
}

impl EntryId {
    /// When the entry was committed, milliseconds since 1970 UTC.
    pub fn at_ms(self) -> u64 {
        self.0 >> IdSource::LOW_BITS
    }

    /// The lowest id of a millisecond.
    pub fn first_at(ms: u64) -> Self {
        Self(ms.saturating_mul(1 << IdSource::LOW_BITS))
    }

    /// The highest id of a millisecond.
    pub fn last_at(ms: u64) -> Self {
        Self(Self::first_at(ms).0 | ((1 << IdSource::LOW_BITS) - 1))
    }
}

/// A conversation. A direct conversation's id follows from its two users, a `self` log's from its user.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId(pub u128);

impl ConversationId {
    /// The direct conversation of two users; the same whichever is named first.
    pub fn direct(one: UserId, other: UserId) -> Self {
        let (low, high) = if one <= other {
            (one, other)
        } else {
            (other, one)
        };
        Self::derived(b"direct", &[low.0, high.0])
    }

    /// A user's own log.
    pub fn own(user: UserId) -> Self {
        Self::derived(b"self", &[user.0])
    }

    /// A new group's.
    pub fn random() -> Self {
        Self(rand::random())
    }

    fn derived(kind: &[u8], users: &[u64]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(kind);
        for user in users {
            hasher.update(&user.to_be_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(u128::from_be_bytes(bytes))
    }

    /// As text, 32 digits; written into `text`.
    fn hex(self, text: &mut [u8; 32]) -> &str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (two, byte) in text.as_chunks_mut().0.iter_mut().zip(self.to_bytes()) {
            *two = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
        }
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// Big-endian, for keys.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex(&mut [0; 32]))
    }
}

impl fmt::Debug for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConversationId({self})")
    }
}

impl FromStr for ConversationId {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let canonical =
            text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !canonical {
            return Err(NotAnId);
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| NotAnId)
    }
}

impl Serialize for ConversationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.hex(&mut [0; 32]))
    }
}

impl<'de> Deserialize<'de> for ConversationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Makes ids that rise: 44 bits of milliseconds, 10 of the node, 10 of a count.
///
/// When the clock stands still or goes back the source counts on from its last id, so ids never repeat and never
/// fall on one node; nodes differ by their number.
#[derive(Debug)]
pub struct IdSource {
    node: u64,
    last: AtomicU64,
}

impl IdSource {
    const LOW_BITS: u32 = 20;
    const COUNT_BITS: u32 = 10;

    /// `node` is 0–1023 and unique among the nodes that run at the same time; `floor` is the highest id ever given
    /// out by a node of this number that is known of, so that a clock set back repeats nothing.
    pub fn new(node: u16, floor: u64) -> Self {
        assert!(node < 1024, "a node's number has ten bits");
        Self {
            node: u64::from(node),
            last: AtomicU64::new(floor),
        }
    }

    /// The next id at `now_ms`, milliseconds since 1970 UTC.
    pub fn next(&self, now_ms: u64) -> u64 {
        let count_mask = (1 << Self::COUNT_BITS) - 1;
        let fresh = (now_ms << Self::LOW_BITS) | (self.node << Self::COUNT_BITS);
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let next = if fresh > last {
                fresh
            } else if last & count_mask < count_mask
                && (last >> Self::COUNT_BITS) & 1023 == self.node
            {
                last + 1
            } else {
                (((last >> Self::LOW_BITS) + 1) << Self::LOW_BITS) | (self.node << Self::COUNT_BITS)
            };
            match self
                .last
                .compare_exchange_weak(last, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return next,
                Err(seen) => last = seen,
            }
        }
    }

    /// From now on every id is higher than this one, which another source may have given out.
    pub fn raise(&self, seen: u64) {
        self.last.fetch_max(seen, Ordering::AcqRel);
    }

    /// The highest id given out so far.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_though_the_clock_stands_still_or_goes_back() {
        let source = IdSource::new(3, 0);
        let mut last = 0;
        for step in 0..5000_u64 {
            let id = source.next(1_700_000_000_000 - step % 7);
            assert!(id > last);
            assert_eq!((id >> 10) & 1023, 3);
            last = id;
        }
    }

    #[test]
    fn a_direct_conversation_is_the_same_from_both_sides() {
        assert_eq!(
            ConversationId::direct(UserId(1), UserId(2)),
            ConversationId::direct(UserId(2), UserId(1))
        );
        assert_ne!(
            ConversationId::direct(UserId(1), UserId(2)),
            ConversationId::direct(UserId(1), UserId(3))
        );
    }

    #[test]
    fn only_the_canonical_text_of_an_id_is_one() {
        assert_eq!("7".parse(), Ok(UserId(7)));
        for wrong in ["", "07", "+7", "-1", "7 ", "18446744073709551616", "x"] {
            assert_eq!(wrong.parse::<UserId>(), Err(NotAnId), "{wrong}");
        }
        let id = ConversationId::own(UserId(7));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string(), format!("{:032x}", id.0));
        assert_eq!(
            id.to_string().to_uppercase().parse::<ConversationId>(),
            Err(NotAnId)
        );
    }
}
