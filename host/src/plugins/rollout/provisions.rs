//! Provisions: what one node makes and leaves in the store for the others. A configuration is named by its print, which the
//! plan holds; a baked component by its binary and that print. The others fetch and compile; nobody bakes twice.

use std::sync::Arc;

use kith_runtime::Version;
use serde_json::{Map, Value};

use super::among::Among;
use super::build::needed;
use super::loaded::{Configuration, PreparedKey};
use super::{Rollout, Settings};
use crate::journey::store_refusal;
use crate::plugins::bindings::{Plan, VersionRef};
use crate::refusal::{Code, Refusal};

/// What is named by no plan any more stays so long: somebody may still be fetching it.
const KEPT_MS: u64 = 60 * 60 * 1000;

/// Where a configuration is.
fn settings_name(print: &str) -> String {
    format!("settings/{print}")
}

/// Where what this host bakes of a binary under a configuration is.
fn baked_name(digest: &str, print: &str) -> String {
    format!("baked/{digest}/{print}/{}", env!("CARGO_PKG_VERSION"))
}

impl Rollout {
    /// Notes in a plan under which configurations it is, and leaves for the others what they have not had before.
    pub(super) async fn provide(
        &self,
        among: &Among,
        base: &Plan,
        plan: &mut Plan,
    ) -> Result<(), Refusal> {
        let failed = |error| store_refusal(&error);
        let now = self.clock.now_ms();
        let names: Vec<String> = plan.plugins.keys().cloned().collect();
        for name in names {
            let configuration = self.configuration(&name).await?;
            if configuration.values.is_empty() && !plan.settings.contains_key(&name) {
                continue;
            }
            let print = configuration.print().to_owned();
            if base.settings.get(&name) != Some(&print) {
                let text = Value::Object(configuration.values.clone()).to_string();
                let kept = settings_name(&print);
                let put = among.shared.put_provision(&kept, text.as_bytes(), now);
                put.await.map_err(failed)?;
            }
            plan.settings.insert(name, print);
        }
        let known = needed(base);
        for (name, version) in needed(plan) {
            let is_same = base.settings.get(name) == plan.settings.get(name);
            if is_same && known.contains(&(name, version.clone())) {
                continue;
            }
            self.provide_baked(among, name, &version, now).await?;
        }
        Ok(())
    }

    async fn provide_baked(
        &self,
        among: &Among,
        name: &str,
        version: &VersionRef,
        now: u64,
    ) -> Result<(), Refusal> {
        let configuration = self.configuration(name).await?;
        let Some(prepared) = self.loaded.version(&key(version, &configuration)) else {
            return Ok(()); // not loadable here: nothing to give
        };
        let baked = baked_name(&version.digest, configuration.print());
        let has = among.shared.has_provision(&baked).await;
        if has.map_err(|e| store_refusal(&e))? {
            return Ok(());
        }
        let Some(bytes) = read_baked(prepared).await else {
            return Ok(()); // each node configures it in every instance
        };
        let put = among.shared.put_provision(&baked, &bytes, now).await;
        put.map_err(|e| store_refusal(&e))
    }

    /// What another node baked of a version under a configuration; nothing where this one is alone, or has to bake it.
    pub(super) async fn baked_elsewhere(
        &self,
        digest: &str,
        configuration: &Configuration,
    ) -> Option<Vec<u8>> {
        let among = self.among.as_ref()?;
        let name = baked_name(digest, configuration.print());
        match among.shared.provision(&name).await {
            Ok(baked) => baked,
            Err(error) => {
                tracing::warn!(digest, %error, "what another node baked could not be fetched");
                None
            }
        }
    }

    /// The configurations that a plan has and this node has not: by plugin.
    pub(super) async fn missing_settings(
        &self,
        among: &Among,
        plan: &Plan,
    ) -> Result<Settings, Refusal> {
        let mut missing = Settings::new();
        for (name, print) in &plan.settings {
            let known = self.loaded.configuration(name);
            if known.is_some_and(|known| known.print() == print) {
                continue;
            }
            let place = (name.clone(), print.clone());
            let on_the_way = among.on_the_way.lock().get(&place).cloned();
            let configuration = match on_the_way {
                Some(configuration) => configuration,
                None => {
                    let values = self.fetch_settings(among, name, print).await?;
                    let configuration = Arc::new(self.loaded.configuration_of(values));
                    let mut on_the_way = among.on_the_way.lock();
                    on_the_way.entry(place).or_insert(configuration).clone()
                }
            };
            missing.insert(name.clone(), configuration);
        }
        Ok(missing)
    }

    async fn fetch_settings(
        &self,
        among: &Among,
        name: &str,
        print: &str,
    ) -> Result<Map<String, Value>, Refusal> {
        let fetched = among.shared.provision(&settings_name(print)).await;
        let bytes = fetched.map_err(|e| store_refusal(&e))?.ok_or_else(|| {
            Refusal::unavailable(format!("the configuration of {name} is not in the store"))
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|_| Refusal::new(Code::Internal, "a stored configuration could not be read"))
    }

    /// Lets go of what neither serves nor would after a rollback.
    pub(super) async fn forget_provisions(&self, among: &Among, plan: &Plan) {
        let mut names: Vec<String> = plan.settings.values().map(|p| settings_name(p)).collect();
        for (name, version) in needed(plan) {
            if let Ok(configuration) = self.configuration(name).await {
                names.push(baked_name(&version.digest, configuration.print()));
            }
        }
        let before = self.clock.now_ms().saturating_sub(KEPT_MS);
        if let Err(error) = among.shared.keep_provisions(&names, before).await {
            tracing::warn!(%error, "what no generation needs any more stays in the store");
        }
    }
}

pub(super) fn key(version: &VersionRef, configuration: &Configuration) -> PreparedKey {
    PreparedKey {
        digest: version.digest.clone(),
        revision: configuration.revision,
    }
}

async fn read_baked(version: Arc<Version>) -> Option<Vec<u8>> {
    let read = tokio::task::spawn_blocking(move || std::fs::read(version.baked_file()?).ok());
    read.await.ok().flatten()
}
