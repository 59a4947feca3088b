//! How long entries are kept: what is older, or more than so many, is erased for good, a little at a time.
//! Decides what is to go; the log erases and keeps its counts exact.

use std::time::Duration;

use super::{Journey, store_refusal};
use crate::conversation::Conversation;
use crate::entry::Seq;
use crate::refusal::{Code, Refusal};
use crate::store::{Change, Extent, Outcome};

const DAY_MS: u64 = 86_400_000;
/// Conversations looked at, and entries looked at in one, before others get their turn.
const PAGE: usize = 100;
/// The rest after each page: upkeep stays a small part of the machine's work.
const REST: Duration = Duration::from_millis(20);

/// What is kept of a conversation: 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Entries as young as this many days.
    pub days: u64,
    /// The newest entries, this many.
    pub count: u64,
}

impl Retention {
    pub fn is_for_ever(&self) -> bool {
        *self == Self::default()
    }

    /// A conversation's own.
    fn of(conversation: &Conversation) -> Self {
        let own = conversation
            .group
            .as_ref()
            .and_then(|group| group.retention);
        own.map_or_else(Self::default, |own| Self {
            days: own.days.map_or(0, u64::from),
            count: own.count.unwrap_or(0),
        })
    }

    /// The stricter of two in each respect: a conversation's own is never longer than the deployment's.
    pub fn and(self, other: Self) -> Self {
        let stricter = |one: u64, other: u64| match (one, other) {
            (0, limit) | (limit, 0) => limit,
            (one, other) => one.min(other),
        };
        Self {
            days: stricter(self.days, other.days),
            count: stricter(self.count, other.count),
        }
    }

    /// What is committed before this is too old; `None` when age does not matter.
    fn oldest_ms(&self, now_ms: u64) -> Option<u64> {
        (self.days > 0).then(|| now_ms.saturating_sub(self.days.saturating_mul(DAY_MS)))
    }

    /// Below which seq there are too many.
    fn first_counted(&self, extent: &Extent) -> Seq {
        match self.count {
            0 => extent.floor,
            count => (extent.head + 1).saturating_sub(count).max(extent.floor),
        }
    }
}

impl Journey {
    /// Looks at every conversation once and has erased what is not to be kept; how many entries went.
    pub async fn retain(&self, deployment: Retention) -> Result<u64, Refusal> {
        let (mut erased, mut after) = (0, None);
        loop {
            let all = !deployment.is_for_ever();
            let page = self.log.extents(after, PAGE, all).await;
            let (page, last) = page.map_err(|e| store_refusal(&e))?;
            if last.is_none() {
                return Ok(erased);
            }
            after = last;
            for extent in &page {
                let retention = deployment.and(Retention::of(&extent.conversation));
                if !retention.is_for_ever() && extent.floor <= extent.head {
                    erased += self.retain_in(extent, retention).await?;
                }
            }
            tokio::time::sleep(REST).await;
        }
    }

    async fn retain_in(&self, extent: &Extent, retention: Retention) -> Result<u64, Refusal> {
        let before = retention.first_counted(extent);
        let before = match retention.oldest_ms(self.clock.now_ms()) {
            Some(oldest) => before.max(self.first_young(extent, oldest).await?),
            None => before,
        };
        let mut floor = extent.floor;
        while floor < before {
            let conversation = extent.conversation.id;
            match self
                .settle(Change::Erase {
                    conversation,
                    before,
                })
                .await?
            {
                Outcome::Erased { floor: raised, .. } if raised > floor => floor = raised,
                Outcome::Erased { .. } => break,
                _ => return Err(Refusal::new(Code::Internal, "an erasure settled otherwise")),
            }
        }
        Ok(floor - extent.floor)
    }

    /// The first entry that is young enough; head + 1 when none is.
    async fn first_young(&self, extent: &Extent, oldest_ms: u64) -> Result<Seq, Refusal> {
        let mut from = extent.floor;
        while from <= extent.head {
            let conversation = extent.conversation.id;
            let found = self
                .log
                .first_since(conversation, from, oldest_ms, PAGE)
                .await
                .map_err(|e| store_refusal(&e))?;
            if found < from + PAGE as u64 {
                return Ok(found);
            }
            from = found;
        }
        Ok(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_retentions_the_stricter_counts_and_none_is_no_limit() {
        let of = |days, count| Retention { days, count };
        assert_eq!(of(0, 0).and(of(0, 0)), of(0, 0));
        assert!(of(0, 0).and(of(0, 0)).is_for_ever());
        assert_eq!(of(30, 0).and(of(7, 100)), of(7, 100));
        assert_eq!(of(7, 1000).and(of(30, 100)), of(7, 100));
    }
}
