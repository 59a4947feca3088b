//! The configured limits as the parts take them: rates (none when they are off),
//! caps of sockets, bounds of people.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::Bus;
use crate::config::{Config, LimitsConfig};
use crate::gateway::listen::Entrance;
use crate::gateway::rate::{Pace, StrangerPaces, StrangerRates, UserPaces, UserRates};
use crate::journey::retention::Retention;
use crate::session::registry::SessionRules;
use crate::store::people::PeopleLimits;

/// Sockets an address may have open however few connections it may.
const SOCKETS_LEAST: usize = 256;
/// Administrators' sockets open at once.
const ADMIN_SOCKETS: usize = 1024;
/// Typing signals, drafts and looks at presence of one user a second, and at once.
const SIGNALS_PER_S: u32 = 20;

/// The configuration is checked: no rate is 0.
fn some(rate: u32) -> NonZeroU32 {
    NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN)
}

fn pace(per_s: u32, burst: u32) -> Pace {
    Pace {
        per_s: some(per_s),
        burst: some(burst),
    }
}

pub fn users(limits: &LimitsConfig, bus: &Arc<dyn Bus>) -> Option<UserRates> {
    limits.rate.then(|| {
        let rates = UserRates::new(UserPaces {
            sends: pace(limits.sends_per_s, limits.sends_burst),
            requests: pace(limits.requests_per_s, limits.requests_burst),
            searches: pace(limits.searches_per_s, limits.searches_burst),
            signals: pace(SIGNALS_PER_S, SIGNALS_PER_S),
            friend_requests_per_hour: some(limits.friend_requests_per_hour),
            reports_per_hour: some(limits.reports_per_hour),
        });
        rates.with_bus(bus.clone())
    })
}

pub fn devices(limits: &LimitsConfig) -> Option<Pace> {
    limits
        .rate
        .then(|| pace(limits.device_requests_per_s, limits.device_requests_burst))
}

pub fn strangers(limits: &LimitsConfig, bus: &Arc<dyn Bus>) -> Option<Arc<StrangerRates>> {
    limits.rate.then(|| {
        let rates = StrangerRates::new(StrangerPaces {
            registrations_per_hour: some(limits.registers_per_hour_per_address),
            sign_ins_per_minute: some(limits.sign_ins_per_minute_per_address),
            guesses_per_minute: some(limits.sign_ins_per_minute_per_user),
            requests: pace(
                limits.requests_per_s_per_address,
                limits.requests_burst_per_address,
            ),
        });
        Arc::new(rates.with_bus(bus.clone()))
    })
}

pub fn entrance(config: &Config) -> Entrance {
    let limits = &config.limits;
    // A WebSocket over its cap is told so by its handshake: for that its socket must still be taken.
    let by_address = match limits.connections_per_address {
        0 => 0,
        some => some.saturating_mul(2).max(SOCKETS_LEAST),
    };
    Entrance::new(limits.connections, by_address, &config.server.proxies)
}

pub fn admin_entrance() -> Entrance {
    Entrance::new(ADMIN_SOCKETS, 0, &[])
}

pub fn sessions(config: &Config) -> SessionRules {
    SessionRules {
        heartbeat: Duration::from_millis(config.session.heartbeat_ms),
        slow: Duration::from_millis(config.session.slow_ms),
        per_kind: config.devices.per_kind,
    }
}

pub fn people(limits: &LimitsConfig) -> PeopleLimits {
    PeopleLimits {
        friends: limits.friends,
        waiting_sent: limits.friend_requests_waiting,
        waiting_received: limits.friend_requests_waiting,
    }
}

pub fn retention(config: &Config) -> Retention {
    Retention {
        days: config.retention.days,
        count: config.retention.count,
    }
}
