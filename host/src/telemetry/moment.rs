//! A moment in four bytes, for what is only asked how long ago it was and travels with every request. It tells no time of
//! day.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Microseconds since the process's first one, modulo 2^32: good for the last hour.
#[derive(Debug, Clone, Copy)]
pub struct Moment(u32);

impl Moment {
    pub fn now() -> Self {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let micros = FIRST.get_or_init(Instant::now).elapsed().as_micros();
        Self((micros & u128::from(u32::MAX)) as u32)
    }

    /// How long ago it was.
    pub fn elapsed(self) -> Duration {
        Duration::from_micros(Self::now().0.wrapping_sub(self.0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_how_long_ago_it_was_over_the_end_of_its_range() {
        let now = Moment::now();
        assert!(now.elapsed() < Duration::from_secs(60));
        let before = Moment(now.0.wrapping_sub(2_000_000));
        let ago = before.elapsed();
        assert!(
            ago >= Duration::from_secs(2) && ago < Duration::from_secs(62),
            "{ago:?}"
        );
    }
}
