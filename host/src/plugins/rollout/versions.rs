//! Versions: what was pushed, what it is,
//! and loading it under a configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use kith_runtime::{BreakerState, Inspection, LoadError, Version};
use serde_json::{Value, json};

use super::grants::difference;
use super::loaded::{Configuration, PreparedKey};
use super::{Rollout, Signatures};
use crate::journey::store_refusal;
use crate::plugins::bindings::{Trial, VersionRef};
use crate::refusal::{Code, Refusal};
use crate::store::accounts::PluginVersion;

impl Rollout {
    /// Keeps a component as a version; nothing serves because of it.
    pub async fn push(
        &self,
        component: Vec<u8>,
        signature: Option<&str>,
    ) -> Result<Value, Refusal> {
        let signed = self.check_signature(&component, signature)?;
        let (component, inspection) = self.inspect_component(component).await?;
        let known = self
            .accounts
            .plugins()
            .await
            .map_err(|e| store_refusal(&e))?;
        let same = known
            .iter()
            .find(|v| v.name == inspection.name && v.version == inspection.version);
        if let Some(same) = same
            && same.digest != inspection.digest
        {
            let message = format!(
                "{} {} is known with another digest ({}): give the new one another version",
                same.name, same.version, same.digest
            );
            return Err(Refusal::new(Code::Conflict, message));
        }
        let known = same.filter(|same| !same.pruned);
        // A known one may be signed later, and is never signed by fewer.
        let adds_signature = known.is_some_and(|known| {
            signed.text.is_some()
                && known.signature != signed.text
                && (signed.by.is_some() || known.signed_by.is_none())
        });
        if known.is_none() || adds_signature {
            let version = PluginVersion {
                name: inspection.name.clone(),
                version: inspection.version.clone(),
                digest: inspection.digest.clone(),
                size: component.len() as u64,
                pushed_at: known.map_or_else(|| self.clock.now_ms(), |known| known.pushed_at),
                quarantined: false,
                signed_by: signed.by,
                signature: signed.text,
                pruned: false,
            };
            self.accounts
                .put_plugin(&version, &component)
                .await
                .map_err(|e| store_refusal(&e))?;
        }
        let mut pushed = json!({"name": inspection.name, "version": inspection.version, "digest": inspection.digest});
        if let Some(warning) = signed.warning {
            pushed["warning"] = warning.into();
        }
        Ok(pushed)
    }

    fn check_signature(
        &self,
        component: &[u8],
        signature: Option<&str>,
    ) -> Result<Signed, Refusal> {
        let signature = signature.map(str::trim);
        let verified = signature.map(|signature| {
            kith_runtime::verify_signature(component, signature, &self.rules.trusted_keys)
        });
        let (by, warning) = match (verified, self.rules.signatures) {
            (Some(Ok(key)), _) => (Some(key), None),
            (Some(Err(error)), Signatures::Require) => {
                return Err(Refusal::bad_request(format!("signature: {error}")));
            }
            (None, Signatures::Require) => {
                return Err(Refusal::bad_request(
                    "this deployment takes signed plugins only, and this one has no signature",
                ));
            }
            (_, Signatures::Off) => (None, None),
            (Some(Err(error)), Signatures::Warn) => {
                (None, Some(format!("the signature does not count: {error}")))
            }
            (None, Signatures::Warn) => (None, Some("this plugin is not signed".to_owned())),
        };
        // Kept to go with the component wherever it is exported to: another deployment may trust another key.
        let text = signature.filter(|text| kith_runtime::is_signature(text));
        Ok(Signed {
            by,
            text: text.map(str::to_owned),
            warning,
        })
    }

    /// Whether the policy lets a version begin to serve: what was signed by a key that is trusted no more does not.
    pub(super) fn check_trust(&self, version: &PluginVersion) -> Result<(), Refusal> {
        let trusted = |key: &String| self.rules.trusted_keys.contains(key);
        if self.rules.signatures != Signatures::Require
            || version.signed_by.as_ref().is_some_and(trusted)
        {
            return Ok(());
        }
        let message = format!(
            "{} {} is not signed by a key that is trusted now; push it again with such a signature",
            version.name, version.version
        );
        Err(Refusal::new(Code::Conflict, message))
    }

    async fn inspect_component(
        &self,
        component: Vec<u8>,
    ) -> Result<(Vec<u8>, Inspection), Refusal> {
        let runtime = self.runtime.clone();
        let inspected = tokio::task::spawn_blocking(move || {
            let inspection = runtime.inspect(&component);
            (component, inspection)
        });
        let (component, inspection) = inspected.await.map_err(|_| inspection_died())?;
        let inspection = inspection.map_err(|error| load_refusal(&error))?;
        self.loaded.has_hooks(&inspection.digest, &inspection.hooks);
        Ok((component, inspection))
    }

    /// What a version is and asks for.
    pub async fn inspect(&self, name: &str, version: &str) -> Result<Value, Refusal> {
        let found = self.find(name, version).await?;
        let (_, inspection) = self
            .inspect_component(self.component(&found.digest).await?)
            .await?;
        let grants = self.grants_of(name).await;
        let mut shown = inspection_json(&inspection);
        shown["signature"] = found.signature.into();
        shown["signed_by"] = found.signed_by.into();
        shown["grants"] = grants.to_string().into();
        shown["wanted"] = grants.wanted(&inspection.abilities).into();
        if let Some(serving) = self.serving_abilities(name, &found.digest).await? {
            shown["difference"] = difference(&serving, &inspection.abilities);
        }
        Ok(shown)
    }

    /// The file of a version, and which one it is.
    pub async fn file(
        &self,
        name: &str,
        version: &str,
    ) -> Result<(PluginVersion, Vec<u8>), Refusal> {
        let found = self.find(name, version).await?;
        let component = self.component(&found.digest).await?;
        Ok((found, component))
    }

    /// A pushed version by its number or digest.
    pub(super) async fn find(&self, name: &str, version: &str) -> Result<PluginVersion, Refusal> {
        let known = self
            .accounts
            .plugins()
            .await
            .map_err(|e| store_refusal(&e))?;
        let found = known
            .into_iter()
            .find(|v| v.name == name && (v.version == version || v.digest == version));
        match found {
            Some(found) if !found.pruned => Ok(found),
            Some(_) => Err(Refusal::not_found(format!(
                "{name}@{version} was pruned; push it again"
            ))),
            None => Err(Refusal::not_found(format!(
                "there is no {name}@{version}; push it first"
            ))),
        }
    }

    pub(super) async fn component(&self, digest: &str) -> Result<Vec<u8>, Refusal> {
        let component = self
            .accounts
            .component(digest)
            .await
            .map_err(|e| store_refusal(&e))?;
        // A request that began before a prune; what a plan needs is never pruned.
        component.ok_or_else(|| Refusal::not_found(format!("{digest} is not in the registry")))
    }

    /// Loads a version under its plugin's configuration, or takes it as it is already loaded.
    pub(super) async fn prepare(
        &self,
        name: &str,
        version: &VersionRef,
    ) -> Result<Arc<Version>, Refusal> {
        let configuration = self.configuration(name).await?;
        self.prepare_with(version, &configuration).await
    }

    pub(super) async fn prepare_with(
        &self,
        version: &VersionRef,
        configuration: &Configuration,
    ) -> Result<Arc<Version>, Refusal> {
        let key = PreparedKey {
            digest: version.digest.clone(),
            revision: configuration.revision,
        };
        if let Some(prepared) = self.loaded.version(&key) {
            return Ok(prepared);
        }
        let values = Value::Object(configuration.values.clone());
        if self.loaded.is_starting()
            && let Some(recalled) = self.runtime.recall(&version.digest, &values)
        {
            let hooks = &recalled.inspection().hooks;
            self.loaded.has_hooks(&version.digest, hooks);
            self.loaded.add(key, recalled.clone());
            return Ok(recalled);
        }
        let component = self.component(&version.digest).await?;
        let baked = self.baked_elsewhere(&version.digest, configuration).await;
        let runtime = self.runtime.clone();
        let prepared = tokio::task::spawn_blocking(move || {
            let Some(baked) = baked else {
                return runtime.prepare(&component, &values);
            };
            let prepared = runtime.prepare_from_baked(&component, &values, &baked);
            prepared.or_else(|error| {
                tracing::warn!(%error, "what another node baked does not serve here");
                runtime.prepare(&component, &values)
            })
        });
        let prepared = prepared
            .await
            .map_err(|_| inspection_died())?
            .map_err(|error| load_refusal(&error))?;
        self.loaded.add(key, prepared.clone());
        Ok(prepared)
    }

    /// Every version with its state.
    pub async fn list(&self) -> Result<Vec<Value>, Refusal> {
        let mut known = self
            .accounts
            .plugins()
            .await
            .map_err(|e| store_refusal(&e))?;
        known.retain(|version| !version.pruned);
        let mut exported = Vec::with_capacity(known.len());
        for version in &known {
            exported.push(self.hooks(&version.digest).await?);
        }
        let state = self.state.lock().await;
        let generation = self.generation();
        let listed = known.iter().zip(exported).map(|(version, hooks)| {
            let plan = state.plan.plugins.get(&version.name);
            let bound = plan.filter(|plan| plan.digest == version.digest);
            let tried = |trials: &BTreeMap<String, Trial>| {
                let trial = trials.get(&version.name);
                let own = trial.filter(|trial| trial.version.digest == version.digest);
                own.map(|trial| trial.percent)
            };
            let canary = tried(&state.plan.canaries);
            let is_tried = canary.is_some() || tried(&state.plan.shadows).is_some();
            let state_name = match bound {
                Some(plan) if plan.disabled && version.quarantined => "quarantined",
                Some(plan) if plan.disabled => "disabled",
                Some(_) => "active",
                None if canary.is_some() => "canary",
                None if is_tried => "shadow",
                None if version.quarantined => "quarantined",
                None => "available",
            };
            let mut row = json!({
                "name": version.name,
                "version": version.version,
                "digest": version.digest,
                "state": state_name,
                "hooks": hooks,
                "generation": generation,
            });
            if let Some(key) = &version.signed_by {
                row["signed_by"] = key.as_str().into();
            }
            if let Some(percent) = canary {
                row["percent"] = percent.into();
            }
            let own = state.plan.bindings.iter();
            let own = own.filter(|binding| binding.plugin == version.name);
            let commands: Vec<&String> = own.flat_map(|binding| &binding.commands).collect();
            if bound.is_some() && !commands.is_empty() {
                row["commands"] = json!(commands);
            }
            if let Some(plan) = bound.filter(|plan| !plan.grants.is_empty()) {
                row["grants"] = plan.grants.to_string().into();
            }
            let is_loaded = bound.is_some() || is_tried;
            let note = self.note(version, bound.is_some());
            if let Some(note) = note.filter(|_| is_loaded) {
                row["note"] = note.into();
            }
            row
        });
        Ok(listed.collect())
    }

    /// The hooks a version's binary exports.
    async fn hooks(&self, digest: &str) -> Result<Vec<kith_runtime::Hook>, Refusal> {
        if let Some(known) = self.loaded.hooks(digest) {
            return Ok(known);
        }
        let component = self.component(digest).await?;
        let hooks = kith_runtime::exported_hooks(&component);
        self.loaded.has_hooks(digest, &hooks);
        Ok(hooks)
    }

    /// What an administrator should know of a bound version beside its state.
    fn note(&self, version: &PluginVersion, is_bound: bool) -> Option<String> {
        if let Some(why) = self.loaded.why_absent(&version.digest) {
            return Some(format!("not loadable: {why}"));
        }
        if version.quarantined && is_bound {
            return Some("unbound: it failed with nothing to go back to".to_owned());
        }
        let prepared = self.loaded.any_of(&version.digest)?;
        let hooks = prepared.inspection().hooks.iter();
        let mut open = hooks.filter(|hook| prepared.breaker(**hook) == BreakerState::Open);
        if let Some(hook) = open.next() {
            return Some(format!("{}: its breaker is open", hook.as_str()));
        }
        let why = prepared.not_baked()?;
        Some(format!("not baked: {why}"))
    }
}

/// What came of looking at a signature.
struct Signed {
    /// The trusted key that made it.
    by: Option<String>,
    /// The signature, whoever made it.
    text: Option<String>,
    warning: Option<String>,
}

fn inspection_json(inspection: &Inspection) -> Value {
    json!({
        "name": inspection.name,
        "version": inspection.version,
        "summary": inspection.summary,
        "digest": inspection.digest,
        "hooks": inspection.hooks.iter().map(|hook| hook.as_str()).collect::<Vec<_>>(),
        "abilities": inspection.abilities,
        "config_schema": inspection.config_schema,
        "size": inspection.size,
    })
}

fn inspection_died() -> Refusal {
    Refusal::new(Code::Internal, "loading the plugin ended unexpectedly")
}

/// Why a component was not taken, in the runtime's own words.
pub(super) fn load_refusal(error: &LoadError) -> Refusal {
    match error {
        LoadError::TooLarge { .. } => Refusal::new(Code::TooLarge, error.to_string()),
        _ => Refusal::bad_request(error.to_string()),
    }
}
