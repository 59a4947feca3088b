//! What a replay needs of the registry: any pushed version with today's configuration, and which bindings a generation
//! had. Changes nothing.

use serde_json::Value;

use super::Rollout;
use crate::content::ContentLimits;
use crate::plugins::bindings::Plan;
use crate::refusal::{Code, Refusal};

/// A version to ask again.
pub struct ToReplay {
    pub plugin: String,
    pub version: String,
    pub digest: String,
    pub component: Vec<u8>,
    /// As it is in force.
    pub config: Value,
    /// What tells it from others.
    pub config_print: String,
}

/// A binding that served.
#[derive(Debug, Clone)]
pub struct Served {
    pub plugin: String,
    pub version: String,
    pub hook: String,
    /// What tells its plugin's configuration from others, where that is known.
    pub config_print: Option<String>,
}

impl Rollout {
    /// A pushed version, whether it serves or not.
    pub async fn to_replay(&self, plugin: &str, version: &str) -> Result<ToReplay, Refusal> {
        let found = self.find(plugin, version).await?;
        Ok(ToReplay {
            plugin: found.name,
            version: found.version,
            component: self.component(&found.digest).await?,
            digest: found.digest,
            config: self.configured(plugin).await?,
            config_print: self.configuration(plugin).await?.print().to_owned(),
        })
    }

    /// Notes with each plugin of a plan which configuration is in force.
    pub(super) async fn name_configurations(&self, plan: &mut Plan) -> Result<(), Refusal> {
        for (name, own) in &mut plan.plugins {
            own.config = Some(self.configuration(name).await?.print().to_owned());
        }
        Ok(())
    }

    /// The limits of what serves, for asking again.
    pub fn trial_settings(&self) -> kith_runtime::Settings {
        self.runtime.settings().for_trial()
    }

    pub fn content_limits(&self) -> ContentLimits {
        self.limits
    }

    /// The configuration of a plugin in force, without defaults; the filter's with its words.
    pub async fn configured(&self, plugin: &str) -> Result<Value, Refusal> {
        let configuration = self.configuration(plugin).await?;
        Ok(Value::Object(configuration.values.clone()))
    }

    /// The bindings of a generation, as records count them; nothing where it is not known any more.
    pub(in crate::plugins) async fn served(&self, generation: u64) -> Result<Vec<Served>, Refusal> {
        let Some(stored) = self.stored_generation(generation).await? else {
            return Ok(Vec::new());
        };
        let plan: Plan = serde_json::from_str(&stored.bindings)
            .map_err(|_| Refusal::new(Code::Internal, "a stored generation could not be read"))?;
        let served = plan.in_records().into_iter().map(|binding| Served {
            config_print: plan
                .plugins
                .get(&binding.plugin)
                .and_then(|own| own.config.clone()),
            plugin: binding.plugin,
            version: binding.version,
            hook: binding.hook,
        });
        Ok(served.collect())
    }
}
