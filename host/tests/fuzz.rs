//! Input nobody meant: generated requests against the decoder of frames, live WebSockets and every REST route. The same
//! seed makes the same requests; `KITH_FUZZ_SEED` sets another, `KITH_LONG` makes more of them.

mod frames;
mod odd;
mod pool;
mod rest;
mod schema;
mod sockets;

use crate::properties::seeded::Seeded;

/// What the requests of one test are made from.
fn seeded(test: u64) -> Seeded {
    let set = std::env::var("KITH_FUZZ_SEED").ok();
    let seed = set.map_or(0_u64, |seed| seed.parse().expect("a seed is a number"));
    println!("KITH_FUZZ_SEED={seed}");
    Seeded(seed.wrapping_mul(1000).wrapping_add(test))
}

/// How many requests, when it is so many in every run.
fn rounds(short: u64) -> u64 {
    match std::env::var_os("KITH_LONG") {
        Some(_) => short * 20,
        None => short,
    }
}
