//! What decoding a frame takes of memory: by its own size, never by what it promises.
//! Looks at the most that is held at once.

use kith::gateway::frame::decode;
use kith::gateway::socket::Incoming;
use kith::session::Codec;

/// The largest frame that is taken.
const FRAME_BYTES: usize = 65_536;
/// A list of one-byte numbers, the dearest thing of its length: 32 bytes of each, while the list grows.
const TIMES_MOST: usize = 64;

/// `{"id": 1, "op": "ping", "x":` and then a length that is not there, filled up with `filling`.
fn promising(marker: u8, filling: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x83, 0xa2, b'i', b'd', 1, 0xa2, b'o', b'p', 0xa4];
    bytes.extend(b"ping\xa1x");
    bytes.push(marker);
    bytes.extend([0xff; 4]);
    while !filling.is_empty() && bytes.len() + filling.len() <= FRAME_BYTES {
        bytes.extend(filling);
    }
    bytes
}

#[test]
fn a_frame_takes_memory_by_its_size_and_not_by_what_it_promises() {
    let _alone = crate::alone();
    let text = 0xdb;
    for marker in [text, 0xc6, 0xdd, 0xdf, 0xc9] {
        let again = [marker, 0xff, 0xff, 0xff, 0xff];
        for filling in [&[][..], &[0], &[0x90], &[0xa1, b'y'], &again] {
            let bytes = promising(marker, filling);
            let frame = Incoming::Binary(bytes.as_slice().into());
            let profiler = dhat::Profiler::builder().testing().build();
            let decoded = decode(Codec::Msgpack, &frame);
            let stats = dhat::HeapStats::get();
            drop(profiler);
            assert!(
                decoded.is_err(),
                "{marker:x} {filling:x?} holds what it promised"
            );
            let most = bytes.len().max(1024) * TIMES_MOST;
            assert!(
                stats.max_bytes <= most,
                "{} bytes for {} of {marker:x} {filling:x?}",
                stats.max_bytes,
                bytes.len()
            );
        }
    }
}
