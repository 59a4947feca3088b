//! How often: sends of a user,
//! registrations and sign-in attempts of an address or a name. Idle keys are given back.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::ids::UserId;
use crate::refusal::Refusal;

/// A rate by key.
struct Keyed<K: std::hash::Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    message: &'static str,
}

impl<K: std::hash::Hash + Eq + Clone> Keyed<K> {
    fn new(quota: Quota, message: &'static str) -> Self {
        Self {
            limiter: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            message,
        }
    }

    fn admit(&self, key: &K) -> Result<(), Refusal> {
        self.limiter.check_key(key).map_err(|not_until| {
            Refusal::rate_limited(not_until.wait_time_from(self.clock.now()), self.message)
        })
    }

    fn tidy(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// Sends, or signals, of a user.
pub struct UserRate(Keyed<UserId>);

impl UserRate {
    /// `per_s` sends a second on average, `burst` at once.
    pub fn new(per_s: NonZeroU32, burst: NonZeroU32) -> Self {
        Self(Keyed::new(
            Quota::per_second(per_s).allow_burst(burst),
            "too many messages at once",
        ))
    }

    /// What costs more than a read and is no message: typing, drafts, presence.
    pub fn signals(per_s: NonZeroU32, burst: NonZeroU32) -> Self {
        Self(Keyed::new(
            Quota::per_second(per_s).allow_burst(burst),
            "too many signals at once",
        ))
    }

    pub fn admit(&self, user: UserId) -> Result<(), Refusal> {
        self.0.admit(&user)
    }

    /// Gives the memory of idle users back.
    pub fn tidy(&self) {
        self.0.tidy();
    }
}

/// What strangers may try: registrations and sign-ins.
pub struct StrangerRates {
    registrations: Keyed<IpAddr>,
    attempts_by_address: Keyed<IpAddr>,
    attempts_by_name: Keyed<String>,
}

/// Sign-in attempts of one address: 60 at once, then one a second.
const ATTEMPTS_BY_ADDRESS: u32 = 60;
/// Sign-in attempts on one name: 10 at once, then one every six seconds.
const ATTEMPTS_BY_NAME: u32 = 10;

impl StrangerRates {
    /// `registrations_per_hour` of one address.
    pub fn new(registrations_per_hour: NonZeroU32) -> Self {
        let one = NonZeroU32::MIN;
        let by_address = NonZeroU32::new(ATTEMPTS_BY_ADDRESS).unwrap_or(one);
        let by_name = NonZeroU32::new(ATTEMPTS_BY_NAME).unwrap_or(one);
        let slow = Quota::with_period(Duration::from_secs(6)).unwrap_or(Quota::per_minute(one));
        Self {
            registrations: Keyed::new(
                Quota::per_hour(registrations_per_hour),
                "too many registrations from this address",
            ),
            attempts_by_address: Keyed::new(
                Quota::per_second(one).allow_burst(by_address),
                "too many sign-ins from this address",
            ),
            attempts_by_name: Keyed::new(
                slow.allow_burst(by_name),
                "too many sign-ins as this user",
            ),
        }
    }

    pub fn admit_registration(&self, address: IpAddr) -> Result<(), Refusal> {
        self.registrations.admit(&address)
    }

    pub fn admit_attempt(&self, address: IpAddr, name: &str) -> Result<(), Refusal> {
        self.attempts_by_address.admit(&address)?;
        self.attempts_by_name.admit(&name.to_owned())
    }

    /// Gives the memory of idle keys back.
    pub fn tidy(&self) {
        self.registrations.tidy();
        self.attempts_by_address.tidy();
        self.attempts_by_name.tidy();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Code;

    #[test]
    fn a_burst_is_taken_and_the_next_is_told_when_to_come_again() {
        let three = NonZeroU32::new(3).expect("not zero");
        let rate = UserRate::new(NonZeroU32::MIN, three);
        for _ in 0..3 {
            assert_eq!(rate.admit(UserId(1)), Ok(()));
        }
        let refusal = rate.admit(UserId(1)).expect_err("the fourth at once");
        assert_eq!(refusal.code, Code::RateLimited);
        assert!(
            refusal
                .retry_after_ms
                .is_some_and(|wait| (1..=1000).contains(&wait))
        );
        assert_eq!(rate.admit(UserId(2)), Ok(()));
    }
}
