//! Configurations: each change is prepared with the serving version and takes over as a new generation.
//!
//! The filter's words are part of its configuration and are kept as a document of their own: undoing a configuration
//! never undoes a word. Every change reads what it changes under `changing`.

use std::collections::BTreeSet;
use std::sync::Arc;

use kith_runtime::Version;
use serde_json::{Map, Value, json};

use super::Rollout;
use super::loaded::Configuration;
use super::step::Step;
use super::switch::claimed;
use crate::journey::store_refusal;
use crate::plugins::bindings::VersionRef;
use crate::plugins::words;
use crate::refusal::{Code, Refusal};

/// What `config` shows in the words' place.
const WORD_COUNT: &str = "word_count";

impl Rollout {
    /// `{name, generation, values}` of a plugin.
    pub async fn config(&self, name: &str) -> Result<Value, Refusal> {
        self.config_json(name).await
    }

    /// Replaces the whole configuration.
    pub async fn replace_config(
        &self,
        by: &str,
        name: &str,
        values: Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let mut values = values;
        if name == words::FILTER {
            if values.contains_key(words::KEY) {
                return Err(words_only());
            }
            // Shown by `config`, so it may come back.
            values.remove(WORD_COUNT);
        }
        let step = Step::of(by, "plugin.config", name);
        self.apply(step, name, |before| keep_words(name, values, before))
            .await
    }

    /// Sets keys given as text: read as JSON where the schema's type is not text.
    pub async fn set_config(
        &self,
        by: &str,
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
        let step = Step::of(by, "plugin.config", name);
        self.apply(step, name, |before| {
            let mut values = before.clone();
            values.extend(change);
            values
        })
        .await
    }

    /// Gives the filter another list of words: kept once the filter takes it.
    pub async fn replace_words(&self, rows: Value) -> Result<Value, Refusal> {
        let name = words::FILTER;
        let _changing = self.changing.lock().await;
        let version = self.known(&*self.state.lock().await, name)?;
        let text = rows.to_string();
        let mut values = self.configuration(name).await?.values.clone();
        values.insert(words::KEY.to_owned(), rows);
        let configuration = self.loaded.configuration_of(values);
        self.prepare_with(&version, &configuration).await?;
        self.accounts
            .put_document(words::DOCUMENT, &text)
            .await
            .map_err(|e| store_refusal(&e))?;
        // Told by whoever changed the words.
        let step = Step::from(format!("config {name}").as_str());
        self.reconfigured(step, name, configuration).await
    }

    /// Back to the configuration before; the filter's words stay as they are.
    pub async fn rollback_config(&self, by: &str, name: &str) -> Result<Value, Refusal> {
        let _changing = self.changing.lock().await;
        let version = self.known(&*self.state.lock().await, name)?;
        let today = self.configuration(name).await?;
        let reverted = self
            .accounts
            .revert_plugin_config(name)
            .await
            .map_err(|e| store_refusal(&e))?;
        let (_, text) = reverted.ok_or_else(|| {
            Refusal::new(
                Code::Conflict,
                format!("{name} has no configuration to go back to"),
            )
        })?;
        let values = keep_words(name, read_values(&text)?, &today.values);
        let configuration = self.loaded.configuration_of(values);
        let prepared = match self.prepare_with(&version, &configuration).await {
            Ok(prepared) => {
                let free = self.commands_are_free(name, &prepared).await;
                free.map(|()| prepared)
            }
            Err(refusal) => Err(refusal),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(refusal) => {
                // It is not to be had any more: today's is in force still, and kept as such.
                self.keep_settings(name, &today.values).await?;
                return Err(refusal);
            }
        };
        let keys = changed_keys(&prepared, &today.values, &configuration.values);
        let step = Step::of(by, "plugin.config.rollback", name).with("keys", keys);
        let step = step.because(format!("config {name}"));
        self.reconfigured(step, name, configuration).await
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
            None if name != words::FILTER => Configuration::default(),
            stored => {
                let mut values = match stored {
                    Some((_, text)) => read_values(&text)?,
                    None => Map::new(),
                };
                if name == words::FILTER
                    && let Some(rows) = self.stored_words().await?
                {
                    values.insert(words::KEY.to_owned(), rows);
                }
                self.loaded.configuration_of(values)
            }
        };
        let configuration = Arc::new(configuration);
        self.loaded.configure(name, configuration.clone());
        Ok(configuration)
    }

    async fn stored_words(&self) -> Result<Option<Value>, Refusal> {
        let stored = self
            .accounts
            .document(words::DOCUMENT)
            .await
            .map_err(|e| store_refusal(&e))?;
        let unreadable = |_| Refusal::new(Code::Internal, "the stored words could not be read");
        stored
            .map(|text| serde_json::from_str(&text).map_err(unreadable))
            .transpose()
    }

    /// Makes a new configuration of the one before, prepares it, keeps it and lets it take over. The step is told with the
    /// names of what changed.
    async fn apply(
        &self,
        step: Step,
        name: &str,
        change: impl FnOnce(&Map<String, Value>) -> Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let _changing = self.changing.lock().await;
        let (version, serves) = self.to_configure(name).await?;
        let before = self.configuration(name).await?;
        let configuration = self.loaded.configuration_of(change(&before.values));
        // Prepared first, so that a refused configuration is never stored.
        let prepared = self.prepare_with(&version, &configuration).await?;
        self.commands_are_free(name, &prepared).await?;
        let stored = self.accounts.plugin_config(name).await;
        if stored.map_err(|e| store_refusal(&e))?.is_none() {
            // The defaults were in force: a rollback of the first change goes back to them.
            self.keep_settings(name, &Map::new()).await?;
        }
        self.keep_settings(name, &configuration.values).await?;
        let keys = changed_keys(&prepared, &before.values, &configuration.values);
        let step = step.with("keys", keys);
        if !serves {
            self.loaded.configure(name, Arc::new(configuration));
            self.tell_step(step).await;
            return self.config_json(name).await;
        }
        let step = step.because(format!("config {name}"));
        self.reconfigured(step, name, configuration).await
    }

    /// The version a configuration is for, and whether it was ever activated: where none was, the one pushed last, which
    /// may need values that have no default before it can be.
    async fn to_configure(&self, name: &str) -> Result<(VersionRef, bool), Refusal> {
        if let Ok(serving) = self.known(&*self.state.lock().await, name) {
            return Ok((serving, true));
        }
        let known = self.accounts.plugins().await;
        let known = known.map_err(|e| store_refusal(&e))?;
        let own = known.into_iter().rev();
        let newest = own
            .filter(|version| !version.pruned)
            .find(|version| version.name == name);
        let newest =
            newest.ok_or_else(|| Refusal::not_found(format!("there is no plugin {name}")))?;
        let newest = VersionRef {
            version: newest.version,
            digest: newest.digest,
        };
        Ok((newest, false))
    }

    /// Whether no other plugin answers one of the commands that a version has under a new configuration.
    async fn commands_are_free(&self, name: &str, prepared: &Version) -> Result<(), Refusal> {
        let state = self.state.lock().await;
        if state.plan.is_disabled(name) {
            return Ok(());
        }
        let commands = prepared.commands().map(|(command, _)| command);
        claimed(state.plan.bound_elsewhere(name, commands))
    }

    /// Stores a configuration, without the words: they have a document of their own.
    async fn keep_settings(&self, name: &str, values: &Map<String, Value>) -> Result<(), Refusal> {
        let mut values = values.clone();
        if name == words::FILTER {
            values.remove(words::KEY);
        }
        let text = Value::Object(values).to_string();
        let kept = self.accounts.put_plugin_config(name, &text).await;
        kept.map(drop).map_err(|e| store_refusal(&e))
    }

    /// A stored configuration takes over; the caller holds `changing`.
    async fn reconfigured(
        &self,
        step: Step,
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
        drop(self.change(step, |_| Ok(())).await?);
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
            shown.insert(WORD_COUNT.to_owned(), count.into());
        }
        Ok(json!({"name": name, "generation": self.generation(), "values": shown}))
    }

    async fn schema(&self, name: &str) -> Result<Value, Refusal> {
        let (version, _) = self.to_configure(name).await?;
        let inspected = self.inspect(name, &version.digest).await?;
        Ok(inspected["config_schema"].clone())
    }
}

fn read_values(text: &str) -> Result<Map<String, Value>, Refusal> {
    serde_json::from_str(text)
        .map_err(|_| Refusal::new(Code::Internal, "a stored configuration could not be read"))
}

/// New values with the words of the ones before, where the plugin is the filter.
fn keep_words(
    name: &str,
    mut values: Map<String, Value>,
    before: &Map<String, Value>,
) -> Map<String, Value> {
    if name == words::FILTER {
        values.remove(words::KEY);
        let kept = before.get(words::KEY).cloned();
        values.extend(kept.map(|rows| (words::KEY.to_owned(), rows)));
    }
    values
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

/// The keys whose values are others than before, a default as good as one that is set. Never a value: it may be a secret.
fn changed_keys(
    version: &Version,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Vec<String> {
    let schema = &version.inspection().config_schema;
    let properties = &schema["properties"];
    let is_same = |key: &str| {
        let value = |values| Map::get(values, key).or_else(|| properties[key].get("default"));
        value(before) == value(after)
    };
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = keys.into_iter().filter(|key| !is_same(key));
    changed.cloned().collect()
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
