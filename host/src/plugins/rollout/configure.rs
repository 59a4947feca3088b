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
use super::proposal::{ATTEMPTS, is_outrun, outrun};
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
        self.apply(step, name, |before| {
            keep_words(name, values.clone(), before)
        })
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
            values.extend(change.clone());
            values
        })
        .await
    }

    /// The words in force, as rows; nothing where there were never any.
    pub async fn words(&self) -> Result<Option<Value>, Refusal> {
        let serves = self.known(&*self.state.lock().await, words::FILTER).is_ok();
        if self.among.is_none() || !serves {
            return self.stored_words().await;
        }
        // What another node changed last may not be a document yet.
        let configuration = self.configuration(words::FILTER).await?;
        Ok(configuration.values.get(words::KEY).cloned())
    }

    /// Gives the filter another list of words, made of the one of a generation: kept once the filter takes it.
    pub async fn replace_words(&self, basis: u64, rows: Value) -> Result<Value, Refusal> {
        let name = words::FILTER;
        let _changing = self.changing.lock().await;
        let version = self.known(&*self.state.lock().await, name)?;
        let text = rows.to_string();
        let mut values = self.configuration(name).await?.values.clone();
        values.insert(words::KEY.to_owned(), rows);
        let configuration = self.loaded.configuration_of(values);
        self.prepare_with(&version, &configuration).await?;
        // Told by whoever changed the words.
        let step = Step::from(format!("config {name}").as_str());
        let keep = async || {
            let kept = self.accounts.put_document(words::DOCUMENT, &text).await;
            kept.map_err(|e| store_refusal(&e))
        };
        if self.among.is_some() {
            let done = self
                .reconfigured(step, (basis, name), configuration)
                .await?;
            keep().await?;
            return Ok(done);
        }
        keep().await?;
        self.reconfigured(step, (basis, name), configuration).await
    }

    /// Back to the configuration before; the filter's words stay as they are.
    pub async fn rollback_config(&self, by: &str, name: &str) -> Result<Value, Refusal> {
        let _changing = self.changing.lock().await;
        for _ in 0..ATTEMPTS {
            match self.rollback_config_once(by, name).await {
                Err(refusal) if is_outrun(&refusal) => {}
                done => return done,
            }
        }
        Err(outrun())
    }

    async fn rollback_config_once(&self, by: &str, name: &str) -> Result<Value, Refusal> {
        let basis = self.basis().await?;
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
        let done = self.reconfigured(step, (basis, name), configuration).await;
        if done.is_err() && self.among.is_some() {
            self.keep_settings(name, &today.values).await?;
        }
        done
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
        change: impl Fn(&Map<String, Value>) -> Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let _changing = self.changing.lock().await;
        for _ in 0..ATTEMPTS {
            match self.apply_once(step.clone(), name, &change).await {
                Err(refusal) if is_outrun(&refusal) => {}
                done => return done,
            }
        }
        Err(outrun())
    }

    async fn apply_once(
        &self,
        step: Step,
        name: &str,
        change: impl Fn(&Map<String, Value>) -> Map<String, Value>,
    ) -> Result<Value, Refusal> {
        self.refresh().await?;
        let basis = self.basis().await?;
        let (version, serves) = self.to_configure(name).await?;
        let before = self.configuration(name).await?;
        let configuration = self.loaded.configuration_of(change(&before.values));
        // Prepared first, so that a refused configuration is never stored.
        let prepared = self.prepare_with(&version, &configuration).await?;
        self.commands_are_free(name, &prepared).await?;
        // Among nodes what is written first is the generation: who is second has changed nothing.
        let is_first = self.among.is_none() || !serves;
        if is_first {
            self.keep_change(name, &configuration.values).await?;
        }
        let keys = changed_keys(&prepared, &before.values, &configuration.values);
        let step = step.with("keys", keys);
        if !serves {
            self.loaded.configure(name, Arc::new(configuration));
            self.tell_step(step).await;
            return self.config_json(name).await;
        }
        let step = step.because(format!("config {name}"));
        let values = (!is_first).then(|| configuration.values.clone());
        let done = self
            .reconfigured(step, (basis, name), configuration)
            .await?;
        if let Some(values) = values {
            self.keep_change(name, &values).await?;
        }
        Ok(done)
    }

    /// Stores a changed configuration, which can be undone.
    async fn keep_change(&self, name: &str, values: &Map<String, Value>) -> Result<(), Refusal> {
        let stored = self.accounts.plugin_config(name).await;
        if stored.map_err(|e| store_refusal(&e))?.is_none() {
            // The defaults were in force: a rollback of the first change goes back to them.
            self.keep_settings(name, &Map::new()).await?;
        }
        self.keep_settings(name, values).await
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
        (basis, name): (u64, &str),
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
        let Some(among) = &self.among else {
            self.loaded.configure(name, Arc::new(configuration));
            drop(self.change(step, |_| Ok(())).await?);
            return self.config_json(name).await;
        };
        let plan = self.state.lock().await.plan.clone();
        let before = self.configuration(name).await?;
        let own = Arc::new(configuration);
        self.loaded.configure(name, own.clone());
        let changed = Box::pin(self.change_once(among, step, None, (basis, plan))).await;
        if let Err(refusal) = changed.map(drop) {
            // Unless another one has taken its place, or a rollback has taken it along.
            let state = self.state.lock().await;
            let now = self.loaded.configuration(name);
            let stays = now.is_some_and(|now| Arc::ptr_eq(&now, &own));
            if stays && state.plan.settings.get(name).map(String::as_str) != Some(own.print()) {
                self.loaded.configure(name, before);
            }
            return Err(refusal);
        }
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
        let known = schema["properties"].as_object().into_iter().flatten();
        let known: Vec<&str> = known.map(|(key, _)| key.as_str()).collect();
        return Err(Refusal::bad_request(match known.as_slice() {
            [] => format!("there is no setting {key}; there are none"),
            known => format!("there is no setting {key}; there are {}", known.join(", ")),
        }));
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
        assert!(typed(&schema, "b", "seven").is_err());
        let unknown = typed(&schema, "c", "7").expect_err("there is no c");
        assert_eq!(unknown.message, "there is no setting c; there are a, b");
        let none = typed(&json!({}), "c", "7").expect_err("there is nothing");
        assert_eq!(none.message, "there is no setting c; there are none");
        assert_eq!(Value::Object(defaults(&schema)), json!({"b": 3}));
    }
}
