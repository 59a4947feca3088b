//! What nodes say to each other, as bytes: MessagePack with a version in front. What a node cannot read (another version
//! of Kith says it) counts as lost, never as something else.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bus::{NodeName, Parcel};

/// Raised with every change that an older node would misread.
const VERSION: u8 = 1;

/// One publish.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub from: NodeName,
    pub says: Says,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Says {
    Parcels(Vec<Parcel>),
    /// Something for the receiver was dropped.
    Lost,
    /// The sender is no more.
    Leaving,
    /// To oneself: the way there and back works.
    Echo,
}

pub fn encode(envelope: &Envelope) -> Bytes {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write(&mut bytes, envelope).expect("memory takes what a node says");
    bytes.into()
}

/// `None` for what cannot be read.
pub fn decode(bytes: &[u8]) -> Option<Envelope> {
    let (version, rest) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    rmp_serde::from_slice(rest).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Place, Signal};
    use crate::ids::{ConversationId, SessionId, UserId};
    use crate::session::Bye;

    #[test]
    fn what_is_said_is_read_back_and_what_is_foreign_is_not() {
        let place = Place {
            conversation: ConversationId(u128::MAX - 7),
            seq: 9,
        };
        let parcels = vec![
            Parcel::Event {
                users: vec![UserId(1), UserId(u64::MAX)],
                json: Bytes::from_static(b"{\"ev\":\"typing\"}"),
            },
            Parcel::Entered {
                place,
                views: vec![
                    (vec![UserId(1)], Bytes::from_static(b"own")),
                    (vec![UserId(2), UserId(3)], Bytes::from_static(b"{}")),
                ],
            },
            Parcel::Entry {
                place,
                author: UserId(3),
                own: Bytes::from_static(b"own"),
                json: Bytes::from_static(b"other"),
            },
            Parcel::Summary {
                conversation: ConversationId(1),
                users: None,
            },
            Parcel::Signal(Signal::EndSession {
                user: UserId(4),
                session: SessionId(5),
                bye: Bye::Replaced,
            }),
            Parcel::Behind,
            Parcel::Signal(Signal::Bans),
        ];
        let from = NodeName::new("a").expect("a name");
        for says in [
            Says::Parcels(parcels),
            Says::Lost,
            Says::Leaving,
            Says::Echo,
        ] {
            let envelope = Envelope {
                from: from.clone(),
                says,
            };
            let mut bytes = encode(&envelope).to_vec();
            assert_eq!(decode(&bytes), Some(envelope));
            bytes[0] += 1;
            assert_eq!(decode(&bytes), None);
        }
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&[VERSION, 0xc1]), None);
    }
}
