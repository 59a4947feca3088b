//! Rates that nodes count together: what an address, a name or a user may do seldom, so that coming to another node does
//! not begin anew. A node counts for itself first; while the bus cannot be asked, that is all.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Keyed, StrangerRates, UserRates, network};
use crate::bus::{Bus, Rate, Taken};
use crate::ids::UserId;
use crate::refusal::Refusal;

impl<K: std::hash::Hash + Eq + Clone> Keyed<K> {
    /// One more by the count of all nodes; this node has counted it.
    async fn admit_together(
        &self,
        bus: Option<&Arc<dyn Bus>>,
        key: impl FnOnce() -> String,
    ) -> Result<(), Refusal> {
        let Some(bus) = bus.filter(|bus| !bus.is_alone()) else {
            return Ok(());
        };
        let rate = Rate {
            key: key(),
            burst: self.quota.burst_size().get(),
            refill: self.quota.replenish_interval(),
        };
        match bus.take(&rate).await {
            Ok(Taken::Yes) => Ok(()),
            Ok(Taken::After(wait)) => Err(Refusal::rate_limited(wait, self.message)),
            Err(error) => {
                tracing::debug!(%error, "a rate is counted by this node alone");
                Ok(())
            }
        }
    }
}

impl UserRates {
    /// Counted together with other nodes from now on.
    pub fn with_bus(self, bus: Arc<dyn Bus>) -> Self {
        Self {
            bus: Some(bus),
            ..self
        }
    }

    /// One more friend request, on whatever node.
    pub async fn friend_request(&self, user: UserId) -> Result<(), Refusal> {
        self.admit_friend_request(user)?;
        let key = || format!("friend-request {user}");
        self.friend_requests
            .admit_together(self.bus.as_ref(), key)
            .await
    }

    /// One more report, on whatever node.
    pub async fn report(&self, user: UserId) -> Result<(), Refusal> {
        self.admit_report(user)?;
        let key = || format!("report {user}");
        self.reports.admit_together(self.bus.as_ref(), key).await
    }
}

impl StrangerRates {
    /// Counted together with other nodes from now on.
    pub fn with_bus(self, bus: Arc<dyn Bus>) -> Self {
        Self {
            bus: Some(bus),
            ..self
        }
    }

    /// One more registration, on whatever node.
    pub async fn registration(&self, address: IpAddr) -> Result<(), Refusal> {
        self.admit_registration(address)?;
        let key = || format!("registration {}", network(address));
        self.registrations
            .admit_together(self.bus.as_ref(), key)
            .await
    }

    /// One more password tried for a user's name, on whatever node.
    pub async fn attempt(&self, address: IpAddr, name: &str) -> Result<(), Refusal> {
        self.admit_attempt(address, name)?;
        let (bus, address) = (self.bus.as_ref(), network(address));
        // Names have no bound of their own, and are nobody's business where they are counted.
        let name = blake3::hash(name.as_bytes()).to_hex();
        let name = &name[..32];
        let (by_address, guesses, everywhere) = tokio::join!(
            self.sign_ins
                .admit_together(bus, || format!("sign-in {address}")),
            self.guesses
                .admit_together(bus, || format!("guess {address} {name}")),
            self.guesses_everywhere
                .admit_together(bus, || format!("guess {name}")),
        );
        by_address.and(guesses).and(everywhere)
    }

    /// One more token turned over, on whatever node.
    pub async fn sign_in(&self, address: IpAddr) -> Result<(), Refusal> {
        self.admit_sign_in(address)?;
        let key = || format!("sign-in {}", network(address));
        self.sign_ins.admit_together(self.bus.as_ref(), key).await
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::bus::NodeName;
    use crate::bus::local::Hub;
    use crate::clock::SystemClock;
    use crate::gateway::rate::{Pace, StrangerPaces};

    fn some(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).expect("not zero")
    }

    fn rates(bus: Arc<dyn Bus>) -> StrangerRates {
        let paces = StrangerPaces {
            registrations_per_hour: some(2),
            sign_ins_per_minute: some(100),
            guesses_per_minute: some(3),
            requests: Pace {
                per_s: some(1),
                burst: some(1),
            },
        };
        StrangerRates::new(paces).with_bus(bus)
    }

    #[tokio::test]
    async fn another_node_does_not_begin_to_count_anew() {
        let hub = Hub::new(Arc::new(SystemClock), Duration::from_secs(1));
        let name = |name| NodeName::new(name).expect("a name");
        let (a, _heard) = hub.join(name("a"));
        let alone = rates(a.clone());
        let address = IpAddr::from([10, 0, 0, 1]);
        for _ in 0..2 {
            assert_eq!(alone.registration(address).await, Ok(()));
        }
        let (b, _also) = hub.join(name("b"));
        let (one, other) = (rates(a), rates(b));
        for rates in [&one, &other] {
            assert_eq!(
                rates.registration(address).await,
                Ok(()),
                "nobody counted before"
            );
            assert_eq!(rates.attempt(address, "ann").await, Ok(()));
        }
        assert!(one.registration(address).await.is_err());
        assert!(other.registration(address).await.is_err());
        assert_eq!(one.attempt(address, "ann").await, Ok(()));
        assert!(other.attempt(address, "ann").await.is_err());
        assert_eq!(other.attempt(address, "bob").await, Ok(()));
    }
}
