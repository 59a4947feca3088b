//! Replays as the configuration wants them: what is set aside for them,
//! where, for how long.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::stores::Log;
use crate::clock::Clock;
use crate::config::Config;
use crate::journey::Journey;
use crate::plugins::replay::files::{FileLimits, FileRules};
use crate::plugins::replay::{Aside, AsideRules, Files, Replays};
use crate::plugins::rollout::Rollout;
use crate::store::judged::BesideLimits;

const DAY_MS: u64 = 86_400_000;
/// How often what was kept for long enough is let go of.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// From here on judgements are kept as replays need them.
pub fn start(
    config: &Config,
    data: &Path,
    (rollout, journey, log): (&Arc<Rollout>, &Arc<Journey>, &Arc<dyn Log>),
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Replays>> {
    log.keep_beside(beside_limits(config));
    let aside = aside(config, data, clock)?;
    rollout.set_aside(aside.clone());
    Ok(Replays::new(
        (rollout.clone(), journey.clone()),
        (log.clone(), log.clone()),
        aside,
        config.plugins.replay_commands,
    ))
}

fn beside_limits(config: &Config) -> BesideLimits {
    BesideLimits {
        count: config.plugins.replay_commands,
        bytes: config.plugins.replay_mib << 20,
        for_ms: config.plugins.replay_days.saturating_mul(DAY_MS),
    }
}

fn aside(config: &Config, data: &Path, clock: &Arc<dyn Clock>) -> Result<Arc<Aside>> {
    let plugins = &config.plugins;
    let rules = FileRules {
        folder: data.join("replay-files"),
        most: plugins.replay_files,
        with_text: plugins.replay_text,
        limits: FileLimits {
            hard_stop_ms: plugins.hard_stop_ms.max(1),
            after_stop_ms: plugins.after_stop_ms.max(1),
            memory_bytes: plugins.memory_mib.max(1) << 20,
        },
    };
    let files = Files::start(rules, clock.clone()).context("replay files")?;
    let rules = AsideRules {
        refused: plugins.replay_refused,
    };
    Ok(Arc::new(Aside::new(files, rules, clock.clone())))
}

/// Lets go of what was kept for long enough, now and then. Runs for ever.
pub async fn forget(rollout: Arc<Rollout>, log: Arc<dyn Log>) {
    let mut ticks = tokio::time::interval(FORGET_EVERY);
    loop {
        ticks.tick().await;
        if let Some(aside) = rollout.aside() {
            aside.forget_old();
        }
        if let Err(error) = log.forget_beside().await {
            tracing::warn!(%error, "what hooks read is kept for longer than it should be");
        }
    }
}
