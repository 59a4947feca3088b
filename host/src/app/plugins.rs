//! The plugins as the configuration wants them:
//! their limits, whom to trust, where the first ones are. Names no adapter.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::stores::Log;
use crate::clock::Clock;
use crate::config::{Config, SignaturePolicy};
use crate::ids::IdSource;
use crate::plugins::lines::PluginLines;
use crate::plugins::rollout::{Among, Rollout, RolloutRules, Signatures};
use crate::plugins::values::StoredValues;
use crate::store::accounts::Accounts;

/// Starts the runtime and what was active, or what is there at first start.
pub async fn start(
    config: &Config,
    data: &Path,
    (accounts, log): (&Arc<dyn Accounts>, &Arc<dyn Log>),
    (clock, ids): (&Arc<dyn Clock>, &Arc<IdSource>),
    among: Option<Arc<Among>>,
) -> Result<(Arc<Rollout>, Arc<PluginLines>)> {
    let mut settings = kith_runtime::Settings::new(data.join("plugin-cache"));
    settings.hard_stop = Duration::from_millis(config.plugins.hard_stop_ms.max(1));
    settings.after_stop = Duration::from_millis(config.plugins.after_stop_ms.max(1));
    settings.memory_cap_bytes = usize::try_from(config.plugins.memory_mib.max(1) << 20)?;
    settings.memory_budget_bytes = usize::try_from(config.plugins.memory_budget_mib.max(1) << 20)?;
    settings.idle_after = Duration::from_millis(config.plugins.idle_ms.max(1));
    settings.idle_sweep = settings.idle_sweep.min(settings.idle_after);
    settings.resident_versions = config.plugins.resident.max(1);
    let values = Arc::new(StoredValues(log.clone()));
    let runtime = kith_runtime::Runtime::with_values(settings, values)?;
    let lines = Arc::new(PluginLines::new(clock.clone()));
    runtime.log_to(lines.clone());
    let rules = RolloutRules {
        signatures: match config.plugins.signatures {
            SignaturePolicy::Off => Signatures::Off,
            SignaturePolicy::Warn => Signatures::Warn,
            SignaturePolicy::Require => Signatures::Require,
        },
        trusted_keys: config.plugins.trusted_keys.clone(),
        watch_ms: config.plugins.watch_s.saturating_mul(1000),
        drift_percent: config.plugins.drift_percent,
        drift_least: config.plugins.drift_least,
    };
    let folder = plugins_folder(config);
    let (accounts, clock) = (accounts.clone(), clock.clone());
    let started = Rollout::start(
        runtime,
        (accounts, log.clone()),
        (clock, ids.clone()),
        rules,
        super::content_limits(config),
        folder.as_deref(),
        among,
    )
    .await;
    let rollout = started.map_err(super::refused)?;
    Ok((rollout, lines))
}

/// The configured folder, or `plugins` beside the program.
fn plugins_folder(config: &Config) -> Option<PathBuf> {
    if !config.server.plugins.is_empty() {
        return Some(PathBuf::from(&config.server.plugins));
    }
    let beside = std::env::current_exe().ok()?.parent()?.join("plugins");
    beside.is_dir().then_some(beside)
}
