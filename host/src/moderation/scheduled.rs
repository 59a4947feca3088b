//! Rules called by the clock: each time that is due is an occasion for the rule that named it, on one of the nodes. What it wants
//! done is done before the time is noted as past, so a kill in between does it again: bans and labels are the same then, a
//! notice is told once.

use std::collections::HashMap;
use std::time::Duration;

use kith_runtime::Hook;

use super::{Occasion, Rules};
use crate::plugins::after::consumer_name;
use crate::plugins::schedule::{Marks, at};
use crate::store::StoreError;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(500);

impl Rules {
    /// Tells rules the times they have asked for. Runs for ever.
    pub(super) async fn keep_schedules(&self) {
        let mut marks: HashMap<String, Marks> = HashMap::new();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.look_at_schedules(&mut marks).await {
                tracing::warn!(%error, "the schedules of rules could not be looked at");
            }
        }
    }

    async fn look_at_schedules(
        &self,
        marks: &mut HashMap<String, Marks>,
    ) -> Result<(), StoreError> {
        for (plugin, times) in self.plugins.pin().rule_schedules() {
            if !self.turns.is_own(&consumer_name(&plugin, Hook::AdminRule)) {
                marks.remove(&plugin);
                continue;
            }
            let own = marks.entry(plugin.clone()).or_default();
            loop {
                let now = self.clock.now_ms();
                let due = own
                    .due(
                        &*self.marks,
                        (&plugin, Hook::AdminRule.as_str()),
                        &times,
                        now,
                    )
                    .await?;
                let Some(due) = due else {
                    break;
                };
                let occasion = Occasion {
                    kind: "schedule",
                    what: due.name.clone(),
                    at_ms: due.at_ms,
                    ..Occasion::default()
                };
                let actions = self.plugins.pin().rule_of(&plugin, &occasion).actions;
                if let Err(refusal) = self.carry_out(&occasion, actions).await {
                    tracing::error!(plugin, schedule = due.name, why = %refusal.message,
                        "what a rule wants done is not done");
                }
                let (from, to) = (Some(&due.from), at(now));
                match self.marks.move_cursor(&due.mark, from, &to).await? {
                    true => own.done(&due, now),
                    false => *own = Marks::default(),
                }
            }
        }
        Ok(())
    }
}
