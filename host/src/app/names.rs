//! Names past the filters: masked or rejected,
//! never held. A user name with any hit is rejected.

use std::sync::Arc;

use async_trait::async_trait;

use crate::clock::Clock;
use crate::gateway::http::NameCheck;
use crate::plugins::rollout::Rollout;
use crate::plugins::{Scope, Text, Verdict};
use crate::refusal::Refusal;

/// Asks the generation in force about names.
pub struct FilteredNames {
    pub rollout: Arc<Rollout>,
    pub clock: Arc<dyn Clock>,
}

/// Ready to be asked.
pub fn filtered(rollout: &Arc<Rollout>, clock: &Arc<dyn Clock>) -> Arc<FilteredNames> {
    Arc::new(FilteredNames {
        rollout: rollout.clone(),
        clock: clock.clone(),
    })
}

#[async_trait]
impl NameCheck for FilteredNames {
    async fn check(&self, place: &'static str, name: &str) -> Result<String, Refusal> {
        let judge = self.rollout.judge();
        let texts = [Text { place, text: name }];
        let ruling = judge.filter(Scope::Outside.into(), &texts, self.clock.now_ms());
        let masked = ruling.masked.into_iter().next().flatten();
        // A user name with stars in it is nobody's: what would be masked is refused, by the filter that hit.
        let masked_by = ruling.masked_by.filter(|_| place == "username");
        if let (Verdict::Pass, Some(by)) = (&ruling.verdict, masked_by) {
            return Err(Refusal::by_plugin(&by, "content"));
        }
        match ruling.verdict {
            Verdict::Pass => Ok(masked.unwrap_or_else(|| name.to_owned())),
            Verdict::Reject { by, reason } | Verdict::Drop { by, reason } => {
                Err(Refusal::by_plugin(&by, &reason))
            }
            Verdict::Hold {
                by,
                reason,
                cause: crate::store::HoldCause::Verdict,
            } => Err(Refusal::by_plugin(&by, &reason)),
            Verdict::Hold { by, .. } | Verdict::Unavailable { by } => Err(Refusal::unavailable(
                format!("the plugin {by} could not judge the name"),
            )),
        }
    }
}
