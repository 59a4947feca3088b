//! Configurations: each change is prepared with the
//! serving version and takes over as a new generation.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Rollout;
use super::loaded::Configuration;
use crate::journey::store_refusal;
use crate::plugins::words;
use crate::refusal::{Code, Refusal};

impl Rollout {
    /// `{name, generation, values}` of a plugin.
    pub async fn config(&self, name: &str) -> Result<Value, Refusal> {
        self.known(&*self.state.lock().await, name)?;
        self.config_json(name).await
    }

    /// Replaces the whole configuration.
    pub async fn replace_config(
        &self,
        name: &str,
        values: Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let mut values = values;
        if name == words::FILTER {
            // Written anew as `config` shows it, the list must not vanish.
            if values.contains_key(words::KEY) {
                return Err(words_only());
            }
            let before = self.configuration(name).await?;
            if let Some(list) = before.values.get(words::KEY) {
                values.insert(words::KEY.to_owned(), list.clone());
            }
        }
        self.apply(name, values).await
    }

    /// Sets keys given as text: read as JSON where the schema's type is not text.
    pub async fn set_config(
        &self,
        name: &str,
        texts: Map<String, Value>,
    ) -> Result<Value, Refusal> {
        if name == words::FILTER && texts.contains_key(words::KEY) {
            return Err(words_only());
        }
        let schema = self.schema(name).await?;
        let mut change = Map::new();
        for (key, text) in texts {
            let text = text
                .as_str()
                .map_or_else(|| text.to_string(), str::to_owned);
            change.insert(key.clone(), typed(&schema, &key, &text)?);
        }
        self.merge_config(name, change).await
    }

    /// Puts keys into the configuration as they are.
    pub async fn merge_config(
        &self,
        name: &str,
        change: Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let mut values = self.configuration(name).await?.values.clone();
        values.extend(change);
        self.apply(name, values).await
    }

    /// Back to the configuration before.
    pub async fn rollback_config(&self, name: &str) -> Result<Value, Refusal> {
        let _changing = self.changing.lock().await;
        self.known(&*self.state.lock().await, name)?;
        let reverted = self
            .accounts
            .revert_plugin_config(name)
            .await
            .map_err(|e| store_refusal(&e))?;
        let (revision, text) = reverted.ok_or_else(|| {
            Refusal::new(
                Code::Conflict,
                format!("{name} has no configuration to go back to"),
            )
        })?;
        let configuration = read_configuration(revision, &text)?;
        self.reconfigured(name, configuration).await
    }

    /// The configuration in force.
    pub(super) async fn configuration(&self, name: &str) -> Result<Arc<Configuration>, Refusal> {
        if let Some(known) = self.loaded.configuration(name) {
            return Ok(known);
        }
        let stored = self
            .accounts
            .plugin_config(name)
            .await
            .map_err(|e| store_refusal(&e))?;
        let configuration = match stored {
            Some((revision, text)) => read_configuration(revision, &text)?,
            None => Configuration::default(),
        };
        let configuration = Arc::new(configuration);
        self.loaded.configure(name, configuration.clone());
        Ok(configuration)
    }

    async fn apply(&self, name: &str, values: Map<String, Value>) -> Result<Value, Refusal> {
        let _changing = self.changing.lock().await;
        let version = self.known(&*self.state.lock().await, name)?;
        // Prepared under the revision it will get, so that a refused configuration is never stored.
        let revision = self.configuration(name).await?.revision + 1;
        let mut configuration = Configuration { revision, values };
        self.prepare_with(&version, &configuration).await?;
        let text = serde_json::to_string(&configuration.values)
            .expect("a map of JSON values always encodes");
        configuration.revision = self
            .accounts
            .put_plugin_config(name, &text)
            .await
            .map_err(|e| store_refusal(&e))?;
        self.reconfigured(name, configuration).await
    }

    /// A stored configuration takes over; the caller holds `changing`.
    async fn reconfigured(
        &self,
        name: &str,
        configuration: Configuration,
    ) -> Result<Value, Refusal> {
        // What a rollback would go to is loaded under it too, before the first can ask for it.
        let previous = {
            let state = self.state.lock().await;
            let plan = state.plan.plugins.get(name);
            plan.and_then(|plan| plan.previous.clone())
        };
        if let Some(previous) = previous
            && let Err(refusal) = self.prepare_with(&previous, &configuration).await
        {
            tracing::warn!(plugin = name, version = previous.version, why = %refusal.message,
                "the version before does not take this configuration");
        }
        self.loaded.configure(name, Arc::new(configuration));
        drop(self.change(&format!("config {name}"), |_| Ok(())).await?);
        self.config_json(name).await
    }

    async fn config_json(&self, name: &str) -> Result<Value, Refusal> {
        let mut shown = defaults(&self.schema(name).await?);
        shown.extend(self.configuration(name).await?.values.clone());
        if name == words::FILTER {
            let count = shown
                .get(words::KEY)
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            shown.remove(words::KEY);
            shown.insert("word_count".to_owned(), count.into());
        }
        Ok(json!({"name": name, "generation": self.generation(), "values": shown}))
    }

    async fn schema(&self, name: &str) -> Result<Value, Refusal> {
        let known = self
            .accounts
            .plugins()
            .await
            .map_err(|e| store_refusal(&e))?;
        let newest = known.iter().rev().find(|version| version.name == name);
        let newest =
            newest.ok_or_else(|| Refusal::not_found(format!("there is no plugin {name}")))?;
        let inspected = self.inspect(name, &newest.digest).await?;
        Ok(inspected["config_schema"].clone())
    }
}

fn read_configuration(revision: u64, text: &str) -> Result<Configuration, Refusal> {
    let values = serde_json::from_str(text)
        .map_err(|_| Refusal::new(Code::Internal, "a stored configuration could not be read"))?;
    Ok(Configuration { revision, values })
}

fn words_only() -> Refusal {
    Refusal::new(
        Code::Conflict,
        "the filter's words change through `kith admin words` alone",
    )
}

/// A text as the type its key has in the schema.
fn typed(schema: &Value, key: &str, text: &str) -> Result<Value, Refusal> {
    let property = &schema["properties"][key];
    if property.is_null() {
        return Err(Refusal::bad_request(format!("there is no setting {key}")));
    }
    if property["type"] == "string" {
        return Ok(Value::String(text.to_owned()));
    }
    serde_json::from_str(text)
        .map_err(|_| Refusal::bad_request(format!("{key}: {text} is not JSON")))
}

/// The defaults a schema gives.
fn defaults(schema: &Value) -> Map<String, Value> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let given = properties
        .filter_map(|(key, property)| Some((key.clone(), property.get("default")?.clone())));
    given.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_by_its_type_in_the_schema() {
        let schema = json!({"properties": {"a": {"type": "string"}, "b": {"type": "integer", "default": 3}}});
        assert_eq!(typed(&schema, "a", "7").expect("text"), json!("7"));
        assert_eq!(typed(&schema, "b", "7").expect("number"), json!(7));
        assert!(typed(&schema, "b", "seven").is_err() && typed(&schema, "c", "7").is_err());
        assert_eq!(Value::Object(defaults(&schema)), json!({"b": 3}));
    }
}
