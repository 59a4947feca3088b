//! How often: what a user, an address, a name or a device may ask for in a time. Every table of keys is bounded (I5);
//! idle keys are given back. Addresses of IPv6 count by their network, since one host has any number of them.

mod together;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::bus::Bus;
use crate::ids::UserId;
use crate::refusal::Refusal;

/// Keys one table may have.
const KEYS_MOST: usize = 200_000;

/// A rate by key.
struct Keyed<K: std::hash::Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    quota: Quota,
    clock: DefaultClock,
    message: &'static str,
    began: Instant,
    /// Second of its life in which a full table was last tidied.
    tidied: AtomicU64,
}

impl<K: std::hash::Hash + Eq + Clone> Keyed<K> {
    fn new(quota: Quota, message: &'static str) -> Self {
        Self {
            limiter: RateLimiter::keyed(quota),
            quota,
            clock: DefaultClock::default(),
            message,
            began: Instant::now(),
            tidied: AtomicU64::new(0),
        }
    }

    fn admit(&self, key: &K) -> Result<(), Refusal> {
        if self.limiter.len() >= KEYS_MOST && !self.has_room_again() {
            return Err(Refusal::rate_limited(Duration::from_secs(1), self.message));
        }
        self.limiter.check_key(key).map_err(|not_until| {
            Refusal::rate_limited(not_until.wait_time_from(self.clock.now()), self.message)
        })
    }

    /// Gives idle keys of a full table back, at most once a second.
    fn has_room_again(&self) -> bool {
        let second = self.began.elapsed().as_secs() + 1;
        if self.tidied.swap(second, Ordering::Relaxed) != second {
            self.limiter.retain_recent();
        }
        self.limiter.len() < KEYS_MOST
    }

    fn tidy(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// So many a second on average, so many at once.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub per_s: NonZeroU32,
    pub burst: NonZeroU32,
}

impl Pace {
    fn quota(self) -> Quota {
        Quota::per_second(self.per_s).allow_burst(self.burst)
    }
}

/// What users may ask for.
#[derive(Debug, Clone, Copy)]
pub struct UserPaces {
    pub sends: Pace,
    pub requests: Pace,
    pub searches: Pace,
    /// What costs more than a read and is no message: typing, drafts, presence.
    pub signals: Pace,
    pub friend_requests_per_hour: NonZeroU32,
    pub reports_per_hour: NonZeroU32,
}

/// What each user asks for.
pub struct UserRates {
    sends: Keyed<UserId>,
    requests: Keyed<UserId>,
    searches: Keyed<UserId>,
    signals: Keyed<UserId>,
    friend_requests: Keyed<UserId>,
    reports: Keyed<UserId>,
    /// Where nodes count together.
    bus: Option<Arc<dyn Bus>>,
}

impl UserRates {
    pub fn new(paces: UserPaces) -> Self {
        let hourly = |per_hour, message| Keyed::new(Quota::per_hour(per_hour), message);
        Self {
            sends: Keyed::new(paces.sends.quota(), "too many messages at once"),
            requests: Keyed::new(paces.requests.quota(), "too many requests at once"),
            searches: Keyed::new(paces.searches.quota(), "too many searches at once"),
            signals: Keyed::new(paces.signals.quota(), "too many signals at once"),
            friend_requests: hourly(paces.friend_requests_per_hour, "too many friend requests"),
            reports: hourly(paces.reports_per_hour, "too many reports"),
            bus: None,
        }
    }

    pub fn admit_send(&self, user: UserId) -> Result<(), Refusal> {
        self.sends.admit(&user)
    }

    /// Any REST request.
    pub fn admit_request(&self, user: UserId) -> Result<(), Refusal> {
        self.requests.admit(&user)
    }

    pub fn admit_search(&self, user: UserId) -> Result<(), Refusal> {
        self.searches.admit(&user)
    }

    pub fn admit_signal(&self, user: UserId) -> Result<(), Refusal> {
        self.signals.admit(&user)
    }

    pub fn admit_friend_request(&self, user: UserId) -> Result<(), Refusal> {
        self.friend_requests.admit(&user)
    }

    pub fn admit_report(&self, user: UserId) -> Result<(), Refusal> {
        self.reports.admit(&user)
    }

    /// Gives the memory of idle users back.
    pub fn tidy(&self) {
        for table in [
            &self.sends,
            &self.requests,
            &self.searches,
            &self.signals,
            &self.friend_requests,
            &self.reports,
        ] {
            table.tidy();
        }
    }
}

/// What strangers may try.
#[derive(Debug, Clone, Copy)]
pub struct StrangerPaces {
    pub registrations_per_hour: NonZeroU32,
    /// Of one address, as whoever it may be.
    pub sign_ins_per_minute: NonZeroU32,
    /// Of one address, as one user.
    pub guesses_per_minute: NonZeroU32,
    /// Any request of one address.
    pub requests: Pace,
}

/// A user may be guessed at from everywhere together this many times as often as from one address: guessing stays
/// slow, and no single address keeps a user out.
const EVERYWHERE: u32 = 10;

/// What is asked for from each address, whoever asks.
pub struct StrangerRates {
    registrations: Keyed<IpAddr>,
    sign_ins: Keyed<IpAddr>,
    guesses: Keyed<(IpAddr, u64)>,
    guesses_everywhere: Keyed<u64>,
    requests: Keyed<IpAddr>,
    /// Names are kept as their hash: they have no bound of their own.
    names: RandomState,
    /// Where nodes count together.
    bus: Option<Arc<dyn Bus>>,
}

impl StrangerRates {
    pub fn new(paces: StrangerPaces) -> Self {
        let everywhere = paces.guesses_per_minute.saturating_mul(many());
        let as_this_user = "too many sign-ins as this user";
        Self {
            registrations: Keyed::new(
                Quota::per_hour(paces.registrations_per_hour),
                "too many registrations from this address",
            ),
            sign_ins: Keyed::new(
                Quota::per_minute(paces.sign_ins_per_minute),
                "too many sign-ins from this address",
            ),
            guesses: Keyed::new(Quota::per_minute(paces.guesses_per_minute), as_this_user),
            guesses_everywhere: Keyed::new(Quota::per_minute(everywhere), as_this_user),
            requests: Keyed::new(
                paces.requests.quota(),
                "too many requests from this address",
            ),
            names: RandomState::new(),
            bus: None,
        }
    }

    pub fn admit_registration(&self, address: IpAddr) -> Result<(), Refusal> {
        self.registrations.admit(&network(address))
    }

    /// A password tried for a user's name.
    pub fn admit_attempt(&self, address: IpAddr, name: &str) -> Result<(), Refusal> {
        let (address, name) = (network(address), self.names.hash_one(name));
        self.sign_ins.admit(&address)?;
        self.guesses.admit(&(address, name))?;
        self.guesses_everywhere.admit(&name)
    }

    /// A token turned over.
    pub fn admit_sign_in(&self, address: IpAddr) -> Result<(), Refusal> {
        self.sign_ins.admit(&network(address))
    }

    /// Any request, before it is known whose it is.
    pub fn admit_request(&self, address: IpAddr) -> Result<(), Refusal> {
        self.requests.admit(&network(address))
    }

    /// Gives the memory of idle keys back.
    pub fn tidy(&self) {
        self.registrations.tidy();
        self.sign_ins.tidy();
        self.guesses.tidy();
        self.guesses_everywhere.tidy();
        self.requests.tidy();
    }
}

fn many() -> NonZeroU32 {
    NonZeroU32::new(EVERYWHERE).unwrap_or(NonZeroU32::MIN)
}

/// Whom an address stands for: itself, or of IPv6 its network of 64 bits.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & (u128::MAX << 64))),
        },
    }
}

/// A bucket of one device's requests: refills by time, is emptied by asking.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    pace: Option<Pace>,
    left: f64,
    at: Option<Instant>,
    refused: u32,
}

/// What a device that asks once more is told.
#[derive(Debug)]
pub enum Turn {
    Taken,
    Refused(Refusal),
    /// It goes on and on though it is refused: the connection is not worth keeping.
    Hopeless,
}

impl Bucket {
    /// `None` is no limit.
    pub fn new(pace: Option<Pace>) -> Self {
        Self {
            pace,
            left: pace.map_or(0.0, |pace| f64::from(pace.burst.get())),
            at: None,
            refused: 0,
        }
    }

    /// One more request at `now`.
    pub fn take(&mut self, now: Instant) -> Turn {
        let Some(pace) = self.pace else {
            return Turn::Taken;
        };
        let (per_s, burst) = (f64::from(pace.per_s.get()), f64::from(pace.burst.get()));
        if let Some(before) = self.at {
            let passed = now.saturating_duration_since(before).as_secs_f64();
            self.left = (self.left + passed * per_s).min(burst);
        }
        self.at = Some(now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            self.refused = 0;
            return Turn::Taken;
        }
        self.refused += 1;
        if self.refused > pace.burst.get() {
            return Turn::Hopeless;
        }
        let wait = Duration::from_secs_f64((1.0 - self.left) / per_s);
        Turn::Refused(Refusal::rate_limited(wait, "too many requests at once"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Code;

    fn some(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).expect("not zero")
    }

    fn users(burst: u32) -> UserRates {
        let pace = Pace {
            per_s: some(1),
            burst: some(burst),
        };
        UserRates::new(UserPaces {
            sends: pace,
            requests: pace,
            searches: pace,
            signals: pace,
            friend_requests_per_hour: some(2),
            reports_per_hour: some(1),
        })
    }

    #[test]
    fn a_burst_is_taken_and_the_next_is_told_when_to_come_again() {
        let rates = users(3);
        for _ in 0..3 {
            assert_eq!(rates.admit_send(UserId(1)), Ok(()));
        }
        let refusal = rates.admit_send(UserId(1)).expect_err("the fourth at once");
        assert_eq!(refusal.code, Code::RateLimited);
        assert!(
            refusal
                .retry_after_ms
                .is_some_and(|wait| (1..=1000).contains(&wait))
        );
        assert_eq!(rates.admit_send(UserId(2)), Ok(()));
        assert_eq!(rates.admit_search(UserId(1)), Ok(()));
    }

    #[test]
    fn addresses_of_one_network_count_as_one() {
        let six = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(six("2001:db8::1"), six("2001:db8::ffff:0:0:2"));
        assert_ne!(six("2001:db8::1"), six("2001:db8:0:1::1"));
        assert_eq!(six("::ffff:10.0.0.1"), six("10.0.0.1"));
        assert_ne!(six("10.0.0.1"), six("10.0.0.2"));
    }

    #[test]
    fn a_user_is_guessed_at_slowly_and_others_still_sign_in() {
        let rates = StrangerRates::new(StrangerPaces {
            registrations_per_hour: some(1),
            sign_ins_per_minute: some(100),
            guesses_per_minute: some(2),
            requests: Pace {
                per_s: some(1),
                burst: some(1),
            },
        });
        let address = |last| IpAddr::from([10, 0, 0, last]);
        for _ in 0..2 {
            assert_eq!(rates.admit_attempt(address(1), "ann"), Ok(()));
        }
        assert!(rates.admit_attempt(address(1), "ann").is_err());
        assert_eq!(rates.admit_attempt(address(1), "bob"), Ok(()));
        assert_eq!(rates.admit_attempt(address(2), "ann"), Ok(()));
        let guessed = (3..=50)
            .filter(|last| rates.admit_attempt(address(*last), "ann").is_ok())
            .count();
        assert_eq!(guessed, 17, "twenty from everywhere together");
    }

    #[test]
    fn a_device_is_refused_then_heard_again_and_one_that_never_stops_is_hopeless() {
        let pace = Pace {
            per_s: some(10),
            burst: some(2),
        };
        let (mut bucket, start) = (Bucket::new(Some(pace)), Instant::now());
        assert!(matches!(bucket.take(start), Turn::Taken));
        assert!(matches!(bucket.take(start), Turn::Taken));
        let Turn::Refused(refusal) = bucket.take(start) else {
            panic!("the third at once");
        };
        assert_eq!(refusal.retry_after_ms, Some(100));
        let later = start + Duration::from_millis(110);
        assert!(matches!(bucket.take(later), Turn::Taken));
        assert!(matches!(bucket.take(later), Turn::Refused(_)));
        assert!(matches!(bucket.take(later), Turn::Refused(_)));
        assert!(matches!(bucket.take(later), Turn::Hopeless));
        assert!(matches!(Bucket::new(None).take(start), Turn::Taken));
    }
}
